//! A process that freezes in the midst of a transaction: the others get through within a bounded time.
//!
//! To the server, a stopped process is a session that is idle in its transaction; here such a session is one of the
//! log's own connections that says no more. One without the log's settings stands for a server that hangs.

use std::time::Duration;

use tasuki_log::reads::ReadOutcome;
use tasuki_log::{Append, AppendError, LogError, ReadEntry, ReadRecords, WriterOptions};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use crate::common::{Log, assert_gapless, beginning, command, lock_waits, within};

/// `APPEND_LOCK` of the log.
const TAKE_APPEND_LOCK: &str = "BEGIN; SELECT pg_advisory_xact_lock(32758245817542914)";

async fn hanging(log: &Log) -> Client {
    let (client, connection) = tokio_postgres::connect(&log.url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn read_of(case: Uuid) -> ReadEntry {
    ReadEntry {
        agency: Uuid::now_v7(),
        post: Uuid::now_v7(),
        purpose: "support".into(),
        method: "Test/Read",
        cases: vec![(case, 1)],
        events: Vec::new(),
        fact_keys: Vec::new(),
        grants: Vec::new(),
        policy_version: 1,
        policies: vec![],
    }
}

async fn waiting(log: &Log, sessions: i64) {
    within("a session waits for a lock", async {
        while lock_waits(log).await != sessions {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn the_lock_is_that_of_the_log() {
    assert!(TAKE_APPEND_LOCK.contains(&0x0074_6173_756b_6902_i64.to_string()));
}

#[tokio::test]
async fn an_append_gets_through_beside_a_process_that_froze_with_the_lock() {
    let log = Log::fresh().await;
    log.writer.append(beginning()).await.unwrap();
    let frozen = log.database.connect().await.unwrap();
    frozen.batch_execute(TAKE_APPEND_LOCK).await.unwrap();
    let appended = within("the append", log.another_process().writer.append(beginning())).await.unwrap();
    assert_eq!((appended.last_position, appended.replayed), (2, false));
    assert!(frozen.batch_execute("SELECT 1").await.is_err(), "its session was ended");
}

#[tokio::test]
async fn a_change_of_disclosure_gets_through_beside_a_reader_that_froze() {
    let log = Log::fresh().await;
    let case = Uuid::now_v7();
    let disclosing = || Append { disclosures: vec![case], ..beginning() };
    log.writer.append(disclosing()).await.unwrap();
    let frozen = log.database.connect().await.unwrap();
    frozen.batch_execute("BEGIN; SELECT FROM log.disclosures FOR SHARE").await.unwrap();
    within("the append", log.another_process().writer.append(disclosing())).await.unwrap();
}

#[tokio::test]
async fn patience_bounds_an_append_that_hangs_and_its_request_id_tells_what_became_of_it() {
    let log = Log::fresh().await;
    let options = WriterOptions { patience: Duration::from_millis(100), ..WriterOptions::default() };
    let short = Log::process(&log.url, &log.keyring, options);
    short.writer.append(beginning()).await.unwrap();
    let hanging = hanging(&log).await;
    hanging.batch_execute(TAKE_APPEND_LOCK).await.unwrap();
    let first = beginning();
    let (agency, request_id, digest) = (first.agency, first.request_id.clone(), first.digest.clone());
    let answer = within("the answer", short.writer.append(first)).await;
    assert!(matches!(answer, Err(AppendError::Fault(LogError::Unavailable))), "{answer:?}");
    // What was given up waits for the lock no longer.
    waiting(&log, 0).await;
    hanging.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(short.writer.replay(agency, &request_id, &digest).await.unwrap(), None);
    let again = Append { agency, request_id, digest, ..command(beginning().events) };
    assert!(!short.writer.append(again).await.unwrap().replayed);
    assert_gapless(&log.all().await);
}

#[tokio::test]
async fn an_append_that_hung_for_a_while_is_tried_again_and_done_once() {
    let log = Log::fresh().await;
    let options = WriterOptions { patience: Duration::from_secs(20), ..WriterOptions::default() };
    let patient = Log::process(&log.url, &log.keyring, options);
    let hanging = hanging(&log).await;
    hanging.batch_execute(TAKE_APPEND_LOCK).await.unwrap();
    let appending = async { within("the append", patient.writer.append(beginning())).await.unwrap() };
    let releasing = async {
        // The first try, then nobody, then the second.
        for sessions in [1, 0, 1] {
            waiting(&log, sessions).await;
        }
        hanging.batch_execute("ROLLBACK").await.unwrap();
    };
    let (appended, ()) = tokio::join!(appending, releasing);
    assert_eq!((appended.last_position, appended.replayed), (1, false));
    assert_eq!(log.all().await.len(), 1);
}

#[tokio::test]
async fn a_read_that_hangs_is_refused_and_the_next_one_is_recorded() {
    let log = Log::fresh().await;
    let case = Uuid::now_v7();
    log.writer.append(Append { disclosures: vec![case], ..beginning() }).await.unwrap();
    let reads = ReadRecords::start(log.database.clone(), log.keyring.clone());
    let hanging = hanging(&log).await;
    hanging.batch_execute("BEGIN; SELECT FROM log.disclosures FOR UPDATE").await.unwrap();
    let answer = within("the answer", reads.record(read_of(case))).await;
    assert!(matches!(answer, Err(LogError::Unavailable)), "{answer:?}");
    hanging.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(reads.record(read_of(case)).await.unwrap(), ReadOutcome::Recorded);
}
