//! Loading folded states: cached, and brought up to date from the log before every use.
//!
//! A cached state is never trusted: each load reads what the stream has gained since.

use std::sync::Arc;

use jiff::Timestamp;
use tasuki_domain::case::CaseState;
use tasuki_domain::consultation::ConsultationState;
use tasuki_domain::decision::{Decided, Kind, Recorded, StreamRef};
use tasuki_domain::ids::CaseId;
use tasuki_domain::meeting::MeetingState;
use tasuki_domain::refusal::{Reason, Refusal};
use tasuki_log::{LogError, Reader, Record};
use uuid::Uuid;

/// A state that is folded from one stream.
pub trait Folded: Clone + Default + Send + Sync + 'static {
    /// Kind of its stream.
    const KIND: Kind;
    /// Folds one event.
    fn fold(&mut self, stream: Uuid, recorded: &Recorded);
    /// Version of the stream; 0: nothing was ever recorded.
    fn version(&self) -> u64;
    /// Why the event must not be appended, given how this stands; `None`: it may.
    fn bars(&self, stream: Uuid, decided: &Decided) -> Option<Refusal> {
        let _ = (stream, decided);
        None
    }
}

impl Folded for CaseState {
    const KIND: Kind = Kind::Case;
    fn fold(&mut self, stream: Uuid, recorded: &Recorded) {
        self.evolve(CaseId(stream), recorded);
    }
    fn version(&self) -> u64 {
        self.version
    }
    fn bars(&self, stream: Uuid, decided: &Decided) -> Option<Refusal> {
        // Nobody but who would be heard otherwise learns of the erasure.
        if self.erasure.is_confirmed() {
            return Some(Reason::CaseErased.into());
        }
        tasuki_domain::identity::barred(CaseId(stream), self, decided)
    }
}

impl Folded for ConsultationState {
    const KIND: Kind = Kind::Consultation;
    fn fold(&mut self, _: Uuid, recorded: &Recorded) {
        self.evolve(recorded);
    }
    fn version(&self) -> u64 {
        self.version
    }
}

impl Folded for MeetingState {
    const KIND: Kind = Kind::Meeting;
    fn fold(&mut self, _: Uuid, recorded: &Recorded) {
        self.evolve(recorded);
    }
    fn version(&self) -> u64 {
        self.version
    }
}

/// A state together with the stream that it was folded from.
#[derive(Clone, Debug)]
pub struct Loaded<S> {
    /// The stream.
    pub stream: StreamRef,
    /// The state.
    pub state: Arc<S>,
}

/// Bounded cache of one kind of state.
#[derive(Clone)]
pub(crate) struct States<S: Folded> {
    reader: Reader,
    cache: moka::sync::Cache<Uuid, Arc<S>>,
}

impl<S: Folded> States<S> {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { reader, cache: moka::sync::Cache::new(10_000) }
    }

    /// The state of a stream as of now; the default state of a stream that does not exist, or is of another kind.
    pub(crate) async fn load(&self, stream: Uuid) -> Result<Loaded<S>, LogError> {
        let of = StreamRef { kind: S::KIND, id: stream };
        if stream.is_nil() {
            // What a request does not name does not exist.
            return Ok(Loaded { stream: of, state: Arc::default() });
        }
        let cached = self.cache.get(&stream);
        let version = cached.as_ref().map_or(0, |s| s.version());
        let records = self.reader.stream(stream, version).await?;
        Ok(Loaded { stream: of, state: self.advance(stream, cached, &records)? })
    }

    /// What is cached of a stream, however old.
    pub(crate) fn cached(&self, stream: Uuid) -> Option<Arc<S>> {
        self.cache.get(&stream)
    }

    /// A state with what its stream has gained since, which is cached from then on.
    pub(crate) fn advance(
        &self,
        stream: Uuid,
        cached: Option<Arc<S>>,
        records: &[Record],
    ) -> Result<Arc<S>, LogError> {
        let foreign = records.first().is_some_and(|r| r.header.stream_kind() != S::KIND.to_proto());
        if records.is_empty() || foreign {
            return Ok(cached.unwrap_or_default());
        }
        let mut state = cached.map(|s| S::clone(&s)).unwrap_or_default();
        for record in records {
            state.fold(stream, &recorded(record)?);
        }
        let state = Arc::new(state);
        self.cache.insert(stream, state.clone());
        Ok(state)
    }
}

/// A row of the log as the domain folds it: without what is sealed.
///
/// Errors: [`LogError::UnreadableHeader`] when the header is newer than this binary, which then refuses commands on
/// the stream, and reads of it: what it does not understand may close a door.
pub fn recorded(record: &Record) -> Result<Recorded, LogError> {
    let unreadable = || LogError::UnreadableHeader { position: record.position };
    tasuki_contract::readable(&record.header).map_err(|_| unreadable())?;
    let event = record.open_event().map_err(|_| unreadable())?;
    let recorded_at = Timestamp::from_microsecond(record.recorded_at_us).unwrap_or_default();
    Ok(Recorded { header: record.header.clone(), event, recorded_at })
}
