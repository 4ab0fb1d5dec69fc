//! Frames to the browser. A payload is read into the place where it is sent from, behind room for its header.

use std::{io, time::Duration, time::Instant};

use bytes::{Buf, BufMut, BytesMut};
use tokio::{io::AsyncWriteExt, net::tcp::OwnedWriteHalf};

use crate::{close::Close, metrics::Metrics};

/// Room for a header before the payload.
pub const HEAD: usize = 4;
/// Longest payload whose length fits into such a header.
pub const MAX_PAYLOAD: usize = 0xffff;

const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;
/// 7.4.1: both sides are done.
const NORMAL: u16 = 1000;

/// Makes a binary frame of a buffer that begins with [`HEAD`] unused bytes and a payload of at most [`MAX_PAYLOAD`].
pub fn seal(mut frame: BytesMut) -> BytesMut {
    let length = frame.len().saturating_sub(HEAD);
    let [high, low] = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    if length < 126 {
        frame.advance(HEAD - 2);
        frame[..2].copy_from_slice(&[BINARY, low]);
    } else {
        frame[..HEAD].copy_from_slice(&[BINARY, 126, high, low]);
    }
    frame
}

fn control(first: u8, payload: &[u8]) -> BytesMut {
    // 5.5: longest payload of a control frame.
    let payload = &payload[..payload.len().min(125)];
    let mut frame = BytesMut::with_capacity(2 + payload.len());
    frame.put_slice(&[first, u8::try_from(payload.len()).unwrap_or(125)]);
    frame.put_slice(payload);
    frame
}

/// A ping with a payload of at most 125 bytes.
pub fn ping(payload: &[u8]) -> BytesMut {
    control(PING, payload)
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> BytesMut {
    control(PONG, payload)
}

/// The goodbye (5.5.1), or the answer to the browser's.
pub fn close(close: Option<Close>) -> BytesMut {
    let (code, reason) = close.map_or((NORMAL, ""), |close| (close.code(), close.reason()));
    control(CLOSE, &[&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

/// The half to the browser.
#[derive(Debug)]
pub struct Writer {
    half: OwnedWriteHalf,
    pending: BytesMut,
}

/// Bytes that wait for a browser, counted as long as this lives.
struct Waiting<'a>(&'a Metrics, i64, Instant);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.buffered.dec_by(self.1);
        self.0.stalls.observe(self.2.elapsed().as_secs_f64());
    }
}

impl Writer {
    /// Nothing is written yet.
    pub fn new(half: OwnedWriteHalf) -> Self {
        Self { half, pending: BytesMut::new() }
    }

    /// Writes a frame, as fast as the browser reads. When the future is dropped, what is left of the frame stays to be written first.
    pub async fn send(&mut self, frame: BytesMut, metrics: &Metrics) -> io::Result<()> {
        if self.pending.is_empty() {
            self.pending = frame;
        } else {
            self.pending.unsplit(frame);
        }
        // Most writes need not wait, and then there is nothing to measure.
        match self.half.try_write(&self.pending) {
            Ok(written) => self.pending.advance(written),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if !self.pending.is_empty() {
            let length = i64::try_from(self.pending.len()).unwrap_or(i64::MAX);
            metrics.buffered.inc_by(length);
            let _waiting = Waiting(metrics, length, Instant::now());
            self.flush().await?;
        }
        self.pending = BytesMut::new();
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            self.half.write_buf(&mut self.pending).await?;
        }
        Ok(())
    }

    /// The rest of what was begun, the code, and the end of the connection. A browser that does not read will not read this either.
    pub async fn finish(mut self, code: Option<Close>, limit: Duration) {
        self.pending.unsplit(close(code));
        let last = async {
            self.flush().await?;
            self.half.shutdown().await
        };
        let _ = tokio::time::timeout(limit, last).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(length: usize) -> BytesMut {
        let mut frame = BytesMut::new();
        frame.put_bytes(0, HEAD);
        frame.put_bytes(7, length);
        seal(frame)
    }

    #[test]
    fn a_frame_has_the_shortest_header_that_tells_its_length() {
        assert_eq!(sealed(3), [BINARY, 3, 7, 7, 7].as_slice());
        assert_eq!(sealed(125)[..3], [BINARY, 125, 7]);
        assert_eq!(sealed(126)[..5], [BINARY, 126, 0, 126, 7]);
        assert_eq!(sealed(MAX_PAYLOAD)[..4], [BINARY, 126, 255, 255]);
        assert_eq!(sealed(MAX_PAYLOAD).len(), MAX_PAYLOAD + 4);
    }

    #[test]
    fn every_goodbye_fits_into_a_control_frame() {
        for close in Close::ALL {
            let frame = super::close(Some(close));
            assert_eq!(frame[0], CLOSE);
            assert_eq!(usize::from(frame[1]), 2 + close.reason().len(), "{close:?} was cut off");
            assert_eq!(frame[2..4], close.code().to_be_bytes());
        }
    }
}
