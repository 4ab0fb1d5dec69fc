//! Ends what a process started and removes its folder, however the process itself ends, be it by `kill -9`. A shell does it: it starts the
//! programs, so that they are its children and their ids nobody else's, and reads from a pipe whose other end closes with the owner.
//!
//! Nothing but the kernel can tie a child to its parent's life, by `prctl` between fork and exec, and that is unsafe code. The pipe is the
//! kernel's word for it, too.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};

/// Its argument is what the folder's name starts with. Each line that it reads is a command; what it answers are the folder's path and the
/// ids of the processes. What is killed has no time to write into the folder while that goes.
const SHELL: &str = r#"
folder=$(mktemp -d "${TMPDIR:-/tmp}/$1XXXXXXXX") || exit 1
echo "$folder"
all=
while IFS= read -r command; do
  eval "exec $command" </dev/null &
  all="$all $!"
  echo "$!"
done
[ -z "$all" ] || kill -KILL $all
wait
rm -rf "$folder"
"#;

/// Keeps processes and a folder as long as it lives itself.
pub struct Keeper {
    shell: Child,
    // Taken in the end: that it closes is the sign.
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
}

impl Keeper {
    /// With an empty folder whose name starts with `prefix`.
    pub fn new(prefix: &str) -> Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", SHELL, "keeper", prefix])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // ^C of a terminal is for the owner; this one has something left to do then.
            .process_group(0)
            .spawn()
            .context("starting sh")?;
        let commands = shell.stdin.take();
        let answers = BufReader::new(shell.stdout.take().context("its output")?);
        let mut keeper = Self { shell, commands, answers, folder: PathBuf::new() };
        let folder = keeper.answer().context("making a temporary folder")?;
        keeper.folder = fs::canonicalize(folder)?;
        Ok(keeper)
    }

    /// What is there as long as this is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts a program that reads nothing and writes into a log; its id.
    pub fn start(&mut self, command: &[String], log: &Path) -> Result<i32> {
        let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
        let line = format!("{} >>{} 2>&1", words.join(" "), quoted(&log.display().to_string()));
        ensure!(!line.contains('\n'), "a command is one line");
        writeln!(self.commands.as_mut().context("it ends")?, "{line}").context("telling the keeper")?;
        self.answer()?.parse().context("no process id")
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        ensure!(line.ends_with('\n'), "the keeper has ended");
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.shell.wait();
    }
}

/// A word that a shell takes as it is.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;

    fn command(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).collect()
    }

    #[test]
    fn what_was_started_ends_with_its_keeper_and_the_folder_goes() {
        let mut keeper = Keeper::new("a8s-keeper-").unwrap();
        let folder = keeper.folder().to_owned();
        let log = folder.join("log");
        let sleeps = |keeper: &mut Keeper| keeper.start(&command(&["sleep", "1000"]), &log).unwrap();
        let all = [sleeps(&mut keeper), sleeps(&mut keeper)];
        let living = all.map(|pid| Identity::of(pid).expect("it runs"));
        drop(keeper);
        assert!(living.iter().all(|process| !process.is_alive()));
        assert!(!folder.exists());
    }

    #[test]
    fn words_reach_a_program_as_they_are() {
        let mut keeper = Keeper::new("a8s-keeper-").unwrap();
        let log = keeper.folder().join("the log's file");
        let pid = keeper.start(&command(&["printf", "%s|", "it's", "$HOME `x`", "a  b\\"]), &log).unwrap();
        while Identity::of(pid).is_some() {
            std::thread::yield_now();
        }
        assert_eq!(fs::read_to_string(&log).unwrap(), r"it's|$HOME `x`|a  b\|");
    }
}
