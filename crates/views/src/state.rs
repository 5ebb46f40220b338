//! What the fold needs of a case to go on after a restart: its events by reference, what each post sees, its grants.
//!
//! Nobody else reads these tables. Byte columns are the fold's own: parties are UUIDs end to end, what was seen of
//! each class is one big-endian number per class, a grant is its `GrantChange`.

use prost::Message as _;
use tasuki_contract::event::v1::GrantChange;
use tasuki_domain::circle::Grant;
use tasuki_domain::ids::{CaseId, GrantId, PostId};
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::case::{CLASSES, CaseEvent, Sight};
use crate::copy::CopyBuffer;
use crate::error::ViewError;
use crate::schema::Table;

pub(crate) static EVENTS: Table = Table {
    name: "case_events",
    columns: "case_id uuid NOT NULL, number int NOT NULL, position bigint NOT NULL, event_id uuid NOT NULL, \
              class smallint NOT NULL, parties bytea NOT NULL, commitment bytea NOT NULL",
    keys: &["ALTER TABLE $s.case_events ADD PRIMARY KEY (case_id, number)"],
    order: "case_id, number",
};

pub(crate) static SIGHTS: Table = Table {
    name: "case_sights",
    columns: "case_id uuid NOT NULL, post_id uuid NOT NULL, open int NOT NULL, seen bytea NOT NULL",
    keys: &["ALTER TABLE $s.case_sights ADD PRIMARY KEY (case_id, post_id)"],
    order: "case_id, post_id",
};

pub(crate) static GRANTS: Table = Table {
    name: "case_grants",
    columns: "case_id uuid NOT NULL, grant_id uuid NOT NULL, content bytea NOT NULL",
    keys: &["ALTER TABLE $s.case_grants ADD PRIMARY KEY (case_id, grant_id)"],
    order: "case_id, grant_id",
};

pub(crate) const INSERT_EVENTS: &str = "INSERT INTO $s.case_events (case_id, number, position, event_id, class, parties, commitment) \
     SELECT * FROM unnest($1::uuid[], $2::int4[], $3::int8[], $4::uuid[], $5::int2[], $6::bytea[], $7::bytea[])";

pub(crate) const UPSERT_SIGHTS: &str = "INSERT INTO $s.case_sights (case_id, post_id, open, seen) \
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int4[], $4::bytea[]) \
     ON CONFLICT (case_id, post_id) DO UPDATE SET open = excluded.open, seen = excluded.seen";

pub(crate) const UPSERT_GRANTS: &str = "INSERT INTO $s.case_grants (case_id, grant_id, content) \
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) \
     ON CONFLICT (case_id, grant_id) DO UPDATE SET content = excluded.content";

pub(crate) const DELETE_GRANTS: &str = "DELETE FROM $s.case_grants g USING unnest($1::uuid[], $2::uuid[]) gone(case_id, grant_id) \
     WHERE g.case_id = gone.case_id AND g.grant_id = gone.grant_id";

pub(crate) const LOAD_EVENTS: &str = "SELECT case_id, position, event_id, class, parties, commitment FROM $s.case_events \
     WHERE case_id = ANY($1) ORDER BY case_id, number";
pub(crate) const LOAD_SIGHTS: &str =
    "SELECT case_id, post_id, open, seen FROM $s.case_sights WHERE case_id = ANY($1)";
pub(crate) const LOAD_GRANTS: &str = "SELECT case_id, content FROM $s.case_grants WHERE case_id = ANY($1)";

/// An event of a case on its way in.
#[derive(Clone, Debug)]
pub(crate) struct NewEvent {
    pub case: CaseId,
    pub number: u32,
    pub event: CaseEvent,
}

/// What a post sees of a case.
#[derive(Clone, Debug)]
pub(crate) struct NewSight {
    pub case: CaseId,
    pub post: PostId,
    pub sight: Sight,
}

/// A grant; without content it has ended.
#[derive(Clone, Debug)]
pub(crate) struct NewGrant {
    pub case: CaseId,
    pub grant: GrantId,
    pub content: Option<Vec<u8>>,
}

/// Prepared for one schema.
pub(crate) struct Statements {
    pub events: Statement,
    pub sights: Statement,
    pub grants: Statement,
    pub end_grants: Statement,
}

pub(crate) fn pack_parties(parties: &[PostId]) -> Vec<u8> {
    parties.iter().flat_map(|post| *post.0.as_bytes()).collect()
}

pub(crate) fn unpack_parties(bytes: &[u8]) -> Box<[PostId]> {
    bytes.chunks_exact(16).filter_map(|id| Uuid::from_slice(id).ok()).map(PostId).collect()
}

fn pack_seen(seen: &[u32; CLASSES]) -> Vec<u8> {
    seen.iter().flat_map(|number| number.to_be_bytes()).collect()
}

pub(crate) fn unpack_sight(open: i32, bytes: &[u8]) -> Sight {
    let mut sight = Sight { open: open as u32, ..Sight::default() };
    for (seen, number) in sight.seen.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *seen = u32::from_be_bytes(*number);
    }
    sight
}

/// The change that makes this grant.
pub(crate) fn pack_grant(case: CaseId, id: GrantId, grant: &Grant) -> Vec<u8> {
    let change = GrantChange { case_id: case.to_string(), ..grant.to_change(id) };
    change.encode_to_vec()
}

pub(crate) fn copy_event(row: &NewEvent, buffer: &mut CopyBuffer) {
    let event = &row.event;
    buffer.row(7).uuid(row.case.0).int4(row.number as i32).int8(event.position as i64).uuid(event.event_id);
    buffer.int2(event.class as i16).bytes(&pack_parties(&event.parties)).bytes(&event.commitment);
}

pub(crate) fn copy_sight(row: &NewSight, buffer: &mut CopyBuffer) {
    buffer.row(4).uuid(row.case.0).uuid(row.post.0).int4(row.sight.open as i32);
    buffer.bytes(&pack_seen(&row.sight.seen));
}

pub(crate) fn copy_grant(row: &NewGrant, buffer: &mut CopyBuffer) {
    if let Some(content) = &row.content {
        buffer.row(3).uuid(row.case.0).uuid(row.grant.0).bytes(content);
    }
}

pub(crate) async fn write_events(
    client: &Client,
    statements: &Statements,
    rows: &[NewEvent],
) -> Result<(), ViewError> {
    if rows.is_empty() {
        return Ok(());
    }
    let cases: Vec<Uuid> = rows.iter().map(|r| r.case.0).collect();
    let numbers: Vec<i32> = rows.iter().map(|r| r.number as i32).collect();
    let positions: Vec<i64> = rows.iter().map(|r| r.event.position as i64).collect();
    let events: Vec<Uuid> = rows.iter().map(|r| r.event.event_id).collect();
    let classes: Vec<i16> = rows.iter().map(|r| r.event.class as i16).collect();
    let parties: Vec<Vec<u8>> = rows.iter().map(|r| pack_parties(&r.event.parties)).collect();
    let commitments: Vec<&[u8]> = rows.iter().map(|r| r.event.commitment.as_slice()).collect();
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
        [&cases, &numbers, &positions, &events, &classes, &parties, &commitments];
    client.execute(&statements.events, &params).await?;
    Ok(())
}

pub(crate) async fn write_sights(
    client: &Client,
    statements: &Statements,
    rows: &[NewSight],
) -> Result<(), ViewError> {
    if rows.is_empty() {
        return Ok(());
    }
    let cases: Vec<Uuid> = rows.iter().map(|r| r.case.0).collect();
    let posts: Vec<Uuid> = rows.iter().map(|r| r.post.0).collect();
    let open: Vec<i32> = rows.iter().map(|r| r.sight.open as i32).collect();
    let seen: Vec<Vec<u8>> = rows.iter().map(|r| pack_seen(&r.sight.seen)).collect();
    client.execute(&statements.sights, &[&cases, &posts, &open, &seen]).await?;
    Ok(())
}

pub(crate) async fn write_grants(
    client: &Client,
    statements: &Statements,
    rows: &[NewGrant],
) -> Result<(), ViewError> {
    let (held, ended): (Vec<&NewGrant>, Vec<&NewGrant>) = rows.iter().partition(|row| row.content.is_some());
    let ids = |rows: &[&NewGrant]| -> (Vec<Uuid>, Vec<Uuid>) {
        rows.iter().map(|row| (row.case.0, row.grant.0)).unzip()
    };
    if !ended.is_empty() {
        let (cases, grants) = ids(&ended);
        client.execute(&statements.end_grants, &[&cases, &grants]).await?;
    }
    if !held.is_empty() {
        let (cases, grants) = ids(&held);
        let contents: Vec<&[u8]> = held.iter().filter_map(|row| row.content.as_deref()).collect();
        client.execute(&statements.grants, &[&cases, &grants, &contents]).await?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeSet;

    use tasuki_contract::DataClass;
    use tasuki_contract::event::v1::Effects;
    use tasuki_domain::circle::{Circle, Except, Recipient};
    use tasuki_domain::ids::AgencyId;

    use super::*;

    #[test]
    fn what_is_stored_of_a_case_reads_back() {
        let id = |n| Uuid::from_u128(n);
        let parties = [PostId(id(1)), PostId(id(2))];
        assert_eq!(*unpack_parties(&pack_parties(&parties)), parties);

        let mut sight = Sight { open: 1 << 17 | 4, ..Sight::default() };
        sight.seen[17] = 300;
        assert_eq!(unpack_sight(sight.open as i32, &pack_seen(&sight.seen)), sight);

        let grant = Grant {
            recipients: vec![
                Recipient::Post(PostId(id(3))),
                Recipient::Agency(AgencyId(id(4))),
                Recipient::Kind("nursery".into()),
            ],
            classes: BTreeSet::from([DataClass::Identity, DataClass::Support]),
            excluded_keys: BTreeSet::from(["care_procedures".to_owned()]),
            valid_to_day: Some(20_000),
            excepts: vec![Except {
                recipient: Recipient::Post(PostId(id(7))),
                classes: BTreeSet::from([DataClass::Identity]),
            }],
            grace_days: 60,
            by_law: true,
        };
        let (case, grant_id) = (CaseId(id(5)), GrantId(id(6)));
        let change = GrantChange::decode(pack_grant(case, grant_id, &grant).as_slice()).unwrap();
        let mut circle = Circle::default();
        circle.apply(case, &Effects { grants: vec![change], ..Effects::default() });
        assert_eq!(circle.grants[&grant_id], grant);
    }
}
