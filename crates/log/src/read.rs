//! Reading the log: by position, by stream, by event.

use prost::Message as _;
use tasuki_contract::event::v1::{Envelope, Header};
use tasuki_contract::{DecodeEventError, Event};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::chain::commitment;
use crate::db::Database;
use crate::error::LogError;
use crate::seal::Sealer;

const COLUMNS: &str = "position, epoch, recorded_at, header, parts, hash";

/// One row of the log.
#[derive(Clone, Debug)]
pub struct Record {
    /// Gapless place, from 1.
    pub position: u64,
    /// Epoch of the log.
    pub epoch: u64,
    /// Microseconds since 1970-01-01 UTC.
    pub recorded_at_us: i64,
    /// The header, decoded.
    pub header: Header,
    /// The header as hashed.
    pub header_bytes: Vec<u8>,
    /// Sealed parts as stored.
    pub parts: Vec<u8>,
    /// Hash of the row.
    pub hash: Vec<u8>,
}

impl Record {
    fn from_row(row: &Row) -> Result<Self, LogError> {
        Self::from_columns(row, 0)
    }

    /// Of the columns from `first` on: position, epoch, time, header, parts, hash.
    pub(crate) fn from_columns(row: &Row, first: usize) -> Result<Self, LogError> {
        let position = row.get::<_, i64>(first) as u64;
        let header_bytes: Vec<u8> = row.get(first + 3);
        let header =
            Header::decode(header_bytes.as_slice()).map_err(|_| LogError::UnreadableHeader { position })?;
        Ok(Self {
            position,
            epoch: row.get::<_, i64>(first + 1) as u64,
            recorded_at_us: row.get(first + 2),
            header,
            header_bytes,
            parts: row.get(first + 4),
            hash: row.get(first + 5),
        })
    }

    /// What the broker carries of it: everything but the sealed parts.
    pub fn envelope(&self) -> Envelope {
        Envelope {
            position: self.position,
            epoch: self.epoch,
            recorded_at: Some(timestamp(self.recorded_at_us)),
            header: self.header_bytes.clone(),
            hash: self.hash.clone(),
            commitment: self.commitment().to_vec(),
        }
    }

    /// The hash of the event by itself, of the bytes that were read. Shape: SHA-256.
    pub fn commitment(&self) -> [u8; 32] {
        commitment(&self.header_bytes, &self.parts)
    }

    /// The event reduced to its open fields; needs no key.
    pub fn open_event(&self) -> Result<Event, DecodeEventError> {
        Event::decode(&self.header.r#type, &[&self.header.open_payload])
    }

    /// The sealed parts, in the order of `header.parts`.
    pub fn sealed_parts(&self) -> Vec<&[u8]> {
        let mut rest = self.parts.as_slice();
        let mut parts = Vec::new();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let Some((part, tail)) = tail.split_at_checked(u32::from_be_bytes(*length) as usize) else {
                break;
            };
            parts.push(part);
            rest = tail;
        }
        parts
    }

    /// The ids of the keys that seal its parts.
    pub fn key_ids(&self) -> Vec<Uuid> {
        self.header.parts.iter().filter_map(|p| Uuid::try_parse(&p.key_id).ok()).collect()
    }
}

/// A protobuf timestamp of microseconds since 1970-01-01 UTC.
pub fn timestamp(us: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: us.div_euclid(1_000_000),
        nanos: (us.rem_euclid(1_000_000) * 1_000) as i32,
    }
}

/// Reads the log of one database.
#[derive(Clone, Debug)]
pub struct Reader {
    database: Database,
}

impl Reader {
    /// Reads through the pool of `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    pub(crate) fn database(&self) -> &Database {
        &self.database
    }

    /// The headers of the given events, in no order; unknown ids are left out.
    pub async fn headers(&self, event_ids: &[Uuid]) -> Result<Vec<Header>, LogError> {
        let client = self.database.get().await?;
        let sql = "SELECT position, header FROM log.events WHERE event_id = ANY($1)";
        let statement = client.prepare_cached(sql).await?;
        let rows = client.query(&statement, &[&event_ids]).await?;
        let header = |row: &Row| {
            let unreadable = |_| LogError::UnreadableHeader { position: row.get::<_, i64>(0) as u64 };
            Header::decode(row.get::<_, &[u8]>(1)).map_err(unreadable)
        };
        rows.iter().map(header).collect()
    }

    /// Position and epoch of the last row; (0, 1) of an empty log.
    pub async fn head(&self) -> Result<(u64, u64), LogError> {
        let client = self.database.get().await?;
        let statement = client
            .prepare_cached("SELECT position, epoch FROM log.events ORDER BY position DESC LIMIT 1")
            .await?;
        let row = client.query_opt(&statement, &[]).await?;
        Ok(row.map_or((0, 1), |r| (r.get::<_, i64>(0) as u64, r.get::<_, i64>(1) as u64)))
    }

    /// At most `limit` rows after `position`, ascending and without a gap.
    pub async fn after(&self, position: u64, limit: usize) -> Result<Vec<Record>, LogError> {
        let client = self.database.get().await?;
        let sql = format!("SELECT {COLUMNS} FROM log.events WHERE position > $1 ORDER BY position LIMIT $2");
        let statement = client.prepare_cached(&sql).await?;
        let rows = client.query(&statement, &[&(position as i64), &(limit as i64)]).await?;
        rows.iter().map(Record::from_row).collect()
    }

    /// What the broker carries of the rows after `position`: at most `limit`, ascending and without a gap. Nothing is
    /// decoded, so a header that cannot be read is passed on as it is.
    pub async fn envelopes_after(&self, position: u64, limit: usize) -> Result<Vec<Envelope>, LogError> {
        let client = self.database.get().await?;
        let statement = client
            .prepare_cached(
                "SELECT position, epoch, recorded_at, header, hash, commitment FROM log.events \
                 WHERE position > $1 ORDER BY position LIMIT $2",
            )
            .await?;
        let rows = client.query(&statement, &[&(position as i64), &(limit as i64)]).await?;
        let envelope = |row: &Row| Envelope {
            position: row.get::<_, i64>(0) as u64,
            epoch: row.get::<_, i64>(1) as u64,
            recorded_at: Some(timestamp(row.get(2))),
            header: row.get(3),
            hash: row.get(4),
            commitment: row.get(5),
        };
        Ok(rows.iter().map(envelope).collect())
    }

    /// The rows of a stream after `version`, ascending.
    pub async fn stream(&self, stream: Uuid, version: u64) -> Result<Vec<Record>, LogError> {
        let client = self.database.get().await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM log.events WHERE stream_id = $1 AND version > $2 ORDER BY version"
        );
        let statement = client.prepare_cached(&sql).await?;
        let rows = client.query(&statement, &[&stream, &(version as i64)]).await?;
        rows.iter().map(Record::from_row).collect()
    }

    /// The rows of the directory's streams after `position`, ascending.
    pub async fn directory_after(&self, position: u64) -> Result<Vec<Record>, LogError> {
        let client = self.database.get().await?;
        let sql = format!(
            "SELECT {COLUMNS} FROM log.events WHERE stream_kind IN (4, 5, 6, 7) AND position > $1 ORDER BY position"
        );
        let statement = client.prepare_cached(&sql).await?;
        let rows = client.query(&statement, &[&(position as i64)]).await?;
        rows.iter().map(Record::from_row).collect()
    }

    /// The rows of the given events, in the order of their positions; unknown ids are left out.
    pub async fn events(&self, event_ids: &[Uuid]) -> Result<Vec<Record>, LogError> {
        let client = self.database.get().await?;
        let sql = format!("SELECT {COLUMNS} FROM log.events WHERE event_id = ANY($1) ORDER BY position");
        let statement = client.prepare_cached(&sql).await?;
        let rows = client.query(&statement, &[&event_ids]).await?;
        rows.iter().map(Record::from_row).collect()
    }

    /// The position of an event; `None` for an unknown one.
    pub async fn position_of(&self, event_id: Uuid) -> Result<Option<u64>, LogError> {
        let client = self.database.get().await?;
        let statement = client.prepare_cached("SELECT position FROM log.events WHERE event_id = $1").await?;
        Ok(client.query_opt(&statement, &[&event_id]).await?.map(|r| r.get::<_, i64>(0) as u64))
    }

    /// The stream in which a referral, hand-off, meeting or consultation lives; `None` for an unknown one.
    pub async fn stream_of(&self, item: Uuid) -> Result<Option<Uuid>, LogError> {
        let client = self.database.get().await?;
        let statement = client.prepare_cached("SELECT stream_id FROM log.items WHERE item_id = $1").await?;
        Ok(client.query_opt(&statement, &[&item]).await?.map(|r| r.get(0)))
    }

    /// How many cases the post is responsible for.
    pub async fn cases_led(&self, post: Uuid) -> Result<u64, LogError> {
        let client = self.database.get().await?;
        let statement = client.prepare_cached("SELECT count(*) FROM log.leads WHERE post_id = $1").await?;
        Ok(client.query_one(&statement, &[&post]).await?.get::<_, i64>(0) as u64)
    }

    /// The current versions of those of the given streams that are of the given kinds, numbers of the contract's
    /// `StreamKind`; those that do not exist, or are of another kind, are left out.
    pub async fn versions_of_kinds(&self, streams: &[(i32, Uuid)]) -> Result<Vec<(Uuid, u64)>, LogError> {
        let client = self.database.get().await?;
        let sql = "SELECT stream_id, version FROM log.streams JOIN unnest($1::int[], $2::uuid[]) AS wanted (kind, id) \
                   ON stream_id = wanted.id AND streams.kind = wanted.kind";
        let statement = client.prepare_cached(sql).await?;
        let (kinds, ids): (Vec<i32>, Vec<Uuid>) = streams.iter().copied().unzip();
        let rows = client.query(&statement, &[&kinds, &ids]).await?;
        Ok(rows.iter().map(|r| (r.get(0), r.get::<_, i64>(1) as u64)).collect())
    }

    /// The current versions of the given streams; those that do not exist are left out.
    pub async fn versions(&self, streams: &[Uuid]) -> Result<Vec<(Uuid, u64)>, LogError> {
        let client = self.database.get().await?;
        let statement = client
            .prepare_cached("SELECT stream_id, version FROM log.streams WHERE stream_id = ANY($1)")
            .await?;
        let rows = client.query(&statement, &[&streams]).await?;
        Ok(rows.iter().map(|r| (r.get(0), r.get::<_, i64>(1) as u64)).collect())
    }

    /// The disclosure epochs of the given cases; 0 where nothing was ever disclosed.
    pub async fn disclosure_epochs(&self, cases: &[Uuid]) -> Result<Vec<(Uuid, u64)>, LogError> {
        let client = self.database.get().await?;
        let statement = client
            .prepare_cached("SELECT case_id, epoch FROM log.disclosures WHERE case_id = ANY($1)")
            .await?;
        let rows = client.query(&statement, &[&cases]).await?;
        let known: std::collections::HashMap<Uuid, u64> =
            rows.iter().map(|r| (r.get(0), r.get::<_, i64>(1) as u64)).collect();
        Ok(cases.iter().map(|c| (*c, known.get(c).copied().unwrap_or(0))).collect())
    }

    /// Opens an event with all parts whose keys there are.
    ///
    /// Errors: [`LogError::Erased`]; [`LogError::Unopenable`] when a key is lost or a part was altered; a type that this binary does not
    /// know is [`LogError::UnreadableHeader`].
    pub async fn open(&self, sealer: &Sealer, record: &Record) -> Result<Event, LogError> {
        let mut pieces = vec![record.header.open_payload.clone()];
        for (info, sealed) in record.header.parts.iter().zip(record.sealed_parts()) {
            pieces.push(sealer.open(info, &record.header_bytes, sealed, &record.header.event_id).await?);
        }
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        Event::decode(&record.header.r#type, &pieces)
            .map_err(|_| LogError::UnreadableHeader { position: record.position })
    }
}
