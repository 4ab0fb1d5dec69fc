//! The shim as a process: what it starts, what it carries, what it leaves behind.

#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

struct Shim {
    process: Child,
    folder: tempfile::TempDir,
}

impl Shim {
    fn start(script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_a8s-shim"))
            .env("npm_config_x", "y")
            .env("INIT_CWD", "/")
            .env("HTTP_PROXY", "http://127.0.0.1:9")
            .env("NO_PROXY", ".example")
            .env_remove("no_proxy")
            .args(["serve", "--grace", "0.3", "--socket"])
            .arg(folder.path().join("agent.sock"))
            .arg("--directory")
            .arg(folder.path())
            .args(["--", "sh", "-c", script])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stderr.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.contains("listening"), "{line}");
        Self { process, folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent.sock")
    }

    fn connect(&self) -> UnixStream {
        self.launch("{}", "{}")
    }

    /// Connects, sends the first line and expects this answer.
    fn launch(&self, header: &str, answer: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        writeln!(stream, "{header}").unwrap();
        let mut line = Vec::new();
        // Byte by byte: what follows is the harness's.
        let mut byte = [0];
        while stream.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.extend(byte);
        }
        assert_eq!(String::from_utf8(line).unwrap(), answer);
        stream
    }

    fn terminate(&mut self) {
        let _ = kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), Signal::SIGTERM);
        assert!(self.process.wait().unwrap().success());
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            // It ends its harness, which may hear nothing else.
            let _ = kill(Pid::from_raw(i32::try_from(self.process.id()).unwrap()), Signal::SIGTERM);
            let _ = self.process.wait();
        }
    }
}

fn read_line(stream: &UnixStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

fn wait_until_gone(pid: &str) {
    while Path::new("/proc").join(pid).join("exe").exists() {
        std::thread::yield_now();
    }
}

#[test]
fn bytes_go_both_ways_and_each_connection_is_a_new_run() {
    let shim = Shim::start("echo $$; cat");
    let mut pids = Vec::new();
    for _ in 0..2 {
        let mut stream = shim.connect();
        pids.push(read_line(&stream));
        stream.write_all(b"hello\n").unwrap();
        assert_eq!(read_line(&stream), "hello");
    }
    assert_ne!(pids[0], pids[1]);
}

#[test]
fn a_harness_that_ignores_everything_is_gone_with_its_children_before_the_next_starts() {
    let shim = Shim::start("trap '' TERM; sleep 1000 & echo $$ $!; while :; do sleep 1000; done");
    let first = read_line(&shim.connect());
    let second = shim.connect();
    let next = read_line(&second);
    assert_ne!(first, next);
    for pid in first.split(' ') {
        wait_until_gone(pid);
    }
}

#[test]
fn the_end_of_the_harness_closes_the_connection() {
    let shim = Shim::start("echo last words; exit 3");
    let mut text = String::new();
    shim.connect().read_to_string(&mut text).unwrap();
    assert_eq!(text, "last words\n");
}

#[test]
fn a_runner_that_hangs_up_before_it_has_read_everything_is_served_again() {
    let shim = Shim::start(
        "printf 'first line\\nand what nobody reads\\n'; trap '' TERM; while :; do sleep 1000; done",
    );
    let mut stream = shim.connect();
    // One piece of one write: the rest of it is here, too, when the first byte is.
    stream.read_exact(&mut [0]).unwrap();
    drop(stream);
    let again = shim.connect();
    again.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(read_line(&again), "first line");
}

#[test]
fn a_harness_that_closes_its_input_is_heard_to_its_end_and_ended_with_the_runner() {
    let shim = Shim::start("exec <&-; echo $$; while :; do sleep 1000; done");
    let mut stream = shim.connect();
    let pid = read_line(&stream);
    // The first may still fit into the pipe; nothing of it is an error to the runner.
    for _ in 0..3 {
        stream.write_all(b"is anybody there?\n").unwrap();
    }
    drop(stream);
    wait_until_gone(&pid);
    assert_ne!(read_line(&shim.connect()), pid);
}

#[test]
fn what_a_harness_leaves_behind_with_its_output_open_does_not_keep_the_runner_waiting() {
    let shim = Shim::start("setsid sh -c 'echo $$; exec sleep 1000' & wait");
    let stream = shim.connect();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let left = read_line(&stream);
    let harness = std::fs::read_to_string(format!("/proc/{left}/stat")).unwrap();
    let parent = harness.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap();
    kill(Pid::from_raw(parent), Signal::SIGKILL).unwrap();
    let ended = (&stream).read_to_end(&mut Vec::new());
    kill(Pid::from_raw(left.parse().unwrap()), Signal::SIGKILL).unwrap();
    ended.unwrap();
    assert!(read_line(&shim.connect()).parse::<i32>().is_ok());
}

#[test]
fn on_sigterm_the_harness_is_ended_and_the_socket_removed() {
    let mut shim = Shim::start("echo $$; cat");
    let stream = shim.connect();
    let pid = read_line(&stream);
    shim.terminate();
    assert!(!shim.socket().exists());
    wait_until_gone(&pid);
}

#[test]
fn the_mcp_bridge_carries_what_is_still_on_its_way_after_the_end_of_input() {
    let shim = Shim::start("cat");
    let mut bridge = Command::new(env!("CARGO_BIN_EXE_a8s-shim"))
        .args(["mcp", "--socket"])
        .arg(shim.socket())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = bridge.stdin.take().unwrap();
    input.write_all(b"{}\nquestion\n").unwrap();
    let mut output = BufReader::new(bridge.stdout.take().unwrap());
    for expected in ["{}\n", "question\n"] {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, expected);
    }
    drop(input);
    assert!(bridge.wait().unwrap().success());
    let refused = UnixStream::connect(shim.folder.path().join("none"));
    assert!(refused.is_err());
    shim.connect().shutdown(Shutdown::Both).unwrap();
}

#[test]
fn the_runner_says_which_harness_runs_and_what_it_gets() {
    let shim = Shim::start("cat");
    let script = r#"echo "$WORD $HOME ${npm_config_x-none} ${INIT_CWD-none} $NO_PROXY $no_proxy""#;
    let header =
        serde_json::json!({"command": ["sh", "-c", script], "env": {"WORD": "hello", "HOME": "/elsewhere"}});
    let mut text = String::new();
    shim.launch(&header.to_string(), "{}").read_to_string(&mut text).unwrap();
    // Whatever proxy the pod was told to use: what the runner offers is on this machine.
    let around = ".example,localhost,127.0.0.1,::1";
    assert_eq!(text, format!("hello {} none none {around} {around}\n", shim.folder.path().display()));
}

#[test]
fn what_cannot_be_started_is_said_and_the_next_connection_is_served() {
    let shim = Shim::start("echo here");
    let error = "cannot start the harness no-such-program: No such file or directory (os error 2); \
                 is it in the Environment's image?";
    let answer = serde_json::json!({"error": error}).to_string();
    drop(shim.launch(r#"{"command": ["no-such-program"]}"#, &answer));
    drop(shim.launch("nonsense", r#"{"error":"the first line does not say what to start"}"#));
    drop(UnixStream::connect(shim.socket()).unwrap());
    assert_eq!(read_line(&shim.connect()), "here");
}
