//! P2: nobody is dropped. Random commands from two processes at once over several cases; then the whole log is folded,
//! and at every position each open case has exactly one responsible, active post of a kind that may lead.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use tasuki_contract::Event;
use tasuki_domain::case::CaseState;
use tasuki_domain::decision::Recorded;
use tasuki_domain::directory::Directory;
use tasuki_domain::ids::{CaseId, PostId};
use tasuki_log::Record;
use tasuki_tests::{Seed, World, eventually};

use crate::PROGRAM;
use crate::walk::{Walk, WalkOptions};

const LIMIT: Duration = Duration::from_secs(60);
const OPTIONS: WalkOptions = WalkOptions { walkers: 8, steps: 150, cases: 6, desks: 30 };

#[tokio::test(flavor = "multi_thread")]
async fn p2_nobody_is_dropped() {
    let mut seed = Seed::new("p2_nobody_is_dropped");
    let world = World::start(PROGRAM).await.unwrap();
    let first = world.ready().await.unwrap();
    let second = world.serve("all").await.unwrap();
    let walk = Walk::begin(&world, [&first, &second], &mut seed.0, OPTIONS).await;
    let done = walk.run().await;
    println!("{done:#?}");

    let records = world.reader().unwrap().after(0, 1_000_000).await.unwrap();
    let folded = fold(&records);
    // A walk in which nothing happened would prove nothing.
    assert!(folded.cases.len() >= OPTIONS.cases, "{} cases", folded.cases.len());
    assert!(folded.accepted_as_lead >= 3, "accepted as lead: {}", folded.accepted_as_lead);
    assert!(folded.handed_over >= 3, "handed over: {}", folded.handed_over);
    assert!(folded.retired >= 3, "retired: {}", folded.retired);

    // What the views and the log's own table of leads say in the end is what the fold says.
    let leads: BTreeMap<CaseId, PostId> =
        folded.cases.iter().map(|(case, state)| (*case, state.circle.lead.unwrap())).collect();
    let table = async |sql: &str| -> BTreeMap<CaseId, PostId> {
        let rows = world.stack.postgres.sql("tasuki", sql).await.unwrap();
        let ids = |row: &str| row.split_once('|').map(|(a, b)| (CaseId::trusted(a), PostId::trusted(b)));
        rows.lines().filter_map(ids).collect()
    };
    assert_eq!(table("SELECT case_id, post_id FROM log.leads").await, leads);
    let generation =
        world.stack.postgres.sql("tasuki", "SELECT number FROM views_meta.current").await.unwrap();
    let viewed = format!("SELECT case_id, lead_post_id FROM views_{}.cases", generation.trim());
    eventually("the views know every lead", LIMIT, || async { table(&viewed).await == leads }).await;
}

#[derive(Default)]
struct Folded {
    cases: BTreeMap<CaseId, CaseState>,
    accepted_as_lead: usize,
    handed_over: usize,
    retired: usize,
}

/// Folds the log and looks at every case that an event can have touched, at that event's position.
fn fold(records: &[Record]) -> Folded {
    let mut folded = Folded::default();
    let mut directory = Directory::default();
    for (expected, record) in (1..).zip(records) {
        assert_eq!(record.position, expected, "positions are gapless");
        let recorded = Recorded {
            header: record.header.clone(),
            event: record.open_event().unwrap(),
            recorded_at: Timestamp::from_microsecond(record.recorded_at_us).unwrap(),
        };
        directory.apply(&recorded);
        let before: BTreeMap<CaseId, Option<PostId>> =
            folded.cases.iter().map(|(case, state)| (*case, state.circle.lead)).collect();
        if record.header.stream_kind() == tasuki_contract::event::v1::StreamKind::Case {
            let case = CaseId::trusted(&record.header.stream_id);
            folded.cases.entry(case).or_default().evolve(case, &recorded);
        }
        one_event_for_each_change(record, &recorded.event, &before, &folded.cases);
        for (case, state) in &folded.cases {
            exactly_one_lead(record.position, *case, state, &directory);
        }
        match &recorded.event {
            Event::ResponsibilityTransferred(event) => match event.transfer_reason() {
                tasuki_contract::cases::v1::TransferReason::AcceptedAsLead => folded.accepted_as_lead += 1,
                _ => folded.handed_over += 1,
            },
            Event::PostRetired(_) => folded.retired += 1,
            _ => {}
        }
    }
    folded
}

fn exactly_one_lead(position: u64, case: CaseId, state: &CaseState, directory: &Directory) {
    let at = format!("position {position}, case {case}");
    let leading: Vec<PostId> = state
        .circle
        .relations
        .iter()
        .filter(|(_, all)| all.contains(&tasuki_contract::event::v1::Relation::Lead))
        .map(|(post, _)| *post)
        .collect();
    assert_eq!(leading.len(), 1, "{at}: {leading:?} lead");
    assert_eq!(state.circle.lead, Some(leading[0]), "{at}");
    let post = directory.posts.get(&leading[0]).unwrap_or_else(|| panic!("{at}: an unknown post leads"));
    assert!(post.active, "{at}: a retired post leads");
    let kind = &directory.agencies[&post.agency].kind;
    let rules = &directory.municipalities[&state.municipality_code];
    assert!(rules.kinds_that_may_lead.contains(kind), "{at}: {kind} may not lead");
}

/// A lead changes at one event, of a type that says so, whose effects name the case once.
fn one_event_for_each_change(
    record: &Record,
    event: &Event,
    before: &BTreeMap<CaseId, Option<PostId>>,
    after: &BTreeMap<CaseId, CaseState>,
) {
    let at = record.position;
    let effects = record.header.effects.as_ref();
    let leads = effects.map(|effects| effects.leads.as_slice()).unwrap_or_default();
    let named: BTreeSet<CaseId> = leads.iter().map(|change| CaseId::trusted(&change.case_id)).collect();
    assert_eq!(named.len(), leads.len(), "position {at}: a case gets two leads in one event");
    let changes = matches!(event, Event::CaseOpened(_) | Event::ResponsibilityTransferred(_));
    assert_eq!(!leads.is_empty(), changes, "position {at}: {}", record.header.r#type);
    for (case, state) in after {
        let was = before.get(case).copied().flatten();
        assert_eq!(was != state.circle.lead, named.contains(case), "position {at}, case {case}");
    }
}
