//! P4: a case that does not exist and one that is none of the caller's answer alike, byte for byte, to every call.

use tasuki_contract::DataClass;
use tasuki_contract::attachments::v1 as pb;
use tasuki_contract::consent::v1::{self as consents, RecordSignedConsentRequest};
use tasuki_contract::event::v1::{Recipient, recipient::Who};
use tasuki_contract::handoff::v1 as handoff;
use tasuki_contract::intake::v1 as intake;
use tasuki_contract::minutes::v1 as minutes;
use tasuki_contract::timeline::v1 as timeline;
use tasuki_tests::{Caller, Paper, World, referral};
use tonic::{Code, Response, Status};
use uuid::Uuid;

use crate::PROGRAM;
use crate::received::said;
use crate::story::{consent, day};
use crate::who_reads::{COORDINATOR, HEALTH, HOSPITAL, NURSE, OUTSIDER, PLANNER, WARD};

/// Calls `$method` for both ids; `$request` makes the request from an id.
macro_rules! alike {
    ($caller:expr, $foreign:expr, $service:ident, $method:ident, $request:expr) => {{
        let caller: &Caller = $caller;
        let make = $request;
        let foreign = caller.$service().$method(caller.request(make($foreign.to_string()))).await;
        let unknown = caller.$service().$method(caller.request(make(Uuid::now_v7().to_string()))).await;
        same(stringify!($method), foreign, unknown);
    }};
}

fn same<M: std::fmt::Debug>(
    method: &str,
    foreign: Result<Response<M>, Status>,
    unknown: Result<Response<M>, Status>,
) {
    let [foreign, unknown] = [foreign, unknown].map(|answer| match answer {
        Ok(answer) => panic!("{method} was answered: {:?}", answer.into_inner()),
        Err(status) => status,
    });
    assert_eq!(foreign.code(), Code::NotFound, "{method}: {foreign:?}");
    assert_eq!(said(&foreign), said(&unknown), "{method} tells a foreign case from an unknown one");
    let headers = |status: &Status| {
        let mut headers = status.metadata().clone().into_headers();
        headers.remove("date");
        format!("{headers:?}")
    };
    assert_eq!(headers(&foreign), headers(&unknown), "{method}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_an_unknown_case_and_a_foreign_one_answer_alike() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, HOSPITAL).await.unwrap();
    let coordinator = world.caller(&program, COORDINATOR).await.unwrap();
    let outsider = world.caller(&program, OUTSIDER).await.unwrap();
    let request = hospital.request(referral(coordinator.post, "kita_A"));
    let sent = hospital.referrals().submit_referral(request).await.unwrap().into_inner();
    let handoff = proposed(&world, &program, &sent.case_id).await;
    let meeting = scheduled(&world, &program, &sent.case_id).await;
    let consultation = consulted(&world, &program).await;
    let document = Paper::pdf(&sent.case_id, DataClass::Support, "例示", 100);
    let paper = document.add(&hospital).await.unwrap();
    let coming = document.put(&hospital).await.unwrap();
    let before = world.views_reach_the_log().await.unwrap();

    let me = &outsider;
    let (case, referral) = (&sent.case_id, &sent.referral_id);
    alike!(me, case, timeline, get_case_card, |case_id| timeline::GetCaseCardRequest {
        case_id,
        ..Default::default()
    });
    alike!(me, case, timeline, get_timeline, |case_id| timeline::GetTimelineRequest {
        case_id,
        ..Default::default()
    });
    alike!(me, paper, attachments, get_attachment, |attachment_id| pb::GetAttachmentRequest {
        attachment_id
    });
    alike!(me, paper, attachments, read_chunk, |attachment_id| pb::ReadChunkRequest {
        attachment_id,
        index: 0
    });
    alike!(me, case, attachments, list_attachments, |case_id| pb::ListAttachmentsRequest {
        case_id,
        ..Default::default()
    });
    alike!(me, case, attachments, begin_attachment, |case_id: String| {
        Paper::pdf(&case_id, DataClass::Support, "例示", 100).announcement()
    });
    alike!(me, coming, attachments, put_chunk, |attachment_id| pb::PutChunkRequest {
        attachment_id,
        index: 0,
        data: vec![0; 100]
    });
    alike!(me, coming, attachments, complete_attachment, |attachment_id| pb::CompleteAttachmentRequest {
        attachment_id,
        context: None
    });
    alike!(me, referral, referrals, get_referral, |referral_id| intake::GetReferralRequest {
        referral_id,
        ..Default::default()
    });
    let to = coordinator.post.to_string();
    alike!(me, case, referrals, submit_referral, |case_id| intake::SubmitReferralRequest {
        case_id,
        to_post_id: to.clone(),
        referral_purpose: "enrollment".to_owned(),
        ..Default::default()
    });
    alike!(me, case, consents, record_signed_consent, |case_id| RecordSignedConsentRequest {
        case_id,
        recipients: vec![Recipient { who: Some(Who::PostId(to.clone())) }],
        classes: vec![DataClass::Support as i32],
        signer_relation: "mother".to_owned(),
        consent_method: "paper".to_owned(),
        signed_on: day(-1),
        ..Default::default()
    });
    alike!(me, case, handoffs, propose_handoff, |case_id| handoff::ProposeHandoffRequest {
        case_id,
        kind: handoff::HandoffKind::Other.into(),
        incoming_post_id: to.clone(),
        ..Default::default()
    });
    let invited = world.post(NURSE).1.to_string();
    alike!(me, case, minutes, schedule_meeting, |case_id| minutes::ScheduleMeetingRequest {
        invitee_post_ids: vec![invited.clone()],
        agenda: vec![minutes::AgendaItem { case_id, text: "MARK-AGENDA".to_owned() }],
        ..meeting_now()
    });
    of_its_consents(me, case).await;
    of_a_referral(me, referral).await;
    of_a_handoff(me, &handoff).await;
    of_a_meeting(me, &meeting).await;
    of_a_consultation(me, &consultation).await;

    let after = world.reader().unwrap().head().await.unwrap().0;
    assert_eq!(after, before, "a refused command appended something");
}

async fn of_its_consents(me: &Caller, case: &str) {
    let one = Uuid::now_v7().to_string();
    alike!(me, case, consents, list_consents, |case_id| consents::ListConsentsRequest {
        case_id,
        ..Default::default()
    });
    alike!(me, case, consents, withdraw_consent, |case_id| consents::WithdrawConsentRequest {
        case_id,
        ..Default::default()
    });
    alike!(me, case, consents, prepare_consent, |case_id| consents::PrepareConsentRequest {
        case_id,
        recipients: vec![Recipient { who: Some(Who::PostId(me.post.to_string())) }],
        classes: vec![DataClass::Support as i32],
        ..Default::default()
    });
    alike!(me, case, consents, explain_consent, |case_id| consents::ExplainConsentRequest {
        case_id,
        grant_id: one.clone(),
        explainer: "MARK-EXPLAINER".to_owned(),
        explained_on: day(-1),
        ..Default::default()
    });
    alike!(me, case, consents, refuse_consent, |case_id| consents::RefuseConsentRequest {
        case_id,
        grant_id: one.clone(),
        signer_relation: "mother".to_owned(),
        ..Default::default()
    });
    alike!(me, case, consents, sign_consent, |case_id| consents::SignConsentRequest {
        case_id,
        grant_id: one.clone(),
        signer_relation: "mother".to_owned(),
        consent_method: "paper".to_owned(),
        signed_on: day(-1),
        ..Default::default()
    });
    alike!(me, case, consents, narrow_consent, |case_id| consents::NarrowConsentRequest {
        case_id,
        grant_id: one.clone(),
        classes: vec![DataClass::Support as i32],
        ..Default::default()
    });
    alike!(me, case, consents, renew_consent, |case_id| consents::RenewConsentRequest {
        case_id,
        grant_id: one.clone(),
        signer_relation: "mother".to_owned(),
        consent_method: "paper".to_owned(),
        signed_on: day(-1),
        ..Default::default()
    });
    alike!(me, case, consents, change_signer, |case_id| consents::ChangeSignerRequest {
        case_id,
        change_reason: consents::SignerChangeReason::Custody.into(),
        ..Default::default()
    });
    alike!(me, case, consents, acknowledge_stop_notice, |case_id| consents::AcknowledgeStopNoticeRequest {
        case_id,
        notice_id: one.clone(),
        ..Default::default()
    });
    alike!(me, case, consents, resolve_hold, |case_id| consents::ResolveHoldRequest {
        case_id,
        item_id: one.clone(),
        outcome: consents::HoldOutcome::Stops.into(),
        ..Default::default()
    });
    alike!(me, case, consents, record_legal_basis, |case_id| consents::RecordLegalBasisRequest {
        case_id,
        share_basis: "law_based".to_owned(),
        recipients: vec![Recipient { who: Some(Who::PostId(me.post.to_string())) }],
        classes: vec![DataClass::Support as i32],
        note: "MARK-BASIS".to_owned(),
        ..Default::default()
    });
    alike!(me, case, consents, end_legal_basis, |case_id| consents::EndLegalBasisRequest {
        case_id,
        basis_id: one.clone(),
        ..Default::default()
    });
}

async fn of_a_referral(me: &Caller, referral: &str) {
    alike!(me, referral, referrals, acknowledge_referral, |referral_id| intake::AcknowledgeReferralRequest {
        referral_id,
        ..Default::default()
    });
    alike!(me, referral, referrals, accept_referral, |referral_id| intake::AcceptReferralRequest {
        referral_id,
        as_lead: true,
        first_contact_on: day(1),
        ..Default::default()
    });
    alike!(me, referral, referrals, decline_referral, |referral_id| intake::DeclineReferralRequest {
        referral_id,
        decline_reason: "no_nurse".to_owned(),
        ..Default::default()
    });
    alike!(me, referral, referrals, reroute_referral, |referral_id| intake::RerouteReferralRequest {
        referral_id,
        to_post_id: me.post.to_string(),
        ..Default::default()
    });
    alike!(me, referral, referrals, withdraw_referral, |referral_id| intake::WithdrawReferralRequest {
        referral_id,
        withdraw_reason: intake::WithdrawReason::FamilyWish.into(),
        ..Default::default()
    });
}

async fn of_a_handoff(me: &Caller, id: &str) {
    alike!(me, id, handoffs, offer_handoff, |handoff_id| handoff::OfferHandoffRequest {
        handoff_id,
        summary: "MARK-SUMMARY".to_owned(),
        ..Default::default()
    });
    alike!(me, id, handoffs, accept_handoff, |handoff_id| handoff::AcceptHandoffRequest {
        handoff_id,
        ..Default::default()
    });
    alike!(me, id, handoffs, decline_handoff, |handoff_id| handoff::DeclineHandoffRequest {
        handoff_id,
        decline_reason: "caseload_full".to_owned(),
        ..Default::default()
    });
    alike!(me, id, handoffs, begin_accompaniment, |handoff_id| handoff::BeginAccompanimentRequest {
        handoff_id,
        joint_contact_on: day(1),
        review_on: day(2),
        ..Default::default()
    });
    alike!(me, id, handoffs, record_joint_contact, |handoff_id| handoff::RecordJointContactRequest {
        handoff_id,
        held_on: day(0),
        absence_reason: "MARK-ABSENT".to_owned(),
        ..Default::default()
    });
    alike!(me, id, handoffs, complete_handoff, |handoff_id| handoff::CompleteHandoffRequest {
        handoff_id,
        ..Default::default()
    });
    alike!(me, id, handoffs, cancel_handoff, |handoff_id| handoff::CancelHandoffRequest {
        handoff_id,
        cancel_reason: handoff::CancelReason::FamilyWish.into(),
        ..Default::default()
    });
}

async fn of_a_meeting(me: &Caller, id: &str) {
    alike!(me, id, minutes, hold_meeting, |meeting_id| minutes::HoldMeetingRequest {
        meeting_id,
        attendance: vec![minutes::Attendance { post_id: me.post.to_string(), people: 1 }],
        ..Default::default()
    });
    alike!(me, id, minutes, draft_minutes, |meeting_id| minutes::DraftMinutesRequest {
        meeting_id,
        sections: vec![minutes::SectionDraft { text: "MARK-SECTION".to_owned(), ..Default::default() }],
        ..Default::default()
    });
    alike!(me, id, minutes, circulate_minutes, |meeting_id| minutes::CirculateMinutesRequest {
        meeting_id,
        ..Default::default()
    });
    alike!(me, id, minutes, confirm_minutes, |meeting_id| minutes::ConfirmMinutesRequest {
        meeting_id,
        ..Default::default()
    });
}

async fn of_a_consultation(me: &Caller, id: &str) {
    alike!(me, id, consultations, answer_consultation, |consultation_id| intake::AnswerConsultationRequest {
        consultation_id,
        answer: "MARK-ANSWER".to_owned(),
        ..Default::default()
    });
    alike!(me, id, consultations, guide_consultation, |consultation_id| intake::GuideConsultationRequest {
        consultation_id,
        guided_to_kind: "hospital".to_owned(),
        ..Default::default()
    });
    alike!(me, id, consultations, open_case, |consultation_id| intake::OpenCaseRequest {
        consultation_id,
        municipality_code: "131172".to_owned(),
        label: "kita_A".to_owned(),
        consent: consent(),
        ..Default::default()
    });
    alike!(me, id, consultations, close_consultation, |consultation_id| intake::CloseConsultationRequest {
        consultation_id,
        ..Default::default()
    });
}

async fn proposed(world: &World, program: &tasuki_tests::Program, case: &str) -> String {
    let ward = world.caller(program, WARD).await.unwrap();
    let propose = handoff::ProposeHandoffRequest {
        case_id: case.to_owned(),
        kind: handoff::HandoffKind::Other.into(),
        incoming_post_id: world.post(PLANNER).1.to_string(),
        ..Default::default()
    };
    ward.handoffs().propose_handoff(ward.request(propose)).await.unwrap().into_inner().handoff_id
}

async fn scheduled(world: &World, program: &tasuki_tests::Program, case: &str) -> String {
    let ward = world.caller(program, WARD).await.unwrap();
    let schedule = minutes::ScheduleMeetingRequest {
        invitee_post_ids: vec![world.post(NURSE).1.to_string()],
        agenda: vec![minutes::AgendaItem { case_id: case.to_owned(), text: "MARK-AGENDA".to_owned() }],
        ..meeting_now()
    };
    ward.minutes().schedule_meeting(ward.request(schedule)).await.unwrap().into_inner().meeting_id
}

fn meeting_now() -> minutes::ScheduleMeetingRequest {
    minutes::ScheduleMeetingRequest {
        meeting_kind: "case_meeting".to_owned(),
        starts_at: Some(prost_types::Timestamp { seconds: jiff::Timestamp::now().as_second(), nanos: 0 }),
        ..Default::default()
    }
}

async fn consulted(world: &World, program: &tasuki_tests::Program) -> String {
    let desk = world.caller(program, HEALTH).await.unwrap();
    let record = intake::RecordConsultationRequest {
        consulter_attribute: "family".to_owned(),
        access_route: "leaflet".to_owned(),
        contact_method: "phone".to_owned(),
        contents: vec!["life_anxiety".to_owned()],
        caller_identity: intake::CallerIdentity::Anonymous.into(),
        ..Default::default()
    };
    desk.consultations().record_consultation(desk.request(record)).await.unwrap().into_inner().consultation_id
}
