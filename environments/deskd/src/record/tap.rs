//! The recorder's own connection to the display. It can look and nothing else: there is no way to send input through it, and it is no
//! viewer in the eyes of the lease.

use std::{path::Path, time::Duration};

use a8s_rfb::{SECURITY_NONE, VERSION, encode, encodings};
use anyhow::Context;
use bytes::{BufMut, Bytes};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use super::updates::{TIGHT, Updates};
use crate::screen::handshake;

/// The display answers within milliseconds; longer means that it hangs.
const PATIENCE: Duration = Duration::from_secs(5);
/// JPEG of quality 6 of 0 to 9.
const QUALITY: i32 = -32 + 6;
/// Compression 2 of 0 to 9: the rest costs more than it saves.
const COMPRESSION: i32 = -256 + 2;
/// 32 bits a pixel, little endian, red first: what noVNC asks for, so that it reads a recording as its own stream.
const FORMAT: [u8; 16] = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 0, 8, 16, 0, 0, 0];
const NAME: &[u8] = b"a8s";

/// One connection, and with it one segment.
#[derive(Debug)]
pub struct Tap {
    stream: UnixStream,
    updates: Updates,
}

impl Tap {
    /// Connects; the first picture is not asked for yet.
    pub async fn connect(display: &Path) -> anyhow::Result<Self> {
        timeout(PATIENCE, Self::open(display)).await.context("the display does not answer")?
    }

    async fn open(display: &Path) -> anyhow::Result<Self> {
        let mut stream = UnixStream::connect(display).await.context("cannot connect to the display")?;
        let init = handshake(&mut stream).await.context("the display does not speak RFB as expected")?;
        let mut format = vec![0; 4];
        format.extend(FORMAT);
        stream.write_all(&format).await?;
        // Without a cursor encoding the server draws the pointer into the picture: a player has no pointer of its own to show.
        let known = [
            TIGHT,
            encodings::COPY_RECT,
            encodings::LAST_RECT,
            encodings::DESKTOP_SIZE,
            QUALITY,
            COMPRESSION,
        ];
        stream.write_all(&encode::set_encodings(&known)).await?;
        Ok(Self { stream, updates: Updates::new((init.width, init.height)) })
    }

    /// What a viewer that replays this segment hears before the first update.
    pub fn greeting(&self) -> Vec<u8> {
        let (width, height) = self.size();
        let mut out = VERSION.to_vec();
        out.extend([1, SECURITY_NONE]);
        // Granted.
        out.put_u32(0);
        out.put_u16(width);
        out.put_u16(height);
        out.extend(FORMAT);
        out.put_u32(u32::try_from(NAME.len()).unwrap_or(0));
        out.extend(NAME);
        out
    }

    /// Size of the desktop.
    pub fn size(&self) -> (u16, u16) {
        self.updates.size()
    }

    /// The whole picture, now.
    pub async fn whole(&mut self) -> anyhow::Result<Bytes> {
        self.ask(false).await?;
        timeout(PATIENCE, self.update()).await.context("the display does not answer")?
    }

    /// What has changed, once something has.
    pub async fn change(&mut self) -> anyhow::Result<Bytes> {
        // Xvnc 1.12 answers each request once, so who asks sets the pace.
        self.ask(true).await?;
        self.update().await
    }

    async fn ask(&mut self, incremental: bool) -> anyhow::Result<()> {
        let (width, height) = self.size();
        Ok(self.stream.write_all(&encode::update_request(incremental, width, height)).await?)
    }

    async fn update(&mut self) -> anyhow::Result<Bytes> {
        loop {
            if let Some(update) = self.updates.update()? {
                return Ok(update);
            }
            let buffer = self.updates.buffer();
            buffer.reserve(64 * 1024);
            anyhow::ensure!(self.stream.read_buf(buffer).await? > 0, "the display closed the connection");
        }
    }
}
