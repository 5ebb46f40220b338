//! Pages of envelopes into the stream of the log, several in flight.
//!
//! The caller is the relay: it hands over a run of pages in log order and learns how far the run is
//! stored without a gap. What is behind a gap may be stored too; sending it again is harmless, because
//! every page carries the place of its last envelope as its message id: the server drops repeats, and
//! the projector whatever it has folded.
//!
//! It never retries and never makes the stream: both need the relay's cursor.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;
use tokio::sync::watch;

use crate::subjects::LOG_PAGE;
use crate::{Bus, BusError, LogPoint, STREAM_NAME};

/// One page on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutMessage {
    /// The log position of its last envelope.
    pub position: u64,
    /// The log's epoch, of all its envelopes.
    pub epoch: u64,
    /// The page.
    pub payload: Bytes,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishOutcome {
    /// Everything of the batch up to this position is stored; absent: nothing is, for sure.
    pub acked_through: Option<u64>,
    /// How many of those the server had already.
    pub duplicates: usize,
    /// Why it went no further; absent when the whole batch is stored.
    pub error: Option<BusError>,
}

/// Bounds of what is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublisherSettings {
    /// Messages sent and not yet acknowledged.
    pub in_flight_max: usize,
    /// Bytes of payload sent and not yet acknowledged; one larger message still goes alone.
    pub in_flight_bytes_max: usize,
    /// How long to wait for one acknowledgement.
    pub ack_timeout: Duration,
}

impl Default for PublisherSettings {
    fn default() -> Self {
        Self { in_flight_max: 256, in_flight_bytes_max: 8 << 20, ack_timeout: Duration::from_secs(5) }
    }
}

/// Publishes pages to the stream of the log.
#[derive(Debug, Clone)]
pub struct Publisher {
    bus: Bus,
    settings: PublisherSettings,
}

struct InFlight {
    position: u64,
    bytes: usize,
    ack: PublishAckFuture,
}

impl Publisher {
    /// A publisher over `bus`.
    pub fn new(bus: Bus, settings: PublisherSettings) -> Self {
        Self { bus, settings }
    }

    /// Publishes `batch`, which is in log order, and stops at the first message that is not
    /// acknowledged. The caller goes on behind `acked_through`.
    ///
    /// Errors, in the outcome: [`BusError::StreamMissing`] and [`BusError::StreamBroken`] (both for
    /// [`crate::LogStream::repair`], then feed it again),
    /// [`BusError::AckTimeout`], [`BusError::Disconnected`], [`BusError::TooLarge`], [`BusError::JetStream`].
    #[tracing::instrument(
        level = "debug", skip_all,
        fields(count = batch.len(), first = batch.first().map(|m| m.position), acked_through),
    )]
    pub async fn publish_batch(&self, batch: &[OutMessage]) -> PublishOutcome {
        let mut outcome = PublishOutcome { acked_through: None, duplicates: 0, error: None };
        let mut in_flight: VecDeque<InFlight> = VecDeque::new();
        let mut in_flight_bytes = 0;
        let mut waiting = batch.iter().peekable();
        let mut generation = self.bus.generation();
        generation.mark_unchanged();
        loop {
            // After a failed send the rest stays home, and what is in flight is still counted.
            while outcome.error.is_none()
                && let Some(message) = waiting.next_if(|next| {
                    in_flight.is_empty()
                        || in_flight.len() < self.settings.in_flight_max
                            && in_flight_bytes + next.payload.len() <= self.settings.in_flight_bytes_max
                })
            {
                match self.send(message).await {
                    Ok(ack) => {
                        let bytes = message.payload.len();
                        in_flight_bytes += bytes;
                        in_flight.push_back(InFlight { position: message.position, bytes, ack });
                    }
                    Err(error) => outcome.error = Some(error),
                }
            }
            let Some(InFlight { position, bytes, ack }) = in_flight.pop_front() else { break };
            in_flight_bytes -= bytes;
            match self.acknowledged(ack, position, &mut generation).await {
                Ok(ack) => {
                    outcome.acked_through = Some(position);
                    outcome.duplicates += usize::from(ack.duplicate);
                }
                Err(error) => {
                    outcome.error = Some(error);
                    break;
                }
            }
        }
        tracing::Span::current().record("acked_through", outcome.acked_through);
        if let Some(error) = &outcome.error {
            tracing::warn!(%error, acked_through = outcome.acked_through, "publishing stopped at a gap");
        }
        outcome
    }

    async fn send(&self, message: &OutMessage) -> Result<PublishAckFuture, BusError> {
        let publish = PublishMessage::build()
            .payload(message.payload.clone())
            .message_id(LogPoint::new(message.epoch, message.position).to_string())
            // Another stream that took our subjects must not pass for ours.
            .expected_stream(STREAM_NAME);
        let sent = self.bus.jetstream().send_publish(LOG_PAGE, publish);
        match tokio::time::timeout(self.settings.ack_timeout, sent).await {
            Ok(sent) => sent.map_err(|error| self.explain(&error, message.position)),
            Err(_) => Err(BusError::Disconnected),
        }
    }

    async fn acknowledged(
        &self,
        ack: PublishAckFuture,
        position: u64,
        generation: &mut watch::Receiver<u64>,
    ) -> Result<PublishAck, BusError> {
        tokio::select! {
            biased;
            acked = tokio::time::timeout(self.settings.ack_timeout, ack.into_future()) => match acked {
                Ok(acked) => acked.map_err(|error| self.explain(&error, position)),
                Err(_) => Err(BusError::AckTimeout(self.settings.ack_timeout)),
            },
            // What was in flight on the old connection will not be answered on the new one.
            Ok(()) = generation.changed() => Err(BusError::Disconnected),
        }
    }

    fn explain(&self, error: &PublishError, position: u64) -> BusError {
        match error.kind() {
            PublishErrorKind::StreamNotFound => BusError::StreamMissing,
            PublishErrorKind::TimedOut => BusError::AckTimeout(self.settings.ack_timeout),
            PublishErrorKind::MaxPayloadExceeded => BusError::TooLarge { position },
            _ => match server_code(error) {
                Some(ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM) => BusError::TooLarge { position },
                Some(ErrorCode::STREAM_STORE_FAILED) => {
                    tracing::warn!(error = crate::error::chain(error), "the broker cannot store");
                    BusError::StreamBroken
                }
                _ => BusError::JetStream(crate::error::chain(error)),
            },
        }
    }
}

/// The server's own number for what went wrong; the client names only some of them.
fn server_code(error: &PublishError) -> Option<ErrorCode> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<async_nats::jetstream::Error>().map(|e| e.error_code())
}
