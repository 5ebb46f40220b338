//! Walking the whole chain: every row's hash, every signed head, every stream's versions, and what the tables beside the
//! events say of them (`beside`).
//!
//! It finds the first bad row and says what is wrong with it. It trusts nothing in the database but compares it with
//! itself and with the public key; a rewrite of the whole suffix by someone who also holds the signing key is found
//! only from outside, from a post's own chain.

use prost::Message as _;
use tasuki_contract::event::v1::Header;
use uuid::Uuid;

use crate::anchors::ReadsHead;
use crate::beside::Beside;
use crate::chain::{GENESIS, head_message, row_hash};
use crate::db::Database;
use crate::error::LogError;
use crate::keyring::Signers;

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The position is not the one after the previous row's: something was removed or inserted.
    Gap,
    /// The row does not hash to what it says.
    Hash,
    /// The recorded time or the epoch goes backwards.
    Order,
    /// The header cannot be read, or disagrees with the row's columns.
    Header,
    /// The version is not the next of its stream.
    Version,
    /// A signed head disagrees with the row, or its signature is not valid.
    Head,
    /// A signed head stands behind the last row: the end was cut off.
    Truncated,
    /// The last rows have no signed head.
    Unsigned,
    /// A read on record stands in no writer's chain: somebody else put it there.
    Unchained,
    /// A table beside the events, named here, says otherwise than the row or has lost what belongs to it.
    Beside(&'static str),
}

/// What the walk found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Rows that were walked.
    pub rows: u64,
    /// Signed heads that were checked.
    pub heads: u64,
    /// The first bad position, and what is wrong there.
    pub first_bad: Option<(u64, Defect)>,
}

const PAGE: i64 = 2_000;

/// Walks the log from the first row, whose heads any of the given public keys may have signed; calls `progress` with the position after each page.
pub async fn verify(
    database: &Database,
    public_keys: impl Into<Signers>,
    mut progress: impl FnMut(u64),
) -> Result<Report, LogError> {
    let client = database.get().await?;
    let rows_statement = client
        .prepare(
            "SELECT e.position, e.epoch, e.recorded_at, e.header, e.parts, e.hash, e.stream_kind, e.stream_id, \
                    e.version, e.event_id, h.epoch, h.hash, h.signature, h.key_id, h.reads_number, h.reads_hash \
             FROM log.events AS e LEFT JOIN log.heads AS h USING (position) \
             WHERE e.position > $1 ORDER BY e.position LIMIT $2",
        )
        .await?;
    let key = public_keys.into();
    let mut walk = Walk {
        hash: GENESIS.to_vec(),
        epoch: 0,
        recorded_at_us: 0,
        position: 0,
        signed: 0,
        beside: Beside::default(),
    };
    let mut report = Report { rows: 0, heads: 0, first_bad: None };
    let mut cursor = i64::MIN;
    loop {
        let rows = client.query(&rows_statement, &[&cursor, &PAGE]).await?;
        for row in &rows {
            cursor = row.get(0);
            if let Some(bad) = walk.row(row, &key, &mut report) {
                report.first_bad = Some(bad);
                return Ok(report);
            }
        }
        progress(walk.position);
        if (rows.len() as i64) < PAGE {
            break;
        }
    }
    // In one statement: the log may have grown since the last page, and its new heads have their rows.
    let ends = client
        .query_one(
            "SELECT coalesce((SELECT max(position) FROM log.events), 0), \
                    coalesce((SELECT max(position) FROM log.heads), 0)",
            &[],
        )
        .await?;
    let (rows_end, heads_end): (i64, i64) = (ends.get(0), ends.get(1));
    if heads_end > rows_end {
        report.first_bad = Some((rows_end as u64 + 1, Defect::Truncated));
    } else if walk.signed != walk.position {
        report.first_bad = Some((walk.signed + 1, Defect::Unsigned));
    } else {
        report.first_bad = walk.beside.first_bad(&client).await?;
    }
    Ok(report)
}

struct Walk {
    hash: Vec<u8>,
    epoch: u64,
    recorded_at_us: i64,
    position: u64,
    signed: u64,
    beside: Beside,
}

impl Walk {
    fn row(
        &mut self,
        row: &tokio_postgres::Row,
        key: &Signers,
        report: &mut Report,
    ) -> Option<(u64, Defect)> {
        let next = self.position + 1;
        let stored: i64 = row.get(0);
        if stored != next as i64 {
            return Some((next, Defect::Gap));
        }
        let (epoch, at) = (row.get::<_, i64>(1) as u64, row.get::<_, i64>(2));
        let (header, parts, hash): (&[u8], &[u8], &[u8]) = (row.get(3), row.get(4), row.get(5));
        if row_hash(&self.hash, next, epoch, at, header, parts) != hash {
            return Some((next, Defect::Hash));
        }
        if epoch < self.epoch || at < self.recorded_at_us {
            return Some((next, Defect::Order));
        }
        let Ok(decoded) = Header::decode(header) else { return Some((next, Defect::Header)) };
        let (stream, version): (Uuid, i64) = (row.get(7), row.get(8));
        let agrees = decoded.stream_kind as i16 == row.get::<_, i16>(6)
            && Uuid::try_parse(&decoded.stream_id).unwrap_or_default() == stream
            && decoded.version as i64 == version
            // As the append reads them: an id in capitals is no tampering.
            && Uuid::try_parse(&decoded.event_id).unwrap_or_default() == row.get::<_, Uuid>(9);
        if !agrees {
            return Some((next, Defect::Header));
        }
        let before = self.beside.note(next, stream, &decoded);
        if decoded.version != before + 1 {
            return Some((next, Defect::Version));
        }
        if let Some(signature) = row.get::<_, Option<&[u8]>>(12) {
            let same = row.get::<_, &[u8]>(11) == hash && row.get::<_, i64>(10) as u64 == epoch;
            let reads = ReadsHead { number: row.get::<_, i64>(14) as u64, hash: row.get(15) };
            if !same || !key.signed(row.get(13), &head_message(next, epoch, hash, &reads), signature) {
                return Some((next, Defect::Head));
            }
            report.heads += 1;
            self.signed = next;
        }
        self.hash = hash.to_vec();
        self.epoch = epoch;
        self.recorded_at_us = at;
        self.position = next;
        report.rows += 1;
        None
    }
}
