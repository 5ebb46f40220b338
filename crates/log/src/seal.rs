//! Sealing and opening: one data key per stream, other subject or agency, wrapped by the master key.
//!
//! Associated data is the header without position and previous hash, so a part cannot be moved to another event.
//! Sealing happens before the append's lock. Opened keys are cached, a bounded number.

use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use tasuki_contract::SealedPart;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::db::Database;
use crate::error::LogError;
use crate::keyring::Keyring;

/// Algorithm number of a part: AES-256-GCM with a random 96-bit nonce in front.
pub const AES_256_GCM_RANDOM_NONCE: u32 = 1;

/// A data key, ready for use.
#[derive(Clone)]
pub struct DataKey {
    /// Its id.
    pub key_id: Uuid,
    key: Arc<LessSafeKey>,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// A data key that does not exist yet: the append writes it together with the first event that it seals.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub(crate) key_id: Uuid,
    pub(crate) scope: Uuid,
    pub(crate) part: i16,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) master_version: i32,
}

/// Seals and opens parts.
#[derive(Clone, Debug)]
pub struct Sealer {
    keyring: Keyring,
    database: Database,
    by_id: moka::sync::Cache<Uuid, DataKey>,
    by_scope: moka::sync::Cache<(Uuid, i16), DataKey>,
    random: SystemRandom,
}

impl Sealer {
    /// Keys are found in `database` and unwrapped with `keyring`.
    pub fn new(keyring: Keyring, database: Database) -> Self {
        Self {
            keyring,
            database,
            by_id: moka::sync::Cache::new(50_000),
            by_scope: moka::sync::Cache::new(50_000),
            random: SystemRandom::new(),
        }
    }

    /// The key of a scope that has one.
    pub async fn key_of(&self, scope: Uuid, part: SealedPart) -> Result<Option<DataKey>, LogError> {
        let part = part as i16;
        if let Some(key) = self.by_scope.get(&(scope, part)) {
            return Ok(Some(key));
        }
        let client = self.database.get().await?;
        let statement = client
            .prepare_cached("SELECT key_id, wrapped FROM keys.data_keys WHERE scope = $1 AND part = $2")
            .await?;
        let Some(row) = client.query_opt(&statement, &[&scope, &part]).await? else { return Ok(None) };
        let key = self.unwrap(row.get(0), row.get(1))?;
        self.by_scope.insert((scope, part), key.clone());
        Ok(Some(key))
    }

    /// A fresh key for a scope that has none; it counts once the append that carries it has committed.
    pub fn new_key(&self, scope: Uuid, part: SealedPart) -> Result<(DataKey, NewKey), LogError> {
        let mut bytes = Zeroizing::new([0; 32]);
        self.fill(&mut *bytes)?;
        let key_id = Uuid::now_v7();
        let mut wrapped = bytes.to_vec();
        let wrapping = aead_key(self.keyring.master())?;
        self.seal_with(&wrapping, key_id.as_bytes(), &mut wrapped)?;
        let key = DataKey { key_id, key: Arc::new(aead_key(&bytes)?) };
        let master_version = self.keyring.master_version();
        Ok((key, NewKey { key_id, scope, part: part as i16, wrapped, master_version }))
    }

    /// Keeps keys that an append has just made durable.
    pub(crate) fn remember(&self, keys: Vec<(Uuid, i16, DataKey)>) {
        for (scope, part, key) in keys {
            self.by_id.insert(key.key_id, key.clone());
            self.by_scope.insert((scope, part), key);
        }
    }

    /// Seals `plain` so that it opens only with the same `header`.
    pub fn seal(&self, key: &DataKey, header: &[u8], plain: &[u8]) -> Result<Vec<u8>, LogError> {
        let mut buffer = plain.to_vec();
        self.seal_with(&key.key, header, &mut buffer)?;
        Ok(buffer)
    }

    /// Opens what [`seal`](Self::seal) made.
    ///
    /// Errors: [`LogError::Unopenable`] naming the event when the key is gone or the bytes were altered.
    pub async fn open(
        &self,
        key_id: Uuid,
        header: &[u8],
        sealed: &[u8],
        event_id: &str,
    ) -> Result<Vec<u8>, LogError> {
        let unopenable = || LogError::Unopenable { event_id: event_id.to_owned() };
        let key = self.key(key_id).await?.ok_or_else(unopenable)?;
        open_with(&key.key, header, sealed).ok_or_else(unopenable)
    }

    /// Fetches the keys of many parts in one statement, so that a page of events costs one round trip.
    pub async fn warm(&self, key_ids: &[Uuid]) -> Result<(), LogError> {
        let missing: Vec<Uuid> = key_ids.iter().copied().filter(|id| !self.by_id.contains_key(id)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let client = self.database.get().await?;
        let statement = client
            .prepare_cached("SELECT key_id, wrapped FROM keys.data_keys WHERE key_id = ANY($1)")
            .await?;
        for row in client.query(&statement, &[&missing]).await? {
            self.unwrap(row.get(0), row.get(1))?;
        }
        Ok(())
    }

    async fn key(&self, key_id: Uuid) -> Result<Option<DataKey>, LogError> {
        if let Some(key) = self.by_id.get(&key_id) {
            return Ok(Some(key));
        }
        self.warm(&[key_id]).await?;
        Ok(self.by_id.get(&key_id))
    }

    pub(crate) fn unwrap(&self, key_id: Uuid, wrapped: Vec<u8>) -> Result<DataKey, LogError> {
        let wrapping = aead_key(self.keyring.master())?;
        let bytes = open_with(&wrapping, key_id.as_bytes(), &wrapped)
            .map(Zeroizing::new)
            .ok_or_else(|| LogError::Keys(format!("data key {key_id} does not unwrap")))?;
        let bytes: &[u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| LogError::Keys(format!("data key {key_id} is malformed")))?;
        let key = DataKey { key_id, key: Arc::new(aead_key(bytes)?) };
        self.by_id.insert(key_id, key.clone());
        Ok(key)
    }

    fn seal_with(&self, key: &LessSafeKey, aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), LogError> {
        let mut nonce = [0; NONCE_LEN];
        self.fill(&mut nonce)?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), buffer)
            .map_err(|_| LogError::Keys("sealing failed".into()))?;
        buffer.splice(0..0, nonce);
        Ok(())
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), LogError> {
        self.random.fill(bytes).map_err(|_| LogError::Keys("no randomness".into()))
    }
}

fn aead_key(bytes: &[u8; 32]) -> Result<LessSafeKey, LogError> {
    let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| LogError::Keys("bad key length".into()))?;
    Ok(LessSafeKey::new(key))
}

fn open_with(key: &LessSafeKey, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut buffer = rest.to_vec();
    let plain = key.open_in_place(nonce, Aad::from(aad), &mut buffer).ok()?.len();
    buffer.truncate(plain);
    Some(buffer)
}
