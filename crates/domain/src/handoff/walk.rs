//! P2 in the pure model: whatever posts command in whatever order, the case has one responsible post that may be it.

#![allow(clippy::unwrap_used, missing_docs)]

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tasuki_contract::Event;
use tasuki_contract::common::v1::{CodeList, Fact, fact::Value};
use tasuki_contract::intake::v1 as intake;

use super::given::{CLASSES, Walk, assign, consent};
use super::{Stage, actions_of};
use crate::ids::{CaseId, PostId, ReferralId};
use crate::referral;
use crate::refusal::Refusal;
use crate::testing::{
    COORDINATOR, GUARDIAN, HEALTH, HOSPITAL, INTAKE, NURSERY, PLANNER, RETIRED, UNKNOWN, WARD, World, in_days,
};

const POSTS: [PostId; 9] =
    [INTAKE, COORDINATOR, PLANNER, HEALTH, HOSPITAL, NURSERY, GUARDIAN, RETIRED, UNKNOWN];

/// Who gives a command.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    /// A post whose part it is; where it is either side's, the outgoing one's if true.
    Right(bool),
    Anybody(usize),
}

#[derive(Clone, Debug)]
pub(crate) enum Command {
    Propose(usize),
    Offer,
    Accept,
    Decline,
    Begin,
    Contact(bool),
    /// Adopting every open action, or none.
    Complete(bool),
    Cancel,
    Assign,
    Refer(usize),
    AcceptReferral(bool),
    DeclineReferral,
    /// Closes a post that is not responsible for the case.
    Retire(usize),
}

/// What an accepted command tells: how many of its events move a lead.
type Outcome = Result<usize, Refusal>;

pub(crate) fn commands() -> impl Strategy<Value = Vec<(Who, Command)>> {
    let posts = 0..POSTS.len();
    let who = prop_oneof![
        6 => any::<bool>().prop_map(Who::Right),
        1 => posts.clone().prop_map(Who::Anybody),
    ];
    let command = prop_oneof![
        6 => (0..4_usize).prop_map(Command::Propose),
        1 => posts.clone().prop_map(Command::Propose),
        6 => Just(Command::Offer),
        6 => Just(Command::Accept),
        1 => Just(Command::Decline),
        6 => Just(Command::Begin),
        6 => (0..4).prop_map(|n| Command::Contact(n > 0)),
        16 => (0..4).prop_map(|n| Command::Complete(n > 0)),
        1 => Just(Command::Cancel),
        1 => Just(Command::Assign),
        1 => posts.prop_map(Command::Refer),
        1 => any::<bool>().prop_map(Command::AcceptReferral),
        1 => Just(Command::DeclineReferral),
        1 => (2..4_usize).prop_map(Command::Retire),
    ];
    prop::collection::vec((who, command), 1..240)
}

/// A case that the hospital's referral to the coordinator's desk opened.
fn opened() -> (Walk, ReferralId) {
    let mut world = World::new();
    let submitted = refer(&mut world, HOSPITAL, COORDINATOR, None).unwrap().1;
    consent(&mut world, submitted.case, &POSTS[..6], &CLASSES);
    (Walk { world, case: submitted.case, id: crate::ids::HandoffId(uuid::Uuid::nil()) }, submitted.referral)
}

fn refer(
    world: &mut World,
    from: PostId,
    to: PostId,
    case: Option<CaseId>,
) -> Result<(usize, referral::Submitted), Refusal> {
    let care = CodeList { codes: vec!["oxygen_therapy".to_owned()] };
    let request = intake::SubmitReferralRequest {
        case_id: case.map(String::from).unwrap_or_default(),
        to_post_id: to.into(),
        municipality_code: WARD.to_owned(),
        referral_purpose: "other".to_owned(),
        expected_discharge_on: in_days(world, 60),
        sender_telephone: "000-0000-0000".to_owned(),
        facts: vec![Fact {
            key: "care_procedures".to_owned(),
            value: Some(Value::Codes(care)),
            ..Fact::default()
        }],
        birth_unregistered: true,
        label: "kita_A".to_owned(),
        consent_at_source: Some(intake::ConsentAtSource { anonymous: true, ..Default::default() }),
        ..Default::default()
    };
    let state = case.map(|case| world.case(case)).unwrap_or_default();
    let decision = world.run(from, |given| referral::submit(&state, &request, given))?;
    Ok((moves(&decision.events), decision.reply))
}

fn moves(events: &[crate::decision::Decided]) -> usize {
    for decided in events.iter().filter(|d| !d.effects.leads.is_empty()) {
        assert_eq!(decided.effects.leads.len(), 1);
        assert!(matches!(decided.event, Event::ResponsibilityTransferred(_) | Event::CaseOpened(_)));
    }
    events.iter().filter(|d| !d.effects.leads.is_empty()).count()
}

fn give(walk: &mut Walk, opening: ReferralId, who: Who, command: &Command, number: u128) -> Outcome {
    let state = walk.state();
    let handoff = state.handoffs.get(&walk.id);
    let lead = state.circle.lead.unwrap();
    let sides = handoff.map_or((lead, COORDINATOR), |h| (h.outgoing, h.incoming));
    let by = match (who, command) {
        (Who::Anybody(post), _) => POSTS[post],
        (Who::Right(_), Command::Propose(_)) => lead,
        (Who::Right(_), Command::Offer) => sides.0,
        (Who::Right(_), Command::Accept | Command::Decline) => sides.1,
        (Who::Right(outgoing), _) => {
            if outgoing {
                sides.0
            } else {
                sides.1
            }
        }
    };
    let count = |events: &[crate::decision::Decided]| moves(events);
    match command {
        Command::Propose(to) => walk.propose(by, POSTS[*to]).map(|d| count(&d.events)),
        Command::Offer => walk.offer(by).map(|d| count(&d.events)),
        Command::Accept => walk.accept(by).map(|d| count(&d.events)),
        Command::Decline => walk.decline(by).map(|d| count(&d.events)),
        Command::Begin => walk.begin(by).map(|d| count(&d.events)),
        Command::Contact(full) => walk.contact(by, *full).map(|d| count(&d.events)),
        Command::Complete(adopts) => {
            let incoming = handoff.filter(|h| *adopts && h.incoming == by);
            if incoming.is_some() && number.is_multiple_of(2) {
                return walk.complete_with_all(by).map(|d| count(&d.events));
            }
            let all = incoming.map(|h| actions_of(&state, h.outgoing)).unwrap_or_default();
            walk.complete(by, &all.into_iter().collect::<Vec<_>>()).map(|d| count(&d.events))
        }
        Command::Cancel => walk.cancel(by).map(|d| count(&d.events)),
        Command::Assign => {
            assign(&mut walk.world, walk.case, number, lead);
            Ok(0)
        }
        Command::Retire(post) => {
            if POSTS[*post] != lead {
                walk.world.retire(POSTS[*post]);
            }
            Ok(0)
        }
        Command::Refer(to) => refer(&mut walk.world, by, POSTS[*to], Some(walk.case)).map(|(n, _)| n),
        Command::AcceptReferral(as_lead) => {
            let request = intake::AcceptReferralRequest {
                referral_id: opening.into(),
                as_lead: *as_lead,
                first_contact_on: in_days(&walk.world, 3),
                ..Default::default()
            };
            let receiver = state.referrals[&opening].receiver;
            let accepted = walk.world.run(receiver, |given| referral::accept(&state, &request, given));
            accepted.map(|d| count(&d.events))
        }
        Command::DeclineReferral => {
            let open = state.referrals.iter().rev().find(|(_, r)| r.receiver == by);
            let request = intake::DeclineReferralRequest {
                referral_id: open.map(|(id, _)| String::from(*id)).unwrap_or_default(),
                decline_reason: "caseload_full".to_owned(),
                ..Default::default()
            };
            let declined = walk.world.run(by, |given| referral::decline(&state, &request, given));
            declined.map(|d| count(&d.events))
        }
    }
}

/// Walks the commands, checking after each; how often a hand-off and an acceptance as lead moved the lead.
fn take(commands: &[(Who, Command)]) -> (usize, usize) {
    take_watched(commands, |_| {})
}

/// … showing the world after each.
pub(crate) fn take_watched(commands: &[(Who, Command)], mut watch: impl FnMut(&World)) -> (usize, usize) {
    let (mut walk, opening) = opened();
    let (mut handed_over, mut taken_over) = (0, 0);
    for (number, (who, command)) in commands.iter().enumerate() {
        let (before, length) = (walk.state(), walk.world.log.len());
        let outcome = give(&mut walk, opening, *who, command, number as u128);
        let after = walk.state();
        walk.world.assert_nobody_is_dropped();
        watch(&walk.world);
        match outcome {
            Ok(moved) => {
                let changed = before.circle.lead != after.circle.lead;
                assert_eq!(moved, usize::from(changed), "each change of lead is exactly one event");
                match command {
                    Command::Complete(_) => {
                        let left = actions_of(&after, before.circle.lead.unwrap());
                        assert!(moved == 0 || left.is_empty(), "{left:?} stay with the outgoing post");
                        handed_over += moved;
                    }
                    Command::AcceptReferral(_) => taken_over += moved,
                    _ => assert_eq!(moved, 0, "{command:?} moved the lead"),
                }
            }
            Err(_) => assert_eq!(walk.world.log.len(), length, "a refusal appended something"),
        }
        assert!(after.handoffs.values().filter(|h| h.stage.is_open()).count() <= 1);
        for handoff in after.handoffs.values().filter(|h| h.stage == Stage::Completed) {
            assert!(handoff.full_contacts > 0 && handoff.confirmed.len() == 2);
        }
    }
    // No duty ends that had not begun, none begins twice; what is over is owed by nobody.
    let duties = walk.duties();
    if super::under_way(&walk.state()).is_none() {
        assert!(duties.iter().all(|(kind, ..)| !kind.as_str_name().contains("HANDOFF")));
    }
    (handed_over, taken_over)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nobody_is_dropped_whatever_is_commanded(commands in commands()) {
        take(&commands);
    }
}

/// Without this the property above could hold because every walk ends at its first refusal.
#[test]
fn random_walks_reach_hand_overs_and_acceptances_as_lead() {
    let mut runner = TestRunner::deterministic();
    let (mut handed_over, mut taken_over) = (0, 0);
    for _ in 0..80 {
        let walk = commands().new_tree(&mut runner).unwrap().current();
        let (by_handoff, as_lead) = take(&walk);
        handed_over += by_handoff;
        taken_over += as_lead;
    }
    assert!(
        handed_over >= 5 && taken_over >= 5,
        "{handed_over} hand-overs, {taken_over} acceptances as lead"
    );
}
