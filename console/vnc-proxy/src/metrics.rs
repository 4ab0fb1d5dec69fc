//! Numbers for operators. Labels have few values; who watches what belongs into the audit log of the API server, not here.

use std::sync::Arc;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Result {
    /// `ok` or why not.
    pub result: &'static str,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Code {
    /// WebSocket close code; 0 if the browser went away by itself.
    pub code: u16,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Direction {
    /// `to_browser` or `to_desktop`.
    pub direction: &'static str,
}

/// All metrics of the proxy.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Open streams.
    pub streams: Gauge,
    /// Ticket requests.
    pub tickets: Family<Result, Counter>,
    /// Ended streams.
    pub closes: Family<Code, Counter>,
    /// Bytes passed on.
    pub bytes: Family<Direction, Counter>,
    /// Messages of browsers that were not passed on.
    pub dropped: Counter,
    /// Seconds from the upgrade to an open desktop.
    pub connect: Histogram,
    /// Seconds from ping to pong.
    pub round_trip: Histogram,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("a8s_vnc_proxy");
        let metrics = (
            Gauge::default(),
            Family::<Result, Counter>::default(),
            Family::<Code, Counter>::default(),
            Family::<Direction, Counter>::default(),
            Counter::default(),
            Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0]),
            Histogram::new([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0]),
        );
        let (streams, tickets, closes, bytes, dropped, connect, round_trip) = metrics;
        registry.register("streams", "Open streams", streams.clone());
        registry.register("tickets", "Ticket requests by result", tickets.clone());
        registry.register("closes", "Ended streams by close code", closes.clone());
        registry.register("bytes", "Bytes passed on by direction", bytes.clone());
        registry.register(
            "dropped_messages",
            "Messages of browsers that were not passed on",
            dropped.clone(),
        );
        registry.register("connect_seconds", "Time to open a desktop", connect.clone());
        registry.register("round_trip_seconds", "Time from ping to pong", round_trip.clone());
        let registry = Arc::new(registry);
        Self { streams, tickets, closes, bytes, dropped, connect, round_trip, registry }
    }
}

impl Metrics {
    /// The text that Prometheus reads.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}
