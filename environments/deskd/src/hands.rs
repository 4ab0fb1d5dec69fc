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
    /// In which the call began.
    reign: u64,
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
        Self { screen: screen.clone(), lease: lease.clone(), reign: lease.reign(), call, caller }
    }

    /// Whether the call was withdrawn.
    pub fn withdrawn(&self) -> bool {
        self.call.is_cancelled() || self.caller.is_cancelled()
    }

    /// Whether the call may go on.
    pub fn check(&self) -> Result<(), DeskError> {
        if self.withdrawn() {
            return Err(DeskError::Cancelled);
        }
        self.lease.agent()?;
        // A person had control meanwhile, and nobody knows what they did with it.
        if self.current() { Ok(()) } else { Err(DeskError::ControlPending) }
    }

    fn current(&self) -> bool {
        self.lease.reign() == self.reign
    }

    /// Sends key and pointer messages, all or none of them.
    pub async fn input(&self, messages: &[(Kind, Vec<u8>)]) -> Result<(), DeskError> {
        let may = || !self.withdrawn() && self.lease.agent_may() && self.current();
        let sent = self.screen.input(messages, may).await;
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

#[cfg(test)]
mod tests {
    use a8s_wire::{Holder, SetControl};

    use super::*;
    use crate::{fake::Desktop, lease::Curtain};

    struct Open;

    impl Curtain for Open {
        async fn close(&self) {}
        async fn forget(&self) {}
        async fn open(&self) {}
    }

    #[tokio::test]
    async fn a_call_that_was_overtaken_does_nothing_although_the_agent_has_control_again() {
        let dir = tempfile::tempdir().unwrap();
        let rfb = dir.path().join("rfb.sock");
        let desktop = Desktop::start((640, 400), &rfb, dir.path().to_owned()).unwrap();
        let lease = Arc::new(Lease::open(dir.path().join("lease.json")));
        let screen = Screen::connect(&rfb, &lease).await.unwrap();
        let hands = || Hands::new(&screen, &lease, CancellationToken::new(), CancellationToken::new());
        let movement = [(Kind::Pointer, a8s_rfb::encode::pointer(1, 30, 40).to_vec())];
        let overtaken = hands();
        for (holder, user, epoch) in [(Holder::User, Some("jane".into()), 1), (Holder::Agent, None, 2)] {
            lease.set(SetControl { holder, user, private: false, epoch }, &Open).await.unwrap();
        }
        assert_eq!(overtaken.check(), Err(DeskError::ControlPending));
        assert_eq!(overtaken.input(&movement).await, Err(DeskError::ControlPending));
        screen.barrier().await.unwrap();
        assert_ne!(desktop.pointer().0, (30, 40), "it clicked where the person had changed everything");
        hands().input(&movement).await.unwrap();
    }
}
