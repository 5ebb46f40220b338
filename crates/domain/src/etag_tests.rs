//! P4 of etags: what a party is told of a thing's version follows from the events about it that this party sees.
//!
//! Random walks of every context run side by side. Whenever a party has seen the same steps of two things, their
//! etags must follow from the same revision, whatever was hidden from it on the way.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use tasuki_contract::event::v1::Relation;
use uuid::Uuid;

use crate::handoff::walk as handoffs;
use crate::ids::PostId;
use crate::meeting::tests as meetings;
use crate::referral::Stage;
use crate::referral::walk_tests as referrals;
use crate::testing::World;

/// One step as a party sees it: type, acting post, state, and the posts that list the thing.
type Step = (String, String, String, Vec<String>);

/// What parties saw, with the revision that they were given and how much was hidden from them.
#[derive(Default)]
struct Sights(BTreeMap<(PostId, Vec<Step>), (u64, BTreeSet<usize>)>);

impl Sights {
    /// The etag that the post would get of the thing now.
    fn note(&mut self, world: &World, thing: Uuid, post: PostId, revision: u64) {
        let (thing, party) = (thing.to_string(), post.to_string());
        let (mut seen, mut hidden) = (Vec::new(), 0);
        for recorded in &world.log {
            let header = &recorded.header;
            let effects = header.effects.as_ref().unwrap();
            let Some(item) = effects.items.iter().find(|item| item.item_id == thing) else { continue };
            if effects.party_post_ids.contains(&party) {
                let posts = item.post_ids.clone();
                seen.push((header.r#type.clone(), header.post_id.clone(), item.state.clone(), posts));
            } else {
                hidden += 1;
            }
        }
        assert!(!seen.is_empty(), "{post} is a party of {thing} and has seen nothing of it");
        let (told, histories) = self.0.entry((post, seen)).or_insert((revision, BTreeSet::new()));
        assert_eq!(*told, revision, "{post} can tell histories of {thing} apart by its etag");
        histories.insert(hidden);
    }

    fn note_cases(&mut self, world: &World) {
        for case in world.cases().values() {
            for (id, referral) in &case.referrals {
                referral.parties().for_each(|post| self.note(world, id.0, post, referral.revision));
                if referral.stage == Stage::NeedsRouting {
                    let relations = case.circle.relations.iter();
                    let wards = relations.filter(|(_, all)| all.contains(&Relation::Ward));
                    wards.for_each(|(post, _)| self.note(world, id.0, *post, referral.revision));
                }
            }
            for (id, handoff) in &case.handoffs {
                handoff.parties().into_iter().for_each(|post| self.note(world, id.0, post, handoff.revision));
            }
        }
    }

    fn walk_referrals(&mut self, steps: &[referrals::Step]) {
        let mut walk = referrals::Walk::new();
        for step in steps {
            if walk.take(step) {
                self.note_cases(&walk.world);
            }
        }
    }

    fn walk_meeting(&mut self, commands: &[(usize, usize)]) {
        let mut table = meetings::Table::scheduled();
        for command in commands {
            table.take(*command);
            let meeting = table.meeting();
            for post in meeting.parties() {
                self.note(&table.world, table.id.0, post, meeting.revision);
            }
        }
    }

    /// How many parties saw the same of things with different histories.
    fn blind(&self) -> usize {
        self.0.values().filter(|(_, histories)| histories.len() > 1).count()
    }
}

fn walks() -> impl Strategy<Value = Vec<Vec<referrals::Step>>> {
    prop::collection::vec(prop::collection::vec(referrals::step(), 1..40), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_etag_depends_on_nothing_that_one_of_its_parties_does_not_see(
        referrals in walks(),
        handoffs in handoffs::commands(),
        meetings in prop::collection::vec(meetings::commands(), 1..4),
    ) {
        let mut sights = Sights::default();
        referrals.iter().for_each(|steps| sights.walk_referrals(steps));
        handoffs::take_watched(&handoffs, |world| sights.note_cases(world));
        meetings.iter().for_each(|commands| sights.walk_meeting(commands));
    }
}

/// Without this the property above could hold because nothing is ever hidden from a party.
#[test]
fn walks_hide_different_histories_behind_what_a_party_sees() {
    let mut runner = TestRunner::deterministic();
    let mut sights = Sights::default();
    for _ in 0..40 {
        let all = walks().new_tree(&mut runner).unwrap().current();
        all.iter().for_each(|steps| sights.walk_referrals(steps));
    }
    assert!(sights.blind() >= 3, "{} parties", sights.blind());
}
