//! The runner's own commands. A backup tool runs `a8s-runner quiesce` in the container before it takes a Snapshot: the image has no shell
//! and the tool has no token, so the command talks to the running process over a unix socket that only this user can reach.

use std::{
    io::{self, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixListener,
    time::timeout,
};

use crate::flush::Flusher;

const QUIESCE: &str = "quiesce";
const DONE: &str = "ok ";
/// Backup tools give a hook half a minute.
const LIMIT: Duration = Duration::from_secs(25);
/// A caller says what it wants at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Answers commands for ever. Without the socket everything else works, so its failure is no reason to stop.
pub async fn serve(socket: &Path, flusher: Flusher) {
    let listener = match listen(socket) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!(%error, "no socket for commands; `a8s-runner quiesce` will not work");
            return;
        }
    };
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the socket for commands failed");
                return;
            }
        };
        let flusher = flusher.clone();
        tokio::spawn(async move {
            let (read, mut write) = stream.into_split();
            let mut line = String::new();
            let asked = timeout(PATIENCE, BufReader::new(read).read_line(&mut line)).await;
            let answer = match (asked, line.trim()) {
                (Ok(Ok(_)), QUIESCE) => quiesce(&flusher).await,
                _ => format!("{line:?} is no command; known is: {QUIESCE}"),
            };
            // Who asked may be gone.
            let _ = write.write_all(answer.as_bytes()).await;
        });
    }
}

/// A socket of an earlier run, or one that came with a Snapshot, is replaced.
fn listen(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn quiesce(flusher: &Flusher) -> String {
    match flusher.flush().await {
        Ok(done) => {
            let state = done.state;
            format!(
                "{DONE}on the disk: turn {}, event {}.{}, {} files",
                state.turn, state.epoch, state.seq, done.files
            )
        }
        Err(error) => error.to_string(),
    }
}

/// `a8s-runner quiesce`: asks the process that listens on `socket`. Returns the line to print, or the one to fail with.
pub fn ask(socket: &Path) -> Result<String, String> {
    let answer = (|| {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(format!("{QUIESCE}\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, io::Error>(answer)
    })();
    let answer =
        answer.map_err(|error| format!("the runner does not answer on {}: {error}", socket.display()))?;
    match answer.strip_prefix(DONE) {
        Some(done) => Ok(done.to_owned()),
        None if answer.is_empty() => Err("the runner stopped before it was done; try again".into()),
        None => Err(answer),
    }
}
