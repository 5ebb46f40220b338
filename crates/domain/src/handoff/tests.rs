//! Hand-offs, given / when / then.

#![allow(clippy::unwrap_used, missing_docs)]

use tasuki_contract::Event;
use tasuki_contract::common::v1::CommandContext;
use tasuki_contract::event::v1::{DutyKind, Relation};
use tasuki_contract::handoff::v1 as pb;

use super::given::{ACTION_DAY, CLASSES, Walk, assign, consent, open_case};
use super::{Stage, under_way};
use crate::decision::Kind;
use crate::refusal::Reason;
use crate::testing::{
    COORDINATOR, GUARDIAN, HEALTH, HOSPITAL, INTAKE, NURSERY, PLANNER, RETIRED, UNKNOWN, WARD, date, fields,
    in_days, reason, types,
};

/// 2024-05-10: ten days on which a desk open on Monday, Wednesday and Friday works, holidays left out.
const TENTH_DESK_DAY: i32 = 19_853;

#[test]
fn a_hand_off_in_company_moves_the_lead_and_the_open_actions_in_one_event() {
    let mut walk = Walk::new();
    let action = assign(&mut walk.world, walk.case, 1, INTAKE);
    walk.propose(INTAKE, COORDINATOR).unwrap();
    assert_eq!(walk.offer(INTAKE).unwrap().reply, [action]);
    assert!(walk.duties().contains(&(DutyKind::DutyHandoffAnswer, COORDINATOR, TENTH_DESK_DAY)));
    walk.accept(COORDINATOR).unwrap();
    walk.begin(INTAKE).unwrap();
    assert!(walk.duties().contains(&(DutyKind::DutyJointContact, INTAKE, 19_830)));
    walk.contact(COORDINATOR, true).unwrap();
    let first = walk.complete(INTAKE, &[]).unwrap();
    assert!(!first.reply);
    assert_eq!(types(&first.events), ["HandoffCompletionConfirmed"]);
    assert_eq!(walk.state().circle.lead, Some(INTAKE));
    assert!(walk.duties().iter().any(|d| (d.0, d.1) == (DutyKind::DutyHandoffConfirm, COORDINATOR)));

    let second = walk.complete(COORDINATOR, &[action]).unwrap();
    assert!(second.reply);
    assert_eq!(types(&second.events), ["HandoffCompletionConfirmed", "ResponsibilityTransferred"]);
    let state = walk.state();
    assert_eq!(state.circle.lead, Some(COORDINATOR));
    assert_eq!(state.open_actions[&action].owner, COORDINATOR);
    assert_eq!(state.circle.relations[&COORDINATOR], [Relation::Lead].into());
    assert_eq!(state.circle.relations[&INTAKE], [Relation::Ward, Relation::Receiver].into());
    // Due when the minutes said, for whoever owes it.
    assert_eq!(walk.duties(), [(DutyKind::DutyAction, COORDINATOR, ACTION_DAY)]);
    assert_eq!(state.open_actions[&action].due_day, ACTION_DAY);
    assert_eq!(walk.handoff().stage, Stage::Completed);
    assert_eq!(second.item, Some((walk.id.0, walk.handoff().revision)));
    walk.world.assert_nobody_is_dropped();
}

#[test]
fn a_post_that_may_not_lead_or_does_so_already_is_not_proposed() {
    let mut walk = Walk::new();
    for (to, why) in [
        (NURSERY, Reason::MayNotLead),
        (HOSPITAL, Reason::MayNotLead),
        (INTAKE, Reason::AlreadyLead),
        (RETIRED, Reason::PostRetired),
        (UNKNOWN, Reason::UnknownPost),
    ] {
        assert_eq!(reason(walk.propose(INTAKE, to)), why);
    }
    assert!(under_way(&walk.state()).is_none());
}

#[test]
fn a_second_hand_off_waits_until_the_first_is_over() {
    let mut walk = Walk::proposed();
    assert_eq!(reason(walk.propose(INTAKE, PLANNER)), Reason::HandoffUnderWay);
    walk.cancel(INTAKE).unwrap();
    walk.propose(INTAKE, PLANNER).unwrap();
    assert_eq!(walk.handoff().incoming, PLANNER);
}

#[test]
fn the_ward_may_propose_where_another_post_leads_and_sees_every_step() {
    let mut walk = Walk::accompanied();
    walk.contact(INTAKE, true).unwrap();
    walk.complete(INTAKE, &[]).unwrap();
    walk.complete(COORDINATOR, &[]).unwrap();
    assert_eq!(reason(walk.propose(HOSPITAL, HEALTH)), Reason::NotYourPart);
    let proposed = walk.propose(INTAKE, HEALTH).unwrap();
    let ids = [COORDINATOR, HEALTH, INTAKE].map(String::from);
    assert_eq!(proposed.events[0].effects.party_post_ids, ids);
    assert_eq!(proposed.events[0].effects.items[0].post_ids, ids);
    assert_eq!(reason(walk.cancel(INTAKE)), Reason::NotYourPart);
    assert_eq!(reason(walk.offer(INTAKE)), Reason::NotYourPart);
}

#[test]
fn a_stranger_cannot_tell_a_hand_off_from_none() {
    let mut walk = Walk::proposed();
    for stranger in [NURSERY, PLANNER, GUARDIAN] {
        assert_eq!(reason(walk.propose(stranger, HEALTH)), Reason::NotFound);
        assert_eq!(reason(walk.offer(stranger)), Reason::NotFound);
        assert_eq!(reason(walk.cancel(stranger)), Reason::NotFound);
        assert_eq!(reason(walk.complete(stranger, &[])), Reason::NotFound);
    }
    // Not every member of the circle is told of it.
    assert_eq!(reason(walk.accept(HOSPITAL)), Reason::NotFound);
    assert_eq!(reason(walk.begin(HOSPITAL)), Reason::NotFound);
    walk.id = crate::ids::HandoffId(uuid::Uuid::from_u128(7));
    assert_eq!(reason(walk.cancel(INTAKE)), Reason::NotFound);
}

#[test]
fn nothing_is_offered_without_a_consent_that_covers_the_incoming_post() {
    let mut walk = Walk::new();
    let case = walk.case;
    consent(&mut walk.world, case, &[PLANNER], &CLASSES);
    walk.propose(INTAKE, COORDINATOR).unwrap();
    assert_eq!(reason(walk.offer(INTAKE)), Reason::ConsentDoesNotCover);
    for missing in 0..4 {
        let mut some = CLASSES.to_vec();
        some.remove(missing);
        consent(&mut walk.world, case, &[COORDINATOR], &some);
        assert_eq!(reason(walk.offer(INTAKE)), Reason::ConsentDoesNotCover);
    }
    consent(&mut walk.world, case, &[COORDINATOR], &CLASSES);
    walk.offer(INTAKE).unwrap();
}

#[test]
fn a_stale_etag_is_refused_and_nothing_is_appended() {
    let mut walk = Walk::proposed();
    let seen = crate::decision::etag(walk.id.0, walk.handoff().revision);
    walk.offer(INTAKE).unwrap();
    let before = walk.world.log.len();
    let state = walk.state();
    let mut request = pb::AcceptHandoffRequest {
        context: Some(CommandContext { etag: seen, occurred_at: None }),
        handoff_id: walk.id.into(),
    };
    let refused = walk.world.run(COORDINATOR, |given| super::accept(&state, &request, given));
    assert_eq!(reason(refused), Reason::StaleEtag);
    assert_eq!(walk.world.log.len(), before);
    request.context.as_mut().unwrap().etag = crate::decision::etag(walk.id.0, 2);
    walk.world.run(COORDINATOR, |given| super::accept(&state, &request, given)).unwrap();
}

#[test]
fn a_declined_hand_off_may_be_offered_again_and_a_second_acceptance_has_its_own_reason() {
    let mut walk = Walk::proposed();
    assert_eq!(reason(walk.accept(COORDINATOR)), Reason::WrongState);
    walk.offer(INTAKE).unwrap();
    assert_eq!(reason(walk.offer(INTAKE)), Reason::WrongState);
    walk.decline(COORDINATOR).unwrap();
    assert_eq!(walk.handoff().stage, Stage::Proposed);
    assert_eq!(walk.duties(), []);
    assert_eq!(reason(walk.decline(COORDINATOR)), Reason::NotYourPart);
    walk.offer(INTAKE).unwrap();
    walk.accept(COORDINATOR).unwrap();
    assert_eq!(reason(walk.accept(COORDINATOR)), Reason::AlreadyAccepted);
}

#[test]
fn a_post_that_declined_is_asked_no_more_and_cannot_tell_how_the_hand_off_goes_on() {
    let mut walk = Walk::proposed();
    walk.offer(INTAKE).unwrap();
    let declined = walk.decline(COORDINATOR).unwrap();
    assert!(declined.events[0].effects.party_post_ids.contains(&COORDINATOR.to_string()));
    assert!(!walk.state().circle.has(COORDINATOR));
    assert!(!walk.handoff().is_before(COORDINATOR) && !super::asks(&walk.state(), COORDINATOR));
    let answers = |walk: &mut Walk| {
        let etags = [String::new()].into_iter().chain((1..6).map(|n| crate::decision::etag(walk.id.0, n)));
        let mut all = Vec::new();
        for etag in etags.collect::<Vec<_>>() {
            let context = Some(CommandContext { etag, occurred_at: None });
            let state = walk.state();
            let request = pb::AcceptHandoffRequest { context: context.clone(), handoff_id: walk.id.into() };
            all.push(reason(walk.world.run(COORDINATOR, |given| super::accept(&state, &request, given))));
            let request = pb::CancelHandoffRequest {
                context,
                handoff_id: walk.id.into(),
                cancel_reason: pb::CancelReason::FamilyWish.into(),
            };
            all.push(reason(walk.world.run(COORDINATOR, |given| super::cancel(&state, &request, given))));
        }
        all.push(reason(walk.decline(COORDINATOR)));
        all.push(reason(walk.complete(COORDINATOR, &[])));
        all
    };
    let told = answers(&mut walk);
    assert!(told.iter().all(|why| *why == Reason::NotYourPart), "{told:?}");

    // Another offer asks it again, with the same parts as the first.
    let again = walk.offer(INTAKE).unwrap();
    assert!(again.events[0].effects.party_post_ids.contains(&COORDINATOR.to_string()));
    assert!(walk.state().circle.has(COORDINATOR) && walk.handoff().is_before(COORDINATOR));
    walk.decline(COORDINATOR).unwrap();
    let given_up = walk.cancel(INTAKE).unwrap();
    let effects = &given_up.events[0].effects;
    assert_eq!(effects.party_post_ids, [INTAKE.to_string()]);
    assert_eq!(effects.items[0].post_ids, [INTAKE.to_string()]);
    assert_eq!(answers(&mut walk), told);
    assert!(!walk.state().circle.has(COORDINATOR));
    assert_eq!(walk.duties(), []);
}

#[test]
fn a_declined_offer_leaves_the_post_what_else_asks_it() {
    let mut walk = Walk::proposed();
    let state = walk.state();
    let request = tasuki_contract::intake::v1::SubmitReferralRequest {
        case_id: walk.case.into(),
        to_post_id: COORDINATOR.into(),
        referral_purpose: "other".to_owned(),
        ..Default::default()
    };
    walk.world.run(INTAKE, |given| crate::referral::submit(&state, &request, given)).unwrap();
    walk.offer(INTAKE).unwrap();
    walk.decline(COORDINATOR).unwrap();
    assert!(walk.state().circle.has(COORDINATOR));
}

#[test]
fn giving_up_at_any_step_leaves_the_lead_and_nothing_owed() {
    for steps in 0..=5 {
        let mut walk = Walk::proposed();
        let all: [fn(&mut Walk); 5] = [
            |w| _ = w.offer(INTAKE).unwrap(),
            |w| _ = w.accept(COORDINATOR).unwrap(),
            |w| _ = w.begin(INTAKE).unwrap(),
            |w| _ = w.contact(INTAKE, true).unwrap(),
            |w| _ = w.complete(COORDINATOR, &[]).unwrap(),
        ];
        all.iter().take(steps).for_each(|step| step(&mut walk));
        walk.cancel(if steps % 2 == 0 { COORDINATOR } else { INTAKE }).unwrap();
        assert_eq!(walk.duties(), [], "after {steps} steps");
        assert_eq!(walk.state().circle.lead, Some(INTAKE));
        assert!(!walk.state().circle.has(COORDINATOR));
        assert_eq!(reason(walk.cancel(INTAKE)), Reason::WrongState);
        // It still was the coordinator's part, so it is not told that there is none.
        assert_eq!(reason(walk.accept(COORDINATOR)), Reason::WrongState);
    }
}

#[test]
fn nothing_is_complete_before_family_and_both_posts_have_met() {
    let mut walk = Walk::accompanied();
    assert_eq!(reason(walk.complete(INTAKE, &[])), Reason::NoFullJointContact);
    walk.contact(INTAKE, false).unwrap();
    assert_eq!(reason(walk.complete(COORDINATOR, &[])), Reason::NoFullJointContact);
    assert!(walk.duties().iter().any(|d| d.0 == DutyKind::DutyJointContact));
    walk.contact(INTAKE, true).unwrap();
    assert_eq!(walk.duties(), []);
    walk.contact(INTAKE, true).unwrap();
    walk.complete(INTAKE, &[]).unwrap();
    assert_eq!(reason(walk.complete(INTAKE, &[])), Reason::AlreadyConfirmed);
}

#[test]
fn every_open_action_is_adopted_even_one_that_came_up_between_the_confirmations() {
    let mut walk = Walk::accompanied();
    let (case, first) = (walk.case, assign(&mut walk.world, walk.case, 1, INTAKE));
    let foreign = assign(&mut walk.world, case, 2, HOSPITAL);
    walk.contact(INTAKE, true).unwrap();
    assert_eq!(reason(walk.complete(COORDINATOR, &[])), Reason::OpenActionsNotAdopted);
    let not_theirs = fields(walk.complete(COORDINATOR, &[first, foreign]));
    assert_eq!(not_theirs, [("adopted_action_ids[1]".to_owned(), "NOT_ALLOWED")]);
    let outgoing = fields(walk.complete(INTAKE, &[first]));
    assert_eq!(outgoing, [("adopted_action_ids".to_owned(), "NOT_ALLOWED")]);
    walk.complete(COORDINATOR, &[first]).unwrap();
    assert_eq!(reason(walk.complete(COORDINATOR, &[])), Reason::AlreadyConfirmed);

    let late = assign(&mut walk.world, case, 3, INTAKE);
    assert_eq!(reason(walk.complete(INTAKE, &[])), Reason::OpenActionsNotAdopted);
    assert!(!walk.complete(COORDINATOR, &[late]).unwrap().reply);
    assert!(walk.complete(INTAKE, &[]).unwrap().reply);
    let owners = walk.state().open_actions;
    let owner = |action| owners[action].owner;
    assert_eq!([&first, &late, &foreign].map(owner), [COORDINATOR, COORDINATOR, HOSPITAL]);
}

#[test]
fn no_number_of_open_actions_keeps_the_lead_where_it_is() {
    let mut walk = Walk::accompanied();
    let case = walk.case;
    let open: Vec<_> = (0..501).map(|number| assign(&mut walk.world, case, number, INTAKE)).collect();
    walk.contact(INTAKE, true).unwrap();
    assert_eq!(fields(walk.complete(COORDINATOR, &open)), [("adopted_action_ids".to_owned(), "TOO_MANY")]);
    assert_eq!(reason(walk.complete(COORDINATOR, &open[..500])), Reason::OpenActionsNotAdopted);
    let outgoing = fields(walk.complete_with_all(INTAKE));
    assert_eq!(outgoing, [("adopt_all_open_actions".to_owned(), "NOT_ALLOWED")]);
    let state = walk.state();
    let both = pb::CompleteHandoffRequest {
        handoff_id: walk.id.into(),
        adopted_action_ids: vec![open[0].into()],
        adopt_all_open_actions: true,
        ..Default::default()
    };
    let refused = walk.world.run(COORDINATOR, |given| super::complete(&state, &both, given));
    assert_eq!(fields(refused), [("adopted_action_ids".to_owned(), "NOT_ALLOWED")]);

    let confirmed = walk.complete_with_all(COORDINATOR).unwrap();
    let Event::HandoffCompletionConfirmed(event) = &confirmed.events[0].event else { panic!() };
    assert!(event.adopted_all_open_actions && event.adopted_action_ids.is_empty());
    assert_eq!(reason(walk.complete_with_all(COORDINATOR)), Reason::AlreadyConfirmed);
    // What comes up afterwards was not among them.
    let late = assign(&mut walk.world, case, 501, INTAKE);
    assert_eq!(reason(walk.complete(INTAKE, &[])), Reason::OpenActionsNotAdopted);
    walk.complete_with_all(COORDINATOR).unwrap();
    assert!(walk.complete(INTAKE, &[]).unwrap().reply);
    assert_eq!(walk.state().circle.lead, Some(COORDINATOR));
    let owners = walk.state().open_actions;
    assert!(open.iter().chain([&late]).all(|action| owners[action].owner == COORDINATOR));
    walk.world.assert_nobody_is_dropped();
}

#[test]
fn the_lead_never_goes_to_a_post_that_was_retired_or_lost_the_right_meanwhile() {
    let mut walk = Walk::accompanied();
    walk.contact(INTAKE, true).unwrap();
    walk.complete(COORDINATOR, &[]).unwrap();
    let narrowed = tasuki_contract::directory::v1::MunicipalityConfigured {
        municipality_code: WARD.to_owned(),
        intake_post_id: INTAKE.into(),
        kinds_that_may_lead: vec!["municipal_disability_welfare".to_owned()],
        ..Default::default()
    };
    walk.world.tell(Kind::Municipality, crate::ids::municipality_stream(WARD), narrowed);
    assert_eq!(reason(walk.complete(INTAKE, &[])), Reason::MayNotLead);
    walk.world.retire(COORDINATOR);
    assert_eq!(reason(walk.complete(INTAKE, &[])), Reason::PostRetired);
    assert_eq!(walk.state().circle.lead, Some(INTAKE));
}

#[test]
fn every_malformed_field_is_named_at_once() {
    let mut walk = Walk::proposed();
    let (state, long) = (walk.state(), "あ".repeat(4_001));
    let request = pb::ProposeHandoffRequest {
        case_id: "x".to_owned(),
        kind: 99,
        reason_text: long.clone(),
        ..Default::default()
    };
    let named = |all: &[(&str, &'static str)]| {
        all.iter().map(|(field, why)| ((*field).to_owned(), *why)).collect::<Vec<_>>()
    };
    let refused = fields(walk.world.run(INTAKE, |given| super::propose(&state, &request, given)));
    let expected = [
        ("case_id", "NOT_A_UUID"),
        ("incoming_post_id", "MISSING"),
        ("kind", "UNKNOWN_CODE"),
        ("reason_text", "TOO_LONG"),
    ];
    assert_eq!(refused, named(&expected));

    let keys = ["allergies", "allergies", "no_such_key"].map(str::to_owned).to_vec();
    let request = pb::OfferHandoffRequest { do_not_ask_again_keys: keys, ..Default::default() };
    let refused = fields(walk.world.run(INTAKE, |given| super::offer(&state, &request, given)));
    let expected = [
        ("handoff_id", "MISSING"),
        ("summary", "MISSING"),
        ("do_not_ask_again_keys[1]", "DUPLICATE"),
        ("do_not_ask_again_keys[2]", "UNKNOWN_KEY"),
    ];
    assert_eq!(refused, named(&expected));

    let request = pb::DeclineHandoffRequest {
        handoff_id: walk.id.into(),
        decline_reason: "rain".to_owned(),
        note: long,
        ..Default::default()
    };
    let refused = fields(walk.world.run(COORDINATOR, |given| super::decline(&state, &request, given)));
    assert_eq!(refused, named(&[("decline_reason", "UNKNOWN_CODE"), ("note", "TOO_LONG")]));

    let request = pb::CompleteHandoffRequest {
        handoff_id: walk.id.into(),
        adopted_action_ids: vec!["x".to_owned(), walk.id.into(), walk.id.into()],
        ..Default::default()
    };
    let refused = fields(walk.world.run(COORDINATOR, |given| super::complete(&state, &request, given)));
    let expected = [("adopted_action_ids[0]", "NOT_A_UUID"), ("adopted_action_ids[2]", "DUPLICATE")];
    assert_eq!(refused, named(&expected));

    let request = pb::CancelHandoffRequest { handoff_id: walk.id.into(), ..Default::default() };
    let refused = fields(walk.world.run(INTAKE, |given| super::cancel(&state, &request, given)));
    assert_eq!(refused, named(&[("cancel_reason", "MISSING")]));
}

#[test]
fn dates_of_an_accompaniment_and_its_contacts_must_make_sense() {
    let mut walk = Walk::proposed();
    walk.offer(INTAKE).unwrap();
    walk.accept(COORDINATOR).unwrap();
    let state = walk.state();
    let begin = |contact, review| pb::BeginAccompanimentRequest {
        handoff_id: walk.id.into(),
        joint_contact_on: contact,
        review_on: review,
        ..Default::default()
    };
    let early = begin(in_days(&walk.world, -1), in_days(&walk.world, -2));
    let crossed = begin(in_days(&walk.world, 20), in_days(&walk.world, 10));
    let never = begin(date(2024, 2, 30), None);
    let late = begin(in_days(&walk.world, 181), in_days(&walk.world, 367));
    let (contact, review) = ("joint_contact_on".to_owned(), "review_on".to_owned());
    for (request, expected) in [
        (early, vec![(contact.clone(), "OUT_OF_RANGE"), (review.clone(), "OUT_OF_RANGE")]),
        (crossed, vec![(review.clone(), "OUT_OF_RANGE")]),
        (never, vec![(contact.clone(), "BAD_DATE"), (review.clone(), "MISSING")]),
        (late, vec![(contact, "OUT_OF_RANGE"), (review, "OUT_OF_RANGE")]),
    ] {
        let refused = walk.world.run(INTAKE, |given| super::begin_accompaniment(&state, &request, given));
        assert_eq!(fields(refused), expected);
    }
    walk.begin(INTAKE).unwrap();

    let state = walk.state();
    let tomorrow = pb::RecordJointContactRequest {
        handoff_id: walk.id.into(),
        held_on: in_days(&walk.world, 1),
        family_present: true,
        ..Default::default()
    };
    let refused = walk.world.run(INTAKE, |given| super::record_joint_contact(&state, &tomorrow, given));
    let expected = [("held_on".to_owned(), "OUT_OF_RANGE"), ("absence_reason".to_owned(), "MISSING")];
    assert_eq!(fields(refused), expected);
}

#[test]
fn hand_offs_of_two_cases_know_nothing_of_each_other() {
    let mut walk = Walk::proposed();
    let other = open_case(&mut walk.world, 2);
    let state = walk.world.case(other);
    let request = pb::CancelHandoffRequest {
        handoff_id: walk.id.into(),
        cancel_reason: pb::CancelReason::FamilyWish.into(),
        ..Default::default()
    };
    let refused = walk.world.run(INTAKE, |given| super::cancel(&state, &request, given));
    assert_eq!(reason(refused), Reason::NotFound);
}
