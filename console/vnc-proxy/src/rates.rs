//! How often one address may open a stream. Each costs a TLS handshake with a desktop and a connection to its X server; a page that opens
//! them in a loop, broken or meant so, is slowed down before that.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use http::HeaderMap;

/// Seconds' worth of upgrades that may come at once: a page with many desktops, or all pages after a restart.
const BURST_SECONDS: f64 = 4.0;
/// Addresses that are remembered at most. Beyond it, those that have not come lately are forgotten.
const MAX: usize = 10_000;

/// Upgrades by address.
#[derive(Debug)]
pub struct Rates {
    per_second: f64,
    spent: Mutex<HashMap<IpAddr, (f64, Instant)>>,
}

impl Rates {
    /// So many a second, averaged.
    pub fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second), spent: Mutex::default() }
    }

    /// Whether the address may open one more now.
    pub fn take(&self, address: IpAddr, now: Instant) -> bool {
        let burst = self.per_second * BURST_SECONDS;
        let left = |(spent, since): (f64, Instant)| {
            (spent - now.saturating_duration_since(since).as_secs_f64() * self.per_second).max(0.0)
        };
        let mut all = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX && !all.contains_key(&address) {
            all.retain(|_, spent| left(*spent) > 0.0);
        }
        if all.len() >= MAX && !all.contains_key(&address) {
            // So many at once are no people.
            return false;
        }
        let spent = all.get(&address).copied().map_or(0.0, left);
        let granted = spent + 1.0 <= burst;
        all.insert(address, (if granted { spent + 1.0 } else { spent }, now));
        granted
    }
}

/// The address that asks. Behind the console it is the last one in X-Forwarded-For: what is before it could be made up. `None` if the
/// console was told none.
pub fn address(headers: &HeaderMap, peer: IpAddr, behind_console: bool) -> Option<IpAddr> {
    if !behind_console {
        return Some(peer);
    }
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn an_address_has_four_seconds_worth_at_once_and_then_its_share_of_each_second() {
        let (rates, now) = (Rates::new(5), Instant::now());
        let granted = |now| (0..100).filter(|_| rates.take(PEER, now)).count();
        assert_eq!(granted(now), 20);
        assert_eq!(granted(now + Duration::from_millis(1100)), 5);
        assert!(rates.take([1, 1, 1, 1].into(), now), "another address waits");
        assert_eq!(granted(now + Duration::from_mins(1)), 20);
    }

    #[test]
    fn more_addresses_than_are_remembered_are_refused_until_the_others_are_at_rest() {
        let (rates, now) = (Rates::new(1), Instant::now());
        let address = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        assert!((0..MAX).all(|n| rates.take(address(n), now)));
        assert!(!rates.take(address(MAX), now));
        assert!(rates.take(address(0), now), "one that is remembered");
        assert!(rates.take(address(MAX), now + Duration::from_secs(3)));
    }

    #[test]
    fn the_console_says_whose_address_it_is_and_nobody_else_does() {
        let mut headers = HeaderMap::new();
        assert_eq!(address(&headers, PEER, true), None);
        headers.insert("x-forwarded-for", "9.9.9.9, 10.0.0.1".parse().unwrap());
        assert_eq!(address(&headers, PEER, true), Some([10, 0, 0, 1].into()));
        assert_eq!(address(&headers, PEER, false), Some(PEER));
        headers.append("x-forwarded-for", "2001:db8::1".parse().unwrap());
        assert_eq!(address(&headers, PEER, true), "2001:db8::1".parse().ok());
        headers.insert("x-forwarded-for", "unknown".parse().unwrap());
        assert_eq!(address(&headers, PEER, true), None);
    }
}
