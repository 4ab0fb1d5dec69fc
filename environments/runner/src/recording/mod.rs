//! Recordings of the desktop, one a turn: taken from deskd while the turn runs, kept on the volume, and published as an Artifact when it is
//! over. Whatever goes wrong with a recording, the turn does not notice.

mod pack;
mod reel;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use a8s_wire::recording::{Frame, GapReason, MEDIA_TYPE, Order};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixStream, unix::OwnedWriteHalf},
    sync::{Mutex, watch},
    time::{sleep, timeout},
};

use crate::{
    artifacts::Blobs,
    handle::{Handle, NewArtifact},
    redact::Redactor,
};
use reel::{Reel, Whose};

/// What is ordered where nothing else is said.
pub const ORDER: Order = Order { rate: 5, max_bytes: 64 << 20, segment_seconds: 60 };
/// deskd has this long to send what is on its way when a recording ends.
const LAST_WORDS: Duration = Duration::from_secs(10);
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Takes recordings.
#[derive(Clone)]
pub struct Recordings {
    parts: Arc<Parts>,
}

/// What recordings are made with.
pub struct Parts {
    /// deskd's recorder.
    pub socket: PathBuf,
    /// Where a recording is kept until it is published.
    pub folder: PathBuf,
    /// UID of the Workspace and epoch of the conversation: what comes from others is no recording of ours.
    pub workspace: String,
    /// Epoch of the conversation.
    pub epoch: i64,
    /// What is wanted of deskd.
    pub order: Order,
    /// Where published files are.
    pub blobs: Blobs,
    /// Who tells people.
    pub engine: Handle,
    /// Knows what must not be told.
    pub redactor: Redactor,
}

impl Recordings {
    /// Records each turn that `wanted` names, from when it is named until another one is, or none.
    pub fn start(parts: Parts, wanted: watch::Receiver<Option<i64>>) {
        let recordings = Self { parts: Arc::new(parts) };
        tokio::spawn(recordings.work(wanted));
    }

    async fn work(self, mut wanted: watch::Receiver<Option<i64>>) {
        // Recordings are published one after the other, while the next one is taken already.
        let publishing = Arc::new(Mutex::new(()));
        for left in reel::left_behind(&self.parts.folder).await {
            self.publish(left, publishing.clone());
        }
        // The engine ends with the process.
        while let Ok(turn) = wanted.wait_for(Option::is_some).await.map(|turn| *turn) {
            let Some(turn) = turn else { continue };
            let whose = Whose { turn, workspace: self.parts.workspace.clone(), epoch: self.parts.epoch };
            match Reel::create(&self.parts.folder, &whose, self.parts.redactor.clone()).await {
                Ok(reel) => {
                    let folder = reel.folder().to_owned();
                    self.take(reel, turn, &mut wanted).await;
                    self.publish(folder, publishing.clone());
                }
                Err(error) => {
                    tracing::warn!(%error, turn, "the turn is not recorded");
                    let _ = wanted.wait_for(|now| *now != Some(turn)).await;
                }
            }
        }
    }

    /// Takes what deskd sends, over as many connections as it needs.
    async fn take(&self, mut reel: Reel, turn: i64, wanted: &mut watch::Receiver<Option<i64>>) {
        let mut left = self.parts.order.max_bytes;
        while *wanted.borrow_and_update() == Some(turn) {
            if let Err(error) = self.listen(&mut reel, &mut left, turn, wanted).await {
                tracing::debug!(%error, turn, "no recording from deskd");
            }
            if reel.failed() || left == 0 {
                let _ = wanted.wait_for(|now| *now != Some(turn)).await;
                break;
            }
            reel.darken(GapReason::Display);
            tokio::select! {
                _ = wanted.wait_for(|now| *now != Some(turn)) => {}
                () = sleep(TRY_AGAIN) => {}
            }
        }
        reel.close().await;
    }

    async fn listen(
        &self,
        reel: &mut Reel,
        left: &mut u64,
        turn: i64,
        wanted: &mut watch::Receiver<Option<i64>>,
    ) -> std::io::Result<()> {
        let stream = UnixStream::connect(&self.parts.socket).await?;
        let (reader, mut writer) = stream.into_split();
        let mut order = serde_json::to_vec(&Order { max_bytes: *left, ..self.parts.order })?;
        order.push(b'\n');
        writer.write_all(&order).await?;
        let mut reader = BufReader::with_capacity(64 * 1024, reader);
        let taking = async {
            loop {
                let frame = next(&mut reader).await?;
                let Some(frame) = frame else { return Ok(()) };
                if let Frame::Data(bytes) = &frame {
                    *left = left.saturating_sub(bytes.len() as u64);
                }
                reel.keep(frame).await;
                if reel.failed() {
                    return Ok(());
                }
            }
        };
        tokio::pin!(taking);
        tokio::select! {
            taken = &mut taking => return taken,
            _ = wanted.wait_for(|now| *now != Some(turn)) => {}
        }
        // To say no more is the word for the end; deskd closes what is open and then the connection.
        said_enough(writer).await?;
        timeout(LAST_WORDS, taking).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }

    /// Publishes what is in a folder, when those before it are published.
    fn publish(&self, folder: PathBuf, after: Arc<Mutex<()>>) {
        let parts = self.parts.clone();
        tokio::spawn(async move {
            let _after = after.lock().await;
            if let Err(error) = published(&parts, &folder).await {
                tracing::warn!(error = format!("{error:#}"), "a recording is lost");
            }
            if let Err(error) = tokio::fs::remove_dir_all(&folder).await {
                tracing::warn!(%error, folder = %folder.display(), "a recording cannot be removed");
            }
        });
    }
}

async fn said_enough(mut writer: OwnedWriteHalf) -> std::io::Result<()> {
    writer.shutdown().await
}

async fn next(reader: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Option<Frame>> {
    let mut head = [0; Frame::HEAD];
    match reader.read_exact(&mut head).await {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    };
    let mut content = vec![0; Frame::content(head).map_err(std::io::Error::other)?];
    reader.read_exact(&mut content).await?;
    Frame::decode(head, content).map(Some).map_err(std::io::Error::other)
}

async fn published(parts: &Arc<Parts>, folder: &Path) -> anyhow::Result<()> {
    let (working, folder) = (parts.clone(), folder.to_owned());
    let packed = tokio::task::spawn_blocking(move || pack::pack(&working, &folder)).await??;
    let Some(packed) = packed else { return Ok(()) };
    let turn = packed.turn;
    let new = NewArtifact {
        name: format!("recording-turn-{turn}"),
        title: format!("Recording of turn {turn}"),
        file_name: format!("recording-turn-{turn}.tar"),
        media_type: MEDIA_TYPE.to_owned(),
        size: packed.size,
        sha256: packed.sha256,
    };
    parts.engine.recording(turn, new).await?;
    for sha256 in pack::surplus(&parts.engine.state().await?.artifacts) {
        parts.blobs.forget(&sha256)?;
    }
    let why = match packed.cut {
        Some(GapReason::Limit) => "it became too large",
        Some(GapReason::Disk) => "the volume has no room",
        _ => return Ok(()),
    };
    parts.engine.notice(format!("The recording of turn {turn} is not whole: {why}.")).await;
    Ok(())
}
