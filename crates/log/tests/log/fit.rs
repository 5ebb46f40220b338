//! A log knows the keyring that it was begun with, and lets no other one near.

use tasuki_log::{Database, Keyring, LogError, begin, migrate};
use tasuki_standalone::Postgres;
use uuid::Uuid;

use crate::common::{Log, beginning, command, consultation};

async fn refused(log: &Log, keyring: &Keyring) -> &'static str {
    match begin(&log.database, &log.database, keyring).await {
        Err(LogError::OtherKeyring { key }) => key,
        other => panic!("{other:?}"),
    }
}

/// The first keyring with one line of the second.
fn mixed(first: &Keyring, second: &Keyring, line: &str) -> Keyring {
    let (first, second) = (first.to_text(), second.to_text());
    let lines = first.lines().zip(second.lines());
    let text: Vec<&str> = lines.map(|(a, b)| if a.starts_with(line) { b } else { a }).collect();
    Keyring::from_text(&text.join("\n")).unwrap()
}

async fn empty() -> Database {
    let postgres = Postgres::shared().await.unwrap();
    let name = format!("log_{}", Uuid::new_v4().simple());
    let database = Database::new(&postgres.create_database(&name).await.unwrap(), 8).unwrap();
    migrate(&database).await.unwrap();
    database
}

#[tokio::test]
async fn the_first_keyring_is_that_of_the_log_and_every_other_one_is_refused() {
    let log = Log::fresh().await;
    let other = Keyring::generate().unwrap();
    begin(&log.database, &log.database, &log.keyring).await.unwrap();
    for (line, key) in [("master", "master"), ("signing", "signing"), ("digest", "digest")] {
        assert_eq!(refused(&log, &mixed(&log.keyring, &other, line)).await, key);
    }
    let text = LogError::OtherKeyring { key: "master" }.to_string();
    assert!(text.contains("keyring") && text.contains("copy"), "{text}");
}

#[tokio::test]
async fn of_keyrings_that_come_to_an_empty_log_at_once_one_is_let_in() {
    let log = empty().await;
    let keyrings = [(); 4].map(|()| Keyring::generate().unwrap());
    let results = futures::future::join_all(keyrings.iter().map(|k| begin(&log, &log, k))).await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "{results:?}");
}

#[tokio::test]
async fn an_empty_key_store_is_not_taken_for_that_of_a_log_with_sealed_parts() {
    let other = Keyring::generate().unwrap();
    let sealed = Log::fresh().await;
    sealed.writer.append(command(vec![consultation(Uuid::now_v7(), 1)])).await.unwrap();
    let open = Log::fresh().await;
    open.writer.append(beginning()).await.unwrap();
    let elsewhere = empty().await;
    let error = begin(&sealed.database, &elsewhere, &sealed.keyring).await.unwrap_err();
    assert!(error.to_string().contains("key store is empty"), "{error}");
    // What was refused has left no mark: the right keyring is let in by the right store, and by one of an open log.
    begin(&sealed.database, &sealed.database, &sealed.keyring).await.unwrap();
    let foreign = begin(&open.database, &elsewhere, &other).await;
    assert!(matches!(foreign, Err(LogError::OtherKeyring { key: "signing" })), "{foreign:?}");
    begin(&open.database, &elsewhere, &open.keyring).await.unwrap();
}

/// As logs were kept before the store of keys was apart.
#[tokio::test]
async fn keys_that_lie_in_the_log_s_database_are_taken_over_and_leave_it() {
    let log = Log::fresh().await;
    let child = Uuid::now_v7();
    log.writer.append(command(vec![consultation(child, 1)])).await.unwrap();
    log.sql(
        "CREATE SCHEMA keys; CREATE TABLE keys.data_keys AS \
             SELECT s.key_id, s.scope, s.part, k.wrapped, k.master_version \
             FROM log.stream_keys s JOIN key_store.data_keys k USING (key_id); \
         CREATE TABLE keys.keyring (master bytea, signing text, digest bytea); \
         INSERT INTO keys.keyring SELECT m.fingerprint, k.signing, k.digest \
             FROM key_store.masters m, key_store.keyring k; \
         DROP SCHEMA key_store CASCADE; DROP TABLE tasuki_key_store_migrations",
    )
    .await;
    let keys = log.database.for_keys(None, 4).unwrap();
    let other = Keyring::generate().unwrap();
    assert!(begin(&log.database, &keys, &other).await.is_err());
    begin(&log.database, &keys, &log.keyring).await.unwrap();
    let sealer = tasuki_log::Sealer::new(log.keyring.clone(), log.database.clone(), keys);
    let record = &log.reader.stream(child, 0).await.unwrap()[0];
    log.reader.open(&sealer, record).await.unwrap();
    let sql = "SELECT to_regclass('keys.data_keys') IS NULL";
    assert!(log.database.get().await.unwrap().query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
}
