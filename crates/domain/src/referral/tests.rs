//! What a referral promises, given / when / then.
#![allow(clippy::unwrap_used)]

use tasuki_contract::common::v1::{CodeList, CommandContext, Fact, fact::Value};
use tasuki_contract::event::v1::{DutyKind, ItemKind, Relation};
use tasuki_contract::{DataClass, Event, intake::v1 as pb};
use uuid::Uuid;

use super::*;
use crate::codes::Table;
use crate::decision::{Decision, etag};
use crate::ids::{GrantId, derived};
use crate::testing::*;

pub(crate) fn fact(key: &str, value: Value) -> Fact {
    Fact { key: key.to_owned(), value: Some(value), ..Fact::default() }
}

pub(crate) fn signed() -> Option<pb::ConsentAtSource> {
    let signer_relation = "mother".to_owned();
    Some(pb::ConsentAtSource { anonymous: false, signer_relation, signed_on: date(2024, 4, 9) })
}

/// The seven items, and the purpose.
pub(crate) fn seven_items(to: PostId) -> pb::SubmitReferralRequest {
    let care = CodeList { codes: vec![crate::codes::rows(Table::CareProcedure)[0].code.clone()] };
    pb::SubmitReferralRequest {
        to_post_id: to.into(),
        municipality_code: WARD.to_owned(),
        referral_purpose: "nicu_discharge".to_owned(),
        expected_discharge_on: date(2024, 6, 1),
        sender_telephone: "00-0000-0000".to_owned(),
        label: "例A".to_owned(),
        facts: vec![
            fact("birth_date", Value::Date(date(2021, 11, 5).unwrap())),
            fact("care_procedures", Value::Codes(care)),
        ],
        consent_at_source: signed(),
        ..pb::SubmitReferralRequest::default()
    }
}

/// A world in which the hospital has asked `to`.
pub(crate) fn asked(to: PostId) -> (World, Submitted) {
    let mut world = World::new();
    let sent = send(&mut world, &seven_items(to)).unwrap();
    (world, sent.reply)
}

fn send(
    world: &mut World,
    request: &pb::SubmitReferralRequest,
) -> Result<Decision<Submitted>, crate::refusal::Refusal> {
    let state = world.case(CaseId::trusted(&request.case_id));
    world.run(HOSPITAL, |given| submit(&state, request, given))
}

macro_rules! command {
    ($name:ident, $request:ident) => {
        pub(crate) fn $name(
            world: &mut World,
            post: PostId,
            sent: Submitted,
            change: impl FnOnce(&mut pb::$request),
        ) -> Result<Decision<()>, crate::refusal::Refusal> {
            let mut request = pb::$request { referral_id: sent.referral.into(), ..pb::$request::default() };
            change(&mut request);
            let state = world.case(sent.case);
            world.run(post, |given| super::$name(&state, &request, given))
        }
    };
}
command!(acknowledge, AcknowledgeReferralRequest);
command!(accept, AcceptReferralRequest);
command!(decline, DeclineReferralRequest);
command!(reroute, RerouteReferralRequest);
command!(withdraw, WithdrawReferralRequest);

pub(crate) fn soon(request: &mut pb::AcceptReferralRequest) {
    request.first_contact_on = date(2024, 4, 20);
}

pub(crate) fn as_lead(request: &mut pb::AcceptReferralRequest) {
    soon(request);
    request.as_lead = true;
}

pub(crate) fn no_nurse(request: &mut pb::DeclineReferralRequest) {
    request.decline_reason = "no_nurse".to_owned();
}

fn referral(world: &World, sent: Submitted) -> ReferralState {
    world.case(sent.case).referrals[&sent.referral].clone()
}

fn relations(world: &World, sent: Submitted, post: PostId) -> Vec<Relation> {
    let circle = world.case(sent.case).circle;
    circle.relations.get(&post).map(|all| all.iter().copied().collect()).unwrap_or_default()
}

#[test]
fn seven_items_open_a_case_whose_lead_is_the_intake_post() {
    let mut world = World::new();
    let decision = send(&mut world, &seven_items(NURSE)).unwrap();
    assert_eq!(types(&decision.events), ["CaseOpened", "ReferralSubmitted"]);
    let (sent, state) = (decision.reply, world.case(decision.reply.case));
    assert_eq!(state.opened_by, Some(sent.referral));
    assert_eq!(state.municipality_code, WARD);
    assert_eq!(state.circle.lead, Some(INTAKE));
    assert_eq!(relations(&world, sent, INTAKE), [Relation::Lead, Relation::Ward]);
    assert_eq!(relations(&world, sent, HOSPITAL), [Relation::Sender]);
    assert_eq!(relations(&world, sent, NURSE), [Relation::Asked]);
    assert!(!state.circle.is_member(NURSE));
    assert_eq!(decision.etag(), etag(sent.referral.0, referral(&world, sent).revision));
    assert_eq!(referral(&world, sent).stage, Stage::Submitted);
    world.assert_nobody_is_dropped();
}

#[test]
fn the_consent_at_source_grants_sender_receiver_and_intake_what_is_neither_sealed_nor_restricted() {
    let (world, sent) = asked(NURSE);
    let grants = world.case(sent.case).circle.grants;
    let grant = &grants[&GrantId(derived(&["source", &sent.referral.to_string()]))];
    assert_eq!(grants.len(), 1);
    for post in [HOSPITAL, NURSE, INTAKE] {
        assert!(grant.covers(post, agency_of(post), "", 0));
    }
    assert!(!grant.covers(NURSERY, agency_of(NURSERY), "nursery", 0));
    for class in [DataClass::Restricted, DataClass::Sealed, DataClass::FamilyCircumstances] {
        assert!(!grant.classes.contains(&class));
    }
    assert!(grant.classes.contains(&DataClass::CareProcedure));
}

#[test]
fn every_missing_item_is_named_in_one_refusal() {
    let request = pb::SubmitReferralRequest { consent_at_source: signed(), ..Default::default() };
    let found = fields(send(&mut World::new(), &request));
    let expected = [
        "to_post_id",
        "referral_purpose",
        "label",
        "facts.birth_date",
        "municipality_code",
        "facts.care_procedures",
        "expected_discharge_on",
        "sender_telephone",
    ];
    assert!(found.iter().all(|(_, why)| *why == "MISSING"), "{found:?}");
    assert_eq!(found.iter().map(|(field, _)| field.as_str()).collect::<Vec<_>>(), expected);
}

#[test]
fn every_malformed_field_is_named_in_one_refusal() {
    let mut request = seven_items(NURSE);
    request.case_id = "x".to_owned();
    request.to_post_id = "y".to_owned();
    request.referral_purpose = "because".to_owned();
    request.urgency = 9;
    request.weekdays = vec![1, 8, 1];
    request.expected_discharge_on = date(2024, 2, 30);
    request.message = "長".repeat(4_001);
    request.label = "長".repeat(121);
    request.not_yet_keys = vec!["nothing".to_owned(), "birth_date".to_owned(), "disclosure_log".to_owned()];
    request.facts.push(fact("nobody_knows", Value::Flag(true)));
    request.consent_at_source = Some(pb::ConsentAtSource {
        signer_relation: "neighbour".to_owned(),
        signed_on: date(2024, 4, 11),
        ..Default::default()
    });
    let found = fields(send(&mut World::new(), &request));
    let expected = [
        ("case_id", "NOT_A_UUID"),
        ("to_post_id", "NOT_A_UUID"),
        ("referral_purpose", "UNKNOWN_CODE"),
        ("urgency", "UNKNOWN_CODE"),
        ("expected_discharge_on", "BAD_DATE"),
        ("weekdays[2]", "DUPLICATE"),
        ("weekdays[1]", "OUT_OF_RANGE"),
        ("message", "TOO_LONG"),
        ("label", "TOO_LONG"),
        ("facts[2].key", "UNKNOWN_KEY"),
        ("not_yet_keys[0]", "UNKNOWN_KEY"),
        ("not_yet_keys[1]", "DUPLICATE"),
        ("not_yet_keys[2]", "NOT_ALLOWED"),
        ("consent_at_source.signer_relation", "UNKNOWN_CODE"),
        ("consent_at_source.signed_on", "OUT_OF_RANGE"),
    ];
    let found: Vec<_> = found.iter().map(|(field, why)| (field.as_str(), *why)).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_case_is_not_opened_without_a_consent() {
    let request = pb::SubmitReferralRequest { consent_at_source: None, ..seven_items(NURSE) };
    let mut world = World::new();
    let before = world.log.len();
    assert_eq!(reason(send(&mut world, &request)), Reason::ConsentRequired);
    assert_eq!(world.log.len(), before);
}

#[test]
fn an_anonymous_enquiry_grants_nothing_and_identifies_nobody() {
    let mut world = World::new();
    let mut request = seven_items(NURSE);
    request.consent_at_source = Some(pb::ConsentAtSource { anonymous: true, ..Default::default() });
    let found = fields(send(&mut world, &request));
    assert_eq!(found, [("facts[0].key".to_owned(), "NOT_ALLOWED")]);
    request.facts.remove(0);
    let decision = send(&mut world, &request).unwrap();
    assert!(world.case(decision.reply.case).circle.grants.is_empty());
    let Event::ReferralSubmitted(event) = &decision.events[1].event else { panic!() };
    assert!(!event.not_yet_keys.iter().any(|key| key == "name_kana" || key == "address_text"));
    assert!(event.not_yet_keys.iter().any(|key| key == "mobility"));
}

#[test]
fn an_unregistered_birth_needs_no_name_and_says_so() {
    let mut request = seven_items(NURSE);
    request.label.clear();
    request.facts.remove(0);
    request.birth_unregistered = true;
    let decision = send(&mut World::new(), &request).unwrap();
    let Event::ReferralSubmitted(event) = &decision.events[1].event else { panic!() };
    assert_eq!(event.facts.last(), Some(&fact("name_registered_yet", Value::Flag(true))));
    assert!(event.not_yet_keys.iter().any(|key| key == "birth_date"));
    assert_eq!(event.age_class, "");
}

#[test]
fn what_the_form_requires_beyond_the_seven_becomes_the_senders_duty() {
    let mut world = World::new();
    let mut request = seven_items(NURSE);
    request.not_yet_keys = vec!["evacuation_plan".to_owned()];
    let decision = send(&mut world, &request).unwrap();
    let Event::ReferralSubmitted(event) = &decision.events[1].event else { panic!() };
    assert_eq!(event.not_yet_keys[0], "evacuation_plan");
    assert!(event.not_yet_keys.iter().any(|key| key == "allergies"));
    assert!(!event.not_yet_keys.iter().any(|key| key == "care_procedures" || key == "municipality_code"));
    let duties = &decision.events[1].effects.duties;
    let supply = duties.iter().find(|d| d.kind() == DutyKind::DutySupply).unwrap();
    assert_eq!(supply.owner_post_id, HOSPITAL.to_string());
    assert_eq!(supply.due_day, crate::days::epoch_day(jiff::civil::date(2024, 5, 20)));
    request.expected_discharge_on = date(2024, 4, 12);
    let decision = send(&mut world, &request).unwrap();
    let duties = &decision.events[1].effects.duties;
    let supply = duties.iter().find(|d| d.kind() == DutyKind::DutySupply).unwrap();
    assert_eq!(supply.due_day, crate::days::epoch_day(world.today()));
}

#[test]
fn an_office_outside_the_circle_learns_the_class_and_not_the_birthday() {
    let mut world = World::new();
    for (born, class) in [
        (date(2024, 4, 2), "before_class"),
        (date(2023, 4, 2), "class_age_0"),
        (date(2021, 11, 5), "class_age_2"),
        (date(2018, 4, 1), "school_year_1"),
        (date(2000, 1, 1), "after_school"),
    ] {
        let mut request = seven_items(NURSE);
        request.facts[0] = fact("birth_date", Value::Date(born.unwrap()));
        let decision = send(&mut world, &request).unwrap();
        let Event::ReferralSubmitted(event) = &decision.events[1].event else { panic!() };
        assert_eq!(event.age_class, class);
    }
}

#[test]
fn a_receiver_must_be_an_active_post_other_than_the_sender() {
    let mut world = World::new();
    assert_eq!(reason(send(&mut world, &seven_items(UNKNOWN))), Reason::UnknownPost);
    assert_eq!(reason(send(&mut world, &seven_items(RETIRED))), Reason::PostRetired);
    assert_eq!(fields(send(&mut world, &seven_items(HOSPITAL))), [("to_post_id".to_owned(), "NOT_ALLOWED")]);
    let mut request = seven_items(NURSE);
    request.municipality_code = UNCONFIGURED.to_owned();
    assert_eq!(reason(send(&mut world, &request)), Reason::UnknownMunicipality);
    world.retire(INTAKE);
    assert_eq!(reason(send(&mut world, &seven_items(NURSE))), Reason::PostRetired);
}

#[test]
fn a_referral_never_goes_to_a_family() {
    let refused = |found: Vec<(String, &'static str)>, field: &str| {
        assert_eq!(found, [(field.to_owned(), "NOT_ALLOWED")]);
    };
    let mut world = World::new();
    refused(fields(send(&mut world, &seven_items(GUARDIAN))), "to_post_id");
    assert!(world.cases().is_empty());

    let (mut world, sent) = asked(NURSE);
    let request = pb::SubmitReferralRequest {
        case_id: sent.case.into(),
        consent_at_source: None,
        ..seven_items(GUARDIAN)
    };
    refused(fields(send(&mut world, &request)), "to_post_id");
    let next = |r: &mut pb::DeclineReferralRequest| {
        no_nurse(r);
        r.next_candidate_post_id = GUARDIAN.into();
    };
    refused(fields(decline(&mut world, NURSE, sent, next)), "next_candidate_post_id");
    decline(&mut world, NURSE, sent, no_nurse).unwrap();
    for by in [HOSPITAL, INTAKE] {
        refused(fields(reroute(&mut world, by, sent, |r| r.to_post_id = GUARDIAN.into())), "to_post_id");
    }
    assert!(!world.case(sent.case).circle.has(GUARDIAN));
}

#[test]
fn only_a_member_of_the_circle_refers_into_a_case_and_others_learn_nothing_of_it() {
    let (mut world, sent) = asked(NURSE);
    let mut request = seven_items(NURSERY);
    request.case_id = sent.case.into();
    request.facts.clear();
    request.expected_discharge_on = None;
    let state = world.case(sent.case);
    for post in [PLANNER, NURSE] {
        assert_eq!(reason(world.run(post, |given| submit(&state, &request, given))), Reason::NotFound);
    }
    let unknown = CaseState::default();
    assert_eq!(reason(world.run(PLANNER, |given| submit(&unknown, &request, given))), Reason::NotFound);
    let decision = world.run(INTAKE, |given| submit(&state, &request, given)).unwrap();
    assert_eq!(types(&decision.events), ["ReferralSubmitted"]);
    assert_eq!(decision.reply.case, sent.case);
    assert_eq!(world.case(sent.case).opened_by, Some(sent.referral));
    let grants = world.case(sent.case).circle.grants;
    assert_eq!(grants.len(), 2);
    assert!(grants.values().any(|g| g.covers(NURSERY, agency_of(NURSERY), "nursery", 0)));
}

/// A case in which a consent for the nursery leaves out what it needs not know of allergies.
fn nursery_without_allergies() -> (World, Submitted) {
    use tasuki_contract::consent::v1 as consent_pb;
    use tasuki_contract::event::v1::{Recipient, recipient::Who};
    let (mut world, sent) = asked(COORDINATOR);
    accept(&mut world, COORDINATOR, sent, as_lead).unwrap();
    let request = consent_pb::RecordSignedConsentRequest {
        case_id: sent.case.into(),
        recipients: vec![Recipient { who: Some(Who::PostId(NURSERY.into())) }],
        classes: vec![DataClass::CareProcedure.into()],
        excluded_keys: vec!["allergies".to_owned()],
        signer_relation: "mother".to_owned(),
        consent_method: "paper".to_owned(),
        signed_on: date(2024, 4, 9),
        ..Default::default()
    };
    let state = world.case(sent.case);
    world.run(COORDINATOR, |given| crate::consent::record_signed(&state, &request, given)).unwrap();
    (world, sent)
}

#[test]
fn a_member_that_is_neither_lead_nor_ward_brings_no_consent_into_a_case() {
    let (mut world, sent) = nursery_without_allergies();
    let state = world.case(sent.case);
    let before = world.log.len();
    for (from, to) in [(NURSERY, NURSE), (NURSERY, OTHER_NURSERY), (HOSPITAL, NURSERY)] {
        let request = pb::SubmitReferralRequest { case_id: sent.case.into(), ..seven_items(to) };
        let refused = fields(world.run(from, |given| submit(&state, &request, given)));
        assert_eq!(refused, [("consent_at_source".to_owned(), "NOT_ALLOWED")]);
    }
    assert_eq!(world.log.len(), before);
    // Who knows nothing of the case learns nothing of who is responsible.
    let request = pb::SubmitReferralRequest { case_id: sent.case.into(), ..seven_items(NURSE) };
    assert_eq!(reason(world.run(PLANNER, |given| submit(&state, &request, given))), Reason::NotFound);

    let request = pb::SubmitReferralRequest { consent_at_source: None, ..request };
    let decision = world.run(NURSERY, |given| submit(&state, &request, given)).unwrap();
    assert!(decision.events[0].effects.grants.is_empty());
    assert_eq!(world.case(sent.case).circle.grants, state.circle.grants);
}

#[test]
fn a_consent_that_lead_or_ward_bring_reaches_the_post_asked_without_what_a_signer_took_out() {
    for from in [COORDINATOR, INTAKE] {
        let (mut world, sent) = nursery_without_allergies();
        let state = world.case(sent.case);
        let request = pb::SubmitReferralRequest { case_id: sent.case.into(), ..seven_items(NURSERY) };
        let second = world.run(from, |given| submit(&state, &request, given)).unwrap().reply;
        let grants = world.case(sent.case).circle.grants;
        let grant = &grants[&GrantId(derived(&["source", &second.referral.to_string()]))];
        assert!(grant.covers(NURSERY, agency_of(NURSERY), "", 0));
        assert!(!grant.covers(from, agency_of(from), "", 0));
        assert_eq!(grant.excluded_keys.iter().map(String::as_str).collect::<Vec<_>>(), ["allergies"]);
        assert!(grants.values().all(|grant| {
            !grant.covers(NURSERY, agency_of(NURSERY), "nursery", 0)
                || grant.excluded_keys.contains("allergies")
        }));
    }
}

#[test]
fn a_case_that_a_consultation_opened_has_no_opening_referral() {
    let (mut world, sent) = asked(NURSE);
    let mut recorded = world.log.clone();
    recorded.retain(|r| matches!(r.event, Event::CaseOpened(_)));
    let mut opened = recorded.remove(0);
    opened.header.effects.as_mut().unwrap().items.clear();
    let mut state = CaseState::default();
    state.evolve(sent.case, &opened);
    let mut request = seven_items(NURSE);
    request.case_id = sent.case.into();
    let decision = world.run(INTAKE, |given| submit(&state, &request, given)).unwrap();
    assert_eq!(state.opened_by, None);
    assert_eq!(types(&decision.events), ["ReferralSubmitted"]);
}

#[test]
fn acknowledging_turns_the_duty_to_acknowledge_into_the_duty_to_answer() {
    let (mut world, sent) = asked(COORDINATOR);
    let owed = |world: &World| {
        let duties = referral(world, sent).duties;
        duties
            .into_iter()
            .filter(|(_, owner)| *owner == COORDINATOR)
            .map(|(kind, _)| kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(owed(&world), [DutyKind::DutyAcknowledge]);
    let decision = acknowledge(&mut world, COORDINATOR, sent, |_| {}).unwrap();
    assert_eq!(owed(&world), [DutyKind::DutyAnswer]);
    // Ten days of a desk that is open on Monday, Wednesday and Friday, over the holidays of the spring.
    let due = decision.events[0].effects.duties.iter().find(|d| !d.ends).unwrap().due_day;
    assert_eq!(due, crate::days::epoch_day(jiff::civil::date(2024, 5, 10)));
    assert_eq!(reason(acknowledge(&mut world, COORDINATOR, sent, |_| {})), Reason::WrongState);
}

#[test]
fn unknown_and_foreign_referrals_answer_alike_and_a_wrong_party_is_told_so() {
    let (mut world, sent) = asked(NURSE);
    assert_eq!(reason(acknowledge(&mut world, PLANNER, sent, |_| {})), Reason::NotFound);
    let unknown = |r: &mut pb::AcknowledgeReferralRequest| r.referral_id = Uuid::from_u128(7).to_string();
    assert_eq!(reason(acknowledge(&mut world, NURSE, sent, unknown)), Reason::NotFound);
    assert_eq!(reason(acknowledge(&mut world, HOSPITAL, sent, |_| {})), Reason::NotYourPart);
    assert_eq!(reason(acknowledge(&mut world, INTAKE, sent, |_| {})), Reason::NotYourPart);
    let because = |r: &mut pb::WithdrawReferralRequest| r.withdraw_reason = 1;
    assert_eq!(reason(withdraw(&mut world, NURSE, sent, because)), Reason::NotYourPart);
}

#[test]
fn a_stale_etag_is_refused_and_nothing_is_appended() {
    let (mut world, sent) = asked(NURSE);
    let seen = |world: &World| {
        let etag = etag(sent.referral.0, referral(world, sent).revision);
        Some(CommandContext { etag, occurred_at: None })
    };
    let first = seen(&world);
    acknowledge(&mut world, NURSE, sent, |r| r.context = first.clone()).unwrap();
    let before = world.log.len();
    let stale = accept(&mut world, NURSE, sent, |r| {
        soon(r);
        r.context = first;
    });
    assert_eq!(reason(stale), Reason::StaleEtag);
    assert_eq!(world.log.len(), before);
    let second = seen(&world);
    let accepted = accept(&mut world, NURSE, sent, |r| {
        soon(r);
        r.context = second;
    });
    assert_eq!(accepted.unwrap().etag(), etag(sent.referral.0, referral(&world, sent).revision));
}

#[test]
fn accepting_what_nobody_acknowledged_acknowledges_it_and_moves_no_lead() {
    let (mut world, sent) = asked(PLANNER);
    let decision = accept(&mut world, PLANNER, sent, soon).unwrap();
    assert_eq!(types(&decision.events), ["ReferralAcknowledged", "ReferralAccepted"]);
    assert_eq!(relations(&world, sent, PLANNER), [Relation::Receiver]);
    assert_eq!(world.case(sent.case).circle.lead, Some(INTAKE));
    let duties = referral(&world, sent).duties;
    assert!(duties.contains(&(DutyKind::DutyFirstContact, PLANNER)));
    assert!(!duties.contains(&(DutyKind::DutyAnswer, PLANNER)));
    assert_eq!(decision.etag(), etag(sent.referral.0, referral(&world, sent).revision));
    assert_eq!(reason(accept(&mut world, PLANNER, sent, soon)), Reason::AlreadyAccepted);
}

#[test]
fn the_first_contact_lies_within_sixty_days() {
    let (mut world, sent) = asked(NURSE);
    let field = |why| vec![("first_contact_on".to_owned(), why)];
    assert_eq!(fields(accept(&mut world, NURSE, sent, |_| {})), field("MISSING"));
    for day in [date(2024, 4, 8), date(2024, 6, 10)] {
        let refused = accept(&mut world, NURSE, sent, |r| r.first_contact_on = day);
        assert_eq!(fields(refused), field("OUT_OF_RANGE"));
    }
    accept(&mut world, NURSE, sent, |r| r.first_contact_on = date(2024, 6, 9)).unwrap();
}

#[test]
fn the_supporter_is_the_sender_or_the_responsible_post() {
    let (mut world, sent) = asked(NURSERY);
    let by = |post: PostId| {
        move |r: &mut pb::AcceptReferralRequest| {
            soon(r);
            r.supported_by_post_id = post.into();
        }
    };
    assert_eq!(reason(accept(&mut world, NURSERY, sent, by(NURSE))), Reason::SupporterHasNotAgreed);
    let decision = accept(&mut world, NURSERY, sent, by(INTAKE)).unwrap();
    assert!(decision.events[1].effects.party_post_ids.contains(&INTAKE.to_string()));
}

#[test]
fn accepting_as_lead_moves_the_responsibility_in_the_same_append() {
    let (mut world, sent) = asked(COORDINATOR);
    let decision = accept(&mut world, COORDINATOR, sent, as_lead).unwrap();
    let expected = ["ReferralAcknowledged", "ReferralAccepted", "ResponsibilityTransferred"];
    assert_eq!(types(&decision.events), expected);
    assert_eq!(decision.etag(), etag(sent.referral.0, referral(&world, sent).revision));
    assert_eq!(world.case(sent.case).circle.lead, Some(COORDINATOR));
    assert_eq!(relations(&world, sent, COORDINATOR), [Relation::Lead, Relation::Receiver]);
    assert_eq!(relations(&world, sent, INTAKE), [Relation::Ward]);
    world.assert_nobody_is_dropped();
}

#[test]
fn a_kind_that_may_not_lead_accepts_without_the_lead_only() {
    let (mut world, sent) = asked(NURSE);
    assert_eq!(reason(accept(&mut world, NURSE, sent, as_lead)), Reason::MayNotLead);
    assert_eq!(referral(&world, sent).stage, Stage::Submitted);
    accept(&mut world, NURSE, sent, soon).unwrap();
}

#[test]
fn only_the_opening_referral_is_accepted_as_lead_and_only_from_the_intake_post() {
    let (mut world, sent) = asked(COORDINATOR);
    let mut request = seven_items(PLANNER);
    request.case_id = sent.case.into();
    request.consent_at_source = None;
    let second = send(&mut world, &request).unwrap().reply;
    assert_eq!(reason(accept(&mut world, PLANNER, second, as_lead)), Reason::NotTheOpeningReferral);
    accept(&mut world, COORDINATOR, sent, as_lead).unwrap();
    decline(&mut world, COORDINATOR, sent, no_nurse).unwrap();
    reroute(&mut world, HOSPITAL, sent, |r| r.to_post_id = PLANNER.into()).unwrap();
    assert_eq!(reason(accept(&mut world, PLANNER, sent, as_lead)), Reason::WrongState);
    world.assert_nobody_is_dropped();
}

#[test]
fn the_intake_post_is_responsible_already() {
    let (mut world, sent) = asked(INTAKE);
    assert_eq!(reason(accept(&mut world, INTAKE, sent, as_lead)), Reason::AlreadyLead);
    accept(&mut world, INTAKE, sent, soon).unwrap();
    world.assert_nobody_is_dropped();
}

#[test]
fn a_declined_referral_goes_on_and_asks_the_same_post_again_with_a_reason_only() {
    let (mut world, sent) = asked(NURSERY);
    let found = fields(decline(&mut world, NURSERY, sent, |r| r.decline_reason = "tired".to_owned()));
    assert_eq!(found, [("decline_reason".to_owned(), "UNKNOWN_CODE")]);
    let decision = decline(&mut world, NURSERY, sent, no_nurse).unwrap();
    assert_eq!(types(&decision.events), ["ReferralAcknowledged", "ReferralDeclined"]);
    assert!(relations(&world, sent, NURSERY).is_empty());
    let state = referral(&world, sent);
    assert_eq!(state.stage, Stage::NeedsRouting);
    assert!(state.duties.contains(&(DutyKind::DutyReroute, HOSPITAL)));
    assert!(!state.duties.iter().any(|(_, owner)| *owner == NURSERY));
    let item = &decision.events[1].effects.items[0];
    assert_eq!((item.kind(), item.state.as_str()), (ItemKind::ItemReferral, "needs_routing"));
    assert!(item.post_ids.contains(&INTAKE.to_string()));

    assert_eq!(reason(accept(&mut world, NURSERY, sent, soon)), Reason::NotYourPart);
    let again = |r: &mut pb::RerouteReferralRequest| r.to_post_id = NURSERY.into();
    assert_eq!(reason(reroute(&mut world, HOSPITAL, sent, again)), Reason::DeclinedBefore);
    reroute(&mut world, INTAKE, sent, |r| r.to_post_id = OTHER_NURSERY.into()).unwrap();
    let state = referral(&world, sent);
    assert_eq!((state.stage, state.receiver), (Stage::Submitted, OTHER_NURSERY));
    assert!(state.duties.contains(&(DutyKind::DutyAcknowledge, OTHER_NURSERY)));
    assert!(!state.duties.contains(&(DutyKind::DutyReroute, HOSPITAL)));
    assert_eq!(relations(&world, sent, OTHER_NURSERY), [Relation::Asked]);
    assert_eq!(reason(accept(&mut world, NURSERY, sent, soon)), Reason::NotYourPart);

    decline(&mut world, OTHER_NURSERY, sent, no_nurse).unwrap();
    let with_reason = |r: &mut pb::RerouteReferralRequest| {
        again(r);
        r.reason_again = "看護師の配置".to_owned();
    };
    reroute(&mut world, HOSPITAL, sent, with_reason).unwrap();
    accept(&mut world, NURSERY, sent, soon).unwrap();
}

#[test]
fn what_lies_unanswered_before_a_retired_post_is_sent_on() {
    for (by, acknowledged) in [(HOSPITAL, false), (INTAKE, false), (HOSPITAL, true), (INTAKE, true)] {
        let (mut world, sent) = asked(NURSERY);
        if acknowledged {
            acknowledge(&mut world, NURSERY, sent, |_| {}).unwrap();
        }
        let on = |r: &mut pb::RerouteReferralRequest| r.to_post_id = OTHER_NURSERY.into();
        assert_eq!(reason(reroute(&mut world, by, sent, on)), Reason::WrongState);
        world.retire(NURSERY);
        let back = |r: &mut pb::RerouteReferralRequest| r.to_post_id = NURSERY.into();
        assert_eq!(reason(reroute(&mut world, by, sent, back)), Reason::PostRetired);
        let decision = reroute(&mut world, by, sent, on).unwrap();
        assert!(!decision.events[0].effects.party_post_ids.contains(&NURSERY.to_string()));
        let state = referral(&world, sent);
        assert_eq!((state.stage, state.receiver), (Stage::Submitted, OTHER_NURSERY));
        assert!(!state.duties.iter().any(|(_, owner)| *owner == NURSERY), "{:?}", state.duties);
        assert!(state.duties.contains(&(DutyKind::DutySupply, HOSPITAL)));
        assert!(relations(&world, sent, NURSERY).is_empty());
        accept(&mut world, OTHER_NURSERY, sent, soon).unwrap();
    }
}

#[test]
fn whoever_sends_a_referral_on_tells_the_next_post_what_it_must_know() {
    let (mut world, sent) = asked(NURSERY);
    decline(&mut world, NURSERY, sent, no_nurse).unwrap();
    let telling = |message: String| {
        move |r: &mut pb::RerouteReferralRequest| {
            r.to_post_id = OTHER_NURSERY.into();
            r.message = message;
        }
    };
    let refused = reroute(&mut world, INTAKE, sent, telling("長".repeat(4_001)));
    assert_eq!(fields(refused), [("message".to_owned(), "TOO_LONG")]);
    let decision = reroute(&mut world, INTAKE, sent, telling("週三日、吸引あり".to_owned())).unwrap();
    let Event::ReferralRerouted(event) = &decision.events[0].event else { panic!() };
    assert_eq!(event.message, "週三日、吸引あり");
    assert!(decision.events[0].effects.party_post_ids.contains(&OTHER_NURSERY.to_string()));
    // What it says is personal: no header carries it.
    assert!(world.log.iter().all(|r| match &r.event {
        Event::ReferralRerouted(open) => open.message.is_empty() && open.to_post_id == event.to_post_id,
        _ => true,
    }));
}

#[test]
fn a_post_that_declined_cannot_tell_how_the_referral_goes_on() {
    let (mut world, sent) = asked(NURSERY);
    decline(&mut world, NURSERY, sent, no_nurse).unwrap();
    let answers = |world: &mut World| {
        let stages =
            [Stage::Submitted, Stage::Acknowledged, Stage::Accepted, Stage::NeedsRouting, Stage::Closed];
        let posts = [NURSERY, OTHER_NURSERY];
        let tried = posts.into_iter().flat_map(|post| stages.map(|stage| revision(post, stage)));
        let mut all = Vec::new();
        for tried in tried {
            let etag = etag(sent.referral.0, tried);
            let context = Some(CommandContext { etag, occurred_at: None });
            all.push(reason(acknowledge(world, NURSERY, sent, |r| r.context = context.clone())));
            all.push(reason(accept(world, NURSERY, sent, |r| {
                soon(r);
                r.context = context.clone();
            })));
            all.push(reason(decline(world, NURSERY, sent, |r| {
                no_nurse(r);
                r.context = context;
            })));
        }
        all
    };
    let declined = answers(&mut world);
    assert!(declined.iter().all(|why| *why == Reason::NotYourPart));
    assert_eq!(referral(&world, sent).asked(), None);
    reroute(&mut world, HOSPITAL, sent, |r| r.to_post_id = OTHER_NURSERY.into()).unwrap();
    assert_eq!(answers(&mut world), declined);
    assert_eq!(referral(&world, sent).parties().collect::<Vec<_>>(), [HOSPITAL, OTHER_NURSERY]);
    accept(&mut world, OTHER_NURSERY, sent, soon).unwrap();
    assert_eq!(answers(&mut world), declined);
    decline(&mut world, OTHER_NURSERY, sent, no_nurse).unwrap();
    withdraw(&mut world, HOSPITAL, sent, |r| r.withdraw_reason = 1).unwrap();
    assert_eq!(answers(&mut world), declined);
}

#[test]
fn a_referral_remembers_which_event_holds_what_was_sent_wherever_it_goes() {
    let (mut world, sent) = asked(NURSERY);
    let sent_as = |world: &World| {
        let mut events = world.stream(crate::decision::Kind::Case, sent.case.0);
        let found = events.find(|r| matches!(r.event, Event::ReferralSubmitted(_))).unwrap();
        (Uuid::try_parse(&found.header.event_id).unwrap(), found.recorded_at)
    };
    let remembered = |world: &World| {
        let referral = referral(world, sent);
        (referral.submission, referral.submitted_at)
    };
    assert_eq!(remembered(&world), sent_as(&world));
    decline(&mut world, NURSERY, sent, no_nurse).unwrap();
    reroute(&mut world, HOSPITAL, sent, |r| r.to_post_id = OTHER_NURSERY.into()).unwrap();
    assert_eq!(remembered(&world), sent_as(&world));
}

#[test]
fn a_decline_ends_no_other_part_that_the_post_has() {
    let (mut world, sent) = asked(NURSE);
    let mut request = seven_items(NURSE);
    request.case_id = sent.case.into();
    request.consent_at_source = None;
    let second = send(&mut world, &request).unwrap().reply;
    decline(&mut world, NURSE, sent, no_nurse).unwrap();
    assert_eq!(relations(&world, sent, NURSE), [Relation::Asked]);
    accept(&mut world, NURSE, second, soon).unwrap();
    assert_eq!(relations(&world, sent, NURSE), [Relation::Receiver]);
    decline(&mut world, NURSE, second, no_nurse).unwrap();
    assert!(relations(&world, sent, NURSE).is_empty());
}

#[test]
fn a_referral_is_withdrawn_before_acceptance_and_every_duty_ends() {
    let (mut world, sent) = asked(NURSE);
    assert_eq!(
        fields(withdraw(&mut world, HOSPITAL, sent, |_| {})),
        [("withdraw_reason".to_owned(), "MISSING")]
    );
    let because = |r: &mut pb::WithdrawReferralRequest| r.withdraw_reason = 2;
    withdraw(&mut world, HOSPITAL, sent, because).unwrap();
    let state = referral(&world, sent);
    assert_eq!((state.stage, state.duties.len()), (Stage::Closed, 0));
    assert!(relations(&world, sent, NURSE).is_empty());
    assert_eq!(reason(withdraw(&mut world, HOSPITAL, sent, because)), Reason::WrongState);
    assert_eq!(reason(acknowledge(&mut world, NURSE, sent, |_| {})), Reason::WrongState);
    world.assert_nobody_is_dropped();

    let (mut world, sent) = asked(NURSE);
    accept(&mut world, NURSE, sent, soon).unwrap();
    assert_eq!(reason(withdraw(&mut world, HOSPITAL, sent, because)), Reason::WrongState);
}

#[test]
fn only_parties_see_a_referral_and_the_receiver_does_not_see_the_opening() {
    let mut world = World::new();
    let decision = send(&mut world, &seven_items(NURSE)).unwrap();
    let parties = |i: usize| decision.events[i].effects.party_post_ids.clone();
    assert_eq!(parties(0), [INTAKE.to_string(), HOSPITAL.to_string()]);
    assert_eq!(parties(1), [HOSPITAL.to_string(), NURSE.to_string(), INTAKE.to_string()]);
    assert!(decision.events.iter().all(|e| e.cases == [decision.reply.case.0]));
}
