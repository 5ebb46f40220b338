//! The leader's work: read the log behind the cursor, publish, move over what is acknowledged without a gap.
//!
//! After any trouble the cursor is forgotten and the stream asked again. Nothing here gives up.

use std::convert::Infallible;
use std::time::{Duration, Instant, SystemTime};

use tasuki_bus::{
    Bus, BusError, LogStream, Ping, PingStream, PublishOutcome, Publisher, StreamState, subscribe_pings,
};
use tasuki_contract::event::v1::Envelope;
use tasuki_log::{LogError, Reader};
use tokio::sync::watch;
use tracing::Instrument as _;

use crate::RelayOptions;
use crate::cursor::{Resume, resume};
use crate::page::pages;

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A live broker that acknowledges nothing this many times in a row has a stream that cannot store (seen with 2.15).
const SILENCES_MAX: u32 = 3;
/// Links that a span may have; more are dropped by exporters.
const LINKS_MAX: usize = 128;

/// Why the stream has to be asked again.
enum Trouble {
    /// The connection to the broker is another one: whatever was acknowledged on the old one may be gone.
    Reconnected,
    Bus(BusError),
    Log(LogError),
}

impl From<BusError> for Trouble {
    fn from(error: BusError) -> Self {
        Self::Bus(error)
    }
}

impl From<LogError> for Trouble {
    fn from(error: LogError) -> Self {
        Self::Log(error)
    }
}

pub(crate) struct Feed {
    reader: Reader,
    bus: Bus,
    stream: LogStream,
    publisher: Publisher,
    options: RelayOptions,
    /// Absent once its writer is gone.
    wake: Option<watch::Receiver<u64>>,
    /// Absent until the broker is there.
    pings: Option<PingStream>,
    generation: watch::Receiver<u64>,
    /// Everything up to here is in the stream, as far as is known.
    cursor: u64,
    /// The stream in which that is.
    known: Option<StreamState>,
    /// Batches in a row of which the live broker acknowledged nothing.
    silences: u32,
    /// Bytes of a page; less than asked for once the broker has found a page too large.
    page_bytes_max: usize,
}

impl Feed {
    pub(crate) fn new(reader: Reader, bus: Bus, wake: watch::Receiver<u64>, options: RelayOptions) -> Self {
        Self {
            reader,
            stream: LogStream::new(bus.clone(), options.stream.clone()),
            publisher: Publisher::new(bus.clone(), options.publisher),
            page_bytes_max: options.page_bytes_max,
            generation: bus.generation(),
            bus,
            options,
            wake: Some(wake),
            pings: None,
            cursor: 0,
            known: None,
            silences: 0,
        }
    }

    /// Feeds the stream for ever.
    pub(crate) async fn run(mut self) -> Infallible {
        let mut wait = RETRY_FIRST;
        loop {
            let before = self.cursor;
            let trouble = match self.follow().await {
                Trouble::Reconnected => continue,
                trouble => trouble,
            };
            if self.cursor > before {
                wait = RETRY_FIRST;
            }
            match &trouble {
                Trouble::Bus(error) => {
                    tracing::warn!(%error, cursor = self.cursor, "the stream is not fed for now");
                    if let Err(error) = self.repair(error).await {
                        tracing::warn!(%error, "the stream could not be repaired");
                    }
                }
                Trouble::Log(error) => {
                    tracing::warn!(%error, cursor = self.cursor, "the log is not read for now")
                }
                Trouble::Reconnected => {}
            }
            self.measure().await;
            // A reconnection ends the wait: the reason has most likely gone.
            let _ = tokio::time::timeout(wait, self.generation.changed()).await;
            wait = (wait * 2).min(RETRY_MAX);
        }
    }

    /// Asks the stream where to go on, and feeds it until something is wrong.
    async fn follow(&mut self) -> Trouble {
        match self.try_follow().await {
            Ok(never) => match never {},
            Err(trouble) => trouble,
        }
    }

    async fn try_follow(&mut self) -> Result<Infallible, Trouble> {
        self.generation.mark_unchanged();
        self.stream.ensure().await?;
        self.cursor = self.resume().await?;
        tracing::info!(cursor = self.cursor, "feeding the stream");
        if self.pings.is_none() {
            self.pings = Some(subscribe_pings(&self.bus, Ping::Log).await?);
        }
        let mut checked = Instant::now();
        loop {
            if self.generation.has_changed().unwrap_or(false) {
                return Err(Trouble::Reconnected);
            }
            let rows = self.reader.envelopes_after(self.cursor, self.options.batch_events_max).await?;
            if rows.is_empty() {
                tasuki_telemetry::metrics().relay_behind(0, Duration::ZERO);
                if checked.elapsed() >= self.options.check {
                    self.check().await?;
                    checked = Instant::now();
                }
                self.idle().await;
                continue;
            }
            self.behind(&rows).await?;
            let outcome = self.publish(rows).await;
            self.advance(outcome)?;
        }
    }

    /// Where the stream ends, in terms of the log.
    async fn resume(&mut self) -> Result<u64, Trouble> {
        let Some(state) = self.stream.state().await? else { return Err(BusError::StreamMissing.into()) };
        let known = self.known.replace(state);
        let Some(last) = state.last else {
            // Messages go for their age: a stream that has stored and is empty has lost nothing of what we know.
            let same = known.is_some_and(|known| {
                known.incarnation == state.incarnation && known.last_sequence <= state.last_sequence
            });
            return Ok(if same && state.last_sequence > 0 { self.cursor } else { 0 });
        };
        match resume(&self.reader, last).await? {
            Resume::Behind(position) => Ok(position),
            Resume::Foreign => {
                tracing::error!(%last, "the stream is ahead of the log and is thrown away");
                Err(BusError::StreamBroken.into())
            }
        }
    }

    /// An idle relay learns here that the stream was emptied or made anew.
    async fn check(&mut self) -> Result<(), Trouble> {
        let position = self.resume().await?;
        if position != self.cursor {
            tracing::warn!(cursor = self.cursor, position, "the stream ends elsewhere and is fed from there");
            self.cursor = position;
        }
        Ok(())
    }

    async fn publish(&self, rows: Vec<Envelope>) -> PublishOutcome {
        let span = tracing::info_span!("relay", first = self.cursor + 1, count = rows.len());
        let mut linked: Vec<String> = rows.iter().take(LINKS_MAX).filter_map(Envelope::traceparent).collect();
        linked.dedup();
        for trace in linked {
            tasuki_telemetry::link_to(&span, &trace);
        }
        let mut batch = pages(rows, self.page_bytes_max);
        if self.page_bytes_max < self.options.page_bytes_max {
            // A short page in flight behind one that is too large would be stored before what is cut out of that one.
            batch.truncate(1);
        }
        self.publisher.publish_batch(&batch).instrument(span).await
    }

    fn advance(&mut self, outcome: PublishOutcome) -> Result<(), Trouble> {
        if let Some(position) = outcome.acked_through {
            self.cursor = position;
            self.silences = 0;
        }
        match outcome.error {
            None => Ok(()),
            Some(BusError::TooLarge { position }) if position > self.cursor + 1 => {
                self.page_bytes_max /= 2;
                tracing::warn!(page_bytes_max = self.page_bytes_max, "a page is too large for the broker");
                Ok(())
            }
            Some(BusError::TooLarge { position }) => {
                tracing::error!(
                    position,
                    "too large for the broker and left out: the projector reads it in the log"
                );
                self.cursor = position;
                Ok(())
            }
            Some(BusError::AckTimeout(_)) if outcome.acked_through.is_none() && self.bus.is_connected() => {
                self.silences += 1;
                if self.silences < SILENCES_MAX {
                    return Err(BusError::AckTimeout(self.options.publisher.ack_timeout).into());
                }
                self.silences = 0;
                Err(BusError::StreamBroken.into())
            }
            Some(error) => Err(error.into()),
        }
    }

    async fn repair(&self, error: &BusError) -> Result<(), BusError> {
        if self.stream.repair(error).await? {
            tracing::warn!("the stream was made again and is fed from where it ends");
        }
        Ok(())
    }

    /// Until the log may have grown, the connection is another one, or it is time to look anyway.
    async fn idle(&mut self) {
        let pinged = async {
            match &mut self.pings {
                Some(pings) => pings.next().await.is_some(),
                None => std::future::pending().await,
            }
        };
        let woken = async {
            match &mut self.wake {
                Some(wake) => wake.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(self.options.poll) => {}
            _ = self.generation.changed() => self.generation.mark_changed(),
            alive = pinged => if !alive { self.pings = None },
            alive = woken => if !alive { self.wake = None },
        }
    }

    /// Says how far the stream is behind the log whose next rows are `rows`.
    async fn behind(&self, rows: &[Envelope]) -> Result<(), LogError> {
        let Some(oldest) = rows.first() else { return Ok(()) };
        let head = if rows.len() < self.options.batch_events_max {
            self.cursor + rows.len() as u64
        } else {
            self.reader.head().await?.0
        };
        let recorded = oldest.recorded_at.and_then(|at| SystemTime::try_from(at).ok());
        let age = recorded.and_then(|at| at.elapsed().ok()).unwrap_or_default();
        tasuki_telemetry::metrics().relay_behind(head.saturating_sub(self.cursor), age);
        Ok(())
    }

    /// The same while nothing is fed; a log that cannot be read has nothing to say.
    async fn measure(&self) {
        if let Ok(rows) = self.reader.envelopes_after(self.cursor, self.options.batch_events_max).await
            && let Err(error) = self.behind(&rows).await
        {
            tracing::debug!(%error, "not measured");
        }
    }
}
