//! The JetStream stream that carries the log's envelopes from the relay to the projector.
//!
//! The stream is a copy with an end, never the truth: it may be deleted, cut short or emptied at any
//! time. This file makes it, says how far it reaches ([`LogStream::state`]) so that the relay can feed
//! it again, and finds a place in it. It never publishes and never consumes.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, RawMessageErrorKind, RetentionPolicy, StorageType, Stream,
};

use crate::{Bus, BusError, LogPoint, subjects};

/// The name of the stream.
pub const STREAM_NAME: &str = "TASUKI_LOG";

/// What a server may still need for the files of a deleted stream; see [`LogStream::repair`].
const DELETION_SETTLES: Duration = Duration::from_millis(100);

/// How much the stream keeps, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStreamSettings {
    /// Servers that hold a copy; 1, or 3 in a cluster of three.
    pub replicas: usize,
    /// What is older may go; who needs it reads the log. Zero: no limit.
    pub max_age: Duration,
    /// The oldest goes first beyond this size.
    pub max_bytes: u64,
    /// The largest message with its headers.
    pub max_message_bytes: u32,
    /// For how long the server recognises a repeated message id.
    pub duplicate_window: Duration,
}

impl Default for LogStreamSettings {
    fn default() -> Self {
        Self {
            replicas: 1,
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_bytes: 1 << 30,
            max_message_bytes: 1 << 20,
            duplicate_window: Duration::from_secs(120),
        }
    }
}

/// How far the stream reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// The sequence of the oldest message; one more than the last when the stream is empty.
    pub first_sequence: u64,
    /// The sequence of the newest message ever stored; zero for none.
    pub last_sequence: u64,
    /// The log's place of the newest message; absent when the stream is empty or when its newest
    /// message is not ours.
    ///
    /// Behind the relay's cursor means: feed the stream again from here (or from the start).
    pub last: Option<LogPoint>,
    /// When the stream was made, nanoseconds since 1970. Another value: another stream, and whatever
    /// was in the old one is gone.
    pub incarnation: i128,
}

/// The stream of the log, on one connection.
#[derive(Debug, Clone)]
pub struct LogStream {
    bus: Bus,
    settings: LogStreamSettings,
}

impl LogStream {
    /// The stream as seen through `bus`. Asks nothing yet: call [`LogStream::ensure`].
    pub fn new(bus: Bus, settings: LogStreamSettings) -> Self {
        Self { bus, settings }
    }

    /// Makes the stream when it is missing, and brings its settings to ours when they differ. May be
    /// called at any time and by several processes; a reader need not.
    ///
    /// Errors: [`BusError::JetStream`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn ensure(&self) -> Result<(), BusError> {
        let wanted = self.config();
        let Some(info) = self.info().await? else {
            self.bus.jetstream().create_stream(wanted).await.map_err(jetstream_error)?;
            tracing::info!(stream = STREAM_NAME, "stream made");
            return Ok(());
        };
        if differs(&info.config, &wanted) {
            self.bus.jetstream().update_stream(wanted).await.map_err(jetstream_error)?;
            tracing::info!(stream = STREAM_NAME, "stream settings changed");
        }
        Ok(())
    }

    /// Makes publishing possible again after [`BusError::StreamMissing`] or [`BusError::StreamBroken`];
    /// other errors are not about the stream and need nothing but another try.
    ///
    /// For the relay, the one process that also feeds what is missing then. True: the stream is new and
    /// empty. A broken one is thrown away: whatever it held is in the log. (Seen with nats-server
    /// 2.9.10: when a stream is made while its namesake is still being deleted, the deletion takes the
    /// new one's files, and nothing can be stored until the stream is made once more. Where 2.9.10 says
    /// that it cannot store, 2.15 says nothing: [`BusError::AckTimeout`] again and again on a live
    /// connection, without any progress, means the same, and the caller may pass `StreamBroken`.)
    ///
    /// Errors: [`BusError::JetStream`].
    #[tracing::instrument(level = "debug", skip(self))]
    pub async fn repair(&self, error: &BusError) -> Result<bool, BusError> {
        match error {
            BusError::StreamMissing => {}
            BusError::StreamBroken => {
                tracing::warn!(stream = STREAM_NAME, "stream cannot store and is made anew");
                match self.bus.jetstream().delete_stream(STREAM_NAME).await {
                    Ok(_) => {}
                    // Gone already: somebody else deleted it.
                    Err(error) if self.info().await?.is_some() => return Err(jetstream_error(error)),
                    Err(_) => {}
                }
            }
            _ => return Ok(false),
        }
        tokio::time::sleep(DELETION_SETTLES).await;
        self.ensure().await?;
        Ok(true)
    }

    /// How far the stream reaches; `None` when it does not exist.
    ///
    /// Errors: [`BusError::JetStream`]: the server did not say; that is not the same as missing.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn state(&self) -> Result<Option<StreamState>, BusError> {
        let Some(info) = self.info().await? else { return Ok(None) };
        let state = &info.state;
        let last = match state.messages {
            0 => None,
            _ => self.message_from(state.last_sequence).await?.and_then(|m| point_of(&m.headers)),
        };
        Ok(Some(StreamState {
            first_sequence: state.first_sequence,
            last_sequence: state.last_sequence,
            last,
            incarnation: incarnation(&info),
        }))
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.bus
    }

    /// What the server says about the stream; `None` when it does not exist.
    pub(crate) async fn info(&self) -> Result<Option<Info>, BusError> {
        let question = format!("STREAM.INFO.{STREAM_NAME}");
        let answer = self.bus.jetstream().request(question, &serde_json::json!({})).await;
        match answer.map_err(jetstream_error)? {
            Response::Ok(info) => Ok(Some(info)),
            Response::Err { error } if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            Response::Err { error } => Err(jetstream_error(error)),
        }
    }

    /// The sequence at which to start for everything after `after`.
    ///
    /// Places ascend along the stream except where the relay went back and fed it again; there the
    /// search may settle on a later one of several right places, and the caller sees a hole as it would
    /// for any other loss. Takes about log2(messages) requests.
    pub(crate) async fn sequence_after(&self, info: &Info, after: LogPoint) -> Result<u64, BusError> {
        let (mut low, mut high) = (info.state.first_sequence.max(1), info.state.last_sequence + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.message_from(middle).await? {
                // A foreign message sorts before everything, so that it cannot hide what follows it.
                Some(message) if point_of(&message.headers).is_none_or(|point| point <= after) => {
                    low = message.sequence + 1;
                }
                Some(_) | None => high = middle,
            }
        }
        Ok(low)
    }

    /// The first message at `sequence` or behind it; `None` when there is none.
    pub(crate) async fn message_from(&self, sequence: u64) -> Result<Option<StreamMessage>, BusError> {
        let stream = self.stream().await?;
        match stream.get_first_raw_message_by_subject(subjects::LOG_ALL, sequence).await {
            Ok(message) => Ok(Some(message)),
            Err(error) => match error.kind() {
                RawMessageErrorKind::NoMessageFound => Ok(None),
                RawMessageErrorKind::JetStream(inner)
                    if inner.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Err(BusError::StreamMissing)
                }
                _ => Err(jetstream_error(error)),
            },
        }
    }

    /// A handle only: no request is made.
    pub(crate) async fn stream(&self) -> Result<Stream<()>, BusError> {
        self.bus.jetstream().get_stream_no_info(STREAM_NAME).await.map_err(jetstream_error)
    }

    fn config(&self) -> Config {
        Config {
            name: STREAM_NAME.into(),
            description: Some("envelopes of the log, a copy that may be lost".into()),
            subjects: vec![subjects::LOG_ALL.into()],
            storage: StorageType::File,
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            num_replicas: self.settings.replicas,
            max_age: self.settings.max_age,
            max_bytes: i64::try_from(self.settings.max_bytes).unwrap_or(i64::MAX),
            max_message_size: i32::try_from(self.settings.max_message_bytes).unwrap_or(i32::MAX),
            // The server refuses a window longer than the age.
            duplicate_window: match self.settings.max_age {
                Duration::ZERO => self.settings.duplicate_window,
                age => self.settings.duplicate_window.min(age),
            },
            ..Config::default()
        }
    }
}

/// Only what we set is compared: newer servers report more than they were asked for.
fn differs(have: &Config, want: &Config) -> bool {
    have.subjects != want.subjects
        || have.num_replicas != want.num_replicas
        || have.max_age != want.max_age
        || have.max_bytes != want.max_bytes
        || have.max_message_size != want.max_message_size
        || have.duplicate_window != want.duplicate_window
}

/// The log's place that a stored message carries; `None` for a message that is not ours.
pub(crate) fn point_of(headers: &async_nats::HeaderMap) -> Option<LogPoint> {
    headers.get(async_nats::header::NATS_MESSAGE_ID).and_then(|id| id.as_str().parse().ok())
}

pub(crate) fn incarnation(info: &Info) -> i128 {
    info.created.unix_timestamp_nanos()
}

pub(crate) fn jetstream_error(error: impl std::error::Error) -> BusError {
    BusError::JetStream(crate::error::chain(&error))
}
