//! Anchors: what the writers of the ledger had come to now and then, in one chain that the signed heads of the log name.
//!
//! The chain of a writer shows what was altered in it, not that its end is gone; nor that the whole writer is. Made
//! beside the read path, by any process for all of them.

use tokio_postgres::Transaction;
use uuid::Uuid;

use crate::db::Database;
use crate::error::LogError;
use crate::keyring::Keyring;
use crate::ledger::{anchor_hash, anchor_message};

/// Held while anchors are added, so that their chain has one end.
const ANCHOR_LOCK: i64 = 0x0074_6173_756b_6903;

/// The last anchor; number 0 and no hash before the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadsHead {
    /// Its number, from 1.
    pub number: u64,
    /// Its hash. Shape: 32 bytes.
    pub hash: Vec<u8>,
}

/// Reads the last anchor.
async fn last(client: &Transaction<'_>) -> Result<ReadsHead, LogError> {
    let sql = "SELECT number, hash FROM log.read_anchors ORDER BY number DESC LIMIT 1";
    let row = client.query_opt(sql, &[]).await?;
    Ok(row.map_or_else(ReadsHead::default, |row| ReadsHead {
        number: row.get::<_, i64>(0) as u64,
        hash: row.get(1),
    }))
}

/// Anchors every writer that has come further than its last anchor; the end of the anchors then.
///
/// What is on record before this is called is missed when it is removed after it. Safe to call from several processes
/// at once.
pub async fn anchor_reads(database: &Database, keyring: &Keyring) -> Result<ReadsHead, LogError> {
    let mut client = database.get().await?;
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&ANCHOR_LOCK]).await?;
    let mut head = last(&transaction).await?;
    let behind = "SELECT w.writer, w.number, w.hash, (extract(epoch FROM clock_timestamp()) * 1000000)::int8 \
                  FROM log.read_writers AS w LEFT JOIN LATERAL \
                       (SELECT max(a.writer_number) AS number FROM log.read_anchors AS a WHERE a.writer = w.writer) \
                       AS anchored ON true \
                  WHERE w.number > coalesce(anchored.number, 0) ORDER BY w.writer";
    let insert =
        transaction.prepare("INSERT INTO log.read_anchors VALUES ($1, $2, $3, $4, $5, $6, $7, $8)").await?;
    for row in transaction.query(behind, &[]).await? {
        let (writer, writer_number, writer_hash): (Uuid, i64, &[u8]) = (row.get(0), row.get(1), row.get(2));
        let at: i64 = row.get(3);
        let number = head.number + 1;
        let previous: &[u8] = if head.number == 0 { &crate::chain::GENESIS } else { &head.hash };
        let hash = anchor_hash(previous, number, at, writer, writer_number as u64, writer_hash).to_vec();
        let signature = keyring.sign(&anchor_message(number, &hash));
        let key_id = keyring.signing_id();
        let number_column = number as i64;
        transaction
            .execute(
                &insert,
                &[&number_column, &at, &writer, &writer_number, &writer_hash, &hash, &signature, &key_id],
            )
            .await?;
        head = ReadsHead { number, hash };
    }
    transaction.commit().await?;
    Ok(head)
}
