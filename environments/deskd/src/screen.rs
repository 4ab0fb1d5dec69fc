//! deskd's own RFB connection: an up-to-date picture of the desktop, and the agent's hands. A screenshot costs no round trip, and "the
//! screen has settled" is something that happened instead of a guess.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use a8s_rfb::{
    Decoder, Framebuffer, Kind, SECURITY_NONE, ServerEvent, ServerInit, VERSION, clipboard, encode, encodings,
};
use anyhow::Context;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixStream, unix::OwnedReadHalf},
    sync::{Notify, oneshot, watch},
    time::Instant,
};

use crate::{
    error::DeskError,
    lease::{Lease, Seated},
    seat::{Seat, SeatError},
};

/// Damage smaller than this share of the picture is a blinking caret, not a change: 1 / 2000.
const CARET_SHARE: u64 = 2000;
const BARRIER_LIMIT: Duration = Duration::from_secs(3);

/// The agent's view and hands.
#[derive(Debug)]
pub struct Screen {
    picture: Mutex<Framebuffer>,
    changed: watch::Sender<Instant>,
    seat: Arc<Seat>,
    fences: Mutex<HashMap<u64, oneshot::Sender<()>>>,
    next_fence: std::sync::atomic::AtomicU64,
    pub(crate) offered: Mutex<Option<String>>,
    pub(crate) copied: Mutex<Option<String>>,
    pub(crate) fetched: Notify,
    pub(crate) extra_keys: Mutex<HashSet<char>>,
    _seated: Seated,
}

impl Screen {
    /// Connects to the X server and keeps the picture up to date until the server goes away.
    pub async fn connect(socket: &Path, lease: &Arc<Lease>) -> anyhow::Result<Arc<Self>> {
        let mut stream = UnixStream::connect(socket).await.context("cannot connect to Xvnc")?;
        let init = handshake(&mut stream).await.context("Xvnc does not speak RFB as expected")?;
        let (reader, mut writer) = stream.into_split();
        // Without a cursor encoding the server draws the pointer into the picture, which is what an agent needs to see.
        let known = [
            encodings::COPY_RECT,
            encodings::RAW,
            encodings::DESKTOP_SIZE,
            encodings::LAST_RECT,
            encodings::FENCE,
            encodings::EXTENDED_CLIPBOARD,
        ];
        writer.write_all(&encode::set_pixel_format()).await?;
        writer.write_all(&encode::set_encodings(&known)).await?;
        writer.write_all(&clipboard::caps()).await?;
        writer.write_all(&encode::update_request(false, init.width, init.height)).await?;
        let seat = Arc::new(Seat::agent(writer));
        let screen = Arc::new(Self {
            picture: Mutex::new(Framebuffer::new(init.width, init.height)),
            changed: watch::Sender::new(Instant::now()),
            seat: seat.clone(),
            fences: Mutex::default(),
            next_fence: 1.into(),
            offered: Mutex::default(),
            copied: Mutex::default(),
            fetched: Notify::new(),
            extra_keys: Mutex::default(),
            _seated: lease.seat(seat),
        });
        let reading = screen.clone();
        tokio::spawn(async move {
            if let Err(error) = reading.read(reader).await {
                // Xvnc's end is noticed by its supervisor; this line says what the agent's connection saw.
                tracing::warn!(error = format!("{error:#}"), "the agent's RFB connection ended");
            }
            reading.seat.closed.cancel();
            // Whoever waits for a fence waits for nothing.
            reading.fences.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        screen.barrier().await.context("Xvnc does not answer")?;
        Ok(screen)
    }

    async fn read(&self, mut reader: OwnedReadHalf) -> anyhow::Result<()> {
        let mut decoder = Decoder::default();
        let mut chunk = vec![0; 256 * 1024];
        loop {
            let length = reader.read(&mut chunk).await?;
            anyhow::ensure!(length > 0, "the server closed the connection");
            decoder.push(&chunk[..length]);
            while let Some((event, size)) = self.decode(&mut decoder)? {
                self.handle(event, size).await?;
            }
        }
    }

    fn decode(&self, decoder: &mut Decoder) -> anyhow::Result<Option<(ServerEvent, (u16, u16))>> {
        let mut picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        let event = decoder.next(&mut picture)?;
        Ok(event.map(|event| (event, (picture.width, picture.height))))
    }

    async fn handle(&self, event: ServerEvent, (width, height): (u16, u16)) -> anyhow::Result<()> {
        match event {
            ServerEvent::Updated { pixels } => {
                if pixels * CARET_SHARE >= u64::from(width) * u64::from(height) {
                    self.changed.send_replace(Instant::now());
                }
                self.seat.control(&encode::update_request(true, width, height)).await?;
            }
            ServerEvent::Fence { flags, payload } if flags & encode::FENCE_REQUEST != 0 => {
                self.seat.control(&encode::fence(flags & !encode::FENCE_REQUEST, &payload)).await?;
            }
            ServerEvent::Fence { payload, .. } => {
                let id = payload.as_ref().try_into().map(u64::from_be_bytes).unwrap_or_default();
                let waiting = self.fences.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                if let Some(waiting) = waiting {
                    let _ = waiting.send(());
                }
            }
            ServerEvent::Clipboard(body) if clipboard::is_request(&body) => {
                let text = self.offered.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(text) = text {
                    self.seat.control(&clipboard::provide(&text)).await?;
                    self.fetched.notify_waiters();
                }
            }
            ServerEvent::Clipboard(_) | ServerEvent::Other => {}
        }
        Ok(())
    }

    /// Returns once the server has processed everything that was sent before.
    pub async fn barrier(&self) -> Result<(), DeskError> {
        answered(self.fence().await?).await
    }

    /// Asks the server to say when it has processed everything that was sent before; see [`answered`].
    pub(crate) async fn fence(&self) -> Result<oneshot::Receiver<()>, DeskError> {
        let id = self.next_fence.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        {
            let mut fences = self.fences.lock().unwrap_or_else(PoisonError::into_inner);
            fences.retain(|_, waiting| !waiting.is_closed());
            fences.insert(id, sender);
        }
        let flags = encode::FENCE_REQUEST | encode::FENCE_BLOCK_BEFORE;
        self.seat.control(&encode::fence(flags, &id.to_be_bytes())).await?;
        Ok(receiver)
    }

    /// Sends key and pointer messages if `allowed` says so at the last moment.
    pub(crate) async fn input(
        &self,
        messages: &[(Kind, Vec<u8>)],
        allowed: impl Fn() -> bool,
    ) -> Result<(), InputError> {
        self.seat.input(messages, allowed).await.map_err(|error| match error {
            SeatError::NotHeld => InputError::NotAllowed,
            other => InputError::Display(other.to_string()),
        })
    }

    /// Lets go of everything that the agent holds down.
    pub async fn release(&self) -> std::io::Result<()> {
        self.seat.release().await
    }

    /// Offers `text` as the clipboard.
    pub async fn offer(&self, text: String) -> Result<(), DeskError> {
        *self.offered.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        self.control(&clipboard::notify()).await
    }

    /// A protocol message that is no input.
    pub(crate) async fn control(&self, message: &[u8]) -> Result<(), DeskError> {
        Ok(self.seat.control(message).await?)
    }

    /// Size in pixels.
    pub fn size(&self) -> (u16, u16) {
        let picture = self.picture.lock().unwrap_or_else(PoisonError::into_inner);
        (picture.width, picture.height)
    }

    /// A copy of the picture.
    pub fn picture(&self) -> Framebuffer {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the picture without copying it; the screen stands still meanwhile.
    pub fn look<T>(&self, see: impl FnOnce(&Framebuffer) -> T) -> T {
        see(&self.picture.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Buttons that the agent holds down.
    pub async fn buttons(&self) -> u8 {
        self.seat.buttons().await
    }

    /// The connection is still there.
    pub fn alive(&self) -> bool {
        !self.seat.closed.is_cancelled()
    }

    /// Waits until something bigger than a caret changes, or `limit` passes.
    pub async fn change(&self, limit: Duration) {
        let mut changed = self.changed.subscribe();
        // Either way the caller looks again.
        let _ = tokio::time::timeout(limit, changed.changed()).await;
    }

    /// Waits until nothing bigger than a caret has changed for `quiet`; false if `limit` passes first.
    pub async fn settled(&self, quiet: Duration, limit: Duration) -> bool {
        let mut changed = self.changed.subscribe();
        // What this call waits for begins now: an old quiet period says nothing about input that was just sent.
        let began = Instant::now();
        let quiet_enough = async {
            loop {
                let last = (*changed.borrow_and_update()).max(began);
                if tokio::time::timeout_at(last + quiet, changed.changed()).await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, quiet_enough).await.is_ok()
    }
}

/// Why input was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum InputError {
    /// It was not allowed at that moment.
    NotAllowed,
    /// The display does not take it.
    Display(String),
}

/// Waits for the answer to a fence.
pub(crate) async fn answered(answer: oneshot::Receiver<()>) -> Result<(), DeskError> {
    match tokio::time::timeout(BARRIER_LIMIT, answer).await {
        Ok(Ok(())) => Ok(()),
        _ => Err(DeskError::Display("it did not process the input in time".into())),
    }
}

pub(crate) async fn handshake(stream: &mut UnixStream) -> anyhow::Result<ServerInit> {
    let mut version = [0; 12];
    stream.read_exact(&mut version).await?;
    anyhow::ensure!(&version == VERSION, "it offers {:?}", String::from_utf8_lossy(&version));
    stream.write_all(VERSION).await?;
    let mut types = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut types).await?;
    anyhow::ensure!(types.contains(&SECURITY_NONE), "it offers the security types {types:?}");
    stream.write_u8(SECURITY_NONE).await?;
    anyhow::ensure!(stream.read_u32().await? == 0, "it refuses the connection");
    stream.write_u8(1).await?;
    let mut head = [0; ServerInit::LENGTH];
    stream.read_exact(&mut head).await?;
    let init = ServerInit::parse(&head)?;
    let mut name = vec![0; init.name_length];
    stream.read_exact(&mut name).await?;
    Ok(init)
}
