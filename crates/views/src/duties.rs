//! The view `duties`: what each post owes and has not done yet. A duty that ends is gone from here.

use std::collections::HashMap;

use tasuki_contract::event::v1::{DutyChange, DutyKind};
use tasuki_domain::ids::{CaseId, PostId};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::copy::CopyBuffer;
use crate::error::ViewError;
use crate::reads::Views;
use crate::schema::Table;

pub(crate) static TABLE: Table = Table {
    name: "duties",
    columns: "duty_id uuid NOT NULL, owner_post_id uuid NOT NULL, kind int NOT NULL, case_id uuid, \
              subject_id uuid NOT NULL, due_day int NOT NULL",
    keys: &[
        "ALTER TABLE $s.duties ADD PRIMARY KEY (duty_id)",
        "CREATE INDEX duties_by_day ON $s.duties (owner_post_id, due_day, duty_id)",
        "CREATE INDEX duties_of_case ON $s.duties (owner_post_id, case_id)",
    ],
    order: "duty_id",
};

pub(crate) const UPSERT: &str = "INSERT INTO $s.duties (duty_id, owner_post_id, kind, case_id, subject_id, due_day) \
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int4[], $4::uuid[], $5::uuid[], $6::int4[]) \
     ON CONFLICT (duty_id) DO UPDATE SET owner_post_id = excluded.owner_post_id, kind = excluded.kind, \
         case_id = excluded.case_id, subject_id = excluded.subject_id, due_day = excluded.due_day";

pub(crate) const DELETE: &str = "DELETE FROM $s.duties WHERE duty_id = ANY($1)";

/// Stands for "no date": the last of all days, so that such duties come last.
const NO_DATE: i32 = i32::MAX;

/// What became of duties: open ones with their row, ended ones without.
pub(crate) type Duties = HashMap<Uuid, Option<NewRow>>;

/// An open duty on its way in.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    owner: PostId,
    kind: i32,
    case: Option<Uuid>,
    subject: Uuid,
    due_day: i32,
}

/// Prepared for one schema.
pub(crate) struct Statements {
    pub upsert: Statement,
    pub delete: Statement,
}

pub(crate) fn apply(duties: &mut Duties, change: &DutyChange) {
    let id = Uuid::try_parse(&change.duty_id).unwrap_or_default();
    let row = (!change.ends).then(|| NewRow {
        owner: PostId::trusted(&change.owner_post_id),
        kind: change.kind,
        case: Uuid::try_parse(&change.case_id).ok(),
        subject: Uuid::try_parse(&change.subject_id).unwrap_or_default(),
        due_day: if change.due_day == 0 { NO_DATE } else { change.due_day },
    });
    duties.insert(id, row);
}

pub(crate) fn copy(duties: &Duties, buffer: &mut CopyBuffer) {
    for (id, row) in duties.iter().filter_map(|(id, row)| Some((id, row.as_ref()?))) {
        buffer.row(6).uuid(*id).uuid(row.owner.0).int4(row.kind);
        buffer.uuid_or_null(row.case).uuid(row.subject).int4(row.due_day);
    }
}

pub(crate) async fn write(
    client: &Client,
    statements: &Statements,
    duties: &Duties,
) -> Result<(), ViewError> {
    let ended: Vec<Uuid> = duties.iter().filter(|(_, row)| row.is_none()).map(|(id, _)| *id).collect();
    if !ended.is_empty() {
        client.execute(&statements.delete, &[&ended]).await?;
    }
    let open: Vec<(Uuid, &NewRow)> =
        duties.iter().filter_map(|(id, row)| Some((*id, row.as_ref()?))).collect();
    if !open.is_empty() {
        let ids: Vec<Uuid> = open.iter().map(|(id, _)| *id).collect();
        let owners: Vec<Uuid> = open.iter().map(|(_, row)| row.owner.0).collect();
        let kinds: Vec<i32> = open.iter().map(|(_, row)| row.kind).collect();
        let cases: Vec<Option<Uuid>> = open.iter().map(|(_, row)| row.case).collect();
        let subjects: Vec<Uuid> = open.iter().map(|(_, row)| row.subject).collect();
        let days: Vec<i32> = open.iter().map(|(_, row)| row.due_day).collect();
        client.execute(&statements.upsert, &[&ids, &owners, &kinds, &cases, &subjects, &days]).await?;
    }
    Ok(())
}

/// A duty that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DutyRow {
    /// The duty.
    pub duty_id: Uuid,
    /// What is owed.
    pub kind: DutyKind,
    /// The case, where there is one.
    pub case: Option<CaseId>,
    /// Referral, hand-off, meeting or action.
    pub subject_id: Uuid,
    /// Until which day, as days since 1970-01-01; `None`: no date.
    pub due_day: Option<i32>,
}

impl Views {
    /// What a post owes, the earliest due first, those without a date last; after the duty with this day and id.
    pub async fn duties(
        &self,
        post: PostId,
        after: Option<(Option<i32>, Uuid)>,
        limit: usize,
    ) -> Result<Vec<DutyRow>, ViewError> {
        let sql = "SELECT duty_id, kind, case_id, subject_id, due_day FROM $s.duties \
                   WHERE owner_post_id = $1 AND (due_day, duty_id) > ($2, $3) ORDER BY due_day, duty_id LIMIT $4";
        let (day, id) = after.map_or((i32::MIN, Uuid::nil()), |(day, id)| (day.unwrap_or(NO_DATE), id));
        let rows = self.query(sql, &[&post.0, &day, &id, &(limit as i64)]).await?;
        let row = |row: &tokio_postgres::Row| DutyRow {
            duty_id: row.get(0),
            kind: DutyKind::try_from(row.get::<_, i32>(1)).unwrap_or_default(),
            case: row.get::<_, Option<Uuid>>(2).map(CaseId),
            subject_id: row.get(3),
            due_day: Some(row.get(4)).filter(|day| *day != NO_DATE),
        };
        Ok(rows.iter().map(row).collect())
    }
}
