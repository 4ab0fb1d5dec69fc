//! Leader election over a `coordination.k8s.io` Lease. Only the holder works; one that cannot renew in time ends its process, which is the
//! only sure way to stop all writers.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, PostParams},
};

/// A holder that has not renewed for this long has lost the lease.
const DURATION: Duration = Duration::from_secs(15);
const RENEW: Duration = Duration::from_secs(4);
const RETRY: Duration = Duration::from_secs(2);
const NAME: &str = "a8s-controller";

/// A lease that this process holds.
pub struct Held {
    api: Api<Lease>,
    identity: String,
}

/// Waits until this process is the leader. `identity` survives a restart of the container, so that a crashed leader comes back at once.
pub async fn acquire(client: kube::Client, namespace: &str, identity: &str) -> Held {
    let held = Held { api: Api::namespaced(client, namespace), identity: identity.to_owned() };
    // Another holder's lease is judged by how long *we* have seen it unchanged: clocks of two machines never matter.
    let mut seen: Option<(String, Instant)> = None;
    loop {
        match held.attempt(&mut seen).await {
            Ok(true) => return held,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the lease cannot be read or written; trying again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

impl Held {
    async fn attempt(&self, seen: &mut Option<(String, Instant)>) -> Result<bool, kube::Error> {
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
            return conflict_is_no(self.api.create(&PostParams::default(), &lease).await);
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
            return Ok(false);
        }
        let transitions = spec.lease_transitions.unwrap_or(0) + i32::from(!ours);
        let lease = Lease { spec: Some(self.spec(transitions)), ..found };
        // The resource version in the metadata makes this a compare-and-swap.
        conflict_is_no(self.api.replace(NAME, &PostParams::default(), &lease).await)
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

    /// Renews until that fails for too long; then returns, and the process must end.
    pub async fn keep(&self) {
        let mut last = Instant::now();
        while last.elapsed() < DURATION.saturating_sub(RENEW) {
            tokio::time::sleep(RENEW).await;
            match tokio::time::timeout(RENEW, self.attempt(&mut None)).await {
                Ok(Ok(true)) => last = Instant::now(),
                Ok(Ok(false)) => return tracing::error!("another controller holds the lease"),
                Ok(Err(error)) => tracing::warn!(%error, "the lease could not be renewed"),
                Err(_) => tracing::warn!("renewing the lease took too long"),
            }
        }
    }

    /// Gives the lease up, so that a successor need not wait.
    pub async fn release(&self) {
        if let Ok(Some(mut found)) = self.api.get_opt(NAME).await
            && found.spec.as_ref().and_then(|s| s.holder_identity.as_deref()) == Some(&self.identity)
        {
            if let Some(spec) = found.spec.as_mut() {
                spec.holder_identity = None;
            }
            drop(self.api.replace(NAME, &PostParams::default(), &found).await);
        }
    }
}

fn conflict_is_no(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(s)) if s.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
