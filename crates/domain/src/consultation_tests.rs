//! What a consultation promises, given / when / then.
#![allow(clippy::unwrap_used)]

use tasuki_contract::{Classified, Open};

use super::*;
use crate::decision::etag;
use crate::testing::*;

fn call() -> pb::RecordConsultationRequest {
    pb::RecordConsultationRequest {
        consulter_attribute: "family".to_owned(),
        access_route: "leaflet".to_owned(),
        contact_method: "phone".to_owned(),
        contents: vec!["medical_care".to_owned(), "abuse_dv".to_owned()],
        caller_identity: pb::CallerIdentity::Labelled.into(),
        caller_label: "例A".to_owned(),
        ..pb::RecordConsultationRequest::default()
    }
}

fn consent() -> Option<pb::ConsentAtSource> {
    let signer_relation = "mother".to_owned();
    Some(pb::ConsentAtSource { anonymous: false, signer_relation, signed_on: date(2024, 4, 10) })
}

fn opening(id: ConsultationId) -> pb::OpenCaseRequest {
    pb::OpenCaseRequest {
        consultation_id: id.into(),
        municipality_code: WARD.to_owned(),
        label: "例A".to_owned(),
        consent: consent(),
        ..pb::OpenCaseRequest::default()
    }
}

fn taken_by(desk: PostId) -> (World, ConsultationId) {
    let mut world = World::new();
    let decision = world.run(desk, |given| record(&call(), given)).unwrap();
    (world, decision.reply)
}

fn state(world: &World, id: ConsultationId) -> ConsultationState {
    world.fold(Kind::Consultation, id.0, |state: &mut ConsultationState, r| state.evolve(r))
}

fn answered(id: ConsultationId) -> pb::AnswerConsultationRequest {
    let answer = "例".to_owned();
    pb::AnswerConsultationRequest { consultation_id: id.into(), answer, context: None }
}

#[test]
fn a_restricted_content_stands_in_no_open_field() {
    let mut world = World::new();
    let decision = world.run(HEALTH, |given| record(&call(), given)).unwrap();
    let Event::ConsultationReceived(mut event) = decision.events[0].event.clone() else { panic!() };
    assert_eq!(event.contents, ["medical_care"]);
    assert_eq!(event.restricted_contents, ["abuse_dv"]);
    event.retain(&Open);
    assert!(event.restricted_contents.is_empty() && event.caller_label.is_empty());
    assert!(decision.events[0].cases.is_empty());
    assert_eq!(decision.events[0].effects.party_post_ids, [HEALTH.to_string()]);
    assert_eq!(decision.etag(), etag(decision.reply.0, 1));
}

#[test]
fn every_malformed_field_of_a_consultation_is_named() {
    let mut request = call();
    request.consulter_attribute.clear();
    request.access_route = "star".to_owned();
    request.contents = vec!["weather".to_owned()];
    request.caller_label.clear();
    request.story = "長".repeat(4_001);
    let found = fields(World::new().run(HEALTH, |given| record(&request, given)));
    let expected = [
        ("consulter_attribute", "MISSING"),
        ("access_route", "UNKNOWN_CODE"),
        ("contents[0]", "UNKNOWN_CODE"),
        ("caller_label", "MISSING"),
        ("story", "TOO_LONG"),
    ];
    assert_eq!(found.iter().map(|(f, w)| (f.as_str(), *w)).collect::<Vec<_>>(), expected);
}

#[test]
fn of_an_anonymous_caller_nothing_is_written() {
    let mut request = call();
    request.caller_identity = pb::CallerIdentity::Anonymous.into();
    request.caller_telephone = "00-0000-0000".to_owned();
    let found = fields(World::new().run(HEALTH, |given| record(&request, given)));
    let names: Vec<_> = found.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(names, ["caller_label", "caller_telephone"]);
    request.caller_identity = 0;
    let found = fields(World::new().run(HEALTH, |given| record(&request, given)));
    assert_eq!(found, [("caller_identity".to_owned(), "MISSING")]);
}

#[test]
fn a_consultation_is_answered_or_guided_and_then_closed() {
    let (mut world, id) = taken_by(HEALTH);
    let close_it = pb::CloseConsultationRequest { consultation_id: id.into(), context: None };
    let fresh = state(&world, id);
    assert_eq!(reason(world.run(HEALTH, |given| close(&fresh, &close_it, given))), Reason::WrongState);
    world.run(HEALTH, |given| answer(&fresh, &answered(id), given)).unwrap();
    let now = state(&world, id);
    assert_eq!(now.stage, Stage::Answered);
    assert_eq!(reason(world.run(HEALTH, |given| answer(&now, &answered(id), given))), Reason::WrongState);
    let decision = world.run(HEALTH, |given| close(&now, &close_it, given)).unwrap();
    assert_eq!(decision.etag(), etag(id.0, 3));
    assert_eq!(state(&world, id).stage, Stage::Closed);

    let (mut world, id) = taken_by(HEALTH);
    let mut request = pb::GuideConsultationRequest { consultation_id: id.into(), ..Default::default() };
    let fresh = state(&world, id);
    let found = fields(world.run(HEALTH, |given| guide(&fresh, &request, given)));
    assert_eq!(found, [("guided_to_kind".to_owned(), "MISSING")]);
    request.guided_to_kind = "municipal_childcare".to_owned();
    world.run(HEALTH, |given| guide(&fresh, &request, given)).unwrap();
    assert_eq!(state(&world, id).stage, Stage::Guided);
}

#[test]
fn a_consultation_exists_for_its_desk_alone() {
    let (mut world, id) = taken_by(HEALTH);
    let now = state(&world, id);
    assert_eq!(reason(world.run(INTAKE, |given| answer(&now, &answered(id), given))), Reason::NotFound);
    assert_eq!(reason(world.run(INTAKE, |given| open_case(&now, &opening(id), given))), Reason::NotFound);
    let unknown = ConsultationState::default();
    assert_eq!(reason(world.run(HEALTH, |given| answer(&unknown, &answered(id), given))), Reason::NotFound);
}

#[test]
fn a_desk_that_may_lead_is_responsible_for_the_case_it_opens() {
    let (mut world, id) = taken_by(HEALTH);
    let now = state(&world, id);
    let decision = world.run(HEALTH, |given| open_case(&now, &opening(id), given)).unwrap();
    assert_eq!(types(&decision.events), ["ConsultationBecameCase", "CaseOpened"]);
    let Opened { case, lead } = decision.reply;
    assert_eq!(lead, HEALTH);
    let opened = world.case(case);
    assert_eq!(opened.circle.lead, Some(HEALTH));
    assert_eq!(opened.opened_by, None);
    let of = |post: PostId| opened.circle.relations[&post].iter().copied().collect::<Vec<_>>();
    assert_eq!(of(HEALTH), [Relation::Lead, Relation::Receiver]);
    assert_eq!(of(INTAKE), [Relation::Ward]);
    assert_eq!(opened.circle.grants.len(), 1);
    assert_eq!(state(&world, id).case, Some(case));
    world.assert_nobody_is_dropped();
    let again = state(&world, id);
    assert_eq!(reason(world.run(HEALTH, |given| open_case(&again, &opening(id), given))), Reason::WrongState);
}

#[test]
fn the_intake_post_is_responsible_where_the_desk_may_not_lead() {
    let (mut world, id) = taken_by(NURSERY);
    let now = state(&world, id);
    let decision = world.run(NURSERY, |given| open_case(&now, &opening(id), given)).unwrap();
    assert_eq!(decision.reply.lead, INTAKE);
    world.assert_nobody_is_dropped();
}

#[test]
fn a_case_needs_a_consent_that_names_a_signer() {
    let (mut world, id) = taken_by(HEALTH);
    let now = state(&world, id);
    for consent in [None, Some(pb::ConsentAtSource { anonymous: true, ..Default::default() })] {
        let request = pb::OpenCaseRequest { consent, ..opening(id) };
        let refused = world.run(HEALTH, |given| open_case(&now, &request, given));
        assert_eq!(reason(refused), Reason::ConsentRequired);
    }
    let request = pb::OpenCaseRequest { municipality_code: UNCONFIGURED.to_owned(), ..opening(id) };
    let refused = world.run(HEALTH, |given| open_case(&now, &request, given));
    assert_eq!(reason(refused), Reason::UnknownMunicipality);
    assert_eq!(state(&world, id).stage, Stage::Received);
}

#[test]
fn what_the_consultation_told_is_carried_on_behind_what_the_request_says() {
    let fact = |key: &str, asserted_on| Fact { key: key.to_owned(), asserted_on, ..Fact::default() };
    let (own, own_day) = (fact("mobility", None), date(2024, 4, 1));
    let request = pb::OpenCaseRequest { facts: vec![own.clone()], ..pb::OpenCaseRequest::default() };
    let told = vec![fact("mobility", own_day), fact("family_wishes", None), fact("allergies", own_day)];
    // Nine in the evening in London is the next day in Tokyo.
    let at: Timestamp = "2024-04-09T21:00:00Z".parse().unwrap();
    let carried = carry_on(request.clone(), told.clone(), at);
    let expected = [own, fact("family_wishes", date(2024, 4, 10)), fact("allergies", own_day)];
    assert_eq!(carried.facts, expected);
    assert_eq!(carry_on(carried.clone(), told, at), carried, "a retry adds nothing");
}
