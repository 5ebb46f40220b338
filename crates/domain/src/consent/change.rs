//! What becomes of a consent while it holds: it is narrowed, renewed, or its signer signs no more.

use std::collections::BTreeSet;

use jiff::ToSpan as _;
use tasuki_contract::consent::v1 as pb;

use super::record::{require_after, require_stage};
use super::terms::{
    check_classes, check_keys, check_recipients, check_signature, check_valid_to, recipients_join,
};
use super::withdraw::{Change, Taken, told};
use super::{GRACE_DAYS, Stage, check_on_behalf, checked, consent, keeper, now_grants, parties, role};
use crate::case::CaseState;
use crate::circle::Grant;
use crate::decision::{Decision, Given, check_etag};
use crate::effects::Doing;
use crate::ids::{CaseId, GrantId};
use crate::refusal::{Checks, Reason, Refusal, Violation};
use crate::{days, fields};

const GRANTS_MAX: usize = 100;

/// Makes a consent hold for less. Caller: the responsible post, the municipality's intake post, or a guardian's own.
///
/// Who reads less from here on is told as after a withdrawal.
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `STALE_ETAG`, `WRONG_STATE`.
pub fn narrow(
    state: &CaseState,
    request: &pb::NarrowConsentRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    let id = fields::id(&mut checks, "grant_id", &request.grant_id).map(GrantId);
    let recipients = check_recipients(&mut checks, &request.recipients);
    let classes = check_classes(&mut checks, &request.classes);
    let keys = check_keys(&mut checks, &request.excluded_keys);
    let nothing =
        request.recipients.is_empty() && request.classes.is_empty() && request.excluded_keys.is_empty();
    checks.require(!nothing, "classes", Violation::MISSING);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    let speaker = check_on_behalf(&mut checks, request.on_behalf.as_ref(), state, given);
    checks.done()?;
    role(state, given.actor.post)?;
    let (id, consent) = consent(state, id)?;
    check_etag(request.context.as_ref(), id.0, consent.version)?;
    require_stage(consent, &[Stage::Active], given)?;

    let case = checked(case);
    let taken = Taken { recipients, classes };
    let only_keys = taken.recipients.is_empty() && taken.classes.is_empty();
    let rest = if only_keys { Some(consent.terms.clone()) } else { taken.from(&consent.terms) };
    let rest = rest.map(|mut rest| {
        rest.excluded_keys.extend(keys);
        rest
    });
    let changes = [Change { id, consent, rest }];
    let doing = Doing::of(case).parties(parties(state, given)).on_behalf_of(speaker);
    let doing = changes[0].on(doing);
    let event = pb::ConsentNarrowed {
        grant_id: id.into(),
        case_id: case.into(),
        recipients: request.recipients.clone(),
        classes: request.classes.clone(),
        excluded_keys: request.excluded_keys.clone(),
        note: request.note.clone(),
        on_behalf: request.on_behalf.clone(),
    };
    let events = told(state, case, &changes, &taken.recipients, doing, event, given);
    Ok(Decision { events, reply: (), item: Some((id.0, consent.version + 1)) })
}

/// Makes a consent hold for longer, on the same terms, whether or not its last day has passed. Caller: the responsible
/// post or the municipality's intake post.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `STALE_ETAG`, `WRONG_STATE`, `UNKNOWN_POST`,
/// `POST_RETIRED`, `UNKNOWN_AGENCY`.
pub fn renew(
    state: &CaseState,
    request: &pb::RenewConsentRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    let id = fields::id(&mut checks, "grant_id", &request.grant_id).map(GrantId);
    let (signer, method) = (&request.signer_relation, &request.consent_method);
    let signed = check_signature(&mut checks, signer, method, request.signed_on.as_ref(), given);
    let last = check_valid_to(&mut checks, request.valid_to.as_ref());
    let valid_to_day = last.map(days::epoch_day);
    require_after(&mut checks, &Grant { valid_to_day, ..Grant::default() }, signed);
    checks.require(last.is_none_or(|last| last >= given.today()), "valid_to", Violation::OUT_OF_RANGE);
    fields::at_most(&mut checks, "evidence", &request.evidence, fields::TEXT_CHARS_MAX);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    let speaker = check_on_behalf(&mut checks, request.on_behalf.as_ref(), state, given);
    checks.done()?;
    keeper(state, given)?;
    let (id, consent) = consent(state, id)?;
    check_etag(request.context.as_ref(), id.0, consent.version)?;
    require_stage(consent, &[Stage::Active], given)?;

    let case = checked(case);
    let grace_days = if request.grace { GRACE_DAYS } else { 0 };
    let terms = Grant { valid_to_day, grace_days, ..consent.terms.clone() };
    let doing = Doing::of(case).parties(parties(state, given)).on_behalf_of(speaker);
    let doing = if consent.of_other_subject { doing } else { recipients_join(doing, &terms, given)? };
    let event = pb::ConsentRenewed {
        grant_id: id.into(),
        case_id: case.into(),
        signer_relation: request.signer_relation.clone(),
        consent_method: request.consent_method.clone(),
        signed_on: request.signed_on,
        valid_to: request.valid_to,
        grace: request.grace,
        evidence: request.evidence.clone(),
        note: request.note.clone(),
        on_behalf: request.on_behalf.clone(),
    };
    let events = vec![now_grants(doing, id, consent, &terms).by(CaseState::stream(case), event)];
    Ok(Decision { events, reply: (), item: Some((id.0, consent.version + 1)) })
}

/// Says that who signed signs no more: the child is 18, or custody has changed. Caller: the responsible post or the
/// municipality's intake post.
///
/// A consent whose text gives a grace goes into it as if yesterday had been its last day; any other ends here, and
/// who read under it is told. The reply names the consents.
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`.
pub fn change_signer(
    state: &CaseState,
    request: &pb::ChangeSignerRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    let named = fields::ids(&mut checks, "grant_ids", &request.grant_ids, GRANTS_MAX);
    fields::chosen::<pb::SignerChangeReason>(&mut checks, "change_reason", request.change_reason);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    let speaker = check_on_behalf(&mut checks, request.on_behalf.as_ref(), state, given);
    checks.done()?;
    keeper(state, given)?;

    let case = checked(case);
    let named: BTreeSet<GrantId> = named.into_iter().map(|(_, id)| GrantId(id)).collect();
    for id in &named {
        consent(state, Some(*id))?;
    }
    let yesterday = days::epoch_day(given.today().saturating_sub(1.day()));
    let today = yesterday + 1;
    let mut changes: Vec<Change<'_>> = Vec::new();
    let mut ids: Vec<GrantId> = Vec::new();
    let mut doing = Doing::of(case).parties(parties(state, given)).on_behalf_of(speaker);
    for (id, consent) in &state.consents.all {
        let meant = !consent.terms.by_law && (named.is_empty() || named.contains(id));
        if !meant || !["active", "grace"].contains(&consent.on(today)) {
            continue;
        }
        ids.push(*id);
        if consent.terms.grace_days > 0 {
            let last = consent.terms.valid_to_day.map_or(yesterday, |last| last.min(yesterday));
            let terms = Grant { valid_to_day: Some(last), ..consent.terms.clone() };
            doing = now_grants(doing, *id, consent, &terms);
        } else {
            let change = Change { id: *id, consent, rest: None };
            doing = change.on(doing);
            changes.push(change);
        }
    }
    if ids.is_empty() {
        return Err(Reason::NotFound.into());
    }
    let event = pb::SignerChanged {
        case_id: case.into(),
        grant_ids: ids.iter().map(GrantId::to_string).collect(),
        change_reason: request.change_reason,
        note: request.note.clone(),
        on_behalf: request.on_behalf.clone(),
    };
    let events = told(state, case, &changes, &[], doing, event, given);
    Ok(Decision { events, reply: (), item: None })
}
