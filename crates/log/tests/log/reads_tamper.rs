//! P9 of the reads on record: whoever edits them is found, and where, whatever process recorded them.

use futures::future::join_all;
use tasuki_log::reads::ReadOutcome;
use tasuki_log::verify::{Defect, verify};
use tasuki_log::verify_reads::{BadRead, ReadsReport, verify_reads};
use tasuki_log::{Keyring, LogError, ReadEntry, ReadRecords, anchor_reads, drop_month};
use uuid::Uuid;

use crate::common::{Log, beginning, within};

fn read() -> ReadEntry {
    ReadEntry {
        agency: Uuid::now_v7(),
        post: Uuid::now_v7(),
        purpose: "support".into(),
        method: "Test/Read",
        cases: vec![(Uuid::now_v7(), 0)],
        events: vec![Uuid::now_v7(), Uuid::now_v7()],
        fact_keys: vec!["allergies".into(), "日本".into()],
        grants: vec![Uuid::now_v7()],
        policy_version: 1,
        policies: Vec::new(),
    }
}

async fn check(log: &Log) -> ReadsReport {
    verify_reads(&log.database, log.keyring.public_key(), |_| {}).await.unwrap()
}

/// Two writers of nine records each: four batches of one, one of three, an anchor that the log names, and two batches
/// after it. `$w` in an edit is the first.
async fn untouched() -> (Log, Uuid) {
    let log = Log::fresh().await;
    // Never dropped: a task that ends anchors what it has recorded, and these tests say when that happens.
    let tasks: &[ReadRecords; 2] =
        Box::leak(Box::new([0, 1].map(|_| ReadRecords::start(log.database.clone(), log.keyring.clone()))));
    for reads in tasks {
        for _ in 0..4 {
            assert_eq!(reads.record(read()).await.unwrap(), ReadOutcome::Recorded);
        }
        reads.record_all(vec![read(), read(), read()]).await.unwrap();
    }
    anchor_reads(&log.database, &log.keyring).await.unwrap();
    log.writer.append(beginning()).await.unwrap();
    for reads in tasks {
        reads.record(read()).await.unwrap();
        reads.record(read()).await.unwrap();
    }
    let report = check(&log).await;
    assert_eq!(report, ReadsReport { reads: 18, writers: 2, anchors: 2, first_bad: None });
    let client = log.database.connect().await.unwrap();
    let first = client.query_one("SELECT writer FROM log.reads ORDER BY writer LIMIT 1", &[]).await.unwrap();
    (log, first.get(0))
}

/// Makes every hash of the writer from `first` on fit what the records now say: what an intruder with the tables would
/// do. Written out from what the ledger says of itself, not with its code.
fn rehash(writer: Uuid, first: u64) -> String {
    let ids = |column: &str| {
        format!(
            "int8send(cardinality(r.{column})) || coalesce((SELECT string_agg(uuid_send(x), ''::bytea ORDER BY n) \
             FROM unnest(r.{column}) WITH ORDINALITY AS t(x, n)), ''::bytea)"
        )
    };
    let text = |value: &str| format!("int8send(octet_length({value})) || convert_to({value}, 'UTF8')");
    format!(
        "DO $$ DECLARE r record; previous bytea; fresh bytea; BEGIN
           SELECT coalesce((SELECT hash FROM log.reads WHERE writer = '{writer}' AND number = {first} - 1),
                           decode(repeat('00', 32), 'hex')) INTO previous;
           FOR r IN SELECT * FROM log.reads WHERE writer = '{writer}' AND number >= {first} ORDER BY number LOOP
             fresh := sha256('tasuki read 1'::bytea || previous || uuid_send(r.writer) || int8send(r.number)
               || uuid_send(r.read_id) || int8send((extract(epoch FROM r.read_at) * 1000000)::int8)
               || uuid_send(r.agency_id) || uuid_send(r.post_id) || {purpose} || {method} || {cases} || {events}
               || int8send(cardinality(r.fact_keys)) || coalesce((SELECT string_agg({key}, ''::bytea ORDER BY n)
                  FROM unnest(r.fact_keys) WITH ORDINALITY AS t(x, n)), ''::bytea)
               || {grants} || int4send(r.policy_version));
             UPDATE log.reads SET hash = fresh WHERE read_id = r.read_id;
             previous := fresh;
           END LOOP;
           UPDATE log.read_writers SET hash = previous WHERE writer = '{writer}'; END $$;",
        purpose = text("r.purpose"),
        method = text("r.method"),
        cases = ids("case_ids"),
        events = ids("event_ids"),
        key = text("x"),
        grants = ids("grant_ids"),
    )
}

#[tokio::test]
async fn p9_tamper_of_reads_is_located() {
    const COLUMNS: &str = "read_id, read_at, agency_id, post_id, purpose, method, case_ids, event_ids, fact_keys, \
                           grant_ids, policy_version, writer, number, hash, signature";
    let copied = |changes: &str| {
        format!(
            "INSERT INTO log.reads ({COLUMNS}) SELECT 'ffffffff-ffff-4fff-8fff-ffffffffffff', read_at, agency_id, post_id, purpose, method, \
             case_ids, event_ids, fact_keys, grant_ids, policy_version, {changes} \
             FROM log.reads WHERE writer = '$w' AND number = 4;"
        )
    };
    let mut cases: Vec<(String, String, u64, Defect)> = [
        "agency_id = gen_random_uuid()",
        "post_id = gen_random_uuid()",
        "purpose = 'other'",
        "method = 'Other/Read'",
        "case_ids = '{}'",
        "event_ids = event_ids[2:2]",
        "fact_keys = array_append(fact_keys, 'x')",
        "grant_ids = '{}'",
        "policy_version = 2",
        "read_at = read_at + interval '1 microsecond'",
        "read_id = gen_random_uuid()",
        "hash = set_byte(hash, 0, get_byte(hash, 0) # 1)",
        "hash = NULL",
    ]
    .iter()
    .map(|set| {
        let sql = format!("UPDATE log.reads SET {set} WHERE writer = '$w' AND number = 4;");
        (format!("flipped: {set}"), sql, 4, Defect::Hash)
    })
    .collect();
    let purpose = "UPDATE log.reads SET purpose = 'other' WHERE writer = '$w' AND number = 3;";
    let unsigned = "UPDATE log.reads SET signature = NULL WHERE writer = '$w' AND number > 2;";
    let more: Vec<(&str, String, u64, Defect)> = vec![
        ("removed", "DELETE FROM log.reads WHERE writer = '$w' AND number = 4;".into(), 4, Defect::Gap),
        ("the first removed", "DELETE FROM log.reads WHERE writer = '$w' AND number = 1;".into(), 1, Defect::Gap),
        (
            "removed and the rest moved up",
            "DELETE FROM log.reads WHERE writer = '$w' AND number = 4;
             UPDATE log.reads SET number = number - 1 WHERE writer = '$w' AND number > 4;".into(),
            4,
            Defect::Hash,
        ),
        (
            "reordered",
            "UPDATE log.reads SET number = 6 - number WHERE writer = '$w' AND number IN (2, 4);".into(),
            2,
            Defect::Hash,
        ),
        ("inserted twice", copied("writer, number, hash, signature"), 5, Defect::Gap),
        ("inserted at the end", copied("writer, 10, hash, signature"), 10, Defect::Hash),
        (
            "another signature",
            "UPDATE log.reads SET signature = set_byte(signature, 0, get_byte(signature, 0) # 1)
             WHERE writer = '$w' AND number = 3;".into(),
            3,
            Defect::Head,
        ),
        ("the end cut off before the anchor", "DELETE FROM log.reads WHERE writer = '$w' AND number > 5;".into(), 6,
            Defect::Truncated),
        (
            "the end cut off, and what the writer had come to",
            "DELETE FROM log.reads WHERE writer = '$w' AND number > 4;
             UPDATE log.read_writers AS w SET number = 4, hash = r.hash FROM log.reads AS r
             WHERE w.writer = '$w' AND r.writer = '$w' AND r.number = 4;".into(),
            5,
            Defect::Truncated,
        ),
        (
            "the end cut off in the midst of a batch, and what is known of it",
            "DELETE FROM log.reads WHERE writer = '$w' AND number > 6; DELETE FROM log.read_anchors;
             DELETE FROM log.read_writers; UPDATE log.heads SET reads_number = 0".into(),
            5,
            Defect::Unsigned,
        ),
        ("the chain made anew", format!("{purpose} REHASH3"), 3, Defect::Head),
        ("the chain made anew without signatures", format!("{purpose} {unsigned} REHASH3"), 7, Defect::Head),
        (
            "a writer removed",
            "DELETE FROM log.reads WHERE writer = '$w'; DELETE FROM log.read_writers WHERE writer = '$w';".into(),
            1,
            Defect::Truncated,
        ),
        (
            "an anchor altered",
            "UPDATE log.read_anchors SET writer_number = 4 WHERE writer = '$w'".into(),
            4,
            Defect::Beside("log.read_anchors"),
        ),
        (
            "a forged closing",
            "INSERT INTO log.read_closings SELECT writer, number, hash, '2020_01', signature, 'k' FROM log.reads
             WHERE writer = '$w' AND number = 4; DELETE FROM log.reads WHERE writer = '$w' AND number <= 4;".into(),
            1,
            Defect::Gap,
        ),
    ];
    cases.extend(more.into_iter().map(|(what, sql, number, defect)| (what.to_owned(), sql, number, defect)));
    let (log, writer) = untouched().await;
    let tables = ["reads", "read_writers", "read_anchors", "read_closings", "heads"];
    let keep = |t: &str| format!("CREATE TABLE keep.{t} AS TABLE log.{t};");
    let restore = |t: &str| format!("TRUNCATE log.{t}; INSERT INTO log.{t} SELECT * FROM keep.{t};");
    log.sql(&format!("CREATE SCHEMA keep; {}", tables.map(keep).concat())).await;
    for (what, sql, number, defect) in cases {
        log.sql(&tables.map(restore).concat()).await;
        assert_eq!(check(&log).await.first_bad, None, "before: {what}");
        log.sql(&sql.replace("REHASH3", &rehash(writer, 3)).replace("$w", &writer.to_string())).await;
        let found = check(&log).await.first_bad;
        assert_eq!(found, Some(BadRead { writer, number, defect }), "{what}");
    }
}

#[tokio::test]
async fn p9_a_read_that_nobody_chained_and_anchors_that_were_cut_off_are_found() {
    let (log, _) = untouched().await;
    log.sql(
        "INSERT INTO log.reads VALUES (gen_random_uuid(), now(), gen_random_uuid(), gen_random_uuid(), 'support', \
         'Test/Read', '{}', '{}', '{}', '{}', 1)",
    )
    .await;
    let found = check(&log).await.first_bad.unwrap();
    assert_eq!((found.writer, found.defect), (Uuid::nil(), Defect::Unchained));

    // The anchors and all that they say, made to fit: the log names the last of them.
    let (log, _) = untouched().await;
    log.sql("DELETE FROM log.read_anchors WHERE number = 2").await;
    let found = check(&log).await.first_bad.unwrap();
    assert_eq!((found.number, found.defect), (2, Defect::Beside("log.read_anchors")));
    // Who makes the log forget them as well, is found by the log's own walk.
    log.sql("UPDATE log.heads SET reads_number = 0, reads_hash = ''; DELETE FROM log.read_anchors").await;
    assert_eq!(check(&log).await.first_bad, None);
    let walked = verify(&log.database, log.keyring.public_key(), |_| {}).await.unwrap();
    assert_eq!(walked.first_bad, Some((1, Defect::Head)));
}

#[tokio::test]
async fn a_ledger_signed_with_another_key_is_found() {
    let (log, writer) = untouched().await;
    let forger = Keyring::generate().unwrap();
    let report = verify_reads(&log.database, forger.public_key(), |_| {}).await.unwrap();
    assert_eq!(report.first_bad.map(|bad| bad.defect), Some(Defect::Beside("log.read_anchors")));
    let reads = ReadRecords::start(log.database.clone(), forger);
    reads.record(read()).await.unwrap();
    let found = check(&log).await.first_bad.unwrap();
    assert!(found.writer != writer && found.number == 1 && found.defect == Defect::Head, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ledger_that_several_processes_write_verifies_while_it_grows() {
    const EACH: usize = 150;
    let log = Log::fresh().await;
    let case = Uuid::now_v7();
    let disclosing = || tasuki_log::Append { disclosures: vec![case], ..beginning() };
    log.writer.append(disclosing()).await.unwrap();
    let writing = join_all((0..3).map(|_| {
        let process = log.another_process();
        let reads = ReadRecords::start(process.database.clone(), process.keyring.clone());
        async move {
            let stale = join_all((0..EACH).map(|n| {
                // Some are stale, among others that are not, in the same statement.
                let entry = ReadEntry { cases: vec![(case, u64::from(n % 10 != 0))], ..read() };
                reads.record(entry)
            }));
            let stale =
                stale.await.into_iter().filter(|o| *o.as_ref().unwrap() == ReadOutcome::Stale).count();
            anchor_reads(&process.database, &process.keyring).await.unwrap();
            stale
        }
    }));
    let walking = async {
        loop {
            let report = check(&log).await;
            assert_eq!(report.first_bad, None);
            if report.reads as usize >= 3 * (EACH - EACH / 10) {
                return report;
            }
        }
    };
    let (stale, report) = within("writers and walks", async { tokio::join!(writing, walking) }).await;
    assert_eq!(stale, [EACH / 10; 3]);
    assert_eq!((report.reads as usize, report.writers), (3 * (EACH - EACH / 10), 3));
    assert!(check(&log).await.anchors >= 3);
}

/// Two months in the past, with the records of one writer moved into them, and a chain and signatures that fit.
async fn with_old_months() -> (Log, Uuid) {
    let (log, writer) = untouched().await;
    log.sql(
        "CREATE TABLE log.reads_2026_01 PARTITION OF log.reads FOR VALUES FROM ('2026-01-01 00:00:00+00') TO ('2026-02-01 00:00:00+00');
         CREATE TABLE log.reads_2026_02 PARTITION OF log.reads FOR VALUES FROM ('2026-02-01 00:00:00+00') TO ('2026-03-01 00:00:00+00');",
    )
    .await;
    (log, writer)
}

#[tokio::test]
async fn the_chain_goes_on_after_a_month_was_dropped() {
    let (log, writer) = with_old_months().await;
    // An empty month leaves nothing to close; the oldest goes first, and none that has not ended.
    let refused = drop_month(&log.database, &log.keyring, "2026_02").await;
    assert!(matches!(refused, Err(LogError::Malformed { field: "month" })), "{refused:?}");
    assert_eq!(drop_month(&log.database, &log.keyring, "2026_01").await.unwrap(), 0);
    assert_eq!(drop_month(&log.database, &log.keyring, "2026_02").await.unwrap(), 0);
    let refused = drop_month(&log.database, &log.keyring, "2026_03").await;
    assert!(matches!(refused, Err(LogError::Malformed { field: "month" })), "{refused:?}");

    // This month, as if it had ended: only its name says when it was.
    let client = log.database.connect().await.unwrap();
    let month: String =
        client.query_one("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')", &[]).await.unwrap().get(0);
    log.sql(&format!("ALTER TABLE log.reads_{month} RENAME TO reads_2026_01")).await;
    assert_eq!(drop_month(&log.database, &log.keyring, "2026_01").await.unwrap(), 18);
    assert_eq!(check(&log).await, ReadsReport { reads: 0, writers: 2, anchors: 2, first_bad: None });

    // Without its closing, or with another, it is missed.
    log.sql("UPDATE log.read_closings SET number = number - 1").await;
    let found = check(&log).await.first_bad;
    assert_eq!(found, Some(BadRead { writer, number: 1, defect: Defect::Truncated }));
}

#[tokio::test]
async fn a_month_is_not_closed_over_an_edit() {
    let (log, _) = with_old_months().await;
    log.sql("UPDATE log.reads SET purpose = 'other' WHERE number = 2").await;
    let refused = drop_month(&log.database, &log.keyring, "2026_01").await;
    assert!(matches!(refused, Err(LogError::Tampered)), "{refused:?}");
}

#[tokio::test]
async fn a_writer_goes_on_behind_its_closing() {
    let log = Log::fresh().await;
    let reads = ReadRecords::start(log.database.clone(), log.keyring.clone());
    for _ in 0..3 {
        reads.record(read()).await.unwrap();
    }
    let client = log.database.connect().await.unwrap();
    let month: String =
        client.query_one("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')", &[]).await.unwrap().get(0);
    log.sql(&format!("ALTER TABLE log.reads_{month} RENAME TO reads_2026_01")).await;
    assert_eq!(drop_month(&log.database, &log.keyring, "2026_01").await.unwrap(), 3);
    for _ in 0..2 {
        reads.record(read()).await.unwrap();
    }
    let report = check(&log).await;
    assert_eq!((report.reads, report.writers, report.first_bad), (2, 1, None));
    log.sql("DELETE FROM log.reads WHERE number = 4").await;
    assert_eq!(check(&log).await.first_bad.map(|bad| (bad.number, bad.defect)), Some((4, Defect::Gap)));
}
