//! Doubt, decision, merge and its undoing, given / when / then; and that nobody is dropped on the way.

#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use tasuki_contract::common::v1::fact::Value as FactValue;
use tasuki_contract::consent::v1::RecordSignedConsentRequest;
use tasuki_contract::event::v1::{DutyKind, Effects, GrantChange, Recipient, Relation, recipient::Who};
use tasuki_contract::identity::v1 as pb;
use tasuki_contract::{DataClass, Event};

use super::{barred, clues_of, confirm_distinct, existence_shown, merge, sought, unmerge};
use crate::case::CaseState;
use crate::consent;
use crate::decision::Decision;
use crate::effects::Doing;
use crate::ids::{CaseId, PostId};
use crate::referral::tests::{accept, acknowledge, as_lead, fact, reroute, seven_items, withdraw};
use crate::referral::{self, Stage, Submitted};
use crate::refusal::{Reason, Refusal};
use crate::testing::*;

/// The hospital opens a case, in doubt or not.
fn open(world: &mut World, to: PostId, alike: bool) -> Submitted {
    let request = seven_items(to);
    let state = CaseState::default();
    world.run(HOSPITAL, |given| referral::submit_beside(&state, &request, alike, given)).unwrap().reply
}

fn confirm(world: &mut World, by: PostId, case: CaseId) -> Result<Decision<()>, Refusal> {
    let state = world.case(case);
    let request = pb::ConfirmDistinctRequest { case_id: case.into(), context: None };
    world.run(by, |given| confirm_distinct(&state, &request, given))
}

fn merged(world: &mut World, by: PostId, case: CaseId, into: CaseId) -> Result<Decision<()>, Refusal> {
    let states = (world.case(case), world.case(into));
    let (case_id, survivor_case_id) = (case.into(), into.into());
    let request = pb::MergeCasesRequest { case_id, survivor_case_id, context: None };
    world.run(by, |given| merge((&states.0, &states.1), &request, given))
}

fn unmerged(world: &mut World, by: PostId, case: CaseId) -> Result<Decision<PostId>, Refusal> {
    let state = world.case(case);
    let survivor = state.merged.as_ref().map(|merged| world.case(merged.into)).unwrap_or_default();
    let request = pb::UnmergeCasesRequest { case_id: case.into(), context: None };
    world.run(by, |given| unmerge((&state, &survivor), &request, given))
}

/// What stops the decision, given the state before it: as the services ask.
fn stopped<R>(case: CaseId, state: &CaseState, decision: &Decision<R>) -> Option<Refusal> {
    decision.events.iter().find_map(|decided| barred(case, state, decided))
}

fn naming(world: &World, case: CaseId, post: PostId) -> RecordSignedConsentRequest {
    RecordSignedConsentRequest {
        case_id: case.into(),
        recipients: vec![Recipient { who: Some(Who::PostId(post.into())) }],
        classes: vec![DataClass::Support.into()],
        signer_relation: "mother".to_owned(),
        consent_method: "paper".to_owned(),
        signed_on: in_days(world, 0),
        ..Default::default()
    }
}

#[test]
fn of_a_case_in_doubt_nobody_learns_but_who_opened_it_and_the_intake_post() {
    let mut world = World::new();
    let before = world.log.len();
    let sent = open(&mut world, NURSE, true);
    let state = world.case(sent.case);
    assert_eq!(state.circle.relations.keys().copied().collect::<Vec<_>>(), [HOSPITAL, INTAKE]);
    assert_eq!(state.referrals[&sent.referral].stage, Stage::OnHold);
    assert_eq!(state.referrals[&sent.referral].asked(), None);
    // What folds read without a key does not name the receiver.
    for recorded in &world.log[before..] {
        let effects = format!("{:?}", recorded.header.effects);
        assert!(!effects.contains(&NURSE.to_string()), "{}: {effects}", recorded.header.r#type);
    }
    assert_eq!(reason(acknowledge(&mut world, NURSE, sent, |_| {})), Reason::NotFound);
    let last = world.log.last().unwrap();
    assert!(matches!(last.event, Event::IdentityDoubted(_)));
    let effects = last.header.effects.as_ref().unwrap();
    assert_eq!(effects.party_post_ids, [HOSPITAL.to_string(), INTAKE.to_string()]);
    assert_eq!(effects.duties[0].kind(), DutyKind::DutyIdentity);
    assert_eq!(effects.duties[0].owner_post_id, INTAKE.to_string());
    world.assert_nobody_is_dropped();
}

#[test]
fn while_in_doubt_nothing_brings_anybody_in_and_everything_that_ends_goes_on() {
    let mut world = World::new();
    let sent = open(&mut world, NURSE, true);
    let state = world.case(sent.case);
    let request = naming(&world, sent.case, NURSERY);
    let signed = world.run(INTAKE, |given| consent::record_signed(&state, &request, given)).unwrap();
    assert_eq!(stopped(sent.case, &state, &signed), Some(Reason::IdentityInDoubt.into()));
    let into = tasuki_contract::intake::v1::SubmitReferralRequest {
        case_id: sent.case.into(),
        ..seven_items(PLANNER)
    };
    let second = world.run(INTAKE, |given| referral::submit(&state, &into, given)).unwrap();
    assert_eq!(stopped(sent.case, &state, &second), Some(Reason::IdentityInDoubt.into()));
    // A kind of agency is nobody in particular: others than the insiders may be of it.
    let by_kind = GrantChange {
        grant_id: uuid::Uuid::from_u128(7).to_string(),
        recipients: vec![Recipient { who: Some(Who::AgencyKind("hospital".to_owned())) }],
        ..GrantChange::default()
    };
    let granting = Doing::of(sent.case).grant(by_kind);
    let granting = granting.by(CaseState::stream(sent.case), Event::ConsentActivated(Default::default()));
    assert_eq!(barred(sent.case, &state, &granting), Some(Reason::IdentityInDoubt.into()));

    let mut again = World::new();
    let sent = open(&mut again, NURSE, true);
    let state = again.case(sent.case);
    let back = withdraw(&mut again, HOSPITAL, sent, |r| r.withdraw_reason = 1).unwrap();
    assert_eq!(stopped(sent.case, &state, &back), None);
    let (grant, held) = state.circle.grants.iter().next().unwrap();
    let ends = GrantChange { grant_id: (*grant).into(), ends: true, ..GrantChange::default() };
    let classes = held.classes.iter().take(1).map(|class| i32::from(*class)).collect();
    let less = GrantChange { grant_id: (*grant).into(), classes, ..GrantChange::default() };
    for change in [ends, less] {
        let taken = Doing::of(sent.case).grant(change);
        let taken = taken.by(CaseState::stream(sent.case), Event::ConsentActivated(Default::default()));
        assert_eq!(barred(sent.case, &state, &taken), None);
    }
}

#[test]
fn who_waited_is_asked_once_the_intake_post_has_decided() {
    let mut world = World::new();
    let sent = open(&mut world, NURSE, true);
    assert_eq!(reason(confirm(&mut world, HOSPITAL, sent.case)), Reason::NotYourPart);
    assert_eq!(reason(confirm(&mut world, NURSE, sent.case)), Reason::NotFound);
    let decision = confirm(&mut world, INTAKE, sent.case).unwrap();
    assert_eq!(types(&decision.events), ["IdentityConfirmed", "ReferralDelivered"]);
    let state = world.case(sent.case);
    assert_eq!((&state.doubt, state.referrals[&sent.referral].stage), (&None, Stage::Submitted));
    assert!(state.circle.has(NURSE) && state.circle.grants.values().all(|g| g.recipients.len() == 3));
    acknowledge(&mut world, NURSE, sent, |_| {}).unwrap();
    assert_eq!(reason(confirm(&mut world, INTAKE, sent.case)), Reason::WrongState);
    world.assert_nobody_is_dropped();
}

#[test]
fn a_receiver_that_was_retired_meanwhile_leaves_the_referral_to_the_intake_post() {
    let mut world = World::new();
    let sent = open(&mut world, NURSERY, true);
    world.retire(NURSERY);
    confirm(&mut world, INTAKE, sent.case).unwrap();
    reroute(&mut world, INTAKE, sent, |r| r.to_post_id = OTHER_NURSERY.into()).unwrap();
    acknowledge(&mut world, OTHER_NURSERY, sent, |_| {}).unwrap();
}

#[test]
fn a_referral_taken_back_on_hold_was_never_its_receivers() {
    let mut world = World::new();
    let sent = open(&mut world, NURSE, true);
    let back = withdraw(&mut world, HOSPITAL, sent, |r| r.withdraw_reason = 1).unwrap();
    assert!(!format!("{:?}", back.events[0].effects).contains(&NURSE.to_string()));
    assert_eq!(reason(acknowledge(&mut world, NURSE, sent, |_| {})), Reason::NotFound);
    let decision = confirm(&mut world, INTAKE, sent.case).unwrap();
    assert_eq!(types(&decision.events), ["IdentityConfirmed"]);
}

#[test]
fn a_merged_case_has_no_lead_points_to_the_other_and_takes_nothing_more() {
    let mut world = World::new();
    let first = open(&mut world, COORDINATOR, false);
    accept(&mut world, COORDINATOR, first, as_lead).unwrap();
    let second = open(&mut world, NURSE, true);
    let circle = world.case(first.case).circle;
    let decision = merged(&mut world, INTAKE, second.case, first.case).unwrap();
    assert_eq!(types(&decision.events), ["CasesMerged", "CasesMerged"]);
    world.assert_nobody_is_dropped();
    assert_eq!(world.case(first.case).circle, circle, "the survivor stays as it was");

    let state = world.case(second.case);
    assert_eq!((state.circle.lead, &state.doubt), (None, &None));
    assert_eq!(state.merged.as_ref().unwrap().into, first.case);
    assert_eq!(state.referrals[&second.referral].stage, Stage::Closed);
    assert!(state.circle.is_member(HOSPITAL) && state.circle.is_member(INTAKE), "who knew it knows it");
    assert!(!state.circle.has(NURSE), "and nobody else does");

    let request = naming(&world, second.case, NURSERY);
    let signed = world.run(INTAKE, |given| consent::record_signed(&state, &request, given)).unwrap();
    assert_eq!(stopped(second.case, &state, &signed), Some(Refusal::Merged(first.case)));
    let note =
        Doing::of(second.case).by(CaseState::stream(second.case), Event::CaseOpened(Default::default()));
    assert_eq!(barred(second.case, &state, &note), Some(Refusal::Merged(first.case)));
    let grant = state.circle.grants.keys().next().unwrap();
    let ends = GrantChange { grant_id: (*grant).into(), ends: true, ..GrantChange::default() };
    let taken = Doing::of(second.case).grant(ends);
    let taken = taken.by(CaseState::stream(second.case), Event::ConsentActivated(Default::default()));
    assert_eq!(barred(second.case, &state, &taken), None, "a consent is taken back all the same");
    let on_the_agenda = Doing::outside_cases().concerns([second.case]);
    let stream =
        crate::decision::StreamRef { kind: crate::decision::Kind::Meeting, id: uuid::Uuid::from_u128(9) };
    let meeting = on_the_agenda.by(stream, Event::MeetingScheduled(Default::default()));
    assert_eq!(barred(second.case, &state, &meeting), Some(Refusal::Merged(first.case)));
}

#[test]
fn only_the_intake_post_of_two_open_cases_merges_them() {
    let mut world = World::new();
    let [first, second, third] = [(); 3].map(|()| open(&mut world, NURSE, false));
    assert_eq!(reason(merged(&mut world, HOSPITAL, second.case, first.case)), Reason::NotYourPart);
    assert_eq!(reason(merged(&mut world, PLANNER, second.case, first.case)), Reason::NotFound);
    let unknown = CaseId(uuid::Uuid::from_u128(5));
    assert_eq!(reason(merged(&mut world, INTAKE, second.case, unknown)), Reason::NotFound);
    let itself = fields(merged(&mut world, INTAKE, first.case, first.case));
    assert_eq!(itself, [("survivor_case_id".to_owned(), "NOT_ALLOWED")]);
    merged(&mut world, INTAKE, second.case, first.case).unwrap();
    assert_eq!(merged(&mut world, INTAKE, second.case, third.case), Err(Refusal::Merged(first.case)));
    assert_eq!(merged(&mut world, INTAKE, third.case, second.case), Err(Refusal::Merged(first.case)));
    let doubted = open(&mut world, NURSE, true);
    assert_eq!(reason(merged(&mut world, INTAKE, third.case, doubted.case)), Reason::IdentityInDoubt);
    // Asked and no member: the merge of what it was asked about is not told to it.
    assert!(!world.case(second.case).circle.has(NURSE), "who was asked is asked no more");
}

#[test]
fn an_undone_merge_gives_the_case_its_lead_again_and_its_referral_to_be_routed() {
    let mut world = World::new();
    let first = open(&mut world, NURSE, false);
    let second = open(&mut world, COORDINATOR, false);
    accept(&mut world, COORDINATOR, second, as_lead).unwrap();
    merged(&mut world, INTAKE, second.case, first.case).unwrap();
    assert!(world.case(second.case).circle.is_member(COORDINATOR), "who was responsible reads on");
    assert_eq!(reason(unmerged(&mut world, COORDINATOR, second.case)), Reason::NotYourPart);
    assert_eq!(unmerged(&mut world, INTAKE, second.case).unwrap().reply, COORDINATOR);
    assert_eq!(world.case(second.case).circle.lead, Some(COORDINATOR));
    world.assert_nobody_is_dropped();
    assert_eq!(reason(unmerged(&mut world, INTAKE, second.case)), Reason::WrongState);

    // The post that was responsible is gone: the ward's catches the case.
    merged(&mut world, INTAKE, second.case, first.case).unwrap();
    world.retire(COORDINATOR);
    assert_eq!(unmerged(&mut world, INTAKE, second.case).unwrap().reply, INTAKE);
    world.assert_nobody_is_dropped();

    let waiting = open(&mut world, NURSE, true);
    merged(&mut world, INTAKE, waiting.case, first.case).unwrap();
    unmerged(&mut world, INTAKE, waiting.case).unwrap();
    let state = world.case(waiting.case);
    assert_eq!(state.referrals[&waiting.referral].stage, Stage::NeedsRouting);
    assert_eq!((&state.doubt, state.circle.has(NURSE)), (&None, false));
    reroute(&mut world, INTAKE, waiting, |r| r.to_post_id = NURSE.into()).unwrap();
    acknowledge(&mut world, NURSE, waiting, |_| {}).unwrap();
}

#[test]
fn a_search_needs_a_name_with_a_day_or_a_number_with_its_kind_and_intake() {
    let agency = agency_of(NURSE);
    let ask = |change: fn(&mut pb::SearchChildRequest)| {
        let mut request = pb::SearchChildRequest {
            name_kana: "テスト タロウ".to_owned(),
            birth_date: date(2024, 2, 29),
            ..Default::default()
        };
        change(&mut request);
        sought(&request, agency, "intake")
    };
    assert!(!ask(|_| {}).unwrap().clues.is_empty());
    let wrong = |change| {
        fields(ask(change).map(|_| ())).into_iter().map(|(f, w)| format!("{f} {w}")).collect::<Vec<_>>()
    };
    assert_eq!(wrong(|r| r.birth_date = None), ["birth_date MISSING"]);
    assert_eq!(wrong(|r| *r = Default::default()), ["name_kana MISSING", "birth_date MISSING"]);
    assert_eq!(wrong(|r| r.identifier = "1".to_owned()), ["identifier_key MISSING"]);
    assert_eq!(
        wrong(|r| r.identifier_key = "my_number".to_owned()),
        ["identifier_key UNKNOWN_CODE", "identifier MISSING"]
    );
    assert_eq!(wrong(|r| r.sex = "f".to_owned()), ["sex UNKNOWN_CODE"]);
    let number = ask(|r| {
        *r = pb::SearchChildRequest {
            identifier_key: "patient_id".to_owned(),
            identifier: "1".to_owned(),
            ..Default::default()
        };
    });
    assert_eq!(number.unwrap().clues.len(), 1);
    let request = pb::SearchChildRequest {
        name_kana: "ア イ".to_owned(),
        birth_date: date(2024, 2, 29),
        ..Default::default()
    };
    assert_eq!(reason(sought(&request, agency, "care_coordination")), Reason::PurposeNotIntake);
}

#[test]
fn existence_is_shown_to_wards_coordinators_and_the_centre_about_their_own_region() {
    const ELSEWHERE: &str = "122076";
    for kind in [
        "municipal_disability_welfare",
        "municipal_childcare",
        "public_health_center",
        "mcc_coordinator_office",
    ] {
        assert!(existence_shown(kind, "131172", "131172"), "{kind}");
        assert!(!existence_shown(kind, "131172", "131199"), "{kind}: another ward's");
    }
    assert!(existence_shown("mcc_support_center", "131172", "131199"));
    assert!(!existence_shown("mcc_support_center", "131172", ELSEWHERE));
    for kind in [
        "hospital",
        "nursery",
        "elementary_school",
        "family",
        "visiting_nurse_station",
        "consultation_support_office",
        "police",
        "",
    ] {
        assert!(!existence_shown(kind, "131172", "131172"), "{kind}");
    }
}

#[test]
fn what_a_referral_says_of_a_child_becomes_clues_of_its_case() {
    let mut world = World::new();
    let mut request = seven_items(NURSE);
    request.facts.push(fact("name_kana", FactValue::Text("テスト タロウ".to_owned())));
    request.facts.push(fact("sex", FactValue::Code("female".to_owned())));
    let state = CaseState::default();
    let sent = world.run(HOSPITAL, |given| referral::submit(&state, &request, given)).unwrap();
    let clues = clues_of(&sent.events, agency_of(HOSPITAL));
    assert!(clues.iter().all(|(at, case, _)| (*at, *case) == (1, sent.reply.case)));
    let texts: Vec<String> = clues.iter().map(|(_, _, clue)| clue.text.replace('\u{1f}', "|")).collect();
    let expected =
        ["テストタロオ|2021-11-05", "テスト|2021-11-05", "タロオ|2021-11-05", "2021-11-05|female|131997"];
    assert_eq!(texts, expected);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Open(bool),
    Confirm(usize),
    Merge(usize, usize),
    Unmerge(usize),
    Lead(usize),
    Reroute(usize),
    Retire,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = || 0_usize..4;
    let step = prop_oneof![
        2 => any::<bool>().prop_map(Step::Open),
        2 => at().prop_map(Step::Confirm),
        3 => (at(), at()).prop_map(|(a, b)| Step::Merge(a, b)),
        3 => at().prop_map(Step::Unmerge),
        2 => at().prop_map(Step::Lead),
        1 => at().prop_map(Step::Reroute),
        1 => Just(Step::Retire),
    ];
    proptest::collection::vec(step, 1..30)
}

proptest! {
    /// P2, with merges: each case that is not closed by one has one responsible, active post; each that is has none.
    #[test]
    fn p2_nobody_is_dropped_by_doubt_merge_and_unmerge(steps in steps()) {
        let mut world = World::new();
        let mut cases = vec![open(&mut world, COORDINATOR, false), open(&mut world, COORDINATOR, true)];
        for step in steps {
            let pick = |n: usize| cases[n % cases.len()];
            let case = |n: usize| pick(n).case;
            match step {
                Step::Open(alike) => cases.push(open(&mut world, PLANNER, alike)),
                Step::Confirm(n) => drop(confirm(&mut world, INTAKE, case(n))),
                Step::Merge(a, b) => drop(merged(&mut world, INTAKE, case(a), case(b))),
                Step::Unmerge(n) => drop(unmerged(&mut world, INTAKE, case(n))),
                Step::Lead(n) if world.case(case(n)).merged.is_none() => {
                    drop(accept(&mut world, COORDINATOR, pick(n), as_lead));
                }
                Step::Reroute(n) if world.case(case(n)).merged.is_none() => {
                    drop(reroute(&mut world, INTAKE, pick(n), |r| r.to_post_id = PLANNER.into()));
                }
                // As the registry does: only where it is responsible for nothing.
                Step::Retire if world.cases().values().all(|c| c.circle.lead != Some(COORDINATOR)) => {
                    world.retire(COORDINATOR);
                }
                _ => {}
            }
            world.assert_nobody_is_dropped();
            for state in world.cases().values() {
                let asked = state.circle.relations.values().any(|all| all.contains(&Relation::Asked));
                prop_assert!(!(asked && (state.doubt.is_some() || state.merged.is_some())), "somebody is asked");
                prop_assert!(!(state.doubt.is_some() && state.merged.is_some()));
            }
        }
    }
}

#[test]
fn nothing_about_an_effectless_event_of_another_case_is_barred() {
    let mut world = World::new();
    let sent = open(&mut world, NURSE, true);
    let state = world.case(sent.case);
    let other = CaseId(uuid::Uuid::from_u128(3));
    let elsewhere = Doing::of(other).by(CaseState::stream(other), Event::CaseOpened(Default::default()));
    assert_eq!(elsewhere.effects, Effects::default());
    assert_eq!(barred(sent.case, &state, &elsewhere), None);
}
