//! Taking back: never refused, at once, and everybody who could read is told.

use super::*;
use crate::handoff::given::Walk;
use crate::referral::tests::{accept, soon};

const ALL: [DataClass; 3] = [DataClass::Support, DataClass::CareProcedure, DataClass::Identity];

#[test]
fn a_withdrawal_ends_what_the_consent_opened_and_tells_every_office_that_could_read() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let recipients = vec![post(NURSERY), post(PLANNER), post(GUARDIAN)];
    let id = record(&mut world, INTAKE, &signed(case, recipients, &ALL)).unwrap().reply;
    let decision = withdrawn(&mut world, INTAKE, &take_back(case, Some(id))).unwrap();
    assert_eq!(decision.reply, [id]);
    let mut told = told_posts(&decision.events);
    told.sort();
    let expected: Vec<_> = [PLANNER, NURSERY]
        .map(|post| (post, numbers(&[DataClass::Identity, DataClass::CareProcedure, DataClass::Support])))
        .into();
    assert_eq!(told, expected, "the family is told nothing, it said so itself");
    let state = world.case(case);
    assert!(!state.circle.has(NURSERY) && !state.circle.has(PLANNER) && state.circle.has(GUARDIAN));
    assert_eq!(state.consents.all[&id].stage, Stage::Withdrawn);
    assert_eq!(state.consents.notices.values().filter(|notice| !notice.acknowledged).count(), 2);
    world.assert_nobody_is_dropped();
}

#[test]
fn no_recipient_learns_of_another_one_by_being_told() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let id =
        record(&mut world, INTAKE, &signed(case, vec![post(NURSERY), post(PLANNER)], &ALL)).unwrap().reply;
    let events = withdrawn(&mut world, INTAKE, &take_back(case, Some(id))).unwrap().events;
    for (me, other) in [(NURSERY, PLANNER), (PLANNER, NURSERY)] {
        let mine = |decided: &&Decided| decided.effects.party_post_ids.contains(&me.to_string());
        let seen: Vec<&Decided> = events.iter().filter(mine).collect();
        assert_eq!(seen.len(), 1, "its own notice and nothing else");
        assert!(!format!("{:?}", seen[0].event).contains(&other.to_string()));
    }
}

#[test]
fn withdrawing_is_refused_for_no_state_and_no_version() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let mut request = take_back(case, None);
    request.context = Some(CommandContext { etag: "0123456789abcdef".to_owned(), occurred_at: None });
    let first = withdrawn(&mut world, INTAKE, &request).unwrap();
    assert_eq!(first.reply.len(), 1, "the consent held at source, whatever etag is given");
    let again = withdrawn(&mut world, INTAKE, &request).unwrap();
    assert!(again.reply.is_empty() && told_posts(&again.events).is_empty());
    assert!(again.events[0].effects.grants.is_empty(), "nothing changes, and it is on record");
    // One that was only prepared, one that expired long ago, one that was refused.
    let mut request = signed(case, vec![post(NURSERY)], &ALL);
    request.valid_to = date(2024, 4, 9);
    let expired = record(&mut world, INTAKE, &request).unwrap().reply;
    let of_expired = withdrawn(&mut world, INTAKE, &take_back(case, Some(expired))).unwrap();
    assert_eq!(of_expired.reply, [expired]);
    let prepared = pb::PrepareConsentRequest {
        case_id: case.into(),
        recipients: vec![post(NURSERY)],
        classes: numbers(&ALL),
        ..Default::default()
    };
    let id = run(&mut world, INTAKE, case, |state, given| prepare(state, &prepared, given)).unwrap().reply;
    let of_draft = withdrawn(&mut world, INTAKE, &take_back(case, Some(id))).unwrap();
    assert!(told_posts(&of_draft.events).is_empty(), "nobody read under it");
    assert_eq!(world.case(case).consents.all[&id].stage, Stage::Withdrawn);
    assert!(withdrawn(&mut world, INTAKE, &take_back(case, Some(id))).unwrap().reply.is_empty());
}

#[test]
fn who_has_no_say_withdraws_nothing() {
    let mut world = World::new();
    let case = case_of(&mut world);
    assert_eq!(reason(withdrawn(&mut world, HOSPITAL, &take_back(case, None))), Reason::NotYourPart);
    assert_eq!(reason(withdrawn(&mut world, NURSE, &take_back(case, None))), Reason::NotFound);
    assert_eq!(reason(withdrawn(&mut world, GUARDIAN, &take_back(case, None))), Reason::NotFound);
    let unknown = Some(GrantId(uuid::Uuid::from_u128(5)));
    assert_eq!(reason(withdrawn(&mut world, INTAKE, &take_back(case, unknown))), Reason::NotFound);
}

#[test]
fn a_class_is_taken_back_from_everybody_and_a_recipient_altogether() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let id =
        record(&mut world, INTAKE, &signed(case, vec![post(NURSERY), post(PLANNER)], &ALL)).unwrap().reply;
    let mut request = take_back(case, Some(id));
    request.classes = numbers(&[DataClass::Identity]);
    let events = withdrawn(&mut world, INTAKE, &request).unwrap().events;
    assert_eq!(told_posts(&events).len(), 2);
    for who in [NURSERY, PLANNER] {
        assert!(
            !reads(&world, case, who, DataClass::Identity) && reads(&world, case, who, DataClass::Support)
        );
    }
    let mut request = take_back(case, Some(id));
    request.recipients = vec![post(NURSERY)];
    let events = withdrawn(&mut world, INTAKE, &request).unwrap().events;
    assert_eq!(told_posts(&events), [(NURSERY, numbers(&[DataClass::CareProcedure, DataClass::Support]))]);
    assert!(!world.case(case).circle.has(NURSERY) && reads(&world, case, PLANNER, DataClass::Support));
    let state = world.case(case);
    assert_eq!((state.consents.all[&id].stage, state.consents.all[&id].version), (Stage::Active, 3));
}

#[test]
fn one_post_is_taken_out_of_a_kind_and_one_class_from_one_post() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let both = vec![kind("nursery"), post(NURSERY), post(OTHER_NURSERY)];
    let id = record(&mut world, INTAKE, &signed(case, both, &ALL)).unwrap().reply;
    let mut request = take_back(case, Some(id));
    (request.recipients, request.classes) = (vec![post(NURSERY)], numbers(&[DataClass::Identity]));
    withdrawn(&mut world, INTAKE, &request).unwrap();
    assert!(!reads(&world, case, NURSERY, DataClass::Identity));
    assert!(reads(&world, case, NURSERY, DataClass::Support));
    assert!(reads(&world, case, OTHER_NURSERY, DataClass::Identity));
    request.classes.clear();
    withdrawn(&mut world, INTAKE, &request).unwrap();
    assert!(!reads(&world, case, NURSERY, DataClass::Support), "the kind does not stand for it any more");
    assert!(reads(&world, case, OTHER_NURSERY, DataClass::Support));
    request.recipients = vec![kind("nursery")];
    withdrawn(&mut world, INTAKE, &request).unwrap();
    assert!(!reads(&world, case, OTHER_NURSERY, DataClass::Support), "of that kind none is left");
}

#[test]
fn a_guardian_without_a_login_speaks_through_the_ward() {
    let mut world = World::new();
    let case = case_of(&mut world);
    record(&mut world, INTAKE, &signed(case, vec![post(GUARDIAN)], &ALL)).unwrap();
    let mut request = take_back(case, None);
    request.on_behalf = by_telephone("mother");
    let events = withdrawn(&mut world, INTAKE, &request).unwrap().events;
    assert_eq!(events[0].on_behalf_of, Some(GUARDIAN));
    let Event::ConsentWithdrawn(event) = &events[0].event else { panic!("{:?}", events[0].event) };
    assert_eq!(event.on_behalf, by_telephone("mother"));
    // What was said is sealed: the header names the post and nothing else.
    let open = String::from_utf8_lossy(&events[0].event.open_payload()).into_owned();
    assert!(!open.contains("mother") && !open.contains("例示"));
}

#[test]
fn a_stop_notice_is_owed_until_the_post_takes_note_wherever_it_stands_now() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let id = record(&mut world, INTAKE, &signed(case, vec![post(NURSERY)], &ALL)).unwrap().reply;
    let events = withdrawn(&mut world, INTAKE, &take_back(case, Some(id))).unwrap().events;
    let owed = events.iter().flat_map(|decided| &decided.effects.duties);
    let owed: Vec<_> = owed.filter(|duty| duty.kind() == DutyKind::DutyStopNotice).collect();
    assert_eq!((owed.len(), owed[0].owner_post_id.as_str()), (1, NURSERY.to_string().as_str()));
    let notice = NoticeId::trusted(&owed[0].subject_id);
    let request = pb::AcknowledgeStopNoticeRequest {
        case_id: case.into(),
        notice_id: notice.into(),
        ..Default::default()
    };
    let mut acknowledge =
        |who| run(&mut world, who, case, |state, given| acknowledge_stop_notice(state, &request, given));
    assert_eq!(reason(acknowledge(PLANNER)), Reason::NotFound);
    assert_eq!(reason(acknowledge(HOSPITAL)), Reason::NotFound, "not even that there is one");
    let done = acknowledge(NURSERY).unwrap();
    assert!(done.events[0].effects.duties[0].ends && done.events[0].on_behalf_of.is_none());
    assert_eq!(reason(acknowledge(NURSERY)), Reason::WrongState);
    assert!(world.case(case).consents.notices[&notice].acknowledged);
}

#[test]
fn a_referral_that_rested_on_the_consent_waits_for_the_responsible_post() {
    let (mut world, sent) = crate::referral::tests::asked(NURSE);
    let events = withdrawn(&mut world, INTAKE, &take_back(sent.case, None)).unwrap().events;
    let duty = events.iter().flat_map(|decided| &decided.effects.duties);
    let duty = duty.filter(|duty| duty.kind() == DutyKind::DutyReviewHold).collect::<Vec<_>>();
    assert_eq!((duty.len(), duty[0].owner_post_id.as_str()), (1, INTAKE.to_string().as_str()));
    assert_eq!(reason(accept(&mut world, NURSE, sent, soon)), Reason::OnHold);
    assert!(withdrawn(&mut world, INTAKE, &take_back(sent.case, None)).unwrap().events.len() == 1, "once");
    let goes_on = pb::ResolveHoldRequest {
        case_id: sent.case.into(),
        item_id: sent.referral.to_string(),
        outcome: pb::HoldOutcome::GoesOn.into(),
        ..Default::default()
    };
    let refused = run(&mut world, HOSPITAL, sent.case, |state, given| resolve_hold(state, &goes_on, given));
    assert_eq!(reason(refused), Reason::NotYourPart);
    run(&mut world, INTAKE, sent.case, |state, given| resolve_hold(state, &goes_on, given)).unwrap();
    accept(&mut world, NURSE, sent, soon).unwrap();
    let again = run(&mut world, INTAKE, sent.case, |state, given| resolve_hold(state, &goes_on, given));
    assert_eq!(reason(again), Reason::NotFound);
    world.assert_nobody_is_dropped();
}

#[test]
fn a_hand_off_that_rested_on_the_consent_waits_too() {
    let mut walk = Walk::proposed();
    walk.offer(INTAKE).unwrap();
    let mut request = take_back(walk.case, None);
    request.classes = numbers(&[DataClass::Identity]);
    let events = withdrawn(&mut walk.world, INTAKE, &request).unwrap().events;
    assert!(types(&events).contains(&"WorkPutOnHold"), "{:?}", types(&events));
    assert_eq!(reason(walk.accept(COORDINATOR)), Reason::OnHold);
    walk.world.assert_nobody_is_dropped();
}
