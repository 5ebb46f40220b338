//! Rotating the master key: a new one wraps every data key anew, then nothing is wrapped by the old one any more.
//!
//! Each step can be done again, and a kill between two of them leaves every key readable with a keyring that holds
//! both masters. The keyring's file is the caller's: the new master stands there durably before [`Rotating::announce`], and the
//! old one goes from there after [`Rotating::retire`].

use tokio_postgres::GenericClient;
use uuid::Uuid;

use crate::db::Database;
use crate::error::LogError;
use crate::key_store::{STORE_LOCK, Wrapped, masters};
use crate::keyring::Keyring;
use crate::seal::{aead_key, unwrapped, wrap};

/// Keys in one transaction.
const PAGE: i64 = 2_000;
/// Held by who rotates, for as long as it takes: two rotations at once would wrap past each other.
const ROTATION_LOCK: i64 = 0x0074_6173_756b_6905;

/// Who rotates; nobody else does until this is dropped.
#[derive(Debug)]
pub struct Rotating {
    keys: Database,
    client: tokio_postgres::Client,
}

impl Rotating {
    /// Waits for another rotation to end.
    pub async fn begin(keys: &Database) -> Result<Self, LogError> {
        let client = keys.connect_durable().await?;
        client.execute("SELECT pg_advisory_lock($1)", &[&ROTATION_LOCK]).await?;
        Ok(Self { keys: keys.clone(), client })
    }

    /// Lets the newest master of the keyring wrap what is new. From here on a process whose keyring does not hold it
    /// reads it again from its file, and stops where that does not hold it either.
    pub async fn announce(&mut self, keyring: &Keyring) -> Result<(), LogError> {
        let version = keyring.newest();
        let print = keyring.master_print(version).unwrap_or_default();
        let transaction = self.client.transaction().await?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&STORE_LOCK]).await?;
        transaction.execute("UPDATE key_store.masters SET current = false WHERE current", &[]).await?;
        let new = "INSERT INTO key_store.masters VALUES ($1, $2, true) ON CONFLICT (version) DO UPDATE SET current = true";
        transaction.execute(new, &[&version, &&print[..]]).await?;
        next_generation(&transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Wraps every key by the current master that another one still wraps, page by page; calls `progress` with how
    /// many are done, of how many.
    pub async fn rewrap(
        &mut self,
        keyring: &Keyring,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<u64, LogError> {
        let current = masters(&self.keys).await?.current;
        let master = keyring.master(current).ok_or(LogError::MasterMissing { version: current })?;
        let (wrapping, random) = (aead_key(master)?, ring::rand::SystemRandom::new());
        let count = "SELECT count(*) FROM key_store.data_keys WHERE master_version <> $1";
        let all = self.client.query_one(count, &[&current]).await?.get::<_, i64>(0) as u64;
        let (mut after, mut done) = (Uuid::nil(), 0);
        loop {
            let transaction = self.client.transaction().await?;
            let page = "SELECT key_id, wrapped, master_version FROM key_store.data_keys \
                        WHERE key_id > $1 AND master_version <> $2 ORDER BY key_id LIMIT $3 FOR UPDATE";
            let rows = transaction.query(page, &[&after, &current, &PAGE]).await?;
            let Some(last) = rows.last() else { return Ok(done) };
            after = last.get(0);
            let mut wrapped: Vec<Vec<u8>> = Vec::with_capacity(rows.len());
            for row in &rows {
                let old = Wrapped { key_id: row.get(0), wrapped: row.get(1), master_version: row.get(2) };
                wrapped.push(wrap(&wrapping, old.key_id, &*unwrapped(keyring, &old)?, &random)?);
            }
            let ids: Vec<Uuid> = rows.iter().map(|r| r.get(0)).collect();
            let update = "UPDATE key_store.data_keys AS k SET wrapped = n.wrapped, master_version = $3 \
                          FROM unnest($1::uuid[], $2::bytea[]) AS n(key_id, wrapped) WHERE k.key_id = n.key_id";
            transaction.execute(update, &[&ids, &wrapped, &current]).await?;
            transaction.commit().await?;
            done += rows.len() as u64;
            progress(done, all.max(done));
        }
    }

    /// Forgets every master but the current one.
    ///
    /// Errors: [`LogError::Keys`] when something is still wrapped by another one: wrap it anew first.
    pub async fn retire(&mut self) -> Result<(), LogError> {
        let transaction = self.client.transaction().await?;
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&STORE_LOCK]).await?;
        let left = "SELECT EXISTS (SELECT FROM key_store.data_keys AS k \
                                   JOIN key_store.masters AS m ON m.version = k.master_version WHERE NOT m.current)";
        if transaction.query_one(left, &[]).await?.get(0) {
            return Err(LogError::Keys("keys are still wrapped by an older master".into()));
        }
        transaction.execute("DELETE FROM key_store.masters WHERE NOT current", &[]).await?;
        next_generation(&transaction).await?;
        Ok(transaction.commit().await?)
    }

    /// Lets the keyring's signing key be the one of the log from here on.
    pub async fn signs(&mut self, keyring: &Keyring) -> Result<(), LogError> {
        let print = keyring.fingerprints();
        let change = "UPDATE key_store.keyring SET signing = $1";
        self.client.execute(change, &[&print.signing]).await?;
        Ok(())
    }
}

async fn next_generation(client: &impl GenericClient) -> Result<(), LogError> {
    client.execute("UPDATE key_store.generation SET number = number + 1", &[]).await?;
    Ok(())
}
