//! Commands in the agent's container: bounded in time and output, and gone with their children when whoever waits for them is cancelled.

use std::{io, path::Path, process::Stdio, time::Duration};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::Command,
    time::timeout,
};

/// What a command said and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Standard output, then standard error; the beginning and the end of it where it was too long.
    pub output: String,
    /// How it ended: `exit status: 1`, or that it was stopped.
    pub ended: String,
    /// Whether it ended well.
    pub success: bool,
}

/// Kills a command's process group when it is dropped before the command has ended, so that a cancelled command leaves nothing behind.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = killpg(pid, Signal::SIGKILL);
        }
    }
}

/// Runs a shell command in the home directory. At most `most` characters of its output are kept.
pub async fn run(home: &Path, command: &str, limit: Duration, most: usize) -> io::Result<Outcome> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .current_dir(home)
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));
    let (mut said, mut complained) = (Kept::new(most), Kept::new(most));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let finished = timeout(limit, async {
        // The pipes end when the last process that holds them does; a child that stays in the background must not be waited for.
        let both = async { tokio::join!(said.fill(out), complained.fill(err)) };
        tokio::pin!(both);
        tokio::select! {
            _ = &mut both => child.wait().await,
            status = child.wait() => {
                let _ = timeout(Duration::from_millis(200), both).await;
                status
            }
        }
    })
    .await;
    if finished.is_ok() {
        // What it left in the background on purpose, a server for example, lives on.
        group.0 = None;
    }
    drop(group);
    let mut output = said.text();
    output.push_str(&complained.text());
    let (ended, success) = match finished {
        Ok(status) => {
            let status = status?;
            (status.to_string(), status.success())
        }
        Err(_) => (format!("stopped after {} s", limit.as_secs()), false),
    };
    Ok(Outcome { output: output.trim_end().to_owned(), ended, success })
}

/// The beginning and the end of an output.
struct Kept {
    most: usize,
    head: Vec<u8>,
    tail: std::collections::VecDeque<u8>,
    dropped: usize,
}

impl Kept {
    fn new(most: usize) -> Self {
        Self { most: most / 2, head: Vec::new(), tail: std::collections::VecDeque::new(), dropped: 0 }
    }

    async fn fill(&mut self, from: Option<impl AsyncRead + Unpin>) {
        let Some(mut from) = from else { return };
        let mut buffer = vec![0; 16 << 10];
        while let Ok(read) = from.read(&mut buffer).await {
            if read == 0 {
                break;
            }
            let room = self.most.saturating_sub(self.head.len()).min(read);
            self.head.extend_from_slice(&buffer[..room]);
            self.tail.extend(&buffer[room..read]);
            let over = self.tail.len().saturating_sub(self.most);
            self.tail.drain(..over);
            self.dropped += over;
        }
    }

    fn text(self) -> String {
        let tail: Vec<u8> = self.tail.into();
        if self.dropped == 0 {
            return String::from_utf8_lossy(&[self.head, tail].concat()).into_owned();
        }
        let (head, tail) = (String::from_utf8_lossy(&self.head), String::from_utf8_lossy(&tail));
        format!("{head}\n… {} bytes left out …\n{tail}", self.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sh(command: &str, limit: Duration) -> Outcome {
        run(Path::new("/"), command, limit, 200).await.unwrap()
    }

    #[tokio::test]
    async fn a_command_says_what_it_said_and_how_it_ended() {
        let outcome = sh("echo out; echo err >&2; exit 3", Duration::from_secs(20)).await;
        assert_eq!((outcome.output.as_str(), outcome.success), ("out\nerr", false));
        assert!(outcome.ended.contains('3'), "{}", outcome.ended);
    }

    #[tokio::test]
    async fn a_long_output_keeps_its_beginning_and_its_end() {
        let outcome = sh("echo begin; seq 100000; echo end", Duration::from_secs(20)).await;
        assert!(outcome.output.starts_with("begin") && outcome.output.ends_with("end"), "{}", outcome.output);
        assert!(outcome.output.len() < 400 && outcome.output.contains("bytes left out"));
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_stopped_and_a_server_in_the_background_is_not_waited_for() {
        let outcome = sh("echo begun; sleep 1000", Duration::from_millis(300)).await;
        assert!(
            !outcome.success && outcome.ended.contains("stopped") && outcome.output == "begun",
            "{outcome:?}"
        );
        let outcome = sh("sleep 30 & echo started", Duration::from_secs(20)).await;
        assert!(outcome.success && outcome.output == "started", "{outcome:?}");
    }
}
