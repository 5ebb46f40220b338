//! What follows a withdrawal: a post takes note, and the responsible post says what becomes of work that waits.

use tasuki_contract::consent::v1 as pb;
use tasuki_contract::event::v1::DutyKind;

use super::{Role, check_on_behalf, checked, keeper, parties, role};
use crate::case::CaseState;
use crate::decision::{Decision, Given};
use crate::effects::Doing;
use crate::fields;
use crate::ids::{CaseId, HandoffId, NoticeId, PostId, ReferralId};
use crate::refusal::{Checks, Reason, Refusal};

/// Takes note of a stop notice. Caller: the post that got it, wherever it stands now; for one without a login also the
/// responsible post and the municipality's intake post.
///
/// Errors: malformed fields, `NOT_FOUND`, `WRONG_STATE` once it was acknowledged.
pub fn acknowledge_stop_notice(
    state: &CaseState,
    request: &pb::AcknowledgeStopNoticeRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    let id = fields::id(&mut checks, "notice_id", &request.notice_id).map(NoticeId);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    check_on_behalf(&mut checks, request.on_behalf.as_ref(), state, given);
    checks.done()?;
    let me = given.actor.post;
    let found = id.and_then(|id| Some((id, state.consents.notices.get(&id)?)));
    let keeps = role(state, me) == Ok(Role::Keeper);
    let (id, notice) = found.filter(|(_, n)| n.post == me || keeps).ok_or(Reason::NotFound)?;
    if notice.acknowledged {
        return Err(Refusal::State("acknowledged"));
    }

    let case = checked(case);
    let speaker = (notice.post != me).then_some(notice.post);
    let doing = Doing::of(case)
        .parties([notice.post].into_iter().chain(parties(state, given)))
        .ends(DutyKind::DutyStopNotice, id.0, notice.post)
        .on_behalf_of(speaker);
    let event = pb::StopNoticeAcknowledged {
        notice_id: id.into(),
        case_id: case.into(),
        note: request.note.clone(),
        on_behalf: request.on_behalf.clone(),
    };
    let events = vec![doing.by(CaseState::stream(case), event)];
    Ok(Decision { events, reply: (), item: None })
}

/// Says what becomes of a referral or hand-off that is on hold. Caller: the responsible post or the municipality's
/// intake post.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`.
pub fn resolve_hold(
    state: &CaseState,
    request: &pb::ResolveHoldRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    let item = fields::id(&mut checks, "item_id", &request.item_id);
    fields::chosen::<pb::HoldOutcome>(&mut checks, "outcome", request.outcome);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    checks.done()?;
    keeper(state, given)?;
    let found = item.and_then(|item| Some((item, state.consents.held.get(&item)?)));
    let (item, hold) = found.ok_or(Reason::NotFound)?;

    let case = checked(case);
    let referral = state.referrals.get(&ReferralId(item));
    let handoff = state.handoffs.get(&HandoffId(item));
    let theirs: Vec<PostId> = referral.into_iter().flat_map(|r| r.parties()).collect();
    let theirs = theirs.into_iter().chain(handoff.into_iter().flat_map(|h| h.parties()));
    let doing = Doing::of(case)
        .parties([hold.post].into_iter().chain(theirs).chain(parties(state, given)))
        .ends(DutyKind::DutyReviewHold, item, hold.owner);
    let event = pb::WorkHoldEnded {
        case_id: case.into(),
        item_id: item.to_string(),
        outcome: request.outcome,
        note: request.note.clone(),
    };
    let events = vec![doing.by(CaseState::stream(case), event)];
    Ok(Decision { events, reply: (), item: None })
}
