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

/// Why a ticket opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// None was shown.
    Missing,
    /// Never issued, used already, or expired so long ago that it is forgotten.
    Unknown,
    /// Too old.
    Expired,
    /// Issued to a page of another origin.
    Origin,
}

impl Rejection {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Origin => "origin",
        }
    }
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
    pub fn redeem(&self, ticket: &str, origin: &str, now: Instant) -> Result<Grant, Rejection> {
        if ticket.is_empty() {
            return Err(Rejection::Missing);
        }
        let decoded = URL_SAFE_NO_PAD.decode(ticket).map_err(|_| Rejection::Unknown)?;
        let secret: [u8; 32] = decoded.try_into().map_err(|_| Rejection::Unknown)?;
        let removed = self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&secret);
        let (grant, expires) = removed.ok_or(Rejection::Unknown)?;
        if expires <= now {
            return Err(Rejection::Expired);
        }
        if grant.origin == origin { Ok(grant) } else { Err(Rejection::Origin) }
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
        assert_eq!(tickets.redeem(&ticket, "https://console", now), Ok(grant("jane")));
        assert_eq!(tickets.redeem(&ticket, "https://console", now), Err(Rejection::Unknown));
    }

    #[test]
    fn a_ticket_expires_and_is_spent_by_a_wrong_origin() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let late = tickets.issue(grant("jane"), now).unwrap();
        assert_eq!(tickets.redeem(&late, "https://console", now + LIFETIME), Err(Rejection::Expired));
        let stolen = tickets.issue(grant("jane"), now).unwrap();
        assert_eq!(tickets.redeem(&stolen, "https://evil", now), Err(Rejection::Origin));
        assert_eq!(tickets.redeem(&stolen, "https://console", now), Err(Rejection::Unknown));
        assert_eq!(tickets.redeem("", "https://console", now), Err(Rejection::Missing));
        for bad in ["AAAA", "not base64!", &"A".repeat(43)] {
            assert_eq!(tickets.redeem(bad, "https://console", now), Err(Rejection::Unknown), "{bad}");
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
