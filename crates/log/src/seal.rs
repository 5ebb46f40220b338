//! Sealing and opening: a data key for each part of each stream, wrapped by the master key, in the key store.
//!
//! Associated data is the header without position and previous hash, so a part cannot be moved to another event.
//! Sealing happens before the append's lock, with keys that were made durable ahead. Opened keys are cached, a bounded
//! number, until a rotation or an erasure is heard of.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use tasuki_contract::event::v1::PartInfo;
use tokio::sync::Mutex;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::db::Database;
use crate::error::LogError;
use crate::key_store::{self, Wrapped};
use crate::keyring::Keyring;

/// Algorithm number of a part: AES-256-GCM with a random 96-bit nonce in front.
pub const AES_256_GCM_RANDOM_NONCE: u32 = 1;

/// Keys that are made ahead in one transaction.
const AHEAD: usize = 256;
/// How few may be left before more are made, so that no command waits for them.
const AHEAD_LOW: usize = 64;
/// How often the masters are looked at again before something that is wrapped otherwise is given up.
const MASTER_TRIES: usize = 3;

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

/// What a key seals: a part of a stream, of the stream's own or another scope.
pub(crate) type Sealed = (Uuid, Uuid, i16);

/// Seals and opens parts.
#[derive(Clone, Debug)]
pub struct Sealer {
    keyring: Arc<RwLock<Keyring>>,
    log: Database,
    keys: Database,
    generation: Arc<AtomicI64>,
    by_id: moka::sync::Cache<Uuid, DataKey>,
    by_scope: moka::sync::Cache<Sealed, DataKey>,
    /// Ids of keys that were erased: nobody brings them back.
    erased: moka::sync::Cache<Uuid, ()>,
    ahead: Arc<Mutex<VecDeque<DataKey>>>,
    random: SystemRandom,
}

impl Sealer {
    /// Which key seals what is said by `log`; the keys are found in `keys` and unwrapped with `keyring`.
    pub fn new(keyring: Keyring, log: Database, keys: Database) -> Self {
        Self {
            keyring: Arc::new(RwLock::new(keyring)),
            log,
            keys,
            generation: Arc::default(),
            by_id: moka::sync::Cache::new(50_000),
            by_scope: moka::sync::Cache::new(50_000),
            erased: moka::sync::Cache::new(50_000),
            ahead: Arc::default(),
            random: SystemRandom::new(),
        }
    }

    /// The keyring as it is now: a rotation changes its master keys.
    pub fn keyring(&self) -> Keyring {
        self.keyring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks for rotations and erasures for as long as this process runs; ends only where it cannot go on.
    ///
    /// After one it reads the keyring's file again, keeps no master key that was retired, and forgets every data key.
    /// Errors: [`LogError::MasterMissing`], and a keyring file that cannot be read or fits no more.
    pub async fn follow(&self, every: Duration) -> Result<Infallible, LogError> {
        loop {
            match self.look().await {
                Ok(()) => {}
                Err(
                    error @ (LogError::Keys(_)
                    | LogError::MasterMissing { .. }
                    | LogError::OtherKeyring { .. }),
                ) => {
                    return Err(error);
                }
                // The store is away: what is cached serves meanwhile.
                Err(error) => tracing::debug!(%error, "the masters could not be looked at"),
            }
            tokio::time::sleep(every).await;
        }
    }

    /// Takes note of rotations and erasures since the last look.
    pub async fn look(&self) -> Result<(), LogError> {
        let masters = key_store::masters(&self.keys).await?;
        if masters.generation == self.generation.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut keyring = self.keyring();
        if masters.listed != keyring.versions() {
            keyring = keyring.reload()?;
            crate::fit::fit(&self.log, &self.keys, &keyring).await?;
            keyring =
                keyring.keeping(|version| masters.listed.contains(&version) || version > masters.current)?;
        }
        if keyring.master(masters.current).is_none() {
            return Err(LogError::MasterMissing { version: masters.current });
        }
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = keyring;
        self.by_id.invalidate_all();
        self.by_scope.invalidate_all();
        self.generation.store(masters.generation, Ordering::Release);
        Ok(())
    }

    /// The key of a part that has one.
    ///
    /// Errors: [`LogError::Erased`] where it had one: nothing more is sealed there.
    pub(crate) async fn key_of(&self, of: Sealed) -> Result<Option<DataKey>, LogError> {
        if let Some(key) = self.by_scope.get(&of) {
            return Ok(Some(key));
        }
        let client = self.log.get().await?;
        let sql = "SELECT key_id FROM log.stream_keys WHERE stream_id = $1 AND scope = $2 AND part = $3";
        let statement = client.prepare_cached(sql).await?;
        let Some(row) = client.query_opt(&statement, &[&of.0, &of.1, &of.2]).await? else { return Ok(None) };
        drop(client);
        let key_id = row.get(0);
        match self.key(key_id).await? {
            Some(key) => {
                self.by_scope.insert(of, key.clone());
                Ok(Some(key))
            }
            None if self.erased.contains_key(&key_id) => Err(LogError::Erased { event_id: String::new() }),
            None => Err(LogError::Keys(format!("data key {key_id} is lost"))),
        }
    }

    /// A fresh key, durable already, that nothing uses yet; it is the part's once the append that says so has committed.
    pub async fn new_key(&self) -> Result<DataKey, LogError> {
        let mut ahead = self.ahead.lock().await;
        if ahead.is_empty() {
            ahead.extend(self.make_keys(AHEAD).await?);
        }
        if ahead.len() == AHEAD_LOW {
            let sealer = self.clone();
            tokio::spawn(async move {
                match sealer.make_keys(AHEAD).await {
                    Ok(made) => sealer.ahead.lock().await.extend(made),
                    // Who finds none left tries again, and says so.
                    Err(error) => tracing::debug!(%error, "no data keys were made ahead"),
                }
            });
        }
        ahead.pop_front().ok_or(LogError::Unavailable)
    }

    async fn make_keys(&self, count: usize) -> Result<Vec<DataKey>, LogError> {
        for _ in 0..MASTER_TRIES {
            let current = key_store::masters(&self.keys).await?.current;
            let keyring = self.keyring();
            let Some(master) = keyring.master(current) else {
                self.look().await?;
                continue;
            };
            let wrapping = aead_key(master)?;
            let (mut made, mut stored) = (Vec::with_capacity(count), Vec::with_capacity(count));
            for _ in 0..count {
                let mut bytes = Zeroizing::new([0; 32]);
                self.fill(&mut *bytes)?;
                let key_id = Uuid::now_v7();
                made.push(DataKey { key_id, key: Arc::new(aead_key(&bytes)?) });
                let wrapped = wrap(&wrapping, key_id, &bytes, &self.random)?;
                stored.push(Wrapped { key_id, wrapped, master_version: current });
            }
            if key_store::store(&self.keys, &stored).await? {
                return Ok(made);
            }
        }
        Err(LogError::Unavailable)
    }

    /// Keeps keys that an append has just given to their parts.
    pub(crate) fn remember(&self, keys: Vec<(Sealed, DataKey)>) {
        for (of, key) in keys {
            self.by_id.insert(key.key_id, key.clone());
            self.by_scope.insert(of, key);
        }
    }

    /// Seals `plain` so that it opens only with the same `header`.
    pub fn seal(&self, key: &DataKey, header: &[u8], plain: &[u8]) -> Result<Vec<u8>, LogError> {
        seal_with(&key.key, header, plain, &self.random)
    }

    /// Opens what [`seal`](Self::seal) made.
    ///
    /// Errors: [`LogError::Erased`]; [`LogError::UnknownAlgorithm`]; [`LogError::Unopenable`] naming the event when the
    /// key is lost or the bytes were altered.
    pub async fn open(
        &self,
        info: &PartInfo,
        header: &[u8],
        sealed: &[u8],
        event_id: &str,
    ) -> Result<Vec<u8>, LogError> {
        let event_id = || event_id.to_owned();
        if info.algorithm != AES_256_GCM_RANDOM_NONCE {
            return Err(LogError::UnknownAlgorithm { event_id: event_id(), algorithm: info.algorithm });
        }
        let key_id = Uuid::try_parse(&info.key_id).unwrap_or_default();
        match self.key(key_id).await? {
            Some(key) => open_with(&key.key, header, sealed)
                .ok_or_else(|| LogError::Unopenable { event_id: event_id() }),
            None if self.erased.contains_key(&key_id) => Err(LogError::Erased { event_id: event_id() }),
            None => Err(LogError::Unopenable { event_id: event_id() }),
        }
    }

    /// Fetches the keys of many parts in one statement, so that a page of events costs one round trip.
    pub async fn warm(&self, key_ids: &[Uuid]) -> Result<(), LogError> {
        let known = |id: &Uuid| self.by_id.contains_key(id) || self.erased.contains_key(id);
        let missing: Vec<Uuid> = key_ids.iter().copied().filter(|id| !known(id)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let generation = self.generation.load(Ordering::Acquire);
        let (found, erased) = key_store::find(&self.keys, &missing).await?;
        for id in erased {
            self.erased.insert(id, ());
        }
        for wrapped in found {
            let key = match unwrap(&self.keyring(), &wrapped) {
                Err(LogError::MasterMissing { .. }) => {
                    // Wrapped anew since the last look.
                    self.look().await?;
                    unwrap(&self.keyring(), &wrapped)?
                }
                result => result?,
            };
            self.by_id.insert(wrapped.key_id, key);
        }
        if generation != self.generation.load(Ordering::Acquire) {
            // An erasure was heard of meanwhile: what it was to drop may have been put back.
            self.by_id.invalidate_all();
            self.by_scope.invalidate_all();
        }
        Ok(())
    }

    async fn key(&self, key_id: Uuid) -> Result<Option<DataKey>, LogError> {
        for _ in 0..MASTER_TRIES {
            if let Some(key) = self.by_id.get(&key_id) {
                return Ok(Some(key));
            }
            self.warm(&[key_id]).await?;
            let generation = self.generation.load(Ordering::Acquire);
            match self.by_id.get(&key_id) {
                Some(key) => return Ok(Some(key)),
                None if self.erased.contains_key(&key_id) || generation == 0 => return Ok(None),
                // Dropped as soon as it was found, or lost.
                None => {}
            }
        }
        Ok(None)
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), LogError> {
        self.random.fill(bytes).map_err(|_| LogError::Keys("no randomness".into()))
    }
}

/// Wraps a data key by a master key.
pub(crate) fn wrap(
    wrapping: &LessSafeKey,
    key_id: Uuid,
    bytes: &[u8; 32],
    random: &SystemRandom,
) -> Result<Vec<u8>, LogError> {
    seal_with(wrapping, key_id.as_bytes(), bytes, random)
}

/// The bytes of a data key.
///
/// Errors: [`LogError::MasterMissing`]; [`LogError::Keys`] naming a key that does not unwrap.
pub(crate) fn unwrapped(keyring: &Keyring, from: &Wrapped) -> Result<Zeroizing<[u8; 32]>, LogError> {
    let version = from.master_version;
    let master = keyring.master(version).ok_or(LogError::MasterMissing { version })?;
    let key_id = from.key_id;
    let bytes = open_with(&aead_key(master)?, key_id.as_bytes(), &from.wrapped)
        .map(Zeroizing::new)
        .ok_or_else(|| LogError::Keys(format!("data key {key_id} does not unwrap")))?;
    let bytes = <[u8; 32]>::try_from(bytes.as_slice());
    Ok(Zeroizing::new(bytes.map_err(|_| LogError::Keys(format!("data key {key_id} is malformed")))?))
}

fn unwrap(keyring: &Keyring, from: &Wrapped) -> Result<DataKey, LogError> {
    Ok(DataKey { key_id: from.key_id, key: Arc::new(aead_key(&*unwrapped(keyring, from)?)?) })
}

pub(crate) fn seal_with(
    key: &LessSafeKey,
    aad: &[u8],
    plain: &[u8],
    random: &SystemRandom,
) -> Result<Vec<u8>, LogError> {
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce).map_err(|_| LogError::Keys("no randomness".into()))?;
    let mut buffer = Vec::with_capacity(plain.len() + NONCE_LEN + AES_256_GCM.tag_len());
    buffer.extend_from_slice(plain);
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut buffer)
        .map_err(|_| LogError::Keys("sealing failed".into()))?;
    buffer.splice(0..0, nonce);
    Ok(buffer)
}

pub(crate) fn aead_key(bytes: &[u8; 32]) -> Result<LessSafeKey, LogError> {
    let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| LogError::Keys("bad key length".into()))?;
    Ok(LessSafeKey::new(key))
}

pub(crate) fn open_with(key: &LessSafeKey, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut buffer = rest.to_vec();
    let plain = key.open_in_place(nonce, Aad::from(aad), &mut buffer).ok()?.len();
    buffer.truncate(plain);
    Some(buffer)
}
