//! kill -9 of PostgreSQL while commands are being appended: what was acknowledged is there, each once.

use std::collections::HashMap;
use std::time::Duration;

use futures::future::join_all;
use tasuki_log::verify::verify;
use tasuki_log::{Append, AppendError, Appended, LogError};
use uuid::Uuid;

use crate::common::{Log, agency, assert_gapless, beginning, command, consultation, own_cluster, within};

const CALLERS: usize = 12;
const KILLS: usize = 3;

/// Appends until told to stop, each request until it is answered, and keeps what it was told.
async fn call(log: &Log, stop: &tokio::sync::watch::Receiver<bool>) -> Vec<(Uuid, String, Appended)> {
    let stream = Uuid::now_v7();
    let mut acknowledged = Vec::new();
    let mut version = 0;
    while !*stop.borrow() {
        version += 1;
        let first = command(vec![consultation(stream, version)]);
        let (agency, request_id) = (first.agency, first.request_id.clone());
        let retry = || Append {
            agency,
            request_id: request_id.clone(),
            ..{
                let mut retry = command(vec![consultation(stream, version)]);
                retry.digest = request_id.clone().into_bytes();
                retry.reply = request_id.clone().into_bytes();
                retry
            }
        };
        let mut next = first;
        let appended = loop {
            match log.writer.append(next).await {
                Ok(appended) => break appended,
                // Sealing or waiting met the dead server; the request id makes another try safe.
                Err(AppendError::Fault(LogError::Unavailable | LogError::Database(_))) => next = retry(),
                Err(other) => panic!("{other:?}"),
            }
            tokio::task::yield_now().await;
        };
        acknowledged.push((agency, request_id, appended));
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p1_acknowledged_is_durable() {
    let (postgres, log) = own_cluster().await;
    let other = log.another_process();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let calling = join_all((0..CALLERS).map(|i| call(if i % 2 == 0 { &log } else { &other }, &stopped)));
    let killing = async {
        for _ in 0..KILLS {
            // Each time in the midst of it: only after more was acknowledged than before.
            let mut head = log.writer.head();
            let before = *head.borrow_and_update();
            within("progress", head.wait_for(|now| *now >= before + 100)).await.unwrap();
            postgres.kill().await.unwrap();
            postgres.restart().await.unwrap();
        }
        let mut head = log.writer.head();
        let before = *head.borrow_and_update();
        within("progress after the last kill", head.wait_for(|now| *now > before)).await.unwrap();
        stop.send(true).unwrap();
    };
    let (answers, ()) = within("callers and kills", async { tokio::join!(calling, killing) }).await;

    let acknowledged: Vec<_> = answers.into_iter().flatten().collect();
    let records = log.all().await;
    assert_gapless(&records);
    assert!(records.len() >= 100 * KILLS);
    let mut answered = HashMap::new();
    for (agency, request_id, appended) in &acknowledged {
        assert_eq!(appended.reply, request_id.as_bytes(), "the answer of that very request");
        assert_eq!(appended.first_position, appended.last_position);
        let record = &records[appended.first_position as usize - 1];
        assert_eq!(record.recorded_at_us, appended.recorded_at_us);
        assert!(answered.insert(appended.first_position, (agency, request_id)).is_none(), "a position twice");
    }
    // Every request was tried until it was answered, so a row beyond the answers would be a request done twice.
    assert_eq!(records.len(), acknowledged.len());
    let client = log.database.connect().await.unwrap();
    let requests: i64 = client.query_one("SELECT count(*) FROM log.requests", &[]).await.unwrap().get(0);
    assert_eq!(requests as usize, acknowledged.len());
    let report = verify(&log.database, log.keyring.public_key(), |_| {}).await.unwrap();
    assert_eq!((report.first_bad, report.rows), (None, records.len() as u64));
    for record in &records {
        log.reader.open(&log.sealer, record).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_reply_was_lost_is_found_by_its_request_id_and_not_repeated() {
    let (postgres, log) = own_cluster().await;
    log.writer.append(beginning()).await.unwrap();
    // A standby that never answers: COMMIT is durable here and does not return, until the server is killed.
    postgres.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await.unwrap();
    postgres.sql("postgres", "SELECT pg_reload_conf()").await.unwrap();
    // The server takes the setting in at some moment: until then commits return.
    let stream = Uuid::now_v7();
    let lost = tokio::spawn({
        let writer = log.writer.clone();
        async move {
            for version in 1.. {
                let appended = writer.append(command(vec![agency(stream, version)])).await.unwrap();
                if appended.replayed {
                    return (version, appended);
                }
            }
            unreachable!("versions do not run out")
        }
    });
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    within("the commit to hang", async {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        while postgres.sql("postgres", sql).await.unwrap() != "1" {
            pause.tick().await;
        }
    })
    .await;
    assert!(!lost.is_finished(), "nothing is acknowledged before it");
    postgres.kill().await.unwrap();
    let auto = postgres.data_dir().join("postgresql.auto.conf");
    std::fs::write(auto, "").unwrap();
    postgres.restart().await.unwrap();

    // Replayed: the first try had committed.
    let (version, appended) = within("the answer", lost).await.unwrap();
    assert_eq!((appended.first_position, appended.last_position), (1 + version, 1 + version));
    assert_eq!(log.reader.stream(stream, 0).await.unwrap().len() as u64, version);
    log.writer.append(command(vec![agency(stream, version + 1)])).await.unwrap();
    assert_gapless(&log.all().await);
}

#[tokio::test]
async fn without_a_database_a_command_waits_its_time_and_is_told_so() {
    let (postgres, log) = own_cluster().await;
    let options = tasuki_log::WriterOptions { patience: Duration::from_millis(300), ..Default::default() };
    let short = Log::process(&log.url, &log.keyring, options);
    short.writer.append(beginning()).await.unwrap();
    postgres.stop().await.unwrap();
    let answer = within("the refusal", short.writer.append(beginning())).await;
    assert!(matches!(answer, Err(AppendError::Fault(LogError::Unavailable))), "{answer:?}");
    postgres.restart().await.unwrap();
    assert_eq!(short.writer.append(beginning()).await.unwrap().last_position, 2);
}
