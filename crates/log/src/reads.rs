//! Reads on record: who read what, for which purpose, under which policy and grants.
//!
//! A record is committed before the answer leaves. In the same transaction the disclosure epochs of its cases are
//! held `FOR SHARE` and compared with those that the policy was evaluated against; an append that ends a disclosure
//! updates the same rows, so nothing evaluated before it is served after it. Records share transactions, each of
//! which is one statement: PostgreSQL is asked once for all reads that have come together.
//!
//! They are a ledger: each task chains and signs what it records (`ledger`), and has it anchored now and then
//! (`anchors`). What is written must therefore be known before it is sent. Where an answer is found to be stale,
//! nothing of the statement is written, and it is sent again without that answer: that is rare, and costs one more.

use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::db::{DURABILITY, Database, Durable, durable};
use crate::error::LogError;
use crate::keyring::Keyring;
use crate::ledger::{Ledger, batch_message, row_of, system_time};
use crate::partitions::Daily;

/// One read to put on record.
#[derive(Clone, Debug)]
pub struct ReadEntry {
    /// The reader's agency.
    pub agency: Uuid,
    /// The reader's post.
    pub post: Uuid,
    /// Purpose code.
    pub purpose: String,
    /// Name of the method.
    pub method: &'static str,
    /// The cases, with the disclosure epochs that the policy was evaluated against.
    pub cases: Vec<(Uuid, u64)>,
    /// Events that were disclosed.
    pub events: Vec<Uuid>,
    /// Dictionary keys that were disclosed.
    pub fact_keys: Vec<String>,
    /// Grants that were relied on.
    pub grants: Vec<Uuid>,
    /// Version of the policy.
    pub policy_version: i32,
    /// Municipalities by whose policies it was found, with the versions of their streams: held and compared as the
    /// cases are, and no part of the record.
    pub policies: Vec<(Uuid, u64)>,
}

/// Whether the answer may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// It is on record: serve it.
    Recorded,
    /// What may be disclosed has changed meanwhile: evaluate again.
    Stale,
}

type Job = (Vec<ReadEntry>, oneshot::Sender<Result<ReadOutcome, LogError>>);

/// Puts reads on record, many in one transaction.
#[derive(Clone, Debug)]
pub struct ReadRecords {
    queue: mpsc::Sender<Job>,
}

/// Reads that may wait; more wait at the sender, where the caller's deadline runs.
const QUEUE_MAX: usize = 1_024;
const BATCH_MAX: usize = 256;
/// How long a try may hang; longer than a frozen append can hold the epochs that it changes.
const ATTEMPT_MAX: Duration = Duration::from_secs(7);
/// How long a record waits for its anchor: within this time nobody misses the end of a writer's chain.
const ANCHOR_WITHIN: Duration = Duration::from_secs(60);

impl ReadRecords {
    /// Starts the recording task, which signs with the signing key of `keyring`.
    pub fn start(database: Database, keyring: Keyring) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(database, keyring, jobs));
        Self { queue }
    }

    /// Completes when the recording task has ended, which by itself it does not while this lives.
    pub async fn ended(&self) {
        self.queue.closed().await;
    }

    /// Commits the record, or finds that the answer must be made anew.
    pub async fn record(&self, entry: ReadEntry) -> Result<ReadOutcome, LogError> {
        self.record_all(vec![entry]).await
    }

    /// Commits the records of one answer together: all of them, or none where one is found to be stale.
    ///
    /// An answer about several cases has one record for each, so that each guardian finds its own child's reads and
    /// nobody else's. Without an entry there is nothing to commit.
    pub async fn record_all(&self, entries: Vec<ReadEntry>) -> Result<ReadOutcome, LogError> {
        if entries.is_empty() {
            return Ok(ReadOutcome::Recorded);
        }
        let (answer, answered) = oneshot::channel();
        self.queue.send((entries, answer)).await.map_err(|_| LogError::Unavailable)?;
        answered.await.map_err(|_| LogError::Unavailable)?
    }
}

async fn run(database: Database, keyring: Keyring, mut jobs: mpsc::Receiver<Job>) {
    let mut connection = Durable::new();
    let mut ledger = Ledger::begin();
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut daily = Daily::default();
    let mut anchor_at: Option<Instant> = None;
    loop {
        let due = async {
            match anchor_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = due => {
                anchor_at = None;
                tokio::spawn(anchor(database.clone(), keyring.clone()));
                continue;
            }
            taken = jobs.recv_many(&mut batch, BATCH_MAX) => if taken == 0 { break },
        }
        daily.keep(&database);
        let (reads, answers): (Vec<Vec<ReadEntry>>, Vec<_>) = batch.drain(..).unzip();
        let result = commit(&database, &mut connection, &keyring, &mut ledger, &reads).await;
        match result {
            Ok(outcomes) => {
                let recorded = reads.iter().zip(&outcomes).filter(|(_, o)| **o == ReadOutcome::Recorded);
                let recorded: usize = recorded.map(|(entries, _)| entries.len()).sum();
                tasuki_telemetry::metrics().reads_recorded(recorded as u64);
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    let _ = answer.send(Ok(outcome));
                }
                anchor_at = anchor_at.or_else(|| Some(Instant::now() + ANCHOR_WITHIN));
            }
            Err(error) => {
                tracing::warn!(%error, reads = reads.len(), "reads could not be put on record");
                for answer in answers {
                    let _ = answer.send(Err(LogError::Unavailable));
                }
            }
        }
    }
    if anchor_at.is_some() {
        anchor(database, keyring).await;
    }
}

/// Beside the recording; what fails is left to the next one, of whatever process.
async fn anchor(database: Database, keyring: Keyring) {
    if let Err(error) = crate::anchors::anchor_reads(&database, &keyring).await {
        tracing::warn!(%error, "reads on record could not be anchored");
    }
}

/// Commits over a lost or hanging connection once more; a record that was written twice does no harm.
async fn commit(
    database: &Database,
    connection: &mut Durable<Statement>,
    keyring: &Keyring,
    ledger: &mut Ledger,
    reads: &[Vec<ReadEntry>],
) -> Result<Vec<ReadOutcome>, LogError> {
    let mut outcomes = vec![ReadOutcome::Recorded; reads.len()];
    for last_try in [false, true] {
        let attempt = async {
            let prepare = async |client: &Client| Ok(client.prepare(&record_sql()).await?);
            let (client, statement) = connection.get(database, prepare).await?;
            if !ledger.knows_the_time() {
                ledger.heard(client.query_one(&format!("SELECT {NOW_US}"), &[]).await?.get(0));
            }
            while outcomes.contains(&ReadOutcome::Recorded)
                && write(client, statement, keyring, ledger, reads, &mut outcomes).await? == Written::Stale
            {
            }
            Ok(())
        };
        let error = match tokio::time::timeout(ATTEMPT_MAX, attempt).await {
            Ok(Ok(())) => return Ok(outcomes),
            Ok(Err(error)) => error,
            Err(_) => {
                connection.cut();
                LogError::Unavailable
            }
        };
        ledger.begin_anew();
        if connection.rolled_back(ATTEMPT_MAX).await {
            if !last_try && came_to_another_partition(&error) {
                continue;
            }
            return Err(error);
        }
        connection.cut();
        if last_try {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(LogError::Unavailable)
}

/// It waited for the default partition while the month's own was made: now that one takes it.
fn came_to_another_partition(error: &LogError) -> bool {
    matches!(error, LogError::Database(why) if why.starts_with("23514 "))
}

/// The database's time, in microseconds.
const NOW_US: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::int8";

/// What became of one statement.
#[derive(PartialEq, Eq)]
enum Written {
    /// All that it was to write.
    All,
    /// Nothing, since some answers are stale, which have been marked.
    Stale,
}

/// One statement, which is a transaction of its own: it holds the epochs of all cases in the order of their ids, and
/// writes all entries if every case is as it was evaluated, nothing otherwise.
///
/// Shape: `$1` the cases to hold; `$2` to `$4` answer (from 1), case and epoch of what was evaluated; `$3`, `$5`, `$6`
/// and `$7` the lists of all entries one after the other, and in `$14` to `$17` how long they are before each entry
/// and after the last; `$8` to `$13` and `$18` to `$21` a value for each entry; `$22` to `$25` the writer, its key, and
/// what it comes to. The row that it gives: [`DURABILITY`], stale answers, the time.
fn record_sql() -> String {
    let list = |lists: &str, ends: &str| {
        format!("({lists})[({ends}::int4[])[e.entry::int4] + 1:({ends}::int4[])[e.entry::int4 + 1]]")
    };
    format!(
        "WITH held AS MATERIALIZED ( \
             SELECT case_id, epoch FROM log.disclosures WHERE case_id = ANY($1) ORDER BY case_id FOR SHARE \
         ), stale AS MATERIALIZED ( \
             SELECT DISTINCT c.answer FROM unnest($2::int8[], $3::uuid[], $4::int8[]) AS c(answer, case_id, epoch) \
             LEFT JOIN held USING (case_id) WHERE c.epoch <> coalesce(held.epoch, 0) \
         ), written AS ( \
             INSERT INTO log.reads (read_id, read_at, agency_id, post_id, purpose, method, case_ids, event_ids, \
                                    fact_keys, grant_ids, policy_version, writer, number, hash, signature) \
             SELECT e.id, e.at, e.agency, e.post, e.purpose, e.method, {cases}, {events}, {keys}, {grants}, \
                    e.policy, $22, e.number, e.hash, e.signature \
             FROM unnest($8::uuid[], $9::uuid[], $10::uuid[], $11::text[], $12::text[], $13::int4[], \
                         $18::timestamptz[], $19::int8[], $20::bytea[], $21::bytea[]) \
                  WITH ORDINALITY \
                  AS e(id, agency, post, purpose, method, policy, at, number, hash, signature, entry) \
             WHERE NOT EXISTS (SELECT FROM stale) \
         ), come AS ( \
             INSERT INTO log.read_writers AS w (writer, key_id, number, hash) \
             SELECT $22::uuid, $23::text, $24::int8, $25::bytea WHERE NOT EXISTS (SELECT FROM stale) \
             ON CONFLICT (writer) DO UPDATE SET number = excluded.number, hash = excluded.hash \
         ) \
         SELECT {DURABILITY}, ARRAY(SELECT answer FROM stale), {NOW_US}",
        cases = list("$3", "$14"),
        events = list("$5::uuid[]", "$15"),
        keys = list("$6::text[]", "$16"),
        grants = list("$7::uuid[]", "$17"),
    )
}

/// The lists of all entries one after the other.
struct Lists<T> {
    all: Vec<T>,
    /// How long it is before each entry, and after the last.
    ends: Vec<i32>,
}

impl<T> Lists<T> {
    fn of<L: IntoIterator<Item = T>>(lists: impl Iterator<Item = L>) -> Self {
        let mut these = Self { all: Vec::new(), ends: vec![0] };
        for list in lists {
            these.all.extend(list);
            these.ends.push(these.all.len() as i32);
        }
        these
    }
}

/// Writes the answers that are not known to be stale; marks those that are found to be.
async fn write(
    client: &Client,
    statement: &Statement,
    keyring: &Keyring,
    ledger: &mut Ledger,
    reads: &[Vec<ReadEntry>],
    outcomes: &mut [ReadOutcome],
) -> Result<Written, LogError> {
    let fresh = || reads.iter().zip(1_i64..).zip(&*outcomes).filter(|(_, o)| **o == ReadOutcome::Recorded);
    let numbered = || fresh().flat_map(|((all, n), _)| all.iter().map(move |e| (e, n)));
    let case_answers: Vec<i64> = numbered().flat_map(|(e, n)| e.cases.iter().map(move |_| n)).collect();
    let entries: Vec<&ReadEntry> = numbered().map(|(e, _)| e).collect();
    let cases = Lists::of(entries.iter().map(|e| e.cases.iter().map(|c| c.0)));
    let events = Lists::of(entries.iter().map(|e| e.events.iter()));
    let keys = Lists::of(entries.iter().map(|e| e.fact_keys.iter()));
    let grants = Lists::of(entries.iter().map(|e| e.grants.iter()));
    let mut epochs: Vec<i64> = entries.iter().flat_map(|e| e.cases.iter().map(|c| c.1 as i64)).collect();
    // Behind the cases of the last entry: compared with them, and in nobody's list.
    let (mut compared, mut case_answers) = (cases.all.clone(), case_answers);
    for (entry, answer) in numbered() {
        for (municipality, version) in &entry.policies {
            compared.push(*municipality);
            case_answers.push(answer);
            epochs.push(*version as i64);
        }
    }
    let mut to_hold = compared.clone();
    to_hold.sort_unstable();
    to_hold.dedup();
    let ids: Vec<Uuid> = entries.iter().map(|_| Uuid::now_v7()).collect();
    let agencies: Vec<Uuid> = entries.iter().map(|e| e.agency).collect();
    let posts: Vec<Uuid> = entries.iter().map(|e| e.post).collect();
    let purposes: Vec<&str> = entries.iter().map(|e| e.purpose.as_str()).collect();
    let methods: Vec<&str> = entries.iter().map(|e| e.method).collect();
    let policies: Vec<i32> = entries.iter().map(|e| e.policy_version).collect();
    // What it comes to counts once it is committed.
    let mut next = ledger.clone();
    let at_us = next.now_us();
    let times: Vec<SystemTime> = entries.iter().map(|_| system_time(at_us)).collect();
    let numbers: Vec<i64> = (1..=entries.len() as i64).map(|n| next.number as i64 + n).collect();
    let hashes: Vec<Vec<u8>> =
        entries.iter().zip(&ids).map(|(e, id)| next.take(&row_of(e, *id, at_us)).to_vec()).collect();
    let mut signatures: Vec<Option<Vec<u8>>> = vec![None; entries.len()];
    if let Some(last) = signatures.last_mut() {
        *last = Some(keyring.sign(&batch_message(next.writer, next.number, &next.hash)));
    }
    let (signing_id, number, hash) = (keyring.signing_id(), next.number as i64, next.hash.as_slice());
    let row = client
        .query_one(
            statement,
            &[
                &to_hold,
                &case_answers,
                &compared,
                &epochs,
                &events.all,
                &keys.all,
                &grants.all,
                &ids,
                &agencies,
                &posts,
                &purposes,
                &methods,
                &policies,
                &cases.ends,
                &events.ends,
                &keys.ends,
                &grants.ends,
                &times,
                &numbers,
                &hashes,
                &signatures,
                &next.writer,
                &signing_id,
                &number,
                &hash,
            ],
        )
        .await?;
    // What a connection that does not promise durability has committed is served to nobody.
    durable(&row, 0)?;
    let stale: Vec<i64> = row.get(2);
    if stale.is_empty() {
        *ledger = next;
    }
    ledger.heard(row.get(3));
    for answer in &stale {
        outcomes[*answer as usize - 1] = ReadOutcome::Stale;
    }
    Ok(if stale.is_empty() { Written::All } else { Written::Stale })
}
