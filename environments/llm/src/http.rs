//! The only IO: one POST, and its answer line by line.

use std::{collections::VecDeque, io, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt, stream};
use reqwest::{RequestBuilder, Response, header::HeaderMap};
use tokio::time::timeout;
use tokio_util::{
    codec::{FramedRead, LinesCodec},
    io::StreamReader,
};

use crate::{
    Event, LlmError,
    sse::{Parser, SseEvent},
};

/// Longest line of an answer.
const MAX_LINE: usize = 32 << 20;
/// Longest refusal that is read.
const MAX_REFUSAL: usize = 64 << 10;

/// Turns server-sent events into ours. Pure.
pub(crate) trait Decode: Send {
    /// Takes an event of the server.
    fn event(&mut self, event: SseEvent, out: &mut VecDeque<Event>) -> Result<(), LlmError>;
    /// The server closed the stream and [`Event::Done`] was not said.
    fn end(&mut self, out: &mut VecDeque<Event>) -> Result<(), LlmError>;
}

/// Sends a request and waits for the beginning of its answer.
pub(crate) async fn send(
    call: RequestBuilder,
    patience: Duration,
    url: &str,
    refusal: impl FnOnce(u16, Option<Duration>, &str) -> LlmError,
) -> Result<Response, LlmError> {
    let response = match timeout(patience, call.send()).await {
        Err(_) => return Err(LlmError::Timeout { after: patience }),
        Ok(Err(error)) => return Err(failed(url, &error)),
        Ok(Ok(response)) => response,
    };
    let status = response.status();
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let streams = !kind.starts_with("application/json") && !kind.starts_with("text/html");
    if status.is_success() && streams {
        return Ok(response);
    }
    let after = retry_after(response.headers());
    let body = timeout(Duration::from_secs(10), beginning(response)).await.unwrap_or_default();
    if status.is_success() && !body.contains("\"error\"") {
        return Err(LlmError::Malformed("an answer that is no stream of events".into()));
    }
    let status = if status.is_success() { 400 } else { status.as_u16() };
    Err(refusal(status, after, &body))
}

async fn beginning(response: Response) -> String {
    let mut chunks = response.bytes_stream();
    let mut body = Vec::new();
    while let Some(Ok(chunk)) = chunks.next().await {
        body.extend_from_slice(&chunk);
        if body.len() >= MAX_REFUSAL {
            break;
        }
    }
    String::from_utf8_lossy(&body).into_owned()
}

fn failed(url: &str, error: &reqwest::Error) -> LlmError {
    // reqwest's own text repeats the URL; the innermost cause says what a person needs.
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    if !error.is_connect() {
        return LlmError::Broken(cause.to_string());
    }
    LlmError::Unreachable { url: url.to_owned(), detail: cause.to_string() }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(millis) = text("retry-after-ms").and_then(|text| text.parse().ok()) {
        return Some(Duration::from_millis(millis));
    }
    let value = text("retry-after")?;
    if let Ok(seconds) = value.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(jiff::Timestamp::now())).unwrap_or_default())
}

struct Pump<L> {
    lines: L,
    parser: Parser,
    decoder: Box<dyn Decode>,
    ready: VecDeque<Event>,
    over: bool,
}

/// The events of an answer.
pub(crate) fn events(
    response: Response,
    decoder: Box<dyn Decode>,
    idle: Duration,
) -> impl Stream<Item = Result<Event, LlmError>> + Send {
    let bytes = StreamReader::new(response.bytes_stream().map_err(io::Error::other));
    let lines = FramedRead::new(bytes, LinesCodec::new_with_max_length(MAX_LINE));
    let pump = Pump {
        lines: Box::pin(lines),
        parser: Parser::default(),
        decoder,
        ready: VecDeque::new(),
        over: false,
    };
    stream::unfold(pump, move |mut pump| async move {
        loop {
            if let Some(event) = pump.ready.pop_front() {
                // The last word of some servers is followed by a silence that nobody needs to hear.
                pump.over |= matches!(event, Event::Done(_));
                return Some((Ok(event), pump));
            }
            if pump.over {
                return None;
            }
            if let Err(error) = advance(&mut pump, idle).await {
                pump.over = true;
                pump.ready.clear();
                return Some((Err(error), pump));
            }
        }
    })
}

async fn advance<L>(pump: &mut Pump<L>, idle: Duration) -> Result<(), LlmError>
where
    L: Stream<Item = Result<String, tokio_util::codec::LinesCodecError>> + Unpin,
{
    match timeout(idle, pump.lines.next()).await {
        Err(_) => Err(LlmError::Timeout { after: idle }),
        Ok(Some(Ok(line))) => match pump.parser.line(&line) {
            Some(event) => pump.decoder.event(event, &mut pump.ready),
            None => Ok(()),
        },
        Ok(Some(Err(error))) => Err(LlmError::Broken(error.to_string())),
        Ok(None) => {
            pump.decoder.end(&mut pump.ready)?;
            pump.over = pump.ready.is_empty();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_that_a_server_asks_for_are_read_in_all_their_forms() {
        let after = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            retry_after(&headers)
        };
        assert_eq!(after("retry-after", "3"), Some(Duration::from_secs(3)));
        assert_eq!(after("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(after("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(after("retry-after", "soon"), None);
        assert_eq!(after("x", "3"), None);
    }
}
