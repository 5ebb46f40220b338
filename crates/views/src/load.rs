//! Bringing what the fold needs into memory: all posts at the start, cases and feed heads when an event names them.
//!
//! Set-wise, and nothing at all while everything that a batch touches is in memory.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prost::Message as _;
use tasuki_contract::DataClass;
use tasuki_contract::event::v1::{CircleChange, Effects, GrantChange};
use tasuki_domain::circle::Circle;
use tasuki_domain::ids::{AgencyId, CaseId, PostId};
use tasuki_domain::purpose::Purpose;
use tasuki_privacy::Viewer;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::case::{Case, CaseEvent, Checked, Sight};
use crate::entry::Entry;
use crate::error::ViewError;
use crate::feed::FeedEnd;
use crate::fold::Fold;
use crate::policies::Policies;
use crate::posts::{Agency, Post, Posts};
use crate::schema::in_schema;
use crate::{caseload, feed, policies, posts, state};

/// Prepared for one schema.
pub(crate) struct Statements {
    cases: Statement,
    caseload: Statement,
    grants: Statement,
    sights: Statement,
    events: Statement,
    heads: Statement,
}

impl Statements {
    pub(crate) async fn prepare(client: &Client, number: i64) -> Result<Self, ViewError> {
        let prepare = async |sql: &str| client.prepare(&in_schema(sql, number)).await;
        Ok(Self {
            cases: prepare(caseload::LOAD_CASES).await?,
            caseload: prepare(caseload::LOAD).await?,
            grants: prepare(state::LOAD_GRANTS).await?,
            sights: prepare(state::LOAD_SIGHTS).await?,
            events: prepare(state::LOAD_EVENTS).await?,
            heads: prepare(feed::HEADS).await?,
        })
    }
}

/// All posts, agencies and policies.
pub(crate) async fn posts(client: &Client, number: i64) -> Result<Posts, ViewError> {
    let rows = client.query(&in_schema(posts::LOAD, number), &[]).await?;
    let post = |row: &tokio_postgres::Row| Post {
        viewer: Viewer {
            post: PostId(row.get(0)),
            agency: AgencyId(row.get(1)),
            kind: row.get(2),
            purpose: Purpose::Any,
        },
        municipality: row.get(3),
        changed: row.get::<_, i64>(4) as u64,
    };
    let posts = rows.iter().map(post).collect();
    let rows = client.query(&in_schema(posts::LOAD_AGENCIES, number), &[]).await?;
    let agency = |row: &tokio_postgres::Row| Agency { kind: row.get(1), municipality: row.get(2) };
    let agencies = rows.iter().map(|row| (AgencyId(row.get(0)), agency(row))).collect();
    let mut policies = Policies::default();
    for row in client.query(&in_schema(policies::LOAD, number), &[]).await? {
        policies.adopt(row.get(0), row.get(1), row.get::<_, i64>(2) as u64);
    }
    Ok(Posts::stored(posts, agencies, policies))
}

/// Loads what the entries need and the fold does not hold.
pub(crate) async fn missing(
    client: &Client,
    statements: &Statements,
    fold: &mut Fold,
    entries: &[Entry],
) -> Result<(), ViewError> {
    let mut concerned = BTreeSet::new();
    let mut reached = BTreeSet::new();
    for entry in entries {
        concerned.extend(entry.concerned());
        reached.extend(entry.parties());
        let named = entry.effects.circle.iter().map(|c| &c.post_id);
        let named = named.chain(entry.effects.leads.iter().map(|c| &c.post_id));
        reached.extend(named.map(|post| PostId::trusted(post)));
    }
    let absent: Vec<Uuid> =
        concerned.iter().filter(|id| !fold.cases.contains_key(id)).map(|id| id.0).collect();
    if !absent.is_empty() {
        fold.cases.extend(cases(client, statements, &absent).await?);
    }
    for id in &concerned {
        if let Some(case) = fold.cases.get(id) {
            reached.extend(case.circle.relations.keys());
        }
    }
    let absent: Vec<Uuid> =
        reached.iter().filter(|post| !fold.heads.contains_key(post)).map(|p| p.0).collect();
    if !absent.is_empty() {
        for row in client.query(&statements.heads, &[&absent]).await? {
            fold.heads.insert(PostId(row.get(0)), FeedEnd::stored(row.get(1), row.get(2)));
        }
    }
    Ok(())
}

#[derive(Default)]
struct Stored {
    municipality: String,
    circle: Circle,
    events: Vec<CaseEvent>,
    sights: BTreeMap<PostId, Sight>,
    checked: Option<Checked>,
}

/// The given cases as stored; one that is not stored yet is empty.
async fn cases(
    client: &Client,
    statements: &Statements,
    ids: &[Uuid],
) -> Result<HashMap<CaseId, Case>, ViewError> {
    let mut stored: HashMap<Uuid, Stored> = ids.iter().map(|id| (*id, Stored::default())).collect();
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[&ids];
    let (cases, caseload, grants, sights, events) = futures::try_join!(
        client.query(&statements.cases, params),
        client.query(&statements.caseload, params),
        client.query(&statements.grants, params),
        client.query(&statements.sights, params),
        client.query(&statements.events, params),
    )?;
    // The circle is folded again from its rows, so that there is one place that knows how.
    let mut effects: HashMap<Uuid, Effects> = HashMap::new();
    for row in caseload {
        let (case, post): (Uuid, Uuid) = (row.get(0), row.get(1));
        let changes = &mut effects.entry(case).or_default().circle;
        changes.extend(caseload::relations(row.get(2)).into_iter().map(|relation| CircleChange {
            case_id: case.to_string(),
            post_id: post.to_string(),
            relation: relation as i32,
            ends: false,
        }));
    }
    for row in grants {
        let change = GrantChange::decode(row.get::<_, &[u8]>(1));
        let change = change.map_err(|_| ViewError::Database("a stored grant does not read".into()))?;
        effects.entry(row.get(0)).or_default().grants.push(change);
    }
    for (id, effects) in effects {
        stored.entry(id).or_default().circle.apply(CaseId(id), &effects);
    }
    for row in cases {
        let case = stored.entry(row.get(0)).or_default();
        case.circle.lead = row.get::<_, Option<Uuid>>(1).map(PostId);
        case.checked = Some(Checked { day: row.get(2), position: row.get::<_, i64>(3) as u64 });
        case.municipality = row.get(4);
    }
    for row in sights {
        let case = stored.entry(row.get(0)).or_default();
        case.sights.insert(PostId(row.get(1)), state::unpack_sight(row.get(2), row.get(3)));
    }
    for row in events {
        let class = DataClass::try_from(i32::from(row.get::<_, i16>(3)));
        stored.entry(row.get(0)).or_default().events.push(CaseEvent {
            position: row.get::<_, i64>(1) as u64,
            event_id: row.get(2),
            class: class.map_err(|_| ViewError::Database("a stored class does not read".into()))?,
            parties: state::unpack_parties(row.get(4)),
            commitment: row.get::<_, &[u8]>(5).try_into().unwrap_or_default(),
        });
    }
    let case = |(id, s): (Uuid, Stored)| {
        (CaseId(id), Case::stored(s.municipality, s.circle, s.events, s.sights, s.checked))
    };
    Ok(stored.into_iter().map(case).collect())
}
