//! What reaches whose feed, and when.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::Database;
use common::history::{AGENCY, BEGIN_DAY, CASE, History, POST, id, text};
use tasuki_contract::event::v1::{
    CircleChange, Effects, GrantChange, LeadChange, Recipient, Relation, recipient::Who,
};
use tasuki_domain::ids::{CaseId, PostId};
use tasuki_privacy::PERSONAL;
use tasuki_views::FeedRow;

/// Posts by the kinds of `History::register`.
const HOSPITAL: u64 = 0;
const COORDINATOR: u64 = 1;
const CHILDCARE: u64 = 2;
const NURSE: u64 = 4;

fn post(n: u64) -> PostId {
    PostId(id(POST, n))
}

fn joins(n: u64, relation: Relation) -> CircleChange {
    CircleChange { case_id: text(CASE, 0), post_id: text(POST, n), relation: relation as i32, ends: false }
}

fn leaves(n: u64, relation: Relation) -> CircleChange {
    CircleChange { ends: true, ..joins(n, relation) }
}

fn grant_to(posts: &[u64], last_day: i32) -> GrantChange {
    let who = |n: &u64| Recipient { who: Some(Who::AgencyId(text(AGENCY, *n))) };
    GrantChange {
        case_id: text(CASE, 0),
        grant_id: text(99, 0),
        recipients: posts.iter().map(who).collect(),
        classes: PERSONAL.iter().map(|class| *class as i32).collect(),
        valid_to_day: last_day,
        ..GrantChange::default()
    }
}

/// A case with a lead and a grant; `joining` stand in the circle from the first event on.
fn opened(joining: &[(u64, Relation)], granted: &[u64], last_day: i32) -> History {
    let mut history = History::new(0, 18, 1);
    (0..18).for_each(|n| history.register(n));
    let effects = Effects {
        circle: joining.iter().map(|(n, relation)| joins(*n, *relation)).collect(),
        leads: vec![LeadChange { case_id: text(CASE, 0), post_id: text(POST, COORDINATOR) }],
        grants: vec![grant_to(granted, last_day)],
        ..Effects::default()
    };
    history.push("tasuki.cases.v1.CaseOpened", vec![0], effects, &[]);
    history
}

fn happens(history: &mut History, r#type: &str, circle: Vec<CircleChange>) {
    history.push(r#type, vec![0], Effects { circle, ..Effects::default() }, &[]);
}

async fn feed(database: &Database, n: u64) -> Vec<FeedRow> {
    database.views.feed_of_case(post(n), CaseId(id(CASE, 0)), 0, 1_000).await.unwrap()
}

/// Position in the log and whether it is history.
async fn sequence(database: &Database, n: u64) -> Vec<(u64, bool)> {
    feed(database, n).await.iter().map(|row| (row.position, row.history)).collect()
}

async fn folded(history: &History) -> Database {
    let database = Database::new().await;
    database.append(&history.rows).await;
    database.project_all(&history.rows).await;
    database
}

const HANDOFF: &str = "tasuki.handoff.v1.HandoffProposed";
const REFERRAL: &str = "tasuki.intake.v1.ReferralAccepted";
const LEAD: &str = "tasuki.cases.v1.ResponsibilityTransferred";

#[tokio::test(flavor = "multi_thread")]
async fn p6_a_late_subscriber_sees_the_sequence_that_an_early_one_saw() {
    let both = [CHILDCARE, CHILDCARE + 9];
    let mut history = opened(&[(CHILDCARE, Relation::Receiver)], &both, 0);
    for r#type in [HANDOFF, REFERRAL, LEAD, REFERRAL, HANDOFF] {
        happens(&mut history, r#type, vec![]);
    }
    happens(&mut history, REFERRAL, vec![joins(CHILDCARE + 9, Relation::Receiver)]);
    happens(&mut history, HANDOFF, vec![]);
    let database = folded(&history).await;
    let (early, late) = (feed(&database, CHILDCARE).await, feed(&database, CHILDCARE + 9).await);
    assert_eq!(early.len(), 8);
    let plain =
        |rows: &[FeedRow]| -> Vec<(u64, u64)> { rows.iter().map(|r| (r.number, r.position)).collect() };
    assert_eq!(plain(&early), plain(&late));
    assert!(early.iter().all(|row| !row.history));
    assert_eq!(late.iter().filter(|row| row.history).count(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_and_comes_back_gets_what_was_missed_once() {
    let mut history = opened(&[(CHILDCARE, Relation::Receiver)], &[CHILDCARE], 0);
    let opened_at = history.rows.len() as u64;
    happens(&mut history, HANDOFF, vec![leaves(CHILDCARE, Relation::Receiver)]);
    happens(&mut history, REFERRAL, vec![]);
    happens(&mut history, LEAD, vec![joins(CHILDCARE, Relation::Ward)]);
    let database = folded(&history).await;
    let (missed, back) = (opened_at + 1, opened_at + 3);
    let expected = [(opened_at, false), (missed, true), (missed + 1, true), (back, false)];
    assert_eq!(sequence(&database, CHILDCARE).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_ends_by_its_date_ends_the_feed_without_an_event() {
    let mut history = opened(&[(CHILDCARE, Relation::Receiver)], &[CHILDCARE], BEGIN_DAY + 1);
    let opened_at = history.rows.len() as u64;
    history.pass_hours(47);
    happens(&mut history, REFERRAL, vec![]);
    history.pass_hours(1);
    happens(&mut history, REFERRAL, vec![]);
    // Given anew, the missing one comes as history.
    let effects = Effects { grants: vec![grant_to(&[CHILDCARE], 0)], ..Effects::default() };
    history.push("tasuki.consent.v1.ConsentActivated", vec![0], effects, &[]);
    let database = folded(&history).await;
    let expected =
        [(opened_at, false), (opened_at + 1, false), (opened_at + 2, true), (opened_at + 3, false)];
    assert_eq!(sequence(&database, CHILDCARE).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_party_gets_its_own_part_and_nothing_else() {
    let mut history = opened(&[], &[HOSPITAL, NURSE], 0);
    let party = |n| Effects { party_post_ids: vec![text(POST, n)], ..Effects::default() };
    happens(&mut history, HANDOFF, vec![joins(HOSPITAL, Relation::Asked)]);
    history.push(REFERRAL, vec![0], party(HOSPITAL), &[]);
    // Outside the circle, and without any case.
    history.push(REFERRAL, vec![0], party(NURSE), &[]);
    history.push("tasuki.minutes.v1.MeetingScheduled", vec![], party(NURSE), &[]);
    let database = folded(&history).await;
    let last = history.rows.len() as u64;
    assert_eq!(sequence(&database, HOSPITAL).await, [(last - 2, false)]);
    let nurse = database.views.feed_after(post(NURSE), 0, 10).await.unwrap();
    let nurse: Vec<_> = nurse.iter().map(|row| (row.number, row.case.is_some(), row.position)).collect();
    assert_eq!(nurse, [(1, true, last - 1), (2, false, last)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caseload_says_why_and_who_leads() {
    let mut history = opened(&[(CHILDCARE, Relation::Ward)], &[], 0);
    happens(&mut history, REFERRAL, vec![joins(CHILDCARE, Relation::Receiver)]);
    let leads = vec![LeadChange { case_id: text(CASE, 0), post_id: text(POST, CHILDCARE) }];
    history.push(LEAD, vec![0], Effects { leads, ..Effects::default() }, &[]);
    let database = folded(&history).await;
    // The old lead stood there for nothing else.
    assert_eq!(database.views.caseload(post(COORDINATOR), None, 10).await.unwrap(), []);
    let [row] = &database.views.caseload(post(CHILDCARE), None, 10).await.unwrap()[..] else { panic!() };
    assert_eq!(row.relations, [Relation::Lead, Relation::Ward, Relation::Receiver]);
    assert_eq!((row.case, row.lead), (CaseId(id(CASE, 0)), Some(post(CHILDCARE))));
    assert_eq!(database.views.caseload(post(CHILDCARE), Some(row.case), 10).await.unwrap(), []);
}
