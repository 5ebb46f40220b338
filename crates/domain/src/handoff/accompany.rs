//! The middle of a hand-off: the incoming post answers, and both posts walk along with the family.

use jiff::ToSpan;
use tasuki_contract::event::v1::{DutyKind, Relation};
use tasuki_contract::handoff::v1 as pb;

use super::{HandoffState, Stage, Step};
use crate::case::CaseState;
use crate::codes::Table;
use crate::decision::{Decision, Given};
use crate::ids::HandoffId;
use crate::refusal::{Checks, Reason, Refusal, Violation};
use crate::{days, fields};

/// How far ahead a joint contact may be booked, in days.
const CONTACT_AHEAD_DAYS_MAX: i32 = 180;
/// How far ahead a review may be booked, in days.
const REVIEW_AHEAD_DAYS_MAX: i32 = 366;

/// Agrees in principle. Caller: the incoming post.
///
/// Errors: malformed fields, `NOT_FOUND`, `STALE_ETAG`, `NOT_YOUR_PART`, `ALREADY_ACCEPTED`, `WRONG_STATE`, and those
/// of the directory when the caller's post may no longer lead.
pub fn accept(
    state: &CaseState,
    request: &pb::AcceptHandoffRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let id = checks.take(HandoffId::parse("handoff_id", &request.handoff_id));
    checks.done()?;
    let step = Step::find(state, id, request.context.as_ref(), given, HandoffState::is_incoming)?;
    match step.handoff.stage {
        Stage::Offered => {}
        Stage::Agreed | Stage::Accompanied | Stage::Completed => return Err(Reason::AlreadyAccepted.into()),
        Stage::Proposed | Stage::Cancelled => return Err(Reason::WrongState.into()),
    }
    step.goes_on(state)?;
    given.directory.may_lead(step.handoff.incoming, &state.municipality_code)?;

    let doing = step.doing(Stage::Agreed);
    let doing = doing.ends(DutyKind::DutyHandoffAnswer, step.id.0, step.handoff.incoming);
    Ok(step.decide((), doing, pb::HandoffAccepted { handoff_id: step.id.into() }))
}

/// Says no; the hand-off may be offered again or given up. Caller: the incoming post.
///
/// It is asked no more: of what was offered it keeps its own answer only, until there is another offer.
/// Errors: malformed fields, `NOT_FOUND`, `STALE_ETAG`, `NOT_YOUR_PART`, `WRONG_STATE`.
pub fn decline(
    state: &CaseState,
    request: &pb::DeclineHandoffRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let id = checks.take(HandoffId::parse("handoff_id", &request.handoff_id));
    fields::code(&mut checks, "decline_reason", &[Table::DeclineReason], &request.decline_reason);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    checks.done()?;
    let step = Step::find(state, id, request.context.as_ref(), given, HandoffState::is_incoming)?;
    if step.handoff.stage != Stage::Offered {
        return Err(Reason::WrongState.into());
    }

    let doing = step.release_asked(state, step.doing(Stage::Proposed));
    let doing = doing.ends(DutyKind::DutyHandoffAnswer, step.id.0, step.handoff.incoming);
    let event = pb::HandoffDeclined {
        handoff_id: step.id.into(),
        decline_reason: request.decline_reason.clone(),
        note: request.note.clone(),
    };
    Ok(step.decide((), doing, event))
}

/// Begins to walk along, with the joint contact booked. Caller: either side.
///
/// The incoming post joins the circle here, no sooner: it agreed, and the consent was checked with the offer.
/// Errors: malformed fields, `NOT_FOUND`, `STALE_ETAG`, `NOT_YOUR_PART`, `WRONG_STATE`.
pub fn begin_accompaniment(
    state: &CaseState,
    request: &pb::BeginAccompanimentRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let id = checks.take(HandoffId::parse("handoff_id", &request.handoff_id));
    let contact = fields::day(&mut checks, "joint_contact_on", request.joint_contact_on.as_ref());
    let review = fields::day(&mut checks, "review_on", request.review_on.as_ref());
    let start = given.occurred_on();
    let last = |days: i32| start.checked_add(days.days()).unwrap_or(jiff::civil::Date::MAX);
    if let Some(contact) = contact {
        let within = start <= contact && contact <= last(CONTACT_AHEAD_DAYS_MAX);
        checks.require(within, "joint_contact_on", Violation::OUT_OF_RANGE);
    }
    if let Some(review) = review {
        let within = contact.is_none_or(|c| c <= review) && review <= last(REVIEW_AHEAD_DAYS_MAX);
        checks.require(within && start <= review, "review_on", Violation::OUT_OF_RANGE);
    }
    checks.done()?;
    let step = Step::find(state, id, request.context.as_ref(), given, HandoffState::is_side)?;
    if step.handoff.stage != Stage::Agreed {
        return Err(Reason::WrongState.into());
    }
    step.goes_on(state)?;

    let (outgoing, incoming) = (step.handoff.outgoing, step.handoff.incoming);
    let due = contact.map_or(0, days::epoch_day);
    let doing = step
        .release_asked(state, step.doing(Stage::Accompanied))
        .joins(incoming, Relation::Accompanying)
        .owes(DutyKind::DutyJointContact, step.id.0, outgoing, due);
    let event = pb::AccompanimentStarted {
        handoff_id: step.id.into(),
        joint_contact_on: request.joint_contact_on,
        review_on: request.review_on,
    };
    Ok(step.decide((), doing, event))
}

/// Records a contact with the family; one at which all three were present ends the duty to hold it.
///
/// Caller: either side.
/// Errors: malformed fields, `NOT_FOUND`, `STALE_ETAG`, `NOT_YOUR_PART`, `WRONG_STATE`.
pub fn record_joint_contact(
    state: &CaseState,
    request: &pb::RecordJointContactRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let id = checks.take(HandoffId::parse("handoff_id", &request.handoff_id));
    if let Some(held_on) = fields::day(&mut checks, "held_on", request.held_on.as_ref()) {
        checks.require(held_on <= given.today(), "held_on", Violation::OUT_OF_RANGE);
    }
    let full = request.family_present && request.outgoing_present && request.incoming_present;
    if full {
        checks.require(request.absence_reason.is_empty(), "absence_reason", Violation::NOT_ALLOWED);
    } else {
        fields::text(&mut checks, "absence_reason", &request.absence_reason, fields::TEXT_CHARS_MAX);
    }
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    checks.done()?;
    let step = Step::find(state, id, request.context.as_ref(), given, HandoffState::is_side)?;
    if step.handoff.stage != Stage::Accompanied {
        return Err(Reason::WrongState.into());
    }

    let mut doing = step.doing(Stage::Accompanied);
    if full && step.handoff.full_contacts == 0 {
        doing = doing.ends(DutyKind::DutyJointContact, step.id.0, step.handoff.outgoing);
    }
    let event = pb::JointContactRecorded {
        handoff_id: step.id.into(),
        held_on: request.held_on,
        family_present: request.family_present,
        outgoing_present: request.outgoing_present,
        incoming_present: request.incoming_present,
        absence_reason: request.absence_reason.clone(),
        note: request.note.clone(),
    };
    Ok(step.decide((), doing, event))
}
