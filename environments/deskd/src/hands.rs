//! The agent's hands for one call of a tool. Everything that a call does or waits for goes through here, so that it is cut at once when a
//! person takes control or the caller withdraws: no input follows, no wait goes on, nothing stays pressed.

use std::{sync::Arc, time::Duration};

use a8s_rfb::Kind;
use tokio_util::sync::CancellationToken;

use crate::{
    error::DeskError,
    lease::Lease,
    screen::{self, Screen},
    typing::key,
};

/// One call's hold on the display.
#[derive(Clone, Debug)]
pub struct Hands {
    pub(crate) screen: Arc<Screen>,
    lease: Arc<Lease>,
    call: CancellationToken,
    caller: CancellationToken,
}

impl Hands {
    /// For a call that ends with `call`, made over a connection that ends with `caller`.
    pub fn new(
        screen: &Arc<Screen>,
        lease: &Arc<Lease>,
        call: CancellationToken,
        caller: CancellationToken,
    ) -> Self {
        Self { screen: screen.clone(), lease: lease.clone(), call, caller }
    }

    /// Whether the call was withdrawn.
    pub fn withdrawn(&self) -> bool {
        self.call.is_cancelled() || self.caller.is_cancelled()
    }

    /// Whether the call may go on.
    pub fn check(&self) -> Result<(), DeskError> {
        if self.withdrawn() { Err(DeskError::Cancelled) } else { self.lease.agent() }
    }

    /// Sends key and pointer messages, all or none of them.
    pub async fn input(&self, messages: &[(Kind, Vec<u8>)]) -> Result<(), DeskError> {
        let sent = self.screen.input(messages, || !self.withdrawn() && self.lease.agent_may()).await;
        match sent {
            // Between being asked and being refused the lease may have come back; then it was changing.
            Err(screen::InputError::NotAllowed) => self.check().and(Err(DeskError::ControlPending)),
            Err(screen::InputError::Display(why)) => Err(DeskError::Display(why)),
            Ok(()) => Ok(()),
        }
    }

    /// Waits for something that sends no input.
    pub async fn wait<T>(&self, what: impl Future<Output = T>) -> Result<T, DeskError> {
        let mut lease = self.lease.watch();
        tokio::select! {
            biased;
            () = self.call.cancelled() => Err(DeskError::Cancelled),
            () = self.caller.cancelled() => Err(DeskError::Cancelled),
            _ = lease.wait_for(|state| state.holder == a8s_wire::Holder::User) => {
                self.check().and(Err(DeskError::ControlPending))
            }
            done = what => Ok(done),
        }
    }

    /// Lets time pass.
    pub async fn pause(&self, time: Duration) -> Result<(), DeskError> {
        self.wait(tokio::time::sleep(time)).await
    }

    /// Returns once the display has processed everything that was sent before.
    pub async fn barrier(&self) -> Result<(), DeskError> {
        let answer = self.screen.fence().await?;
        self.wait(screen::answered(answer)).await?
    }

    /// Waits until nothing bigger than a caret has changed for `quiet`; false if `limit` passes first.
    pub async fn settled(&self, quiet: Duration, limit: Duration) -> Result<bool, DeskError> {
        self.wait(self.screen.settled(quiet, limit)).await
    }

    /// Presses the keys in order and releases them in reverse.
    pub async fn press(&self, keys: &[u32], hold: Option<Duration>) -> Result<(), DeskError> {
        let down: Vec<_> = keys.iter().map(|symbol| key(*symbol, true)).collect();
        let up: Vec<_> = keys.iter().rev().map(|symbol| key(*symbol, false)).collect();
        self.input(&down).await?;
        if let Some(time) = hold {
            // If it is cut, whoever cut it lets the keys go.
            self.pause(time).await?;
        }
        self.input(&up).await?;
        self.barrier().await
    }

    /// After the call: if it was withdrawn, lets go of everything that is held down.
    pub async fn finish(&self) {
        if self.withdrawn()
            && let Err(error) = self.screen.release().await
        {
            tracing::warn!(%error, "cannot let go of the agent's keys");
        }
    }
}
