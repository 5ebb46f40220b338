//! Sending a declined referral on, and taking one back.

use tasuki_contract::event::v1::{DutyKind, Relation};
use tasuki_contract::intake::v1 as pb;

use super::{
    ACKNOWLEDGE_BUSINESS_DAYS, ANSWER_BUSINESS_DAYS, Stage, checked, end_duties, find, listed, part,
    receiver, revision, wards,
};
use crate::case::CaseState;
use crate::decision::{Decision, Given, check_etag};
use crate::ids::PostId;
use crate::refusal::{Reason, Refusal, Violation};
use crate::{days, fields};

/// Sends a referral to another post that was declined, or that lies unanswered before a post that has been retired.
/// Caller: the sender or the municipality's intake post.
///
/// The consent held at source named the first receiver: it is not widened to the next one, who sees its own part
/// until a consent names it. What that post must know beside the original is the caller's `message`: what was sealed
/// for the first receiver is not read here.
/// Errors: malformed fields, among them a receiver that is a family; `NOT_FOUND`, `NOT_YOUR_PART`, `WRONG_STATE`,
/// `STALE_ETAG`, `UNKNOWN_POST`, `POST_RETIRED`, `DECLINED_BEFORE`.
pub fn reroute(
    state: &CaseState,
    request: &pb::RerouteReferralRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let (mut checks, id) = checked(&request.referral_id);
    let to = fields::id(&mut checks, "to_post_id", &request.to_post_id).map(PostId);
    fields::at_most(&mut checks, "reason_again", &request.reason_again, fields::TEXT_CHARS_MAX);
    fields::at_most(&mut checks, "message", &request.message, fields::TEXT_CHARS_MAX);
    checks.done()?;
    let me = given.actor.post;
    let right = |r: &super::ReferralState| r.sender == me || wards(state).any(|ward| ward == me);
    // The etag last: a ward without a consent learns that a referral is to be routed, and nothing of it before or after.
    let (id, referral) = find(state, id, None, given, right)?;
    let to = to.unwrap_or(crate::circle::NOBODY);
    if !(referral.stage == Stage::NeedsRouting || stranded(referral, given)) {
        return Err(Reason::WrongState.into());
    }
    check_etag(request.context.as_ref(), id.0, referral.revision)?;
    if to == referral.sender {
        return Err(Refusal::invalid("to_post_id", Violation::NOT_ALLOWED));
    }
    if referral.decliners.contains(&to) && request.reason_again.trim().is_empty() {
        return Err(Reason::DeclinedBefore.into());
    }
    receiver(to, given)?;
    let acknowledge_by = days::due(given, to, ACKNOWLEDGE_BUSINESS_DAYS)?;
    let answer_by = days::due(given, to, ACKNOWLEDGE_BUSINESS_DAYS + ANSWER_BUSINESS_DAYS)?;

    let sender = referral.sender;
    let doing = listed(referral.case, id, Stage::Submitted, [sender, to])
        .parties([sender, to, me])
        .joins(to, Relation::Asked)
        .owes(DutyKind::DutyAcknowledge, id.0, to, days::epoch_day(acknowledge_by));
    // What the sender has yet to supply, it owes to the next receiver as well.
    let doing = end_duties(doing, id, referral, |kind| kind != DutyKind::DutySupply);
    let doing = part(doing, state, id, referral);
    let event = pb::ReferralRerouted {
        referral_id: id.into(),
        to_post_id: to.into(),
        reason_again: request.reason_again.clone(),
        answer_due_on: Some(days::to_proto(answer_by)),
        message: request.message.clone(),
    };
    let events = vec![doing.by(CaseState::stream(referral.case), event)];
    Ok(Decision { events, reply: (), item: Some((id.0, revision(to, Stage::Submitted))) })
}

/// Whether nobody is left who could answer: the post asked has been retired.
fn stranded(referral: &super::ReferralState, given: &Given<'_>) -> bool {
    let unanswered = matches!(referral.stage, Stage::Submitted | Stage::Acknowledged);
    let retired = || matches!(given.directory.active_post(referral.receiver), Err(refusal) if refusal == Reason::PostRetired.into());
    unanswered && retired()
}

/// Takes a referral back before it was accepted; every duty about it ends. Caller: the sender.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `STALE_ETAG`, `WRONG_STATE`.
pub fn withdraw(
    state: &CaseState,
    request: &pb::WithdrawReferralRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let (mut checks, id) = checked(&request.referral_id);
    fields::chosen::<pb::WithdrawReason>(&mut checks, "withdraw_reason", request.withdraw_reason);
    checks.done()?;
    let me = given.actor.post;
    let (id, referral) = find(state, id, request.context.as_ref(), given, |r| r.sender == me)?;
    if matches!(referral.stage, Stage::Accepted | Stage::Closed) {
        return Err(Refusal::State(referral.stage.code()));
    }
    // A post that declined has no part in it any more, nor has one that was never asked; the ward that was to find
    // another one, or to decide, has.
    let routing = matches!(referral.stage, Stage::NeedsRouting | Stage::OnHold);
    let others: Vec<PostId> = if routing { wards(state).collect() } else { vec![referral.receiver] };
    let parties = || [me].into_iter().chain(others.iter().copied());
    let doing = listed(referral.case, id, Stage::Closed, parties()).parties(parties());
    let doing = part(end_duties(doing, id, referral, |_| true), state, id, referral);
    let event = pb::ReferralWithdrawn { referral_id: id.into(), withdraw_reason: request.withdraw_reason };
    let events = vec![doing.by(CaseState::stream(referral.case), event)];
    Ok(Decision { events, reply: (), item: Some((id.0, revision(referral.receiver, Stage::Closed))) })
}
