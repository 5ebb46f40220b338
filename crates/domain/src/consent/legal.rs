//! What a law opens, apart from every consent: exactly what it names, to posts by name, for as long as it says.
//!
//! A family sees each of them and withdraws none. What must not be seen by it belongs into a sealed circle, and is
//! refused here.

use tasuki_contract::consent::v1 as pb;
use tasuki_contract::event::v1::recipient::Who;

use super::terms::{Asked, recipients_join};
use super::{FAMILY_KIND, checked, ends_grant, keeper, parties, parts};
use crate::case::CaseState;
use crate::circle::Grant;
use crate::codes::Table;
use crate::decision::{Decision, Given};
use crate::effects::Doing;
use crate::ids::{CaseId, GrantId, PostId};
use crate::refusal::{Checks, Reason, Refusal, Violation};
use crate::{consent::Stage, fields};

/// Bases that are none here: a consent is recorded as one, what is anonymous needs none, and the rest is sealed.
const NOT_HERE: [&str; 4] = ["consent", "anonymous", "youtaikyo", "abuse_act_13_4"];

/// Records that a law opens something to named posts. Caller: the responsible post or the municipality's intake post.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `UNKNOWN_POST`, `POST_RETIRED`.
pub fn record_legal_basis(
    state: &CaseState,
    request: &pb::RecordLegalBasisRequest,
    given: &mut Given<'_>,
) -> Result<Decision<GrantId>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    fields::code(&mut checks, "share_basis", &[Table::ShareBasis], &request.share_basis);
    let here = !NOT_HERE.contains(&request.share_basis.as_str());
    checks.require(here, "share_basis", Violation::NOT_ALLOWED);
    let asked = Asked {
        recipients: &request.recipients,
        classes: &request.classes,
        excluded_keys: &[],
        valid_to: request.valid_to.as_ref(),
        grace: false,
    };
    let terms = Grant { by_law: true, ..asked.check(&mut checks) };
    for (i, recipient) in request.recipients.iter().enumerate() {
        let wide = matches!(recipient.who, Some(Who::AgencyId(_) | Who::AgencyKind(_)));
        checks.require(!wide, format!("recipients[{i}]"), Violation::NOT_ALLOWED);
        // A guardian reads as family, whatever the terms say; no law makes one.
        if let Some(Who::PostId(text)) = &recipient.who {
            let office = given.directory.office_of(PostId::trusted(text));
            let family = office.is_some_and(|(_, kind)| kind == FAMILY_KIND);
            checks.require(!family, format!("recipients[{i}].post_id"), Violation::NOT_ALLOWED);
        }
    }
    fields::text(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    checks.done()?;
    keeper(state, given)?;

    let (case, id) = (checked(case), GrantId(given.ids.fresh()));
    let doing = recipients_join(Doing::of(case).parties(parties(state, given)), &terms, given)?;
    let doing = doing.grant(terms.to_change(id));
    let event = pb::LegalBasisRecorded {
        basis_id: id.into(),
        case_id: case.into(),
        share_basis: request.share_basis.clone(),
        recipients: request.recipients.clone(),
        classes: request.classes.clone(),
        valid_to: request.valid_to,
        note: request.note.clone(),
    };
    let events = vec![doing.by(CaseState::stream(case), event)];
    Ok(Decision { events, reply: id, item: Some((id.0, 1)) })
}

/// Closes what a law opened. Caller: the responsible post or the municipality's intake post.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `WRONG_STATE`.
pub fn end_legal_basis(
    state: &CaseState,
    request: &pb::EndLegalBasisRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    let id = fields::id(&mut checks, "basis_id", &request.basis_id).map(GrantId);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    checks.done()?;
    keeper(state, given)?;
    let found = id.and_then(|id| Some((id, state.consents.all.get(&id)?)));
    let (id, basis) = found.filter(|(_, basis)| basis.terms.by_law).ok_or(Reason::NotFound)?;
    super::record::require_stage(basis, &[Stage::Active], given)?;

    let case = checked(case);
    let doing = ends_grant(Doing::of(case).parties(parties(state, given)), id, &basis.terms);
    let doing = parts(doing, state, case, given, [&basis.terms].into_iter(), &[]);
    let event = pb::LegalBasisEnded { basis_id: id.into(), case_id: case.into(), note: request.note.clone() };
    let events = vec![doing.by(CaseState::stream(case), event)];
    Ok(Decision { events, reply: (), item: Some((id.0, basis.version + 1)) })
}
