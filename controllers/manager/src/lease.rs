//! Leader election over a `coordination.k8s.io` Lease. Only the holder works; one that cannot renew in time ends its process, which is the
//! only sure way to stop all writers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// A holder that has not renewed for this long has lost the lease.
const DURATION: Duration = Duration::from_secs(15);
/// A holder that has not renewed for this long ends, while nobody else may begin yet.
const DEADLINE: Duration = Duration::from_secs(12);
/// From one renewal to the next.
const RENEW: Duration = Duration::from_secs(4);
/// A try that takes longer may be lost on its way. Two of them fit before the end.
const TRY: Duration = Duration::from_secs(4);
/// After an answer that was none.
const AGAIN: Duration = Duration::from_secs(1);
/// From one look at another's lease to the next.
const RETRY: Duration = Duration::from_secs(2);
const NAME: &str = "a8s-controller";

/// A lease that this process holds.
pub struct Held {
    holder: Holder,
    /// When the renewal began that made it ours: those who wait count from when they see it, which is later.
    since: Instant,
    tenure: Tenure,
}

/// Whether this process leads, for those who must know that nobody else is at work.
#[derive(Clone, Debug, Default)]
pub struct Tenure(Arc<Mutex<Option<Instant>>>);

impl Tenure {
    /// Nobody else can lead now. As a process that once could not renew in time ends, nobody else has led since it began, either.
    pub fn is_certain(&self) -> bool {
        self.was_certain(Instant::now())
    }

    fn was_certain(&self, now: Instant) -> bool {
        let renewed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        renewed.is_some_and(|at| now.saturating_duration_since(at) < DEADLINE)
    }

    fn renewed(&self, at: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }
}

struct Holder {
    api: Api<Lease>,
    identity: String,
}

/// What came of a try to have the lease.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Ours,
    Anothers,
    /// Somebody wrote between the look and the write. It may have been this process, by a try that it had given up.
    Overtaken,
}

/// When to try next, from when it was last renewed and what came after that.
struct Term {
    renewed: Instant,
    failed: Option<Instant>,
}

impl Term {
    /// When the next try begins and when it is given up; `None` if the lease has to be taken for lost.
    fn next(&self, now: Instant) -> Option<(Instant, Instant)> {
        let end = self.renewed + DEADLINE;
        let from = self.failed.map_or(self.renewed + RENEW, |failed| failed + AGAIN).max(now);
        (from < end).then(|| (from, end.min(from + TRY)))
    }
}

/// Waits until this process is the leader. `identity` survives a restart of the container, so that a crashed leader comes back at once.
pub async fn acquire(client: kube::Client, namespace: &str, identity: &str) -> Held {
    let holder = Holder { api: Api::namespaced(client, namespace), identity: identity.to_owned() };
    // Another holder's lease is judged by how long *we* have seen it unchanged: clocks of two machines never matter.
    let mut seen: Option<(String, Instant)> = None;
    loop {
        let since = Instant::now();
        match holder.attempt(&mut seen).await {
            // An answer that took too long says nothing of now.
            Ok(Turn::Ours) if since.elapsed() < TRY => {
                let tenure = Tenure::default();
                tenure.renewed(since);
                return Held { holder, since, tenure };
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the lease cannot be read or written; trying again"),
        }
        sleep(RETRY).await;
    }
}

impl Holder {
    async fn attempt(&self, seen: &mut Option<(String, Instant)>) -> Result<Turn, kube::Error> {
        let Some(found) = self.api.get_opt(NAME).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(NAME.into()),
                    // Who is at work is never restored.
                    labels: Some([(a8s_crds::labels::VELERO_EXCLUDE.to_owned(), "true".to_owned())].into()),
                    ..Default::default()
                },
                spec: Some(self.spec(0)),
            };
            return ours_unless_overtaken(self.api.create(&PostParams::default(), &lease).await);
        };
        let spec = found.spec.clone().unwrap_or_default();
        let ours = spec.holder_identity.as_deref() == Some(&self.identity);
        let free = spec.holder_identity.as_deref().unwrap_or_default().is_empty();
        let version = found.resource_version().unwrap_or_default();
        let unchanged = match seen {
            Some((v, since)) if *v == version => since.elapsed(),
            _ => {
                *seen = Some((version, Instant::now()));
                Duration::ZERO
            }
        };
        if !ours && !free && unchanged < DURATION {
            return Ok(Turn::Anothers);
        }
        let transitions = spec.lease_transitions.unwrap_or(0) + i32::from(!ours);
        let lease = Lease { spec: Some(self.spec(transitions)), ..found };
        // The resource version in the metadata makes this a compare-and-swap.
        ours_unless_overtaken(self.api.replace(NAME, &PostParams::default(), &lease).await)
    }

    fn spec(&self, transitions: i32) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            acquire_time: Some(now.clone()),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..Default::default()
        }
    }
}

impl Held {
    /// Whether it is held still.
    pub fn tenure(&self) -> Tenure {
        self.tenure.clone()
    }

    /// Renews until that fails for too long; then returns, and the process must end.
    pub async fn keep(&self) {
        let mut term = Term { renewed: self.since, failed: None };
        while let Some((from, until)) = term.next(Instant::now()) {
            sleep_until(from).await;
            let asked = Instant::now();
            match timeout_at(until, self.holder.attempt(&mut None)).await {
                Ok(Ok(Turn::Ours)) => {
                    term = Term { renewed: asked, failed: None };
                    self.tenure.renewed(asked);
                    continue;
                }
                Ok(Ok(Turn::Anothers)) => return tracing::error!("another controller holds the lease"),
                Ok(Ok(Turn::Overtaken)) => tracing::warn!("the lease was written meanwhile"),
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
                Err(_) => tracing::warn!("renewing the lease took too long"),
            }
            term.failed = Some(Instant::now());
        }
        tracing::error!("the lease was not renewed for {DEADLINE:?}");
    }

    /// Gives the lease up, so that a successor need not wait.
    pub async fn release(&self) {
        if let Ok(Some(mut found)) = self.holder.api.get_opt(NAME).await
            && found.spec.as_ref().and_then(|s| s.holder_identity.as_deref()) == Some(&self.holder.identity)
        {
            if let Some(spec) = found.spec.as_mut() {
                spec.holder_identity = None;
            }
            drop(self.holder.api.replace(NAME, &PostParams::default(), &found).await);
        }
    }
}

/// A conflict is about another's write.
fn ours_unless_overtaken(result: Result<Lease, kube::Error>) -> Result<Turn, kube::Error> {
    match result {
        Ok(_) => Ok(Turn::Ours),
        Err(kube::Error::Api(s)) if s.code == 409 => Ok(Turn::Overtaken),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: f64) -> Instant {
        start + Duration::from_secs_f64(seconds)
    }

    #[test]
    fn who_gets_no_answer_tries_twice_and_ends_before_another_may_begin() {
        let start = Instant::now();
        let mut term = Term { renewed: start, failed: None };
        // An answer comes late, or never: each try takes as long as it may.
        let (mut now, mut tries) = (start, Vec::new());
        while let Some((from, until)) = term.next(now) {
            tries.push((from - start, until - from));
            (now, term.failed) = (until, Some(until));
        }
        let seconds = Duration::from_secs;
        assert_eq!(tries, [(seconds(4), seconds(4)), (seconds(9), seconds(3))]);
        assert!(now - start <= DEADLINE && DEADLINE < DURATION);
    }

    #[test]
    fn refusals_are_tried_again_until_the_end() {
        let start = Instant::now();
        let mut term = Term { renewed: start, failed: None };
        let (mut now, mut tries) = (start, 0);
        while let Some((from, _)) = term.next(now) {
            tries += 1;
            (now, term.failed) = (from, Some(from));
        }
        assert_eq!(tries, 8, "at 4, 5, … 11 s");
    }

    #[test]
    fn a_process_that_was_stopped_for_long_does_not_believe_that_it_still_leads() {
        let start = Instant::now();
        let term = Term { renewed: start, failed: None };
        assert_eq!(term.next(after(start, 12.5)), None);
        assert_eq!(term.next(after(start, 11.0)), Some((after(start, 11.0), after(start, 12.0))));
    }

    #[test]
    fn who_was_stopped_for_long_is_not_certain_to_lead_and_who_never_led_neither() {
        let (start, tenure) = (Instant::now(), Tenure::default());
        assert!(!tenure.was_certain(start));
        tenure.renewed(start);
        assert!(tenure.was_certain(after(start, 11.0)));
        assert!(!tenure.was_certain(after(start, 12.5)), "another may lead soon");
        tenure.renewed(after(start, 12.0));
        assert!(tenure.was_certain(after(start, 12.5)));
    }

    #[test]
    fn a_conflict_does_not_say_that_another_holds_the_lease() {
        let conflict = kube::core::Status::failure("the object has been modified", "Conflict").with_code(409);
        let answer = Err(kube::Error::Api(Box::new(conflict)));
        assert_eq!(ours_unless_overtaken(answer).expect("an answer"), Turn::Overtaken);
    }
}
