//! A well-formed request for every method about consents.

use serde_json::{Value, json};

use super::{NOBODY, Sample, context, day, of};

pub(super) fn all() -> Vec<Sample> {
    let on = |more: Value| {
        let mut request = json!({"context": context(), "caseId": NOBODY});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let of_one = |more: Value| {
        let mut request = on(json!({"grantId": NOBODY}));
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    };
    let said = json!({
        "postId": NOBODY, "saidBy": "例示", "saidOn": day(-1), "channel": "phone", "evidence": "例示",
    });
    let told = json!({"explainer": "例示", "language": "やさしい日本語", "interpreter": "例示", "childsView": "例示"});
    let terms = json!({
        "recipients": [{"postId": NOBODY}], "classes": ["IDENTITY"], "excludedKeys": ["allergies"],
        "validTo": day(300), "grace": true, "dataSubject": "child", "note": "例示",
    });
    let signature = json!({
        "signerRelation": "mother", "consentMethod": "paper", "signedOn": day(-2), "evidence": "例示",
        "onBehalf": said,
    });
    let with = |parts: &[&Value]| {
        let mut all = json!({});
        for part in parts {
            all.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        }
        all
    };
    let note = json!({"note": "例示"});
    let prepared = with(&[&terms, &json!({"purposes": ["nursery_entry"], "language": "やさしい日本語"})]);
    let explained = with(&[&told, &json!({"explainedOn": day(-1)}), &note]);
    let recorded = with(&[&terms, &told, &signature]);
    let taken = json!({"recipients": [{"postId": NOBODY}], "classes": ["IDENTITY"], "note": "例示", "onBehalf": said});
    let narrowed = with(&[&taken, &json!({"excludedKeys": ["allergies"]})]);
    let renewed = with(&[&signature, &json!({"validTo": day(300), "grace": true}), &note]);
    let basis = json!({
        "shareBasis": "disaster_act", "recipients": [{"postId": NOBODY}], "classes": ["IDENTITY"],
        "validTo": day(300), "note": "例示",
    });
    let nobody = "NOT_FOUND";
    vec![
        of(
            "ConsentService/PrepareConsent",
            nobody,
            on(prepared),
            &[
                "context",
                "context.occurred_at",
                "excluded_keys",
                "valid_to",
                "grace",
                "purposes",
                "language",
                "data_subject",
                "note",
            ],
        ),
        of(
            "ConsentService/ExplainConsent",
            nobody,
            of_one(explained),
            &["context", "context.occurred_at", "language", "interpreter", "childs_view", "note"],
        ),
        of("ConsentService/SignConsent", nobody, of_one(with(&[&signature, &note])), &SIGNED),
        of(
            "ConsentService/RefuseConsent",
            nobody,
            of_one(with(&[&json!({"signerRelation": "mother", "onBehalf": said}), &note])),
            &SIGNED,
        ),
        of(
            "ConsentService/RecordSignedConsent",
            nobody,
            on(recorded),
            &[
                "context",
                "context.occurred_at",
                "excluded_keys",
                "valid_to",
                "note",
                "explainer",
                "language",
                "interpreter",
                "childs_view",
                "evidence",
                "data_subject",
                "grace",
                "on_behalf",
                "on_behalf.post_id",
                "on_behalf.evidence",
            ],
        ),
        of(
            "ConsentService/NarrowConsent",
            nobody,
            of_one(narrowed),
            &[
                "context",
                "context.occurred_at",
                // One of the three is enough.
                "recipients",
                "classes",
                "excluded_keys",
                "note",
                "on_behalf",
                "on_behalf.post_id",
                "on_behalf.evidence",
            ],
        ),
        of(
            "ConsentService/RenewConsent",
            nobody,
            of_one(renewed),
            &[
                "context",
                "context.occurred_at",
                "valid_to",
                "grace",
                "evidence",
                "note",
                "on_behalf",
                "on_behalf.post_id",
                "on_behalf.evidence",
            ],
        ),
        of(
            "ConsentService/WithdrawConsent",
            nobody,
            of_one(taken),
            &[
                "context",
                "context.occurred_at",
                "grant_id",
                "recipients",
                "classes",
                "note",
                "on_behalf",
                "on_behalf.post_id",
                "on_behalf.evidence",
            ],
        ),
        of(
            "ConsentService/ChangeSigner",
            nobody,
            on(json!({
                "grantIds": [NOBODY], "changeReason": "SIGNER_CHANGE_REASON_OF_AGE", "note": "例示", "onBehalf": said,
            })),
            &[
                "context",
                "context.occurred_at",
                "grant_ids",
                "note",
                "on_behalf",
                "on_behalf.post_id",
                "on_behalf.evidence",
            ],
        ),
        of(
            "ConsentService/AcknowledgeStopNotice",
            nobody,
            on(json!({"noticeId": NOBODY, "note": "例示", "onBehalf": said})),
            &SIGNED,
        ),
        of(
            "ConsentService/ResolveHold",
            nobody,
            on(json!({"itemId": NOBODY, "outcome": "HOLD_OUTCOME_GOES_ON", "note": "例示"})),
            &["context", "context.occurred_at", "note"],
        ),
        of(
            "ConsentService/RecordLegalBasis",
            nobody,
            on(basis),
            &["context", "context.occurred_at", "valid_to"],
        ),
        of(
            "ConsentService/EndLegalBasis",
            nobody,
            on(json!({"basisId": NOBODY, "note": "例示"})),
            &["context", "context.occurred_at", "note"],
        ),
        of("ConsentService/ListConsents", nobody, json!({"caseId": NOBODY, "pageSize": 3}), &["page_size"]),
    ]
}

/// What a step of a consent that was prepared may leave out.
const SIGNED: [&str; 7] = [
    "context",
    "context.occurred_at",
    "evidence",
    "note",
    "on_behalf",
    "on_behalf.post_id",
    "on_behalf.evidence",
];
