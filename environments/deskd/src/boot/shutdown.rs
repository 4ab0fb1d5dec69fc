//! The end of the desktop: programs get the chance to save, the browser first, since only SIGINT makes it leave a clean profile.

use std::{collections::HashMap, fs, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

const BROWSER_GRACE: Duration = Duration::from_secs(3);
const GRACE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Ends every process below this one; Xvnc goes last, so that the others can still draw their goodbyes.
pub async fn stop_all(xvnc: u32) {
    let browsers = |process: &Process| process.command == "chromium" && !process.helper;
    signal(Signal::SIGINT, browsers);
    gone(BROWSER_GRACE, browsers).await;
    let others = |process: &Process| process.pid != xvnc.cast_signed();
    signal(Signal::SIGTERM, others);
    gone(GRACE, others).await;
    signal(Signal::SIGKILL, others);
    signal(Signal::SIGTERM, |_| true);
    gone(GRACE, |_| true).await;
    signal(Signal::SIGKILL, |_| true);
}

async fn gone(limit: Duration, which: impl Fn(&Process) -> bool) {
    let waited = async {
        while descendants().iter().any(&which) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    };
    // What is still there after the grace time gets the next signal.
    let _ = tokio::time::timeout(limit, waited).await;
}

fn signal(signal: Signal, which: impl Fn(&Process) -> bool) {
    for process in descendants().iter().filter(|process| which(process)) {
        // It may have ended by itself meanwhile.
        let _ = kill(Pid::from_raw(process.pid), signal);
    }
}

struct Process {
    pid: i32,
    command: String,
    /// A helper process of the browser.
    helper: bool,
}

/// Processes below this one. Orphans are below PID 1 or a subreaper, and this process is one of them.
fn descendants() -> Vec<Process> {
    let mut parents = HashMap::new();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((command, parent, state)) = parse_stat(&stat) else { continue };
        parents.insert(pid, parent);
        if state != 'Z' {
            let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let helper = arguments.split(|byte| *byte == 0).any(|argument| argument.starts_with(b"--type="));
            found.push(Process { pid, command, helper });
        }
    }
    let own = std::process::id().cast_signed();
    let below = |mut pid: i32| {
        // The table was not read at one instant; a cycle is impossible in truth, but must not hang us.
        for _ in 0..parents.len() {
            match parents.get(&pid) {
                Some(parent) if *parent == own => return true,
                Some(parent) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    found.retain(|process| below(process.pid));
    found
}

fn parse_stat(stat: &str) -> Option<(String, i32, char)> {
    let (head, tail) = stat.rsplit_once(')')?;
    let command = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((command, fields.next()?.parse().ok()?, state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_does_not_confuse_the_parent() {
        let parsed = parse_stat("12 (a) b (c) S 7 12 12 0 -1 4194560").unwrap();
        assert_eq!(parsed, ("a) b (c".into(), 7, 'S'));
    }
}
