//! Tickets: short, random, good for one stream. They keep the person's Kubernetes token out of WebSocket headers and URLs, and bind what
//! was checked (person, Workspace UID, mode, origin) to the stream that follows.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::access::{Mode, Person, Target};

/// How long a ticket is good.
pub const LIFETIME: Duration = Duration::from_secs(30);
/// More open tickets of one person are a mistake in a page.
const MAX_PER_PERSON: usize = 32;
const MAX: usize = 10_000;

/// What a ticket stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    /// Who.
    pub person: Person,
    /// Which Workspace.
    pub target: Target,
    /// What for.
    pub mode: Mode,
    /// From which page.
    pub origin: String,
}

/// Open tickets. They live in memory: a ticket is worth a second's work, and a restart makes the page ask for a new one.
#[derive(Debug, Default)]
pub struct Tickets {
    open: Mutex<HashMap<[u8; 32], (Grant, Instant)>>,
}

impl Tickets {
    /// A new ticket; `None` if there are too many already.
    pub fn issue(&self, grant: Grant, now: Instant) -> Option<String> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, (_, expires)| *expires > now);
        let of_person = open.values().filter(|(other, _)| other.person.name == grant.person.name).count();
        if open.len() >= MAX || of_person >= MAX_PER_PERSON {
            return None;
        }
        let secret: [u8; 32] = rand::random();
        open.insert(secret, (grant, now + LIFETIME));
        Some(URL_SAFE_NO_PAD.encode(secret))
    }

    /// What the ticket stands for, if it is open and comes from its page. It is used up in any case: whoever presents a ticket from a
    /// wrong page has stolen it.
    pub fn redeem(&self, ticket: &str, origin: &str, now: Instant) -> Option<Grant> {
        let secret: [u8; 32] = URL_SAFE_NO_PAD.decode(ticket).ok()?.try_into().ok()?;
        let (grant, expires) = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&secret)?;
        (expires > now && grant.origin == origin).then_some(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(name: &str) -> Grant {
        Grant {
            person: Person { name: name.into(), ..Person::default() },
            target: Target {
                namespace: "team".into(),
                name: "ws".into(),
                uid: "uid-1".into(),
                host: "ws-desktop.team.svc".into(),
            },
            mode: Mode::View,
            origin: "https://console".into(),
        }
    }

    #[test]
    fn a_ticket_is_good_once() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let ticket = tickets.issue(grant("jane"), now).unwrap();
        assert_eq!(tickets.redeem(&ticket, "https://console", now), Some(grant("jane")));
        assert_eq!(tickets.redeem(&ticket, "https://console", now), None);
    }

    #[test]
    fn a_ticket_expires_and_is_spent_by_a_wrong_origin() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let late = tickets.issue(grant("jane"), now).unwrap();
        assert_eq!(tickets.redeem(&late, "https://console", now + LIFETIME), None);
        let stolen = tickets.issue(grant("jane"), now).unwrap();
        assert_eq!(tickets.redeem(&stolen, "https://evil", now), None);
        assert_eq!(tickets.redeem(&stolen, "https://console", now), None);
        for bad in ["", "AAAA", "not base64!", &"A".repeat(43)] {
            assert_eq!(tickets.redeem(bad, "https://console", now), None, "{bad}");
        }
    }

    #[test]
    fn one_person_cannot_use_up_all_tickets() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let issued = (0..100).filter(|_| tickets.issue(grant("jane"), now).is_some()).count();
        assert_eq!(issued, MAX_PER_PERSON);
        assert!(tickets.issue(grant("joe"), now).is_some());
        assert!(tickets.issue(grant("jane"), now + LIFETIME).is_some(), "expired tickets still count");
    }
}
