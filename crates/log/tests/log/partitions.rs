//! The months of the reads on record: there before they begin, and again after they were missed.

use tasuki_log::{ReadEntry, ReadRecords, migrate};
use uuid::Uuid;

use crate::common::{Log, within};

/// Partitions by name, with their bounds in UTC and how many rows each holds.
async fn partitions(log: &Log) -> Vec<(String, String, i64)> {
    partitions_seen_by(&log.database.connect().await.unwrap()).await
}

async fn partitions_seen_by(client: &tokio_postgres::Client) -> Vec<(String, String, i64)> {
    client.batch_execute("SET TIME ZONE 'UTC'").await.unwrap();
    let names = "SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits AS i \
                 JOIN pg_class AS c ON c.oid = i.inhrelid \
                 WHERE i.inhparent = 'log.reads'::regclass ORDER BY 1";
    let mut found = Vec::new();
    for row in client.query(names, &[]).await.unwrap() {
        let name: String = row.get(0);
        let count = format!("SELECT count(*) FROM log.{name}");
        let rows = client.query_one(&count, &[]).await.unwrap().get(0);
        found.push((name, row.get(1), rows));
    }
    found
}

fn insert(read_at: &str) -> String {
    format!(
        "INSERT INTO log.reads VALUES (gen_random_uuid(), {read_at}, gen_random_uuid(), gen_random_uuid(), \
                                       'support', 'Test/Read', '{{}}', '{{}}', '{{}}', '{{}}', 1);"
    )
}

/// As after months in which nobody made partitions.
const MISSED: &str = "DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT inhrelid::regclass::text FROM pg_inherits
                WHERE inhparent = 'log.reads'::regclass AND inhrelid <> 'log.reads_default'::regclass LOOP
        EXECUTE 'DROP TABLE ' || name;
    END LOOP; END $$;";

#[tokio::test]
async fn a_process_starts_after_months_without_partitions_and_no_row_is_lost() {
    let log = Log::fresh().await;
    let old = [insert("'2025-12-31 23:59:59.999999+00'"), insert("'2026-01-01 00:00:00+00'")].concat();
    log.sql(&format!("{MISSED}{old}{}{}", insert("now()"), insert("now() + interval '1 month'"))).await;
    assert_eq!(partitions(&log).await.len(), 1);
    migrate(&log.database).await.unwrap();
    let found = partitions(&log).await;
    // The default one, this month, the two that follow, and the two of the old rows.
    assert_eq!(found.len(), 6, "{found:?}");
    let rows = |name: &str| found.iter().find(|p| p.0 == name).unwrap_or_else(|| panic!("{found:?}")).2;
    assert_eq!((rows("reads_default"), rows("reads_2025_12"), rows("reads_2026_01")), (0, 1, 1));
    assert_eq!(found.iter().map(|p| p.2).sum::<i64>(), 4, "{found:?}");
    migrate(&log.database).await.unwrap();
    assert_eq!(partitions(&log).await, found);
}

#[tokio::test]
async fn months_begin_in_utc_whatever_the_time_zone_of_the_session() {
    let log = Log::fresh().await;
    log.sql(&format!(
        "{MISSED} DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone TO ''Asia/Tokyo''', \
         current_database()); END $$;"
    ))
    .await;
    // A connection that has the setting.
    migrate(&tasuki_log::Database::new(&log.url, 1).unwrap()).await.unwrap();
    let found = partitions(&log).await;
    assert_eq!(found.len(), 4, "{found:?}");
    for (name, bounds, _) in found.iter().filter(|p| p.0 != "reads_default") {
        let month = name.trim_start_matches("reads_").replace('_', "-");
        assert!(bounds.contains(&format!("FROM ('{month}-01 00:00:00+00') TO (")), "{name} {bounds}");
    }
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
        policies: Vec::new(),
    }
}

/// One connection for all looks: a new one for each would exhaust a slow server.
async fn until_made(log: &Log) {
    let client = log.database.connect().await.unwrap();
    within("partitions", async {
        while partitions_seen_by(&client).await.len() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_process_that_runs_makes_the_partitions_too() {
    let log = Log::fresh().await;
    log.sql(MISSED).await;
    let reads = ReadRecords::start(log.database.clone(), log.keyring.clone());
    reads.record(read()).await.unwrap();
    until_made(&log).await;
}

#[tokio::test]
async fn a_process_that_came_at_a_bad_time_makes_the_partitions_a_little_later() {
    let log = Log::fresh().await;
    log.sql(MISSED).await;
    let mut writing = log.database.connect().await.unwrap();
    let transaction = writing.transaction().await.unwrap();
    transaction.batch_execute("LOCK TABLE log.reads_default IN ROW EXCLUSIVE MODE").await.unwrap();
    let reads = ReadRecords::start(log.database.clone(), log.keyring.clone());
    reads.record(read()).await.unwrap();
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' \
                 AND relation = 'log.reads_default'::regclass";
    for waiting in [1_i64, 0] {
        within("the try that gives up", async {
            while transaction.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) != waiting {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    transaction.rollback().await.unwrap();
    until_made(&log).await;
}

#[tokio::test]
async fn somebody_who_reads_the_table_for_long_keeps_no_process_from_starting() {
    let log = Log::fresh().await;
    log.sql(&format!("{MISSED}{}", insert("now()"))).await;
    let mut reading = log.database.connect().await.unwrap();
    let transaction = reading.transaction().await.unwrap();
    transaction.query("SELECT FROM log.reads", &[]).await.unwrap();
    let other = tasuki_log::Database::new(&log.url, 1).unwrap();
    let migrating = async { within("the start", migrate(&other)).await.unwrap() };
    // The reader is not idle: its session asks on and on.
    let asking = async {
        loop {
            transaction.query("SELECT pg_sleep(0.1)", &[]).await.unwrap();
        }
    };
    tokio::select! {
        () = migrating => {}
        () = asking => {}
    }
    transaction.rollback().await.unwrap();
    migrate(&log.database).await.unwrap();
    assert_eq!(partitions(&log).await.len(), 4);
}
