//! Reads on record: who read what, for which purpose, under which policy and grants.
//!
//! A record is committed before the answer leaves. In the same transaction the disclosure epochs of its cases are
//! held `FOR SHARE` and compared with those that the policy was evaluated against; an append that ends a disclosure
//! updates the same rows, so nothing evaluated before it is served after it. Records share transactions.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::db::{DURABILITY, Database, Durable, durable};
use crate::error::LogError;
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
}

/// Whether the answer may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// It is on record: serve it.
    Recorded,
    /// What may be disclosed has changed meanwhile: evaluate again.
    Stale,
}

type Job = (ReadEntry, oneshot::Sender<Result<ReadOutcome, LogError>>);

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

impl ReadRecords {
    /// Starts the recording task.
    pub fn start(database: Database) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(database, jobs));
        Self { queue }
    }

    /// Completes when the recording task has ended, which by itself it does not while this lives.
    pub async fn ended(&self) {
        self.queue.closed().await;
    }

    /// Commits the record, or finds that the answer must be made anew.
    pub async fn record(&self, entry: ReadEntry) -> Result<ReadOutcome, LogError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send((entry, answer)).await.map_err(|_| LogError::Unavailable)?;
        answered.await.map_err(|_| LogError::Unavailable)?
    }
}

async fn run(database: Database, mut jobs: mpsc::Receiver<Job>) {
    let mut connection = Durable::new();
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut daily = Daily::default();
    while jobs.recv_many(&mut batch, BATCH_MAX).await > 0 {
        daily.keep(&database);
        let (entries, answers): (Vec<ReadEntry>, Vec<_>) = batch.drain(..).unzip();
        let result = commit(&database, &mut connection, &entries).await;
        match result {
            Ok(outcomes) => {
                let recorded = outcomes.iter().filter(|o| **o == ReadOutcome::Recorded).count();
                tasuki_telemetry::metrics().reads_recorded(recorded as u64);
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    let _ = answer.send(Ok(outcome));
                }
            }
            Err(error) => {
                tracing::warn!(%error, reads = entries.len(), "reads could not be put on record");
                for answer in answers {
                    let _ = answer.send(Err(LogError::Unavailable));
                }
            }
        }
    }
}

/// Commits over a lost or hanging connection once more; a record that was written twice does no harm.
async fn commit(
    database: &Database,
    connection: &mut Durable<Statements>,
    entries: &[ReadEntry],
) -> Result<Vec<ReadOutcome>, LogError> {
    for last_try in [false, true] {
        let attempt = async {
            let (client, statements) = connection.get(database, Statements::prepare).await?;
            transact(client, statements, entries).await
        };
        let error = match tokio::time::timeout(ATTEMPT_MAX, attempt).await {
            Ok(Ok(outcomes)) => return Ok(outcomes),
            Ok(Err(error)) => error,
            Err(_) => {
                connection.cut();
                LogError::Unavailable
            }
        };
        if connection.rolled_back(ATTEMPT_MAX).await {
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

struct Statements {
    durability: Statement,
    hold: Statement,
    insert: Statement,
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Self, LogError> {
        Ok(Self {
            durability: client.prepare(&format!("SELECT {DURABILITY}")).await?,
            hold: client
                .prepare(
                    "SELECT case_id, epoch FROM log.disclosures WHERE case_id = ANY($1) \
                     ORDER BY case_id FOR SHARE",
                )
                .await?,
            insert: client
                .prepare(
                    "INSERT INTO log.reads \
                     VALUES ($1, clock_timestamp(), $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                )
                .await?,
        })
    }
}

async fn transact(
    client: &Client,
    statements: &Statements,
    entries: &[ReadEntry],
) -> Result<Vec<ReadOutcome>, LogError> {
    let mut cases: Vec<Uuid> = entries.iter().flat_map(|e| e.cases.iter().map(|c| c.0)).collect();
    cases.sort_unstable();
    cases.dedup();
    let want: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&cases];
    let (begin, durability, held) = futures::join!(
        client.batch_execute("BEGIN"),
        client.query_one(&statements.durability, &[]),
        client.query(&statements.hold, &want),
    );
    begin?;
    durable(&durability?, 0)?;
    let now: std::collections::HashMap<Uuid, u64> =
        held?.iter().map(|r| (r.get(0), r.get::<_, i64>(1) as u64)).collect();
    let outcomes: Vec<ReadOutcome> = entries
        .iter()
        .map(|e| {
            let current = e.cases.iter().all(|(case, epoch)| now.get(case).copied().unwrap_or(0) == *epoch);
            if current { ReadOutcome::Recorded } else { ReadOutcome::Stale }
        })
        .collect();
    let inserts =
        entries.iter().zip(&outcomes).filter(|(_, o)| **o == ReadOutcome::Recorded).map(|(e, _)| async {
            let id = Uuid::now_v7();
            let cases: Vec<Uuid> = e.cases.iter().map(|c| c.0).collect();
            client
                .execute(
                    &statements.insert,
                    &[
                        &id,
                        &e.agency,
                        &e.post,
                        &e.purpose,
                        &e.method,
                        &cases,
                        &e.events,
                        &e.fact_keys,
                        &e.grants,
                        &e.policy_version,
                    ],
                )
                .await
        });
    let (written, commit) =
        futures::join!(futures::future::join_all(inserts), client.batch_execute("COMMIT"));
    for result in written {
        result?;
    }
    commit?;
    Ok(outcomes)
}
