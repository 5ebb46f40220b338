//! What a receiver answers: seen, taken up, or declined with a reason.

use jiff::ToSpan;
use tasuki_contract::cases::v1::{ResponsibilityTransferred, TransferReason};
use tasuki_contract::event::v1::{DutyKind, Relation};
use tasuki_contract::intake::v1 as pb;

use super::{
    ANSWER_BUSINESS_DAYS, REROUTE_BUSINESS_DAYS, ReferralState, Stage, checked, end_duties, find, listed,
    part, receives_anyway, revision, wards,
};
use crate::case::CaseState;
use crate::codes::Table;
use crate::decision::{Decided, Decision, Given};
use crate::effects::Doing;
use crate::ids::{PostId, ReferralId};
use crate::refusal::{Reason, Refusal, Violation};
use crate::{days, fields};

/// How far ahead the first contact with the family may lie.
const FIRST_CONTACT_DAYS_MAX: i64 = 60;

/// Says that somebody who holds the post has seen the referral. Caller: the receiver.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `STALE_ETAG`, `WRONG_STATE`.
pub fn acknowledge(
    state: &CaseState,
    request: &pb::AcknowledgeReferralRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let (checks, id) = checked(&request.referral_id);
    checks.done()?;
    let me = given.actor.post;
    let (id, referral) = find(state, id, request.context.as_ref(), given, |r| r.asked() == Some(me))?;
    if referral.stage != Stage::Submitted {
        return Err(Refusal::State(referral.stage.code()));
    }
    let events = vec![acknowledged(id, referral, given)?];
    Ok(Decision { events, reply: (), item: Some((id.0, revision(me, Stage::Acknowledged))) })
}

fn acknowledged(id: ReferralId, referral: &ReferralState, given: &Given<'_>) -> Result<Decided, Refusal> {
    let (sender, receiver) = (referral.sender, referral.receiver);
    let answer_by = days::due(given, receiver, ANSWER_BUSINESS_DAYS)?;
    let doing = listed(referral.case, id, Stage::Acknowledged, [sender, receiver])
        .parties([sender, receiver])
        .ends(DutyKind::DutyAcknowledge, id.0, receiver)
        .owes(DutyKind::DutyAnswer, id.0, receiver, days::epoch_day(answer_by));
    let event = pb::ReferralAcknowledged { referral_id: id.into() };
    Ok(doing.by(CaseState::stream(referral.case), event))
}

/// Takes the referral up, as lead where it opened the case. Caller: the receiver.
///
/// A referral that nobody acknowledged is acknowledged with it.
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `STALE_ETAG`, `ALREADY_ACCEPTED`, `WRONG_STATE`,
/// `ON_HOLD`, `SUPPORTER_HAS_NOT_AGREED`; as lead also `NOT_THE_OPENING_REFERRAL`, `ALREADY_LEAD`, `HANDOFF_UNDER_WAY`,
/// `MAY_NOT_LEAD`.
pub fn accept(
    state: &CaseState,
    request: &pb::AcceptReferralRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let (mut checks, id) = checked(&request.referral_id);
    let first = fields::day(&mut checks, "first_contact_on", request.first_contact_on.as_ref());
    if let Some(day) = first {
        let from = given.occurred_on().saturating_sub(1.day());
        let to = given.today().saturating_add(FIRST_CONTACT_DAYS_MAX.days());
        checks.require(from <= day && day <= to, "first_contact_on", Violation::OUT_OF_RANGE);
    }
    let supporter = fields::optional_id(&mut checks, "supported_by_post_id", &request.supported_by_post_id);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    checks.done()?;

    let me = given.actor.post;
    let (id, referral) = find(state, id, request.context.as_ref(), given, |r| r.asked() == Some(me))?;
    match referral.stage {
        Stage::Submitted | Stage::Acknowledged => {}
        Stage::Accepted => return Err(Reason::AlreadyAccepted.into()),
        stage @ (Stage::OnHold | Stage::NeedsRouting | Stage::Closed) => {
            return Err(Refusal::State(stage.code()));
        }
    }
    crate::consent::require_not_held(state, id.0, me)?;
    let supporter = supporter.map(PostId);
    if supporter.is_some_and(|post| post != referral.sender && Some(post) != state.circle.lead) {
        return Err(Reason::SupporterHasNotAgreed.into());
    }
    let transferred = if request.as_lead { Some(taken_over(state, id, referral, given)?) } else { None };

    let mut events = Vec::new();
    if referral.stage == Stage::Submitted {
        events.push(acknowledged(id, referral, given)?);
    }
    let first_day = first.map_or(0, days::epoch_day);
    let mut doing = listed(referral.case, id, Stage::Accepted, [referral.sender, me])
        .parties([referral.sender, me].into_iter().chain(supporter))
        .ends(DutyKind::DutyAnswer, id.0, me)
        .owes(DutyKind::DutyFirstContact, id.0, me, first_day);
    if !receives_anyway(state, me) {
        doing = doing.joins(me, Relation::Receiver);
    }
    let event = pb::ReferralAccepted {
        referral_id: id.into(),
        as_lead: request.as_lead,
        first_contact_on: request.first_contact_on,
        supported_by_post_id: request.supported_by_post_id.clone(),
        note: request.note.clone(),
    };
    events.push(part(doing, state, id, referral).by(CaseState::stream(referral.case), event));
    events.extend(transferred);
    Ok(Decision { events, reply: (), item: Some((id.0, revision(me, Stage::Accepted))) })
}

/// The lead moves in the same append, from the intake post that holds a fresh case to the receiver.
fn taken_over(
    state: &CaseState,
    id: ReferralId,
    referral: &ReferralState,
    given: &Given<'_>,
) -> Result<Decided, Refusal> {
    if state.opened_by != Some(id) {
        return Err(Reason::NotTheOpeningReferral.into());
    }
    let me = referral.receiver;
    let lead = state.circle.lead.ok_or(Reason::WrongState)?;
    if lead == me {
        return Err(Reason::AlreadyLead.into());
    }
    if crate::handoff::under_way(state).is_some() {
        return Err(Reason::HandoffUnderWay.into());
    }
    // Once somebody else has taken the case over, only a hand-off in company moves it.
    if !wards(state).any(|ward| ward == lead) {
        return Err(Reason::WrongState.into());
    }
    given.directory.may_lead(me, &state.municipality_code)?;
    let event = ResponsibilityTransferred {
        case_id: referral.case.into(),
        from_post_id: lead.into(),
        to_post_id: me.into(),
        transfer_reason: TransferReason::AcceptedAsLead.into(),
        because_of_id: id.into(),
    };
    let doing = Doing::of(referral.case).parties([lead, me, referral.sender]).leads(me);
    Ok(doing.by(CaseState::stream(referral.case), event))
}

/// Says no, with a reason; another post is to be found. Caller: the receiver.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `STALE_ETAG`, `WRONG_STATE`, `UNKNOWN_POST`.
pub fn decline(
    state: &CaseState,
    request: &pb::DeclineReferralRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let (mut checks, id) = checked(&request.referral_id);
    fields::code(&mut checks, "decline_reason", &[Table::DeclineReason], &request.decline_reason);
    let next = fields::optional_id(&mut checks, "next_candidate_post_id", &request.next_candidate_post_id);
    let me = given.actor.post;
    checks.require(next != Some(me.0), "next_candidate_post_id", Violation::NOT_ALLOWED);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    checks.done()?;

    let (id, referral) = find(state, id, request.context.as_ref(), given, |r| r.asked() == Some(me))?;
    if matches!(referral.stage, Stage::NeedsRouting | Stage::Closed) {
        return Err(Refusal::State(referral.stage.code()));
    }
    if let Some(next) = next {
        let (_, agency) = given.directory.active_post(PostId(next))?;
        if agency.kind == crate::consent::FAMILY_KIND {
            return Err(Refusal::invalid("next_candidate_post_id", Violation::NOT_ALLOWED));
        }
    }
    let mut events = Vec::new();
    let mut owed = referral.clone();
    if referral.stage == Stage::Submitted {
        events.push(acknowledged(id, referral, given)?);
        owed.duties.remove(&(DutyKind::DutyAcknowledge, me));
        owed.duties.insert((DutyKind::DutyAnswer, me));
    }
    let sender = referral.sender;
    let reroute_by = days::due_of_any(given, sender, REROUTE_BUSINESS_DAYS);
    // The ward may reroute too, so it must learn of it even where no consent lets it read on.
    let parties = || [sender, me].into_iter().chain(wards(state));
    let doing = listed(referral.case, id, Stage::NeedsRouting, parties()).parties(parties());
    // What the sender has yet to supply, it owes to the next receiver as well.
    let doing = end_duties(doing, id, &owed, |kind| kind != DutyKind::DutySupply).owes(
        DutyKind::DutyReroute,
        id.0,
        sender,
        days::epoch_day(reroute_by),
    );
    let event = pb::ReferralDeclined {
        referral_id: id.into(),
        decline_reason: request.decline_reason.clone(),
        next_candidate_post_id: request.next_candidate_post_id.clone(),
        note: request.note.clone(),
    };
    events.push(part(doing, state, id, referral).by(CaseState::stream(referral.case), event));
    Ok(Decision { events, reply: (), item: Some((id.0, revision(me, Stage::NeedsRouting))) })
}
