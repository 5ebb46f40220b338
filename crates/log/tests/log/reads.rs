//! Reads on record: committed before the answer, refused when what may be disclosed has changed.

use futures::future::join_all;
use tasuki_log::reads::ReadOutcome;
use tasuki_log::{Append, ReadEntry, ReadRecords};
use uuid::Uuid;

use crate::common::{Log, beginning, lock_waits, within};

fn read_of(case: Uuid, epoch: u64) -> ReadEntry {
    ReadEntry {
        agency: Uuid::now_v7(),
        post: Uuid::now_v7(),
        purpose: "support".into(),
        method: "Test/Read",
        cases: vec![(case, epoch)],
        events: vec![Uuid::now_v7()],
        fact_keys: vec!["allergies".into()],
        grants: vec![Uuid::now_v7()],
        policy_version: 1,
        policies: vec![],
    }
}

fn disclosing(case: Uuid) -> Append {
    Append { disclosures: vec![case], ..beginning() }
}

async fn recorded(log: &Log, case: Uuid) -> i64 {
    let client = log.database.connect().await.unwrap();
    let sql = "SELECT count(*) FROM log.reads WHERE case_ids = ARRAY[$1::uuid]";
    client.query_one(sql, &[&case]).await.unwrap().get(0)
}

async fn epoch(log: &Log, case: Uuid) -> u64 {
    log.reader.disclosure_epochs(&[case]).await.unwrap()[0].1
}

#[tokio::test]
async fn a_read_is_on_record_when_it_is_told_so() {
    let log = Log::fresh().await;
    let reads = ReadRecords::start(log.database.clone(), log.keyring.clone());
    let case = Uuid::now_v7();
    let entry = read_of(case, 0);
    assert_eq!(reads.record(entry.clone()).await.unwrap(), ReadOutcome::Recorded);
    let client = log.database.connect().await.unwrap();
    let row = client
        .query_one(
            "SELECT agency_id, post_id, purpose, method, case_ids, event_ids, fact_keys, grant_ids, \
                    policy_version, tableoid::regclass::text FROM log.reads",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((row.get::<_, Uuid>(0), row.get::<_, Uuid>(1)), (entry.agency, entry.post));
    assert_eq!((row.get::<_, &str>(2), row.get::<_, &str>(3)), ("support", "Test/Read"));
    assert_eq!((row.get::<_, Vec<Uuid>>(4), row.get::<_, Vec<Uuid>>(5)), (vec![case], entry.events));
    assert_eq!((row.get::<_, Vec<String>>(6), row.get::<_, Vec<Uuid>>(7)), (entry.fact_keys, entry.grants));
    assert_eq!(row.get::<_, i32>(8), 1);
    let partition: &str = row.get(9);
    assert!(partition.starts_with("log.reads_2"), "by month: {partition}");
}

#[tokio::test]
async fn reads_that_come_together_are_recorded_each_with_its_own_lists() {
    let log = Log::fresh().await;
    let reads = ReadRecords::start(log.database.clone(), log.keyring.clone());
    let odd = ["", "{}", "a,b", "\"q\"", "back\\slash", "NULL", "日本", " "];
    let ids = |count: usize| (0..count).map(|_| Uuid::now_v7()).collect::<Vec<_>>();
    let (changed, unchanged) = (Uuid::now_v7(), Uuid::now_v7());
    log.writer.append(disclosing(changed)).await.unwrap();
    let entries: Vec<ReadEntry> = (0..300_usize)
        .map(|n| {
            let mut cases: Vec<(Uuid, u64)> = ids(n % 4).into_iter().map(|case| (case, 0)).collect();
            cases.extend((n % 5 == 0).then_some((unchanged, 0)));
            cases.extend((n % 7 == 0).then_some((changed, u64::from(n % 2 == 0))));
            ReadEntry {
                cases,
                events: ids(n % 3),
                fact_keys: odd.iter().cycle().skip(n).take(n % 6).map(|key| (*key).to_owned()).collect(),
                grants: ids(n * 7 % 3),
                policy_version: n as i32,
                policies: vec![],
                purpose: odd[n % odd.len()].to_owned(),
                ..read_of(unchanged, 0)
            }
        })
        .collect();
    let outcomes = join_all(entries.iter().map(|entry| reads.record(entry.clone()))).await;
    let client = log.database.connect().await.unwrap();
    for (entry, outcome) in entries.iter().zip(outcomes) {
        let sql = "SELECT agency_id, purpose, method, case_ids, event_ids, fact_keys, grant_ids, policy_version \
                   FROM log.reads WHERE post_id = $1";
        let rows = client.query(sql, &[&entry.post]).await.unwrap();
        if entry.cases.contains(&(changed, 0)) {
            assert_eq!((outcome.unwrap(), rows.len()), (ReadOutcome::Stale, 0));
            continue;
        }
        assert_eq!((outcome.unwrap(), rows.len()), (ReadOutcome::Recorded, 1));
        let row = &rows[0];
        let cases: Vec<Uuid> = entry.cases.iter().map(|case| case.0).collect();
        assert_eq!((row.get::<_, Uuid>(0), row.get::<_, &str>(1)), (entry.agency, entry.purpose.as_str()));
        assert_eq!((row.get::<_, &str>(2), row.get::<_, Vec<Uuid>>(3)), (entry.method, cases));
        assert_eq!(row.get::<_, Vec<Uuid>>(4), entry.events);
        assert_eq!(row.get::<_, Vec<String>>(5), entry.fact_keys);
        assert_eq!(row.get::<_, Vec<Uuid>>(6), entry.grants);
        assert_eq!(row.get::<_, i32>(7), entry.policy_version);
    }
}

#[tokio::test]
async fn a_read_evaluated_before_a_change_of_disclosure_is_stale_and_leaves_no_record() {
    let log = Log::fresh().await;
    let reads = ReadRecords::start(log.database.clone(), log.keyring.clone());
    let (case, other) = (Uuid::now_v7(), Uuid::now_v7());
    log.writer.append(disclosing(case)).await.unwrap();
    assert_eq!(reads.record(read_of(case, epoch(&log, case).await)).await.unwrap(), ReadOutcome::Recorded);
    let evaluated = epoch(&log, case).await;
    log.writer.append(disclosing(case)).await.unwrap();
    // In one transaction with good ones, which are not held up.
    let (stale, good, unrelated) = tokio::join!(
        reads.record(read_of(case, evaluated)),
        reads.record(read_of(case, evaluated + 1)),
        reads.record(read_of(other, 0)),
    );
    assert_eq!(stale.unwrap(), ReadOutcome::Stale);
    assert_eq!((good.unwrap(), unrelated.unwrap()), (ReadOutcome::Recorded, ReadOutcome::Recorded));
    assert_eq!((recorded(&log, case).await, recorded(&log, other).await), (2, 1));
}

#[tokio::test]
async fn the_records_of_one_answer_are_committed_together_or_not_at_all() {
    let log = Log::fresh().await;
    let reads = ReadRecords::start(log.database.clone(), log.keyring.clone());
    let (case, other) = (Uuid::now_v7(), Uuid::now_v7());
    log.writer.append(disclosing(case)).await.unwrap();
    let evaluated = epoch(&log, case).await;
    let answer = |epoch| vec![read_of(other, 0), read_of(case, epoch)];
    assert_eq!(reads.record_all(answer(evaluated - 1)).await.unwrap(), ReadOutcome::Stale);
    assert_eq!((recorded(&log, case).await, recorded(&log, other).await), (0, 0));
    assert_eq!(reads.record_all(answer(evaluated)).await.unwrap(), ReadOutcome::Recorded);
    assert_eq!((recorded(&log, case).await, recorded(&log, other).await), (1, 1));
    assert_eq!(reads.record_all(Vec::new()).await.unwrap(), ReadOutcome::Recorded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_is_recorded_under_an_epoch_after_its_end_was_acknowledged() {
    const ENDINGS: u64 = 40;
    let log = Log::fresh().await;
    let case = Uuid::now_v7();
    log.writer.append(disclosing(case)).await.unwrap();
    let ending = async {
        for _ in 0..ENDINGS {
            log.writer.append(disclosing(case)).await.unwrap();
        }
    };
    let reading = join_all((0..4).map(|_| {
        let process = log.another_process();
        let reads = ReadRecords::start(process.database.clone(), process.keyring.clone());
        async move {
            let mut counts = (0u64, 0u64);
            loop {
                let before = epoch(&process, case).await;
                match reads.record(read_of(case, before)).await.unwrap() {
                    ReadOutcome::Recorded => counts.0 += 1,
                    ReadOutcome::Stale => {
                        counts.1 += 1;
                        assert!(epoch(&process, case).await > before, "stale only because it had changed");
                    }
                }
                if before > ENDINGS {
                    return counts;
                }
            }
        }
    }));
    let ((), counts) = within("endings and reads", async { tokio::join!(ending, reading) }).await;
    let served: u64 = counts.iter().map(|c| c.0).sum();
    assert_eq!(recorded(&log, case).await as u64, served, "on record: what was served, nothing else");
    // An epoch that has ended serves nothing any more.
    let reads = ReadRecords::start(log.database.clone(), log.keyring.clone());
    for ended in 0..=ENDINGS {
        assert_eq!(reads.record(read_of(case, ended)).await.unwrap(), ReadOutcome::Stale, "{ended}");
    }
}

#[tokio::test]
async fn a_read_record_waits_for_the_end_of_a_disclosure_that_is_being_committed() {
    let log = Log::fresh().await;
    let reads = ReadRecords::start(log.database.clone(), log.keyring.clone());
    let case = Uuid::now_v7();
    log.writer.append(disclosing(case)).await.unwrap();
    // An append that has updated the row and has not committed.
    let ending = log.database.connect().await.unwrap();
    ending
        .batch_execute(&format!(
            "BEGIN; UPDATE log.disclosures SET epoch = epoch + 1 WHERE case_id = '{case}'"
        ))
        .await
        .unwrap();
    let waiting = tokio::spawn(async move { reads.record(read_of(case, 1)).await });
    within("the read to wait", async {
        while lock_waits(&log).await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    ending.batch_execute("COMMIT").await.unwrap();
    assert_eq!(within("the read", waiting).await.unwrap().unwrap(), ReadOutcome::Stale);
}
