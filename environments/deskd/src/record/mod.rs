//! Recording of the desktop for the runner, which has the disk (see [`a8s_wire::recording`]).
//!
//! While a person holds the desktop in private there is no connection to the display to record from: it is closed before the lease says
//! that it is private, and opened again after the lease says that it is not. What copies and types is never recorded, only that it was done.

mod film;
mod tap;
pub mod updates;
pub mod words;

use std::{
    io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use a8s_wire::recording::{Action, Actor, GapReason, Order};
use anyhow::Context;
use film::{Film, Outbox};
use jiff::Timestamp;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream, unix::OwnedWriteHalf},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::boot::home;

/// Who connects says at once what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST_ORDER: u64 = 4_096;

/// Records the desktop, for one taker at a time.
#[derive(Debug)]
pub struct Recorder {
    display: PathBuf,
    state: tokio::sync::Mutex<State>,
    /// The way to the taker, for what is done while the state is being changed.
    out: Mutex<Option<Outbox>>,
}

#[derive(Debug)]
struct State {
    covered: bool,
    reel: Option<Reel>,
    next: u64,
}

/// The recording that is being made.
#[derive(Debug)]
struct Reel {
    id: u64,
    camera: Camera,
}

#[derive(Debug)]
enum Camera {
    Rolling {
        stop: CancellationToken,
        task: JoinHandle<Film>,
    },
    Covered(Box<Film>),
    /// Its task failed; there is nothing to go on with.
    Broken,
}

impl Camera {
    fn roll(film: Film) -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut film = film;
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                // A recording that is full waits for its end.
                () = film.run() => stopped.cancelled().await,
            }
            film
        });
        Self::Rolling { stop, task }
    }

    /// Returns once nothing reads the display any more. It waits for no disk and no taker.
    async fn film(self) -> Option<Film> {
        match self {
            Self::Rolling { stop, task } => {
                stop.cancel();
                task.await.inspect_err(|error| tracing::error!(%error, "the recording failed")).ok()
            }
            Self::Covered(film) => Some(*film),
            Self::Broken => None,
        }
    }

    async fn cover(self) -> Self {
        self.film().await.map_or(Self::Broken, |mut film| {
            film.darken(GapReason::Private);
            Self::Covered(Box::new(film))
        })
    }

    async fn uncover(self) -> Self {
        self.film().await.map_or(Self::Broken, |mut film| {
            film.lighten();
            Self::roll(film)
        })
    }
}

impl Recorder {
    /// For the display behind this socket; `covered` if it is private now.
    pub fn new(display: PathBuf, covered: bool) -> Self {
        let state = State { covered, reel: None, next: 1 };
        Self { display, state: tokio::sync::Mutex::new(state), out: Mutex::default() }
    }

    /// The desktop becomes private: returns once nothing more is recorded.
    pub async fn cover(&self) {
        let mut state = self.state.lock().await;
        state.covered = true;
        if let Some(Reel { id, camera }) = state.reel.take() {
            state.reel = Some(Reel { id, camera: camera.cover().await });
        }
    }

    /// The desktop is private no more.
    pub async fn uncover(&self) {
        let mut state = self.state.lock().await;
        state.covered = false;
        if let Some(Reel { id, camera }) = state.reel.take() {
            state.reel = Some(Reel { id, camera: camera.uncover().await });
        }
    }

    /// Whether somebody takes a recording.
    pub fn active(&self) -> bool {
        self.outbox().is_some()
    }

    /// Something was done on the desktop.
    pub fn did(&self, who: Actor, what: impl FnOnce() -> Option<String>) {
        if let Some(out) = self.outbox()
            && let Some(what) = what()
        {
            out.action(Action { at: Timestamp::now().to_string(), who, what });
        }
    }

    fn outbox(&self) -> Option<Outbox> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn begin(&self, order: Order) -> (u64, mpsc::UnboundedReceiver<film::Sent>) {
        let mut state = self.state.lock().await;
        if let Some(reel) = state.reel.take() {
            tracing::info!("the recording goes to somebody else");
            self.close(reel).await;
        }
        let (out, sent) = Outbox::new();
        *self.out.lock().unwrap_or_else(PoisonError::into_inner) = Some(out.clone());
        let mut film = Film::new(&self.display, out, order);
        let id = state.next;
        state.next += 1;
        let camera = if state.covered {
            film.darken(GapReason::Private);
            Camera::Covered(Box::new(film))
        } else {
            Camera::roll(film)
        };
        state.reel = Some(Reel { id, camera });
        (id, sent)
    }

    async fn end(&self, id: u64) {
        let mut state = self.state.lock().await;
        if let Some(reel) = state.reel.take_if(|reel| reel.id == id) {
            self.close(reel).await;
        }
    }

    async fn close(&self, reel: Reel) {
        *self.out.lock().unwrap_or_else(PoisonError::into_inner) = None;
        if let Some(film) = reel.camera.film().await {
            film.finish();
        }
    }
}

/// Listens beside the agent's tools; the same may connect.
pub fn listen(deskd_socket: &Path) -> anyhow::Result<UnixListener> {
    let socket = a8s_wire::paths::recorder(deskd_socket);
    home::remove(&socket);
    let listener =
        UnixListener::bind(&socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o660))
        .with_context(|| format!("cannot set the mode of {}", socket.display()))?;
    Ok(listener)
}

/// Serves each taker until it leaves.
pub async fn serve(recorder: Arc<Recorder>, listener: UnixListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let recorder = recorder.clone();
                tokio::spawn(async move {
                    if let Err(error) = record(&recorder, stream).await {
                        tracing::info!(error = format!("{error:#}"), "a recording was broken off");
                    }
                });
            }
            Err(error) => {
                // The desktop is worth more than its recording.
                tracing::warn!(%error, "the recorder's socket failed");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn record(recorder: &Recorder, stream: UnixStream) -> anyhow::Result<()> {
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::new(reader.take(LONGEST_ORDER));
    let mut line = String::new();
    timeout(PATIENCE, reader.read_line(&mut line)).await.context("no order came")??;
    let order: Order = serde_json::from_str(&line).context("the order is not understood")?;
    let (id, sent) = recorder.begin(order).await;
    let mut sending = tokio::spawn(send(sent, writer));
    let left = tokio::select! {
        sent = &mut sending => Some(sent),
        // Whatever else it says, it has nothing more to order.
        _ = reader.read_line(&mut line) => None,
    };
    recorder.end(id).await;
    match left {
        Some(sent) => sent??,
        None => sending.await??,
    }
    Ok(())
}

async fn send(mut sent: mpsc::UnboundedReceiver<film::Sent>, mut writer: OwnedWriteHalf) -> io::Result<()> {
    while let Some(sent) = sent.recv().await {
        writer.write_all(&sent.bytes).await?;
    }
    writer.shutdown().await
}
