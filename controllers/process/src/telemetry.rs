//! Logs: JSON lines on standard error, or text for people. What the filter lets through is the only choice; traces go where the environment says.

use clap::{Args, ValueEnum};
use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

use crate::traces::{self, Flush};

/// How lines of the log look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// For people.
    Text,
}

/// Command line of the logs.
#[derive(Args, Clone, Debug)]
pub struct Telemetry {
    /// How lines of the log look.
    #[arg(long, env = "A8S_LOG_FORMAT", value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// What is logged: a level, or a filter such as `info,a8s_controller=debug`.
    #[arg(long, env = "A8S_LOG", default_value = "info")]
    pub log_level: String,
}

impl Telemetry {
    /// Starts logging, and sending traces if the environment asks for it. A second call in one process changes nothing.
    pub(crate) fn init(&self, name: &str) -> Flush {
        let (filter, complaint) = match EnvFilter::try_new(&self.log_level) {
            Ok(filter) => (filter, None),
            // A typing error must not keep the control plane down.
            Err(error) => (EnvFilter::new("info"), Some(error)),
        };
        let (traces, untraced) = match traces::tracer(name) {
            Ok(traces) => (traces, None),
            Err(error) => (None, Some(error)),
        };
        let (tracer, flush) = traces.unzip();
        let fmt = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match self.log_format {
            LogFormat::Json => fmt.json().flatten_event(true).boxed(),
            LogFormat::Text => fmt.boxed(),
        };
        let spans = tracer.map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer));
        let _ = tracing_subscriber::registry().with(lines).with(spans).with(filter).try_init();
        if let Some(error) = untraced {
            tracing::warn!(error, "traces cannot be sent, going on without them");
        }
        if let Some(error) = complaint {
            tracing::warn!(filter = self.log_level, %error, "--log-level is not understood, logging at info");
        }
        flush.unwrap_or_default()
    }
}

/// A panic becomes a line of the log like everything else, so that whoever collects logs sees it.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, panic = text, "a task panicked");
    }));
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Options {
        #[command(flatten)]
        telemetry: Telemetry,
    }

    #[test]
    fn logs_are_json_unless_asked_otherwise() {
        assert_eq!(Options::parse_from(["x"]).telemetry.log_format, LogFormat::Json);
        let text = Options::parse_from(["x", "--log-format", "text", "--log-level", "debug"]).telemetry;
        assert_eq!((text.log_format, text.log_level.as_str()), (LogFormat::Text, "debug"));
    }

    #[test]
    fn a_filter_that_is_not_understood_does_not_stop_the_process() {
        let telemetry = Telemetry { log_format: LogFormat::Json, log_level: "a8s=[[[".into() };
        drop(telemetry.init("test"));
    }
}
