//! What tests of hand-offs and meetings start from: an open case, a consent, open actions, and short commands.
//!
//! The case is written to the log directly, so that these tests stand when the ways to open one change.

#![allow(clippy::unwrap_used, missing_docs)]

use tasuki_contract::DataClass;
use tasuki_contract::cases::v1::CaseOpened;
use tasuki_contract::event::v1::{DutyKind, Relation};
use tasuki_contract::handoff::v1 as pb;
use tasuki_contract::minutes::v1::ActionAssigned;
use uuid::Uuid;

use super::HandoffState;
use crate::case::CaseState;
use crate::decision::{Decided, Decision};
use crate::effects::Doing;
use crate::ids::{ActionId, CaseId, GrantId, HandoffId, PostId};
use crate::refusal::Refusal;
use crate::testing::{COORDINATOR, HOSPITAL, INTAKE, WARD, World, in_days};

/// What a hand-off needs, and the class of minutes.
pub(crate) const CLASSES: [DataClass; 5] =
    [DataClass::Handoff, DataClass::Lead, DataClass::Identity, DataClass::CareProcedure, DataClass::Minutes];

/// When every action of these tests is due.
pub(crate) const ACTION_DAY: i32 = 20_000;

/// Writes an event to the log as it is.
pub(crate) fn write(world: &mut World, post: PostId, decided: Decided) {
    let decision = Decision { events: vec![decided], reply: (), item: None };
    world.run(post, |_| Ok(decision)).unwrap();
}

/// A case led by the ward's intake post, opened for the hospital, without any consent.
pub(crate) fn open_case(world: &mut World, number: u128) -> CaseId {
    let case = CaseId(Uuid::from_u128(0xca5e_0000 + number));
    let doing = Doing::of(case)
        .parties([INTAKE, HOSPITAL])
        .joins(INTAKE, Relation::Ward)
        .joins(HOSPITAL, Relation::Sender)
        .leads(INTAKE);
    let opened = CaseOpened {
        case_id: case.into(),
        municipality_code: WARD.to_owned(),
        lead_post_id: INTAKE.into(),
        label: "kita_A".to_owned(),
        facts: Vec::new(),
    };
    write(world, INTAKE, doing.by(CaseState::stream(case), opened));
    case
}

/// The family allows the posts to read the classes.
pub(crate) fn consent(world: &mut World, case: CaseId, posts: &[PostId], classes: &[DataClass]) {
    let doing = Doing::of(case).grants(GrantId(Uuid::from_u128(0x9a47)), posts, classes, []);
    let signed =
        tasuki_contract::consent::v1::ConsentActivated { case_id: case.into(), ..Default::default() };
    write(world, INTAKE, doing.by(CaseState::stream(case), signed));
}

/// The minutes of some meeting name an action.
pub(crate) fn assign(world: &mut World, case: CaseId, number: u128, owner: PostId) -> ActionId {
    let action = ActionId(Uuid::from_u128(0xac70_0000 + number));
    let doing = Doing::of(case).parties([owner]).owes(DutyKind::DutyAction, action.0, owner, ACTION_DAY);
    let assigned = ActionAssigned {
        action_id: action.into(),
        case_id: case.into(),
        owner_post_id: owner.into(),
        ..Default::default()
    };
    write(world, INTAKE, doing.by(CaseState::stream(case), assigned));
    action
}

/// A case with its hand-off, and every command on it with good arguments.
pub(crate) struct Walk {
    pub(crate) world: World,
    pub(crate) case: CaseId,
    pub(crate) id: HandoffId,
}

impl Walk {
    /// The ward leads, the family allows the coordinator's desk to read what it needs.
    pub(crate) fn new() -> Self {
        let mut world = World::new();
        let case = open_case(&mut world, 1);
        consent(&mut world, case, &[COORDINATOR], &CLASSES);
        Self { world, case, id: HandoffId(Uuid::nil()) }
    }

    /// … and the hand-off to it is proposed.
    pub(crate) fn proposed() -> Self {
        let mut walk = Self::new();
        walk.propose(INTAKE, COORDINATOR).unwrap();
        walk
    }

    /// … offered, accepted, and both walk along.
    pub(crate) fn accompanied() -> Self {
        let mut walk = Self::proposed();
        walk.offer(INTAKE).unwrap();
        walk.accept(COORDINATOR).unwrap();
        walk.begin(COORDINATOR).unwrap();
        walk
    }

    pub(crate) fn state(&self) -> CaseState {
        self.world.case(self.case)
    }

    pub(crate) fn handoff(&self) -> HandoffState {
        self.state().handoffs[&self.id].clone()
    }

    pub(crate) fn propose(&mut self, by: PostId, to: PostId) -> Result<Decision<HandoffId>, Refusal> {
        let state = self.state();
        let request = pb::ProposeHandoffRequest {
            case_id: self.case.into(),
            kind: pb::HandoffKind::Discharge.into(),
            incoming_post_id: to.into(),
            reason_text: "退院".to_owned(),
            ..Default::default()
        };
        let decision = self.world.run(by, |given| super::propose(&state, &request, given))?;
        self.id = decision.reply;
        Ok(decision)
    }

    pub(crate) fn offer(&mut self, by: PostId) -> Result<Decision<Vec<ActionId>>, Refusal> {
        let state = self.state();
        let request = pb::OfferHandoffRequest {
            handoff_id: self.id.into(),
            summary: "ここまでの経過".to_owned(),
            do_not_ask_again_keys: vec!["allergies".to_owned()],
            ..Default::default()
        };
        self.world.run(by, |given| super::offer(&state, &request, given))
    }

    pub(crate) fn accept(&mut self, by: PostId) -> Result<Decision<()>, Refusal> {
        let state = self.state();
        let request = pb::AcceptHandoffRequest { handoff_id: self.id.into(), ..Default::default() };
        self.world.run(by, |given| super::accept(&state, &request, given))
    }

    pub(crate) fn decline(&mut self, by: PostId) -> Result<Decision<()>, Refusal> {
        let state = self.state();
        let request = pb::DeclineHandoffRequest {
            handoff_id: self.id.into(),
            decline_reason: "caseload_full".to_owned(),
            ..Default::default()
        };
        self.world.run(by, |given| super::decline(&state, &request, given))
    }

    pub(crate) fn begin(&mut self, by: PostId) -> Result<Decision<()>, Refusal> {
        let state = self.state();
        let request = pb::BeginAccompanimentRequest {
            handoff_id: self.id.into(),
            joint_contact_on: in_days(&self.world, 7),
            review_on: in_days(&self.world, 90),
            ..Default::default()
        };
        self.world.run(by, |given| super::begin_accompaniment(&state, &request, given))
    }

    pub(crate) fn contact(&mut self, by: PostId, full: bool) -> Result<Decision<()>, Refusal> {
        let state = self.state();
        let request = pb::RecordJointContactRequest {
            handoff_id: self.id.into(),
            held_on: in_days(&self.world, 0),
            family_present: true,
            outgoing_present: true,
            incoming_present: full,
            absence_reason: if full { String::new() } else { "都合がつかず".to_owned() },
            ..Default::default()
        };
        self.world.run(by, |given| super::record_joint_contact(&state, &request, given))
    }

    pub(crate) fn complete(&mut self, by: PostId, adopts: &[ActionId]) -> Result<Decision<bool>, Refusal> {
        let state = self.state();
        let request = pb::CompleteHandoffRequest {
            handoff_id: self.id.into(),
            adopted_action_ids: adopts.iter().map(|a| String::from(*a)).collect(),
            ..Default::default()
        };
        self.world.run(by, |given| super::complete(&state, &request, given))
    }

    pub(crate) fn complete_with_all(&mut self, by: PostId) -> Result<Decision<bool>, Refusal> {
        let state = self.state();
        let request = pb::CompleteHandoffRequest {
            handoff_id: self.id.into(),
            adopt_all_open_actions: true,
            ..Default::default()
        };
        self.world.run(by, |given| super::complete(&state, &request, given))
    }

    pub(crate) fn cancel(&mut self, by: PostId) -> Result<Decision<()>, Refusal> {
        let state = self.state();
        let request = pb::CancelHandoffRequest {
            handoff_id: self.id.into(),
            cancel_reason: pb::CancelReason::FamilyWish.into(),
            ..Default::default()
        };
        self.world.run(by, |given| super::cancel(&state, &request, given))
    }

    /// Duties of the case that are open, folded from headers as the view does it: kind, owner, due day.
    pub(crate) fn duties(&self) -> Vec<(DutyKind, PostId, i32)> {
        let mut open = std::collections::BTreeMap::new();
        for change in self.world.log.iter().flat_map(|r| &r.header.effects.as_ref().unwrap().duties) {
            if change.ends {
                assert!(open.remove(&change.duty_id).is_some(), "a duty ends that had not begun: {change:?}");
            } else {
                let duty = (change.kind(), PostId::trusted(&change.owner_post_id), change.due_day);
                let before = open.insert(change.duty_id.clone(), duty);
                assert_eq!(before, None, "a duty begins twice: {change:?}");
            }
        }
        open.into_values().collect()
    }
}
