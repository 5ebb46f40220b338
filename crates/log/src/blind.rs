//! The blind index: who two cases may both be about, as keyed tokens.
//!
//! A token is an HMAC of a clue under a key that is derived from the digest key for this alone, so a dump of the table
//! tells nothing of names, dates or numbers to who lacks the keyring; that two rows are equal is all it shows. Rows are
//! written by the append, in the transaction of the event that says so
//! ([`append_indexed`](crate::Writer::append_indexed)), and go with their case ([`BlindIndex::forget`]). What a kind means
//! is not known here.

use tokio_postgres::Client;
use uuid::Uuid;

use crate::db::Database;
use crate::error::LogError;
use crate::keyring::Keyring;

/// Names the key of the tokens: a digest of this text under the digest key.
const KEY_LABEL: &[u8] = b"tasuki blind index key 1";
/// Cases that a look-up gives at most: those with the most tokens in common.
pub const CANDIDATES_MAX: usize = 16;

/// A keyed token of a clue. Shape: 32 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(Vec<u8>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Keyring {
    /// The token of a clue of this kind.
    pub fn blind_token(&self, kind: i16, clue: &str) -> Token {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.digest(&[KEY_LABEL]));
        let mut context = ring::hmac::Context::with_key(&key);
        context.update(&kind.to_be_bytes());
        context.update(clue.as_bytes());
        Token(context.sign().as_ref().to_vec())
    }
}

/// One row: an event says something about a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlindEntry {
    /// The case.
    pub case: Uuid,
    /// What the token is made of.
    pub kind: i16,
    /// The token.
    pub token: Token,
    /// The event that says so.
    pub event: Uuid,
}

/// Looks up and forgets. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BlindIndex {
    database: Database,
}

impl BlindIndex {
    /// Of this log.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// All rows of the cases that have one of the tokens, at most [`CANDIDATES_MAX`] cases.
    ///
    /// One statement whatever it finds. Shape: in the order of cases and kinds.
    pub async fn like(&self, tokens: &[Token]) -> Result<Vec<BlindEntry>, LogError> {
        let client = self.database.get().await?;
        let tokens: Vec<&[u8]> = tokens.iter().map(|token| token.0.as_slice()).collect();
        let statement = client
            .prepare_cached(
                "SELECT b.case_id, b.kind, b.token, b.event_id FROM ( \
                     SELECT case_id FROM log.blind_index WHERE token = ANY($1) \
                     GROUP BY case_id ORDER BY count(DISTINCT token) DESC, case_id LIMIT $2 \
                 ) AS c JOIN log.blind_index AS b USING (case_id) ORDER BY b.case_id, b.kind, b.token",
            )
            .await?;
        let rows = client.query(&statement, &[&tokens, &(CANDIDATES_MAX as i64)]).await?;
        Ok(rows.iter().map(entry).collect())
    }

    /// All rows of a case.
    pub async fn of(&self, case: Uuid) -> Result<Vec<BlindEntry>, LogError> {
        let client = self.database.get().await?;
        let sql = "SELECT case_id, kind, token, event_id FROM log.blind_index WHERE case_id = $1 \
                   ORDER BY kind, token";
        let statement = client.prepare_cached(sql).await?;
        Ok(client.query(&statement, &[&case]).await?.iter().map(entry).collect())
    }

    /// Removes every token of a case, in the transaction of `client`: what erasure calls.
    ///
    /// Answers how many rows went.
    pub async fn forget(client: &Client, case: Uuid) -> Result<u64, LogError> {
        Ok(client.execute("DELETE FROM log.blind_index WHERE case_id = $1", &[&case]).await?)
    }

    /// Takes one search from a post's allowance of `per_hour`, which fills again evenly; false where none is left.
    ///
    /// One row and one statement, so that a second process gives nothing away. The server's clock counts.
    pub async fn take_search(&self, post: Uuid, per_hour: u32) -> Result<bool, LogError> {
        let client = self.database.get().await?;
        let statement = client
            .prepare_cached(
                "INSERT INTO log.search_allowance AS a (post_id, left_, at) \
                 VALUES ($1, $2::float8 - 1, clock_timestamp()) \
                 ON CONFLICT (post_id) DO UPDATE SET at = clock_timestamp(), \
                     left_ = least($2, a.left_ + greatest(0, extract(epoch FROM clock_timestamp() - a.at)::float8) * $2 / 3600) - 1 \
                 WHERE least($2, a.left_ + greatest(0, extract(epoch FROM clock_timestamp() - a.at)::float8) * $2 / 3600) >= 1",
            )
            .await?;
        Ok(client.execute(&statement, &[&post, &f64::from(per_hour)]).await? == 1)
    }
}

fn entry(row: &tokio_postgres::Row) -> BlindEntry {
    BlindEntry { case: row.get(0), kind: row.get(1), token: Token(row.get(2)), event: row.get(3) }
}

/// The columns of the rows to insert, in the order of the table.
pub(crate) type Columns<'a> = (Vec<Uuid>, Vec<i16>, Vec<&'a [u8]>, Vec<Uuid>);

pub(crate) const INSERT: &str = "INSERT INTO log.blind_index \
     SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::bytea[], $4::uuid[]) ON CONFLICT DO NOTHING";

pub(crate) fn columns<'a>(entries: impl Iterator<Item = &'a BlindEntry>) -> Columns<'a> {
    let mut columns: Columns<'a> = Default::default();
    for entry in entries {
        columns.0.push(entry.case);
        columns.1.push(entry.kind);
        columns.2.push(&entry.token.0);
        columns.3.push(entry.event);
    }
    columns
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_depends_on_the_key_the_kind_and_the_clue() {
        let (keys, others) = (Keyring::generate().unwrap(), Keyring::generate().unwrap());
        let token = keys.blind_token(1, "例");
        assert_eq!(token, keys.blind_token(1, "例"));
        for other in [others.blind_token(1, "例"), keys.blind_token(2, "例"), keys.blind_token(1, "例例")]
        {
            assert_ne!(token, other);
        }
        // The key is none that anything else is digested with.
        assert_ne!(token.0, keys.digest(&[&1_i16.to_be_bytes(), "例".as_bytes()]));
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
