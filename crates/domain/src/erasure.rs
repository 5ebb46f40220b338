//! Erasing a case: two people, a ground, and what stands against it.
//!
//! What is decided here closes the case: from the confirmation on nothing of it is served and nothing is appended. The
//! keys are destroyed by `tasuki erase`, which looks at this state first.

use std::collections::BTreeSet;

use tasuki_contract::Event;
use tasuki_contract::erasure::v1 as pb;
use uuid::Uuid;

use crate::case::CaseState;
use crate::days;
use crate::decision::{Decision, Given, Recorded, day_in_tokyo};
use crate::effects::Doing;
use crate::fields;
use crate::ids::{CaseId, HoldId, ProposalId};
use crate::refusal::{Checks, Reason, Refusal};
use crate::retention;

/// A proposal that was made last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Its id.
    pub id: ProposalId,
    /// On what ground.
    pub ground: pb::ErasureGround,
    /// Who proposed, as the event spells it.
    pub by: String,
}

/// What a case's stream says about keeping and erasing it.
#[derive(Clone, Debug, Default)]
pub struct ErasureState {
    /// The proposal that a second person may confirm, or has.
    pub proposal: Option<Proposal>,
    /// Legal holds that stand.
    pub holds: BTreeSet<HoldId>,
    /// Misdirected disclosures that are not settled; counted by the events about them, of which there are none yet.
    pub misdirections_open: u32,
    confirmed: bool,
    erased: bool,
    /// Numbers of the data classes that its content holds.
    classes: BTreeSet<i32>,
    /// Of the last event about the child, as days since 1970-01-01 in Asia/Tokyo. Until a case can be closed, retention
    /// counts from it.
    last_day: i32,
}

impl ErasureState {
    /// Whether two people have said so: nothing is served or appended any more.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// Whether the keys are destroyed.
    pub fn is_erased(&self) -> bool {
        self.erased
    }

    /// The first day on which everything that the case holds may be erased, as days since 1970-01-01.
    pub fn kept_until_day(&self) -> i32 {
        self.classes.iter().map(|class| retention::ends(*class, self.last_day)).max().unwrap_or(self.last_day)
    }

    /// Folds one event of the case's stream.
    pub(crate) fn evolve(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::ErasureProposed(e) => {
                let (id, by) = (ProposalId::trusted(&e.proposal_id), e.proposed_by_id.clone());
                self.proposal = Some(Proposal { id, ground: e.ground(), by });
            }
            Event::ErasureConfirmed(_) => self.confirmed = true,
            Event::CaseErased(_) => self.erased = true,
            Event::LegalHoldPlaced(e) => {
                self.holds.insert(HoldId::trusted(&e.hold_id));
            }
            Event::LegalHoldLifted(e) => {
                self.holds.remove(&HoldId::trusted(&e.hold_id));
            }
            _ => {
                let header = &recorded.header;
                self.classes.extend(header.classes.iter().copied().chain([header.data_class]));
                self.last_day = days::epoch_day(day_in_tokyo(recorded.recorded_at));
            }
        }
    }

    /// Why the case may not be erased on this ground today, a day counted from 1970-01-01.
    ///
    /// Errors: `LEGAL_HOLD`, `MISDIRECTION_OPEN`, `RETENTION_RUNS`.
    pub fn may_be_erased(&self, ground: pb::ErasureGround, today: i32) -> Result<(), Refusal> {
        if !self.holds.is_empty() {
            return Err(Reason::LegalHold.into());
        }
        if self.misdirections_open > 0 {
            return Err(Reason::MisdirectionOpen.into());
        }
        if ground == pb::ErasureGround::RetentionEnded && today < self.kept_until_day() {
            return Err(Reason::RetentionRuns.into());
        }
        Ok(())
    }
}

/// The case of a request, which exists and is open. Caller: operator.
fn open_case(
    state: &CaseState,
    case: Option<Uuid>,
    given: &Given<'_>,
    checks: Checks,
) -> Result<CaseId, Refusal> {
    if !given.actor.operator {
        return Err(Reason::OperatorOnly.into());
    }
    checks.done()?;
    if !state.exists() {
        return Err(Reason::NotFound.into());
    }
    if state.erasure.confirmed {
        return Err(Reason::CaseErased.into());
    }
    Ok(CaseId(case.unwrap_or_default()))
}

fn decision<R>(case: CaseId, event: impl Into<Event>, reply: R) -> Decision<R> {
    // In nobody's timeline: feeds stay as they are.
    let events = vec![Doing::outside_cases().by(CaseState::stream(case), event)];
    Decision { events, reply, item: None }
}

/// Proposes to erase a case. Caller: operator, of whom `by` is an opaque id.
///
/// Errors: malformed fields, `OPERATOR_ONLY`, `NOT_FOUND`, `CASE_ERASED`, `LEGAL_HOLD`, `MISDIRECTION_OPEN`,
/// `RETENTION_RUNS`.
pub fn propose(
    state: &CaseState,
    request: &pb::ProposeErasureRequest,
    by: &str,
    given: &mut Given<'_>,
) -> Result<Decision<ProposalId>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id);
    let ground = fields::chosen::<pb::ErasureGround>(&mut checks, "ground", request.ground);
    let case = open_case(state, case, given, checks)?;
    let ground = ground.unwrap_or_default();
    state.erasure.may_be_erased(ground, days::epoch_day(given.today()))?;
    let id = ProposalId(given.ids.fresh());
    let event = pb::ErasureProposed {
        case_id: case.into(),
        proposal_id: id.into(),
        ground: ground.into(),
        proposed_by_id: by.to_owned(),
    };
    Ok(decision(case, event, id))
}

/// Confirms the proposal that was made last. Caller: another operator than the one who made it.
///
/// Errors: as [`propose`], and `WRONG_STATE` without that proposal, `SECOND_PERSON_REQUIRED`.
pub fn confirm(
    state: &CaseState,
    request: &pb::ConfirmErasureRequest,
    by: &str,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id);
    let id = fields::id(&mut checks, "proposal_id", &request.proposal_id);
    let case = open_case(state, case, given, checks)?;
    let proposal = state.erasure.proposal.as_ref().filter(|proposal| Some(proposal.id.0) == id);
    let proposal = proposal.ok_or(Reason::WrongState)?;
    if proposal.by == by {
        return Err(Reason::SecondPersonRequired.into());
    }
    state.erasure.may_be_erased(proposal.ground, days::epoch_day(given.today()))?;
    let event = pb::ErasureConfirmed {
        case_id: case.into(),
        proposal_id: proposal.id.into(),
        confirmed_by_id: by.to_owned(),
    };
    Ok(decision(case, event, ()))
}

/// Keeps a case from being erased. Caller: operator.
///
/// Errors: malformed fields, `OPERATOR_ONLY`, `NOT_FOUND`, `CASE_ERASED`.
pub fn place_hold(
    state: &CaseState,
    request: &pb::PlaceLegalHoldRequest,
    given: &mut Given<'_>,
) -> Result<Decision<HoldId>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id);
    let case = open_case(state, case, given, checks)?;
    let id = HoldId(given.ids.fresh());
    Ok(decision(case, pb::LegalHoldPlaced { case_id: case.into(), hold_id: id.into() }, id))
}

/// Ends a hold. Caller: operator.
///
/// Errors: malformed fields, `OPERATOR_ONLY`, `NOT_FOUND`, `CASE_ERASED`, `WRONG_STATE` without that hold.
pub fn lift_hold(
    state: &CaseState,
    request: &pb::LiftLegalHoldRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id);
    let hold = fields::id(&mut checks, "hold_id", &request.hold_id);
    let case = open_case(state, case, given, checks)?;
    let hold = HoldId(hold.unwrap_or_default());
    if !state.erasure.holds.contains(&hold) {
        return Err(Reason::WrongState.into());
    }
    Ok(decision(case, pb::LegalHoldLifted { case_id: case.into(), hold_id: hold.into() }, ()))
}

#[cfg(test)]
#[path = "erasure_tests.rs"]
pub(crate) mod tests;
