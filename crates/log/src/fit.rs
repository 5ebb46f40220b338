//! Whether a keyring is the one that a log was begun with: asked before a process appends or opens anything.
//!
//! The key store keeps fingerprints of the keyring that came first, and of each master key since. A log whose key
//! store is new is asked by the signed head at its end.

use ring::digest::SHA256_OUTPUT_LEN;

use crate::db::Database;
use crate::error::LogError;
use crate::key_store::{STORE_LOCK, masters};
use crate::keyring::Keyring;

/// What the key store remembers of a keyring beside its masters. Nothing can be computed from it.
pub(crate) struct Fingerprints {
    pub signing: String,
    pub digest: [u8; SHA256_OUTPUT_LEN],
}

/// Lets the first keyring be that of the log, and refuses every other one from then on.
///
/// Errors: [`LogError::OtherKeyring`] naming the key that differs; [`LogError::MasterMissing`] of one that is behind a
/// rotation; faults.
pub(crate) async fn fit(log: &Database, keys: &Database, keyring: &Keyring) -> Result<(), LogError> {
    let mut client = keys.connect().await?;
    let kept = "SELECT signing, digest FROM key_store.keyring";
    let ours = keyring.fingerprints();
    if client.query_opt(kept, &[]).await?.is_none() {
        signs(log, keyring).await?;
        holds_some(log, keys).await?;
        let transaction = client.transaction().await?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&STORE_LOCK]).await?;
        let keep = "INSERT INTO key_store.keyring (signing, digest) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        if transaction.execute(keep, &[&ours.signing, &&ours.digest[..]]).await? > 0 {
            let version = keyring.newest();
            let print = keyring.master_print(version).unwrap_or_default();
            let keep = "INSERT INTO key_store.masters VALUES ($1, $2, true)";
            transaction.execute(keep, &[&version, &&print[..]]).await?;
        }
        transaction.commit().await?;
    }
    let rows = client.query("SELECT version, fingerprint FROM key_store.masters", &[]).await?;
    for row in rows {
        let print = keyring.master_print(row.get(0));
        if print.is_some_and(|print| print != row.get::<_, &[u8]>(1)) {
            return Err(LogError::OtherKeyring { key: "master" });
        }
    }
    let current = masters(keys).await?.current;
    if keyring.master(current).is_none() {
        return Err(LogError::MasterMissing { version: current });
    }
    let row = client.query_one(kept, &[]).await?;
    if row.get::<_, &str>(0) != ours.signing {
        return Err(LogError::OtherKeyring { key: "signing" });
    }
    if row.get::<_, &[u8]>(1) != ours.digest {
        return Err(LogError::OtherKeyring { key: "digest" });
    }
    Ok(())
}

/// A log that has rows and no key store yet was signed by this keyring, or is another one's.
async fn signs(log: &Database, keyring: &Keyring) -> Result<(), LogError> {
    let end = "SELECT key_id FROM log.heads ORDER BY position DESC LIMIT 1";
    match log.get().await?.query_opt(end, &[]).await? {
        Some(row) if row.get::<_, &str>(0) != keyring.signing_id() => {
            Err(LogError::OtherKeyring { key: "signing" })
        }
        _ => Ok(()),
    }
}

/// A key store that is new beside a log with sealed parts is not the log's: it was lost, or another one is meant.
async fn holds_some(log: &Database, keys: &Database) -> Result<(), LogError> {
    let sealed = log.get().await?.query_opt("SELECT key_id FROM log.stream_keys LIMIT 1", &[]).await?;
    let Some(key) = sealed.map(|row| row.get::<_, uuid::Uuid>(0)) else { return Ok(()) };
    let (found, erased) = crate::key_store::find(keys, &[key]).await?;
    if found.is_empty() && erased.is_empty() {
        return Err(LogError::Keys(
            "the key store is empty, and the log is not: restore it, or name the right one".into(),
        ));
    }
    Ok(())
}
