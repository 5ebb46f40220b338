//! Every reason is one that some caller gets: a reason that nothing gives any more is a promise nobody keeps.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;

use tasuki_contract::common::v1::CommandContext;
use tasuki_contract::consent::v1 as consent_pb;
use tasuki_contract::directory::v1 as directory_pb;
use tasuki_contract::event::v1::{Recipient, recipient::Who};
use tasuki_contract::identity::v1 as identity_pb;
use tasuki_contract::intake::v1 as intake_pb;

use super::{Reason, Violation, state_ja};
use crate::attachment;
use crate::attachment::tests::{add, announced, taken_up};
use crate::case::CaseState;
use crate::erasure::tests as erasure_story;
use crate::handoff::given::{Walk, assign};
use crate::meeting::tests::Table;
use crate::referral::tests::{
    accept, acknowledge, as_lead, asked, decline, no_nurse, reroute, seven_items, soon,
};
use crate::testing::{
    COORDINATOR, HOSPITAL, INTAKE, NURSE, NURSERY, OTHER_NURSERY, PLANNER, RETIRED, SCHOOL, UNCONFIGURED,
    UNKNOWN, World, agency_of, in_days, reason,
};
use crate::{consent, identity, referral, registry};

/// The reason that a small story ends with. No arm stands for several reasons, so a new one needs a story.
fn given(wanted: Reason) -> Reason {
    match wanted {
        Reason::TooManyAttachments => {
            let (mut world, case) = taken_up();
            for number in 0..attachment::OF_A_POST_MAX as u128 {
                let paper = announced(&world, case, NURSE, number + 1).unwrap();
                add(&mut world, case, NURSE, Some(&paper)).unwrap();
            }
            reason(announced(&world, case, NURSE, 99))
        }
        Reason::ChunksMissing => inspected(Reason::ChunksMissing),
        Reason::DigestDiffers => inspected(Reason::DigestDiffers),
        Reason::TypeDiffers => inspected(Reason::TypeDiffers),
        Reason::NotFound => {
            let (mut world, sent) = asked(NURSE);
            reason(acknowledge(&mut world, PLANNER, sent, |_| {}))
        }
        Reason::StaleEtag => {
            let (mut world, sent) = asked(NURSE);
            let context = CommandContext { etag: "0123456789abcdef".to_owned(), occurred_at: None };
            reason(acknowledge(&mut world, NURSE, sent, |r| r.context = Some(context)))
        }
        Reason::WrongState => {
            let mut walk = Walk::proposed();
            reason(walk.accept(COORDINATOR))
        }
        Reason::AlreadyAccepted => {
            let (mut world, sent) = asked(NURSE);
            accept(&mut world, NURSE, sent, soon).unwrap();
            reason(accept(&mut world, NURSE, sent, soon))
        }
        Reason::NotYourPart => {
            let (mut world, sent) = asked(NURSE);
            reason(acknowledge(&mut world, HOSPITAL, sent, |_| {}))
        }
        Reason::OperatorOnly => {
            let request = directory_pb::RegisterAgencyRequest::default();
            reason(World::new().run(INTAKE, |given| registry::register_agency(&request, false, given)))
        }
        Reason::UnknownPost => submitted(&seven_items(UNKNOWN)),
        Reason::PostRetired => submitted(&seven_items(RETIRED)),
        Reason::UnknownAgency => {
            let (mut world, sent) = asked(NURSE);
            let request = consent_pb::RecordSignedConsentRequest {
                case_id: sent.case.into(),
                recipients: vec![Recipient { who: Some(Who::AgencyId(agency_of(UNKNOWN).into())) }],
                classes: vec![tasuki_contract::DataClass::Support.into()],
                signer_relation: "mother".to_owned(),
                consent_method: "paper".to_owned(),
                signed_on: in_days(&world, 0),
                ..Default::default()
            };
            let state = world.case(sent.case);
            reason(world.run(INTAKE, |given| consent::record_signed(&state, &request, given)))
        }
        Reason::UnknownMunicipality => {
            let municipality_code = UNCONFIGURED.to_owned();
            submitted(&intake_pb::SubmitReferralRequest { municipality_code, ..seven_items(NURSE) })
        }
        Reason::MayNotLead => {
            let (mut world, sent) = asked(NURSE);
            reason(accept(&mut world, NURSE, sent, as_lead))
        }
        Reason::NotTheOpeningReferral => {
            let (mut world, first) = asked(NURSE);
            let case_id = first.case.into();
            let request = intake_pb::SubmitReferralRequest { case_id, ..seven_items(COORDINATOR) };
            let state = world.case(first.case);
            let second = world.run(INTAKE, |given| referral::submit(&state, &request, given)).unwrap().reply;
            reason(accept(&mut world, COORDINATOR, second, as_lead))
        }
        Reason::SupporterHasNotAgreed => {
            let (mut world, sent) = asked(NURSERY);
            reason(accept(&mut world, NURSERY, sent, |r| {
                soon(r);
                r.supported_by_post_id = NURSE.into();
            }))
        }
        Reason::DeclinedBefore => {
            let (mut world, sent) = asked(NURSERY);
            decline(&mut world, NURSERY, sent, no_nurse).unwrap();
            reroute(&mut world, HOSPITAL, sent, |r| r.to_post_id = OTHER_NURSERY.into()).unwrap();
            decline(&mut world, OTHER_NURSERY, sent, no_nurse).unwrap();
            reason(reroute(&mut world, HOSPITAL, sent, |r| r.to_post_id = NURSERY.into()))
        }
        Reason::ConsentRequired => {
            submitted(&intake_pb::SubmitReferralRequest { consent_at_source: None, ..seven_items(NURSE) })
        }
        Reason::ConsentDoesNotCover => {
            let mut walk = Walk::new();
            walk.propose(INTAKE, PLANNER).unwrap();
            reason(walk.offer(INTAKE))
        }
        Reason::HandoffUnderWay => reason(Walk::proposed().propose(INTAKE, PLANNER)),
        Reason::AlreadyLead => reason(Walk::new().propose(INTAKE, INTAKE)),
        Reason::NoFullJointContact => reason(Walk::accompanied().complete(INTAKE, &[])),
        Reason::OpenActionsNotAdopted => {
            let mut walk = Walk::accompanied();
            assign(&mut walk.world, walk.case, 1, INTAKE);
            walk.contact(INTAKE, true).unwrap();
            reason(walk.complete(COORDINATOR, &[]))
        }
        Reason::OnHold => {
            let (mut world, sent) = asked(NURSE);
            let request =
                consent_pb::WithdrawConsentRequest { case_id: sent.case.into(), ..Default::default() };
            let state = world.case(sent.case);
            world.run(INTAKE, |given| consent::withdraw(&state, &request, given)).unwrap();
            reason(accept(&mut world, NURSE, sent, soon))
        }
        Reason::AlreadyConfirmed => {
            let mut walk = Walk::accompanied();
            walk.contact(INTAKE, true).unwrap();
            walk.complete(INTAKE, &[]).unwrap();
            reason(walk.complete(INTAKE, &[]))
        }
        Reason::OwnerOutsideCircle => {
            let mut table = Table::held();
            let mut minutes = table.minutes();
            minutes.actions[0].owner_post_id = SCHOOL.into();
            reason(table.draft(INTAKE, &minutes))
        }
        Reason::NotInvited => reason(Table::scheduled().hold(INTAKE, &[HOSPITAL])),
        Reason::CaseMerged | Reason::IdentityInDoubt => {
            let mut world = World::new();
            let request = seven_items(NURSE);
            let mut open = |alike| {
                let state = CaseState::default();
                world
                    .run(HOSPITAL, |given| referral::submit_beside(&state, &request, alike, given))
                    .unwrap()
                    .reply
            };
            let (case, into) = (open(wanted == Reason::CaseMerged), open(wanted == Reason::IdentityInDoubt));
            let mut merge = || {
                let states = (world.case(case.case), world.case(into.case));
                let (case_id, survivor_case_id) = (case.case.into(), into.case.into());
                let request = identity_pb::MergeCasesRequest { case_id, survivor_case_id, context: None };
                world.run(INTAKE, |given| identity::merge((&states.0, &states.1), &request, given))
            };
            let first = merge();
            reason(if first.is_ok() { merge() } else { first })
        }
        Reason::PurposeNotIntake => {
            let request = identity_pb::SearchChildRequest {
                identifier_key: "patient_id".to_owned(),
                identifier: "1".to_owned(),
                ..Default::default()
            };
            reason(identity::sought(&request, agency_of(NURSE), "care_coordination"))
        }
        Reason::AlreadyExists => {
            let request = directory_pb::RegisterAgencyRequest {
                agency_id: agency_of(NURSE).into(),
                kind: "nursery".to_owned(),
                name_ja: "例示保育園".to_owned(),
                name_en: "Example nursery".to_owned(),
                municipality_code: UNCONFIGURED.to_owned(),
                ..Default::default()
            };
            reason(World::new().run_operator(|given| registry::register_agency(&request, false, given)))
        }
        Reason::PostHasCases => {
            let request = directory_pb::RetirePostRequest { post_id: INTAKE.into(), context: None };
            reason(World::new().run_operator(|given| registry::retire_post(&request, 1, given)))
        }
        Reason::CaseErased => erasure_story::twice(),
        Reason::RetentionRuns => erasure_story::too_early(),
        Reason::LegalHold => erasure_story::held(),
        Reason::MisdirectionOpen => erasure_story::misdirected(),
        Reason::SecondPersonRequired => erasure_story::alone(),
    }
}

fn submitted(request: &intake_pb::SubmitReferralRequest) -> Reason {
    let state = CaseState::default();
    reason(World::new().run(HOSPITAL, |given| referral::submit(&state, request, given)))
}

/// A document in whose chunks this was found.
fn inspected(found: Reason) -> Reason {
    let (mut world, case) = taken_up();
    let paper = announced(&world, case, NURSE, 1).unwrap();
    let paper = attachment::Announced { found: Err(found), ..paper };
    reason(add(&mut world, case, NURSE, Some(&paper)))
}

#[test]
fn every_reason_is_given_by_some_story() {
    for wanted in Reason::ALL {
        assert_eq!(given(*wanted), *wanted);
    }
}

#[test]
fn every_reason_has_a_code_of_its_own_and_a_text_in_both_languages() {
    let codes: BTreeSet<&str> = Reason::ALL.iter().map(|reason| reason.code()).collect();
    assert_eq!(codes.len(), Reason::ALL.len());
    for reason in Reason::ALL {
        assert!(reason.code().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{}", reason.code());
        assert!(reason.en().is_ascii() && !reason.en().ends_with('.'), "{}", reason.en());
        assert!(!reason.ja().is_ascii() && !reason.ja().ends_with('。'), "{}", reason.ja());
    }
}

#[test]
fn every_malformed_field_is_described_by_its_code_first_and_then_in_both_languages() {
    for (code, en, ja) in Violation::TEXTS {
        assert!(en.is_ascii() && !ja.is_ascii(), "{code}");
        assert_eq!(Violation::new("field", code).describe(), format!("{code}: {en} / {ja}"));
    }
    let coded = Violation { see: "table".to_owned(), ..Violation::new("field", Violation::UNKNOWN_CODE) };
    assert!(coded.describe().starts_with("UNKNOWN_CODE: ") && coded.describe().ends_with(" (table)"));
    // A refusal that names no field keeps its text where it stands among the fields.
    let refused = Violation::new("", Reason::ConsentRequired.code()).describe();
    assert_eq!(
        refused,
        format!("CONSENT_REQUIRED: {} / {}", Reason::ConsentRequired.en(), Reason::ConsentRequired.ja())
    );
}

#[test]
fn every_state_has_a_name_in_japanese() {
    use crate::{consultation, handoff, meeting};
    let states = referral::Stage::ALL.iter().map(|stage| stage.code());
    let meetings = [
        meeting::Stage::Scheduled,
        meeting::Stage::Held,
        meeting::Stage::Drafted,
        meeting::Stage::Circulated,
        meeting::Stage::Confirmed,
    ];
    let consultations = [consultation::Stage::Received, consultation::Stage::CaseOpen];
    let handoffs = [handoff::Stage::Proposed, handoff::Stage::Accompanied, handoff::Stage::Cancelled];
    let others = meetings.map(|s| s.code()).into_iter().chain(consultations.map(|s| s.code()));
    let consents = ["draft", "explained", "active", "grace", "expired", "refused", "withdrawn", "ended"];
    let others = others.chain(consents);
    for code in states.chain(others).chain(handoffs.map(|s| s.code())) {
        assert!(!state_ja(code).is_ascii(), "{code}");
    }
}
