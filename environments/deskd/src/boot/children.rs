//! Child processes and orphans. As PID 1 deskd must reap processes that it never started; so it reaps everything in one place and tells
//! those who wait. Nothing else in this process may call `wait`.

use std::{
    collections::HashMap,
    io,
    process::{Child, Command},
    sync::{Arc, Mutex, PoisonError},
};

use nix::{
    errno::Errno,
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

/// How a process ended, in words that fit after "it".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// It returned 0.
    pub success: bool,
    /// `exited with status 1` or `was killed by SIGSEGV`.
    pub text: String,
}

/// Receives the end of one process.
pub type Ended = oneshot::Receiver<Exit>;

/// All children of this process.
#[derive(Clone, Debug, Default)]
pub struct Children {
    waiting: Arc<Mutex<HashMap<i32, oneshot::Sender<Exit>>>>,
}

impl Children {
    /// Starts to reap; once in a process.
    pub fn reap() -> io::Result<Self> {
        let children = Self::default();
        let mut ended = signal(SignalKind::child())?;
        let reaper = children.clone();
        tokio::spawn(async move {
            loop {
                reaper.collect();
                if ended.recv().await.is_none() {
                    return;
                }
            }
        });
        Ok(children)
    }

    /// Starts a program whose end is reported on the receiver.
    pub fn spawn(&self, command: &mut Command) -> io::Result<(Child, Ended)> {
        // The lock is held over fork and registration, so that the end of a short-lived child cannot be collected in between.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let child = command.spawn()?;
        let (sender, receiver) = oneshot::channel();
        waiting.insert(child.id().cast_signed(), sender);
        Ok((child, receiver))
    }

    fn collect(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (pid, exit) = match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => {
                    (pid, Exit { success: code == 0, text: format!("exited with status {code}") })
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    (pid, Exit { success: false, text: format!("was killed by {signal}") })
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => {
                    tracing::error!(%error, "cannot reap processes");
                    return;
                }
            };
            if let Some(waiter) = waiting.remove(&pid.as_raw()) {
                // Nobody may be interested any more.
                let _ = waiter.send(exit);
            }
        }
    }
}
