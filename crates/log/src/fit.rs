//! Whether a keyring is the one that a log was begun with: asked before a process appends or opens anything.
//!
//! The log keeps fingerprints of the keyring that came first. A log from before they were kept is asked by what it
//! holds: a wrapped data key, and the signed head at its end.

use ring::digest::SHA256_OUTPUT_LEN;

use tokio_postgres::Client;

use crate::db::Database;
use crate::error::LogError;
use crate::keyring::Keyring;
use crate::seal::Sealer;

/// What the database remembers of a keyring. Nothing can be computed from it.
pub(crate) struct Fingerprints {
    pub master: [u8; SHA256_OUTPUT_LEN],
    pub signing: String,
    pub digest: [u8; SHA256_OUTPUT_LEN],
}

/// Lets the first keyring be that of the log, and refuses every other one from then on. After [`crate::migrate`].
///
/// Errors: [`LogError::OtherKeyring`] naming the key that differs; faults.
pub async fn fit(database: &Database, keyring: &Keyring) -> Result<(), LogError> {
    let client = database.get().await?;
    let kept = "SELECT master, signing, digest FROM keys.keyring";
    let ours = keyring.fingerprints();
    if client.query_opt(kept, &[]).await?.is_none() {
        what_it_holds(&client, database, keyring).await?;
        let keep = "INSERT INTO keys.keyring (master, signing, digest) VALUES ($1, $2, $3) \
                    ON CONFLICT (only_one) DO NOTHING";
        client.execute(keep, &[&&ours.master[..], &ours.signing, &&ours.digest[..]]).await?;
    }
    // Read again after writing: two processes may start on an empty log at once.
    let row = client.query_one(kept, &[]).await?;
    let same = [
        ("master", row.get::<_, &[u8]>(0) == ours.master),
        ("signing", row.get::<_, &str>(1) == ours.signing),
        ("digest", row.get::<_, &[u8]>(2) == ours.digest),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        Some((key, _)) => Err(LogError::OtherKeyring { key }),
        None => Ok(()),
    }
}

async fn what_it_holds(client: &Client, database: &Database, keyring: &Keyring) -> Result<(), LogError> {
    let sealer = Sealer::new(keyring.clone(), database.clone());
    let key = client.query_opt("SELECT key_id, wrapped FROM keys.data_keys LIMIT 1", &[]).await?;
    if key.is_some_and(|row| sealer.unwrap(row.get(0), row.get(1)).is_err()) {
        return Err(LogError::OtherKeyring { key: "master" });
    }
    let end = "SELECT key_id FROM log.heads ORDER BY position DESC LIMIT 1";
    match client.query_opt(end, &[]).await? {
        Some(row) if row.get::<_, &str>(0) != keyring.signing_id() => {
            Err(LogError::OtherKeyring { key: "signing" })
        }
        _ => Ok(()),
    }
}
