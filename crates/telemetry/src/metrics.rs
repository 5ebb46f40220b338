//! Every instrument of Tasuki, in one place.
//!
//! Names follow OpenTelemetry, units are UCUM, durations are seconds. Labels come from closed sets only: a label
//! that an outsider could choose would be both a leak and an unbounded cost. No instrument has an agency, a post, a
//! case or a data class as a label: a count by one of those can tell what its reader may not know.

use std::{collections::HashSet, sync::LazyLock, time::Duration};

use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge, Histogram, Meter, UpDownCounter},
};

/// From half a millisecond (an append on a fast disk) to the longest deadline of a call.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const EVENTS: [f64; 12] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0];

/// The codes of gRPC by number; the closed set of the label `rpc.response.status_code`.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What stands for everything outside of a [`ClosedSet`].
const OTHER: &str = "_OTHER";

/// The handles of all instruments, got once.
pub struct Instruments {
    append_duration: Histogram<f64>,
    append_batch_size: Histogram<u64>,
    commit_duration: Histogram<f64>,
    relay_lag_positions: Gauge<u64>,
    relay_lag_duration: Gauge<f64>,
    projector_lag_positions: Gauge<u64>,
    projector_lag_duration: Gauge<f64>,
    streams_open: UpDownCounter<i64>,
    rpc_duration: Histogram<f64>,
    reads_recorded: Counter<u64>,
    issuer_keys_age: Gauge<f64>,
}

/// The instruments of this process.
///
/// They record into the meter provider that [`crate::init`] has set, so they must not be asked for before it; later
/// they are the same for good. Without exporting each call is a no-op.
pub fn metrics() -> &'static Instruments {
    static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(|| Instruments::new(&global::meter("tasuki")));
    &INSTRUMENTS
}

impl Instruments {
    /// The instruments of `meter`; for tests, everything else uses [`metrics`].
    pub fn new(meter: &Meter) -> Self {
        let seconds = |name: &'static str, text: &'static str| {
            meter
                .f64_histogram(name)
                .with_unit("s")
                .with_description(text)
                .with_boundaries(SECONDS.to_vec())
                .build()
        };
        let positions = |name: &'static str, text: &'static str| {
            meter.u64_gauge(name).with_unit("{position}").with_description(text).build()
        };
        let behind = |name: &'static str, text: &'static str| {
            meter.f64_gauge(name).with_unit("s").with_description(text).build()
        };
        Self {
            append_duration: seconds(
                "tasuki.append.duration",
                "An append, from the queue to the acknowledgement.",
            ),
            append_batch_size: meter
                .u64_histogram("tasuki.append.batch.size")
                .with_unit("{event}")
                .with_description("Events written by one transaction.")
                .with_boundaries(EVENTS.to_vec())
                .build(),
            commit_duration: seconds("tasuki.commit.duration", "The COMMIT of an append alone."),
            relay_lag_positions: positions(
                "tasuki.relay.lag.positions",
                "Log positions not yet acknowledged by NATS.",
            ),
            relay_lag_duration: behind(
                "tasuki.relay.lag.duration",
                "Age of the oldest event not yet relayed.",
            ),
            projector_lag_positions: positions(
                "tasuki.projector.lag.positions",
                "Log positions not yet in the views.",
            ),
            projector_lag_duration: behind(
                "tasuki.projector.lag.duration",
                "Age of the oldest event not yet in the views.",
            ),
            streams_open: meter
                .i64_up_down_counter("tasuki.streams.open")
                .with_unit("{stream}")
                .with_description("Subscriptions that are open now.")
                .build(),
            rpc_duration: seconds("rpc.server.call.duration", "A call, from its headers to its status."),
            issuer_keys_age: behind(
                "tasuki.issuer.keys.age",
                "Since the token issuer's keys were last read with success.",
            ),
            reads_recorded: meter
                .u64_counter("tasuki.reads.recorded")
                .with_unit("{read}")
                .with_description("Read records committed.")
                .build(),
        }
    }

    /// One command's append took `duration`, from entering the queue to its acknowledgement.
    pub fn append_done(&self, duration: Duration) {
        self.append_duration.record(duration.as_secs_f64(), &[]);
    }

    /// One transaction wrote `events` events and its COMMIT took `commit`.
    pub fn batch_committed(&self, events: u64, commit: Duration) {
        self.append_batch_size.record(events, &[]);
        self.commit_duration.record(commit.as_secs_f64(), &[]);
    }

    /// The relay is `positions` positions behind the log, the oldest of them recorded `age` ago (zero for none).
    pub fn relay_behind(&self, positions: u64, age: Duration) {
        self.relay_lag_positions.record(positions, &[]);
        self.relay_lag_duration.record(age.as_secs_f64(), &[]);
    }

    /// The projector is `positions` positions behind the log, the oldest of them recorded `age` ago (zero for none).
    pub fn projector_behind(&self, positions: u64, age: Duration) {
        self.projector_lag_positions.record(positions, &[]);
        self.projector_lag_duration.record(age.as_secs_f64(), &[]);
    }

    /// A subscription has opened; it counts until the returned value is dropped.
    #[must_use = "the stream counts as closed once this is dropped"]
    pub fn stream_opened(&self) -> OpenStream {
        self.streams_open.add(1, &[]);
        OpenStream(self.streams_open.clone())
    }

    /// A call of `method` (`package.Service/Method`, from a [`ClosedSet`]) ended with the gRPC `code` after `duration`.
    pub fn rpc_done(&self, method: &'static str, code: i32, duration: Duration) {
        let code = usize::try_from(code).ok().and_then(|code| CODES.get(code)).unwrap_or(&OTHER);
        let labels = [
            KeyValue::new("rpc.system.name", "grpc"),
            KeyValue::new("rpc.method", method),
            KeyValue::new("rpc.response.status_code", *code),
        ];
        self.rpc_duration.record(duration.as_secs_f64(), &labels);
    }

    /// The token issuer's keys were last read with success so long ago.
    pub fn issuer_keys_are(&self, age: Duration) {
        self.issuer_keys_age.record(age.as_secs_f64(), &[]);
    }

    /// `reads` read records were committed.
    pub fn reads_recorded(&self, reads: u64) {
        self.reads_recorded.add(reads, &[]);
    }
}

/// An open subscription, for as long as it lives.
pub struct OpenStream(UpDownCounter<i64>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.add(-1, &[]);
    }
}

/// The values that a label may have, known when the program is built. The path of a call comes from outside; through
/// this it becomes one of the method names of the contract, or `_OTHER`.
pub struct ClosedSet(HashSet<&'static str>);

impl ClosedSet {
    /// The set of `names`.
    pub fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        Self(names.into_iter().collect())
    }

    /// The member that equals `name` (a leading `/` does not count), or `_OTHER`.
    pub fn member(&self, name: &str) -> &'static str {
        self.0.get(name.strip_prefix('/').unwrap_or(name)).copied().unwrap_or(OTHER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_from_outside_becomes_a_member_or_other() {
        let methods = ClosedSet::new(["tasuki.intake.v1.Intake/Submit"]);
        assert_eq!(methods.member("/tasuki.intake.v1.Intake/Submit"), "tasuki.intake.v1.Intake/Submit");
        assert_eq!(methods.member("/made.up/Name"), OTHER);
    }
}
