//! The figures of the nearest peer, kubernetes-sigs/agent-sandbox (main of August 2026), measured once on a machine of the same kind: two
//! shared cores, Kubernetes 1.36.3, etcd without fsync, 20 kwok nodes, a pool of 330, one pause container, no volume, its webhook off. Of
//! the medians over several repeats with its default and its tuned flags the better one. They are quoted here, not measured again.

/// How its figures are called in the table.
pub const PEER: &str = "peer";

/// Create to Ready in milliseconds, p50 and p99.
#[derive(Clone, Copy)]
pub struct Latency {
    /// Half are faster.
    pub p50: f64,
    /// One of a hundred is slower.
    pub p99: f64,
}

/// One after another, 50.
pub const SERIAL: Latency = Latency { p50: 45.0, p99: 106.0 };
/// 20 at once, 100 in all.
pub const PARALLEL: Latency = Latency { p50: 421.0, p99: 1060.0 };
/// 300 at once.
pub const BURST: Latency = Latency { p50: 2747.0, p99: 6301.0 };
/// 20 a second for a minute; one of five to nine found no desktop waiting.
const TWENTY: Latency = Latency { p50: 711.0, p99: 23_202.0 };
/// 45 a second for 20 seconds only; more than a third found no desktop waiting.
const FORTY_FIVE: Latency = Latency { p50: 7724.0, p99: 25_300.0 };

/// The one of the two that was measured at this rate.
pub const fn at_rate(rate: u32) -> Option<Latency> {
    match rate {
        20 => Some(TWENTY),
        45 => Some(FORTY_FIVE),
        _ => None,
    }
}

/// Writes for each Session until it is settled and the pool is full again, one after another.
pub const WRITES: f64 = 18.3;
/// And until it is gone.
pub const WRITES_OF_A_LIFE: f64 = 23.3;
/// CPU seconds of its controller for a hundred whole lives: one after another, at 300 at once, at 20 a second.
pub const CPU: [f64; 3] = [2.46, 1.11, 1.66];
/// Resident memory of its controller in MiB with none, 3,000 and 7,854 (10,000 were not reached).
pub const MEMORY: [(usize, f64); 3] = [(0, 42.0), (3000, 143.0), (7854, 443.0)];
