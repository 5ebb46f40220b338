//! What is logged and where telemetry goes, from the environment.
//!
//! It never holds defaults for the SDK's own knobs (intervals, sampling, batch sizes): the SDK reads the standard
//! `OTEL_*` variables itself.

use std::env;

/// Ours at `info`; libraries only from `warn` on.
const DEFAULT_FILTER: &str = "warn,tasuki=info";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people when stderr is a terminal, JSON lines otherwise.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line, with `trace_id` and `span_id` where there is a trace.
    Json,
}

/// How a process observes itself.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// The collector, for example `http://127.0.0.1:4317` (OTLP over gRPC, no TLS); `None` exports nothing.
    pub otlp_endpoint: Option<String>,
    /// Which log lines stderr gets, in the syntax of `tracing_subscriber::EnvFilter`. Exports are not filtered by
    /// it: they are `info` and above of our own targets.
    pub log_filter: String,
    /// How they look there.
    pub log_format: LogFormat,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { otlp_endpoint: None, log_filter: DEFAULT_FILTER.to_owned(), log_format: LogFormat::Auto }
    }
}

impl TelemetryConfig {
    /// The configuration of this process.
    ///
    /// Source: `OTEL_EXPORTER_OTLP_ENDPOINT` (off when unset or empty, and when `OTEL_SDK_DISABLED` is `true`),
    /// `TASUKI_LOG` (default `info`), `TASUKI_LOG_FORMAT` (`human`, `json`; anything else is decided by the terminal).
    pub fn from_env() -> Self {
        Self::from_lookup(|name| env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| lookup(name).filter(|value| !value.trim().is_empty());
        let disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        Self {
            otlp_endpoint: set("OTEL_EXPORTER_OTLP_ENDPOINT").filter(|_| !disabled),
            log_filter: set("TASUKI_LOG").unwrap_or_else(|| DEFAULT_FILTER.to_owned()),
            log_format: match set("TASUKI_LOG_FORMAT").as_deref() {
                Some("human") => LogFormat::Human,
                Some("json") => LogFormat::Json,
                _ => LogFormat::Auto,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(vars: &[(&str, &str)]) -> TelemetryConfig {
        TelemetryConfig::from_lookup(|name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn nothing_is_exported_unless_an_endpoint_is_named() {
        assert_eq!(from(&[]).otlp_endpoint, None);
        assert_eq!(from(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")]).otlp_endpoint, None);
        let named = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        assert_eq!(from(&[named]).otlp_endpoint.as_deref(), Some("http://c:4317"));
        assert_eq!(from(&[named, ("OTEL_SDK_DISABLED", "True")]).otlp_endpoint, None);
    }

    #[test]
    fn the_log_filter_defaults_to_info_and_the_format_to_the_terminal() {
        assert!(from(&[]).log_filter.ends_with("tasuki=info"));
        assert_eq!(from(&[]).log_format, LogFormat::Auto);
        let told = from(&[("TASUKI_LOG", "debug"), ("TASUKI_LOG_FORMAT", "json")]);
        assert_eq!((told.log_filter.as_str(), told.log_format), ("debug", LogFormat::Json));
    }
}
