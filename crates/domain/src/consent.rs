//! Consents: what a family allows, as a grant that policy reads.
//!
//! A consent held at source comes with a referral or a consultation; a signed one is recorded here. Nothing here
//! decides who reads: the circle keeps the grants, the policy applies them.

use std::collections::BTreeSet;

use jiff::civil::Date;
use tasuki_contract::DataClass;
use tasuki_contract::consent::v1 as pb;
use tasuki_contract::event::v1::{GrantChange, Recipient, Relation, recipient::Who};
use tasuki_contract::intake::v1::ConsentAtSource;

use crate::case::CaseState;
use crate::codes::{self, Table};
use crate::decision::{Decision, Given, Kind, StreamRef};
use crate::effects::Doing;
use crate::ids::{AgencyId, CaseId, GrantId, PostId};
use crate::refusal::{Checks, Reason, Refusal, Violation};
use crate::{days, dictionary, fields};

/// What a consent held at source covers: every personal class but those that need a consent of their own.
pub const SOURCE_CLASSES: &[DataClass] = &[
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

/// Who may sign.
pub const SIGNER_RELATIONS: [&str; 5] = ["mother", "father", "parents", "guardian", "self"];
/// How a consent is given.
pub const METHODS: [&str; 3] = ["paper", "verbal", "paper_and_verbal"];
/// Kind of the agencies that are families: a consent never names all of them.
pub const FAMILY_KIND: &str = "family";
const RECIPIENTS_MAX: usize = 50;
const KEYS_MAX: usize = 300;
const CLASSES_MAX: usize = 20;

/// Notes what is malformed in a consent held at source: one that names nobody needs no signer.
pub fn check_at_source(checks: &mut Checks, field: &str, consent: &ConsentAtSource, given: &Given<'_>) {
    let (signer, signed) = (format!("{field}.signer_relation"), format!("{field}.signed_on"));
    if consent.anonymous {
        checks.require(consent.signer_relation.is_empty(), signer, Violation::NOT_ALLOWED);
        checks.require(consent.signed_on.is_none(), signed, Violation::NOT_ALLOWED);
        return;
    }
    fields::listed(checks, &signer, &SIGNER_RELATIONS, &consent.signer_relation);
    check_signed_on(checks, &signed, consent.signed_on.as_ref(), given);
}

fn check_signed_on(
    checks: &mut Checks,
    field: &str,
    day: Option<&tasuki_contract::common::v1::Date>,
    given: &Given<'_>,
) -> Option<Date> {
    let day = fields::day(checks, field, day)?;
    checks.require(day <= given.today(), field, Violation::OUT_OF_RANGE);
    Some(day)
}

/// Records a consent that was signed or spoken. Caller: the responsible post or the municipality's intake post.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `UNKNOWN_POST`, `POST_RETIRED`, `UNKNOWN_AGENCY`.
pub fn record_signed(
    state: &CaseState,
    request: &pb::RecordSignedConsentRequest,
    given: &mut Given<'_>,
) -> Result<Decision<GrantId>, Refusal> {
    let (case, valid_to) = check(request, given)?;
    let me = given.actor.post;
    if !state.exists() || !state.circle.is_member(me) {
        return Err(Reason::NotFound.into());
    }
    let ward = |post: PostId| state.circle.relations.get(&post).is_some_and(|r| r.contains(&Relation::Ward));
    if state.circle.lead != Some(me) && !ward(me) {
        return Err(Reason::NotYourPart.into());
    }

    let grant = GrantId(given.ids.fresh());
    let wards = state.circle.relations.keys().copied().filter(|post| ward(*post));
    let mut doing = Doing::of(case).parties([me].into_iter().chain(state.circle.lead).chain(wards));
    for recipient in &request.recipients {
        match recipient.who.as_ref() {
            Some(Who::PostId(text)) => {
                let post = PostId::trusted(text);
                let (_, agency) = given.directory.active_post(post)?;
                let family = agency.kind == FAMILY_KIND;
                doing = doing.joins(post, if family { Relation::Family } else { Relation::Named });
            }
            Some(Who::AgencyId(text)) => {
                let id = AgencyId::trusted(text);
                let directory = given.directory.noting(StreamRef { kind: Kind::Agency, id: id.0 });
                directory.agencies.get(&id).ok_or(Reason::UnknownAgency)?;
            }
            Some(Who::AgencyKind(_)) | None => {}
        }
    }
    let doing = doing.grant(GrantChange {
        grant_id: grant.into(),
        recipients: request.recipients.clone(),
        classes: request.classes.clone(),
        excluded_keys: request.excluded_keys.clone(),
        valid_to_day: valid_to.map_or(0, days::epoch_day),
        ..GrantChange::default()
    });
    let event = pb::ConsentActivated {
        grant_id: grant.into(),
        case_id: case.into(),
        recipients: request.recipients.clone(),
        classes: request.classes.clone(),
        excluded_keys: request.excluded_keys.clone(),
        signer_relation: request.signer_relation.clone(),
        consent_method: request.consent_method.clone(),
        signed_on: request.signed_on,
        valid_to: request.valid_to,
        note: request.note.clone(),
    };
    let events = vec![doing.by(CaseState::stream(case), event)];
    Ok(Decision { events, reply: grant, item: Some((grant.0, 1)) })
}

fn check(
    request: &pb::RecordSignedConsentRequest,
    given: &Given<'_>,
) -> Result<(CaseId, Option<Date>), Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    checks.require(!request.recipients.is_empty(), "recipients", Violation::MISSING);
    fields::no_repeats(&mut checks, "recipients", &request.recipients, RECIPIENTS_MAX);
    for (i, recipient) in request.recipients.iter().enumerate().take(RECIPIENTS_MAX) {
        check_recipient(&mut checks, i, recipient);
    }
    check_classes(&mut checks, request);
    fields::no_repeats(&mut checks, "excluded_keys", &request.excluded_keys, KEYS_MAX);
    for (i, key) in request.excluded_keys.iter().enumerate().take(KEYS_MAX) {
        let known = dictionary::field(key).is_some();
        checks.require(known, format!("excluded_keys[{i}]"), Violation::UNKNOWN_KEY);
    }
    fields::listed(&mut checks, "signer_relation", &SIGNER_RELATIONS, &request.signer_relation);
    fields::listed(&mut checks, "consent_method", &METHODS, &request.consent_method);
    let signed = check_signed_on(&mut checks, "signed_on", request.signed_on.as_ref(), given);
    let valid_to = checks.take(days::from_proto("valid_to", request.valid_to.as_ref())).flatten();
    if let (Some(signed), Some(last)) = (signed, valid_to) {
        checks.require(last > signed, "valid_to", Violation::OUT_OF_RANGE);
    }
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    checks.done()?;
    Ok((case.unwrap_or(CaseId(uuid::Uuid::nil())), valid_to))
}

fn check_recipient(checks: &mut Checks, i: usize, recipient: &Recipient) {
    let path = |part: &str| format!("recipients[{i}].{part}");
    match recipient.who.as_ref() {
        None => checks.require(false, format!("recipients[{i}]"), Violation::MISSING),
        Some(Who::PostId(text)) => {
            fields::id(checks, &path("post_id"), text);
        }
        Some(Who::AgencyId(text)) => {
            fields::id(checks, &path("agency_id"), text);
        }
        Some(Who::AgencyKind(kind)) => {
            let known = codes::lookup(Table::AgencyKind, kind).is_some();
            checks.require(known, path("agency_kind"), Violation::UNKNOWN_CODE);
            checks.require(kind != FAMILY_KIND, path("agency_kind"), Violation::NOT_ALLOWED);
        }
    }
}

/// What is restricted goes to posts by name only; what is sealed has a circle of its own.
fn check_classes(checks: &mut Checks, request: &pb::RecordSignedConsentRequest) {
    checks.require(!request.classes.is_empty(), "classes", Violation::MISSING);
    fields::no_repeats(checks, "classes", &request.classes, CLASSES_MAX);
    let posts_only = request.recipients.iter().all(|r| matches!(r.who, Some(Who::PostId(_))));
    let personal: BTreeSet<i32> = (DataClass::Lead as i32..=DataClass::Sealed as i32).collect();
    for (i, number) in request.classes.iter().enumerate().take(CLASSES_MAX) {
        let path = || format!("classes[{i}]");
        checks.require(personal.contains(number), path(), Violation::UNKNOWN_CODE);
        let refused =
            *number == DataClass::Sealed as i32 || (*number == DataClass::Restricted as i32 && !posts_only);
        checks.require(!refused, path(), Violation::NOT_ALLOWED);
    }
}

#[cfg(test)]
#[path = "consent_tests.rs"]
mod tests;
