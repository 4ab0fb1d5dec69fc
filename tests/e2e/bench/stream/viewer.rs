//! A client that is as cheap as it can be, so that what is measured is not itself: it counts what it gets, and sends small messages.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::desktop::{Draw, greeting, hello};

/// The origin of the bench's page.
pub const ORIGIN: &str = "https://bench.example";
const POINTER: [u8; 6] = [5, 0, 0, 7, 0, 7];
const LIMIT: Duration = Duration::from_secs(30);

/// How to get to a desktop.
pub enum Way {
    /// A connection that carries RFB's bytes.
    Bare,
    /// A WebSocket at a path, with subprotocols.
    Socket {
        /// Path of the request.
        path: &'static str,
        /// Subprotocols to offer.
        protocols: String,
    },
}

/// One open stream.
pub struct Viewer {
    stream: TcpStream,
    framed: bool,
    buffer: Vec<u8>,
    /// Read and not yet looked at.
    ahead: std::ops::Range<usize>,
    /// Payload that the frame being read still has.
    left: usize,
    /// How long it took until the desktop spoke.
    pub opened_in: Duration,
}

impl Viewer {
    /// Connects, and waits for the desktop's first words.
    pub async fn open(port: u16, way: &Way) -> Result<Self> {
        tokio::time::timeout(LIMIT, Self::try_open(port, way))
            .await
            .context("opening a stream took too long")?
    }

    async fn try_open(port: u16, way: &Way) -> Result<Self> {
        let began = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        if let Way::Socket { path, protocols } = way {
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: bench\r\nOrigin: {ORIGIN}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Protocol: {protocols}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                answer.push(stream.read_u8().await?);
            }
            let text = String::from_utf8_lossy(&answer);
            ensure!(text.starts_with("HTTP/1.1 101"), "no stream was opened: {text}");
        }
        let framed = matches!(way, Way::Socket { .. });
        let buffer = vec![0; 64 * 1024];
        let mut viewer = Self { stream, framed, buffer, ahead: 0..0, left: 0, opened_in: Duration::ZERO };
        let mut seen = 0;
        while seen < greeting().len() {
            seen += viewer.payload().await?;
        }
        viewer.opened_in = began.elapsed();
        viewer.send(&hello()).await?;
        Ok(viewer)
    }

    /// Sends one message.
    pub async fn send(&mut self, message: &[u8]) -> Result<()> {
        if !self.framed {
            return Ok(self.stream.write_all(message).await?);
        }
        let length = u8::try_from(message.len())?;
        ensure!(length < 126, "messages of the bench are short");
        let mask = [0x11, 0x22, 0x33, 0x44];
        let mut frame = vec![0x82, 0x80 | length];
        frame.extend(mask);
        frame.extend(message.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        Ok(self.stream.write_all(&frame).await?)
    }

    /// Asks the desktop to draw.
    pub async fn ask(&mut self, draw: Draw) -> Result<()> {
        self.send(&draw.request()).await
    }

    /// Moves the pointer and waits for the answer, while nothing is drawn.
    pub async fn round_trip(&mut self) -> Result<Duration> {
        let began = Instant::now();
        self.send(&POINTER).await?;
        self.take(POINTER.len()).await?;
        Ok(began.elapsed())
    }

    /// Reads so many bytes of the desktop's.
    pub async fn take(&mut self, many: usize) -> Result<()> {
        let mut seen = 0;
        while seen < many {
            seen += self.payload().await?;
        }
        ensure!(seen == many, "{seen} bytes came instead of {many}");
        Ok(())
    }

    /// Reads without end.
    pub async fn watch(&mut self) -> Result<()> {
        loop {
            self.payload().await?;
        }
    }

    /// Some bytes of the desktop's; how many.
    async fn payload(&mut self) -> Result<usize> {
        loop {
            if self.ahead.is_empty() {
                let length = self.stream.read(&mut self.buffer).await?;
                ensure!(length > 0, "the stream ended");
                self.ahead = 0..length;
            }
            if !self.framed {
                return Ok(std::mem::take(&mut self.ahead).len());
            }
            if self.left == 0 {
                self.frame().await?;
                continue;
            }
            let here = self.left.min(self.ahead.len());
            self.left -= here;
            self.ahead.start += here;
            return Ok(here);
        }
    }

    /// Reads the head of a frame. Pings are answered, and are no payload.
    async fn frame(&mut self) -> Result<()> {
        let (first, short) = (self.byte().await?, self.byte().await?);
        let mut length = usize::from(short);
        if short >= 126 {
            length = 0;
            for _ in 0..if short == 126 { 2 } else { 8 } {
                length = length << 8 | usize::from(self.byte().await?);
            }
        }
        match first & 0x0f {
            2 => self.left = length,
            9 => {
                let mut payload = Vec::new();
                for _ in 0..length {
                    payload.push(self.byte().await?);
                }
                let head = [0x8a, 0x80 | short, 0, 0, 0, 0];
                self.stream.write_all(&[&head[..], &payload].concat()).await?;
            }
            8 => {
                let code = u16::from_be_bytes([self.byte().await?, self.byte().await?]);
                anyhow::bail!("the stream was closed with {code}");
            }
            other => anyhow::bail!("a frame of type {other}"),
        }
        Ok(())
    }

    async fn byte(&mut self) -> Result<u8> {
        if self.ahead.is_empty() {
            let length = self.stream.read(&mut self.buffer).await?;
            ensure!(length > 0, "the stream ended in a frame");
            self.ahead = 0..length;
        }
        let byte = self.buffer[self.ahead.start];
        self.ahead.start += 1;
        Ok(byte)
    }
}
