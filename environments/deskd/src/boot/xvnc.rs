//! The X server. It listens on two unix sockets only, X11 with a cookie and RFB in a private directory: a TCP port or an abstract socket
//! would be open to the other containers of the pod, which share its network namespace.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context;

use super::{
    children::{Children, Ended},
    home,
};
use crate::options::Options;

const START_TIMEOUT: Duration = Duration::from_secs(20);

/// A running X server.
#[derive(Debug)]
pub struct Display {
    /// `1` for `:1`.
    pub number: u32,
    /// Process id of Xvnc.
    pub pid: u32,
    /// Xauthority file for X clients.
    pub xauthority: PathBuf,
    /// The cookie in it.
    pub cookie: [u8; 16],
    /// Unix socket that speaks RFB without authentication; nobody else can reach it.
    pub rfb: PathBuf,
    /// Resolves when Xvnc ends.
    pub ended: Ended,
}

/// Starts Xvnc and waits until it accepts connections.
pub async fn start(options: &Options, children: &Children) -> anyhow::Result<Display> {
    let private = options.run_dir.join("a8s");
    home::make_private_dir(&private).with_context(|| format!("cannot make {}", private.display()))?;
    home::make_socket_dir().context("cannot make /tmp/.X11-unix")?;
    let rfb = private.join("rfb.sock");
    home::remove(&rfb);
    let xauthority = private.join("xauthority");
    let cookie: [u8; 16] = rand::random();
    write_xauthority(&xauthority, &cookie).context("cannot write the X cookie")?;

    let mut command = Command::new(&options.xvnc);
    let number = options.display.0;
    command.arg(format!(":{number}"));
    arguments(&mut command, options, &rfb, &xauthority);
    command.env("HOME", &options.home).stdin(Stdio::null()).stdout(Stdio::piped());
    let (mut child, mut ended) =
        children.spawn(&mut command).with_context(|| format!("cannot start {}", options.xvnc.display()))?;
    let pid = child.id();
    let stdout = child.stdout.take().context("Xvnc has no standard output")?;
    let announced = tokio::task::spawn_blocking(move || read_line(stdout));
    tokio::select! {
        line = announced => line?.context("Xvnc did not say that it is ready")?,
        exit = &mut ended => {
            let text = exit.map(|exit| exit.text).unwrap_or_default();
            anyhow::bail!("Xvnc {text} before it was ready; its log is above");
        }
        () = tokio::time::sleep(START_TIMEOUT) => anyhow::bail!("Xvnc was not ready after {START_TIMEOUT:?}"),
    };
    Ok(Display { number, pid, xauthority, cookie, rfb, ended })
}

fn arguments(command: &mut Command, options: &Options, rfb: &Path, xauthority: &Path) {
    let geometry = format!("{}x{}", options.geometry.width, options.geometry.height);
    command.args(["-geometry", &geometry, "-depth", "24", "-dpi", "96"]);
    command.args(["-displayfd", "1", "-rfbport", "-1", "-rfbunixmode", "0600", "-SecurityTypes", "None"]);
    command.arg("-rfbunixpath").arg(rfb).arg("-auth").arg(xauthority);
    // Without AlwaysShared one client can disconnect all others; the blacklist would lock everybody out after five aborted
    // handshakes, since all peers of a unix socket have the same address; AllowOverride would let X clients change these settings.
    command.args(["-AlwaysShared", "-UseBlacklist=0", "-AllowOverride="]);
    command.args(["-FrameRate", "120", "-MaxCutText", "1048576"]);
    if !options.clipboard.comes_out() {
        // It sends what is copied to every client, unasked. Nothing is told to stop what goes in: the agent pastes, too.
        command.arg("-SendCutText=0");
    }
    command.args(["-nolisten", "tcp", "-nolisten", "local", "-noreset", "-s", "0"]);
    // GLX costs 50 MB; without XTEST there is no way round the RFB socket for injected input.
    command.args(["-extension", "GLX", "-extension", "XTEST"]);
}

/// Xvnc writes its display number and a newline to `-displayfd` when it accepts connections.
fn read_line(mut from: impl io::Read) -> io::Result<()> {
    let mut byte = [0];
    while byte[0] != b'\n' {
        from.read_exact(&mut byte)?;
    }
    Ok(())
}

/// One entry that fits every address and display.
fn write_xauthority(path: &Path, cookie: &[u8; 16]) -> io::Result<()> {
    const WILD: [u8; 2] = [0xff, 0xff];
    const NAME: &[u8; 18] = b"MIT-MAGIC-COOKIE-1";
    home::remove(path);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let (no_address, no_number) = ([0, 0], [0, 0]);
    let entry =
        [&WILD, &no_address, &no_number, &[0, 18], NAME.as_slice(), &[0, 16], cookie.as_slice()].concat();
    file.write_all(&entry)
}
