//! Walking the ledger of reads: every record's hash, every signature, what was anchored, and what was closed.
//!
//! Writer by writer, in pages, so that memory is bounded by the anchors of one writer. A month that was dropped at the
//! end of its retention has left a signed closing, from which the chain goes on.

use std::collections::HashMap;

use crate::keyring::Signers;
use tokio_postgres::{Client, Row as PgRow};
use uuid::Uuid;

use crate::anchors::ReadsHead;
use crate::chain::GENESIS;
use crate::db::Database;
use crate::error::LogError;
use crate::ledger::{Row, anchor_hash, anchor_message, batch_message, closing_message, micros};
use crate::verify::Defect;

/// Where the ledger is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadRead {
    /// Whose chain; nil for a record that stands in none.
    pub writer: Uuid,
    /// The place in it; of an anchor, the place that it names.
    pub number: u64,
    /// What is wrong there.
    pub defect: Defect,
}

/// What the walk found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadsReport {
    /// Records that were walked.
    pub reads: u64,
    /// Writers that they are of.
    pub writers: u64,
    /// Anchors that were checked.
    pub anchors: u64,
    /// The first bad place.
    pub first_bad: Option<BadRead>,
}

const PAGE: i64 = 2_000;

const ROWS: &str = "SELECT number, read_id, read_at, agency_id, post_id, purpose, method, case_ids, event_ids, \
     fact_keys, grant_ids, policy_version, hash, signature \
     FROM log.reads WHERE writer = $1 AND (number, read_id) > ($2, $3) ORDER BY number, read_id LIMIT $4";

/// Walks all reads on record, which any of the given public keys may have signed; calls `progress` with how many it has seen after each page.
pub async fn verify_reads(
    database: &Database,
    public_keys: impl Into<Signers>,
    mut progress: impl FnMut(u64),
) -> Result<ReadsReport, LogError> {
    let client = database.get().await?;
    let key = public_keys.into();
    let mut report = ReadsReport::default();
    if let Some(bad) = anchors(&client, &key, &mut report).await? {
        report.first_bad = Some(bad);
        return Ok(report);
    }
    let writers = "SELECT writer FROM log.read_writers UNION SELECT writer FROM log.read_anchors \
                   UNION SELECT writer FROM log.reads ORDER BY writer";
    for row in client.query(writers, &[]).await? {
        let Some(writer) = row.get::<_, Option<Uuid>>(0) else {
            report.first_bad = Some(BadRead { writer: Uuid::nil(), number: 0, defect: Defect::Unchained });
            return Ok(report);
        };
        report.writers += 1;
        let mut walk = Walk::of(&client, &key, writer).await?;
        if let Some((number, defect)) = walk.run(&client, &key, &mut report, &mut progress).await? {
            report.first_bad = Some(BadRead { writer, number, defect });
            return Ok(report);
        }
    }
    Ok(report)
}

/// Walks the anchors; the first bad one, or the place after the last where the log knows of more.
async fn anchors(
    client: &Client,
    key: &Signers,
    report: &mut ReadsReport,
) -> Result<Option<BadRead>, LogError> {
    // Before the anchors: those that come meanwhile are no less.
    let newest = "SELECT reads_number, reads_hash FROM log.heads ORDER BY position DESC LIMIT 1";
    let named = client.query_opt(newest, &[]).await?.map_or_else(ReadsHead::default, |row| ReadsHead {
        number: row.get::<_, i64>(0) as u64,
        hash: row.get(1),
    });
    let page = client
        .prepare(
            "SELECT number, at, writer, writer_number, writer_hash, hash, signature FROM log.read_anchors \
             WHERE number > $1 ORDER BY number LIMIT $2",
        )
        .await?;
    let (mut previous, mut number) = (GENESIS.to_vec(), 0u64);
    loop {
        let rows = client.query(&page, &[&(number as i64), &PAGE]).await?;
        for row in &rows {
            let (writer, writer_number): (Uuid, i64) = (row.get(2), row.get(3));
            let (hash, signature): (&[u8], &[u8]) = (row.get(5), row.get(6));
            let next = number + 1;
            let fresh = anchor_hash(&previous, next, row.get(1), writer, writer_number as u64, row.get(4));
            let good = row.get::<_, i64>(0) as u64 == next
                && fresh == hash
                && key.any_signed(&anchor_message(next, hash), signature)
                && (next != named.number || hash == named.hash);
            if !good {
                let defect = Defect::Beside("log.read_anchors");
                return Ok(Some(BadRead { writer, number: writer_number as u64, defect }));
            }
            (previous, number) = (hash.to_vec(), next);
            report.anchors += 1;
        }
        if (rows.len() as i64) < PAGE {
            break;
        }
    }
    let cut = named.number > number;
    Ok(cut.then_some(BadRead {
        writer: Uuid::nil(),
        number: number + 1,
        defect: Defect::Beside("log.read_anchors"),
    }))
}

/// The walk along one writer's chain.
struct Walk {
    writer: Uuid,
    number: u64,
    hash: Vec<u8>,
    signed: u64,
    /// What must stand at a number, by anchors and by what the writer had come to.
    expected: HashMap<u64, Vec<u8>>,
    /// The furthest that is known of.
    end: u64,
}

impl Walk {
    /// Begins after the last closing; what must be found is looked up before the records, which may grow meanwhile.
    async fn of(client: &Client, key: &Signers, writer: Uuid) -> Result<Self, LogError> {
        let mut walk =
            Self { writer, number: 0, hash: GENESIS.to_vec(), signed: 0, expected: HashMap::new(), end: 0 };
        let known = "SELECT writer_number, writer_hash FROM log.read_anchors WHERE writer = $1 \
                     UNION ALL SELECT number, hash FROM log.read_writers WHERE writer = $1";
        for row in client.query(known, &[&writer]).await? {
            let number = row.get::<_, i64>(0) as u64;
            walk.end = walk.end.max(number);
            walk.expected.insert(number, row.get(1));
        }
        let closings = "SELECT number, hash, month, signature FROM log.read_closings WHERE writer = $1 \
                        ORDER BY number DESC";
        for row in client.query(closings, &[&writer]).await? {
            let number = row.get::<_, i64>(0) as u64;
            let message = closing_message(row.get(2), writer, number, row.get(1));
            if key.any_signed(&message, row.get::<_, &[u8]>(3)) {
                (walk.number, walk.hash, walk.signed) = (number, row.get(1), number);
                break;
            }
        }
        Ok(walk)
    }

    async fn run(
        &mut self,
        client: &Client,
        key: &Signers,
        report: &mut ReadsReport,
        progress: &mut impl FnMut(u64),
    ) -> Result<Option<(u64, Defect)>, LogError> {
        if self.contradicted() {
            return Ok(Some((self.number, Defect::Head)));
        }
        let page = client.prepare(ROWS).await?;
        let mut cursor = (if self.number == 0 { i64::MIN } else { self.number as i64 + 1 }, Uuid::nil());
        loop {
            let rows = client.query(&page, &[&self.writer, &cursor.0, &cursor.1, &PAGE]).await?;
            for row in &rows {
                cursor = (row.get(0), row.get(1));
                if let Some(defect) = self.row(row, key) {
                    return Ok(Some((self.number + 1, defect)));
                }
                report.reads += 1;
            }
            progress(report.reads);
            if (rows.len() as i64) < PAGE {
                break;
            }
        }
        let unnumbered = "SELECT FROM log.reads WHERE writer = $1 AND number IS NULL LIMIT 1";
        if client.query_opt(unnumbered, &[&self.writer]).await?.is_some() {
            return Ok(Some((self.number + 1, Defect::Unchained)));
        }
        Ok(if self.end > self.number {
            Some((self.number + 1, Defect::Truncated))
        } else if self.signed != self.number {
            Some((self.signed + 1, Defect::Unsigned))
        } else {
            None
        })
    }

    /// Something else was known to stand where the walk is.
    fn contradicted(&self) -> bool {
        self.expected.get(&self.number).is_some_and(|known| *known != self.hash)
    }

    fn row(&mut self, row: &PgRow, key: &Signers) -> Option<Defect> {
        let next = self.number + 1;
        if row.get::<_, i64>(0) != next as i64 {
            return Some(Defect::Gap);
        }
        let (purpose, method): (&str, &str) = (row.get(5), row.get(6));
        let (events, keys, grants): (Vec<Uuid>, Vec<String>, Vec<Uuid>) =
            (row.get(8), row.get(9), row.get(10));
        let record = Row {
            read_id: row.get(1),
            at_us: micros(row.get(2)),
            agency: row.get(3),
            post: row.get(4),
            purpose,
            method,
            cases: row.get(7),
            events: &events,
            fact_keys: &keys,
            grants: &grants,
            policy_version: row.get(11),
        };
        let hash = record.hash(&self.hash, self.writer, next);
        if row.get::<_, Option<&[u8]>>(12) != Some(hash.as_slice()) {
            return Some(Defect::Hash);
        }
        if let Some(signature) = row.get::<_, Option<&[u8]>>(13) {
            if !key.any_signed(&batch_message(self.writer, next, &hash), signature) {
                return Some(Defect::Head);
            }
            self.signed = next;
        }
        (self.number, self.hash) = (next, hash.to_vec());
        if self.contradicted() {
            self.number -= 1;
            return Some(Defect::Head);
        }
        None
    }
}
