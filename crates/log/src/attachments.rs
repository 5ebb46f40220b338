//! The bytes of documents, beside the log: announced, put chunk by chunk, kept once an event says so.
//!
//! Everything is sealed with the key of the case, in `seal` and `open` alone. A chunk is never changed once it is there,
//! so what was found when a document was completed is still so when its event is appended, and every retry finds the
//! same. A document belongs to the log when `log.items` names it, which the append of its event writes; until then it
//! can expire. It decides nothing about who may put or read.

use std::collections::HashMap;

use deadpool_postgres::Transaction;
use ring::digest::{Context, SHA256, digest};
use tasuki_contract::SealedPart;
use tasuki_contract::event::v1::PartInfo;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::db::{DURABILITY, Database, durable};
use crate::error::LogError;
use crate::seal::{AES_256_GCM_RANDOM_NONCE, Sealer};

/// How long what was announced may take.
const UNFINISHED_H: i32 = 24;
/// How long it stays at least once it is being completed: far longer than an append is tried for.
const COMPLETING_H: i32 = 1;

/// A document to come.
#[derive(Clone, Debug)]
pub struct NewAttachment {
    /// Its id, never used before.
    pub attachment: Uuid,
    /// The case whose key seals it.
    pub case: Uuid,
    /// The agency that announces it.
    pub agency: Uuid,
    /// The post that announces it.
    pub post: Uuid,
    /// Unique within the agency as long as the document is unfinished.
    pub request_id: String,
    /// Keyed digest of the request.
    pub request_digest: Vec<u8>,
    /// What is to be known of it later: sealed, as it may be personal.
    pub about: Vec<u8>,
}

/// What became of an announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It may come under this id: the one of the first try, where this is a retry.
    As(Uuid),
    /// The request id was used with another announcement.
    RequestReused,
    /// The post has as many unfinished documents as it may.
    TooMany,
}

/// A document that was announced and is not in the log yet.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// The case whose key seals it.
    pub case: Uuid,
    /// The post that announced it.
    pub post: Uuid,
    /// What was announced.
    pub about: Vec<u8>,
}

/// What became of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there, now or since an earlier try.
    Kept,
    /// Another chunk is there under its index.
    Differs,
    /// The document expired meanwhile.
    Gone,
}

/// The bytes of documents.
#[derive(Clone, Debug)]
pub struct Attachments {
    database: Database,
    sealer: Sealer,
}

impl Attachments {
    /// Bytes lie in `database`, and their keys are those of `sealer`.
    pub fn new(database: Database, sealer: Sealer) -> Self {
        Self { database, sealer }
    }

    /// Announces a document, of which a post has at most `unfinished_max` that are not in the log.
    ///
    /// Errors: [`LogError::Unopenable`] for a case without a key; faults.
    pub async fn begin(&self, new: &NewAttachment, unfinished_max: i64) -> Result<Begun, LogError> {
        self.sweep().await?;
        let (key_id, about) =
            self.seal(new.attachment, new.case, &about_aad(new.attachment), &new.about).await?;
        let mut client = self.database.get().await?;
        let transaction = client.transaction().await?;
        // One announcement of an agency at a time, so that neither a retry nor the bound is raced.
        let (_, lock) = new.agency.as_u64_pair();
        transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&(lock as i64)]).await?;
        let earlier = "SELECT attachment_id, request_digest FROM log.attachments \
                       WHERE agency_id = $1 AND request_id = $2";
        if let Some(row) = transaction.query_opt(earlier, &[&new.agency, &new.request_id]).await? {
            let same = row.get::<_, Option<&[u8]>>(1) == Some(&new.request_digest);
            return Ok(if same { Begun::As(row.get(0)) } else { Begun::RequestReused });
        }
        let count = "SELECT count(*) FROM log.attachments WHERE post_id = $1 AND expires_at IS NOT NULL";
        if transaction.query_one(count, &[&new.post]).await?.get::<_, i64>(0) >= unfinished_max {
            return Ok(Begun::TooMany);
        }
        let insert = "INSERT INTO log.attachments (attachment_id, case_id, agency_id, post_id, request_id, \
                          request_digest, key_id, about, expires_at) \
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + make_interval(hours => $9))";
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 9] = [
            &new.attachment,
            &new.case,
            &new.agency,
            &new.post,
            &new.request_id,
            &new.request_digest,
            &key_id,
            &about,
            &UNFINISHED_H,
        ];
        transaction.execute(insert, &row).await?;
        commit_durably(transaction).await?;
        Ok(Begun::As(new.attachment))
    }

    /// A document that was announced; `None` for one that is unknown, has expired or is in the log.
    pub async fn unfinished(&self, attachment: Uuid) -> Result<Option<Unfinished>, LogError> {
        let client = self.database.get().await?;
        let sql = "SELECT case_id, post_id, key_id, about FROM log.attachments \
                   WHERE attachment_id = $1 AND expires_at > now()";
        let statement = client.prepare_cached(sql).await?;
        let Some(row) = client.query_opt(&statement, &[&attachment]).await? else { return Ok(None) };
        let (key_id, about): (Uuid, Vec<u8>) = (row.get(2), row.get(3));
        let about = self.open(attachment, key_id, &about_aad(attachment), &about).await?;
        Ok(Some(Unfinished { case: row.get(0), post: row.get(1), about }))
    }

    /// Keeps one chunk of a document whose SHA-256 is `sha256`.
    pub async fn put(
        &self,
        attachment: Uuid,
        case: Uuid,
        sha256: &[u8],
        index: i32,
        bytes: &[u8],
    ) -> Result<Put, LogError> {
        let aad = chunk_aad(attachment, index, sha256);
        let (key_id, sealed) = self.seal(attachment, case, &aad, bytes).await?;
        let mut client = self.database.get().await?;
        let transaction = client.transaction().await?;
        // The row is held so that it does not expire beneath the chunk.
        let insert = "INSERT INTO log.attachment_chunks (attachment_id, chunk_index, key_id, sealed) \
                      SELECT attachment_id, $2::int4, $3::uuid, $4::bytea FROM log.attachments \
                      WHERE attachment_id = $1 AND expires_at > now() FOR SHARE \
                      ON CONFLICT DO NOTHING";
        let written = transaction.execute(insert, &[&attachment, &index, &key_id, &sealed]).await?;
        commit_durably(transaction).await?;
        drop(client);
        if written > 0 {
            return Ok(Put::Kept);
        }
        Ok(match self.chunk(attachment, sha256, index).await? {
            Some(there) if there == bytes => Put::Kept,
            Some(_) => Put::Differs,
            None => Put::Gone,
        })
    }

    /// One chunk, opened; `None` where there is none.
    ///
    /// Errors: [`LogError::Unopenable`] when its key is gone or it was altered; faults.
    pub async fn chunk(
        &self,
        attachment: Uuid,
        sha256: &[u8],
        index: i32,
    ) -> Result<Option<Vec<u8>>, LogError> {
        let Some((key_id, sealed)) = self.sealed(attachment, index).await? else { return Ok(None) };
        let aad = chunk_aad(attachment, index, sha256);
        self.open(attachment, key_id, &aad, &sealed).await.map(Some)
    }

    /// Passes over every chunk of a document that is being completed, in order; it does not expire meanwhile.
    ///
    /// Returns the SHA-256 of the bytes and the digest of the sealed chunks; `None` where a chunk is missing.
    pub async fn pass_over(
        &self,
        attachment: Uuid,
        sha256: &[u8],
        chunks: i32,
        mut look: impl FnMut(&[u8]),
    ) -> Result<Option<(Vec<u8>, Vec<u8>)>, LogError> {
        let hold = "UPDATE log.attachments SET expires_at = greatest(expires_at, now() + make_interval(hours => $2)) \
                    WHERE attachment_id = $1 AND expires_at > now()";
        if self.database.get().await?.execute(hold, &[&attachment, &COMPLETING_H]).await? == 0 {
            return Ok(None);
        }
        let (mut plain, mut outside) = (Context::new(&SHA256), Context::new(&SHA256));
        for index in 0..chunks {
            let Some((key_id, sealed)) = self.sealed(attachment, index).await? else { return Ok(None) };
            outside.update(&index.to_be_bytes());
            outside.update(key_id.as_bytes());
            outside.update(digest(&SHA256, &sealed).as_ref());
            let aad = chunk_aad(attachment, index, sha256);
            let bytes = self.open(attachment, key_id, &aad, &sealed).await?;
            plain.update(&bytes);
            look(&bytes);
        }
        Ok(Some((plain.finish().as_ref().to_vec(), outside.finish().as_ref().to_vec())))
    }

    /// The document is in the log: what was only for its coming goes.
    pub async fn settle(&self, attachment: Uuid) -> Result<(), LogError> {
        let sql = format!("{SETTLE} AND attachment_id = $1");
        self.database.get().await?.execute(&sql, &[&attachment]).await?;
        Ok(())
    }

    /// Throws a document away with its chunks, unless it is in the log.
    pub async fn discard(&self, attachment: Uuid) -> Result<(), LogError> {
        let sql = format!("{DISCARD} AND attachment_id = $1");
        self.database.get().await?.execute(&sql, &[&attachment]).await?;
        Ok(())
    }

    /// Throws away what has expired; settles what is in the log and was not settled, as when a process died.
    ///
    /// Returns how many documents were thrown away.
    pub async fn sweep(&self) -> Result<u64, LogError> {
        let client = self.database.get().await?;
        client.execute(&format!("{SETTLE} AND expires_at <= now()"), &[]).await?;
        Ok(client.execute(&format!("{DISCARD} AND expires_at <= now()"), &[]).await?)
    }

    async fn sealed(&self, attachment: Uuid, index: i32) -> Result<Option<(Uuid, Vec<u8>)>, LogError> {
        let client = self.database.get().await?;
        let sql =
            "SELECT key_id, sealed FROM log.attachment_chunks WHERE attachment_id = $1 AND chunk_index = $2";
        let statement = client.prepare_cached(sql).await?;
        let row = client.query_opt(&statement, &[&attachment, &index]).await?;
        Ok(row.map(|row| (row.get(0), row.get(1))))
    }

    async fn seal(
        &self,
        attachment: Uuid,
        case: Uuid,
        aad: &[u8],
        plain: &[u8],
    ) -> Result<(Uuid, Vec<u8>), LogError> {
        let gone = || LogError::Unopenable { event_id: attachment.to_string() };
        let key = self.sealer.key_of((case, case, SealedPart::Stream as i16)).await?.ok_or_else(gone)?;
        Ok((key.key_id, self.sealer.seal(&key, aad, plain)?))
    }

    async fn open(
        &self,
        attachment: Uuid,
        key_id: Uuid,
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Vec<u8>, LogError> {
        let info = PartInfo {
            part: SealedPart::Stream.into(),
            key_id: key_id.to_string(),
            algorithm: AES_256_GCM_RANDOM_NONCE,
        };
        self.sealer.open(&info, aad, sealed, &attachment.to_string()).await
    }
}

const SETTLE: &str = "UPDATE log.attachments AS a SET request_id = NULL, request_digest = NULL, key_id = NULL, \
                          about = NULL, expires_at = NULL \
                      WHERE expires_at IS NOT NULL \
                        AND EXISTS (SELECT FROM log.items i WHERE i.item_id = a.attachment_id)";
const DISCARD: &str = "DELETE FROM log.attachments AS a \
                       WHERE expires_at IS NOT NULL \
                         AND NOT EXISTS (SELECT FROM log.items i WHERE i.item_id = a.attachment_id)";

/// The digests of the sealed chunks as they lie there, of the documents that have any: what events say of them, see
/// [`Attachments::pass_over`]. PostgreSQL computes them, so that no chunk travels; no key is needed.
pub(crate) async fn sealed_digests(
    client: &Client,
    attachments: impl Iterator<Item = &Uuid>,
) -> Result<HashMap<Uuid, Vec<u8>>, LogError> {
    // Small, as each can hold megabytes.
    const CHUNK: usize = 50;
    let ids: Vec<Uuid> = attachments.copied().collect();
    let sql = "SELECT attachment_id, \
                      sha256(string_agg(int4send(chunk_index) || uuid_send(key_id) || sha256(sealed), ''::bytea \
                                        ORDER BY chunk_index)) \
               FROM log.attachment_chunks WHERE attachment_id = ANY($1) GROUP BY attachment_id";
    let statement = client.prepare(sql).await?;
    let mut digests = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(CHUNK) {
        let rows = client.query(&statement, &[&chunk]).await?;
        digests.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
    }
    Ok(digests)
}

/// Commits what is acknowledged afterwards.
///
/// Errors: [`LogError::NotDurable`] where the server would not keep it through a crash; then nothing is committed.
async fn commit_durably(transaction: Transaction<'_>) -> Result<(), LogError> {
    transaction.batch_execute("SET LOCAL synchronous_commit = on").await?;
    durable(&transaction.query_one(&format!("SELECT {DURABILITY}"), &[]).await?, 0)?;
    transaction.commit().await?;
    Ok(())
}

fn chunk_aad(attachment: Uuid, index: i32, sha256: &[u8]) -> Vec<u8> {
    [b"tasuki attachment chunk 1".as_slice(), attachment.as_bytes(), &index.to_be_bytes(), sha256].concat()
}

fn about_aad(attachment: Uuid) -> Vec<u8> {
    [b"tasuki attachment about 1".as_slice(), attachment.as_bytes()].concat()
}
