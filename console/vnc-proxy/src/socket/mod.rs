//! The server's side of a WebSocket (RFC 6455) that carries a byte stream. Not a general one: text, compression and messages in memory do not
//! exist here. What it has instead is a buffer only while there is something in it: most streams are idle most of the time.

mod frames;
mod writer;

use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::{BufMut, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use tokio::net::tcp::OwnedReadHalf;

pub use frames::{Event, Frames, MAX_FRAME};
pub use writer::{HEAD, MAX_PAYLOAD, Writer, close, ping, pong, seal};

use crate::close::Close;

const CHUNK: usize = 16 * 1024;

/// The answer to the handshake's key, if the request is a WebSocket handshake (4.2.1). The error says what is wrong with it.
pub fn accept(headers: &HeaderMap) -> Result<HeaderValue, &'static str> {
    let names = |name, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(wanted))
    };
    if !names(header::CONNECTION, "upgrade") || !names(header::UPGRADE, "websocket") {
        return Err("this is a WebSocket: send Connection: upgrade and Upgrade: websocket");
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err("Sec-WebSocket-Version must be 13");
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    if STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16) {
        let accepted = tokio_tungstenite::tungstenite::handshake::derive_accept_key(key);
        return HeaderValue::try_from(accepted).map_err(|_| "Sec-WebSocket-Key is invalid");
    }
    Err("Sec-WebSocket-Key must be 16 bytes in Base64")
}

/// The browser's half.
#[derive(Debug)]
pub struct Reader {
    half: OwnedReadHalf,
    frames: Frames,
}

impl Reader {
    /// With what was read together with the handshake.
    pub fn new(half: OwnedReadHalf, already: &[u8]) -> Self {
        let mut frames = Frames::default();
        frames.push(already);
        Self { half, frames }
    }

    /// The next frame; `None` at the end of the connection. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Event>, Close> {
        loop {
            if let Some(event) = self.frames.event()? {
                return Ok(Some(event));
            }
            match self.fill().await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(%error, "the browser's connection broke");
                    return Ok(None);
                }
            }
        }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        loop {
            // No buffer while there is nothing to read.
            self.half.readable().await?;
            match self.half.try_read_buf(&mut self.frames.room(CHUNK)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    /// Reads to the end and throws away: closing with unread input would make TCP throw away what was written last.
    pub async fn drain(mut self) -> io::Result<()> {
        self.frames = Frames::default();
        let mut scratch = BytesMut::with_capacity(CHUNK);
        loop {
            self.half.readable().await?;
            scratch.clear();
            match self.half.try_read_buf(&mut (&mut scratch).limit(CHUNK)) {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_key_of_the_specification_has_the_answer_of_the_specification() {
        let good = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert_eq!(accept(&headers(&good)).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for missing in 0..good.len() {
            let mut some = good.to_vec();
            some.remove(missing);
            assert!(accept(&headers(&some)).is_err(), "without {}", good[missing].0);
        }
        let mut short = good;
        short[3].1 = "c2hvcnQ=";
        assert!(accept(&headers(&short)).is_err());
    }
}
