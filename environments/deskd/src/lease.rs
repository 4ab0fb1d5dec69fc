//! The control lease: who may send input now. The controller sets it; this module makes it true for every open connection before it
//! answers, and keeps it over a restart of deskd, so that a crash does not hand a private desktop back to the agent.

use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use a8s_rfb::Role;
use a8s_wire::{ControlState, Holder, SetControl};
use tokio::sync::watch;

use crate::{
    error::DeskError,
    seat::{Seat, Who},
};

/// Why a change of the lease was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// The request is older than what deskd holds, or contradicts it.
    #[error("epoch {asked} is not newer than the held epoch {held}")]
    Stale {
        /// Epoch of the request.
        asked: i64,
        /// Epoch that deskd holds.
        held: i64,
    },
    /// `holder: User` without a user.
    #[error("holder User needs a user")]
    NoUser,
}

/// What a change of the lease waits for where the desktop becomes private, or is private no more.
pub trait Curtain {
    /// The desktop is about to become private: returns once nothing keeps any more of it.
    fn close(&self) -> impl Future<Output = ()> + Send;
    /// Others are about to look at a desktop that was held in private: what it hides is put away.
    fn forget(&self) -> impl Future<Output = ()> + Send;
    /// The desktop is private no more.
    fn open(&self) -> impl Future<Output = ()> + Send;
}

/// The lease and all seats that it rules.
#[derive(Debug)]
pub struct Lease {
    state: watch::Sender<ControlState>,
    change: tokio::sync::Mutex<()>,
    switching: AtomicBool,
    /// How often control went from one holder to another.
    reign: AtomicU64,
    seats: Mutex<HashMap<u64, Arc<Seat>>>,
    next: AtomicU64,
    handed_back: Mutex<Option<String>>,
    store: PathBuf,
}

/// Takes a seat out of the lease's list when its connection ends.
#[derive(Debug)]
pub struct Seated {
    lease: Arc<Lease>,
    id: u64,
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.lease.seats.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl Lease {
    /// Continues with the lease in `store`, or begins with the agent's.
    pub fn open(store: PathBuf) -> Self {
        let state = std::fs::read(&store).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Self {
            state: watch::Sender::new(state.unwrap_or_default()),
            change: tokio::sync::Mutex::default(),
            switching: AtomicBool::new(false),
            reign: AtomicU64::new(0),
            seats: Mutex::default(),
            next: AtomicU64::new(0),
            handed_back: Mutex::default(),
            store,
        }
    }

    /// The lease now.
    pub fn state(&self) -> ControlState {
        self.state.borrow().clone()
    }

    /// Changes of the lease.
    pub fn watch(&self) -> watch::Receiver<ControlState> {
        self.state.subscribe()
    }

    /// Registers a connection; a lease change reaches it until the result is dropped.
    pub fn seat(self: &Arc<Self>, seat: Arc<Seat>) -> Seated {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).insert(id, seat);
        Seated { lease: self.clone(), id }
    }

    fn all_seats(&self) -> Vec<Arc<Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Number of people's connections.
    pub fn viewers(&self) -> u32 {
        let people = self.all_seats().iter().filter(|seat| seat.who != Who::Agent).count();
        u32::try_from(people).unwrap_or(u32::MAX)
    }

    /// Names of the people who have connections, each once, in order; as many as are told of.
    pub fn audience(&self) -> Vec<String> {
        let name = |seat: &Arc<Seat>| match &seat.who {
            Who::Agent => None,
            Who::Person { user, .. } => Some(user.clone()),
        };
        let names: BTreeSet<String> = self.all_seats().iter().filter_map(name).collect();
        names.into_iter().take(a8s_wire::AUDIENCE).collect()
    }

    /// Whether the agent may send input now.
    pub fn agent_may(&self) -> bool {
        !self.switching.load(Ordering::SeqCst) && self.state.borrow().holder == Holder::Agent
    }

    /// A number that changes when control goes to another holder: who was given the right to act by an earlier one has it no more, also if
    /// the holder of that time has control again.
    pub fn reign(&self) -> u64 {
        self.reign.load(Ordering::SeqCst)
    }

    /// The agent's right to act, or the error that it gets.
    pub fn agent(&self) -> Result<(), DeskError> {
        let state = self.state.borrow();
        match state.holder {
            Holder::Agent if self.switching.load(Ordering::SeqCst) => Err(DeskError::ControlPending),
            Holder::Agent => Ok(()),
            Holder::User => Err(DeskError::held(&state)),
        }
    }

    /// Who handed control back since the agent last saw the desktop. Asked once, it is forgotten.
    pub fn take_handed_back(&self) -> Option<String> {
        self.handed_back.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What a person's connection may send now.
    pub fn role(&self, who: &Who) -> Role {
        let state = self.state.borrow();
        match who {
            Who::Person { user, may_control: true }
                if !self.switching.load(Ordering::SeqCst)
                    && state.holder == Holder::User
                    && state.user.as_ref() == Some(user) =>
            {
                Role::Controller
            }
            _ => Role::Viewer,
        }
    }

    /// Whether `user` may see the desktop now: not while somebody else holds it in private.
    pub fn may_see(&self, user: &str) -> bool {
        let state = self.state.borrow();
        !(state.private && state.holder == Holder::User && state.user.as_deref() != Some(user))
    }

    /// Changes the lease. When it returns, the loser's keys and buttons are up and nothing that the loser sends has an effect.
    pub async fn set(&self, wanted: SetControl, curtain: &impl Curtain) -> Result<ControlState, LeaseError> {
        let user = match wanted.holder {
            Holder::Agent => None,
            Holder::User => Some(wanted.user.filter(|user| !user.is_empty()).ok_or(LeaseError::NoUser)?),
        };
        let private = wanted.private && wanted.holder == Holder::User;
        let _one_at_a_time = self.change.lock().await;
        let held = self.state();
        let same = held.holder == wanted.holder && held.user == user;
        if wanted.epoch < held.epoch || (wanted.epoch == held.epoch && !(same && held.private == private)) {
            // Before the first change deskd holds epoch 0 by itself; a first lease of epoch 0 is no contradiction.
            let first = held.since.is_empty() && wanted.epoch >= held.epoch;
            if !first {
                return Err(LeaseError::Stale { asked: wanted.epoch, held: held.epoch });
            }
        }
        let handed_back = (!same).then(|| held.user.clone());
        let uncovered = held.private && !(same && private);
        let (covered, opened) = (private && !held.private, held.private && !private);
        let since =
            if same && !held.since.is_empty() { held.since } else { jiff::Timestamp::now().to_string() };
        let next = ControlState { holder: wanted.holder, user, private, epoch: wanted.epoch, since };
        if !same {
            // From here on nobody holds the lease; taking each seat's lock once waits for what was already allowed.
            self.switching.store(true, Ordering::SeqCst);
            self.reign.fetch_add(1, Ordering::SeqCst);
            for seat in self.all_seats() {
                if let Err(error) = seat.release().await {
                    tracing::warn!(%error, "cannot release a seat's input; closing it");
                    seat.closed.cancel();
                }
            }
        }
        if uncovered {
            curtain.forget().await;
        }
        if covered {
            curtain.close().await;
        }
        if let Some(user) = handed_back {
            let user = user.filter(|_| next.holder == Holder::Agent);
            *self.handed_back.lock().unwrap_or_else(PoisonError::into_inner) = user;
        }
        self.persist(&next);
        self.state.send_replace(next.clone());
        self.switching.store(false, Ordering::SeqCst);
        for seat in self.all_seats() {
            if matches!(&seat.who, Who::Person { user, .. } if !self.may_see(user)) {
                seat.closed.cancel();
            }
        }
        if opened {
            curtain.open().await;
        }
        tracing::info!(holder = ?next.holder, user = next.user, private = next.private, epoch = next.epoch, "control");
        Ok(next)
    }

    fn persist(&self, state: &ControlState) {
        let part = self.store.with_extension("part");
        let text = serde_json::to_vec(state).unwrap_or_default();
        let written = std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, &self.store));
        if let Err(error) = written {
            // The lease holds as long as deskd runs; refusing it would leave the person without control for no gain.
            tracing::error!(%error, "cannot keep the lease for a restart");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, epoch: i64, private: bool) -> SetControl {
        SetControl { holder: Holder::User, user: Some(name.into()), private, epoch }
    }

    /// Counts what it is asked: closed, forgotten, opened.
    #[derive(Default)]
    struct Counting([AtomicU64; 3]);

    impl Counting {
        fn counts(&self) -> [u64; 3] {
            self.0.each_ref().map(|count| count.load(Ordering::Relaxed))
        }

        fn add(&self, index: usize) {
            self.0[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Curtain for Counting {
        async fn close(&self) {
            self.add(0);
        }

        async fn forget(&self) {
            self.add(1);
        }

        async fn open(&self) {
            self.add(2);
        }
    }

    fn lease() -> (tempfile::TempDir, Lease) {
        let dir = tempfile::tempdir().unwrap();
        let lease = Lease::open(dir.path().join("lease.json"));
        (dir, lease)
    }

    #[tokio::test]
    async fn an_older_epoch_is_refused_and_the_same_request_is_repeated_without_effect() {
        let (_dir, lease) = lease();
        let first = lease.set(user("jane", 3, false), &Counting::default()).await.unwrap();
        assert_eq!(lease.set(user("jane", 3, false), &Counting::default()).await, Ok(first.clone()));
        let stale = Err(LeaseError::Stale { asked: 2, held: 3 });
        let agent = SetControl { holder: Holder::Agent, user: None, private: false, epoch: 2 };
        assert_eq!(lease.set(agent, &Counting::default()).await, stale);
        assert_eq!(
            lease.set(user("joe", 3, false), &Counting::default()).await,
            Err(LeaseError::Stale { asked: 3, held: 3 })
        );
        assert_eq!(lease.state(), first);
        let nobody = SetControl { holder: Holder::User, user: None, private: false, epoch: 4 };
        assert_eq!(lease.set(nobody, &Counting::default()).await, Err(LeaseError::NoUser));
    }

    #[tokio::test]
    async fn a_private_lease_survives_a_restart_and_hides_the_desktop_from_others() {
        let (dir, lease) = lease();
        let held = lease.set(user("jane", 1, true), &Counting::default()).await.unwrap();
        let reopened = Lease::open(dir.path().join("lease.json"));
        assert_eq!(reopened.state(), held);
        assert!(!reopened.agent_may());
        assert!(reopened.may_see("jane") && !reopened.may_see("joe"));
        assert!(matches!(reopened.agent(), Err(DeskError::ControlHeldByUser { user, .. }) if user == "jane"));
    }

    #[tokio::test]
    async fn only_the_holder_with_a_control_token_is_a_controller() {
        let (_dir, lease) = lease();
        let person = |user: &str, may_control| Who::Person { user: user.into(), may_control };
        assert_eq!(lease.role(&person("jane", true)), Role::Viewer);
        lease.set(user("jane", 1, false), &Counting::default()).await.unwrap();
        assert_eq!(lease.role(&person("jane", true)), Role::Controller);
        assert_eq!(lease.role(&person("jane", false)), Role::Viewer);
        assert_eq!(lease.role(&person("joe", true)), Role::Viewer);
    }

    #[tokio::test]
    async fn the_end_of_a_private_lease_makes_forget_and_is_told_to_the_agent_once() {
        let (_dir, lease) = lease();
        let curtain = Counting::default();
        let agent = |epoch| SetControl { holder: Holder::Agent, user: None, private: false, epoch };
        lease.set(user("jane", 1, true), &curtain).await.unwrap();
        lease.set(user("jane", 2, true), &curtain).await.unwrap();
        assert_eq!(curtain.counts(), [1, 0, 0], "it was private before");
        lease.set(agent(3), &curtain).await.unwrap();
        assert_eq!(curtain.counts(), [1, 1, 1]);
        assert_eq!(lease.take_handed_back().as_deref(), Some("jane"));
        assert_eq!(lease.take_handed_back(), None);
        lease.set(user("joe", 4, false), &curtain).await.unwrap();
        lease.set(user("jane", 5, false), &curtain).await.unwrap();
        assert_eq!(lease.take_handed_back(), None, "the agent has nothing back");
        lease.set(agent(6), &curtain).await.unwrap();
        lease.set(user("joe", 7, true), &curtain).await.unwrap();
        assert_eq!(lease.take_handed_back(), None, "joe has it again");
        lease.set(user("joe", 8, false), &curtain).await.unwrap();
        assert_eq!(curtain.counts(), [2, 2, 2]);
    }
}
