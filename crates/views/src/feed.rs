//! The view `feed`: what each post learned of, in the order in which it did, numbered from 1 without a gap.
//!
//! Append-only. A row refers to an event; `history` marks what was there before the post could see it. Whether the
//! post may still read the event is asked when it is opened, not here.
//!
//! Each feed is a hash chain over its events' own hashes, never over the log's chain: that one depends on what others got.

use ring::digest::{Context, SHA256};
use tasuki_domain::ids::{CaseId, PostId};
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use crate::copy::CopyBuffer;
use crate::error::ViewError;
use crate::reads::Views;
use crate::schema::Table;

pub(crate) static TABLE: Table = Table {
    name: "feed",
    columns: "post_id uuid NOT NULL, number bigint NOT NULL, case_id uuid, event_id uuid NOT NULL, \
              position bigint NOT NULL, history boolean NOT NULL, chain bytea NOT NULL",
    keys: &[
        "ALTER TABLE $s.feed ADD PRIMARY KEY (post_id, number)",
        "CREATE INDEX feed_of_case ON $s.feed (post_id, case_id, number)",
    ],
    order: "post_id, number",
};

pub(crate) const INSERT: &str = "INSERT INTO $s.feed (post_id, number, case_id, event_id, position, history, chain) \
     SELECT * FROM unnest($1::uuid[], $2::int8[], $3::uuid[], $4::uuid[], $5::int8[], $6::bool[], $7::bytea[])";

/// The last numbers of the given posts with the chain there; NULL of an empty feed.
pub(crate) const HEADS: &str = "SELECT p.post_id, f.number, f.chain FROM unnest($1::uuid[]) p(post_id) LEFT JOIN LATERAL \
     (SELECT number, chain FROM $s.feed f WHERE f.post_id = p.post_id ORDER BY number DESC LIMIT 1) f ON true";

/// The end of a feed, to which the next item is linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedEnd {
    /// Number of the last item; 0 of an empty feed.
    pub number: u64,
    /// The chain there; zeros of an empty feed.
    pub chain: [u8; 32],
}

impl FeedEnd {
    /// As stored: both, or neither of an empty feed.
    pub(crate) fn stored(number: Option<i64>, chain: Option<&[u8]>) -> Self {
        let chain = chain.and_then(|chain| chain.try_into().ok()).unwrap_or_default();
        Self { number: number.unwrap_or(0) as u64, chain }
    }

    /// Takes up the next item.
    pub(crate) fn link(&mut self, post: PostId, commitment: &[u8; 32]) {
        self.number += 1;
        self.chain = link(&self.chain, &digest(post, self.number, commitment));
    }
}

/// The digest of an item in its place of a post's feed, of the hash of the event by itself: of the same event it is
/// another one in every feed, so that posts cannot find by it what they share.
pub fn digest(post: PostId, number: u64, commitment: &[u8; 32]) -> [u8; 32] {
    sha256(&[b"tasuki feed item 1", post.0.as_bytes(), &number.to_be_bytes(), commitment])
}

/// The chain after an item.
pub fn link(chain: &[u8; 32], digest: &[u8; 32]) -> [u8; 32] {
    sha256(&[b"tasuki feed 1", chain, digest])
}

fn sha256(pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    pieces.iter().for_each(|piece| context.update(piece));
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// A row on its way in.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    pub post: PostId,
    pub number: u64,
    pub case: Option<CaseId>,
    pub event_id: Uuid,
    pub position: u64,
    pub history: bool,
    pub chain: [u8; 32],
}

pub(crate) fn copy(row: &NewRow, buffer: &mut CopyBuffer) {
    buffer
        .row(7)
        .uuid(row.post.0)
        .int8(row.number as i64)
        .uuid_or_null(row.case.map(|c| c.0))
        .uuid(row.event_id)
        .int8(row.position as i64)
        .bool(row.history)
        .bytes(&row.chain);
}

pub(crate) async fn write(client: &Client, insert: &Statement, rows: &[NewRow]) -> Result<(), ViewError> {
    if rows.is_empty() {
        return Ok(());
    }
    let posts: Vec<Uuid> = rows.iter().map(|r| r.post.0).collect();
    let numbers: Vec<i64> = rows.iter().map(|r| r.number as i64).collect();
    let cases: Vec<Option<Uuid>> = rows.iter().map(|r| r.case.map(|c| c.0)).collect();
    let events: Vec<Uuid> = rows.iter().map(|r| r.event_id).collect();
    let positions: Vec<i64> = rows.iter().map(|r| r.position as i64).collect();
    let history: Vec<bool> = rows.iter().map(|r| r.history).collect();
    let chains: Vec<&[u8]> = rows.iter().map(|r| r.chain.as_slice()).collect();
    client.execute(insert, &[&posts, &numbers, &cases, &events, &positions, &history, &chains]).await?;
    Ok(())
}

/// One item of a post's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedRow {
    /// Number in the feed, from 1.
    pub number: u64,
    /// The case; `None` for what belongs to none.
    pub case: Option<CaseId>,
    /// The event.
    pub event_id: Uuid,
    /// Its place in the log. Never to be shown: gaps in it tell of what others got.
    pub position: u64,
    /// It happened before the post could see it.
    pub history: bool,
    /// The chain of the feed up to this item.
    pub chain: [u8; 32],
}

impl FeedRow {
    fn of(row: &Row) -> Self {
        Self {
            number: row.get::<_, i64>(0) as u64,
            case: row.get::<_, Option<Uuid>>(1).map(CaseId),
            event_id: row.get(2),
            position: row.get::<_, i64>(3) as u64,
            history: row.get(4),
            chain: row.get::<_, &[u8]>(5).try_into().unwrap_or_default(),
        }
    }
}

impl Views {
    /// The items of a post's feed after `number`, ascending, at most `limit`.
    pub async fn feed_after(
        &self,
        post: PostId,
        number: u64,
        limit: usize,
    ) -> Result<Vec<FeedRow>, ViewError> {
        let sql = "SELECT number, case_id, event_id, position, history, chain FROM $s.feed \
                   WHERE post_id = $1 AND number > $2 ORDER BY number LIMIT $3";
        let rows = self.query(sql, &[&post.0, &(number as i64), &(limit as i64)]).await?;
        Ok(rows.iter().map(FeedRow::of).collect())
    }

    /// The items of one case in a post's feed after `after_number`, ascending, at most `limit`.
    ///
    /// An unknown case and one that never reached the post are both empty.
    pub async fn feed_of_case(
        &self,
        post: PostId,
        case: CaseId,
        after_number: u64,
        limit: usize,
    ) -> Result<Vec<FeedRow>, ViewError> {
        let sql = "SELECT number, case_id, event_id, position, history, chain FROM $s.feed \
                   WHERE post_id = $1 AND case_id = $2 AND number > $3 ORDER BY number LIMIT $4";
        let rows = self.query(sql, &[&post.0, &case.0, &(after_number as i64), &(limit as i64)]).await?;
        Ok(rows.iter().map(FeedRow::of).collect())
    }

    /// The end of a post's feed.
    pub async fn feed_end(&self, post: PostId) -> Result<FeedEnd, ViewError> {
        let rows = self.query(HEADS, &[&[post.0].as_slice()]).await?;
        Ok(rows.first().map_or_else(FeedEnd::default, |row| FeedEnd::stored(row.get(1), row.get(2))))
    }

    /// The chain of a post's feed up to an item; `None` where there is no such item.
    pub async fn feed_chain(&self, post: PostId, number: u64) -> Result<Option<[u8; 32]>, ViewError> {
        if number == 0 {
            return Ok(Some([0; 32]));
        }
        let sql = "SELECT chain FROM $s.feed WHERE post_id = $1 AND number = $2";
        let rows = self.query(sql, &[&post.0, &(number as i64)]).await?;
        Ok(rows.first().and_then(|row| row.get::<_, &[u8]>(0).try_into().ok()))
    }

    /// The number of the last item of a post's feed; 0 of an empty one.
    pub async fn feed_head(&self, post: PostId) -> Result<u64, ViewError> {
        let sql = "SELECT coalesce(max(number), 0) FROM $s.feed WHERE post_id = $1";
        let rows = self.query(sql, &[&post.0]).await?;
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0) as u64))
    }
}
