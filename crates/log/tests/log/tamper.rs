//! P9: whoever edits the tables is found, and where.

use futures::future::join_all;
use tasuki_log::audit::{Kept, LogHead, log_head};
use tasuki_log::verify::{Defect, Report, verify};
use tasuki_log::verify_reads::verify_reads;
use tasuki_log::{Keyring, ReadEntry, ReadRecords, anchor_reads};
use uuid::Uuid;

use crate::common::{Log, beginning, command, consultation, within};

const ROWS: u64 = 12;

/// Twelve rows, each with a signed head of its own; the even ones with sealed parts.
async fn untouched() -> Log {
    let log = Log::fresh().await;
    for i in 1..=ROWS {
        let next = if i % 2 == 0 { command(vec![consultation(Uuid::now_v7(), 1)]) } else { beginning() };
        assert_eq!(log.writer.append(next).await.unwrap().last_position, i);
    }
    let report = check(&log).await;
    assert_eq!(report, Report { rows: ROWS, heads: ROWS, first_bad: None });
    log
}

async fn check(log: &Log) -> Report {
    verify(&log.database, log.keyring.public_key(), |_| {}).await.unwrap()
}

/// Makes every row's hash from `first` on fit what the rows now say: what an intruder with the tables would do.
fn rehash(first: u64) -> String {
    format!(
        "DO $$ DECLARE r record; previous bytea; fresh bytea; BEGIN
           SELECT coalesce((SELECT hash FROM log.events WHERE position = {first} - 1), decode(repeat('00', 32), 'hex'))
             INTO previous;
           FOR r IN SELECT * FROM log.events WHERE position >= {first} ORDER BY position LOOP
             fresh := sha256('tasuki row 1'::bytea || previous || int8send(r.position) || int8send(r.epoch)
               || int8send(r.recorded_at) || int8send(length(r.header)::bigint) || r.header
               || int8send(length(r.parts)::bigint) || r.parts);
             UPDATE log.events SET hash = fresh WHERE position = r.position;
             previous := fresh;
           END LOOP; END $$;"
    )
}

const FLIP_HEADER: &str =
    "UPDATE log.events SET header = set_byte(header, 20, get_byte(header, 20) # 1) WHERE position = 6";

#[tokio::test]
async fn p9_tamper_is_located() {
    let move_up = "UPDATE log.events SET position = position + 1000 WHERE position >= 6;
                   UPDATE log.events SET position = position - 999 WHERE position >= 1000;";
    let forged =
        "INSERT INTO log.events SELECT 6, epoch, stream_kind, gen_random_uuid(), 1, gen_random_uuid(),
                  recorded_at, header, parts, hash FROM log.events WHERE position = 5;";
    let forged_at_the_end = forged.replace("SELECT 6", "SELECT 13").replace("position = 5", "position = 12");
    let rehashed = |sql: &str| format!("{sql}; {}", rehash(6));
    let with_heads = |sql: &str| {
        let heads =
            "UPDATE log.heads SET hash = e.hash FROM log.events AS e WHERE e.position = heads.position;";
        format!("{} {heads}", rehashed(sql))
    };
    let cases: Vec<(&str, String, u64, Defect)> = vec![
        ("a header byte flipped", FLIP_HEADER.into(), 6, Defect::Hash),
        (
            "a part byte flipped",
            "UPDATE log.events SET parts = set_byte(parts, 40, get_byte(parts, 40) # 1) WHERE position = 6".into(),
            6,
            Defect::Hash,
        ),
        (
            "the recorded time moved",
            "UPDATE log.events SET recorded_at = recorded_at + 1 WHERE position = 6".into(),
            6,
            Defect::Hash,
        ),
        ("the epoch raised", "UPDATE log.events SET epoch = 2 WHERE position = 6".into(), 6, Defect::Hash),
        ("a row removed", "DELETE FROM log.events WHERE position = 6".into(), 6, Defect::Gap),
        ("the first row removed", "DELETE FROM log.events WHERE position = 1".into(), 1, Defect::Gap),
        (
            "a row removed and the rest moved up",
            "DELETE FROM log.events WHERE position = 6;
             UPDATE log.events SET position = position + 1000 WHERE position > 6;
             UPDATE log.events SET position = position - 1001 WHERE position > 1000".into(),
            6,
            Defect::Hash,
        ),
        (
            "two rows swapped",
            "UPDATE log.events SET position = -1 WHERE position = 6;
             UPDATE log.events SET position = 6 WHERE position = 9;
             UPDATE log.events SET position = 9 WHERE position = -1".into(),
            6,
            Defect::Hash,
        ),
        ("a row put before the first", forged.replace("SELECT 6", "SELECT 0"), 1, Defect::Gap),
        ("a forged row put in between", format!("{move_up} {forged}"), 6, Defect::Hash),
        ("a forged row put at the end", forged_at_the_end.clone(), 13, Defect::Hash),
        (
            "a forged row at the end whose hash fits",
            format!("{forged_at_the_end} {}", rehash(13)),
            13,
            // It is the row's own columns that give it away: they are not those of the header it copied.
            Defect::Header,
        ),
        (
            "a version column changed",
            "UPDATE log.events SET version = 7 WHERE position = 6".into(),
            6,
            Defect::Header,
        ),
        (
            "a stream column changed",
            "UPDATE log.events SET stream_id = gen_random_uuid() WHERE position = 6".into(),
            6,
            Defect::Header,
        ),
        (
            "a kind column changed",
            "UPDATE log.events SET stream_kind = 1 WHERE position = 6".into(),
            6,
            Defect::Header,
        ),
        (
            "an event id column changed",
            "UPDATE log.events SET event_id = gen_random_uuid() WHERE position = 6".into(),
            6,
            Defect::Header,
        ),
        (
            "the end cut off",
            "DELETE FROM log.events WHERE position > 8".into(),
            9,
            Defect::Truncated,
        ),
        ("everything cut off", "DELETE FROM log.events".into(), 1, Defect::Truncated),
        (
            "the end rewritten without its heads",
            "DELETE FROM log.heads WHERE position > 8".into(),
            9,
            Defect::Unsigned,
        ),
        (
            "a head's hash forged",
            "UPDATE log.heads SET hash = sha256('x') WHERE position = 6".into(),
            6,
            Defect::Head,
        ),
        (
            "a head's signature forged",
            "UPDATE log.heads SET signature = set_byte(signature, 0, get_byte(signature, 0) # 1) WHERE position = 6"
                .into(),
            6,
            Defect::Head,
        ),
        (
            "a head moved to another place",
            "DELETE FROM log.heads WHERE position = 6; UPDATE log.heads SET position = 6 WHERE position = 7".into(),
            6,
            Defect::Head,
        ),
        ("the chain made anew from the edit on", rehashed("UPDATE log.events SET recorded_at = recorded_at + 1 WHERE position = 6"), 6, Defect::Head),
        (
            "the chain and the heads made anew without the key",
            with_heads("UPDATE log.events SET recorded_at = recorded_at + 1 WHERE position = 6"),
            6,
            Defect::Head,
        ),
        (
            "a time moved back, the chain made anew",
            rehashed("UPDATE log.events SET recorded_at = 1 WHERE position = 6"),
            6,
            Defect::Order,
        ),
        (
            "a version left out, the chain and the columns made anew",
            // Field 6 of the header is the version: tag 0x30, then 1 becomes 2.
            rehashed(
                "UPDATE log.events SET version = 2, header = overlay(header PLACING '\\x3002'::bytea
                 FROM position('\\x30013a'::bytea IN header) FOR 2) WHERE position = 6",
            ),
            6,
            Defect::Version,
        ),
    ];
    for (what, sql, position, defect) in cases {
        let log = untouched().await;
        log.sql(&sql).await;
        let report = check(&log).await;
        assert_eq!(report.first_bad, Some((position, defect)), "{what}");
    }
}

#[tokio::test]
async fn an_edit_inside_a_batch_is_found_at_the_head_of_its_batch_when_the_chain_was_made_anew() {
    let log = Log::fresh().await;
    log.writer.append(beginning()).await.unwrap();
    let stream = Uuid::now_v7();
    log.writer.append(command((1..=5).map(|version| consultation(stream, version)).collect())).await.unwrap();
    log.writer.append(beginning()).await.unwrap();
    assert_eq!(check(&log).await, Report { rows: 7, heads: 3, first_bad: None });
    log.sql(&format!("UPDATE log.events SET recorded_at = recorded_at + 0, parts = parts || '\\x00' WHERE position = 3; {}", rehash(3)))
        .await;
    assert_eq!(check(&log).await.first_bad, Some((6, Defect::Head)));
}

#[tokio::test]
async fn a_chain_made_anew_and_signed_with_another_key_is_found_at_its_first_head() {
    let log = untouched().await;
    // An intruder's own installation writes the same number of rows and signs them well.
    let forger = Keyring::generate().unwrap();
    assert_ne!(forger.public_key(), log.keyring.public_key());
    let report = verify(&log.database, forger.public_key(), |_| {}).await.unwrap();
    assert_eq!(report.first_bad, Some((1, Defect::Head)));
    let process = Log::process(&log.url, &forger, Default::default());
    process.writer.append(beginning()).await.unwrap();
    assert_eq!(check(&log).await.first_bad, Some((ROWS + 1, Defect::Head)));
}

/// What only an insider can do, who holds the keys: the rows from `first` on are other ones, well chained and signed.
async fn rewritten_from(log: &Log, first: u64) {
    let removed = |table: &str, column: &str| {
        format!(
            "DELETE FROM {table} WHERE {column} IN (SELECT stream_id FROM log.events WHERE position >= {first});"
        )
    };
    log.sql(&format!(
        "{} {} DELETE FROM log.heads WHERE position >= {first}; DELETE FROM log.events WHERE position >= {first};",
        removed("log.streams", "stream_id"),
        removed("log.items", "stream_id")
    ))
    .await;
    for _ in first..=ROWS + 1 {
        log.writer.append(beginning()).await.unwrap();
    }
}

#[tokio::test]
async fn p9_a_rewrite_of_the_whole_suffix_by_who_holds_the_keys_is_found_by_the_head_that_an_auditor_kept() {
    let log = untouched().await;
    let kept = async |head: &LogHead| head.kept_by(&log.database, log.keyring.public_key()).await.unwrap();
    let head = log_head(&log.database).await.unwrap().unwrap();
    assert_eq!((head.position, kept(&head).await), (ROWS, Kept::Whole));
    let forged = LogHead { hash: vec![0; 32], ..head.clone() };
    assert_eq!(kept(&forged).await, Kept::Forged);
    log.writer.append(beginning()).await.unwrap();
    assert_eq!(kept(&head).await, Kept::Whole, "the log has grown");

    rewritten_from(&log, 6).await;
    assert_eq!(check(&log).await.first_bad, None, "from inside, nothing is to be seen");
    assert_eq!(kept(&head).await, Kept::Rewritten);
}

#[tokio::test]
async fn p9_reads_on_record_that_were_made_anew_are_found_by_the_head_that_an_auditor_kept() {
    let log = untouched().await;
    let record = async || {
        let reads = ReadRecords::start(log.database.clone(), log.keyring.clone());
        let (agency, post) = (Uuid::now_v7(), Uuid::now_v7());
        let entry = ReadEntry {
            agency,
            post,
            purpose: "support".into(),
            method: "Test/Read",
            cases: Vec::new(),
            events: Vec::new(),
            fact_keys: Vec::new(),
            grants: Vec::new(),
            policy_version: 1,
            policies: Vec::new(),
        };
        reads.record(entry).await.unwrap();
        anchor_reads(&log.database, &log.keyring).await.unwrap();
    };
    record().await;
    let head = log_head(&log.database).await.unwrap().unwrap();
    assert_eq!(head.anchor.number, 1);
    log.sql("DELETE FROM log.reads; DELETE FROM log.read_writers; DELETE FROM log.read_anchors").await;
    record().await;
    let inside = verify_reads(&log.database, log.keyring.public_key(), |_| {}).await.unwrap();
    assert_eq!((inside.first_bad, inside.reads), (None, 1), "from inside, nothing is to be seen");
    let kept = head.kept_by(&log.database, log.keyring.public_key()).await.unwrap();
    assert_eq!(kept, Kept::ReadsRewritten);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_grows_during_the_walk_is_found_whole() {
    let log = Log::fresh().await;
    let other = log.another_process();
    let writing = async {
        for _ in 0..40 {
            for answer in join_all((0..20).map(|_| log.writer.append(beginning()))).await {
                answer.unwrap();
            }
        }
    };
    let walking = async {
        let mut pages = 0;
        loop {
            let report = verify(&other.database, other.keyring.public_key(), |_| pages += 1).await.unwrap();
            assert_eq!(report.first_bad, None);
            if report.rows >= 800 {
                return;
            }
        }
    };
    within("writer and walks", async { tokio::join!(writing, walking) }).await;
}

#[tokio::test]
async fn p9_edits_of_the_tables_beside_the_events_are_located_too() {
    let of = |table: &str, row: u64| match table {
        "log.streams" => format!("stream_id = (SELECT stream_id FROM log.events WHERE position = {row})"),
        "log.stream_keys" => format!("stream_id = (SELECT stream_id FROM log.events WHERE position = {row})"),
        _ => format!("item_id = (SELECT stream_id FROM log.events WHERE position = {row})"),
    };
    for (table, edit) in [
        ("log.streams", "DELETE FROM"),
        ("log.items", "DELETE FROM"),
        ("log.stream_keys", "DELETE FROM"),
        ("log.items", "UPDATE log.items SET stream_id = gen_random_uuid() FROM (SELECT 1) one"),
        ("log.streams", "UPDATE log.streams SET version = 0 FROM (SELECT 1) one"),
    ] {
        let log = untouched().await;
        let rows = of(table, 8);
        match edit {
            "DELETE FROM" => log.sql(&format!("DELETE FROM {table} WHERE {rows}")).await,
            update => log.sql(&format!("{update} WHERE {rows}")).await,
        }
        let found = check(&log).await.first_bad;
        assert_eq!(found, Some((8, Defect::Beside(table))), "{edit} {table}");
    }
}
