//! The way to the VNC proxy. Tickets are asked for with the person's token out of the sealed cookie; the stream that follows needs only the
//! ticket, and passes through as bytes. Cookies go no further than here.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{errors::Refusal, login::User, server::Console};

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: usize = 64 * 1024;
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// As the ingress says it. Without one the proxy learns no address.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// `POST /vnc/ticket`.
pub async fn ticket(
    State(console): State<Arc<Console>>,
    user: User,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let asked: serde_json::Value =
        serde_json::from_slice(&body).map_err(|error| Refusal::bad(error.to_string()))?;
    if console.read_only && asked["mode"] != "view" {
        return Err(Refusal::forbidden("ReadOnly", "this console is read-only; only mode view is possible"));
    }
    let mut request =
        outgoing(&console, Method::POST, "/vnc/ticket", &headers, Bytes::from(asked.to_string()))?;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", user.token)).map_err(|_| Refusal::login())?;
    bearer.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    answer(send(&console, request).await?).await
}

/// `GET /vnc/stream`.
pub async fn stream(
    State(console): State<Arc<Console>>,
    _user: User,
    mut request: Request,
) -> Result<Response, Refusal> {
    if !console.origins.allow(request.headers()) {
        return Err(Refusal::forbidden("Origin", "the stream is not opened by this console's page"));
    }
    let browser = hyper::upgrade::on(&mut request);
    let mut onward = outgoing(&console, Method::GET, "/vnc/stream", request.headers(), Bytes::new())?;
    onward.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    onward.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    copy(
        request.headers(),
        onward.headers_mut(),
        &[
            header::SEC_WEBSOCKET_KEY,
            header::SEC_WEBSOCKET_VERSION,
            header::SEC_WEBSOCKET_PROTOCOL,
            header::SEC_WEBSOCKET_EXTENSIONS,
        ],
    );
    let mut response = send(&console, onward).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return answer(response).await;
    }
    let mut headers = HeaderMap::new();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let kept =
        [header::SEC_WEBSOCKET_ACCEPT, header::SEC_WEBSOCKET_PROTOCOL, header::SEC_WEBSOCKET_EXTENSIONS];
    copy(response.headers(), &mut headers, &kept);
    let proxy = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        let (Ok(browser), Ok(proxy)) = tokio::join!(browser, proxy) else { return };
        let (mut browser, mut proxy) = (TokioIo::new(browser), TokioIo::new(proxy));
        // Either side hanging up is how every stream ends.
        let _ = tokio::io::copy_bidirectional(&mut browser, &mut proxy).await;
    });
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

fn copy(from: &HeaderMap, to: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        for value in from.get_all(name) {
            to.append(name, value.clone());
        }
    }
}

/// A request for the proxy with nothing of the browser's but its origin, its address, and the host that it asked for.
fn outgoing(
    console: &Console,
    method: Method,
    path: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<http::Request<Full<Bytes>>, Refusal> {
    let host = console.vnc_proxy.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let built = http::Request::builder().method(method).uri(path).header(header::HOST, host);
    let mut request =
        built.body(Full::new(body)).map_err(|_| Refusal::unavailable("--vnc-proxy-url is no address"))?;
    copy(headers, request.headers_mut(), &[header::ORIGIN, FORWARDED_FOR]);
    if let Some(host) = headers.get(header::HOST) {
        request.headers_mut().insert(FORWARDED_HOST, host.clone());
    }
    Ok(request)
}

async fn send(
    console: &Console,
    request: http::Request<Full<Bytes>>,
) -> Result<http::Response<Incoming>, Refusal> {
    let sent = tokio::time::timeout(CONNECT, try_send(&console.vnc_proxy, request)).await;
    sent.map_err(anyhow::Error::from).flatten().map_err(|error| {
        tracing::warn!(error = format!("{error:#}"), "the VNC proxy does not answer");
        Refusal::unavailable("the VNC proxy does not answer; try again")
    })
}

async fn try_send(
    proxy: &Uri,
    request: http::Request<Full<Bytes>>,
) -> anyhow::Result<http::Response<Incoming>> {
    let tcp = TcpStream::connect((proxy.host().unwrap_or_default(), proxy.port_u16().unwrap_or(80))).await?;
    // Input is small packets that must not wait for more.
    tcp.set_nodelay(true)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

async fn answer(response: http::Response<Incoming>) -> Result<Response, Refusal> {
    let (parts, body) = response.into_parts();
    let broken = |_| Refusal::unavailable("the VNC proxy's answer broke off");
    let body = Limited::new(body, ANSWER).collect().await.map_err(broken)?.to_bytes();
    let mut headers = HeaderMap::new();
    copy(&parts.headers, &mut headers, &[header::CONTENT_TYPE, header::RETRY_AFTER]);
    Ok((parts.status, headers, Body::from(body)).into_response())
}
