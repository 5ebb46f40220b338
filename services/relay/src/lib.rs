//! The relay: from the log to JetStream, in log order, until everything that is in the log is in the stream.
//!
//! One process leads (`leader`), any number stand by. The leader reads the log behind a cursor, publishes envelopes
//! and moves the cursor over what is acknowledged without a gap (`feed`). The cursor is not kept anywhere: what the
//! stream itself ends with says where to go on (`cursor`), so a stream that was wiped, restored or made anew is fed
//! again by the same rule that feeds it every day.
//!
//! It never decides what is true, never writes to the log, never looks into a sealed part, and never lets a consumer
//! wait for it: the projector fills a hole from the log. Envelopes come from `crates/log`, go out through
//! `crates/bus`; a stale leader's publishes are harmless, since the projector drops repeats and fills holes.

mod cursor;
mod feed;
mod leader;
mod page;

use std::time::Duration;

use tasuki_bus::{Bus, LogStreamSettings, PublisherSettings};
use tasuki_log::{Database, Reader};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Bounds of the relay.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// The stream that is made when it is missing.
    pub stream: LogStreamSettings,
    /// What may be in flight.
    pub publisher: PublisherSettings,
    /// Events that are read and published together.
    pub batch_events_max: usize,
    /// Bytes of envelopes in one message; a larger envelope still goes alone.
    pub page_bytes_max: usize,
    /// The log is looked at this often even when nobody says that it has grown.
    pub poll: Duration,
    /// An idle relay asks the stream this often whether it still holds what it had acknowledged.
    pub check: Duration,
    /// A standby tries this often to become the leader.
    pub standby: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            stream: LogStreamSettings::default(),
            publisher: PublisherSettings::default(),
            batch_events_max: 500,
            page_bytes_max: 64 << 10,
            poll: Duration::from_millis(250),
            check: Duration::from_secs(5),
            standby: Duration::from_millis(500),
        }
    }
}

/// Relays until cancelled, as the leader or as a standby; outlives restarts of both servers.
///
/// `wake` is [`tasuki_log::Writer::head`] of this process: a hint, as are the pings of the others. Dropping the
/// future is as good as cancelling: what was in flight is published again by the next leader, under the same ids.
///
/// It reads no header: one that cannot be read travels as it is, and stops the projector. An envelope that the broker
/// finds too large is left out with an error in the log; the projector fills that hole.
pub async fn run(
    database: Database,
    reader: Reader,
    bus: Bus,
    wake: watch::Receiver<u64>,
    options: RelayOptions,
    cancel: CancellationToken,
) {
    let relaying = leader::while_leading(&database, options.standby, || {
        feed::Feed::new(reader.clone(), bus.clone(), wake.clone(), options.clone()).run()
    });
    tokio::select! {
        biased;
        () = cancel.cancelled() => {}
        never = relaying => match never {},
    }
}
