//! Claims about who may erase what, and when.
#![allow(clippy::unwrap_used)]

use tasuki_contract::DataClass;
use tasuki_contract::cases::v1::CaseOpened;

use super::*;
use crate::decision::Kind;
use crate::testing::{COORDINATOR, World, fields, reason};

const CASE: CaseId = CaseId(Uuid::from_u128(0xca5e));

/// A case whose only event, of a class that is kept for five years, is of today.
fn world() -> World {
    let mut world = World::new();
    world.tell(Kind::Case, CASE.0, CaseOpened { case_id: CASE.into(), ..CaseOpened::default() });
    world
}

fn propose_as(world: &mut World, by: &str, ground: pb::ErasureGround) -> Result<ProposalId, Refusal> {
    let state = world.case(CASE);
    let request = pb::ProposeErasureRequest { case_id: CASE.into(), ground: ground.into(), context: None };
    world.run_operator(|given| propose(&state, &request, by, given)).map(|decision| decision.reply)
}

fn confirm_as(world: &mut World, by: &str, proposal: ProposalId) -> Result<(), Refusal> {
    let state = world.case(CASE);
    let request =
        pb::ConfirmErasureRequest { case_id: CASE.into(), proposal_id: proposal.into(), context: None };
    world.run_operator(|given| confirm(&state, &request, by, given)).map(|decision| decision.reply)
}

#[test]
fn two_people_erase_a_case_and_nothing_follows() {
    let mut world = world();
    let proposal = propose_as(&mut world, "one", pb::ErasureGround::CourtOrder).unwrap();
    assert!(!world.case(CASE).erasure.is_confirmed(), "one person alone changes nothing");
    assert_eq!(reason(confirm_as(&mut world, "one", proposal)), Reason::SecondPersonRequired);
    let other = ProposalId(Uuid::from_u128(1));
    assert_eq!(reason(confirm_as(&mut world, "two", other)), Reason::WrongState);
    confirm_as(&mut world, "two", proposal).unwrap();
    let state = world.case(CASE);
    assert!(state.erasure.is_confirmed() && !state.erasure.is_erased());
    assert_eq!(reason(confirm_as(&mut world, "two", proposal)), Reason::CaseErased);
    let again = propose_as(&mut world, "one", pb::ErasureGround::CourtOrder);
    assert_eq!(reason(again), Reason::CaseErased);
    // In nobody's timeline, so that no feed changes.
    assert!(world.stream(Kind::Case, CASE.0).skip(1).all(|r| r.header.case_ids.is_empty()));
}

#[test]
fn a_case_is_kept_until_the_last_of_its_classes_need_not_be() {
    let mut world = world();
    let ended = pb::ErasureGround::RetentionEnded;
    assert_eq!(reason(propose_as(&mut world, "one", ended)), Reason::RetentionRuns);
    let day = days::epoch_day(world.today());
    assert_eq!(world.case(CASE).erasure.kept_until_day(), retention::ends(DataClass::Lead as i32, day));
    world.pass_days(5 * 366);
    let proposal = propose_as(&mut world, "one", ended).unwrap();
    // Something happened between proposal and confirmation: it is kept for its own time.
    world.tell(Kind::Case, CASE.0, CaseOpened { case_id: CASE.into(), ..CaseOpened::default() });
    assert_eq!(reason(confirm_as(&mut world, "two", proposal)), Reason::RetentionRuns);
    world.pass_days(5 * 366);
    confirm_as(&mut world, "two", proposal).unwrap();
}

#[test]
fn a_legal_hold_and_an_open_misdirection_stand_against_every_ground() {
    for ground in
        [pb::ErasureGround::CourtOrder, pb::ErasureGround::OpenedInError, pb::ErasureGround::RetentionEnded]
    {
        let mut world = world();
        world.pass_days(5 * 366);
        let proposal = propose_as(&mut world, "one", ground).unwrap();
        let (state, request) =
            (world.case(CASE), pb::PlaceLegalHoldRequest { case_id: CASE.into(), context: None });
        let hold = world.run_operator(|given| place_hold(&state, &request, given)).unwrap().reply;
        assert_eq!(reason(confirm_as(&mut world, "two", proposal)), Reason::LegalHold);
        assert_eq!(reason(propose_as(&mut world, "one", ground)), Reason::LegalHold);
        let state = world.case(CASE);
        let mut lift = pb::LiftLegalHoldRequest { case_id: CASE.into(), ..Default::default() };
        lift.hold_id = Uuid::from_u128(1).to_string();
        let foreign = world.run_operator(|given| lift_hold(&state, &lift, given));
        assert_eq!(reason(foreign), Reason::WrongState);
        lift.hold_id = hold.into();
        world.run_operator(|given| lift_hold(&state, &lift, given)).unwrap();
        let state = ErasureState { misdirections_open: 1, ..world.case(CASE).erasure };
        assert_eq!(reason(state.may_be_erased(ground, i32::MAX)), Reason::MisdirectionOpen);
        confirm_as(&mut world, "two", proposal).unwrap();
    }
}

#[test]
fn only_an_operator_erases_only_what_there_is_and_says_why() {
    let mut world = world();
    let state = world.case(CASE);
    let request = pb::ProposeErasureRequest { case_id: CASE.into(), ground: 2, context: None };
    let by_post = world.run(COORDINATOR, |given| propose(&state, &request, "one", given));
    assert_eq!(reason(by_post), Reason::OperatorOnly);
    let unknown = CaseState::default();
    let missing = world.run_operator(|given| propose(&unknown, &request, "one", given));
    assert_eq!(reason(missing), Reason::NotFound);
    let empty = pb::ProposeErasureRequest::default();
    let malformed = world.run_operator(|given| propose(&unknown, &empty, "one", given));
    let malformed: Vec<String> = fields(malformed).into_iter().map(|(field, _)| field).collect();
    assert_eq!(malformed, ["case_id", "ground"]);
}

/// What a second erasure of a case is told.
pub(crate) fn twice() -> Reason {
    let mut world = world();
    let proposal = propose_as(&mut world, "one", pb::ErasureGround::CourtOrder).unwrap();
    confirm_as(&mut world, "two", proposal).unwrap();
    reason(confirm_as(&mut world, "two", proposal))
}

/// What an erasure before the end of retention is told.
pub(crate) fn too_early() -> Reason {
    reason(propose_as(&mut world(), "one", pb::ErasureGround::RetentionEnded))
}

/// What an erasure of a case under a hold is told.
pub(crate) fn held() -> Reason {
    let mut world = world();
    world.tell(Kind::Case, CASE.0, pb::LegalHoldPlaced { case_id: CASE.into(), hold_id: CASE.into() });
    reason(propose_as(&mut world, "one", pb::ErasureGround::CourtOrder))
}

/// What an erasure is told while a misdirected disclosure is not settled.
pub(crate) fn misdirected() -> Reason {
    let state = ErasureState { misdirections_open: 1, ..ErasureState::default() };
    reason(state.may_be_erased(pb::ErasureGround::CourtOrder, 0))
}

/// What one person alone is told.
pub(crate) fn alone() -> Reason {
    let mut world = world();
    let proposal = propose_as(&mut world, "one", pb::ErasureGround::CourtOrder).unwrap();
    reason(confirm_as(&mut world, "one", proposal))
}
