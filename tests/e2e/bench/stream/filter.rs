//! The filter by itself. It cannot be switched off, so that there is no proxy without it to compare with; this is what it takes of the
//! proxy's time.

use std::{hint::black_box, time::Instant};

use a8s_rfb::{Filter, Policy, Role, encode};
use anyhow::Result;

use super::desktop::hello;
use crate::table::{Report, Row};

const ROUNDS: u16 = 20_000;
/// What noVNC sends at once while the pointer moves fast.
const AT_ONCE: u16 = 4;

/// Nanoseconds for a message.
pub fn measure(report: &mut Report) -> Result<()> {
    let mut filter = Filter::new(Policy::default());
    let mut pass = |bytes: &[u8]| -> Result<usize> {
        filter.push(bytes);
        let mut passed = 0;
        while let Some(message) = filter.next(Role::Controller, Instant::now())? {
            passed += black_box(message).len();
        }
        black_box(filter.take_counts());
        Ok(passed)
    };
    pass(&hello())?;
    let began = Instant::now();
    for round in 0..ROUNDS {
        let events: Vec<u8> = (0..AT_ONCE).flat_map(|n| encode::pointer(0, round, n)).collect();
        anyhow::ensure!(pass(&events)? == events.len(), "the filter holds the pointer back");
    }
    let each = began.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS) / f64::from(AT_ONCE);
    report.row(Row::new("the filter, for each message of a client", each, "ns"));
    Ok(())
}
