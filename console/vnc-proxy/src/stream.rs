//! From the upgrade request to a running relay, and to the goodbye.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::{
    access::Mode,
    close::Close,
    metrics::{Code, Outcome, Role, Why},
    rates, relay,
    serve::Peer,
    server::Proxy,
    socket::{self, Reader, Writer},
    ticket::{Grant, Rejection},
    upstream::Desktop,
};

const PREFIX: &str = "a8s.ticket.";
/// How long a browser may take to read why its stream ended.
pub const GOODBYE: Duration = Duration::from_secs(2);

/// Why there is no WebSocket: for the metric, as a status, and in words.
struct Refusal(&'static str, StatusCode, &'static str);

/// `GET /vnc/stream`.
pub async fn upgrade(State(proxy): State<Arc<Proxy>>, mut request: Request) -> Response {
    let began = Instant::now();
    match prepare(&proxy, &mut request) {
        Ok((accepted, grant, upgrade)) => {
            let result = grant.as_ref().err().map_or("ok", |_| "ticket");
            proxy.metrics.upgrades.get_or_create(&Outcome { result }).inc();
            let streams = proxy.streams.clone();
            streams.spawn(run(proxy, upgrade, grant, began));
            let headers = [
                (header::CONNECTION, HeaderValue::from_static("upgrade")),
                (header::UPGRADE, HeaderValue::from_static("websocket")),
                (header::SEC_WEBSOCKET_ACCEPT, accepted),
                (header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("binary")),
            ];
            (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
        }
        Err(Refusal(result, status, text)) => {
            proxy.metrics.upgrades.get_or_create(&Outcome { result }).inc();
            (status, format!("{text}\n")).into_response()
        }
    }
}

type Prepared = (HeaderValue, Result<Grant, Rejection>, OnUpgrade);

fn prepare(proxy: &Proxy, request: &mut Request) -> Result<Prepared, Refusal> {
    let headers = request.headers();
    // A page of another origin learns nothing, not even whether its ticket was good.
    let Some(origin) = proxy.origins.check(headers) else {
        return Err(Refusal("origin", StatusCode::FORBIDDEN, "this page may not open desktops"));
    };
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.ip());
    let address = peer.and_then(|peer| rates::address(headers, peer, proxy.origins.same_host));
    if address.is_some_and(|address| !proxy.rates.take(address, Instant::now())) {
        return Err(Refusal("rate", StatusCode::TOO_MANY_REQUESTS, "too many at once; wait a few seconds"));
    }
    if !proxy.ready.load(Ordering::SeqCst) {
        let text = "the proxy is stopping; connect again";
        return Err(Refusal("stopping", StatusCode::SERVICE_UNAVAILABLE, text));
    }
    let bad = |text| Refusal("bad_request", StatusCode::BAD_REQUEST, text);
    let accepted = socket::accept(headers).map_err(bad)?;
    let offered = protocols(headers);
    if !offered.contains(&"binary") {
        return Err(bad("the WebSocket subprotocol must be binary"));
    }
    let ticket = offered.iter().find_map(|protocol| protocol.strip_prefix(PREFIX)).unwrap_or_default();
    let grant = proxy.tickets.redeem(ticket, origin, Instant::now());
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    Ok((accepted, grant, upgrade.ok_or_else(|| bad("this connection cannot be upgraded; use HTTP/1.1"))?))
}

fn protocols(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).map(str::trim).collect()
}

async fn run(proxy: Arc<Proxy>, upgrade: OnUpgrade, grant: Result<Grant, Rejection>, began: Instant) {
    // The desktop is opened while the browser is told that it may speak. On the heap, as the relay below: a task is as large as its largest
    // state, and TLS and HTTP handshakes are large and over soon.
    let opening = Box::pin(async {
        let grant = grant.map_err(|why| {
            proxy.metrics.rejections.get_or_create(&Why { reason: why.name() }).inc();
            Close::Ticket
        })?;
        let place = proxy.limits.take(&grant.target.uid, &grant.person.name).ok_or(Close::Limit)?;
        let desktop = open(&proxy, &grant).await;
        Ok::<_, Close>((grant, place, desktop))
    });
    let (browser, opened) = tokio::join!(upgrade, opening);
    let Some((mut reader, mut writer)) = browser.ok().and_then(halves) else {
        tracing::debug!("the browser left before its stream was open");
        return;
    };
    // A browser cannot read the status of a refused upgrade, but it can read a close code.
    let close = match opened {
        Err(close) => Some(close),
        Ok((grant, place, desktop)) => {
            let role = match grant.mode {
                Mode::View => "view",
                Mode::Control => "control",
            };
            let viewers = proxy.metrics.viewers.get_or_create_owned(&Role { role });
            viewers.inc();
            let close = match desktop {
                Ok(desktop) => {
                    let open = relay::Open { desktop, grant: &grant, replaced: &place.replaced, began };
                    Box::pin(relay::run(&proxy, &mut reader, &mut writer, open)).await
                }
                Err(close) => Some(close),
            };
            viewers.dec();
            tracing::info!(
                user = grant.person.name,
                namespace = grant.target.namespace,
                workspace = grant.target.name,
                code = close.map_or(0, Close::code),
                "stream ended"
            );
            close
        }
    };
    proxy.metrics.closes.get_or_create(&Code { code: close.map_or(0, Close::code) }).inc();
    let goodbye = async { tokio::join!(writer.finish(close, GOODBYE), reader.drain()) };
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}

/// The connection itself, without what HTTP needed around it.
fn halves(upgraded: hyper::upgrade::Upgraded) -> Option<(Reader, Writer)> {
    let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
    let (from_browser, to_browser) = parts.io.into_inner().into_split();
    Some((Reader::new(from_browser, &parts.read_buf), Writer::new(to_browser)))
}

async fn open(proxy: &Proxy, grant: &Grant) -> Result<Desktop, Close> {
    let began = Instant::now();
    let opening = proxy.upstream.open(&grant.person, &grant.target, grant.mode);
    let desktop =
        tokio::time::timeout(proxy.timing.connect, opening).await.map_err(|_| Close::Upstream)??;
    proxy.metrics.connect.observe(began.elapsed().as_secs_f64());
    Ok(desktop)
}
