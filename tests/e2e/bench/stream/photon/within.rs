//! The way within the pod: a key to the desktop, and the first update that shows what it did. No browser, no proxy.

use std::time::{Duration, Instant};

use a8s_rfb::{Decoder, Framebuffer, SECURITY_NONE, ServerEvent, ServerInit, VERSION, encode, encodings};
use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

const KEY: u32 = 'a' as u32;
/// A corner of the window: what is measured is the way, not how fast pixels are compressed.
const CORNER: u16 = 64;
const PATIENCE: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(500);

/// A viewer that asks for a corner of the screen.
pub struct Within<S> {
    stream: S,
    decoder: Decoder,
    picture: Framebuffer,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Within<S> {
    /// Does the handshake and waits for the first picture.
    pub async fn open(mut stream: S) -> Result<Self> {
        let mut theirs = [0; VERSION.len()];
        stream.read_exact(&mut theirs).await?;
        stream.write_all(&VERSION[..]).await?;
        let mut types = vec![0; usize::from(stream.read_u8().await?)];
        stream.read_exact(&mut types).await?;
        ensure!(types.contains(&SECURITY_NONE), "the server wants a password");
        stream.write_all(&[SECURITY_NONE]).await?;
        ensure!(stream.read_u32().await? == 0, "the server refused");
        stream.write_all(&[1]).await?;
        let mut init = [0; ServerInit::LENGTH];
        stream.read_exact(&mut init).await?;
        let init = ServerInit::parse(&init)?;
        stream.read_exact(&mut vec![0; init.name_length]).await?;
        stream.write_all(&encode::set_pixel_format()).await?;
        stream.write_all(&encode::set_encodings(&[encodings::RAW])).await?;
        let picture = Framebuffer::new(init.width, init.height);
        let mut viewer = Self { stream, decoder: Decoder::default(), picture };
        viewer.answered().await?;
        Ok(viewer)
    }

    /// Waits until the program has the keyboard: presses before that show nothing.
    async fn answered(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while timeout(SHORT, self.press()).await.is_err() {
            ensure!(Instant::now() < until, "no key changes the picture");
            self.stream.write_all(&encode::key(KEY, false)).await?;
        }
        Ok(())
    }

    /// Presses a key; how long until the update that shows another colour was there.
    pub async fn press(&mut self) -> Result<Duration> {
        // What another viewer's key did meanwhile is not what this one's does.
        self.stream.write_all(&encode::update_request(false, CORNER, CORNER)).await?;
        self.updated().await?;
        self.stream.write_all(&encode::update_request(true, CORNER, CORNER)).await?;
        let before = self.red();
        let began = Instant::now();
        self.stream.write_all(&encode::key(KEY, true)).await?;
        while self.red() == before {
            self.updated().await?;
            if self.red() == before {
                self.stream.write_all(&encode::update_request(true, CORNER, CORNER)).await?;
            }
        }
        let took = began.elapsed();
        self.stream.write_all(&encode::key(KEY, false)).await?;
        Ok(took)
    }

    fn red(&self) -> Option<u8> {
        self.picture.pixels.get(2).copied()
    }

    async fn updated(&mut self) -> Result<()> {
        timeout(PATIENCE, async {
            let mut chunk = vec![0; 64 * 1024];
            loop {
                while let Some(event) = self.decoder.next(&mut self.picture)? {
                    if matches!(event, ServerEvent::Updated { .. }) {
                        return Ok(());
                    }
                }
                let length = self.stream.read(&mut chunk).await?;
                ensure!(length > 0, "the desktop hung up");
                self.decoder.push(&chunk[..length]);
            }
        })
        .await
        .context("no update came")?
    }
}
