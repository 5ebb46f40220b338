//! The fold: one event after the other, in the order of the log, into what changes in the views. Pure.
//!
//! Live and rebuild run this same code on the same entries, so they cannot differ but by what was loaded. For each
//! case of an event: first its effects on the circle; then earlier events to posts that see them only now, marked as
//! history; then the event itself to everyone who sees it, and to its parties.

use std::collections::HashMap;

use tasuki_domain::circle::changes_disclosure;
use tasuki_domain::ids::{CaseId, GrantId, PostId};
use tasuki_domain::policy::InForce;
use tasuki_privacy::{Level, event_level};

use crate::case::{Case, CaseEvent, Checked};
use crate::changes::Changes;
use crate::entry::Entry;
use crate::feed::FeedEnd;
use crate::posts::Posts;
use crate::{caseload, duties, feed, state};

/// The state of the fold, as far as it is in memory, and the changes since they were last taken.
#[derive(Debug, Default)]
pub(crate) struct Fold {
    pub posts: Posts,
    pub cases: HashMap<CaseId, Case>,
    /// The end of each feed.
    pub heads: HashMap<PostId, FeedEnd>,
    pub changes: Changes,
}

impl Fold {
    /// Folds one event. Every case it concerns and every feed it can reach must have been loaded; what is not there
    /// counts as new.
    pub(crate) fn apply(&mut self, entry: &Entry) {
        if let Some(news) = &entry.directory {
            self.posts.apply(entry.position, news, &mut self.changes.posts);
        }
        for duty in &entry.effects.duties {
            duties::apply(&mut self.changes.duties, duty);
        }
        for item in &entry.effects.items {
            self.changes.items.apply(entry.position, item);
        }
        if entry.cases.is_empty() {
            self.tell_parties(entry);
        }
        let discloses = changes_disclosure(&entry.effects);
        let concerned = if discloses { entry.concerned() } else { entry.cases.clone() };
        for case in concerned {
            self.apply_to_case(case, entry, discloses);
        }
    }

    fn apply_to_case(&mut self, id: CaseId, entry: &Entry, discloses: bool) {
        let Self { posts, cases, heads, changes } = self;
        let case = cases.entry(id).or_default();
        let day = entry.day();
        let mut give = |post: PostId, event: &CaseEvent, history: bool| {
            let head = heads.entry(post).or_default();
            head.link(post, &event.commitment);
            changes.feed.push(feed::NewRow {
                post,
                number: head.number,
                case: Some(id),
                event_id: event.event_id,
                position: event.position,
                history,
                chain: head.chain,
            });
            changes.feed_times_us.push(entry.recorded_at_us);
        };
        let lead_before = case.circle.lead;
        let opened = entry.opened.as_ref().filter(|(opened, _)| *opened == id);
        if let Some((_, municipality)) = opened {
            case.municipality.clone_from(municipality);
        }
        // Where the case is decides which policy holds: that is stored, whatever else the event does.
        let discloses = discloses || opened.is_some();
        if discloses {
            case.circle.apply(id, &entry.effects);
        }
        if discloses || case.is_outdated(day, posts) {
            let changed = case.look_again(Checked { day, position: entry.position }, posts, |post, event| {
                give(post, event, true)
            });
            changes.cases.entry(id).or_default().sights.extend(changed);
        }
        if let Some(class) = entry.class.filter(|_| entry.cases.contains(&id)) {
            let parties = entry.parties();
            let event = CaseEvent {
                position: entry.position,
                event_id: entry.event_id,
                commitment: entry.commitment,
                class,
                parties: parties.into_boxed_slice(),
            };
            for post in case.readers(class) {
                give(post, &event, false);
            }
            for post in &event.parties {
                let reads = case.sights.get(post).is_some_and(|sight| sight.open >> class as u32 & 1 == 1);
                let rules = || posts.rules(&case.municipality, *post);
                let level = || event_level(&posts.viewer(*post), &case.circle, rules(), day, class, true);
                if !reads && level() > Level::None {
                    give(*post, &event, false);
                }
            }
            let number = case.events.len() as u32 + 1;
            changes.case_events.push(state::NewEvent { case: id, number, event: event.clone() });
            case.events.push(event);
        }
        if discloses {
            self.note_disclosure(id, entry, lead_before);
        }
    }

    /// What belongs to no case is for its parties alone.
    fn tell_parties(&mut self, entry: &Entry) {
        let Some(class) = entry.class else { return };
        let nobody = tasuki_domain::circle::Circle::default();
        for post in entry.parties() {
            // An own part, which no policy narrows.
            let rules = InForce::standard();
            if event_level(&self.posts.viewer(post), &nobody, rules, entry.day(), class, true) == Level::None
            {
                continue;
            }
            let head = self.heads.entry(post).or_default();
            head.link(post, &entry.commitment);
            self.changes.feed.push(feed::NewRow {
                post,
                number: head.number,
                case: None,
                event_id: entry.event_id,
                position: entry.position,
                history: false,
                chain: head.chain,
            });
            self.changes.feed_times_us.push(entry.recorded_at_us);
        }
    }

    fn note_disclosure(&mut self, id: CaseId, entry: &Entry, lead_before: Option<PostId>) {
        let here = |case: &String| CaseId::trusted(case) == id;
        let touched = self.changes.cases.entry(id).or_default();
        let effects = &entry.effects;
        let circle = effects.circle.iter().filter(|c| here(&c.case_id)).map(|c| &c.post_id);
        touched.relations.extend(circle.map(|post| PostId::trusted(post)));
        let grants = effects.grants.iter().filter(|c| here(&c.case_id)).map(|c| &c.grant_id);
        touched.grants.extend(grants.map(|grant| GrantId::trusted(grant)));
        let leads: Vec<PostId> =
            effects.leads.iter().filter(|c| here(&c.case_id)).map(|c| PostId::trusted(&c.post_id)).collect();
        if !leads.is_empty() {
            // A new lead takes the relation from the old one, which the event need not name.
            touched.relations.extend(leads.into_iter().chain(lead_before));
        }
    }

    /// The rows of everything overwritten since the changes were last taken.
    pub(crate) fn touched_rows(&self, changes: &Changes) -> CaseRows {
        let mut rows = CaseRows::default();
        for (id, touched) in &changes.cases {
            let Some(case) = self.cases.get(id) else { continue };
            rows.case(*id, case);
            for post in &touched.relations {
                rows.relations(*id, case, *post);
            }
            for post in &touched.sights {
                rows.sight(*id, case, *post);
            }
            for grant in &touched.grants {
                rows.grant(*id, case, *grant);
            }
        }
        rows
    }

    /// The rows of all cases, as a rebuild writes them.
    pub(crate) fn all_rows(&self) -> CaseRows {
        let mut rows = CaseRows::default();
        for (id, case) in &self.cases {
            rows.case(*id, case);
            for post in case.circle.relations.keys() {
                rows.relations(*id, case, *post);
            }
            for post in case.sights.keys() {
                rows.sight(*id, case, *post);
            }
            for grant in case.circle.grants.keys() {
                rows.grant(*id, case, *grant);
            }
        }
        rows
    }
}

/// Rows of the tables that hold the state of cases.
#[derive(Debug, Default)]
pub(crate) struct CaseRows {
    pub caseload: Vec<caseload::NewRow>,
    pub cases: Vec<caseload::NewCase>,
    pub sights: Vec<state::NewSight>,
    pub grants: Vec<state::NewGrant>,
}

impl CaseRows {
    fn case(&mut self, id: CaseId, case: &Case) {
        if let Some(checked) = case.checked {
            let (lead, municipality) = (case.circle.lead, case.municipality.clone());
            self.cases.push(caseload::NewCase { case: id, lead, municipality, checked });
        }
    }

    fn relations(&mut self, id: CaseId, case: &Case, post: PostId) {
        let relations = case.circle.relations.get(&post).map_or(0, caseload::bits);
        self.caseload.push(caseload::NewRow { post, case: id, relations });
    }

    fn sight(&mut self, id: CaseId, case: &Case, post: PostId) {
        if let Some(sight) = case.sights.get(&post) {
            self.sights.push(state::NewSight { case: id, post, sight: sight.clone() });
        }
    }

    fn grant(&mut self, id: CaseId, case: &Case, grant: GrantId) {
        let content = case.circle.grants.get(&grant).map(|held| state::pack_grant(id, grant, held));
        self.grants.push(state::NewGrant { case: id, grant, content });
    }
}
