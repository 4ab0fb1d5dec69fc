//! The desktop's own programs: window manager, panel, session bus. A program that ends comes back, after a pause that grows while it
//! keeps failing; one that was never meant to stay is not missed.

use std::{
    collections::BTreeMap,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::children::Children;
use crate::options::{Options, Service};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// Variables that every program of the desktop gets.
#[derive(Clone, Debug)]
pub struct Environment(Vec<(&'static str, String)>);

impl Environment {
    /// For the display `number` whose cookie is in `xauthority`.
    pub fn new(options: &Options, number: u32, xauthority: &std::path::Path) -> Self {
        let run = options.run_dir.display();
        let mut variables = vec![
            ("DISPLAY", format!(":{number}")),
            ("XAUTHORITY", xauthority.display().to_string()),
            ("HOME", options.home.display().to_string()),
            ("XDG_RUNTIME_DIR", run.to_string()),
            ("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={run}/bus")),
        ];
        for (name, value) in [("NO_AT_BRIDGE", "1"), ("LANG", "C.UTF-8"), ("XCURSOR_THEME", "Adwaita")] {
            if std::env::var_os(name).is_none() {
                variables.push((name, value.into()));
            }
        }
        Self(variables)
    }

    /// A command in this environment, in its own process group, in the home directory.
    pub fn command(&self, options: &Options, words: &[String]) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(words.first().map_or("", String::as_str));
        command.args(words.iter().skip(1));
        command.envs(self.0.iter().map(|(name, value)| (*name, value)));
        command.current_dir(&options.home).process_group(0).stdin(Stdio::null());
        command
    }
}

/// Which services run at the moment.
#[derive(Clone, Debug, Default)]
pub struct Services {
    state: Arc<Mutex<BTreeMap<String, Result<(), String>>>>,
}

impl Services {
    /// Keeps `service` running until `stop`.
    pub fn keep(
        &self,
        options: &Options,
        environment: &Environment,
        children: &Children,
        service: &Service,
        stop: &CancellationToken,
    ) {
        let (this, options, environment) = (self.clone(), options.clone(), environment.clone());
        let (children, service, stop) = (children.clone(), service.clone(), stop.clone());
        self.expect(&service);
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let started = Instant::now();
                let ended = this.run_once(&options, &environment, &children, &service, &stop).await;
                if !service.restart || stop.is_cancelled() {
                    return;
                }
                if started.elapsed() > HEALTHY_AFTER {
                    pause = FIRST_PAUSE;
                }
                tracing::warn!(service = service.name, ?pause, "{ended}; starting it again");
                this.set(&service.name, Err(ended));
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }

    async fn run_once(
        &self,
        options: &Options,
        environment: &Environment,
        children: &Children,
        service: &Service,
        stop: &CancellationToken,
    ) -> String {
        // A container's log is standard error; a service has nothing to say elsewhere.
        let mut command = environment.command(options, &service.command);
        command.stdout(Stdio::null());
        match children.spawn(&mut command) {
            Ok((child, ended)) => {
                tracing::info!(service = service.name, pid = child.id(), "started");
                if service.restart {
                    self.set(&service.name, Ok(()));
                }
                tokio::select! {
                    exit = ended => exit.map_or_else(|_| "ended".into(), |exit| exit.text),
                    () = stop.cancelled() => "was stopped".into(),
                }
            }
            Err(error) => format!("cannot be started: {error}"),
        }
    }

    /// Registers a service that will be started later, so that the desktop is not ready without it.
    pub fn expect(&self, service: &Service) {
        if service.restart {
            self.set(&service.name, Err("has not been started yet".into()));
        }
    }

    fn set(&self, name: &str, state: Result<(), String>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into(), state);
    }

    /// The first service that should run and does not, in words.
    pub fn missing(&self) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.iter().find_map(|(name, state)| state.as_ref().err().map(|why| format!("{name} {why}")))
    }
}
