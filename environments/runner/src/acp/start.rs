//! The two lines before the harness's own: what the shim is to start, and whether it did.

use std::io;

use a8s_wire::{Launch, Launched};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::{Duration, timeout},
};

/// The shim may first need to end the harness of the connection before: a hint, a signal, the deadly signal.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest answer of the shim.
const MAX_LINE: u64 = 64 * 1024;

/// Why no harness runs. The text is for people.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The shim says why.
    #[error("{0}")]
    Refused(String),
    /// The connection broke.
    #[error("the agent's container does not answer: {0}")]
    Broken(#[from] io::Error),
    /// The shim is silent.
    #[error("the agent's container did not start the agent in time")]
    Silent,
}

/// Has the harness started; what is read and written afterwards is the harness's.
pub async fn start(
    mut stream: UnixStream,
    launch: &Launch,
) -> Result<(BufReader<OwnedReadHalf>, OwnedWriteHalf), StartError> {
    let mut line = serde_json::to_vec(launch).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let (read, write) = stream.into_split();
    let mut read = BufReader::new(read);
    let mut answer = String::new();
    timeout(PATIENCE, (&mut read).take(MAX_LINE).read_line(&mut answer))
        .await
        .map_err(|_| StartError::Silent)??;
    let launched: Launched = serde_json::from_str(&answer)
        .map_err(|_| io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection"))?;
    match launched.error {
        Some(error) => Err(StartError::Refused(error)),
        None => Ok((read, write)),
    }
}
