//! Takes source positions out of log records before they are exported.
//!
//! `tracing` names an event by its file and line. A path can hold the name of who built the program, and a non-empty
//! event name would tell a collector that each line of the source is a kind of event of its own.

use opentelemetry::{InstrumentationScope, logs::LogRecord as _};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    logs::{LogProcessor, SdkLogRecord},
};

/// Goes before the processor that exports. Keeps the names that a call site gave itself.
#[derive(Debug)]
pub(crate) struct WithoutPositions;

impl LogProcessor for WithoutPositions {
    fn emit(&self, record: &mut SdkLogRecord, _: &InstrumentationScope) {
        if record.event_name().is_some_and(|name| name.starts_with("event ")) {
            record.set_event_name("");
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: std::time::Duration) -> OTelSdkResult {
        Ok(())
    }
}
