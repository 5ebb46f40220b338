//! The end of a hand-off: both sides confirm and the lead moves in one event, or it is given up and nothing moves.

use std::collections::BTreeSet;

use tasuki_contract::cases::v1::{ResponsibilityTransferred, TransferReason};
use tasuki_contract::event::v1::{DutyKind, Relation};
use tasuki_contract::handoff::v1 as pb;

use super::{HandoffState, Stage, Step, actions_of};
use crate::case::CaseState;
use crate::decision::{Decided, Decision, Given};
use crate::ids::{ActionId, HandoffId};
use crate::refusal::{Checks, Reason, Refusal, Violation};
use crate::{days, fields};

/// Business days within which the second side confirms.
const CONFIRM_BUSINESS_DAYS: u16 = 5;
/// Ids of a list of adopted actions; who adopts all that are open names none.
const ADOPTED_MAX: usize = 500;

/// Confirms that the hand-off is complete; the second side's confirmation moves the lead. Caller: either side, once.
///
/// The incoming side adopts every open action of the outgoing post: by name, or all that are open, so that no number of
/// them keeps the lead where it is. Those that it does not see are adopted unnamed, in the event too. Actions that come up between the two
/// confirmations are adopted by a further confirmation of the incoming side, the only case of a repeated one.
///
/// The reply says whether the lead moved.
/// Errors: malformed fields, `NOT_FOUND`, `STALE_ETAG`, `NOT_YOUR_PART`, `WRONG_STATE`, `NO_FULL_JOINT_CONTACT`,
/// `ALREADY_CONFIRMED`, `OPEN_ACTIONS_NOT_ADOPTED`, and those of the directory when the incoming post may not lead.
pub fn complete(
    state: &CaseState,
    request: &pb::CompleteHandoffRequest,
    given: &mut Given<'_>,
) -> Result<Decision<bool>, Refusal> {
    let mut checks = Checks::default();
    let id = checks.take(HandoffId::parse("handoff_id", &request.handoff_id));
    let named = fields::ids(&mut checks, "adopted_action_ids", &request.adopted_action_ids, ADOPTED_MAX);
    let named: Vec<ActionId> = named.into_iter().map(|(_, id)| ActionId(id)).collect();
    let all = request.adopt_all_open_actions;
    checks.require(!all || named.is_empty(), "adopted_action_ids", Violation::NOT_ALLOWED);
    checks.done()?;
    let step = Step::find(state, id, request.context.as_ref(), given, HandoffState::is_side)?;
    let handoff = step.handoff;
    if handoff.stage != Stage::Accompanied || state.circle.lead != Some(handoff.outgoing) {
        return Err(Reason::WrongState.into());
    }
    step.goes_on(state)?;
    if handoff.full_contacts == 0 {
        return Err(Reason::NoFullJointContact.into());
    }
    // The rules may have changed since the proposal, and the lead must go to a post that may have it.
    given.directory.may_lead(handoff.incoming, &state.municipality_code)?;

    let me = given.actor.post;
    let other = handoff.other_side(me);
    let open = actions_of(state, handoff.outgoing);
    let first_time = !handoff.confirmed.contains(&me);
    let incoming_side = me == handoff.incoming;
    if !first_time && (!incoming_side || open.is_subset(&handoff.adopted)) {
        return Err(Reason::AlreadyConfirmed.into());
    }
    if incoming_side {
        allow_only(&named, &open)?;
    } else if !named.is_empty() {
        return Err(Refusal::invalid("adopted_action_ids", Violation::NOT_ALLOWED));
    } else if all {
        return Err(Refusal::invalid("adopt_all_open_actions", Violation::NOT_ALLOWED));
    }
    let transfers = handoff.confirmed.contains(&other);
    let adopted = |action: &ActionId| all || handoff.adopted.contains(action) || named.contains(action);
    if (incoming_side || transfers) && !open.iter().all(adopted) {
        return Err(Reason::OpenActionsNotAdopted.into());
    }

    let mut doing = step.doing(Stage::Accompanied);
    if transfers {
        doing = doing.ends(DutyKind::DutyHandoffConfirm, step.id.0, me);
    } else if first_time {
        let due = days::epoch_day(days::due_of_any(given, other, CONFIRM_BUSINESS_DAYS));
        doing = doing.owes(DutyKind::DutyHandoffConfirm, step.id.0, other, due);
    }
    let event = pb::HandoffCompletionConfirmed {
        handoff_id: step.id.into(),
        by_post_id: me.into(),
        adopted_action_ids: named.iter().map(|a| String::from(*a)).collect(),
        adopted_all_open_actions: all,
    };
    let mut decision = step.decide(transfers, doing, event);
    if transfers {
        decision.events.push(transferred(&step, state, &open));
        decision.item = Some((step.id.0, handoff.revision + 2));
    }
    Ok(decision)
}

/// The one event that moves the lead, and with it the duties of the open actions, each due when it was before.
fn transferred(step: &Step<'_>, state: &CaseState, open: &BTreeSet<ActionId>) -> Decided {
    let (outgoing, incoming) = (step.handoff.outgoing, step.handoff.incoming);
    // The outgoing post looks back during the follow-up, so it stays in the circle.
    let mut doing = step
        .doing(Stage::Completed)
        .leaves(incoming, Relation::Accompanying)
        .joins(outgoing, Relation::Receiver)
        .leads(incoming);
    for action in open {
        let due_day = state.open_actions.get(action).map_or(0, |a| a.due_day);
        doing = doing.ends(DutyKind::DutyAction, action.0, outgoing);
        doing = doing.owes(DutyKind::DutyAction, action.0, incoming, due_day);
    }
    let event = ResponsibilityTransferred {
        case_id: step.handoff.case.into(),
        from_post_id: outgoing.into(),
        to_post_id: incoming.into(),
        transfer_reason: TransferReason::Handoff.into(),
        because_of_id: step.id.into(),
    };
    doing.by(CaseState::stream(step.handoff.case), event)
}

/// Gives the hand-off up before it is complete; the outgoing post stays responsible. Caller: either side.
///
/// Errors: malformed fields, `NOT_FOUND`, `STALE_ETAG`, `NOT_YOUR_PART`, `WRONG_STATE`.
pub fn cancel(
    state: &CaseState,
    request: &pb::CancelHandoffRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let id = checks.take(HandoffId::parse("handoff_id", &request.handoff_id));
    fields::chosen::<pb::CancelReason>(&mut checks, "cancel_reason", request.cancel_reason);
    checks.done()?;
    let step = Step::find(state, id, request.context.as_ref(), given, HandoffState::is_side)?;
    let handoff = step.handoff;
    if !handoff.stage.is_open() {
        return Err(Reason::WrongState.into());
    }

    let mut doing = step.doing(Stage::Cancelled);
    if handoff.stage == Stage::Accompanied {
        doing = doing.leaves(handoff.incoming, Relation::Accompanying);
        if handoff.full_contacts == 0 {
            doing = doing.ends(DutyKind::DutyJointContact, step.id.0, handoff.outgoing);
        }
    } else {
        doing = step.release_asked(state, doing);
    }
    if handoff.stage == Stage::Offered {
        doing = doing.ends(DutyKind::DutyHandoffAnswer, step.id.0, handoff.incoming);
    }
    for side in &handoff.confirmed {
        doing = doing.ends(DutyKind::DutyHandoffConfirm, step.id.0, handoff.other_side(*side));
    }
    let event = pb::HandoffCancelled { handoff_id: step.id.into(), cancel_reason: request.cancel_reason };
    Ok(step.decide((), doing, event))
}

/// Refuses what is not an open action of the outgoing post, each by its path.
fn allow_only(named: &[ActionId], open: &BTreeSet<ActionId>) -> Result<(), Refusal> {
    let mut checks = Checks::default();
    for (i, action) in named.iter().enumerate() {
        checks.require(open.contains(action), format!("adopted_action_ids[{i}]"), Violation::NOT_ALLOWED);
    }
    checks.done()
}
