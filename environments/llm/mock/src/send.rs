//! How an answer leaves: whole, byte by byte, or broken off.

use std::{convert::Infallible, io, time::Duration};

use axum::{
    Json,
    body::Body,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde_json::Value;

/// What happens to an answer on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fate {
    #[default]
    Arrives,
    Cut,
    Malformed,
    Overloaded,
    Hang,
}

/// Server-sent events.
pub fn events(events: &[(String, Value)], fate: Fate, slow: Option<Duration>) -> Response {
    let text = |(name, data): &(String, Value)| {
        let data = data.as_str().map_or_else(|| data.to_string(), str::to_owned);
        if name.is_empty() { format!("data: {data}\n\n") } else { format!("event: {name}\ndata: {data}\n\n") }
    };
    let mut texts: Vec<String> = events.iter().map(text).collect();
    let half = texts.len().div_ceil(2);
    match fate {
        Fate::Arrives => {}
        Fate::Malformed => texts.insert(half, "data: {\"type\": \"content_bl\n\n".into()),
        Fate::Overloaded => {
            let error =
                "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}";
            texts.truncate(half);
            texts.push(format!("event: error\ndata: {error}\n\n"));
        }
        Fate::Cut => texts.truncate(half),
        Fate::Hang => texts.truncate(1),
    }
    let whole = Bytes::from(texts.concat());
    let body = match slow {
        Some(pause) => bytes(whole, pause).boxed(),
        None => stream::iter([Ok::<_, Infallible>(whole)]).boxed(),
    };
    let body = body.map(|chunk| chunk.map_err(|never| match never {}));
    let body = match fate {
        // The connection must break, not end: an end in good order has another meaning on some wires.
        Fate::Cut => {
            // What was sent must be on its way before the connection breaks.
            let later = async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(io::Error::other("cut"))
            };
            body.chain(stream::once(later)).boxed()
        }
        Fate::Hang => body.chain(stream::pending()).boxed(),
        _ => body.boxed(),
    };
    ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], Body::from_stream(body)).into_response()
}

fn bytes(whole: Bytes, pause: Duration) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    stream::iter(0..whole.len()).then(move |at| {
        let byte = whole.slice(at..=at);
        async move {
            if pause.is_zero() {
                tokio::task::yield_now().await;
            } else {
                tokio::time::sleep(pause).await;
            }
            Ok(byte)
        }
    })
}

/// A refusal.
pub fn refusal(status: u16, body: Value, retry_after: Option<&str>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(body)).into_response();
    if let Some(value) = retry_after.and_then(|text| text.parse().ok()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}
