//! A unix socket on which each connection is one run of the harness.
//!
//! Connections are served strictly one after the other: the next waits in the socket's backlog until the last harness is gone with its
//! whole process group, so two harnesses never share the home directory.

use std::{
    io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use a8s_wire::paths;
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy},
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
    eprintln!("shim: listening on {}", options.socket.display());
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
            Err(error) => eprintln!("shim: {error}"),
        }
    }
    let _ = std::fs::remove_file(&options.socket);
    Ok(())
}

/// The image's `/etc/machine-id` leads to a place that this container has for itself.
fn identify(options: &ServeOptions) {
    let Some((file, workspace)) = &options.machine else { return };
    if let Err(error) = std::fs::write(file, paths::machine_id(workspace)) {
        eprintln!("shim: this machine has no identity of its own, {}: {error}", file.display());
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

async fn run(
    options: &ServeOptions,
    reaper: &Reaper,
    stream: UnixStream,
    stop: impl Future<Output = ()>,
) -> io::Result<End> {
    let (program, arguments) = options.command.split_first().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "no harness command was given after --")
    })?;
    reaper.forget();
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(&options.directory)
        .env("HOME", &options.directory)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start the harness {program}: {error}"))
        })?;
    let pid = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::other("the harness has no pipes"));
    };
    let mut stdin = Some(ChildStdin::from_std(stdin)?);
    let stdout = ChildStdout::from_std(stdout)?;
    let (from_runner, to_runner) = stream.into_split();

    let outward = tokio::spawn(carry_out(stdout, to_runner));
    let end = tokio::select! {
        () = carry_in(from_runner, &mut stdin) => End::Connection,
        how = reaper.exited(pid) => {
            eprintln!("shim: the harness ended with {how}");
            End::Connection
        }
        () = stop => End::Shutdown,
    };
    // Closing its standard input is the protocol's way to ask a harness to leave.
    drop(stdin);
    finish(reaper, pid, options.grace).await;
    let _ = timeout(options.grace, outward).await;
    Ok(end)
}

async fn carry_in(mut from: impl AsyncRead + Unpin, to: &mut Option<ChildStdin>) {
    if let Some(stdin) = to
        && copy(&mut from, stdin).await.is_err()
    {
        // The harness closed its input but may still be answering: it ends by its own exit.
        *to = None;
        std::future::pending::<()>().await;
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
