//! The view `caseload`: in the circle of which cases a post stands and why; with it `cases`, the lead of each case.
//!
//! The circle of a case is stored here once; the fold reads it back after a restart.

use tasuki_contract::event::v1::Relation;
use tasuki_domain::ids::{CaseId, PostId};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::case::Checked;
use crate::copy::CopyBuffer;
use crate::error::ViewError;
use crate::reads::Views;
use crate::schema::Table;

pub(crate) static TABLE: Table = Table {
    name: "caseload",
    columns: "post_id uuid NOT NULL, case_id uuid NOT NULL, relations int NOT NULL",
    keys: &[
        "ALTER TABLE $s.caseload ADD PRIMARY KEY (post_id, case_id)",
        "CREATE INDEX circle_of_case ON $s.caseload (case_id)",
    ],
    order: "post_id, case_id",
};

pub(crate) static CASES: Table = Table {
    name: "cases",
    columns: "case_id uuid NOT NULL, lead_post_id uuid, checked_day int NOT NULL, \
              checked_position bigint NOT NULL, municipality text NOT NULL",
    keys: &["ALTER TABLE $s.cases ADD PRIMARY KEY (case_id)"],
    order: "case_id",
};

pub(crate) const UPSERT: &str = "INSERT INTO $s.caseload (post_id, case_id, relations) \
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int4[]) \
     ON CONFLICT (post_id, case_id) DO UPDATE SET relations = excluded.relations";

pub(crate) const DELETE: &str = "DELETE FROM $s.caseload c USING unnest($1::uuid[], $2::uuid[]) gone(post_id, case_id) \
     WHERE c.post_id = gone.post_id AND c.case_id = gone.case_id";

pub(crate) const UPSERT_CASES: &str = "INSERT INTO $s.cases (case_id, lead_post_id, checked_day, checked_position, municipality) \
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int4[], $4::int8[], $5::text[]) \
     ON CONFLICT (case_id) DO UPDATE SET lead_post_id = excluded.lead_post_id, \
         checked_day = excluded.checked_day, checked_position = excluded.checked_position, \
         municipality = excluded.municipality";

pub(crate) const LOAD: &str = "SELECT case_id, post_id, relations FROM $s.caseload WHERE case_id = ANY($1)";
pub(crate) const LOAD_CASES: &str = "SELECT case_id, lead_post_id, checked_day, checked_position, municipality FROM $s.cases WHERE case_id = ANY($1)";

/// A place in a circle. Without relations: the place was given up.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    pub post: PostId,
    pub case: CaseId,
    pub relations: i32,
}

/// The lead of a case, where it is, and when its circle was evaluated.
#[derive(Clone, Debug)]
pub(crate) struct NewCase {
    pub case: CaseId,
    pub lead: Option<PostId>,
    pub municipality: String,
    pub checked: Checked,
}

/// Prepared for one schema.
pub(crate) struct Statements {
    pub upsert: Statement,
    pub delete: Statement,
    pub cases: Statement,
}

/// Relations as a set of bits: 1 << number.
pub(crate) fn bits<'a>(relations: impl IntoIterator<Item = &'a Relation>) -> i32 {
    relations.into_iter().fold(0, |bits, relation| bits | 1 << *relation as i32)
}

/// The relations of a set of bits, in the order of their numbers.
pub(crate) fn relations(bits: i32) -> Vec<Relation> {
    (0..31).filter(|n| bits >> n & 1 == 1).filter_map(|n| Relation::try_from(n).ok()).collect()
}

pub(crate) fn copy(row: &NewRow, buffer: &mut CopyBuffer) {
    buffer.row(3).uuid(row.post.0).uuid(row.case.0).int4(row.relations);
}

pub(crate) fn copy_case(row: &NewCase, buffer: &mut CopyBuffer) {
    buffer.row(5).uuid(row.case.0).uuid_or_null(row.lead.map(|p| p.0));
    buffer.int4(row.checked.day).int8(row.checked.position as i64).bytes(row.municipality.as_bytes());
}

pub(crate) async fn write(
    client: &Client,
    statements: &Statements,
    rows: &[NewRow],
    cases: &[NewCase],
) -> Result<(), ViewError> {
    let (held, gone): (Vec<&NewRow>, Vec<&NewRow>) = rows.iter().partition(|row| row.relations != 0);
    let ids = |rows: &[&NewRow]| -> (Vec<Uuid>, Vec<Uuid>) {
        rows.iter().map(|row| (row.post.0, row.case.0)).unzip()
    };
    if !held.is_empty() {
        let (posts, case_ids) = ids(&held);
        let relations: Vec<i32> = held.iter().map(|row| row.relations).collect();
        client.execute(&statements.upsert, &[&posts, &case_ids, &relations]).await?;
    }
    if !gone.is_empty() {
        let (posts, case_ids) = ids(&gone);
        client.execute(&statements.delete, &[&posts, &case_ids]).await?;
    }
    if !cases.is_empty() {
        let ids: Vec<Uuid> = cases.iter().map(|c| c.case.0).collect();
        let leads: Vec<Option<Uuid>> = cases.iter().map(|c| c.lead.map(|p| p.0)).collect();
        let days: Vec<i32> = cases.iter().map(|c| c.checked.day).collect();
        let positions: Vec<i64> = cases.iter().map(|c| c.checked.position as i64).collect();
        let municipalities: Vec<&str> = cases.iter().map(|c| c.municipality.as_str()).collect();
        client.execute(&statements.cases, &[&ids, &leads, &days, &positions, &municipalities]).await?;
    }
    Ok(())
}

/// A case of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseloadRow {
    /// The case.
    pub case: CaseId,
    /// Why the post stands in its circle, in the order of their numbers.
    pub relations: Vec<Relation>,
    /// The responsible post; `None` before the case is open.
    pub lead: Option<PostId>,
    /// How many duties the post owes in it.
    pub open_duties: u64,
    /// The event of the last item of the post's feed in it.
    pub last_event_id: Option<Uuid>,
}

impl Views {
    /// The cases in whose circle a post stands, after `after_case` in the order of their ids, at most `limit`.
    pub async fn caseload(
        &self,
        post: PostId,
        after_case: Option<CaseId>,
        limit: usize,
    ) -> Result<Vec<CaseloadRow>, ViewError> {
        let sql = "SELECT c.case_id, c.relations, s.lead_post_id, \
                          (SELECT count(*) FROM $s.duties d \
                           WHERE d.owner_post_id = c.post_id AND d.case_id = c.case_id), \
                          (SELECT f.event_id FROM $s.feed f \
                           WHERE f.post_id = c.post_id AND f.case_id = c.case_id ORDER BY f.number DESC LIMIT 1) \
                   FROM $s.caseload c LEFT JOIN $s.cases s USING (case_id) \
                   WHERE c.post_id = $1 AND ($2::uuid IS NULL OR c.case_id > $2) ORDER BY c.case_id LIMIT $3";
        let rows = self.query(sql, &[&post.0, &after_case.map(|c| c.0), &(limit as i64)]).await?;
        let row = |row: &tokio_postgres::Row| CaseloadRow {
            case: CaseId(row.get(0)),
            relations: relations(row.get(1)),
            lead: row.get::<_, Option<Uuid>>(2).map(PostId),
            open_duties: row.get::<_, i64>(3) as u64,
            last_event_id: row.get(4),
        };
        Ok(rows.iter().map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_survive_as_bits() {
        let all = [Relation::Lead, Relation::Asked, Relation::Family, Relation::Named];
        assert_eq!(relations(bits(&all)), all);
    }
}
