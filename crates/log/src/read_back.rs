//! Reading the reads on record, case by case, for those whom they concern.

use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::LogError;
use crate::ledger::{micros, system_time};
use crate::read::Reader;

/// One read, as it was put on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedRead {
    /// When, microseconds since 1970-01-01 UTC.
    pub at_us: i64,
    /// Its id.
    pub id: Uuid,
    /// The reader's agency.
    pub agency: Uuid,
    /// The reader's post.
    pub post: Uuid,
    /// Purpose code.
    pub purpose: String,
    /// `Service/Method`.
    pub method: String,
    /// Events that were disclosed.
    pub events: Vec<Uuid>,
    /// Dictionary keys that were disclosed.
    pub fact_keys: Vec<String>,
    /// Grants that were relied on.
    pub grants: Vec<Uuid>,
}

/// A place in the ledger of a case: the time and id of a read.
pub type ReadPlace = (i64, Uuid);

impl Reader {
    /// The reads of a case before a place, the newest first, at most `limit`; those of one agency only, where one is
    /// given.
    pub async fn reads_of_case(
        &self,
        case: Uuid,
        agency: Option<Uuid>,
        before: Option<ReadPlace>,
        limit: usize,
    ) -> Result<Vec<RecordedRead>, LogError> {
        let client = self.database().get().await?;
        let statement = client
            .prepare_cached(
                "SELECT read_at, read_id, agency_id, post_id, purpose, method, event_ids, fact_keys, grant_ids \
                 FROM log.reads WHERE case_ids @> ARRAY[$1::uuid] AND ($2::uuid IS NULL OR agency_id = $2) \
                      AND ($3::timestamptz IS NULL OR (read_at, read_id) < ($3, $4)) \
                 ORDER BY read_at DESC, read_id DESC LIMIT $5",
            )
            .await?;
        let at = before.map(|place| system_time(place.0));
        let id = before.map_or(Uuid::nil(), |place| place.1);
        let rows = client.query(&statement, &[&case, &agency, &at, &id, &(limit as i64)]).await?;
        let read = |row: &Row| RecordedRead {
            at_us: micros(row.get(0)),
            id: row.get(1),
            agency: row.get(2),
            post: row.get(3),
            purpose: row.get(4),
            method: row.get(5),
            events: row.get(6),
            fact_keys: row.get(7),
            grants: row.get(8),
        };
        Ok(rows.iter().map(read).collect())
    }
}
