//! The store of wrapped data keys, in a database apart from the log's.
//!
//! Keys are made ahead, a handful in one transaction, and are durable before anything is sealed with them; which
//! stream uses a key is said by the log, in the append's transaction. So a command costs no commit of its own here,
//! and a key that never comes to be used is harmless.
//!
//! What is wrapped by a master key that is not the current one any more is refused, under a lock that a rotation
//! holds too: once a rotation has wrapped everything anew, nothing old comes in behind it.

use tokio_postgres::Client;
use uuid::Uuid;

use crate::db::{DURABILITY, Database, durable, migrate_keys};
use crate::error::LogError;
use crate::fit;
use crate::keyring::Keyring;

/// Shared by those who store keys, exclusive for who rotates or erases.
pub(crate) const STORE_LOCK: i64 = 0x0074_6173_756b_6904;

/// A data key as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Wrapped {
    pub key_id: Uuid,
    pub wrapped: Vec<u8>,
    pub master_version: i32,
}

/// What a process has to know of the masters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masters {
    /// Grows with every rotation and erasure.
    pub generation: i64,
    /// The version that wraps what is new.
    pub current: i32,
    /// Every version by which something may be wrapped, ascending.
    pub listed: Vec<i32>,
}

/// Brings the key store up to date, takes over what an earlier form kept in the log's database, and lets the first
/// keyring be that of the log. After [`crate::migrate`]; before anything is appended or opened.
///
/// Errors: [`LogError::OtherKeyring`] naming the key that differs, [`LogError::MasterMissing`],
/// [`LogError::NoKeyStore`]; faults.
pub async fn begin(log: &Database, keys: &Database, keyring: &Keyring) -> Result<(), LogError> {
    migrate_keys(keys, log).await?;
    take_over(log, keys, keyring).await?;
    fit::fit(log, keys, keyring).await
}

/// Moves wrapped keys out of the log's database, where the first form kept them. A copy stays in its write-ahead log,
/// until the next rotation makes it useless.
async fn take_over(log: &Database, keys: &Database, keyring: &Keyring) -> Result<(), LogError> {
    let from = log.connect().await?;
    from.execute("SELECT pg_advisory_lock($1)", &[&crate::db::MIGRATION_LOCK]).await?;
    if from.query_one("SELECT to_regclass('keys.data_keys') IS NULL", &[]).await?.get(0) {
        return Ok(());
    }
    // The first keyring that came is still that of the log.
    if let Some(row) = from.query_opt("SELECT master, signing, digest FROM keys.keyring", &[]).await? {
        let ours = keyring.fingerprints();
        let other = |key| Err(LogError::OtherKeyring { key });
        match (row.get::<_, &[u8]>(0), row.get::<_, &str>(1), row.get::<_, &[u8]>(2)) {
            (master, ..) if keyring.master_print(1).is_none_or(|print| print != master) => other("master")?,
            (_, signing, _) if signing != ours.signing => other("signing")?,
            (.., digest) if digest != ours.digest => other("digest")?,
            _ => {}
        }
    }
    let to = keys.connect_durable().await?;
    for row in from.query("SELECT key_id, wrapped, master_version FROM keys.data_keys", &[]).await? {
        let (key_id, wrapped, version): (Uuid, Vec<u8>, i32) = (row.get(0), row.get(1), row.get(2));
        let sql = "INSERT INTO key_store.data_keys VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
        to.execute(sql, &[&key_id, &wrapped, &version]).await?;
    }
    from.batch_execute("DROP SCHEMA keys CASCADE").await?;
    Ok(())
}

/// How the masters stand.
pub async fn masters(keys: &Database) -> Result<Masters, LogError> {
    let client = keys.get().await?;
    let statement = client
        .prepare_cached(
            "SELECT g.number, (SELECT version FROM key_store.masters WHERE current), \
                    ARRAY(SELECT version FROM key_store.masters ORDER BY version) \
             FROM key_store.generation AS g",
        )
        .await?;
    let row = client.query_one(&statement, &[]).await?;
    Ok(Masters {
        generation: row.get(0),
        current: row.get::<_, Option<i32>>(1).unwrap_or(0),
        listed: row.get(2),
    })
}

/// Makes keys durable; false, and none is stored, when they are wrapped by a master that is not the current one.
pub(crate) async fn store(keys: &Database, new: &[Wrapped]) -> Result<bool, LogError> {
    let mut client = keys.get().await?;
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock_shared($1)", &[&STORE_LOCK]).await?;
    let ids: Vec<Uuid> = new.iter().map(|k| k.key_id).collect();
    let wrapped: Vec<&[u8]> = new.iter().map(|k| k.wrapped.as_slice()).collect();
    let versions: Vec<i32> = new.iter().map(|k| k.master_version).collect();
    let insert = "INSERT INTO key_store.data_keys \
                  SELECT n.* FROM unnest($1::uuid[], $2::bytea[], $3::int[]) AS n(key_id, wrapped, version) \
                  JOIN key_store.masters AS m ON m.version = n.version AND m.current";
    let stored = transaction.execute(insert, &[&ids, &wrapped, &versions]).await?;
    if stored != new.len() as u64 {
        return Ok(false);
    }
    durable(&transaction.query_one(&format!("SELECT {DURABILITY}"), &[]).await?, 0)?;
    transaction.commit().await?;
    Ok(true)
}

/// Of the given keys those that there are, and those that were erased; what is in neither list is lost.
pub(crate) async fn find(keys: &Database, ids: &[Uuid]) -> Result<(Vec<Wrapped>, Vec<Uuid>), LogError> {
    let client = keys.get().await?;
    let sql = "SELECT key_id, wrapped, master_version FROM key_store.data_keys WHERE key_id = ANY($1)";
    let statement = client.prepare_cached(sql).await?;
    let rows = client.query(&statement, &[&ids]).await?;
    let wrapped =
        |r: &tokio_postgres::Row| Wrapped { key_id: r.get(0), wrapped: r.get(1), master_version: r.get(2) };
    let found: Vec<Wrapped> = rows.iter().map(wrapped).collect();
    if found.len() == ids.len() {
        return Ok((found, Vec::new()));
    }
    let sql = "SELECT key_id FROM key_store.erased WHERE key_id = ANY($1)";
    let statement = client.prepare_cached(sql).await?;
    let erased = client.query(&statement, &[&ids]).await?.iter().map(|r| r.get(0)).collect();
    Ok((found, erased))
}

/// Deletes keys for good and remembers that they were erased; true where a master that wrapped any of them may still
/// exist, so that copies of them can be opened until the next rotation has come to its end.
pub async fn erase(keys: &Database, ids: &[Uuid]) -> Result<bool, LogError> {
    let mut client = keys.connect_durable().await?;
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&STORE_LOCK]).await?;
    let remember = "INSERT INTO key_store.erased (key_id, master_version) \
                    SELECT id, (SELECT max(version) FROM key_store.masters) FROM unnest($1::uuid[]) AS id \
                    ON CONFLICT (key_id) DO NOTHING";
    transaction.execute(remember, &[&ids]).await?;
    transaction.execute("DELETE FROM key_store.data_keys WHERE key_id = ANY($1)", &[&ids]).await?;
    transaction.execute("UPDATE key_store.generation SET number = number + 1", &[]).await?;
    let open = "SELECT EXISTS (SELECT FROM key_store.erased AS e JOIN key_store.masters AS m \
                               ON m.version <= e.master_version WHERE e.key_id = ANY($1))";
    let open = transaction.query_one(open, &[&ids]).await?.get(0);
    transaction.commit().await?;
    Ok(open)
}

/// The first position of the log with a part whose key is neither there nor erased; `None`: none is lost.
pub async fn lost(log: &Database, keys: &Database) -> Result<Option<(u64, Uuid)>, LogError> {
    const PAGE: usize = 5_000;
    let reader = crate::read::Reader::new(log.clone());
    let mut position = 0;
    loop {
        let envelopes = reader.envelopes_after(position, PAGE).await?;
        let Some(last) = envelopes.last().map(|e| e.position) else { return Ok(None) };
        let mut wanted: Vec<(u64, Uuid)> = Vec::new();
        for envelope in &envelopes {
            let Ok(header) =
                <tasuki_contract::event::v1::Header as prost::Message>::decode(&*envelope.header)
            else {
                return Err(LogError::UnreadableHeader { position: envelope.position });
            };
            let ids = header.parts.iter().map(|p| Uuid::try_parse(&p.key_id).unwrap_or_default());
            wanted.extend(ids.map(|id| (envelope.position, id)));
        }
        let mut ids: Vec<Uuid> = wanted.iter().map(|(_, id)| *id).collect();
        ids.sort_unstable();
        ids.dedup();
        let (found, erased) = find(keys, &ids).await?;
        let known: std::collections::HashSet<Uuid> = found.iter().map(|k| k.key_id).chain(erased).collect();
        if let Some(lost) = wanted.into_iter().find(|(_, id)| !known.contains(id)) {
            return Ok(Some(lost));
        }
        position = last;
    }
}

/// The keys that seal parts of the given streams.
pub async fn keys_of(log: &Database, streams: &[Uuid]) -> Result<Vec<Uuid>, LogError> {
    let client: &Client = &*log.get().await?;
    let sql = "SELECT key_id FROM log.stream_keys WHERE stream_id = ANY($1) ORDER BY key_id";
    Ok(client.query(sql, &[&streams]).await?.iter().map(|r| r.get(0)).collect())
}

/// Tries every key that there is with the keyring's masters, as it stands; writes nothing.
///
/// Shape: how many open, and how many there are. Errors: a key store that is not there.
pub async fn opening(keys: &Database, keyring: &Keyring) -> Result<(u64, u64), LogError> {
    let client = keys.get().await?;
    let sql = "SELECT key_id, wrapped, master_version FROM key_store.data_keys WHERE key_id > $1 \
               ORDER BY key_id LIMIT 5000";
    let statement = client.prepare(sql).await?;
    let (mut after, mut open, mut all) = (Uuid::nil(), 0, 0);
    loop {
        let rows = client.query(&statement, &[&after]).await?;
        let Some(last) = rows.last() else { return Ok((open, all)) };
        after = last.get(0);
        for row in &rows {
            let wrapped = Wrapped { key_id: row.get(0), wrapped: row.get(1), master_version: row.get(2) };
            open += u64::from(crate::seal::unwrapped(keyring, &wrapped).is_ok());
            all += 1;
        }
    }
}
