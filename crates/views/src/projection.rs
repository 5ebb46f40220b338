//! The live projection: one leader at a time folds envelopes and writes the views.
//!
//! The lead is an advisory lock of the writing connection, and a fence in the cursor's row that each leader raises: a
//! leader that lost its lock without noticing writes nothing more. After any error the projection is dropped and the
//! lead taken again; the cursor says where to go on.

use std::time::Duration;

use tasuki_contract::event::v1::Envelope;
use tasuki_domain::ids::{AgencyId, CaseId, PostId};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::changes::Changes;
use crate::entry::Entry;
use crate::error::ViewError;
use crate::fold::Fold;
use crate::schema::{self, in_schema};
use crate::write::Cursor;
use crate::{connect, load, write};

/// The lock of whoever leads.
const LEADER_LOCK: i64 = 0x0074_6173_756b_6912;
/// How often a standby asks for the lead.
const STANDBY_POLL: Duration = Duration::from_millis(100);
/// Cases kept in memory between batches.
const CASES_MAX: usize = 10_000;

/// What one row of a feed tells its post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedNews {
    /// The post.
    pub post: PostId,
    /// Its agency.
    pub agency: AgencyId,
    /// Number in the post's feed.
    pub number: u64,
    /// The case, where there is one.
    pub case: Option<CaseId>,
    /// The event.
    pub event_id: Uuid,
    /// When the feed grew: when the event that brought it was recorded, microseconds since 1970-01-01 UTC.
    pub recorded_at_us: i64,
}

/// What a batch did, once it is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Where the views are now.
    pub position: u64,
    /// Epoch of the numbers in feeds, as [`crate::feed_epoch`] makes it.
    pub feed_epoch: u64,
    /// Rows that were added to feeds, in order. Posts that the directory does not know are left out.
    pub news: Vec<FeedNews>,
}

/// The lead over the views, held until dropped.
pub struct Projection {
    client: Client,
    load: load::Statements,
    write: write::Statements,
    cursor: Cursor,
    fold: Fold,
    /// After an error nobody knows what is stored and what only in memory.
    broken: bool,
}

impl std::fmt::Debug for Projection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projection").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

impl Projection {
    /// Waits for the lead, takes it and raises the fence. May be dropped while it waits.
    ///
    /// Errors: `NotReady`, `OtherLayout` and `AheadOfLog` (both: [`crate::rebuild()`]), `NewerLayout` (a person
    /// chooses), and faults.
    pub async fn lead(url: &str) -> Result<Self, ViewError> {
        let client = connect::writer(url).await?;
        let lock = client.prepare("SELECT pg_try_advisory_lock($1)").await?;
        while !client.query_one(&lock, &[&LEADER_LOCK]).await?.get::<_, bool>(0) {
            tokio::time::sleep(STANDBY_POLL).await;
        }
        let number = schema::known(&client).await?;
        let raise = "UPDATE $s.cursor SET fence = fence + 1 RETURNING position, epoch, fence";
        let row = client.query_one(&in_schema(raise, number), &[]).await?;
        let [position, epoch, fence]: [i64; 3] = [0, 1, 2].map(|column| row.get(column));
        let head = client.query_one("SELECT coalesce(max(position), 0) FROM log.events", &[]).await?;
        let log = head.get::<_, i64>(0);
        if position > log {
            return Err(ViewError::AheadOfLog { views: position as u64, log: log as u64 });
        }
        tidy(&client, number).await;
        Ok(Self {
            load: load::Statements::prepare(&client, number).await?,
            write: write::Statements::prepare(&client, number).await?,
            fold: Fold { posts: load::posts(&client, number).await?, ..Fold::default() },
            cursor: Cursor { position: position as u64, epoch: epoch as u64, fence },
            client,
            broken: false,
        })
    }

    /// The last position that the views hold; 0 of empty ones.
    pub fn position(&self) -> u64 {
        self.cursor.position
    }

    /// The epoch of the log there.
    pub fn epoch(&self) -> u64 {
        self.cursor.epoch
    }

    /// Folds envelopes that follow the cursor without a gap, and commits.
    ///
    /// What comes before an unreadable header is committed; the next call, which begins with it, says so.
    /// Errors: `Hole`, `Unreadable`: nothing was done, the lead is kept. Others: drop this and take the lead again.
    pub async fn apply(&mut self, envelopes: &[Envelope]) -> Result<Applied, ViewError> {
        if self.broken {
            return Err(ViewError::Fenced);
        }
        let mut entries = Vec::with_capacity(envelopes.len());
        for (expected, envelope) in (self.cursor.position + 1..).zip(envelopes) {
            if envelope.position != expected {
                return Err(ViewError::Hole { expected, found: envelope.position });
            }
            match Entry::of_envelope(envelope) {
                Ok(entry) => entries.push(entry),
                Err(error) if entries.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        self.broken = true;
        let applied = self.commit(&entries).await?;
        self.broken = false;
        Ok(applied)
    }

    async fn commit(&mut self, entries: &[Entry]) -> Result<Applied, ViewError> {
        let (position, epoch) = (self.cursor.position, self.cursor.epoch);
        let Some(last) = entries.last() else {
            return Ok(Applied { position, feed_epoch: schema::feed_epoch(epoch), news: Vec::new() });
        };
        load::missing(&self.client, &self.load, &mut self.fold, entries).await?;
        for entry in entries {
            self.fold.apply(entry);
        }
        let changes = std::mem::take(&mut self.fold.changes);
        let to = Cursor { position: last.position, epoch: last.epoch, ..self.cursor };
        write::write(&self.client, &self.write, &self.fold, &changes, self.cursor, to).await?;
        self.cursor = to;
        if self.fold.cases.len() > CASES_MAX {
            self.fold.cases.clear();
        }
        let feed_epoch = schema::feed_epoch(to.epoch);
        Ok(Applied { position: to.position, feed_epoch, news: self.news(changes) })
    }

    fn news(&self, changes: Changes) -> Vec<FeedNews> {
        let rows = changes.feed.into_iter().zip(changes.feed_times_us);
        rows.filter_map(|(row, recorded_at_us)| {
            let (post, number, case, event_id) = (row.post, row.number, row.case, row.event_id);
            let agency = self.fold.posts.agency(post)?;
            Some(FeedNews { post, agency, number, case, event_id, recorded_at_us })
        })
        .collect()
    }

    /// The connection that holds the lead, for tests that take it away.
    #[cfg(test)]
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }
}

/// Drops the generations before this one. A reader that is in the way for long wins: the next leader tries again.
async fn tidy(client: &Client, number: i64) {
    let patience = client.batch_execute("SET lock_timeout = '1s'").await;
    let dropped = schema::drop_generations(client, |other| other < number).await;
    let reset = client.batch_execute("SET lock_timeout = 0").await;
    if let Err(error) = patience.map_err(ViewError::from).and(dropped).and(reset.map_err(ViewError::from)) {
        tracing::warn!(%error, "old views not dropped");
    }
}
