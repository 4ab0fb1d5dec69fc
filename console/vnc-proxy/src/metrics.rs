//! Numbers for operators. Labels have few values; who watches what belongs into the audit log of the API server, not here.

use std::sync::Arc;

use a8s_rfb::{Counts, Kind, Violation};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    /// `ok` or why not.
    pub result: &'static str,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Why {
    /// Why not.
    pub reason: &'static str,
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

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Role {
    /// `view` or `control`: what the ticket was for.
    pub role: &'static str,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct MessageType {
    /// Name of an RFB message.
    pub r#type: &'static str,
}

/// Two labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Dropped {
    /// Name of an RFB message.
    pub r#type: &'static str,
    /// Why it was not passed on.
    pub reason: &'static str,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Broken {
    /// Number of the RFB message type, or the part of the handshake.
    pub r#type: String,
}

/// All metrics of the proxy.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Open streams.
    pub viewers: Family<Role, Gauge>,
    /// Ticket requests.
    pub tickets: Family<Outcome, Counter>,
    /// Requests for a stream.
    pub upgrades: Family<Outcome, Counter>,
    /// Tickets that opened nothing.
    pub rejections: Family<Why, Counter>,
    /// Ended streams.
    pub closes: Family<Code, Counter>,
    /// Bytes passed on.
    pub bytes: Family<Direction, Counter>,
    /// Messages of browsers that were passed on.
    pub messages: Family<MessageType, Counter>,
    /// Messages of browsers that were not passed on.
    pub dropped: Family<Dropped, Counter>,
    /// Messages of browsers that ended their stream.
    pub violations: Family<Broken, Counter>,
    /// Wishes for another size of a desktop that were passed on. deskd refuses those of people who do not hold control.
    pub resizes: Counter,
    /// Bytes that wait for browsers to read.
    pub buffered: Gauge,
    /// Seconds from the request for a stream to the end of RFB's handshake.
    pub handshake: Histogram,
    /// Seconds until a desktop has taken a stream.
    pub connect: Histogram,
    /// Seconds from ping to pong.
    pub round_trip: Histogram,
    /// Seconds that a write waited for a browser, if it had to.
    pub stalls: Histogram,
    registry: Arc<Registry>,
}

impl Default for Metrics {
    fn default() -> Self {
        const OPEN: [f64; 9] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
        const TRIP: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
        const STALL: [f64; 8] = [0.001, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];
        let mut all = Registry::with_prefix("a8s_vnc_proxy");
        let metrics = Self {
            viewers: add(&mut all, "viewers", "Open streams by role"),
            tickets: add(&mut all, "tickets", "Ticket requests by result"),
            upgrades: add(&mut all, "upgrades", "Requests for a stream by result"),
            rejections: add(&mut all, "ticket_rejections", "Tickets that opened nothing by reason"),
            closes: add(&mut all, "closes", "Ended streams by close code"),
            bytes: add(&mut all, "bytes", "Bytes passed on by direction"),
            messages: add(&mut all, "messages", "Messages of browsers that were passed on by type"),
            dropped: add(
                &mut all,
                "dropped",
                "Messages of browsers that were not passed on by type and reason",
            ),
            violations: add(&mut all, "violations", "Messages of browsers that ended their stream by type"),
            resizes: add(&mut all, "resize", "Wishes for another size of a desktop that were passed on"),
            buffered: add(&mut all, "buffered_bytes", "Bytes that wait for browsers to read"),
            handshake: Histogram::new(OPEN),
            connect: Histogram::new(OPEN),
            round_trip: Histogram::new(TRIP),
            stalls: Histogram::new(STALL),
            registry: Arc::default(),
        };
        let seconds = [
            (
                "handshake_seconds",
                "Time from the request for a stream to the end of RFB's handshake",
                &metrics.handshake,
            ),
            ("upstream_connect_seconds", "Time until a desktop has taken a stream", &metrics.connect),
            ("round_trip_seconds", "Time from ping to pong", &metrics.round_trip),
            ("write_stall_seconds", "Time that a write waited for a browser, if it had to", &metrics.stalls),
        ];
        for (name, help, histogram) in seconds {
            all.register(name, help, histogram.clone());
        }
        Self { registry: Arc::new(all), ..metrics }
    }
}

fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// The text that Prometheus reads.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// Adds what the filter of a stream has counted.
    pub fn count(&self, counts: &Counts) {
        for (kind, count) in counts.passed() {
            self.messages.get_or_create(&MessageType { r#type: kind.name() }).inc_by(count.into());
            if kind == Kind::SetDesktopSize {
                self.resizes.inc_by(count.into());
            }
        }
        for (kind, reason, count) in counts.dropped() {
            let labels = Dropped { r#type: kind.name(), reason: reason.name() };
            self.dropped.get_or_create(&labels).inc_by(count.into());
        }
    }

    /// Adds a message that ended its stream.
    pub fn violation(&self, violation: Violation) {
        let r#type = match violation {
            Violation::Version => "version".to_owned(),
            Violation::Security => "security".to_owned(),
            Violation::Type(kind) | Violation::Field(kind) => kind.to_string(),
        };
        self.violations.get_or_create(&Broken { r#type }).inc();
    }
}
