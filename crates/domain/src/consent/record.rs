//! The steps that lead to a consent: prepare, explain, sign or refuse; and all of them in one call.

use jiff::civil::Date;
use tasuki_contract::consent::v1 as pb;
use tasuki_contract::event::v1::GrantChange;

use super::terms::{
    Asked, check_data_subject, check_signature, check_told, recipients_join, require_recipients,
};
use super::{
    ConsentState, Stage, check_on_behalf, checked, consent, ends_grant, keeper, now_grants, parties, role,
};
use crate::case::CaseState;
use crate::decision::{Decision, Given, check_etag};
use crate::effects::Doing;
use crate::ids::{CaseId, GrantId};
use crate::purpose::PURPOSES;
use crate::refusal::{Checks, Refusal, Violation};
use crate::{days, fields};

const LANGUAGE_CHARS_MAX: usize = fields::LABEL_CHARS_MAX;

/// Puts terms together under which nobody reads yet. Caller: the responsible post or the municipality's intake post.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `UNKNOWN_POST`, `POST_RETIRED`, `UNKNOWN_AGENCY`.
pub fn prepare(
    state: &CaseState,
    request: &pb::PrepareConsentRequest,
    given: &mut Given<'_>,
) -> Result<Decision<GrantId>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    let asked = Asked {
        recipients: &request.recipients,
        classes: &request.classes,
        excluded_keys: &request.excluded_keys,
        valid_to: request.valid_to.as_ref(),
        grace: request.grace,
    };
    let terms = asked.check(&mut checks);
    fields::no_repeats(&mut checks, "purposes", &request.purposes, PURPOSES.len());
    for (i, purpose) in request.purposes.iter().enumerate().take(PURPOSES.len()) {
        fields::listed(&mut checks, &format!("purposes[{i}]"), PURPOSES, purpose);
    }
    fields::at_most(&mut checks, "language", &request.language, LANGUAGE_CHARS_MAX);
    let of_other_subject = check_data_subject(&mut checks, &request.data_subject);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    checks.done()?;
    keeper(state, given)?;
    require_recipients(&terms, given)?;

    let (case, grant) = (checked(case), GrantId(given.ids.fresh()));
    let change = GrantChange { pending: true, of_other_subject, ..terms.to_change(grant) };
    let doing = Doing::of(case).parties(parties(state, given)).grant(change);
    let event = pb::ConsentPrepared {
        grant_id: grant.into(),
        case_id: case.into(),
        recipients: request.recipients.clone(),
        classes: request.classes.clone(),
        excluded_keys: request.excluded_keys.clone(),
        valid_to: request.valid_to,
        grace: request.grace,
        purposes: request.purposes.clone(),
        language: request.language.clone(),
        data_subject: request.data_subject.clone(),
        note: request.note.clone(),
    };
    let events = vec![doing.by(CaseState::stream(case), event)];
    Ok(Decision { events, reply: grant, item: Some((grant.0, 1)) })
}

/// Says that the family was told what a prepared consent means. Caller: the responsible post or the municipality's
/// intake post.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `STALE_ETAG`, `WRONG_STATE`.
pub fn explain(
    state: &CaseState,
    request: &pb::ExplainConsentRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    let id = fields::id(&mut checks, "grant_id", &request.grant_id).map(GrantId);
    checks.require(!request.explainer.trim().is_empty(), "explainer", Violation::MISSING);
    let told = [
        ("explainer", request.explainer.as_str()),
        ("language", request.language.as_str()),
        ("interpreter", request.interpreter.as_str()),
    ];
    check_told(&mut checks, told, &request.childs_view);
    if let Some(day) = fields::day(&mut checks, "explained_on", request.explained_on.as_ref()) {
        checks.require(day <= given.today(), "explained_on", Violation::OUT_OF_RANGE);
    }
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    checks.done()?;
    keeper(state, given)?;
    let (id, consent) = consent(state, id)?;
    check_etag(request.context.as_ref(), id.0, consent.version)?;
    require_stage(consent, &[Stage::Draft, Stage::Explained], given)?;

    let case = checked(case);
    let doing = Doing::of(case).parties(parties(state, given));
    let event = pb::ConsentExplained {
        grant_id: id.into(),
        case_id: case.into(),
        explainer: request.explainer.clone(),
        explained_on: request.explained_on,
        language: request.language.clone(),
        interpreter: request.interpreter.clone(),
        childs_view: request.childs_view.clone(),
        note: request.note.clone(),
    };
    let events = vec![doing.by(CaseState::stream(case), event)];
    Ok(Decision { events, reply: (), item: Some((id.0, consent.version + 1)) })
}

/// Signs an explained consent. Caller: the responsible post, the municipality's intake post, or a guardian's own.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `STALE_ETAG`, `WRONG_STATE`, `UNKNOWN_POST`,
/// `POST_RETIRED`, `UNKNOWN_AGENCY`.
pub fn sign(
    state: &CaseState,
    request: &pb::SignConsentRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    let id = fields::id(&mut checks, "grant_id", &request.grant_id).map(GrantId);
    let (signer, method) = (&request.signer_relation, &request.consent_method);
    check_signature(&mut checks, signer, method, request.signed_on.as_ref(), given);
    fields::at_most(&mut checks, "evidence", &request.evidence, fields::TEXT_CHARS_MAX);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    let speaker = check_on_behalf(&mut checks, request.on_behalf.as_ref(), state, given);
    checks.done()?;
    role(state, given.actor.post)?;
    let (id, consent) = consent(state, id)?;
    check_etag(request.context.as_ref(), id.0, consent.version)?;
    require_stage(consent, &[Stage::Explained], given)?;

    let (case, terms) = (checked(case), &consent.terms);
    let doing = Doing::of(case).parties(parties(state, given)).on_behalf_of(speaker);
    let doing = if consent.of_other_subject { doing } else { recipients_join(doing, terms, given)? };
    let of_other_subject = consent.of_other_subject;
    let doing = doing.grant(GrantChange { of_other_subject, ..terms.to_change(id) });
    let event = pb::ConsentActivated {
        grant_id: id.into(),
        case_id: case.into(),
        recipients: terms.recipients.iter().map(crate::circle::Recipient::to_proto).collect(),
        classes: terms.classes.iter().map(|class| *class as i32).collect(),
        excluded_keys: terms.excluded_keys.iter().cloned().collect(),
        signer_relation: request.signer_relation.clone(),
        consent_method: request.consent_method.clone(),
        signed_on: request.signed_on,
        valid_to: terms.valid_to_day.and_then(days::from_epoch_day).map(days::to_proto),
        note: request.note.clone(),
        evidence: request.evidence.clone(),
        grace: terms.grace_days > 0,
        on_behalf: request.on_behalf.clone(),
        ..pb::ConsentActivated::default()
    };
    let events = vec![doing.by(CaseState::stream(case), event)];
    Ok(Decision { events, reply: (), item: Some((id.0, consent.version + 1)) })
}

/// Says no to a prepared consent, for good. Caller: the responsible post, the municipality's intake post, or a
/// guardian's own.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `STALE_ETAG`, `WRONG_STATE`.
pub fn refuse(
    state: &CaseState,
    request: &pb::RefuseConsentRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    let id = fields::id(&mut checks, "grant_id", &request.grant_id).map(GrantId);
    fields::listed(&mut checks, "signer_relation", &super::SIGNER_RELATIONS, &request.signer_relation);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    let speaker = check_on_behalf(&mut checks, request.on_behalf.as_ref(), state, given);
    checks.done()?;
    role(state, given.actor.post)?;
    let (id, consent) = consent(state, id)?;
    check_etag(request.context.as_ref(), id.0, consent.version)?;
    require_stage(consent, &[Stage::Draft, Stage::Explained], given)?;

    let case = checked(case);
    let doing = Doing::of(case).parties(parties(state, given)).on_behalf_of(speaker);
    let event = pb::ConsentRefused {
        grant_id: id.into(),
        case_id: case.into(),
        signer_relation: request.signer_relation.clone(),
        note: request.note.clone(),
        on_behalf: request.on_behalf.clone(),
    };
    let events = vec![ends_grant(doing, id, &consent.terms).by(CaseState::stream(case), event)];
    Ok(Decision { events, reply: (), item: Some((id.0, consent.version + 1)) })
}

/// Records a consent that was signed or spoken: all steps in one. Caller: the responsible post or the municipality's
/// intake post.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `UNKNOWN_POST`, `POST_RETIRED`, `UNKNOWN_AGENCY`.
pub fn record_signed(
    state: &CaseState,
    request: &pb::RecordSignedConsentRequest,
    given: &mut Given<'_>,
) -> Result<Decision<GrantId>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    let asked = Asked {
        recipients: &request.recipients,
        classes: &request.classes,
        excluded_keys: &request.excluded_keys,
        valid_to: request.valid_to.as_ref(),
        grace: request.grace,
    };
    let terms = asked.check(&mut checks);
    let (signer, method) = (&request.signer_relation, &request.consent_method);
    let signed = check_signature(&mut checks, signer, method, request.signed_on.as_ref(), given);
    require_after(&mut checks, &terms, signed);
    let told = [
        ("explainer", request.explainer.as_str()),
        ("language", request.language.as_str()),
        ("interpreter", request.interpreter.as_str()),
    ];
    check_told(&mut checks, told, &request.childs_view);
    fields::at_most(&mut checks, "evidence", &request.evidence, fields::TEXT_CHARS_MAX);
    let of_other_subject = check_data_subject(&mut checks, &request.data_subject);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    let speaker = check_on_behalf(&mut checks, request.on_behalf.as_ref(), state, given);
    checks.done()?;
    keeper(state, given)?;

    let (case, grant) = (checked(case), GrantId(given.ids.fresh()));
    let doing = Doing::of(case).parties(parties(state, given)).on_behalf_of(speaker);
    let doing = if of_other_subject {
        require_recipients(&terms, given)?;
        doing
    } else {
        recipients_join(doing, &terms, given)?
    };
    let signed = ConsentState { stage: Stage::Active, of_other_subject, ..ConsentState::default() };
    let doing = now_grants(doing, grant, &signed, &terms);
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
        explainer: request.explainer.clone(),
        language: request.language.clone(),
        interpreter: request.interpreter.clone(),
        childs_view: request.childs_view.clone(),
        evidence: request.evidence.clone(),
        data_subject: request.data_subject.clone(),
        grace: request.grace,
        on_behalf: request.on_behalf.clone(),
    };
    let events = vec![doing.by(CaseState::stream(case), event)];
    Ok(Decision { events, reply: grant, item: Some((grant.0, 1)) })
}

/// What is signed holds beyond the day of the signature.
pub(super) fn require_after(checks: &mut Checks, terms: &crate::circle::Grant, signed: Option<Date>) {
    if let (Some(signed), Some(last)) = (signed, terms.valid_to_day) {
        checks.require(last > days::epoch_day(signed), "valid_to", Violation::OUT_OF_RANGE);
    }
}

/// Errors: `WRONG_STATE` with the present one.
pub(super) fn require_stage(
    consent: &ConsentState,
    stages: &[Stage],
    given: &Given<'_>,
) -> Result<(), Refusal> {
    let fits = stages.contains(&consent.stage);
    if fits { Ok(()) } else { Err(Refusal::State(consent.on(days::epoch_day(given.today())))) }
}
