//! Everything that a request needs, in one place: the display, the lease, the programs.

use std::{process::Stdio, sync::Arc, time::Duration};

use a8s_wire::{DeskState, token::TokenVerifier};

use crate::{
    boot::{
        children::Children,
        services::{Environment, Services},
    },
    error::DeskError,
    evidence::Evidence,
    lease::Lease,
    options::{DesktopConfig, Options},
    picture,
    screen::Screen,
    windows::Windows,
};

/// A program that fails within this time never really started.
const START_CHECK: Duration = Duration::from_millis(300);

/// The desktop.
pub struct Desk {
    /// Command line.
    pub options: Options,
    /// `desktop.json`.
    pub config: DesktopConfig,
    /// Who may send input.
    pub lease: Arc<Lease>,
    /// Picture and hands of the agent.
    pub screen: Arc<Screen>,
    /// Window list.
    pub windows: Windows,
    /// The desktop's own programs.
    pub services: Services,
    /// All processes.
    pub children: Children,
    /// Variables for programs.
    pub environment: Environment,
    /// Where Xvnc speaks RFB.
    pub rfb: std::path::PathBuf,
    /// When it was used, and when it first showed something.
    pub evidence: Evidence,
    /// Checks access tokens.
    pub tokens: TokenVerifier,
}

impl Desk {
    /// Why the desktop is not ready; `None` if it is.
    pub async fn not_ready(&self) -> Option<String> {
        if !self.screen.alive() {
            return Some("the display is gone".into());
        }
        match self.windows.managed().await {
            Ok(true) => self.services.missing(),
            Ok(false) => Some("the window manager has not announced itself".into()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// What `/v1/state` answers.
    pub async fn state(&self) -> DeskState {
        let (width, height) = self.screen.size();
        DeskState {
            ready: self.not_ready().await.is_none(),
            width,
            height,
            control: self.lease.state(),
            viewers: self.lease.viewers(),
            last_input: self.evidence.last_input(),
            first_frame: self.evidence.first_frame(),
        }
    }

    /// The picture as JPEG.
    pub async fn screenshot(&self) -> Result<Vec<u8>, DeskError> {
        let picture = self.screen.picture();
        let encoded = tokio::task::spawn_blocking(move || picture::jpeg(&picture)).await;
        let failed = |error: &dyn std::fmt::Display| DeskError::Display(format!("no screenshot: {error}"));
        encoded.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    /// Starts an application of `desktop.json` or a program of the image. Returns its process id.
    pub async fn launch(&self, program: &str, arguments: &[String]) -> Result<u32, DeskError> {
        let mut words =
            self.config.applications.get(program).cloned().unwrap_or_else(|| vec![program.to_owned()]);
        words.extend_from_slice(arguments);
        if program.is_empty() || words.iter().any(|word| word.contains('\0')) {
            return Err(DeskError::InvalidArgument("program must be a name or a path".into()));
        }
        let mut command = self.environment.command(&self.options, &words);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let (child, ended) = self.children.spawn(&mut command).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => {
                DeskError::ProgramNotFound {
                    program: program.to_owned(),
                    known: self.config.applications.keys().cloned().collect::<Vec<_>>().join(", "),
                }
            }
            _ => DeskError::ProgramFailed { program: program.to_owned(), status: error.to_string() },
        })?;
        // One that hands over to a running instance ends at once and well.
        match tokio::time::timeout(START_CHECK, ended).await {
            Ok(Ok(exit)) if !exit.success => {
                Err(DeskError::ProgramFailed { program: program.to_owned(), status: exit.text })
            }
            _ => Ok(child.id()),
        }
    }
}
