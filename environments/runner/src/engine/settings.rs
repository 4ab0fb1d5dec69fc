//! How the agent is run: the settings of the Session, what follows from them for the harness, and what holds up the next turn.

use a8s_wire::{Launch, Settings};
use tokio::time::{Duration, Instant};

use super::Engine;
use crate::{acp::ToHarness, handle::StorageError, launch, mcp::Granted, record::Record};

/// A model's key takes a moment to reach the pod; after this time people are told that it does not.
const GRANT_PATIENCE: Duration = Duration::from_mins(2);

impl Engine {
    /// What was said for this Workspace; what was said for another one, whose Snapshot this is, does not count.
    pub(super) fn told_settings(&self) -> Option<&Settings> {
        let (workspace, settings) = self.history.configured.as_ref()?;
        (*workspace == self.workspace).then_some(settings)
    }

    pub(super) fn settings(&self) -> &Settings {
        self.told_settings().unwrap_or(&self.defaults)
    }

    pub(super) fn configure(&mut self, settings: Settings) -> Result<(), StorageError> {
        if self.told_settings() == Some(&settings) {
            return Ok(());
        }
        let record = Record::Configured { configured: Box::new(settings), workspace: self.workspace.clone() };
        let record = self.redactor.record(record);
        self.log.append_or_refuse(&record).map_err(StorageError)?;
        self.history.apply(record.get());
        self.arrange();
        Ok(())
    }

    /// Works out what is to run now; another harness takes over when no turn runs. One whose model was not granted yet is not started: it
    /// would make a session without a model.
    pub(super) fn arrange(&mut self) {
        let tools = Granted::new(self.settings().tools.clone());
        self.granted.send_if_modified(|granted| {
            let changed = *granted != tools;
            *granted = tools;
            changed
        });
        let grants = self.grants.borrow().clone();
        if let Some(model) = launch::missing(self.settings(), &grants).map(str::to_owned) {
            let since = self.ungranted.take().map_or_else(Instant::now, |(_, since)| since);
            self.ungranted = Some((model, since));
            return;
        }
        self.ungranted = None;
        let wanted = launch::of(self.settings(), &grants, &self.gateway);
        self.launch.send_if_modified(|launch| {
            let changed = *launch != wanted;
            *launch = wanted;
            changed
        });
    }

    /// Whether the harness that runs is not the one that is wanted.
    pub(super) fn outdated(&self) -> bool {
        self.launched.as_ref().is_some_and(|launched: &Launch| *launched != *self.launch.borrow())
    }

    /// The desktop is recorded while a turn runs, if that is wanted now.
    pub(super) fn record_desktop(&self) {
        let wanted = self.history.running.as_ref().filter(|_| self.settings().recording);
        let wanted = wanted.map(|turn| turn.number);
        self.recorded.send_if_modified(|recorded| std::mem::replace(recorded, wanted) != wanted);
    }

    /// Lets another harness take over.
    pub(super) fn relaunch(&mut self) {
        self.launched = None;
        self.connected.send_replace(false);
        let _ = self.harness.send(ToHarness::Relaunch);
    }

    /// Why no turn can begin although the harness is there, and whether that has lasted too long.
    pub(super) fn hindrance(&self) -> Option<(String, bool)> {
        let (model, since) = self.ungranted.as_ref()?;
        let text = format!(
            "the model Connection {model:?} has not reached the desktop; is it Ready, and may this Session use it?"
        );
        Some((text, since.elapsed() > GRANT_PATIENCE))
    }
}
