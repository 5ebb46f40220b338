//! OpenTelemetry set-up, trace context across gRPC, log and NATS, and the one list of metrics.
//!
//! What it never does: record anything personal. Only spans and log lines whose target starts with `tasuki` are
//! exported, so that the text of a library never leaves the process; the resource names no host and no user;
//! baggage is not propagated; metric labels come from closed sets. Call sites put ids and closed codes into spans
//! and log lines, nothing else.
//!
//! Where the data comes from: `tracing` spans and events, [`metrics()`], and the `traceparent` of calls, events and
//! NATS messages. Where it goes: stderr always; an OTLP collector over gRPC when `OTEL_EXPORTER_OTLP_ENDPOINT` is
//! set.
//!
//! Trace context is one string everywhere, a W3C `traceparent`. With exporting on, the current span has its own.
//! With exporting off, no ids are made: [`traceparent_of_current`] is `None`, except below a span that
//! [`child_of`] gave a parent; then it is the parent's own string, so that a caller's trace passes through us whole.

mod config;
mod context;
mod json;
mod metrics;
mod positions;
#[cfg(feature = "test-receiver")]
pub mod receiver;
mod setup;

pub use config::{LogFormat, TelemetryConfig};
pub use context::{child_of, extract_http, inject_http, link_to, traceparent_of_current};
pub use metrics::{ClosedSet, Instruments, OpenStream, metrics};
pub use setup::{Guard, TelemetryError, build, init};
