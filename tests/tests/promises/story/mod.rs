//! One history that brings every event type about a case, told by many posts, with a mark of its own in every text.
//!
//! It only sends commands; what each post gets of it is looked at by the tests, at the pauses.

use std::collections::BTreeMap;

use jiff::ToSpan as _;
use tasuki_contract::DataClass;
use tasuki_contract::common::v1::{CodeList, Date, DocumentRef, Fact, TextList, fact::Value};
use tasuki_contract::consent::v1::RecordSignedConsentRequest;
use tasuki_contract::event::v1::{Recipient, recipient::Who};
use tasuki_contract::handoff::v1 as handoff;
use tasuki_contract::intake::v1 as intake;
use tasuki_tests::{Caller, fact};

use crate::who_reads::{
    COORDINATOR, DISASTER, FAMILY, HEALTH, HOSPITAL, NURSE, NURSERY, OTHER_PLANNER, OTHER_PROVIDER, PLANNER,
    PROVIDER, SCHOOL, VENDOR, WARD,
};

const MUNICIPALITY: &str = "131172";

/// What an ordinary consent covers.
const CLASSES: [DataClass; 13] = [
    DataClass::Lead,
    DataClass::Identity,
    DataClass::CareProcedure,
    DataClass::Diagnosis,
    DataClass::Instruction,
    DataClass::ReferralState,
    DataClass::Handoff,
    DataClass::Question,
    DataClass::Minutes,
    DataClass::LocalIssue,
    DataClass::ReaderLog,
    DataClass::Support,
    DataClass::Consent,
];

/// What the story has brought so far.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Piece of the story, and the text that stands for it.
    pub marks: Vec<(&'static str, String)>,
    pub cases: Vec<String>,
    pub referrals: Vec<String>,
    pub attachments: Vec<String>,
}

/// The teller.
pub struct Story {
    callers: BTreeMap<String, Caller>,
    pub told: Told,
}

/// Sends a command as a post, and expects it to be accepted.
macro_rules! say {
    ($story:expr, $who:expr, $service:ident, $method:ident, $request:expr) => {{
        let request = $request;
        let caller = $story.callers[$who].clone();
        let answer = caller.$service().$method(caller.request(request)).await;
        answer.unwrap_or_else(|status| panic!("{} of {}: {status:?}", stringify!($method), $who)).into_inner()
    }};
}

mod identity;
mod meeting;
mod paper;
mod steps;

impl Story {
    pub fn new(callers: BTreeMap<String, Caller>) -> Self {
        Self { callers, told: Told::default() }
    }

    /// Tells everything; `pause` is called with what was told whenever somebody is about to lose sight of something.
    pub async fn tell(&mut self, mut pause: impl AsyncFnMut(&Told)) {
        let opening = self.open_by_referral().await;
        self.consent().await;
        self.papers().await;
        pause(&self.told).await;
        self.round(&opening, &mut pause).await;
        self.withdrawn(&mut pause).await;
        self.handoffs().await;
        self.calls().await;
        pause(&self.told).await;
        self.meeting().await;
        pause(&self.told).await;
        self.steps(&mut pause).await;
        self.identities().await;
        pause(&self.told).await;
    }

    fn post(&self, slug: &str) -> String {
        self.callers[slug].post.to_string()
    }

    fn mark(&mut self, what: &'static str) -> String {
        let text = format!("MARK-{:03}", self.told.marks.len());
        self.told.marks.push((what, text.clone()));
        text
    }

    /// A telephone number that occurs nowhere else stands for the piece.
    fn telephone(&mut self, what: &'static str) -> String {
        let text = format!("+81 (0)00-0000-{:04}", self.told.marks.len());
        self.told.marks.push((what, text.clone()));
        text
    }

    /// A code that occurs nowhere else stands for the piece.
    fn code(&mut self, what: &'static str, code: &str) -> String {
        self.told.marks.push((what, code.to_owned()));
        code.to_owned()
    }

    fn text(&mut self, key: &'static str) -> Fact {
        let text = self.mark(key);
        fact(key, Value::Text(text))
    }

    fn texts(&mut self, key: &'static str) -> Fact {
        let text = self.mark(key);
        fact(key, Value::Texts(TextList { texts: vec![text] }))
    }

    fn document(&mut self, key: &'static str) -> Fact {
        let text = self.mark(key);
        let document = DocumentRef { document_id: text.clone(), title: text, valid_until: None };
        fact(key, Value::Document(document))
    }

    async fn open_by_referral(&mut self) -> String {
        let care = self.code("opening.care", "dialysis");
        let mut facts = vec![
            fact("birth_date", Value::Date(Date { year: 2021, month: 11, day: 5 })),
            fact("care_procedures", Value::Codes(CodeList { codes: vec![care] })),
        ];
        for key in ["name_used", "address_text", "phone_primary", "insurance_member_id", "burden_and_sleep"] {
            facts.push(self.text(key));
        }
        for key in ["communication", "meals_sleep_toilet", "child_wish", "family_wishes", "parent_work"] {
            facts.push(self.text(key));
        }
        for key in ["primary_diagnosis", "clinical_course"] {
            facts.push(self.text(key));
        }
        for key in ["guardians", "siblings", "caregivers_available", "support_circle", "infection", "devices"]
        {
            facts.push(self.texts(key));
        }
        for key in ["medications", "allergies", "emergency_call_order", "power_dependency"] {
            facts.push(self.texts(key));
        }
        for key in ["advance_directive", "doctor_instruction", "emergency_card"] {
            facts.push(self.document(key));
        }
        let sent = say!(
            self,
            HOSPITAL,
            referrals,
            submit_referral,
            intake::SubmitReferralRequest {
                to_post_id: self.post(COORDINATOR),
                municipality_code: MUNICIPALITY.to_owned(),
                referral_purpose: "nicu_discharge".to_owned(),
                expected_discharge_on: day(60),
                sender_telephone: self.telephone("opening.telephone"),
                message: self.mark("opening.message"),
                label: self.mark("opening.label"),
                facts,
                consent_at_source: consent(),
                ..Default::default()
            }
        );
        self.told.cases.push(sent.case_id);
        self.told.referrals.push(sent.referral_id.clone());
        say!(
            self,
            COORDINATOR,
            referrals,
            acknowledge_referral,
            intake::AcknowledgeReferralRequest {
                referral_id: sent.referral_id.clone(),
                ..Default::default()
            }
        );
        self.accept(COORDINATOR, &sent.referral_id, true, "opening.acceptance").await;
        sent.referral_id
    }

    async fn accept(&mut self, who: &str, referral: &str, as_lead: bool, what: &'static str) {
        say!(
            self,
            who,
            referrals,
            accept_referral,
            intake::AcceptReferralRequest {
                referral_id: referral.to_owned(),
                as_lead,
                first_contact_on: day(7),
                note: self.mark(what),
                ..Default::default()
            }
        );
    }

    async fn decline(&mut self, who: &str, referral: &str, what: &'static str) {
        say!(
            self,
            who,
            referrals,
            decline_referral,
            intake::DeclineReferralRequest {
                referral_id: referral.to_owned(),
                decline_reason: "no_nurse".to_owned(),
                note: self.mark(what),
                ..Default::default()
            }
        );
    }

    /// One consent for many by name and for nurseries by kind, without one key; one for the coordinator alone.
    async fn consent(&mut self) {
        let mut recipients: Vec<Recipient> = [FAMILY, NURSE, PLANNER, VENDOR, DISASTER, SCHOOL]
            .map(|slug| Recipient { who: Some(Who::PostId(self.post(slug))) })
            .into();
        recipients.push(Recipient { who: Some(Who::AgencyKind("nursery".to_owned())) });
        let ordinary = RecordSignedConsentRequest {
            case_id: self.told.cases[0].clone(),
            recipients,
            classes: CLASSES.map(|class| class as i32).into(),
            excluded_keys: vec!["meals_sleep_toilet".to_owned()],
            signer_relation: "mother".to_owned(),
            consent_method: "paper".to_owned(),
            signed_on: day(-1),
            note: self.mark("consent.note"),
            ..Default::default()
        };
        let restricted = RecordSignedConsentRequest {
            recipients: vec![Recipient { who: Some(Who::PostId(self.post(COORDINATOR))) }],
            classes: vec![DataClass::Restricted as i32],
            excluded_keys: Vec::new(),
            note: self.mark("consent.restricted.note"),
            ..ordinary.clone()
        };
        say!(self, COORDINATOR, consents, record_signed_consent, ordinary);
        say!(self, COORDINATOR, consents, record_signed_consent, restricted);
    }

    /// The coordinator asks a nursery; it goes on to a provider, back to the nursery, to another provider.
    async fn round(&mut self, _: &str, pause: &mut impl AsyncFnMut(&Told)) {
        let care = self.code("round.care", "stoma");
        let facts = vec![
            fact("care_procedures", Value::Codes(CodeList { codes: vec![care] })),
            self.text("nutrition"),
            self.text("planned_move"),
        ];
        let sent = say!(
            self,
            COORDINATOR,
            referrals,
            submit_referral,
            intake::SubmitReferralRequest {
                case_id: self.told.cases[0].clone(),
                to_post_id: self.post(NURSERY),
                referral_purpose: "enrollment".to_owned(),
                sender_telephone: self.telephone("round.telephone"),
                message: self.mark("round.message"),
                facts,
                ..Default::default()
            }
        );
        let id = sent.referral_id;
        self.told.referrals.push(id.clone());
        pause(&self.told).await;
        self.decline(NURSERY, &id, "round.decline1").await;
        self.reroute(WARD, &id, PROVIDER, None, "round.reroute1").await;
        pause(&self.told).await;
        self.decline(PROVIDER, &id, "round.decline2").await;
        self.reroute(COORDINATOR, &id, NURSERY, Some("round.reason_again"), "round.reroute2").await;
        pause(&self.told).await;
        self.decline(NURSERY, &id, "round.decline3").await;
        self.reroute(COORDINATOR, &id, OTHER_PROVIDER, None, "round.reroute3").await;
        self.accept(OTHER_PROVIDER, &id, false, "round.acceptance").await;
    }

    async fn reroute(
        &mut self,
        who: &str,
        referral: &str,
        to: &str,
        again: Option<&'static str>,
        what: &'static str,
    ) {
        say!(
            self,
            who,
            referrals,
            reroute_referral,
            intake::RerouteReferralRequest {
                referral_id: referral.to_owned(),
                to_post_id: self.post(to),
                reason_again: again.map(|what| self.mark(what)).unwrap_or_default(),
                message: self.mark(what),
                ..Default::default()
            }
        );
    }

    async fn withdrawn(&mut self, pause: &mut impl AsyncFnMut(&Told)) {
        let sent = say!(
            self,
            COORDINATOR,
            referrals,
            submit_referral,
            intake::SubmitReferralRequest {
                case_id: self.told.cases[0].clone(),
                to_post_id: self.post(OTHER_PLANNER),
                referral_purpose: "enrollment".to_owned(),
                message: self.mark("withdrawn.message"),
                ..Default::default()
            }
        );
        self.told.referrals.push(sent.referral_id.clone());
        pause(&self.told).await;
        say!(
            self,
            COORDINATOR,
            referrals,
            withdraw_referral,
            intake::WithdrawReferralRequest {
                referral_id: sent.referral_id,
                withdraw_reason: intake::WithdrawReason::NoLongerNeeded.into(),
                ..Default::default()
            }
        );
    }

    async fn handoffs(&mut self) {
        let first = self.offered(WARD, "handoff1.reason", "handoff1.summary").await;
        say!(
            self,
            PLANNER,
            handoffs,
            decline_handoff,
            handoff::DeclineHandoffRequest {
                handoff_id: first.clone(),
                decline_reason: "caseload_full".to_owned(),
                note: self.mark("handoff1.decline"),
                ..Default::default()
            }
        );
        say!(
            self,
            COORDINATOR,
            handoffs,
            cancel_handoff,
            handoff::CancelHandoffRequest {
                handoff_id: first,
                cancel_reason: handoff::CancelReason::PostUnable.into(),
                ..Default::default()
            }
        );

        let id = self.offered(COORDINATOR, "handoff2.reason", "handoff2.summary").await;
        say!(
            self,
            PLANNER,
            handoffs,
            accept_handoff,
            handoff::AcceptHandoffRequest { handoff_id: id.clone(), ..Default::default() }
        );
        say!(
            self,
            PLANNER,
            handoffs,
            begin_accompaniment,
            handoff::BeginAccompanimentRequest {
                handoff_id: id.clone(),
                joint_contact_on: day(3),
                review_on: day(30),
                ..Default::default()
            }
        );
        let met = |full: bool, absence_reason, note| handoff::RecordJointContactRequest {
            handoff_id: id.clone(),
            held_on: day(0),
            family_present: true,
            outgoing_present: true,
            incoming_present: full,
            absence_reason,
            note,
            ..Default::default()
        };
        let (absence, note) = (self.mark("handoff2.absence"), self.mark("handoff2.note1"));
        say!(self, COORDINATOR, handoffs, record_joint_contact, met(false, absence, note));
        let note = self.mark("handoff2.note2");
        say!(self, COORDINATOR, handoffs, record_joint_contact, met(true, String::new(), note));
        let complete = || handoff::CompleteHandoffRequest { handoff_id: id.clone(), ..Default::default() };
        say!(self, COORDINATOR, handoffs, complete_handoff, complete());
        let done = say!(self, PLANNER, handoffs, complete_handoff, complete());
        assert!(done.transferred);
    }

    async fn offered(&mut self, proposer: &str, reason: &'static str, summary: &'static str) -> String {
        let proposed = say!(
            self,
            proposer,
            handoffs,
            propose_handoff,
            handoff::ProposeHandoffRequest {
                case_id: self.told.cases[0].clone(),
                kind: handoff::HandoffKind::Nursery.into(),
                incoming_post_id: self.post(PLANNER),
                reason_text: self.mark(reason),
                ..Default::default()
            }
        );
        say!(
            self,
            COORDINATOR,
            handoffs,
            offer_handoff,
            handoff::OfferHandoffRequest {
                handoff_id: proposed.handoff_id.clone(),
                summary: self.mark(summary),
                do_not_ask_again_keys: vec!["allergies".to_owned()],
                ..Default::default()
            }
        );
        proposed.handoff_id
    }

    /// Three calls: one becomes the second case, one is answered, one guided.
    async fn calls(&mut self) {
        let restricted = self.code("call.sealed", "abuse_dv");
        let received = say!(
            self,
            HEALTH,
            consultations,
            record_consultation,
            intake::RecordConsultationRequest {
                contents: vec!["medical_care".to_owned(), restricted],
                caller_identity: intake::CallerIdentity::Named.into(),
                caller_label: self.mark("call.caller"),
                caller_telephone: self.telephone("call.telephone"),
                child_label: self.mark("call.child"),
                story: self.mark("call.story"),
                facts: vec![{
                    let text = self.mark("call.fact");
                    fact("development_summary", Value::Text(text))
                }],
                ..call()
            }
        );
        let birth_history = self.mark("second.birth_history");
        let economic = self.mark("second.economic_situation");
        let siblings = self.mark("second.siblings");
        let opened = say!(
            self,
            HEALTH,
            consultations,
            open_case,
            intake::OpenCaseRequest {
                consultation_id: received.consultation_id,
                municipality_code: MUNICIPALITY.to_owned(),
                label: self.mark("second.label"),
                consent: consent(),
                facts: vec![
                    fact("birth_history", Value::Text(birth_history)),
                    fact("economic_situation", Value::Text(economic)),
                    fact("siblings", Value::Texts(TextList { texts: vec![siblings] })),
                ],
                ..Default::default()
            }
        );
        self.told.cases.push(opened.case_id);

        let story = self.mark("call.other.story");
        let answered = say!(self, COORDINATOR, consultations, record_consultation, anonymous(story));
        say!(
            self,
            COORDINATOR,
            consultations,
            answer_consultation,
            intake::AnswerConsultationRequest {
                consultation_id: answered.consultation_id.clone(),
                answer: self.mark("call.other.answer"),
                ..Default::default()
            }
        );
        say!(
            self,
            COORDINATOR,
            consultations,
            close_consultation,
            intake::CloseConsultationRequest {
                consultation_id: answered.consultation_id,
                ..Default::default()
            }
        );
        let story = self.mark("call.guided.story");
        let guided = say!(self, OTHER_PLANNER, consultations, record_consultation, anonymous(story));
        say!(
            self,
            OTHER_PLANNER,
            consultations,
            guide_consultation,
            intake::GuideConsultationRequest {
                consultation_id: guided.consultation_id,
                guided_to_kind: "mcc_coordinator_office".to_owned(),
                advice: self.mark("call.guided.advice"),
                ..Default::default()
            }
        );
    }
}

/// Today in Tokyo, and so many days later.
pub fn day(later: i64) -> Option<Date> {
    let tokyo = jiff::tz::TimeZone::fixed(jiff::tz::offset(9));
    let day = jiff::Timestamp::now().to_zoned(tokyo).date().saturating_add(later.days());
    Some(Date { year: day.year().into(), month: day.month().into(), day: day.day().into() })
}

pub fn consent() -> Option<intake::ConsentAtSource> {
    let signer_relation = "mother".to_owned();
    Some(intake::ConsentAtSource { anonymous: false, signer_relation, signed_on: day(-1) })
}

fn call() -> intake::RecordConsultationRequest {
    intake::RecordConsultationRequest {
        consulter_attribute: "family".to_owned(),
        access_route: "leaflet".to_owned(),
        contact_method: "phone".to_owned(),
        ..Default::default()
    }
}

fn anonymous(story: String) -> intake::RecordConsultationRequest {
    intake::RecordConsultationRequest {
        contents: vec!["life_anxiety".to_owned()],
        caller_identity: intake::CallerIdentity::Anonymous.into(),
        story,
        ..call()
    }
}
