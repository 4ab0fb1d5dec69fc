//! The few btrfs operations the driver needs, through the `btrfs` program.
//!
//! The ioctls behind them cannot be called without unsafe code; a fork costs about two milliseconds.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    path::Path,
    process::{Command, Stdio},
};

/// Why a program did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started at all.
    #[error("cannot run {program}: {source} (is it installed?)")]
    Start {
        /// The program.
        program: String,
        /// The reason.
        source: io::Error,
    },
    /// It ended with an error.
    #[error("{command}: {message}")]
    Failed {
        /// The program and its arguments.
        command: String,
        /// What it wrote to standard error.
        message: String,
    },
    /// It wrote something this driver does not understand.
    #[error("{command}: unexpected output {output:?}")]
    Output {
        /// The program and its arguments.
        command: String,
        /// What it wrote.
        output: String,
    },
}

impl CommandError {
    /// Whether the pool is full.
    pub fn is_no_space(&self) -> bool {
        matches!(self, Self::Failed { message, .. } if message.contains("No space left") || message.contains("quota exceeded"))
    }
}

/// Runs a program to its end and returns what it wrote to standard output.
pub fn run<I, S>(program: &str, args: I) -> Result<String, CommandError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    run_with(program, args, Stdio::null())
}

fn run_with<I, S>(program: &str, args: I, stdin: Stdio) -> Result<String, CommandError>
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    // Messages are matched by text, so they must not be translated.
    command.args(args).stdin(stdin).env("LC_ALL", "C");
    let shown = format!("{command:?}").replace('"', "").replace("LC_ALL=C ", "");
    let output =
        command.output().map_err(|source| CommandError::Start { program: program.to_owned(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let message = if message.is_empty() { output.status.to_string() } else { message };
    Err(CommandError::Failed { command: shown, message })
}

/// The operations on a pool.
///
/// Each started program also holds the pool's lock file, as its standard input: after a kill the next driver gets the lock
/// only when the last program of the killed one has ended, so none can change the pool behind its back.
#[derive(Debug)]
pub struct Btrfs {
    lock: File,
}

impl Btrfs {
    /// Operations that hold the open file `lock`.
    pub fn new(lock: File) -> Self {
        Self { lock }
    }

    /// Makes an empty subvolume at `path`.
    pub fn create(&self, path: &Path) -> Result<(), CommandError> {
        self.btrfs(["subvolume".as_ref(), "create".as_ref(), path.as_ref()]).map(drop)
    }

    /// Makes a writable snapshot of the subvolume `from` at `to`.
    pub fn copy(&self, from: &Path, to: &Path) -> Result<(), CommandError> {
        self.btrfs(["subvolume".as_ref(), "snapshot".as_ref(), from.as_ref(), to.as_ref()]).map(drop)
    }

    /// Makes a read-only snapshot of the subvolume `from` at `to`.
    pub fn freeze(&self, from: &Path, to: &Path) -> Result<(), CommandError> {
        self.btrfs(["subvolume".as_ref(), "snapshot".as_ref(), "-r".as_ref(), from.as_ref(), to.as_ref()])
            .map(drop)
    }

    /// Deletes the subvolume at `path`. Its space is freed later, in the background.
    pub fn delete(&self, path: &Path) -> Result<(), CommandError> {
        self.btrfs(["subvolume".as_ref(), "delete".as_ref(), path.as_ref()]).map(drop)
    }

    /// Turns accounting by subvolume on; harmless if it is on.
    pub fn enable_quota(&self, root: &Path) -> Result<(), CommandError> {
        self.btrfs(["quota".as_ref(), "enable".as_ref(), root.as_ref()]).map(drop)
    }

    /// Limits what the subvolume at `path` may refer to: shared data of a snapshot counts in full.
    pub fn limit(&self, path: &Path, bytes: i64) -> Result<(), CommandError> {
        let bytes = bytes.to_string();
        self.btrfs(["qgroup".as_ref(), "limit".as_ref(), bytes.as_ref(), path.as_ref()]).map(drop)
    }

    /// Takes any limit from the subvolume at `path`. A snapshot inherits its source's.
    pub fn unlimit(&self, path: &Path) -> Result<(), CommandError> {
        self.btrfs(["qgroup".as_ref(), "limit".as_ref(), "none".as_ref(), path.as_ref()]).map(drop)
    }

    /// Bytes that the subvolume at `path` refers to.
    pub fn used(&self, path: &Path) -> Result<i64, CommandError> {
        let output =
            self.btrfs(["qgroup".as_ref(), "show".as_ref(), "--raw".as_ref(), "-F".as_ref(), path.as_ref()])?;
        parse_used(&output).ok_or_else(|| CommandError::Output {
            command: format!("btrfs qgroup show {}", path.display()),
            output,
        })
    }

    fn btrfs<const N: usize>(&self, args: [&OsStr; N]) -> Result<String, CommandError> {
        let lock = self
            .lock
            .try_clone()
            .map_err(|source| CommandError::Start { program: "btrfs".to_owned(), source })?;
        run_with("btrfs", args, lock.into())
    }
}

/// The second column of the one line that describes a subvolume's own group.
fn parse_used(output: &str) -> Option<i64> {
    let line = output.lines().find(|line| line.starts_with("0/"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_a_volume_refers_to_are_read_from_the_listing() {
        let listing = "Qgroupid    Referenced    Exclusive   Path \n--------    ----------    ---------   ---- \n\
                       0/258         10469376      2080768   volumes/r\n";
        assert_eq!(parse_used(listing), Some(10_469_376));
        assert_eq!(parse_used("Qgroupid Referenced\n"), None);
    }

    #[test]
    fn a_failing_program_is_reported_with_its_own_words() {
        let error = run("sh", ["-c", "echo No space left on device >&2; exit 3"]).unwrap_err();
        assert!(error.is_no_space(), "{error}");
        assert!(error.to_string().contains("No space left on device"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run("a8s-no-such-program", [""; 0]).unwrap_err();
        assert!(error.to_string().contains("a8s-no-such-program"), "{error}");
    }
}
