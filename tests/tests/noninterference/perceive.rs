//! What a viewer perceives of a history: the events that it is told of, filtered by audience and reduced, as they came to
//! be, and what it may read at all. Two histories that are equal here must be answered alike everywhere.
//!
//! This is the premise of the claim, computed from headers and policy alone; no service, view or database has a part in it.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use prost::Message as _;
use tasuki_contract::Lens as _;
use tasuki_contract::event::v1::{Header, Relation};
use tasuki_domain::case::CaseState;
use tasuki_domain::circle::Circle;
use tasuki_domain::decision::Kind;
use tasuki_domain::ids::CaseId;
use tasuki_domain::policy::InForce;
use tasuki_domain::purpose::Purpose;
use tasuki_privacy::{Access, EventAccess, UNTOLD, Viewer};

use crate::history::{Step, with_versions};

/// A digest of what the viewer perceives; equal for equal perceptions.
pub fn perceived(viewer: &Viewer, steps: &[Step], day: i32) -> u64 {
    // What stands in a feed is what could be read for some purpose.
    let ever = Viewer { purpose: Purpose::Any, ..viewer.clone() };
    let mut seen = Seen { viewer, ever: &ever, day, cases: BTreeMap::new(), headers: Vec::new() };
    // Before anything has happened it perceives what who is told of nothing always does.
    let (mut looks, mut told) = (vec![DefaultHasher::new().finish()], Vec::new());
    for (step, version) in with_versions(steps) {
        let recorded = step.recorded(version);
        if step.decided.stream.kind == Kind::Case {
            let case = CaseId(step.decided.stream.id);
            seen.cases.entry(case).or_default().evolve(case, &recorded);
        }
        seen.headers.push((recorded.header, step.at_us));
        let effects = &step.decided.effects;
        let moves = !(effects.circle.is_empty()
            && effects.grants.is_empty()
            && effects.leads.is_empty()
            && effects.items.is_empty());
        // Only what touches circles, grants and items can change what earlier events look like.
        if moves || told.is_empty() {
            told = seen.headers.iter().map(|(header, at_us)| seen.levels(header, *at_us)).collect();
        } else {
            told.extend(seen.headers.last().map(|(header, at_us)| seen.levels(header, *at_us)));
        }
        let mut hasher = DefaultHasher::new();
        seen.standing(&mut hasher);
        // Of an event that it is not told of it perceives not even a gap.
        told.iter().flatten().for_each(|levels| levels.hash(&mut hasher));
        looks.push(hasher.finish());
    }
    looks.dedup();
    let mut hasher = DefaultHasher::new();
    looks.hash(&mut hasher);
    for (step, (header, _)) in steps.iter().zip(&seen.headers) {
        seen.content(step, header, &mut hasher);
    }
    hasher.finish()
}

/// The day of recording in Asia/Tokyo.
fn day_of(at_us: i64) -> i32 {
    let at = jiff::Timestamp::from_microsecond(at_us).unwrap();
    tasuki_domain::days::epoch_day(tasuki_domain::decision::day_in_tokyo(at))
}

/// Whether the viewer is told of anything.
pub fn perceives_something(viewer: &Viewer, steps: &[Step], day: i32) -> bool {
    perceived(viewer, steps, day) != perceived(viewer, &[], day)
}

struct Seen<'a> {
    viewer: &'a Viewer,
    ever: &'a Viewer,
    day: i32,
    cases: BTreeMap<CaseId, CaseState>,
    headers: Vec<(Header, i64)>,
}

impl Seen<'_> {
    /// Where it stands: its relations, the grants that cover it, and, for who stands in the circle, who leads.
    fn standing(&self, hasher: &mut DefaultHasher) {
        for (case, state) in &self.cases {
            let access = Access::of_case(self.viewer, state, InForce::standard(), self.day);
            let grants = access.grants();
            if !access.in_circle() && grants.is_empty() {
                continue;
            }
            case.hash(hasher);
            format!("{:?}", state.circle.relations.get(&self.viewer.post)).hash(hasher);
            for grant in grants {
                format!("{grant} {:?}", state.circle.grants.get(&grant)).hash(hasher);
            }
            if access.in_circle() {
                state.circle.lead.hash(hasher);
            }
            // Who keeps the consents of the case, and the family, see all of them.
            let keeps = |r: &Relation| matches!(r, Relation::Lead | Relation::Ward | Relation::Family);
            if state.circle.relations.get(&self.viewer.post).is_some_and(|all| all.iter().any(keeps)) {
                format!("{:?}", state.consents).hash(hasher);
            }
        }
    }

    /// Event and level in each timeline in which it stands; empty where the viewer is not told.
    fn levels(&self, header: &Header, at_us: i64) -> Vec<(String, String, u8)> {
        let mut all = Vec::new();
        for viewer in [self.viewer, self.ever] {
            self.each(viewer, header, at_us, |case, access| {
                if access.is_told() {
                    all.push((header.event_id.clone(), case.to_owned(), access.level() as u8));
                }
            });
        }
        all
    }

    fn content(&self, step: &Step, header: &Header, hasher: &mut DefaultHasher) {
        self.each(self.viewer, header, step.at_us, |case, access| {
            if access.is_told() {
                let redacted = access.redact(step.decided.event.clone()).map(|e| e.encode_to_vec());
                let told = (case, &header.event_id, &header.r#type, &header.agency_id, &header.post_id);
                (told, step.at_us, redacted).hash(hasher);
            }
            // What is known about the child is shown by key, with its source, whether or not its event is told.
            for mut fact in step.decided.event.facts() {
                // A diagnosis that the family was not told is hidden by a flag that not everybody reads.
                if fact.key == UNTOLD {
                    (case, &header.agency_id, fact.encode_to_vec()).hash(hasher);
                }
                if access.fact(&mut fact) {
                    let source = (case, &header.agency_id, &header.post_id, step.at_us);
                    (source, fact.encode_to_vec()).hash(hasher);
                }
            }
        });
    }

    fn each(
        &self,
        viewer: &Viewer,
        header: &Header,
        at_us: i64,
        mut visit: impl FnMut(&str, &EventAccess<'_>),
    ) {
        if header.case_ids.is_empty() {
            let nobody = Circle::default();
            let access = Access::new(viewer, &nobody, InForce::standard(), self.day);
            visit("", &access.event_of(header));
        }
        for case in &header.case_ids {
            if let Some(state) = self.cases.get(&CaseId::trusted(case)) {
                let access = Access::of_case(viewer, state, InForce::standard(), self.day);
                let then = access.of_what_was_recorded_on(day_of(at_us));
                visit(case, &then.event_of(header));
            }
        }
    }
}
