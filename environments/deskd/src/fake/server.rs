//! The fake display's RFB server: as much of RFC 6143 as deskd and a browser's viewer need, raw rectangles only.

use std::sync::Arc;

use a8s_rfb::{Framebuffer, Kind, SECURITY_NONE, VERSION, clipboard, encode, message};
use anyhow::Context;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::mpsc,
};

use super::{Desktop, glyph::Rect};

const NAME: &[u8] = b"fake";

/// Where the parts of a pixel are in a client's 32 bits: red, green, blue.
pub type Shifts = [u8; 3];
/// The order of a [`Framebuffer`].
const NATIVE: Shifts = [16, 8, 0];

/// One RFB client.
#[derive(Debug)]
pub struct Client {
    out: mpsc::UnboundedSender<Bytes>,
    shifts: Shifts,
    wants: bool,
    damage: Option<Rect>,
}

impl Client {
    /// One whose handshake is over.
    pub fn new(out: mpsc::UnboundedSender<Bytes>) -> Self {
        Self { out, shifts: NATIVE, wants: false, damage: None }
    }

    /// Something is to be sent; if the client is gone, its reader notices.
    pub fn send(&self, message: Bytes) {
        let _ = self.out.send(message);
    }

    /// The picture has changed.
    pub fn damage(&mut self, rect: Rect) {
        self.damage = Some(self.damage.map_or(rect, |old| old.union(rect)));
    }

    /// Answers an open request for an update, if there is something to say.
    pub fn update(&mut self, picture: &Framebuffer) {
        if !self.wants {
            return;
        }
        let Some(rect) = self.damage.take() else { return };
        self.wants = false;
        self.send(rectangle(picture, rect, self.shifts));
    }
}

/// Accepts clients until the process ends.
pub async fn serve(desktop: Arc<Desktop>, listener: UnixListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let desktop = desktop.clone();
        tokio::spawn(async move {
            if let Err(error) = talk(&desktop, stream).await {
                tracing::debug!(error = format!("{error:#}"), "a client of the fake display left");
            }
        });
    }
}

async fn talk(desktop: &Arc<Desktop>, mut stream: UnixStream) -> anyhow::Result<()> {
    let mut version = [0; 12];
    stream.write_all(VERSION).await?;
    stream.read_exact(&mut version).await?;
    anyhow::ensure!(&version == VERSION, "it does not speak RFB 3.8");
    stream.write_all(&[1, SECURITY_NONE]).await?;
    anyhow::ensure!(stream.read_u8().await? == SECURITY_NONE, "it wants another security type");
    stream.write_u32(0).await?;
    let _shared = stream.read_u8().await?;
    let (width, height) = desktop.size();
    stream.write_all(&init(width, height)).await?;

    let (mut reader, mut writer) = stream.into_split();
    let (out, mut outgoing) = mpsc::unbounded_channel::<Bytes>();
    let id = desktop.join(Client::new(out));
    let writing = tokio::spawn(async move {
        while let Some(bytes) = outgoing.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let mut buffer = BytesMut::new();
    let outcome = async {
        while reader.read_buf(&mut buffer).await? > 0 {
            desktop.hear(id, &mut buffer)?;
        }
        anyhow::Ok(())
    }
    .await;
    desktop.leave(id);
    writing.abort();
    outcome
}

/// The next whole message, if there is one.
pub fn next_message(buffer: &mut BytesMut) -> anyhow::Result<Option<(Kind, BytesMut)>> {
    let Some(extent) = message::measure(buffer)? else { return Ok(None) };
    anyhow::ensure!(!extent.oversize, "a message is too long");
    Ok((buffer.len() >= extent.len).then(|| (extent.kind, buffer.split_to(extent.len))))
}

/// What a message that is no input does to the client's own state.
pub fn settle(client: &mut Client, kind: Kind, message: &[u8], size: (u16, u16)) -> anyhow::Result<()> {
    match kind {
        Kind::SetPixelFormat => {
            anyhow::ensure!(message[4] == 32 && message[6] == 0, "only 32 bits, little endian, are drawn");
            client.shifts = [message[14], message[15], message[16]];
            anyhow::ensure!(
                client.shifts.iter().all(|shift| *shift <= 24),
                "a colour lies outside the pixel"
            );
        }
        Kind::UpdateRequest => {
            client.wants = true;
            if message[1] == 0 {
                client.damage(Rect { x: 0, y: 0, w: size.0, h: size.1 });
            }
        }
        Kind::Fence => {
            let head = message.get(4..8).context("a fence is too short")?;
            let flags = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            if flags & encode::FENCE_REQUEST != 0 {
                client.send(encode::fence(flags & !encode::FENCE_REQUEST, &message[9..]));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Asks a client for its text.
pub fn ask(client: &Client) {
    client.send(clipboard::ask());
}

fn init(width: u16, height: u16) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_u16(width);
    out.put_u16(height);
    // The format of a framebuffer; the same bytes as a client would ask for it with.
    out.extend(&encode::set_pixel_format()[4..]);
    out.put_u32(u32::try_from(NAME.len()).unwrap_or(0));
    out.extend(NAME);
    out
}

fn rectangle(picture: &Framebuffer, rect: Rect, [red, green, blue]: Shifts) -> Bytes {
    let mut out = BytesMut::with_capacity(16 + usize::from(rect.w) * usize::from(rect.h) * 4);
    out.put_slice(&[0, 0, 0, 1]);
    for part in [rect.x, rect.y, rect.w, rect.h] {
        out.put_u16(part);
    }
    out.put_i32(a8s_rfb::encodings::RAW);
    for y in rect.y..rect.y + rect.h {
        let start = (usize::from(y) * usize::from(picture.width) + usize::from(rect.x)) * 4;
        let row = &picture.pixels[start..start + usize::from(rect.w) * 4];
        if [red, green, blue] == NATIVE {
            out.put_slice(row);
        } else {
            for pixel in row.chunks_exact(4) {
                let value =
                    u32::from(pixel[2]) << red | u32::from(pixel[1]) << green | u32::from(pixel[0]) << blue;
                out.put_u32_le(value);
            }
        }
    }
    out.freeze()
}
