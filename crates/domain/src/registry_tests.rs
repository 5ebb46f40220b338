//! What keeping the directory promises, given / when / then.
#![allow(clippy::unwrap_used)]

use tasuki_contract::common::v1::CommandContext;

use super::*;
use crate::decision::etag;
use crate::testing::*;

fn agency() -> pb::RegisterAgencyRequest {
    pb::RegisterAgencyRequest {
        kind: "nursery".to_owned(),
        name_ja: "例示保育園".to_owned(),
        name_en: "Example nursery".to_owned(),
        municipality_code: WARD.to_owned(),
        ..pb::RegisterAgencyRequest::default()
    }
}

fn configure(kinds: &[&str], intake: PostId) -> pb::ConfigureMunicipalityRequest {
    pb::ConfigureMunicipalityRequest {
        municipality_code: UNCONFIGURED.to_owned(),
        intake_post_id: intake.into(),
        kinds_that_may_lead: kinds.iter().map(|k| (*k).to_owned()).collect(),
        context: None,
    }
}

#[test]
fn a_revocation_covers_one_token_or_what_a_subject_was_issued_so_far() {
    let mut world = World::new();
    let revoke = |token: &str, subject: &str, not_before_s| pb::RevokeCredentialRequest {
        token_id: token.to_owned(),
        subject: subject.to_owned(),
        not_before_s,
        context: None,
    };
    let one = revoke("t", "", 0);
    world.run_operator(|given| revoke_credential(&one, given)).unwrap();
    assert_eq!(reason(world.run_operator(|given| revoke_credential(&one, given))), Reason::AlreadyExists);
    let revoked = world.directory.revoked.clone();
    assert!(
        revoked.covers(Some("t"), "s", 1)
            && !revoked.covers(Some("u"), "s", 1)
            && !revoked.covers(None, "s", 1)
    );

    let now_s = world.now.as_second();
    for (before_s, from_s) in [(100, 100), (0, now_s + 1)] {
        world.run_operator(|given| revoke_credential(&revoke("", "s", before_s), given)).unwrap();
        let revoked = world.directory.revoked.clone();
        assert!(revoked.covers(None, "s", from_s - 1) && !revoked.covers(None, "s", from_s));
        assert!(!revoked.covers(Some("s"), "other", 1));
    }
    // Nothing is given back.
    let earlier = world.run_operator(|given| revoke_credential(&revoke("", "s", 50), given));
    assert_eq!(reason(earlier), Reason::AlreadyExists);
    let malformed =
        [("", "", 0), ("t", "s", 0), ("t", "", 5), ("", "s", now_s + 2), ("", "s", -1), ("\n", "", 0)];
    for (token, subject, before_s) in malformed {
        let refused = world.run_operator(|given| revoke_credential(&revoke(token, subject, before_s), given));
        assert!(matches!(refused, Err(Refusal::Invalid(_))), "{token:?} {subject:?} {before_s}");
    }
}

#[test]
fn an_agency_gets_a_post_with_holders_and_is_retired_again() {
    let mut world = World::new();
    let registered = world.run_operator(|given| register_agency(&agency(), false, given)).unwrap().reply;
    let mut request = pb::CreatePostRequest {
        agency_id: registered.into(),
        label_ja: "例示窓口".to_owned(),
        label_en: "Example desk".to_owned(),
        holder_subjects: vec!["subject-1".to_owned()],
        ..pb::CreatePostRequest::default()
    };
    let decision = world.run_operator(|given| create_post(&request, false, given)).unwrap();
    assert_eq!(types(&decision.events), ["PostCreated", "PostHolderChanged"]);
    let id = decision.reply;
    assert_eq!(decision.etag(), etag(id.0, 2));
    assert!(world.directory.posts[&id].holders.contains("subject-1"));

    request.post_id = id.into();
    assert_eq!(
        reason(world.run_operator(|given| create_post(&request, false, given))),
        Reason::AlreadyExists
    );
    let vacant = pb::ChangeHoldersRequest { post_id: id.into(), ..Default::default() };
    world.run_operator(|given| change_holders(&vacant, given)).unwrap();
    assert!(world.directory.posts[&id].holders.is_empty());

    let retire = pb::RetirePostRequest { post_id: id.into(), context: None };
    let leading = world.run_operator(|given| retire_post(&retire, 1, given));
    assert_eq!(reason(leading), Reason::PostHasCases);
    world.run_operator(|given| retire_post(&retire, 0, given)).unwrap();
    assert!(!world.directory.posts[&id].active);
    assert_eq!(reason(world.run_operator(|given| retire_post(&retire, 0, given))), Reason::PostRetired);
}

#[test]
fn an_operators_commands_are_refused_to_posts() {
    let mut world = World::new();
    assert_eq!(
        reason(world.run(INTAKE, |given| register_agency(&agency(), false, given))),
        Reason::OperatorOnly
    );
    let request = pb::CreatePostRequest::default();
    assert_eq!(reason(world.run(INTAKE, |given| create_post(&request, false, given))), Reason::OperatorOnly);
    let request = pb::ChangeHoldersRequest::default();
    assert_eq!(reason(world.run(INTAKE, |given| change_holders(&request, given))), Reason::OperatorOnly);
    let request = pb::RetirePostRequest::default();
    assert_eq!(reason(world.run(INTAKE, |given| retire_post(&request, 0, given))), Reason::OperatorOnly);
    let request = configure(&[], INTAKE);
    let refused = world.run(INTAKE, |given| configure_municipality(&request, given));
    assert_eq!(reason(refused), Reason::OperatorOnly);
}

#[test]
fn every_malformed_field_of_an_agency_is_named() {
    let request = pb::RegisterAgencyRequest {
        agency_id: "x".to_owned(),
        kind: "family".to_owned(),
        name_ja: "長".repeat(121),
        municipality_code: "131991".to_owned(),
        telephone: "00-0000-0000".to_owned(),
        ..pb::RegisterAgencyRequest::default()
    };
    let found = fields(World::new().run_operator(|given| register_agency(&request, false, given)));
    let expected = [
        ("agency_id", "NOT_A_UUID"),
        ("name_ja", "TOO_LONG"),
        ("name_en", "MISSING"),
        ("municipality_code", "UNKNOWN_CODE"),
        ("telephone", "NOT_ALLOWED"),
    ];
    assert_eq!(found.iter().map(|(f, w)| (f.as_str(), *w)).collect::<Vec<_>>(), expected);
}

#[test]
fn an_agency_is_registered_once_under_its_own_id() {
    let mut world = World::new();
    let mut request = agency();
    request.agency_id = agency_of(UNKNOWN).into();
    world.run_operator(|given| register_agency(&request, false, given)).unwrap();
    assert_eq!(
        reason(world.run_operator(|given| register_agency(&request, false, given))),
        Reason::AlreadyExists
    );
}

#[test]
fn the_nil_id_is_no_agency_and_no_post() {
    let mut world = World::new();
    let nil = Uuid::nil().to_string();
    let request = pb::RegisterAgencyRequest { agency_id: nil.clone(), ..agency() };
    let found = fields(world.run_operator(|given| register_agency(&request, false, given)));
    assert_eq!(found, [("agency_id".to_owned(), "NOT_ALLOWED")]);
    let request = pb::CreatePostRequest {
        post_id: nil,
        agency_id: agency_of(NURSE).into(),
        label_ja: "例示窓口".to_owned(),
        label_en: "Example desk".to_owned(),
        ..pb::CreatePostRequest::default()
    };
    let found = fields(world.run_operator(|given| create_post(&request, false, given)));
    assert_eq!(found, [("post_id".to_owned(), "NOT_ALLOWED")]);
}

#[test]
fn an_id_under_which_anything_stands_is_taken_and_nothing_is_relied_on_for_it() {
    let (mut world, sent) = crate::referral::tests::asked(NURSE);
    let case = sent.case.0;
    let agency = pb::RegisterAgencyRequest { agency_id: case.to_string(), ..agency() };
    let post = pb::CreatePostRequest {
        post_id: case.to_string(),
        agency_id: agency_of(NURSE).into(),
        label_ja: "例示窓口".to_owned(),
        label_en: "Example desk".to_owned(),
        ..pb::CreatePostRequest::default()
    };
    let mut relied_on = Vec::new();
    let refused = world.run_operator(|given| {
        let refused = register_agency(&agency, true, given);
        relied_on = given.directory.relied_on();
        refused
    });
    assert_eq!(reason(refused), Reason::AlreadyExists);
    let refused = world.run_operator(|given| {
        let refused = create_post(&post, true, given);
        relied_on.extend(given.directory.relied_on());
        refused
    });
    assert_eq!(reason(refused), Reason::AlreadyExists);
    assert!(relied_on.iter().all(|(stream, _)| stream.id != case));
}

#[test]
fn an_agency_sets_its_own_calendar_and_no_other() {
    let mut world = World::new();
    let mut request = pb::SetCalendarRequest {
        agency_id: agency_of(NURSE).into(),
        calendar: Some(pb::Calendar {
            open_weekdays: vec![1, 1, 8],
            opens_min: 600,
            closes_min: 600,
            closed_on_national_holidays: false,
            closed_yearly: vec!["12-29/01-03".to_owned(), "02-30/03-01".to_owned(), "summer".to_owned()],
        }),
        context: None,
    };
    let found = fields(world.run(NURSE, |given| set_calendar(&request, given)));
    let expected = [
        ("calendar.open_weekdays[1]", "DUPLICATE"),
        ("calendar.open_weekdays[2]", "OUT_OF_RANGE"),
        ("calendar.closes_min", "OUT_OF_RANGE"),
        ("calendar.closed_yearly[1]", "BAD_DATE"),
        ("calendar.closed_yearly[2]", "BAD_DATE"),
    ];
    assert_eq!(found.iter().map(|(f, w)| (f.as_str(), *w)).collect::<Vec<_>>(), expected);
    let calendar = request.calendar.as_mut().unwrap();
    calendar.open_weekdays = vec![2];
    calendar.closes_min = 24 * 60;
    calendar.closed_yearly.truncate(1);
    assert_eq!(reason(world.run(NURSERY, |given| set_calendar(&request, given))), Reason::OperatorOnly);
    world.run(NURSE, |given| set_calendar(&request, given)).unwrap();
    assert_eq!(world.directory.agencies[&agency_of(NURSE)].calendar, request.calendar);
    let stale = CommandContext { etag: etag(agency_of(NURSE).0, 1), occurred_at: None };
    request.context = Some(stale);
    assert_eq!(reason(world.run(NURSE, |given| set_calendar(&request, given))), Reason::StaleEtag);
    request.agency_id = agency_of(UNKNOWN).into();
    assert_eq!(reason(world.run_operator(|given| set_calendar(&request, given))), Reason::UnknownAgency);
}

#[test]
fn a_municipality_needs_an_active_intake_post_that_may_lead() {
    let mut world = World::new();
    let mut refused = |request| reason(world.run_operator(|given| configure_municipality(&request, given)));
    assert_eq!(refused(configure(&[], NURSE)), Reason::MayNotLead);
    assert_eq!(refused(configure(&["nursery"], INTAKE)), Reason::MayNotLead);
    assert_eq!(refused(configure(&["nursery"], RETIRED)), Reason::PostRetired);
    assert_eq!(refused(configure(&[], UNKNOWN)), Reason::UnknownPost);
    world.run_operator(|given| configure_municipality(&configure(&[], INTAKE), given)).unwrap();
    let rules = &world.directory.municipalities[UNCONFIGURED];
    assert_eq!(rules.kinds_that_may_lead.len(), visibility::kinds_that_may_lead().len());
}

#[test]
fn a_kind_that_cases_may_rest_on_is_not_taken_out_and_an_intake_post_stays() {
    let mut world = World::new();
    world.run_operator(|given| configure_municipality(&configure(&[], INTAKE), given)).unwrap();
    let narrow = configure(&["municipal_disability_welfare"], INTAKE);
    let refused = world.run_operator(|given| configure_municipality(&narrow, given));
    assert_eq!(reason(refused), Reason::WrongState);
    let retire = pb::RetirePostRequest { post_id: INTAKE.into(), context: None };
    assert_eq!(reason(world.run_operator(|given| retire_post(&retire, 0, given))), Reason::WrongState);
    let families = configure(&["family"], INTAKE);
    let found = fields(world.run_operator(|given| configure_municipality(&families, given)));
    assert_eq!(found, [("kinds_that_may_lead[0]".to_owned(), "NOT_ALLOWED")]);
}

#[test]
fn another_intake_post_leaves_every_open_case_its_responsible_post() {
    let (mut world, sent) = crate::referral::tests::asked(NURSE);
    let mut request = configure(&[], HEALTH);
    request.municipality_code = WARD.to_owned();
    world.run_operator(|given| configure_municipality(&request, given)).unwrap();
    assert_eq!(world.case(sent.case).circle.lead, Some(INTAKE));
    world.assert_nobody_is_dropped();
    // The former intake post still is responsible, so it is not retired; the new one is every fallback from here on.
    let retire = pb::RetirePostRequest { post_id: INTAKE.into(), context: None };
    assert_eq!(reason(world.run_operator(|given| retire_post(&retire, 1, given))), Reason::PostHasCases);
    let retire = pb::RetirePostRequest { post_id: HEALTH.into(), context: None };
    assert_eq!(reason(world.run_operator(|given| retire_post(&retire, 0, given))), Reason::WrongState);
}

#[test]
fn a_former_intake_post_stays_for_the_cases_whose_ward_it_is() {
    let (mut world, sent) = crate::referral::tests::asked(COORDINATOR);
    crate::referral::tests::accept(&mut world, COORDINATOR, sent, crate::referral::tests::as_lead).unwrap();
    let mut request = configure(&[], HEALTH);
    request.municipality_code = WARD.to_owned();
    world.run_operator(|given| configure_municipality(&request, given)).unwrap();
    let retire = pb::RetirePostRequest { post_id: INTAKE.into(), context: None };
    assert_eq!(reason(world.run_operator(|given| retire_post(&retire, 0, given))), Reason::WrongState);
    let holders = pb::ChangeHoldersRequest { post_id: INTAKE.into(), ..Default::default() };
    world.run_operator(|given| change_holders(&holders, given)).unwrap();
}

#[test]
fn retiring_a_post_relies_on_every_municipality_that_could_have_made_it_its_intake_post() {
    let mut world = World::new();
    let retire = pb::RetirePostRequest { post_id: NURSE.into(), context: None };
    let relied_on = |world: &mut World| {
        let mut relied_on = Vec::new();
        let decision = world.run_operator(|given| {
            let decision = retire_post(&retire, 0, given);
            relied_on = given.directory.relied_on();
            decision.and(Err::<crate::decision::Decision<()>, _>(Reason::NotFound.into()))
        });
        assert_eq!(reason(decision), Reason::NotFound);
        relied_on
    };
    let municipality = |code: &str| stream(Kind::Municipality, municipality_stream(code));
    assert!(relied_on(&mut world).contains(&(municipality(WARD), 1)));
    world.run_operator(|given| configure_municipality(&configure(&[], INTAKE), given)).unwrap();
    assert!(relied_on(&mut world).contains(&(municipality(UNCONFIGURED), 1)));
}
