//! The end of a month's reads on record, when their retention is over.
//!
//! What is dropped leaves a signed closing of each writer's chain, so that what stands after it can still be verified,
//! and so that nobody without the signing key can pass a removal off as an end of retention.

use tokio_postgres::Row;
use uuid::Uuid;

use crate::db::{Database, MIGRATION_LOCK};
use crate::error::LogError;
use crate::keyring::Keyring;
use crate::ledger::closing_message;
use crate::verify_reads::verify_reads;

/// Drops the reads of a month, written `2026_04`, in UTC; how many there were.
///
/// Errors: `Malformed` where there is no such month, where it has not ended, or where an earlier one is still there;
/// `Tampered` where the ledger does not verify: a closing signs nothing that was altered.
pub async fn drop_month(database: &Database, keyring: &Keyring, month: &str) -> Result<u64, LogError> {
    if verify_reads(database, keyring.signers(), |_| {}).await?.first_bad.is_some() {
        return Err(LogError::Tampered);
    }
    let mut client = database.connect_durable().await?;
    // Behind a long look at the table, every record would wait behind us.
    client.batch_execute("SET lock_timeout = '2s'").await?;
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await?;
    // The name is taken from the catalogue, never from the caller.
    let oldest = "SELECT c.relname::text FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid \
                  WHERE i.inhparent = 'log.reads'::regclass AND c.relname ~ '^reads_[0-9]{4}_[0-9]{2}$' \
                        AND c.relname < 'reads_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM') \
                  ORDER BY 1 LIMIT 1";
    let oldest: Option<String> = transaction.query_opt(oldest, &[]).await?.map(|row| row.get(0));
    let Some(table) = oldest.filter(|table| *table == format!("reads_{month}")) else {
        return Err(LogError::Malformed { field: "month" });
    };
    let last = format!(
        "SELECT DISTINCT ON (writer) writer, number, hash FROM log.{table} WHERE writer IS NOT NULL \
         ORDER BY writer, number DESC"
    );
    let closing = "INSERT INTO log.read_closings VALUES ($1, $2, $3, $4, $5, $6)";
    for row in transaction.query(&last, &[]).await? {
        let (writer, number, hash): (Uuid, i64, &[u8]) = (row.get(0), row.get(1), row.get(2));
        let signature = keyring.sign(&closing_message(month, writer, number as u64, hash));
        let key_id = keyring.signing_id();
        transaction.execute(closing, &[&writer, &number, &hash, &month, &signature, &key_id]).await?;
    }
    let count = |row: Row| row.get::<_, i64>(0) as u64;
    let reads = count(transaction.query_one(&format!("SELECT count(*) FROM log.{table}"), &[]).await?);
    transaction.batch_execute(&format!("DROP TABLE log.{table}")).await?;
    transaction.commit().await?;
    Ok(reads)
}
