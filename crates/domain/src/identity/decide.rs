//! What a person decides: that two cases are two children, or one child's, or after all not.
//!
//! The municipality's intake post decides, since it stands in the circle of both.

use std::collections::BTreeSet;

use tasuki_contract::event::v1::{DutyKind, Relation};
use tasuki_contract::identity::v1 as pb;

use crate::case::CaseState;
use crate::circle::NOBODY;
use crate::decision::{Decided, Decision, Given};
use crate::effects::Doing;
use crate::handoff;
use crate::ids::{CaseId, PostId};
use crate::refusal::{Checks, Reason, Refusal, Violation};
use crate::{days, fields, referral};

/// Business days within which the intake post decides.
pub const DECIDE_BUSINESS_DAYS: u16 = 3;

/// The municipality's intake posts of a case, of which there is one.
pub fn wards(state: &CaseState) -> impl Iterator<Item = PostId> {
    state.circle.relations.iter().filter(|(_, all)| all.contains(&Relation::Ward)).map(|(post, _)| *post)
}

/// The doubt about a case that is being opened, told to who opens it and to the intake post, which owes a decision.
///
/// Errors: those of [`days::due`].
pub(crate) fn doubt(
    case: CaseId,
    insiders: impl IntoIterator<Item = PostId>,
    ward: PostId,
    given: &Given<'_>,
) -> Result<Decided, Refusal> {
    let decide_by = days::epoch_day(days::due(given, ward, DECIDE_BUSINESS_DAYS)?);
    Ok(Doing::of(case)
        .parties(insiders.into_iter().chain([ward]))
        .owes(DutyKind::DutyIdentity, case.0, ward, decide_by)
        .by(CaseState::stream(case), pb::IdentityDoubted { case_id: case.into() }))
}

/// Ends a doubt: the case is about a child of its own, and the referral that waited goes out. Caller: the intake post.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `WRONG_STATE` where there is no doubt.
pub fn confirm_distinct(
    state: &CaseState,
    request: &pb::ConfirmDistinctRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id);
    checks.done()?;
    let case = CaseId(case.unwrap_or_default());
    is_ward(state, given)?;
    let doubt = state.doubt.as_ref().ok_or(Reason::WrongState)?;
    let doing = end_duty(Doing::of(case).parties(doubt.insiders.iter().copied()), case, state);
    let confirmed = doing.by(CaseState::stream(case), pb::IdentityConfirmed { case_id: case.into() });
    let mut events = vec![confirmed];
    for (id, waiting) in state.referrals.iter().filter(|(_, r)| r.stage == referral::Stage::OnHold) {
        events.push(referral::deliver(state, *id, waiting, given)?);
    }
    Ok(Decision { events, reply: (), item: None })
}

/// Closes a case and points to another one of the same child. Caller: the intake post of both.
///
/// No event moves: each case keeps its stream, its key and its circle. Nobody is responsible for the closed one; its
/// referrals that nobody took up close with it, and what was taken up stays with who took it.
/// Errors: malformed fields, among them one case twice and cases of two municipalities; `NOT_FOUND`,
/// `NOT_YOUR_PART`, `CASE_MERGED`, `IDENTITY_IN_DOUBT` of the survivor, `HANDOFF_UNDER_WAY`.
pub fn merge(
    (merged, survivor): (&CaseState, &CaseState),
    request: &pb::MergeCasesRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let id = CaseId(fields::id(&mut checks, "case_id", &request.case_id).unwrap_or_default());
    let into = fields::id(&mut checks, "survivor_case_id", &request.survivor_case_id).unwrap_or_default();
    let into = CaseId(into);
    checks.done()?;
    is_ward(merged, given)?;
    is_ward(survivor, given)?;
    if id == into || merged.municipality_code != survivor.municipality_code {
        return Err(Refusal::invalid("survivor_case_id", Violation::NOT_ALLOWED));
    }
    for state in [merged, survivor] {
        if let Some(merged) = &state.merged {
            return Err(Refusal::Merged(merged.into));
        }
    }
    if survivor.doubt.is_some() {
        return Err(Reason::IdentityInDoubt.into());
    }
    if handoff::under_way(merged).is_some() {
        return Err(Reason::HandoffUnderWay.into());
    }
    let closing = Doing::of(id).parties(members(merged)).leads(NOBODY);
    let closing = keep_reading(closing, merged);
    let closing = end_duty(referral::close_unanswered(closing, merged), id, merged);
    let pointer = |case: CaseId| pb::CasesMerged {
        case_id: case.into(),
        survivor_case_id: into.into(),
        merged_case_id: id.into(),
    };
    let going_on = Doing::of(into).parties(wards(survivor).chain(survivor.circle.lead));
    let events = vec![
        closing.by(CaseState::stream(id), pointer(id)),
        going_on.by(CaseState::stream(into), pointer(into)),
    ];
    Ok(Decision { events, reply: (), item: None })
}

/// Opens a merged case again, under the post that was responsible, or under the intake post where that one was retired
/// or may not be responsible any more. Its referrals that nobody had taken up are to be routed anew. Caller: the intake
/// post.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `WRONG_STATE` where it is not merged, `MAY_NOT_LEAD` and
/// `POST_RETIRED` where the intake post may not either.
pub fn unmerge(
    (merged, survivor): (&CaseState, &CaseState),
    request: &pb::UnmergeCasesRequest,
    given: &mut Given<'_>,
) -> Result<Decision<PostId>, Refusal> {
    let mut checks = Checks::default();
    let id = CaseId(fields::id(&mut checks, "case_id", &request.case_id).unwrap_or_default());
    checks.done()?;
    is_ward(merged, given)?;
    let was = merged.merged.as_ref().ok_or(Reason::WrongState)?;
    let (ward, code) = (given.actor.post, &merged.municipality_code);
    let lead = if given.directory.may_lead(was.lead, code).is_ok() { was.lead } else { ward };
    given.directory.may_lead(lead, code)?;
    let opening = Doing::of(id).parties(members(merged).chain([lead])).leads(lead);
    let opening = referral::reopen(opening, merged, &was.closed, ward, given)?;
    let pointer = |case: CaseId| pb::CaseUnmerged {
        case_id: case.into(),
        survivor_case_id: was.into.into(),
        merged_case_id: id.into(),
    };
    let going_on = Doing::of(was.into).parties(wards(survivor).chain(survivor.circle.lead));
    let events = vec![
        opening.by(CaseState::stream(id), pointer(id)),
        going_on.by(CaseState::stream(was.into), pointer(was.into)),
    ];
    Ok(Decision { events, reply: lead, item: None })
}

/// Errors: `NOT_FOUND` to who is no member, unknown and foreign alike; `NOT_YOUR_PART` to other members.
fn is_ward(state: &CaseState, given: &Given<'_>) -> Result<(), Refusal> {
    let me = given.actor.post;
    if !(state.exists() && state.circle.is_member(me)) {
        return Err(Reason::NotFound.into());
    }
    if wards(state).any(|ward| ward == me) { Ok(()) } else { Err(Reason::NotYourPart.into()) }
}

fn members(state: &CaseState) -> impl Iterator<Item = PostId> {
    state.circle.relations.keys().copied().filter(|post| state.circle.is_member(*post))
}

/// Who stood in the circle as responsible post alone stays in it: the case is closed to nobody who knew it.
fn keep_reading(doing: Doing, state: &CaseState) -> Doing {
    let Some(lead) = state.circle.lead else { return doing };
    let alone = state.circle.relations.get(&lead) == Some(&BTreeSet::from([Relation::Lead]));
    if alone { doing.joins(lead, Relation::Receiver) } else { doing }
}

fn end_duty(doing: Doing, case: CaseId, state: &CaseState) -> Doing {
    if state.doubt.is_none() {
        return doing;
    }
    wards(state).fold(doing, |doing, ward| doing.ends(DutyKind::DutyIdentity, case.0, ward))
}
