//! Command line and the desktop's own configuration file. Every path has the pod's place as its default, so that the image needs no flags.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, str::FromStr};

use a8s_wire::{Clipboard, paths};
use clap::Parser;
use serde::Deserialize;

/// Command line of deskd.
#[derive(Clone, Debug, Parser)]
#[command(name = "deskd", version, about = "Owns the display of an a8s desktop")]
pub struct Options {
    /// Address of the HTTPS server.
    #[arg(long, default_value = "0.0.0.0:8443")]
    pub listen: SocketAddr,
    /// Directory with tls.crt, tls.key and tokens.pub.
    #[arg(long, default_value = paths::TLS)]
    pub tls: PathBuf,
    /// Unix socket of the MCP server.
    #[arg(long, default_value = paths::DESKD_SOCKET)]
    pub socket: PathBuf,
    /// Home directory of the desktop.
    #[arg(long, default_value = paths::HOME)]
    pub home: PathBuf,
    /// What a new home begins with.
    #[arg(long, default_value = "/usr/share/a8s/skel")]
    pub skel: PathBuf,
    /// Runtime directory (memory): session bus, X cookie, RFB socket.
    #[arg(long, default_value = "/run/user-1000")]
    pub run_dir: PathBuf,
    /// Where this machine's identity is written; the image's /etc/machine-id leads there.
    #[arg(long, default_value = paths::MACHINE_ID)]
    pub machine_id: PathBuf,
    /// Services and applications of this image.
    #[arg(long, default_value = "/etc/a8s/desktop.json", env = "A8S_DESKTOP_CONFIG")]
    pub config: PathBuf,
    /// X display. There is no way to ask for a free one: Xvnc's own search can give two servers the same number.
    #[arg(long, default_value = ":1")]
    pub display: DisplayNumber,
    /// What is shown: an X server's screen, or toy programs that need nothing from the machine, for tests.
    #[arg(long, value_enum, default_value_t)]
    pub backend: Backend,
    /// The X server.
    #[arg(long, default_value = "Xvnc")]
    pub xvnc: PathBuf,
    /// Width and height in pixels.
    #[arg(long, default_value = "1280x800", env = paths::env::GEOMETRY)]
    pub geometry: Geometry,
    /// Which way text may go between the desktop's clipboard and those of people: Both, In, Out or None. The agent's own tools are within
    /// the desktop.
    #[arg(long, default_value = "Both", env = paths::env::CLIPBOARD)]
    pub clipboard: Clipboard,
    /// UID of the Workspace; tokens for any other are refused.
    #[arg(long, env = paths::env::WORKSPACE_UID)]
    pub workspace_uid: String,
}

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// Xvnc with the programs of `desktop.json`.
    #[default]
    Xvnc,
    /// See [`crate::fake`].
    Fake,
}

/// Number of an X display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DisplayNumber(pub u32);

impl FromStr for DisplayNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix(':').and_then(|n| n.parse().ok());
        number.map(Self).ok_or_else(|| format!("{text:?} is no display; write it like :1"))
    }
}

/// Size of the desktop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
}

impl FromStr for Geometry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = |part: &str, range: std::ops::RangeInclusive<u16>| {
            part.parse::<u16>().ok().filter(|n| range.contains(n))
        };
        let size =
            text.split_once('x').and_then(|(w, h)| Some((parse(w, 320..=3840)?, parse(h, 200..=2160)?)));
        let (width, height) = size.ok_or_else(|| {
            format!("{text:?} is no size between 320x200 and 3840x2160, for example 1280x800")
        })?;
        Ok(Self { width, height })
    }
}

/// Contents of `desktop.json`.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct DesktopConfig {
    /// Programs that belong to the desktop itself, started in this order.
    #[serde(default)]
    pub services: Vec<Service>,
    /// Programs that the agent may start by a short name.
    #[serde(default)]
    pub applications: BTreeMap<String, Vec<String>>,
}

/// One program of the desktop.
#[derive(Clone, Debug, Deserialize)]
pub struct Service {
    /// Name in logs and in `/healthz`.
    pub name: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Start it again when it ends. Without this it runs once, as a wallpaper setter does.
    #[serde(default)]
    pub restart: bool,
    /// What it waits for.
    #[serde(default)]
    pub after: After,
}

/// What a service waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum After {
    /// The X server.
    #[default]
    Display,
    /// The window manager: a panel that starts earlier sleeps first.
    Wm,
}

impl DesktopConfig {
    /// Whether something stays that waits for the window manager: a panel.
    pub fn has_panel(&self) -> bool {
        self.services.iter().any(|service| service.restart && service.after == After::Wm)
    }

    /// Reads the file; it must exist, a desktop without services is a mistake in the image.
    pub fn read(path: &std::path::Path) -> anyhow::Result<Self> {
        use anyhow::Context;
        let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let config: Self =
            serde_json::from_slice(&text).with_context(|| format!("{} is not valid", path.display()))?;
        for service in &config.services {
            anyhow::ensure!(!service.command.is_empty(), "service {} has no command", service.name);
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_displays_are_checked_when_read() {
        assert_eq!("1280x800".parse(), Ok(Geometry { width: 1280, height: 800 }));
        for bad in ["", "1280", "10x10", "9999x800", "1280x800x2", "-1x800"] {
            assert!(bad.parse::<Geometry>().is_err(), "{bad}");
        }
        assert_eq!(":7".parse(), Ok(DisplayNumber(7)));
        assert!("7".parse::<DisplayNumber>().is_err());
    }
}
