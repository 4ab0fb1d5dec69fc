//! A unix socket on which each connection is one run of the harness.
//!
//! Connections are served strictly one after the other: the next waits in the socket's backlog until the last harness is gone with its
//! whole process group, so two harnesses never share the home directory.
//!
//! The first line on a connection is the runner's: which harness, and the variables it gets. It is answered by one line that says whether
//! the harness was started; everything after the two is the harness's own.

use std::{
    io::{self, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use a8s_wire::{Launch, Launched, paths};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{
        AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy,
    },
    net::{UnixListener, UnixStream},
    process::{ChildStdin, ChildStdout},
    signal::unix::{SignalKind, signal},
    time::timeout,
};

use crate::reap::Reaper;

/// What to serve, and where.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// The socket; a left-over of an earlier run is replaced.
    pub socket: PathBuf,
    /// The harness and its arguments.
    pub command: Vec<String>,
    /// Its working directory and home.
    pub directory: PathBuf,
    /// Where to write this machine's identity, and the UID of the Workspace that it is made of.
    pub machine: Option<(PathBuf, String)>,
    /// Time between the polite signal and the deadly one.
    pub grace: Duration,
}

/// Serves until SIGTERM or SIGINT; then ends the harness the same way as after a disconnect.
pub async fn serve(options: ServeOptions) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let reaper = Reaper::start()?;
    identify(&options);
    let listener = listen(&options.socket)?;
    log(&format!("listening on {}", options.socket.display()));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted?.0,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        let stop = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        match run(&options, &reaper, stream, stop).await {
            Ok(End::Connection) => {}
            Ok(End::Shutdown) => break,
            // The runner sees its connection closed and tries again; the reason is for whoever reads the pod's log.
            Err(error) => log(&format!("{error}")),
        }
    }
    let _ = std::fs::remove_file(&options.socket);
    Ok(())
}

/// The image's `/etc/machine-id` leads to a place that this container has for itself.
fn identify(options: &ServeOptions) {
    let Some((file, workspace)) = &options.machine else { return };
    if let Err(error) = std::fs::write(file, paths::machine_id(workspace)) {
        log(&format!("this machine has no identity of its own, {}: {error}", file.display()));
    }
}

enum End {
    Connection,
    Shutdown,
}

fn listen(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Names of this machine, for those who were told to use a proxy.
const LOOPBACK: &str = "localhost,127.0.0.1,::1";
/// Most bytes that are carried at a time.
const PIECE: usize = 64 * 1024;
/// A runner that is there says at once what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

async fn run(
    options: &ServeOptions,
    reaper: &Reaper,
    stream: UnixStream,
    stop: impl Future<Output = ()>,
) -> io::Result<End> {
    let (from_runner, mut to_runner) = stream.into_split();
    let mut from_runner = BufReader::new(from_runner);
    tokio::pin!(stop);
    let launch = tokio::select! {
        launch = timeout(PATIENCE, asked(&mut from_runner)) => match launch {
            Ok(Ok(Some(launch))) => launch,
            // Somebody looked whether the socket is there.
            Ok(Ok(None)) => return Ok(End::Connection),
            Ok(Err(error)) => return refuse(&mut to_runner, error.to_string()).await,
            Err(_) => return refuse(&mut to_runner, "the runner did not say what to start".into()).await,
        },
        () = &mut stop => return Ok(End::Shutdown),
    };
    reaper.forget();
    let mut child = match start(options, launch) {
        Ok(child) => child,
        Err(error) => return refuse(&mut to_runner, error.to_string()).await,
    };
    // A runner that is gone is noticed below, where its harness is ended, too.
    let _ = answer(&mut to_runner, &Launched::default()).await;
    let pid = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("the harness has no pipes"));
    };
    let mut stdin = Some(ChildStdin::from_std(stdin)?);
    let stdout = ChildStdout::from_std(stdout)?;

    let mut outward = tokio::spawn(carry_out(stdout, to_runner));
    let end = tokio::select! {
        () = carry_in(from_runner, &mut stdin) => End::Connection,
        how = reaper.exited(pid) => {
            log(&format!("the harness ended with {how}"));
            End::Connection
        }
        () = &mut stop => End::Shutdown,
    };
    // Closing its standard input is the protocol's way to ask a harness to leave.
    drop(stdin);
    finish(reaper, pid, options.grace).await;
    if timeout(options.grace, &mut outward).await.is_err() {
        // Something that the harness left behind still holds its output. The runner must not wait for that: the harness is gone.
        outward.abort();
    }
    Ok(end)
}

/// The runner's first line; `None` if it left without one.
async fn asked(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Launch>> {
    let mut line = Vec::new();
    let limit = u64::try_from(Launch::MAX_LINE).unwrap_or(u64::MAX);
    from.take(limit).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Ok(None);
    }
    // What the line holds is not repeated in the error: there is a token in it.
    let launch = serde_json::from_slice(&line).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidData, "the first line does not say what to start")
    })?;
    Ok(Some(launch))
}

fn start(options: &ServeOptions, launch: Launch) -> io::Result<Child> {
    let command = if launch.command.is_empty() { &options.command } else { &launch.command };
    let (program, arguments) = command.split_first().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "no harness command was given after --")
    })?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&options.directory)
        .envs(launch.env)
        .env("HOME", &options.directory)
        .envs(around_proxies(|name| std::env::var(name).ok()))
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    // Harnesses that run on node take these for their own.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("npm_") || name == "INIT_CWD") {
            command.env_remove(name);
        }
    }
    command.spawn().map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot start the harness {program}: {error}; is it in the Environment's image?"),
        )
    })
}

/// The way to the model and to what was granted leads over the pod's own loopback interface, where no proxy can follow.
fn around_proxies(before: impl Fn(&str) -> Option<String>) -> [(&'static str, String); 2] {
    let around = ["NO_PROXY", "no_proxy"].map(&before).into_iter().flatten().find(|names| !names.is_empty());
    let around = around.map_or_else(|| LOOPBACK.to_owned(), |names| format!("{names},{LOOPBACK}"));
    [("NO_PROXY", around.clone()), ("no_proxy", around)]
}

async fn answer(to: &mut (impl AsyncWrite + Unpin), launched: &Launched) -> io::Result<()> {
    let mut line = serde_json::to_vec(launched)?;
    line.push(b'\n');
    to.write_all(&line).await
}

/// A word for whoever reads the pod's log. Nobody has to.
fn log(text: &str) {
    let _ = writeln!(io::stderr(), "shim: {text}");
}

async fn refuse(to: &mut (impl AsyncWrite + Unpin), error: String) -> io::Result<End> {
    // The runner tells people; this is for whoever reads the pod's log.
    log(&error);
    let _ = answer(to, &Launched { error: Some(error) }).await;
    let _ = to.shutdown().await;
    Ok(End::Connection)
}

/// Ends when the runner is gone. That may be an error and no end of the stream: a runner that hangs up with something unread resets the
/// connection.
async fn carry_in(mut from: impl AsyncRead + Unpin, to: &mut Option<ChildStdin>) {
    let mut piece = vec![0; PIECE];
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else { return };
        // A harness that closed its input may still be answering: it ends by its own exit, or with the runner.
        if let Some(stdin) = to
            && stdin.write_all(&piece[..length]).await.is_err()
        {
            *to = None;
        }
    }
}

async fn carry_out(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    let _ = copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

async fn finish(reaper: &Reaper, pid: Pid, grace: Duration) {
    for (signal, wait) in [(None, grace / 5), (Some(Signal::SIGTERM), grace), (Some(Signal::SIGKILL), grace)]
    {
        if let Some(signal) = signal {
            let _ = killpg(pid, signal);
        }
        if timeout(wait, reaper.exited(pid)).await.is_ok() {
            break;
        }
    }
    // What the harness started and left behind must not outlive it.
    let _ = killpg(pid, Signal::SIGKILL);
}
