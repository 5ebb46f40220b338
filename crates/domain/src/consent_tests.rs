//! What recording a consent promises, given / when / then.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::testing::*;

fn case_of(world: &mut World) -> CaseId {
    use crate::referral::submit;
    let request = crate::referral::tests::seven_items(NURSE);
    let state = CaseState::default();
    world.run(HOSPITAL, |given| submit(&state, &request, given)).unwrap().reply.case
}

fn post(post: PostId) -> Recipient {
    Recipient { who: Some(Who::PostId(post.into())) }
}

fn kind(code: &str) -> Recipient {
    Recipient { who: Some(Who::AgencyKind(code.to_owned())) }
}

fn signed(case: CaseId, recipients: Vec<Recipient>, classes: &[DataClass]) -> pb::RecordSignedConsentRequest {
    pb::RecordSignedConsentRequest {
        case_id: case.into(),
        recipients,
        classes: classes.iter().map(|c| i32::from(*c)).collect(),
        signer_relation: "father".to_owned(),
        consent_method: "paper".to_owned(),
        signed_on: date(2024, 4, 1),
        ..pb::RecordSignedConsentRequest::default()
    }
}

fn record(
    world: &mut World,
    caller: PostId,
    request: &pb::RecordSignedConsentRequest,
) -> Result<Decision<GrantId>, Refusal> {
    let state = world.case(CaseId::trusted(&request.case_id));
    world.run(caller, |given| record_signed(&state, request, given))
}

#[test]
fn a_signed_consent_brings_named_posts_and_the_family_into_the_circle() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let recipients = vec![post(NURSERY), post(GUARDIAN), kind("visiting_nurse_station")];
    let mut request = signed(case, recipients, &[DataClass::Support, DataClass::CareProcedure]);
    request.valid_to = date(2025, 3, 31);
    request.excluded_keys = vec!["siblings".to_owned()];
    let grant = record(&mut world, INTAKE, &request).unwrap().reply;
    let circle = world.case(case).circle;
    assert!(circle.relations[&NURSERY].contains(&Relation::Named));
    assert!(circle.relations[&GUARDIAN].contains(&Relation::Family));
    let held = &circle.grants[&grant];
    let last = days::epoch_day(jiff::civil::date(2025, 3, 31));
    assert_eq!(held.valid_to_day, Some(last));
    assert!(held.excluded_keys.contains("siblings"));
    assert!(held.covers(NURSE, agency_of(NURSE), "visiting_nurse_station", last));
    assert!(!held.covers(NURSE, agency_of(NURSE), "visiting_nurse_station", last + 1));
    world.assert_nobody_is_dropped();
}

#[test]
fn the_lead_and_the_ward_record_consents_and_nobody_else() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let request = signed(case, vec![post(NURSERY)], &[DataClass::Support]);
    assert_eq!(reason(record(&mut world, HOSPITAL, &request)), Reason::NotYourPart);
    assert_eq!(reason(record(&mut world, NURSE, &request)), Reason::NotFound);
    assert_eq!(reason(record(&mut world, PLANNER, &request)), Reason::NotFound);
    let unknown = signed(CaseId(uuid::Uuid::from_u128(7)), vec![post(NURSERY)], &[DataClass::Support]);
    assert_eq!(reason(record(&mut world, INTAKE, &unknown)), Reason::NotFound);
}

#[test]
fn recipients_exist() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let mut refused =
        |recipient| reason(record(&mut world, INTAKE, &signed(case, vec![recipient], &[DataClass::Support])));
    assert_eq!(refused(post(UNKNOWN)), Reason::UnknownPost);
    assert_eq!(refused(post(RETIRED)), Reason::PostRetired);
    let agency = Recipient { who: Some(Who::AgencyId(UNKNOWN.into())) };
    assert_eq!(refused(agency), Reason::UnknownAgency);
}

#[test]
fn every_malformed_field_of_a_consent_is_named() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let recipients = vec![Recipient { who: None }, kind("castle"), kind("family"), kind("nursery")];
    let mut request = signed(case, recipients, &[DataClass::Restricted, DataClass::Sealed]);
    request.classes.extend([DataClass::ByContent as i32, DataClass::Restricted as i32]);
    request.excluded_keys = vec!["nothing".to_owned()];
    request.signer_relation = "uncle".to_owned();
    request.consent_method.clear();
    request.valid_to = date(2024, 4, 1);
    let found = fields(record(&mut world, INTAKE, &request));
    let expected = [
        ("recipients[0]", "MISSING"),
        ("recipients[1].agency_kind", "UNKNOWN_CODE"),
        ("recipients[2].agency_kind", "NOT_ALLOWED"),
        ("classes[3]", "DUPLICATE"),
        ("classes[0]", "NOT_ALLOWED"),
        ("classes[1]", "NOT_ALLOWED"),
        ("classes[2]", "UNKNOWN_CODE"),
        ("classes[3]", "NOT_ALLOWED"),
        ("excluded_keys[0]", "UNKNOWN_KEY"),
        ("signer_relation", "UNKNOWN_CODE"),
        ("consent_method", "MISSING"),
        ("valid_to", "OUT_OF_RANGE"),
    ];
    assert_eq!(found.iter().map(|(f, w)| (f.as_str(), *w)).collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_restricted_goes_to_posts_by_name() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let request = signed(case, vec![post(PLANNER)], &[DataClass::Restricted]);
    record(&mut world, INTAKE, &request).unwrap();
}
