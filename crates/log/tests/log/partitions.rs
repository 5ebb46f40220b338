//! The months of the reads on record: there before they begin, and again after they were missed.

use tasuki_log::{ReadEntry, ReadRecords, migrate};
use uuid::Uuid;

use crate::common::{Log, within};

/// Partitions by name, with their bounds in UTC and how many rows each holds.
async fn partitions(log: &Log) -> Vec<(String, String, i64)> {
    let client = log.database.connect().await.unwrap();
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

#[tokio::test]
async fn a_process_that_runs_makes_the_partitions_too() {
    let log = Log::fresh().await;
    log.sql(MISSED).await;
    let reads = ReadRecords::start(log.database.clone());
    let entry = ReadEntry {
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
    };
    reads.record(entry).await.unwrap();
    within("partitions", async {
        while partitions(&log).await.len() < 4 {
            tokio::task::yield_now().await;
        }
    })
    .await;
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
