//! A cluster that does not promise durability gets no acknowledgement out of the log.

use std::time::Duration;

use tasuki_log::{AppendError, LogError, ReadEntry, ReadRecords};
use tasuki_standalone::Postgres;
use uuid::Uuid;

use crate::common::{beginning, own_cluster, within};

async fn set_fsync(postgres: &Postgres, value: &str) {
    postgres.sql("postgres", &format!("ALTER SYSTEM SET fsync = {value}")).await.unwrap();
    postgres.sql("postgres", "SELECT pg_reload_conf()").await.unwrap();
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    within("reload", async {
        while postgres.sql("postgres", "SHOW fsync").await.unwrap() != value {
            pause.tick().await;
        }
    })
    .await;
}

fn read() -> ReadEntry {
    ReadEntry {
        agency: Uuid::now_v7(),
        post: Uuid::now_v7(),
        purpose: "support".into(),
        method: "Test/Read",
        cases: Vec::new(),
        events: Vec::new(),
        fact_keys: Vec::new(),
        grants: Vec::new(),
        policy_version: 1,
        policies: vec![],
    }
}

#[tokio::test]
async fn a_cluster_without_fsync_is_refused_at_the_first_append_and_read() {
    let (postgres, log) = own_cluster().await;
    set_fsync(&postgres, "off").await;
    let refused = log.database.connect_durable().await;
    assert!(matches!(refused, Err(LogError::NotDurable { setting: "fsync", .. })));
    let answer = log.writer.append(beginning()).await;
    assert!(
        matches!(answer, Err(AppendError::Fault(LogError::NotDurable { setting: "fsync", .. }))),
        "{answer:?}"
    );
    assert!(ReadRecords::start(log.database.clone(), log.keyring.clone()).record(read()).await.is_err());
    set_fsync(&postgres, "on").await;
    assert_eq!(log.writer.append(beginning()).await.unwrap().last_position, 1);
}

#[tokio::test]
async fn a_cluster_that_loses_fsync_is_refused_on_the_connection_that_was_good_before() {
    let (postgres, log) = own_cluster().await;
    let reads = ReadRecords::start(log.database.clone(), log.keyring.clone());
    log.writer.append(beginning()).await.unwrap();
    reads.record(read()).await.unwrap();
    set_fsync(&postgres, "off").await;
    // A running session takes the reload in before its next statement.
    let answer = log.writer.append(beginning()).await;
    assert!(matches!(answer, Err(AppendError::Fault(LogError::NotDurable { .. }))), "{answer:?}");
    assert!(reads.record(read()).await.is_err());
    set_fsync(&postgres, "on").await;
    // The refused transaction left no lock behind.
    let again = within("append after the refusal", log.another_process().writer.append(beginning())).await;
    assert_eq!(again.unwrap().last_position, 2);
    within("append by the refused writer", log.writer.append(beginning())).await.unwrap();
    reads.record(read()).await.unwrap();
}

#[tokio::test]
async fn a_database_that_sets_synchronous_commit_off_is_overruled() {
    let (postgres, log) = own_cluster().await;
    postgres.sql("postgres", "ALTER DATABASE log SET synchronous_commit = off").await.unwrap();
    let client = log.database.connect().await.unwrap();
    let show = |client: tokio_postgres::Client| async move {
        client.query_one("SHOW synchronous_commit", &[]).await.unwrap().get::<_, String>(0)
    };
    assert_eq!(show(client).await, "off", "what a plain connection gets");
    assert_eq!(show(log.database.connect_durable().await.unwrap()).await, "on");
    log.writer.append(beginning()).await.unwrap();
}
