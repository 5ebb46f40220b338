//! The steps that lead to a consent and change it, and what the law opens.

use super::*;

fn prepared(case: CaseId) -> pb::PrepareConsentRequest {
    pb::PrepareConsentRequest {
        case_id: case.into(),
        recipients: vec![post(NURSERY)],
        classes: numbers(&[DataClass::Support]),
        purposes: vec!["nursery_entry".to_owned()],
        language: "やさしい日本語".to_owned(),
        ..Default::default()
    }
}

fn prepare_one(world: &mut World, case: CaseId) -> GrantId {
    run(world, INTAKE, case, |state, given| prepare(state, &prepared(case), given)).unwrap().reply
}

fn explain_it(world: &mut World, case: CaseId, id: GrantId) -> Result<Decision<()>, Refusal> {
    let request = pb::ExplainConsentRequest {
        case_id: case.into(),
        grant_id: id.into(),
        explainer: "例示窓口".to_owned(),
        explained_on: date(2024, 4, 10),
        childs_view: "例示".to_owned(),
        ..Default::default()
    };
    run(world, INTAKE, case, |state, given| explain(state, &request, given))
}

fn sign_it(world: &mut World, caller: PostId, case: CaseId, id: GrantId) -> Result<Decision<()>, Refusal> {
    let request = pb::SignConsentRequest {
        case_id: case.into(),
        grant_id: id.into(),
        signer_relation: "mother".to_owned(),
        consent_method: "paper".to_owned(),
        signed_on: date(2024, 4, 10),
        ..Default::default()
    };
    run(world, caller, case, |state, given| sign(state, &request, given))
}

#[test]
fn nobody_reads_before_the_signature_and_an_unexplained_consent_is_not_signed() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let id = prepare_one(&mut world, case);
    assert!(world.case(case).circle.grants.values().all(|grant| grant.recipients.len() > 1));
    assert!(!world.case(case).circle.has(NURSERY));
    assert_eq!(reason(sign_it(&mut world, INTAKE, case, id)), Reason::WrongState);
    explain_it(&mut world, case, id).unwrap();
    assert!(!reads(&world, case, NURSERY, DataClass::Support));
    sign_it(&mut world, INTAKE, case, id).unwrap();
    assert!(reads(&world, case, NURSERY, DataClass::Support));
    assert_eq!(reason(sign_it(&mut world, INTAKE, case, id)), Reason::WrongState);
}

#[test]
fn a_refusal_is_final_and_acts_at_once() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let id = prepare_one(&mut world, case);
    explain_it(&mut world, case, id).unwrap();
    let no = pb::RefuseConsentRequest {
        case_id: case.into(),
        grant_id: id.into(),
        signer_relation: "mother".to_owned(),
        ..Default::default()
    };
    run(&mut world, INTAKE, case, |state, given| refuse(state, &no, given)).unwrap();
    assert_eq!(world.case(case).consents.all[&id].stage, Stage::Refused);
    assert_eq!(reason(sign_it(&mut world, INTAKE, case, id)), Reason::WrongState);
    assert!(!reads(&world, case, NURSERY, DataClass::Support));
}

#[test]
fn a_guardian_signs_narrows_and_withdraws_and_prepares_nothing() {
    let mut world = World::new();
    let case = case_of(&mut world);
    record(&mut world, INTAKE, &signed(case, vec![post(GUARDIAN)], &[DataClass::Support])).unwrap();
    let refused = run(&mut world, GUARDIAN, case, |state, given| prepare(state, &prepared(case), given));
    assert_eq!(reason(refused), Reason::NotYourPart);
    let id = prepare_one(&mut world, case);
    explain_it(&mut world, case, id).unwrap();
    sign_it(&mut world, GUARDIAN, case, id).unwrap();
    let narrower = pb::NarrowConsentRequest {
        case_id: case.into(),
        grant_id: id.into(),
        excluded_keys: vec!["siblings".to_owned()],
        ..Default::default()
    };
    let events =
        run(&mut world, GUARDIAN, case, |state, given| narrow(state, &narrower, given)).unwrap().events;
    assert_eq!(told_posts(&events), [(NURSERY, numbers(&[DataClass::Support]))]);
    assert!(world.case(case).circle.grants[&id].excluded_keys.contains("siblings"));
    withdrawn(&mut world, GUARDIAN, &take_back(case, Some(id))).unwrap();
    assert!(!reads(&world, case, NURSERY, DataClass::Support));
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
    let agency = PbRecipient { who: Some(Who::AgencyId(UNKNOWN.into())) };
    assert_eq!(refused(agency), Reason::UnknownAgency);
}

#[test]
fn every_malformed_field_of_a_consent_is_named() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let recipients = vec![PbRecipient { who: None }, kind("castle"), kind("family"), kind("nursery")];
    let mut request = signed(case, recipients, &[DataClass::Restricted, DataClass::Sealed]);
    request.classes.extend([DataClass::ByContent as i32, DataClass::Restricted as i32]);
    request.excluded_keys = vec!["nothing".to_owned()];
    request.signer_relation = "uncle".to_owned();
    request.consent_method.clear();
    request.valid_to = date(2024, 4, 1);
    request.data_subject = "uncle".to_owned();
    request.on_behalf = Some(OnBehalf { said_on: date(2024, 4, 11), ..OnBehalf::default() });
    let found = fields(record(&mut world, INTAKE, &request));
    let expected = [
        ("recipients[0]", "MISSING"),
        ("recipients[1].agency_kind", "UNKNOWN_CODE"),
        ("recipients[2].agency_kind", "NOT_ALLOWED"),
        ("classes[3]", "DUPLICATE"),
        ("classes[2]", "UNKNOWN_CODE"),
        ("classes[0]", "NOT_ALLOWED"),
        ("classes[1]", "NOT_ALLOWED"),
        ("classes[3]", "NOT_ALLOWED"),
        ("excluded_keys[0]", "UNKNOWN_KEY"),
        ("signer_relation", "UNKNOWN_CODE"),
        ("consent_method", "MISSING"),
        ("valid_to", "OUT_OF_RANGE"),
        ("data_subject", "UNKNOWN_CODE"),
        ("on_behalf.said_by", "MISSING"),
        ("on_behalf.said_on", "OUT_OF_RANGE"),
        ("on_behalf.channel", "MISSING"),
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

#[test]
fn a_consent_about_a_parents_own_data_opens_nothing_of_the_childs() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let mut request = signed(case, vec![post(PLANNER)], &[DataClass::Diagnosis]);
    request.data_subject = "mother".to_owned();
    let id = record(&mut world, INTAKE, &request).unwrap().reply;
    let state = world.case(case);
    assert!(state.consents.all[&id].of_other_subject && !state.circle.grants.contains_key(&id));
    assert!(!state.circle.has(PLANNER));
}

#[test]
fn a_renewed_consent_holds_again_and_a_withdrawn_one_does_not() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let mut request = signed(case, vec![post(NURSERY)], &[DataClass::Support]);
    request.valid_to = date(2024, 4, 12);
    let id = record(&mut world, INTAKE, &request).unwrap().reply;
    world.pass_days(3);
    assert!(!reads(&world, case, NURSERY, DataClass::Support), "its last day has passed, and nobody said so");
    assert_eq!(world.case(case).consents.all[&id].on(days::epoch_day(world.today())), "expired");
    let again = pb::RenewConsentRequest {
        case_id: case.into(),
        grant_id: id.into(),
        signer_relation: "mother".to_owned(),
        consent_method: "verbal".to_owned(),
        signed_on: date(2024, 4, 13),
        valid_to: date(2025, 4, 12),
        grace: true,
        ..Default::default()
    };
    run(&mut world, INTAKE, case, |state, given| renew(state, &again, given)).unwrap();
    assert!(reads(&world, case, NURSERY, DataClass::Support));
    withdrawn(&mut world, INTAKE, &take_back(case, Some(id))).unwrap();
    let refused = run(&mut world, INTAKE, case, |state, given| renew(state, &again, given));
    assert_eq!(reason(refused), Reason::WrongState);
}

fn grown_up(case: CaseId) -> pb::ChangeSignerRequest {
    pb::ChangeSignerRequest {
        case_id: case.into(),
        change_reason: pb::SignerChangeReason::OfAge.into(),
        ..Default::default()
    }
}

#[test]
fn at_18_a_consent_goes_into_its_grace_where_its_text_says_so_and_ends_otherwise() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let mut request = signed(case, vec![post(NURSERY)], &[DataClass::Support]);
    request.grace = true;
    let graced = record(&mut world, INTAKE, &request).unwrap().reply;
    let plain = record(&mut world, INTAKE, &signed(case, vec![post(PLANNER)], &[DataClass::Support]));
    let plain = plain.unwrap().reply;
    world.pass_days(1);
    let events = run(&mut world, INTAKE, case, |state, given| change_signer(state, &grown_up(case), given));
    let events = events.unwrap().events;
    let told: Vec<PostId> = told_posts(&events).into_iter().map(|(post, _)| post).collect();
    assert!(told.contains(&PLANNER) && !told.contains(&NURSERY), "{told:?}");
    let (state, today) = (world.case(case), days::epoch_day(world.today()));
    let code = |id, day| state.consents.all[&id].on(day);
    assert_eq!((code(plain, today), code(graced, today)), ("ended", "grace"));
    assert_eq!((code(graced, today + 59), code(graced, today + 60)), ("grace", "expired"));
    assert!(state.consents.stood_on(NURSERY, today - 1) && !state.consents.stood_on(NURSERY, today - 2));
    // Nothing is left that a signer could stop signing.
    let refused = run(&mut world, INTAKE, case, |state, given| {
        let named = pb::ChangeSignerRequest { grant_ids: vec![plain.into()], ..grown_up(case) };
        change_signer(state, &named, given)
    });
    assert_eq!(reason(refused), Reason::NotFound);
}

fn by_law(case: CaseId, recipients: Vec<PbRecipient>) -> pb::RecordLegalBasisRequest {
    pb::RecordLegalBasisRequest {
        case_id: case.into(),
        share_basis: "disaster_act".to_owned(),
        recipients,
        classes: numbers(&[DataClass::Identity]),
        note: "例示".to_owned(),
        ..Default::default()
    }
}

#[test]
fn what_a_law_opens_goes_to_named_posts_and_no_withdrawal_ends_it() {
    let mut world = World::new();
    let case = case_of(&mut world);
    let wide = run(&mut world, INTAKE, case, |state, given| {
        record_legal_basis(state, &by_law(case, vec![kind("nursery")]), given)
    });
    assert_eq!(fields(wide), [("recipients[0]".to_owned(), "NOT_ALLOWED")]);
    for sealed in ["youtaikyo", "abuse_act_13_4", "consent"] {
        let request = pb::RecordLegalBasisRequest {
            share_basis: sealed.to_owned(),
            ..by_law(case, vec![post(HEALTH)])
        };
        let refused =
            run(&mut world, INTAKE, case, |state, given| record_legal_basis(state, &request, given));
        assert_eq!(fields(refused), [("share_basis".to_owned(), "NOT_ALLOWED")], "{sealed}");
    }
    let request = by_law(case, vec![post(HEALTH)]);
    let id = run(&mut world, INTAKE, case, |state, given| record_legal_basis(state, &request, given));
    let id = id.unwrap().reply;
    assert!(reads(&world, case, HEALTH, DataClass::Identity));
    assert!(!reads(&world, case, HEALTH, DataClass::Support), "exactly what it names");
    withdrawn(&mut world, INTAKE, &take_back(case, None)).unwrap();
    assert_eq!(reason(withdrawn(&mut world, INTAKE, &take_back(case, Some(id)))), Reason::NotFound);
    assert!(reads(&world, case, HEALTH, DataClass::Identity));
    let end = pb::EndLegalBasisRequest { case_id: case.into(), basis_id: id.into(), ..Default::default() };
    run(&mut world, INTAKE, case, |state, given| end_legal_basis(state, &end, given)).unwrap();
    assert!(!world.case(case).circle.has(HEALTH));
    let again = run(&mut world, INTAKE, case, |state, given| end_legal_basis(state, &end, given));
    assert_eq!(reason(again), Reason::WrongState);
}
