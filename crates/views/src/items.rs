//! The view `items`: referrals, hand-offs, meetings and consultations with their state, and the posts that list them.

use std::collections::{BTreeSet, HashMap};

use tasuki_contract::event::v1::{ItemChange, ItemKind};
use tasuki_domain::ids::{CaseId, PostId};
use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use crate::copy::CopyBuffer;
use crate::error::ViewError;
use crate::reads::Views;
use crate::schema::Table;

pub(crate) static TABLE: Table = Table {
    name: "items",
    columns: "item_id uuid NOT NULL, kind int NOT NULL, case_id uuid, state text NOT NULL, \
              created_position bigint NOT NULL, updated_position bigint NOT NULL",
    keys: &["ALTER TABLE $s.items ADD PRIMARY KEY (item_id)"],
    order: "item_id",
};

pub(crate) static POSTS: Table = Table {
    name: "item_posts",
    columns: "post_id uuid NOT NULL, kind int NOT NULL, item_id uuid NOT NULL, created_position bigint NOT NULL",
    keys: &["ALTER TABLE $s.item_posts ADD PRIMARY KEY (post_id, kind, created_position, item_id)"],
    order: "post_id, kind, created_position, item_id",
};

/// Kind and place of creation stay; a case that became known stays known.
pub(crate) const UPSERT: &str = "INSERT INTO $s.items (item_id, kind, case_id, state, created_position, updated_position) \
     SELECT * FROM unnest($1::uuid[], $2::int4[], $3::uuid[], $4::text[], $5::int8[], $6::int8[]) \
     ON CONFLICT (item_id) DO UPDATE SET case_id = coalesce(excluded.case_id, items.case_id), \
         state = excluded.state, updated_position = excluded.updated_position";

pub(crate) const INSERT_POSTS: &str = "INSERT INTO $s.item_posts (post_id, kind, item_id, created_position) \
     SELECT new.post_id, i.kind, i.item_id, i.created_position \
     FROM unnest($1::uuid[], $2::uuid[]) new(post_id, item_id) JOIN $s.items i USING (item_id) \
     ON CONFLICT DO NOTHING";

/// What became of items.
#[derive(Debug, Default)]
pub(crate) struct Items {
    items: HashMap<Uuid, NewRow>,
    /// Post and item.
    posts: BTreeSet<(PostId, Uuid)>,
}

#[derive(Clone, Debug)]
struct NewRow {
    kind: i32,
    case: Option<Uuid>,
    state: String,
    created: u64,
    updated: u64,
}

/// Prepared for one schema.
pub(crate) struct Statements {
    pub upsert: Statement,
    pub posts: Statement,
}

impl Items {
    pub(crate) fn apply(&mut self, position: u64, change: &ItemChange) {
        let id = Uuid::try_parse(&change.item_id).unwrap_or_default();
        let case = Uuid::try_parse(&change.case_id).ok();
        let row = self.items.entry(id).or_insert_with(|| NewRow {
            kind: change.kind,
            case: None,
            state: String::new(),
            created: position,
            updated: position,
        });
        row.case = case.or(row.case);
        row.state.clone_from(&change.state);
        row.updated = position;
        self.posts.extend(change.post_ids.iter().map(|post| (PostId::trusted(post), id)));
    }

    pub(crate) fn copy(&self, items: &mut CopyBuffer, posts: &mut CopyBuffer) {
        for (id, row) in &self.items {
            items.row(6).uuid(*id).int4(row.kind).uuid_or_null(row.case).bytes(row.state.as_bytes());
            items.int8(row.created as i64).int8(row.updated as i64);
        }
        for (post, id) in &self.posts {
            if let Some(row) = self.items.get(id) {
                posts.row(4).uuid(post.0).int4(row.kind).uuid(*id).int8(row.created as i64);
            }
        }
    }

    pub(crate) async fn write(&self, client: &Client, statements: &Statements) -> Result<(), ViewError> {
        if self.items.is_empty() {
            return Ok(());
        }
        let rows: Vec<(&Uuid, &NewRow)> = self.items.iter().collect();
        let ids: Vec<Uuid> = rows.iter().map(|(id, _)| **id).collect();
        let kinds: Vec<i32> = rows.iter().map(|(_, row)| row.kind).collect();
        let cases: Vec<Option<Uuid>> = rows.iter().map(|(_, row)| row.case).collect();
        let states: Vec<&str> = rows.iter().map(|(_, row)| row.state.as_str()).collect();
        let created: Vec<i64> = rows.iter().map(|(_, row)| row.created as i64).collect();
        let updated: Vec<i64> = rows.iter().map(|(_, row)| row.updated as i64).collect();
        client.execute(&statements.upsert, &[&ids, &kinds, &cases, &states, &created, &updated]).await?;
        let (posts, ids): (Vec<Uuid>, Vec<Uuid>) = self.posts.iter().map(|(post, id)| (post.0, *id)).unzip();
        client.execute(&statements.posts, &[&posts, &ids]).await?;
        Ok(())
    }
}

/// A referral, hand-off, meeting or consultation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemRow {
    /// The thing.
    pub item_id: Uuid,
    /// What it is.
    pub kind: ItemKind,
    /// Its case, where there is one.
    pub case: Option<CaseId>,
    /// State code.
    pub state: String,
    /// Where in the log it began. Never to be shown.
    pub created_position: u64,
    /// Where in the log its state last changed. Never to be shown.
    pub updated_position: u64,
}

impl ItemRow {
    fn of(row: &Row) -> Self {
        Self {
            item_id: row.get(0),
            kind: ItemKind::try_from(row.get::<_, i32>(1)).unwrap_or_default(),
            case: row.get::<_, Option<Uuid>>(2).map(CaseId),
            state: row.get(3),
            created_position: row.get::<_, i64>(4) as u64,
            updated_position: row.get::<_, i64>(5) as u64,
        }
    }
}

/// Which items of a post.
#[derive(Clone, Debug, Default)]
pub struct ItemFilter {
    /// Only those in one of these states; empty: in any.
    pub states: Vec<String>,
    /// Only those behind this one in the list, by `created_position` and `item_id`.
    pub before: Option<(u64, Uuid)>,
}

impl Views {
    /// What a post lists of a kind, newest first, at most `limit`.
    pub async fn items(
        &self,
        post: PostId,
        kind: ItemKind,
        filter: &ItemFilter,
        limit: usize,
    ) -> Result<Vec<ItemRow>, ViewError> {
        let sql = "SELECT i.item_id, i.kind, i.case_id, i.state, i.created_position, i.updated_position \
                   FROM $s.item_posts p JOIN $s.items i USING (item_id) \
                   WHERE p.post_id = $1 AND p.kind = $2 AND (p.created_position, p.item_id) < ($3, $4) \
                     AND (cardinality($5::text[]) = 0 OR i.state = ANY($5)) \
                   ORDER BY p.created_position DESC, p.item_id DESC LIMIT $6";
        let (position, id) = filter.before.map_or((i64::MAX, Uuid::max()), |(p, id)| (p as i64, id));
        let kind = kind as i32;
        let rows =
            self.query(sql, &[&post.0, &kind, &position, &id, &filter.states, &(limit as i64)]).await?;
        Ok(rows.iter().map(ItemRow::of).collect())
    }

    /// One item; `None` for an unknown one.
    pub async fn item(&self, item_id: Uuid) -> Result<Option<ItemRow>, ViewError> {
        let sql = "SELECT item_id, kind, case_id, state, created_position, updated_position \
                   FROM $s.items WHERE item_id = $1";
        Ok(self.query(sql, &[&item_id]).await?.first().map(ItemRow::of))
    }
}
