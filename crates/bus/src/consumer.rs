//! Pages of envelopes out of the stream of the log, for the projector.
//!
//! A background task keeps an ordered reader on the stream through every reconnection, restart and
//! wipe, and hands over what it finds through a bounded channel, so that a slow caller slows the broker
//! and not the memory. Nothing is acknowledged: the caller's cursor is in PostgreSQL.
//!
//! It never fills a hole, never drops a repeat and never ends. Holes and repeats reach the caller as
//! they are; [`Delivery::Lost`] says that there may be more of them than usual. It never makes the
//! stream: the relay does, which alone can fill it, and two makers at once harm a 2.9 server.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::log_stream::{incarnation, jetstream_error, point_of};
use crate::{BusError, LogPoint, LogStream};

/// Pages asked for at a time, which is also what the client may hold for us.
const BATCH_MAX: usize = 100;
/// Pages handed over and not yet taken.
const CHANNEL_MAX: usize = 16;
/// The server says at this interval that it is still there; twice the interval without a word and the
/// reader is made anew.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long one request for messages stays open.
const EXPIRES: Duration = Duration::from_secs(20);
/// The server forgets a reader that has asked for nothing this long: left over from a killed process,
/// or of a caller that stands still. The latter gets a new one.
const INACTIVE: Duration = Duration::from_secs(60);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// One page on its way in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InMessage {
    /// The log position of its last envelope, as its sender said.
    pub position: u64,
    /// The log's epoch.
    pub epoch: u64,
    /// The page.
    pub payload: Bytes,
}

impl InMessage {
    /// The place of its last envelope in the log.
    pub fn point(&self) -> LogPoint {
        LogPoint::new(self.epoch, self.position)
    }
}

/// Why messages may be missing or come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostReason {
    /// The stream does not exist. Reading goes on when the relay has made it again.
    StreamMissing,
    /// The stream is another one than before, under the same name.
    StreamRecreated,
    /// The stream is the same but ends earlier than what was read of it, or holds something else there.
    StreamTruncated,
    /// The background task died of a bug and was started again.
    ReaderRestarted,
}

/// What the reader hands over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// The next page of the stream; not necessarily what follows in the log.
    Message(InMessage),
    /// Compare your cursor with the log's head. Reading goes on by itself behind what was delivered.
    Lost(LostReason),
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFrom {
    /// At the oldest message that the stream holds.
    Beginning,
    /// Behind this place; what the stream no longer holds is a hole.
    After(LogPoint),
}

/// A reader of the log's stream that outlives everything but itself.
#[derive(Debug)]
pub struct LogConsumer {
    stream: LogStream,
    from: StartFrom,
    deliveries: mpsc::Receiver<Delivery>,
    task: JoinHandle<()>,
}

impl LogConsumer {
    /// Starts reading. Returns at once; the stream need not exist yet.
    ///
    /// Must be called within a tokio runtime.
    pub fn start(stream: LogStream, from: StartFrom) -> Self {
        let (deliveries, task) = spawn(&stream, from);
        Self { stream, from, deliveries, task }
    }

    /// The next delivery. Waits for as long as there is none; may be dropped and called again without
    /// losing anything.
    pub async fn next(&mut self) -> Delivery {
        if let Some(delivery) = self.deliveries.recv().await {
            if let Delivery::Message(message) = &delivery {
                self.from = StartFrom::After(message.point());
            }
            return delivery;
        }
        // The task ends only by a panic; its report is with the panic hook.
        tracing::error!("the reader of the log's stream died and is started again");
        (self.deliveries, self.task) = spawn(&self.stream, self.from);
        Delivery::Lost(LostReason::ReaderRestarted)
    }
}

impl Drop for LogConsumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn spawn(stream: &LogStream, from: StartFrom) -> (mpsc::Receiver<Delivery>, JoinHandle<()>) {
    let (deliveries, receiver) = mpsc::channel(CHANNEL_MAX);
    let reader = Reader { stream: stream.clone(), from, read: None, deliveries };
    (receiver, tokio::spawn(reader.run()))
}

/// What was read of which stream.
#[derive(Debug, Clone, Copy)]
struct Read {
    incarnation: i128,
    /// The sequence of the last message read, or the one before the first to read.
    sequence: u64,
    /// What was there; absent before the first message.
    point: Option<LogPoint>,
}

/// The caller dropped its end.
struct Closed;

struct Reader {
    stream: LogStream,
    from: StartFrom,
    read: Option<Read>,
    deliveries: mpsc::Sender<Delivery>,
}

impl Reader {
    async fn run(mut self) {
        let mut wait = RETRY_FIRST;
        let mut generation = self.stream.bus().generation();
        loop {
            generation.mark_unchanged();
            let opened = match self.begin().await {
                Ok(Ok(sequence)) => self.open(sequence).await,
                Ok(Err(error)) => Err(error),
                Err(Closed) => return,
            };
            match opened {
                Ok(messages) => {
                    wait = RETRY_FIRST;
                    if let Err(Closed) = self.deliver(messages, &mut generation).await {
                        return;
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, retry_ms = wait.as_millis() as u64, "log stream not readable");
                    // A reconnection ends the wait: the reason has most likely gone.
                    let _ = tokio::time::timeout(wait, generation.changed()).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// Finds the sequence to go on from, and tells the caller when what was read is no longer there.
    #[tracing::instrument(level = "debug", skip_all)]
    async fn begin(&mut self) -> Result<Result<u64, BusError>, Closed> {
        let info = match self.stream.info().await {
            Ok(Some(info)) => info,
            Ok(None) => {
                if self.read.take().is_some() {
                    self.report(LostReason::StreamMissing).await?;
                }
                return Ok(Err(BusError::StreamMissing));
            }
            Err(error) => return Ok(Err(error)),
        };
        let incarnation = incarnation(&info);
        if let Some(read) = self.read {
            let reason = if read.incarnation != incarnation {
                LostReason::StreamRecreated
            } else {
                match self.still_holds(&read, &info.state).await {
                    Ok(true) => return Ok(Ok(read.sequence + 1)),
                    Ok(false) => LostReason::StreamTruncated,
                    Err(error) => return Ok(Err(error)),
                }
            };
            self.read = None;
            self.report(reason).await?;
        }
        let sequence = match self.from {
            StartFrom::Beginning => info.state.first_sequence.max(1),
            StartFrom::After(point) => match self.stream.sequence_after(&info, point).await {
                Ok(sequence) => sequence,
                Err(error) => return Ok(Err(error)),
            },
        };
        self.read = Some(Read { incarnation, sequence: sequence - 1, point: None });
        Ok(Ok(sequence))
    }

    /// Whether the stream still has what was read last, or has let it go for its age.
    ///
    /// A broker that crashed may have lost its newest messages and taken others since: then the
    /// sequence exists and holds something else.
    async fn still_holds(
        &self,
        read: &Read,
        state: &async_nats::jetstream::stream::State,
    ) -> Result<bool, BusError> {
        if read.sequence > state.last_sequence {
            return Ok(false);
        }
        let Some(point) = read.point else { return Ok(true) };
        if read.sequence < state.first_sequence {
            return Ok(true);
        }
        Ok(match self.stream.message_from(read.sequence).await? {
            Some(found) if found.sequence == read.sequence => point_of(&found.headers) == Some(point),
            Some(_) | None => true,
        })
    }

    async fn open(&self, sequence: u64) -> Result<pull::Stream, BusError> {
        let config = pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: sequence },
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        let stream = self.stream.stream().await?;
        let consumer = stream.create_consumer(config).await.map_err(jetstream_error)?;
        let messages =
            consumer.stream().max_messages_per_batch(BATCH_MAX).heartbeat(HEARTBEAT).expires(EXPIRES);
        tracing::debug!(sequence, "reading the log's stream");
        messages.messages().await.map_err(jetstream_error)
    }

    /// Hands over messages until something is wrong with the stream, the reader or the connection.
    async fn deliver(
        &mut self,
        mut messages: pull::Stream,
        generation: &mut watch::Receiver<u64>,
    ) -> Result<(), Closed> {
        let mut expected = 1;
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                _ = generation.changed() => return Ok(()),
                () = self.deliveries.closed() => return Err(Closed),
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    tracing::debug!(error = crate::error::chain(&error), "log stream reader interrupted");
                    return Ok(());
                }
                None => return Ok(()),
            };
            let Ok(info) = message.info() else { return Ok(()) };
            // Numbered by the server per reader: a jump is a message lost on its way to us.
            if info.consumer_sequence != expected {
                return Ok(());
            }
            expected += 1;
            let sequence = info.stream_sequence;
            let delivery = in_message(&message.message);
            if let Some(read) = &mut self.read {
                read.sequence = sequence;
                read.point = delivery.as_ref().map(InMessage::point);
            }
            let Some(delivery) = delivery else {
                tracing::warn!(sequence, "a message without a place in the log is passed over");
                continue;
            };
            let point = delivery.point();
            self.deliveries.send(Delivery::Message(delivery)).await.map_err(|_| Closed)?;
            self.from = StartFrom::After(point);
        }
    }

    async fn report(&self, reason: LostReason) -> Result<(), Closed> {
        tracing::warn!(?reason, "the log's stream lost what was read of it");
        self.deliveries.send(Delivery::Lost(reason)).await.map_err(|_| Closed)
    }
}

/// `None` for a message that the relay cannot have published.
fn in_message(message: &async_nats::Message) -> Option<InMessage> {
    let point = point_of(message.headers.as_ref()?)?;
    Some(InMessage { position: point.position, epoch: point.epoch, payload: message.payload.clone() })
}
