//! Appending: seal, queue, share a transaction with others, answer each on its own.
//!
//! A caller hands over events with their headers; this file seals them and puts them into a bounded queue. One task
//! drains the queue without a timer and commits what it finds together (see `batch`): holding the log's lock per
//! command costs an order of magnitude. A lost reply of COMMIT is resolved by the request ids: the batch is run
//! again, and what was committed answers as it did.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use prost::Message as _;
use tasuki_contract::event::v1::{Header, PartInfo};
use tasuki_contract::{Event, SealedPart};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::batch::{Batch, Outcome};
use crate::blind::BlindEntry;
use crate::db::Database;
use crate::error::{AppendError, LogError};
use crate::keyring::{Keyring, same_request};
use crate::seal::{AES_256_GCM_RANDOM_NONCE, DataKey, Sealed, Sealer};

/// A stream, with the version that the decision saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Its id.
    pub id: Uuid,
    /// The version that was seen; 0: no such stream.
    pub version: u64,
}

/// An event to append.
#[derive(Debug)]
pub struct NewEvent {
    /// Complete but for `open_payload` and `parts`, which are filled in here.
    pub header: Header,
    /// The whole event.
    pub event: Event,
}

/// One command's worth of events: all of them are appended, or none.
#[derive(Debug)]
pub struct Append {
    /// The agency whose request it is.
    pub agency: Uuid,
    /// Unique within the agency.
    pub request_id: String,
    /// Keyed digest of method and request.
    pub digest: Vec<u8>,
    /// The events; of each stream contiguous from the version after the one that was seen.
    pub events: Vec<NewEvent>,
    /// Streams that the decision relied on and does not change: checked, not bumped.
    pub relied_on: Vec<Stream>,
    /// Cases whose disclosure epoch grows.
    pub disclosures: Vec<Uuid>,
    /// What a retry gets again. Opaque ids only: it is stored in the clear.
    pub reply: Vec<u8>,
    /// Takes the reserved lane: withdrawal, break-glass, deadlines.
    pub urgent: bool,
}

/// What was appended, now or by an earlier try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Position of the first event.
    pub first_position: u64,
    /// Position of the last event.
    pub last_position: u64,
    /// When, in microseconds since 1970-01-01 UTC.
    pub recorded_at_us: i64,
    /// The reply of the request, of the first try where this is a retry.
    pub reply: Vec<u8>,
    /// True when an earlier try had appended it.
    pub replayed: bool,
}

/// Bounds of the writer.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// Commands that may wait; more are refused at once.
    pub queue_max: usize,
    /// Commands that share one transaction at most.
    pub batch_max: usize,
    /// How long a command may wait for a database that is away or hangs. One that hangs is tried twice in this time,
    /// and each try has two seconds at least.
    pub patience: Duration,
}

/// A try gets this long, however little patience there is: connecting and preparing take their time.
const ATTEMPT_MIN: Duration = Duration::from_secs(2);

impl Default for WriterOptions {
    fn default() -> Self {
        Self { queue_max: 2_048, batch_max: 512, patience: Duration::from_secs(15) }
    }
}

/// A sealed command, ready for the transaction.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub agency: Uuid,
    pub request_id: String,
    pub digest: Vec<u8>,
    pub rows: Vec<PreparedRow>,
    pub relied_on: Vec<Stream>,
    /// Keys that seal a part from here on; they are durable already.
    pub keys: Vec<(Sealed, Uuid)>,
    /// Things that the events name, with the stream of each: kept for those that begin here.
    pub items: Vec<(Uuid, Uuid)>,
    /// Cases that get a responsible post, with that post.
    pub leads: Vec<(Uuid, Uuid)>,
    /// Posts that must be responsible for no case: those that retire.
    pub unled: Vec<Uuid>,
    pub disclosures: Vec<Uuid>,
    /// Tokens of what the events say, for the index beside them.
    pub blind: Vec<BlindEntry>,
    pub reply: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct PreparedRow {
    pub stream_kind: i16,
    pub stream_id: Uuid,
    pub version: u64,
    pub event_id: Uuid,
    pub header: Vec<u8>,
    pub parts: Vec<u8>,
}

struct Job {
    prepared: Prepared,
    answer: oneshot::Sender<Result<Outcome, AppendError>>,
}

/// Appends for one process. Cheap to clone; the task ends with the last clone.
#[derive(Clone, Debug)]
pub struct Writer {
    normal: mpsc::Sender<Job>,
    urgent: mpsc::Sender<Job>,
    sealer: Sealer,
    head: watch::Receiver<u64>,
    database: Database,
}

impl Writer {
    /// Starts the writing task; it connects when the first command comes.
    pub fn start(database: Database, keyring: Keyring, sealer: Sealer, options: WriterOptions) -> Self {
        let (normal, normal_jobs) = mpsc::channel(options.queue_max);
        let (urgent, urgent_jobs) = mpsc::channel(options.queue_max);
        let (head_sender, head) = watch::channel(0);
        let task = Task {
            batch: Batch::new(database.clone(), keyring),
            normal: normal_jobs,
            urgent: urgent_jobs,
            head: head_sender,
            options,
        };
        tokio::spawn(task.run());
        Self { normal, urgent, sealer, head, database }
    }

    /// The last position that this process has committed: a hint for whoever follows the log.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.clone()
    }

    /// Completes when the writing task has ended, which by itself it does not while this lives.
    pub async fn ended(&self) {
        self.normal.closed().await;
    }

    /// Appends all events of a command, or finds that an earlier try did.
    ///
    /// Errors: `Conflict` when a stream moved on, `RequestReused`, `Overloaded`, and faults; after a fault the same
    /// request id tells whether it was appended.
    pub async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.append_indexed(append, Vec::new()).await
    }

    /// The same, with tokens of what the events say for the blind index: written with them, or not at all.
    ///
    /// Errors: those of [`append`](Self::append).
    pub async fn append_indexed(
        &self,
        append: Append,
        blind: Vec<BlindEntry>,
    ) -> Result<Appended, AppendError> {
        let started = Instant::now();
        let urgent = append.urgent;
        let (mut prepared, keys) = self.prepare(append).await?;
        prepared.blind = blind;
        let (answer, answered) = oneshot::channel();
        let job = Job { prepared, answer };
        // When the task is gone, to wait for it would be in vain.
        if urgent {
            // What is urgent is refused for no load: past its lane it waits for a place.
            self.urgent.send(job).await.map_err(|_| LogError::Unavailable)?;
        } else {
            self.normal.try_send(job).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => AppendError::Overloaded,
                mpsc::error::TrySendError::Closed(_) => LogError::Unavailable.into(),
            })?;
        }
        let span = tracing::info_span!("append");
        let outcome = answered.instrument(span).await.map_err(|_| LogError::Unavailable)??;
        let appended = match outcome {
            Outcome::Done(appended) => appended,
            Outcome::Conflict => return Err(AppendError::Conflict),
            Outcome::RequestReused => return Err(AppendError::RequestReused),
        };
        if !appended.replayed {
            self.sealer.remember(keys);
        }
        tasuki_telemetry::metrics().append_done(started.elapsed());
        Ok(appended)
    }

    /// The answer of a request that was appended before, if it was.
    ///
    /// For a decision that is refused: the refusal may be the echo of its own first try.
    pub async fn replay(
        &self,
        agency: Uuid,
        request_id: &str,
        digest: &[u8],
    ) -> Result<Option<Appended>, AppendError> {
        let client = self.database.get().await?;
        let statement = client
            .prepare_cached(
                "SELECT digest, first_position, events, recorded_at, reply FROM log.requests \
                 WHERE agency_id = $1 AND request_id = $2",
            )
            .await
            .map_err(LogError::from)?;
        let row = client.query_opt(&statement, &[&agency, &request_id]).await.map_err(LogError::from)?;
        let Some(row) = row else { return Ok(None) };
        if !same_request(row.get(0), digest) {
            return Err(AppendError::RequestReused);
        }
        Ok(Some(crate::batch::replayed(row.get(1), row.get(2), row.get(3), row.get(4))))
    }

    async fn prepare(&self, append: Append) -> Result<(Prepared, Vec<(Sealed, DataKey)>), LogError> {
        if append.events.is_empty() {
            return Err(LogError::Malformed { field: "events" });
        }
        let mut fresh: HashMap<Sealed, DataKey> = HashMap::new();
        let mut keys = Vec::new();
        let (mut items, mut leads, mut unled) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows = Vec::with_capacity(append.events.len());
        for NewEvent { mut header, event } in append.events {
            let stream_id = id("stream_id", &header.stream_id)?;
            let agency = id("agency_id", &header.agency_id)?;
            header.open_payload = event.open_payload();
            header.salt = Uuid::new_v4().as_bytes().to_vec();
            if !event.sealed_payload(SealedPart::OtherSubject).is_empty() {
                return Err(LogError::OtherSubject);
            }
            for item in header.effects.iter().flat_map(|e| &e.items) {
                items.push((id("item_id", &item.item_id)?, stream_id));
            }
            for lead in header.effects.iter().flat_map(|e| &e.leads) {
                leads.push((id("case_id", &lead.case_id)?, id("post_id", &lead.post_id)?));
            }
            if let Event::PostRetired(retired) = &event {
                unled.push(id("post_id", &retired.post_id)?);
            }
            let mut sealing = Vec::new();
            for (part, scope) in [(SealedPart::Stream, stream_id), (SealedPart::OwnAgency, agency)] {
                let plain = event.sealed_payload(part);
                if plain.is_empty() {
                    continue;
                }
                let at = (stream_id, scope, part as i16);
                let key = match fresh.get(&at) {
                    Some(key) => key.clone(),
                    // A stream that begins here has no key to look for.
                    None => match self.existing_key(&header, at).await? {
                        Some(key) => key,
                        None => {
                            let key = self.sealer.new_key().await?;
                            keys.push((at, key.key_id));
                            fresh.insert(at, key.clone());
                            key
                        }
                    },
                };
                header.parts.push(PartInfo {
                    part: part as i32,
                    key_id: key.key_id.to_string(),
                    algorithm: AES_256_GCM_RANDOM_NONCE,
                });
                sealing.push((key, plain));
            }
            let bytes = header.encode_to_vec();
            let mut parts = Vec::new();
            for (key, plain) in sealing {
                let sealed = self.sealer.seal(&key, &bytes, &plain)?;
                parts.extend_from_slice(&(sealed.len() as u32).to_be_bytes());
                parts.extend_from_slice(&sealed);
            }
            rows.push(PreparedRow {
                stream_kind: header.stream_kind as i16,
                stream_id,
                version: header.version,
                event_id: id("event_id", &header.event_id)?,
                header: bytes,
                parts,
            });
        }
        let prepared = Prepared {
            agency: append.agency,
            request_id: append.request_id,
            digest: append.digest,
            rows,
            relied_on: append.relied_on,
            keys,
            items,
            leads,
            unled,
            disclosures: append.disclosures,
            blind: Vec::new(),
            reply: append.reply,
        };
        Ok((prepared, fresh.into_iter().collect()))
    }

    async fn existing_key(&self, header: &Header, at: Sealed) -> Result<Option<DataKey>, LogError> {
        if header.version == 1 {
            return Ok(None);
        }
        self.sealer.key_of(at).await
    }
}

fn id(field: &'static str, text: &str) -> Result<Uuid, LogError> {
    Uuid::try_parse(text).map_err(|_| LogError::Malformed { field })
}

struct Task {
    batch: Batch,
    normal: mpsc::Receiver<Job>,
    urgent: mpsc::Receiver<Job>,
    head: watch::Sender<u64>,
    options: WriterOptions,
}

impl Task {
    async fn run(mut self) {
        loop {
            let first = tokio::select! {
                biased;
                Some(job) = self.urgent.recv() => job,
                Some(job) = self.normal.recv() => job,
                else => return,
            };
            let mut jobs = vec![first];
            while jobs.len() < self.options.batch_max {
                match self.urgent.try_recv().or_else(|_| self.normal.try_recv()) {
                    Ok(job) => jobs.push(job),
                    Err(_) => break,
                }
            }
            self.commit(jobs).await;
        }
    }

    /// Commits the jobs together; where the database refuses a batch as a whole, its halves.
    async fn commit(&mut self, jobs: Vec<Job>) {
        let deadline = Instant::now() + self.options.patience;
        let attempt_max = (self.options.patience / 2).max(ATTEMPT_MIN);
        let mut stack = vec![jobs];
        while let Some(mut jobs) = stack.pop() {
            let prepared: Vec<&Prepared> = jobs.iter().map(|j| &j.prepared).collect();
            match self.batch.commit(&prepared, deadline, attempt_max).await {
                Ok(outcomes) => {
                    let mut last = None;
                    for (job, outcome) in jobs.into_iter().zip(outcomes) {
                        if let Outcome::Done(appended) = &outcome {
                            last = last.max(Some(appended.last_position));
                        }
                        // A caller that went away does not mind.
                        let _ = job.answer.send(Ok(outcome));
                    }
                    if let Some(last) = last {
                        self.head.send_if_modified(|head| {
                            let further = last > *head;
                            *head = last.max(*head);
                            further
                        });
                    }
                }
                Err(LogError::Database(why)) if jobs.len() > 1 => {
                    tracing::warn!(%why, jobs = jobs.len(), "batch refused, trying its halves");
                    let second = jobs.split_off(jobs.len() / 2);
                    stack.push(second);
                    stack.push(jobs);
                }
                Err(error) => {
                    tracing::warn!(%error, jobs = jobs.len(), "append failed");
                    for job in jobs {
                        let again = match &error {
                            LogError::Database(why) => LogError::Database(why.clone()),
                            LogError::NotDurable { setting, value } => {
                                LogError::NotDurable { setting, value: value.clone() }
                            }
                            _ => LogError::Unavailable,
                        };
                        let _ = job.answer.send(Err(again.into()));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tasuki_contract::directory::v1::AgencyRegistered;

    use super::*;

    #[tokio::test]
    async fn a_writer_whose_task_has_ended_says_so_and_is_not_overloaded() {
        // Never connected to.
        let database = Database::new("postgres://127.0.0.1:1/none", 1).unwrap();
        let keyring = Keyring::generate().unwrap();
        let sealer = Sealer::new(keyring, database.clone(), database.clone());
        let (normal, jobs) = mpsc::channel(1);
        let (urgent, urgent_jobs) = mpsc::channel(1);
        let (_sender, head) = watch::channel(0);
        let writer = Writer { normal, urgent, sealer, head, database };
        // As after a panic of the task.
        drop((jobs, urgent_jobs));
        writer.ended().await;
        let id = Uuid::now_v7().to_string();
        for urgent in [false, true] {
            let header = Header {
                event_id: Uuid::now_v7().to_string(),
                stream_id: id.clone(),
                version: 1,
                agency_id: id.clone(),
                ..Header::default()
            };
            let event = Event::AgencyRegistered(AgencyRegistered::default());
            let append = Append {
                agency: Uuid::now_v7(),
                request_id: id.clone(),
                digest: Vec::new(),
                events: vec![NewEvent { header, event }],
                relied_on: Vec::new(),
                disclosures: Vec::new(),
                reply: Vec::new(),
                urgent,
            };
            let answer = writer.append(append).await;
            assert!(matches!(answer, Err(AppendError::Fault(LogError::Unavailable))), "{answer:?}");
        }
    }
}
