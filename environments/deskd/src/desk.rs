//! Everything that a request needs, in one place: the display, the lease, the programs.

use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use a8s_wire::{ControlState, DeskState, Holder, SetControl, recording::Actor, token::TokenVerifier};

use crate::{
    boot::{
        children::Children,
        services::{Environment, Services},
    },
    error::DeskError,
    evidence::Evidence,
    lease::{Curtain, Lease, LeaseError},
    options::{DesktopConfig, Options},
    picture,
    record::Recorder,
    screen::Screen,
    windows::Windows,
};

/// A program that fails within this time never really started.
const START_CHECK: Duration = Duration::from_millis(300);

/// How long the display may take for the input that was already sent when control changes.
const LAST_INPUT: Duration = Duration::from_millis(50);

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
    /// The fake display, if it is one.
    pub fake: Option<Arc<crate::fake::Desktop>>,
    /// Records the desktop.
    pub recorder: Arc<Recorder>,
    /// Size of the last picture that the agent was given.
    pub shown: Mutex<Option<(u16, u16)>>,
    /// Held by the call that acts on the desktop.
    pub acting: tokio::sync::Mutex<()>,
    /// Where the display speaks RFB.
    pub rfb: std::path::PathBuf,
    /// When it was used, and when it first showed something.
    pub evidence: Evidence,
    /// Checks access tokens; without it people cannot come.
    pub tokens: Option<TokenVerifier>,
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
            audience: self.lease.audience(),
            recording: self.recorder.active(),
            clipboard: self.options.clipboard,
            last_input: self.evidence.last_input(),
            first_frame: self.evidence.first_frame(),
        }
    }

    /// Short names of the applications that can be started.
    pub fn applications(&self) -> Vec<&str> {
        match &self.fake {
            Some(_) => crate::fake::PROGRAMS.to_vec(),
            None => self.config.applications.keys().map(String::as_str).collect(),
        }
    }

    /// Changes the lease.
    pub async fn set_control(&self, wanted: SetControl) -> Result<ControlState, LeaseError> {
        let before = self.lease.state();
        let state = self.lease.set(wanted, self).await?;
        self.recorder.did(Actor::Person, || told(&before, &state));
        if (before.holder, &before.user) != (state.holder, &state.user) {
            // What the loser had sent is on the screen before the winner hears that it is theirs: the display reads all its clients before
            // it answers one that wrote later. One that does not answer is no reason to keep the desktop from them.
            let _ = tokio::time::timeout(LAST_INPUT, self.screen.barrier()).await;
        }
        Ok(state)
    }

    /// Puts text into the clipboard.
    pub async fn copy(&self, text: String) -> Result<(), DeskError> {
        *self.screen.copied.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.clone());
        self.screen.offer(text).await
    }

    /// The clipboard's text.
    pub async fn clipboard(&self) -> Result<Option<String>, DeskError> {
        match &self.fake {
            // There deskd is the only one who offers text beside the programs.
            Some(fake) => Ok(fake
                .clipboard()
                .or_else(|| self.screen.copied.lock().unwrap_or_else(PoisonError::into_inner).clone())),
            None => self.windows.clipboard().await,
        }
    }

    /// The picture as JPEG.
    pub async fn screenshot(&self) -> Result<Vec<u8>, DeskError> {
        encode(self.screen.picture()).await
    }

    /// The picture, reduced to this width, as JPEG.
    pub async fn thumbnail(&self, width: u16) -> Result<Vec<u8>, DeskError> {
        let picture = self.screen.picture();
        let reduced = tokio::task::spawn_blocking(move || picture::reduced(&picture, width)).await;
        encode(reduced.map_err(|error| DeskError::Display(format!("no thumbnail: {error}")))?).await
    }

    /// A part of the picture, enlarged, as JPEG: x, y, width, height.
    pub async fn zoom(&self, region: [u16; 4]) -> Result<Vec<u8>, DeskError> {
        let picture = self.screen.look(|picture| picture::enlarged(picture, region));
        encode(picture).await
    }

    /// The agent is given a picture: what it must know if the desktop has another size than in the last one.
    pub fn resized(&self) -> Option<String> {
        let now = self.screen.size();
        let before = self.shown.lock().unwrap_or_else(PoisonError::into_inner).replace(now)?;
        let pixels = |(width, height)| format!("{width}x{height}");
        (before != now).then(|| {
            format!(
                "the desktop has {} pixels now; it had {} in the last picture",
                pixels(now),
                pixels(before)
            )
        })
    }

    /// Starts an application of `desktop.json` or a program of the image. Returns its process id.
    pub async fn launch(&self, program: &str, arguments: &[String]) -> Result<u32, DeskError> {
        if let Some(fake) = &self.fake {
            return fake.open(program, arguments).ok_or_else(|| self.no_program(program));
        }
        let mut words =
            self.config.applications.get(program).cloned().unwrap_or_else(|| vec![program.to_owned()]);
        words.extend_from_slice(arguments);
        if program.is_empty() || words.iter().any(|word| word.contains('\0')) {
            return Err(DeskError::BadArgument("program must be a name or a path".into()));
        }
        let mut command = self.environment.command(&self.options, &words);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let (child, ended) = self.children.spawn(&mut command).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied => self.no_program(program),
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

    fn no_program(&self, program: &str) -> DeskError {
        DeskError::ProgramNotFound { program: program.to_owned(), known: self.applications().join(", ") }
    }
}

impl Curtain for Desk {
    async fn close(&self) {
        self.recorder.cover().await;
    }

    async fn forget(&self) {
        // What a person copied in private, a password perhaps, is not there any more when the agent may look.
        if let Err(error) = self.copy(String::new()).await {
            tracing::warn!(%error, "cannot empty the clipboard");
        }
        if let Err(error) = self.screen.barrier().await {
            tracing::warn!(%error, "cannot empty the clipboard in time");
        }
    }

    async fn open(&self) {
        self.recorder.uncover().await;
    }
}

/// A change of the lease, for who watches a recording.
fn told(before: &ControlState, now: &ControlState) -> Option<String> {
    if before == now {
        return None;
    }
    let text = match (now.holder, now.private) {
        (Holder::Agent, _) => "gave control back",
        (Holder::User, true) => "took control in private",
        (Holder::User, false) => "took control",
    };
    Some(text.into())
}

async fn encode(picture: a8s_rfb::Framebuffer) -> Result<Vec<u8>, DeskError> {
    let encoded = tokio::task::spawn_blocking(move || picture::jpeg(&picture)).await;
    let failed = |error: &dyn std::fmt::Display| DeskError::Display(format!("no screenshot: {error}"));
    encoded.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}
