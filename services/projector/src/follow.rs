//! What to fold next: from the stream while it delivers what follows, from the log when it does not.
//!
//! Between stream and log there is no mode to be wrong about: a position that was seen is dropped, the next one is
//! taken, a later one is a hole and the log fills it. When the stream says nothing for a while, the log is asked
//! whether there was anything to say; as long as there was, it is asked often.

use std::time::{Duration, SystemTime};

use futures::FutureExt as _;
use prost::Message as _;
use tasuki_bus::{Bus, Delivery, InMessage, LogConsumer, LogPoint, LogStream, LogStreamSettings, StartFrom};
use tasuki_contract::event::v1::{Envelope, Page};
use tasuki_log::Reader;
use tasuki_views::{Applied, Projection, ViewError};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::Fault;

/// How long the stream may be silent before the log is asked.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the log is asked while it knows more than the stream.
const WITHOUT_STREAM: Duration = Duration::from_millis(50);
/// How often the lag is measured.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// Events of one transaction, rounded up to whole pages.
const BATCH_EVENTS_MAX: usize = 1_000;
/// The least time between the starts of two transactions. What comes alone is folded at once; under load a
/// transaction's fixed cost is shared by what comes within this time.
const PACE: Duration = Duration::from_millis(8);
/// Links that a span may have; more are dropped by exporters.
const LINKS_MAX: usize = 128;

/// The leader's eyes and hands.
pub(crate) struct Follower {
    projection: Projection,
    reader: Reader,
    bus: watch::Receiver<Option<Bus>>,
    /// Absent until the broker is there.
    consumer: Option<LogConsumer>,
    /// When the log is asked.
    ask_at: Instant,
    /// The log had more than the stream when it was asked last.
    without_stream: bool,
    /// When the next transaction may start.
    paced_to: Instant,
    /// When it is next reported how far the views are behind.
    report_at: Instant,
}

/// What is folded together.
#[derive(Default)]
struct Batch {
    envelopes: Vec<Envelope>,
    /// Behind these something is missing that the stream will not bring.
    hole: bool,
}

impl Follower {
    pub(crate) fn new(projection: Projection, reader: Reader, bus: watch::Receiver<Option<Bus>>) -> Self {
        // The first question is at once: a stream that was wiped while nobody led has nothing to say.
        let now = Instant::now();
        Self {
            projection,
            reader,
            bus,
            consumer: None,
            ask_at: now,
            without_stream: false,
            paced_to: now,
            report_at: now,
        }
    }

    /// The broker, once it is there.
    pub(crate) fn bus(&self) -> Option<Bus> {
        self.bus.borrow().clone()
    }

    /// Waits for what follows, and commits it.
    pub(crate) async fn next(&mut self) -> Result<Applied, Fault> {
        loop {
            self.begin_reading();
            tokio::select! {
                delivery = delivered(&mut self.consumer) => {
                    tokio::time::sleep_until(self.paced_to).await;
                    self.paced_to = Instant::now() + PACE;
                    let batch = self.collect(delivery);
                    if batch.hole {
                        self.ask_at = Instant::now();
                    }
                    if !batch.envelopes.is_empty() {
                        return self.apply(batch.envelopes).await;
                    }
                }
                Ok(()) = self.bus.changed() => {}
                () = tokio::time::sleep_until(self.report_at) => self.report_lag().await?,
                () = tokio::time::sleep_until(self.ask_at) => {
                    let envelopes =
                        self.reader.envelopes_after(self.projection.position(), BATCH_EVENTS_MAX).await?;
                    self.without_stream = !envelopes.is_empty();
                    self.ask_at = Instant::now() + if self.without_stream { WITHOUT_STREAM } else { PATIENCE };
                    if envelopes.len() == BATCH_EVENTS_MAX {
                        self.ask_at = Instant::now();
                    }
                    if !envelopes.is_empty() {
                        return self.apply(envelopes).await;
                    }
                }
            }
        }
    }

    fn begin_reading(&mut self) {
        if self.consumer.is_none()
            && let Some(bus) = self.bus.borrow_and_update().clone()
        {
            let stream = LogStream::new(bus, LogStreamSettings::default());
            let at = LogPoint::new(self.projection.epoch(), self.projection.position());
            self.consumer = Some(LogConsumer::start(stream, StartFrom::After(at)));
        }
    }

    /// Takes what has arrived, as far as it follows the cursor.
    fn collect(&mut self, first: Delivery) -> Batch {
        let mut batch = Batch::default();
        let mut next = self.projection.position() + 1;
        let mut arrived = Some(first);
        while let Some(delivery) = arrived {
            match delivery {
                Delivery::Message(message) if message.position < next => {
                    // It has come as far as we are: what follows will come from it.
                    self.without_stream &= message.position + 1 < next;
                }
                Delivery::Message(message) => match self.following(&message, next) {
                    Some(envelopes) => {
                        batch.envelopes.extend(envelopes);
                        self.without_stream = false;
                        next = message.position + 1;
                    }
                    None => {
                        batch.hole = true;
                        break;
                    }
                },
                Delivery::Lost(_) => {
                    batch.hole = true;
                    break;
                }
            }
            if batch.envelopes.len() >= BATCH_EVENTS_MAX {
                break;
            }
            arrived = delivered(&mut self.consumer).now_or_never();
        }
        if !batch.envelopes.is_empty() && !self.without_stream {
            self.ask_at = Instant::now() + PATIENCE;
        }
        batch
    }

    /// The envelopes of a page from position `next` on, without a gap to its end. `None`: it begins later, is not what
    /// the relay sent, or is of an epoch that was discarded; the log has the right ones.
    fn following(&self, message: &InMessage, next: u64) -> Option<impl Iterator<Item = Envelope> + use<>> {
        let page = Page::decode(message.payload.as_ref()).ok()?;
        let first = page.envelopes.first()?.position;
        let in_order =
            (first..).zip(&page.envelopes).all(|(position, envelope)| envelope.position == position);
        let ends = page.envelopes.last()?.position == message.position;
        let current = page.envelopes.iter().all(|envelope| envelope.epoch >= self.projection.epoch());
        // As another version of the relay may have left it in the stream.
        let whole = page.envelopes.iter().all(|envelope| !envelope.commitment.is_empty());
        let fits = in_order && ends && current && whole && first <= next;
        fits.then(|| page.envelopes.into_iter().skip((next - first) as usize))
    }

    async fn apply(&mut self, envelopes: Vec<Envelope>) -> Result<Applied, Fault> {
        let first = envelopes.first().map(|e| e.position);
        let span =
            tracing::info_span!("project", first, events = envelopes.len(), position = tracing::field::Empty);
        let mut traces: Vec<String> =
            envelopes.iter().take(LINKS_MAX).filter_map(Envelope::traceparent).collect();
        traces.dedup();
        match traces.as_slice() {
            // Alone in its batch, the command's own trace goes on here.
            [one] => {
                tasuki_telemetry::child_of(&span, one);
            }
            many => many.iter().for_each(|one| tasuki_telemetry::link_to(&span, one)),
        }
        let applied = self.projection.apply(&envelopes).instrument(span.clone()).await?;
        span.record("position", applied.position);
        Ok(applied)
    }

    async fn report_lag(&mut self) -> Result<(), Fault> {
        self.report_at = Instant::now() + REPORT_EVERY;
        let position = self.projection.position();
        let (head, _) = self.reader.head().await?;
        if head < position {
            return Err(ViewError::AheadOfLog { views: position, log: head }.into());
        }
        let oldest =
            if head > position { self.reader.envelopes_after(position, 1).await? } else { Vec::new() };
        let recorded = oldest.first().and_then(|oldest| SystemTime::try_from(oldest.recorded_at?).ok());
        let age = recorded.and_then(|at| at.elapsed().ok()).unwrap_or_default();
        tasuki_telemetry::metrics().projector_behind(head.saturating_sub(position), age);
        Ok(())
    }
}

/// The stream's next word; never, while there is no stream.
async fn delivered(consumer: &mut Option<LogConsumer>) -> Delivery {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}
