//! A well-formed request for every method: commands are refused all the same, for one reason that has nothing to do
//! with fields.
//!
//! Each command names something that does not exist, so that a whole run appends nothing. Days are counted from today, since
//! several fields must lie ahead or behind.

use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};
use tasuki::region;

// By its path, since another test shares this file.
#[path = "samples/consents.rs"]
mod consents;

/// One method with a request that is well formed.
pub struct Sample {
    /// `Service/Method`.
    pub method: &'static str,
    /// Called by the operator instead of the hospital's post.
    pub by_operator: bool,
    pub request: Value,
    /// The reason with which the request is refused as it stands; empty: it is answered.
    pub refused: &'static str,
    /// Fields that may be left out.
    pub optional: &'static [&'static str],
}

/// Nothing has this id.
const NOBODY: &str = "0193aaaa-0000-7000-8000-00000000000e";

/// A policy that reads, of the municipality of the region.
const POLICY: &str = include_str!("../../../deploy/policies/example-narrow.toml");

fn day(from_today: i64) -> Value {
    let day = Timestamp::now().in_tz("Asia/Tokyo").unwrap().date().saturating_add(from_today.days());
    json!({"year": day.year(), "month": day.month(), "day": day.day()})
}

fn instant(hours: i64) -> Value {
    json!(Timestamp::now().saturating_add(hours.hours()).unwrap().to_string())
}

fn context() -> Value {
    json!({"occurredAt": instant(-1)})
}

fn facts() -> Value {
    json!([
        {"key": "birth_date", "date": {"year": 2021, "month": 11, "day": 5}, "assertedOn": day(-1), "toldBy": "HOSP"},
        {"key": "care_procedures", "codes": {"codes": ["suctioning"]}},
    ])
}

fn of(
    method: &'static str,
    refused: &'static str,
    request: Value,
    optional: &'static [&'static str],
) -> Sample {
    Sample { method, by_operator: false, request, refused, optional }
}

fn by_operator(
    method: &'static str,
    refused: &'static str,
    request: Value,
    optional: &'static [&'static str],
) -> Sample {
    Sample { by_operator: true, ..of(method, refused, request, optional) }
}

/// All of them; the test finds out whether the contract has more.
pub fn all() -> Vec<Sample> {
    let mut all = directory();
    all.extend(intake());
    all.extend(identity());
    all.extend(handoff());
    all.extend(minutes());
    all.extend(consents::all());
    all.extend(attachments());
    all.extend(queries());
    all
}

fn directory() -> Vec<Sample> {
    let known_agency = region::agency_id("hospital").to_string();
    let registered = json!({
        "context": context(), "agencyId": known_agency, "kind": "hospital", "nameJa": "例示病院",
        "nameEn": "Example Hospital", "municipalityCode": "131172", "telephone": "03-0000-0001",
    });
    let calendar = json!({
        "openWeekdays": [1, 3], "opensMin": 540, "closesMin": 1020, "closedOnNationalHolidays": true,
        "closedYearly": ["12-29/01-03"],
    });
    let post = json!({
        "context": context(), "postId": NOBODY, "agencyId": NOBODY, "labelJa": "例示窓口", "labelEn": "Example desk",
        "holderSubjects": ["holder:example"],
    });
    vec![
        by_operator(
            "DirectoryService/RegisterAgency",
            "ALREADY_EXISTS",
            registered,
            &["context", "context.occurred_at", "telephone"],
        ),
        by_operator(
            "DirectoryService/SetCalendar",
            "UNKNOWN_AGENCY",
            json!({"context": context(), "agencyId": NOBODY, "calendar": calendar}),
            &[
                "context",
                "context.occurred_at",
                "calendar.opens_min",
                "calendar.closed_on_national_holidays",
                "calendar.closed_yearly",
            ],
        ),
        by_operator(
            "DirectoryService/CreatePost",
            "UNKNOWN_AGENCY",
            post,
            &["context", "context.occurred_at", "post_id", "holder_subjects"],
        ),
        by_operator(
            "DirectoryService/ChangeHolders",
            "UNKNOWN_POST",
            json!({"context": context(), "postId": NOBODY, "holderSubjects": ["holder:example"]}),
            &["context", "context.occurred_at", "holder_subjects"],
        ),
        by_operator(
            "DirectoryService/RetirePost",
            "UNKNOWN_POST",
            json!({"context": context(), "postId": NOBODY}),
            &["context", "context.occurred_at"],
        ),
        of(
            "DirectoryService/RevokeCredential",
            "OPERATOR_ONLY",
            json!({"context": context(), "subject": "holder:example", "notBeforeS": "1"}),
            &["context", "context.occurred_at", "not_before_s"],
        ),
        by_operator(
            "DirectoryService/ConfigureMunicipality",
            "UNKNOWN_POST",
            json!({
                "context": context(), "municipalityCode": "131172", "intakePostId": NOBODY,
                "kindsThatMayLead": ["mcc_coordinator_office"],
            }),
            &["context", "context.occurred_at", "kinds_that_may_lead"],
        ),
        by_operator(
            "DirectoryService/AdoptPolicy",
            "UNKNOWN_MUNICIPALITY",
            json!({"context": context(), "text": POLICY.replace("131172", "131199")}),
            &["context", "context.occurred_at"],
        ),
        by_operator(
            "ErasureService/ProposeErasure",
            "NOT_FOUND",
            json!({"context": context(), "caseId": NOBODY, "ground": "ERASURE_GROUND_COURT_ORDER"}),
            &["context", "context.occurred_at"],
        ),
        by_operator(
            "ErasureService/ConfirmErasure",
            "NOT_FOUND",
            json!({"context": context(), "caseId": NOBODY, "proposalId": NOBODY}),
            &["context", "context.occurred_at"],
        ),
        by_operator(
            "ErasureService/PlaceLegalHold",
            "NOT_FOUND",
            json!({"context": context(), "caseId": NOBODY}),
            &["context", "context.occurred_at"],
        ),
        by_operator(
            "ErasureService/LiftLegalHold",
            "NOT_FOUND",
            json!({"context": context(), "caseId": NOBODY, "holdId": NOBODY}),
            &["context", "context.occurred_at"],
        ),
    ]
}

fn intake() -> Vec<Sample> {
    let consultation = json!({
        "context": context(), "consulterAttribute": "family", "accessRoute": "leaflet", "contactMethod": "phone",
        "contents": ["school_education"], "callerIdentity": "CALLER_IDENTITY_LABELLED", "callerLabel": "kita_A の母",
        "callerTelephone": "03-0000-0001", "childLabel": "kita_A", "story": "例示", "facts": facts(),
    });
    let held = json!({"signerRelation": "mother", "signedOn": day(-1)});
    let opening = json!({
        "context": context(), "consultationId": NOBODY, "municipalityCode": "131172", "label": "kita_A",
        "consent": held, "facts": facts(),
    });
    let referral = json!({
        "context": context(), "toPostId": NOBODY, "municipalityCode": "131172", "referralPurpose": "nicu_discharge",
        "urgency": "URGENCY_URGENT", "expectedDischargeOn": day(60), "weekdays": [1, 3],
        "senderTelephone": "03-0000-0001", "message": "例示", "facts": facts(), "notYetKeys": ["allergies"],
        "label": "kita_A", "consentAtSource": held,
    });
    let on = |id: &str, more: Value| {
        let mut request = json!({"context": context(), id: NOBODY});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    vec![
        // An operator has no post at which it could take a call.
        by_operator(
            "ConsultationService/RecordConsultation",
            "UNKNOWN_POST",
            consultation,
            &[
                "context",
                "context.occurred_at",
                "caller_telephone",
                "child_label",
                "story",
                "facts",
                "facts[0].asserted_on",
                "facts[0].told_by",
            ],
        ),
        of(
            "ConsultationService/AnswerConsultation",
            "NOT_FOUND",
            on("consultationId", json!({"answer": "例示"})),
            &["context", "context.occurred_at"],
        ),
        of(
            "ConsultationService/GuideConsultation",
            "NOT_FOUND",
            on("consultationId", json!({"guidedToKind": "hospital", "arrived": true, "advice": "例示"})),
            &["context", "context.occurred_at", "arrived", "advice"],
        ),
        of(
            "ConsultationService/OpenCase",
            "NOT_FOUND",
            opening,
            &[
                "context",
                "context.occurred_at",
                // Its own reason, CONSENT_REQUIRED, once the consultation is found.
                "consent",
                "facts",
            ],
        ),
        of(
            "ConsultationService/CloseConsultation",
            "NOT_FOUND",
            on("consultationId", json!({})),
            &["context", "context.occurred_at"],
        ),
        of(
            "ReferralService/SubmitReferral",
            "UNKNOWN_POST",
            referral,
            &["context", "context.occurred_at", "urgency", "weekdays", "message", "not_yet_keys"],
        ),
        of(
            "ReferralService/AcknowledgeReferral",
            "NOT_FOUND",
            on("referralId", json!({})),
            &["context", "context.occurred_at"],
        ),
        of(
            "ReferralService/AcceptReferral",
            "NOT_FOUND",
            on(
                "referralId",
                json!({"asLead": true, "firstContactOn": day(7), "supportedByPostId": NOBODY, "note": "例示"}),
            ),
            &["context", "context.occurred_at", "as_lead", "supported_by_post_id", "note"],
        ),
        of(
            "ReferralService/DeclineReferral",
            "NOT_FOUND",
            on(
                "referralId",
                json!({"declineReason": "no_nurse", "nextCandidatePostId": NOBODY, "note": "例示"}),
            ),
            &["context", "context.occurred_at", "next_candidate_post_id", "note"],
        ),
        of(
            "ReferralService/RerouteReferral",
            "NOT_FOUND",
            on("referralId", json!({"toPostId": NOBODY, "reasonAgain": "例示", "message": "例示"})),
            &["context", "context.occurred_at", "reason_again", "message"],
        ),
        of(
            "ReferralService/WithdrawReferral",
            "NOT_FOUND",
            on("referralId", json!({"withdrawReason": "WITHDRAW_REASON_FAMILY_WISH"})),
            &["context", "context.occurred_at"],
        ),
    ]
}

fn identity() -> Vec<Sample> {
    let search = json!({
        "nameKana": "テスト タロウ", "birthDate": {"year": 2021, "month": 11, "day": 5}, "sex": "female",
        "municipalityCode": "131172", "identifierKey": "patient_id", "identifier": "00123", "issuerAgencyId": NOBODY,
    });
    let plain = || json!({"context": context(), "caseId": NOBODY});
    let merge = json!({"context": context(), "caseId": NOBODY, "survivorCaseId": NOBODY});
    let command = &["context", "context.occurred_at"];
    vec![
        // Samples are sent for the coordination of care.
        of(
            "IdentityService/SearchChild",
            "PURPOSE_NOT_INTAKE",
            search,
            &["name_kana", "birth_date", "sex", "municipality_code", "issuer_agency_id"],
        ),
        of("IdentityService/GetIdentityDoubt", "NOT_FOUND", json!({"caseId": NOBODY}), &[]),
        of("IdentityService/ConfirmDistinct", "NOT_FOUND", plain(), command),
        of("IdentityService/MergeCases", "NOT_FOUND", merge, command),
        of("IdentityService/UnmergeCases", "NOT_FOUND", plain(), command),
    ]
}

fn handoff() -> Vec<Sample> {
    let on = |more: Value| {
        let mut request = json!({"context": context(), "handoffId": NOBODY});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let contact = json!({
        "heldOn": day(-1), "familyPresent": false, "outgoingPresent": true, "incomingPresent": true,
        "absenceReason": "例示", "note": "例示",
    });
    vec![
        of(
            "HandoffService/ProposeHandoff",
            "NOT_FOUND",
            json!({
                "context": context(), "caseId": NOBODY, "kind": "HANDOFF_KIND_SCHOOL", "incomingPostId": NOBODY,
                "reasonText": "例示",
            }),
            &["context", "context.occurred_at", "reason_text"],
        ),
        of(
            "HandoffService/OfferHandoff",
            "NOT_FOUND",
            on(json!({"summary": "例示", "doNotAskAgainKeys": ["allergies"]})),
            &["context", "context.occurred_at", "do_not_ask_again_keys"],
        ),
        of("HandoffService/AcceptHandoff", "NOT_FOUND", on(json!({})), &["context", "context.occurred_at"]),
        of(
            "HandoffService/DeclineHandoff",
            "NOT_FOUND",
            on(json!({"declineReason": "no_nurse", "note": "例示"})),
            &["context", "context.occurred_at", "note"],
        ),
        of(
            "HandoffService/BeginAccompaniment",
            "NOT_FOUND",
            on(json!({"jointContactOn": day(10), "reviewOn": day(20)})),
            &["context", "context.occurred_at"],
        ),
        of(
            "HandoffService/RecordJointContact",
            "NOT_FOUND",
            on(contact),
            &["context", "context.occurred_at", "outgoing_present", "incoming_present", "note"],
        ),
        of(
            "HandoffService/CompleteHandoff",
            "NOT_FOUND",
            on(json!({"adoptedActionIds": [NOBODY]})),
            &["context", "context.occurred_at", "adopted_action_ids"],
        ),
        of(
            "HandoffService/CancelHandoff",
            "NOT_FOUND",
            on(json!({"cancelReason": "CANCEL_REASON_FAMILY_WISH"})),
            &["context", "context.occurred_at"],
        ),
    ]
}

fn minutes() -> Vec<Sample> {
    let on = |more: Value| {
        let mut request = json!({"context": context(), "meetingId": NOBODY});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let drafted = json!({
        "sections": [{"caseId": NOBODY, "dataClass": "MINUTES", "text": "例示"}],
        "decisions": [{"caseId": NOBODY, "text": "例示", "basis": "例示", "decidedByPostId": NOBODY}],
        "actions": [{"caseId": NOBODY, "text": "例示", "ownerPostId": NOBODY, "dueOn": day(30)}],
    });
    vec![
        of(
            "MinutesService/ScheduleMeeting",
            "NOT_FOUND",
            json!({
                "context": context(), "meetingKind": "municipal_council", "startsAt": instant(48), "place": "例示",
                "inviteePostIds": [NOBODY], "agenda": [{"caseId": NOBODY, "text": "例示"}],
            }),
            &["context", "context.occurred_at", "place", "agenda", "agenda[0].case_id"],
        ),
        of(
            "MinutesService/HoldMeeting",
            "NOT_FOUND",
            on(json!({"attendance": [{"postId": NOBODY, "people": 2}]})),
            &["context", "context.occurred_at"],
        ),
        of(
            "MinutesService/DraftMinutes",
            "NOT_FOUND",
            on(drafted),
            &[
                "context",
                "context.occurred_at",
                // One of the three lists is enough.
                "sections",
                "decisions",
                "actions",
                "sections[0].case_id",
                "sections[0].data_class",
                "decisions[0].case_id",
                "decisions[0].basis",
                "decisions[0].decided_by_post_id",
                "actions[0].case_id",
            ],
        ),
        of(
            "MinutesService/CirculateMinutes",
            "NOT_FOUND",
            on(json!({})),
            &["context", "context.occurred_at"],
        ),
        of("MinutesService/ConfirmMinutes", "NOT_FOUND", on(json!({})), &["context", "context.occurred_at"]),
    ]
}

fn attachments() -> Vec<Sample> {
    let announced = json!({
        "caseId": NOBODY, "dataClass": "INSTRUCTION", "mediaType": "MEDIA_TYPE_PDF", "sizeBytes": 600_000,
        "sha256": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "title": "例示", "fileName": "example.pdf",
    });
    vec![
        of("AttachmentService/BeginAttachment", "NOT_FOUND", announced, &["file_name"]),
        of(
            "AttachmentService/PutChunk",
            "NOT_FOUND",
            json!({"attachmentId": NOBODY, "index": 1, "data": "AAEC"}),
            &["index"],
        ),
        of(
            "AttachmentService/CompleteAttachment",
            "NOT_FOUND",
            json!({"context": context(), "attachmentId": NOBODY}),
            &["context", "context.occurred_at"],
        ),
        of("AttachmentService/GetAttachment", "NOT_FOUND", json!({"attachmentId": NOBODY}), &[]),
        of(
            "AttachmentService/ListAttachments",
            "NOT_FOUND",
            json!({"caseId": NOBODY, "pageSize": 3}),
            &["page_size"],
        ),
        of(
            "AttachmentService/ReadChunk",
            "NOT_FOUND",
            json!({"attachmentId": NOBODY, "index": 1}),
            &["index"],
        ),
    ]
}

/// Lists are answered without anything in them, or with what is there.
fn queries() -> Vec<Sample> {
    let page = |more: Value| {
        let mut request = json!({"pageSize": 3});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    vec![
        of("DirectoryService/GetPost", "NOT_FOUND", json!({"postId": NOBODY}), &[]),
        of(
            "DirectoryService/ListPosts",
            "",
            page(json!({"municipalityCode": "131172", "agencyKind": "hospital"})),
            &["page_size", "municipality_code", "agency_kind"],
        ),
        of(
            "ReferralService/GetReferral",
            "NOT_FOUND",
            json!({"referralId": NOBODY, "afterEventId": NOBODY}),
            &["after_event_id"],
        ),
        of(
            "ReferralService/ListReferrals",
            "",
            page(json!({"state": "submitted", "afterEventId": NOBODY})),
            &["page_size", "state", "after_event_id"],
        ),
        of(
            "TimelineService/GetCaseCard",
            "NOT_FOUND",
            json!({"caseId": NOBODY, "afterEventId": NOBODY}),
            &["after_event_id"],
        ),
        of(
            "TimelineService/GetTimeline",
            "NOT_FOUND",
            page(json!({"caseId": NOBODY, "afterEventId": NOBODY})),
            &["page_size", "after_event_id"],
        ),
        of(
            "TimelineService/ListCaseload",
            "",
            page(json!({"afterEventId": NOBODY})),
            &["page_size", "after_event_id"],
        ),
        of(
            "TimelineService/ListDuties",
            "",
            page(json!({"afterEventId": NOBODY})),
            &["page_size", "after_event_id"],
        ),
        of(
            "TimelineService/ExplainAccess",
            "NOT_FOUND",
            json!({"caseId": NOBODY, "postId": NOBODY, "purpose": "nursery_entry"}),
            &["post_id", "purpose"],
        ),
        of("TimelineService/ReadFeed", "", page(json!({})), &["page_size"]),
        of("TimelineService/GetFeedHead", "", json!({}), &[]),
        of("TimelineService/ListFeedLinks", "", json!({"pageSize": 5}), &["page_size"]),
        of("TimelineService/ListReads", "NOT_FOUND", page(json!({"caseId": NOBODY})), &["page_size"]),
    ]
}
