//! MCP over HTTP with the client that the rest of the process uses: one TLS provider, no redirects, the key in a header of the Connection's
//! choice. What the protocol means is rmcp's matter.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use a8s_wire::Header;
use axum::http::{HeaderName, HeaderValue};
use futures::{StreamExt, stream::BoxStream};
use reqwest::{RequestBuilder, Response, StatusCode, header};
use rmcp::{
    model::{ClientJsonRpcMessage, ServerJsonRpcMessage},
    transport::streamable_http_client::{
        SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
    },
};
use sse_stream::{Sse, SseStream};

const EVENTS: &str = "text/event-stream";
const JSON: &str = "application/json";
const SESSION: &str = "mcp-session-id";
const LAST_EVENT: &str = "last-event-id";
/// Longest answer that is no stream.
const MAX_ANSWER: usize = 16 << 20;

/// The client, with the key of one Connection.
#[derive(Clone)]
pub struct Http {
    client: reqwest::Client,
    key: Option<(HeaderName, HeaderValue)>,
}

type Failure = StreamableHttpError<reqwest::Error>;

fn failed(error: reqwest::Error) -> Failure {
    StreamableHttpError::Client(error.without_url())
}

fn unexpected(text: impl Into<String>) -> Failure {
    StreamableHttpError::UnexpectedServerResponse(Cow::Owned(text.into()))
}

impl Http {
    /// With this key.
    pub fn new(client: reqwest::Client, header: Option<&Header>) -> Self {
        let key = header.and_then(|header| {
            let mut value: HeaderValue = header.value.parse().ok()?;
            value.set_sensitive(true);
            Some((header.name.parse().ok()?, value))
        });
        if header.is_some() && key.is_none() {
            tracing::error!("the key of an MCP connection is no usable header; it is called without");
        }
        Self { client, key }
    }

    fn complete(
        &self,
        mut request: RequestBuilder,
        session: Option<&str>,
        custom: HashMap<HeaderName, HeaderValue>,
    ) -> RequestBuilder {
        request = request.header(header::ACCEPT, format!("{EVENTS}, {JSON}"));
        for (name, value) in custom {
            request = request.header(name, value);
        }
        if let Some((name, value)) = &self.key {
            request = request.header(name, value);
        }
        match session {
            Some(session) => request.header(SESSION, session),
            None => request,
        }
    }
}

fn kind(response: &Response) -> String {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.unwrap_or_default().to_ascii_lowercase()
}

fn events(response: Response) -> BoxStream<'static, Result<Sse, SseError>> {
    SseStream::from_bytes_stream(response.bytes_stream()).boxed()
}

fn refused(status: StatusCode) -> Failure {
    let why = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; is the connection's key right?",
        _ if status.is_redirection() => "; redirects are not followed",
        _ => "",
    };
    unexpected(format!("the server answered {status}{why}"))
}

impl StreamableHttpClient for Http {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let request = self.complete(self.client.post(uri.as_ref()), session_id.as_deref(), custom_headers);
        let response = request.json(&message).send().await.map_err(failed)?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND && session_id.is_some() {
            return Err(StreamableHttpError::SessionExpired);
        }
        let kind = kind(&response);
        let asks = matches!(message, ClientJsonRpcMessage::Request(_));
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT)
            || (status.is_success() && !asks && !kind.starts_with(EVENTS))
        {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let session =
            response.headers().get(SESSION).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if status.is_success() && kind.starts_with(EVENTS) {
            return Ok(StreamableHttpPostResponse::Sse(events(response), session));
        }
        if !kind.starts_with(JSON) {
            return Err(if status.is_success() {
                StreamableHttpError::UnexpectedContentType(Some(kind))
            } else {
                refused(status)
            });
        }
        let answer: ServerJsonRpcMessage = match serde_json::from_slice(&whole(response).await?) {
            Ok(answer) => answer,
            Err(_) if !status.is_success() => return Err(refused(status)),
            Err(error) => return Err(StreamableHttpError::Deserialize(error)),
        };
        // An error of the protocol may come with any status.
        if status.is_success() || matches!(answer, ServerJsonRpcMessage::Error(_)) {
            return Ok(StreamableHttpPostResponse::Json(answer, session));
        }
        Err(refused(status))
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), Failure> {
        let request = self.complete(self.client.delete(uri.as_ref()), Some(&session_id), custom_headers);
        let status = request.send().await.map_err(failed)?.status();
        if status.is_success() || status == StatusCode::METHOD_NOT_ALLOWED {
            Ok(())
        } else {
            Err(refused(status))
        }
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        custom_headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failure> {
        let mut request = self.complete(self.client.get(uri.as_ref()), session_id.as_deref(), custom_headers);
        if let Some(id) = last_event_id {
            request = request.header(LAST_EVENT, id);
        }
        let response = request.send().await.map_err(failed)?;
        match response.status() {
            StatusCode::METHOD_NOT_ALLOWED => Err(StreamableHttpError::ServerDoesNotSupportSse),
            status if !status.is_success() => Err(refused(status)),
            _ if !kind(&response).starts_with(EVENTS) => {
                Err(StreamableHttpError::UnexpectedContentType(Some(kind(&response))))
            }
            _ => Ok(events(response)),
        }
    }
}

async fn whole(response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = response.bytes_stream();
    let mut all = Vec::new();
    while let Some(piece) = body.next().await {
        all.extend_from_slice(&piece.map_err(failed)?);
        if all.len() > MAX_ANSWER {
            return Err(StreamableHttpError::ResponseBodyTooLarge { max_size: MAX_ANSWER });
        }
    }
    Ok(all)
}
