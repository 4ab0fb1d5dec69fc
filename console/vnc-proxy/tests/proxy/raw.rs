//! A client that keeps to no protocol.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::fake::{LIMIT, ORIGIN, World};

pub struct Raw {
    stream: TcpStream,
}

impl Raw {
    /// A connection on which nothing was said.
    pub async fn connect(world: &World) -> Self {
        Self { stream: TcpStream::connect(world.address).await.unwrap() }
    }

    /// After the WebSocket's handshake.
    pub async fn upgraded(world: &World, ticket: &str) -> Self {
        let mut raw = Self::connect(world).await;
        let head = format!(
            "GET /vnc/stream HTTP/1.1\r\nhost: proxy\r\norigin: {ORIGIN}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             sec-websocket-protocol: binary, a8s.ticket.{ticket}\r\n\r\n"
        );
        raw.write(head.as_bytes()).await;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(raw.stream.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        raw
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Writes as much as is taken until the other side has closed.
    pub async fn write_what_is_taken(&mut self, bytes: &[u8]) {
        let _ = tokio::time::timeout(LIMIT, self.stream.write_all(bytes)).await;
    }

    /// A frame as a browser would mask it.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) {
        let length = u8::try_from(payload.len()).unwrap();
        assert!(length < 126);
        self.write(&[&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()).await;
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let reading = self.stream.read_to_end(&mut all);
        // A reset is an end too.
        let _ = tokio::time::timeout(LIMIT, reading).await.expect("the proxy did not close");
        all
    }

    /// The code of the close frame at the end of the connection.
    pub async fn closed(&mut self) -> u16 {
        let (all, mut at, mut code) = (self.rest().await, 0, 0);
        while at < all.len() {
            let (head, length) = match all[at + 1] {
                126 => (4, usize::from(u16::from_be_bytes([all[at + 2], all[at + 3]]))),
                short => (2, usize::from(short)),
            };
            if all[at] == 0x88 {
                code = u16::from_be_bytes([all[at + head], all[at + head + 1]]);
            }
            at += head + length;
        }
        assert_eq!(at, all.len(), "the last frame was cut off");
        code
    }
}
