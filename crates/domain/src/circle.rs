//! Who stands around a child, and what a family has allowed: the fold of effects that policy and views share.
//!
//! It reads headers only. Relations are what work brings about; grants are what a family signs. Both are needed
//! before anybody reads beyond an own part.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_contract::DataClass;
use tasuki_contract::event::v1::{Effects, Relation, recipient::Who};
use uuid::Uuid;

use crate::ids::{AgencyId, CaseId, GrantId, PostId};

/// One recipient of a grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recipient {
    /// A post.
    Post(PostId),
    /// Every post of an agency.
    Agency(AgencyId),
    /// Every agency of a kind, by its code.
    Kind(String),
}

/// A grant in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who may read under it.
    pub recipients: Vec<Recipient>,
    /// What they may read.
    pub classes: BTreeSet<DataClass>,
    /// Dictionary keys taken out by the signer.
    pub excluded_keys: BTreeSet<String>,
    /// Last day of validity in Asia/Tokyo, as days since 1970-01-01; `None`: without an end.
    pub valid_to_day: Option<i32>,
}

impl Grant {
    /// Whether it covers the post on the day.
    pub fn covers(&self, post: PostId, agency: AgencyId, kind: &str, day: i32) -> bool {
        self.valid_to_day.is_none_or(|last| day <= last)
            && self.recipients.iter().any(|r| match r {
                Recipient::Post(p) => *p == post,
                Recipient::Agency(a) => *a == agency,
                Recipient::Kind(k) => k == kind,
            })
    }
}

/// The circle of one case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circle {
    /// Why each post stands in it; a post without a relation is not in it.
    pub relations: BTreeMap<PostId, BTreeSet<Relation>>,
    /// Grants in force.
    pub grants: BTreeMap<GrantId, Grant>,
    /// The responsible post; `None` before the case is open, and after it was merged into another one.
    pub lead: Option<PostId>,
}

impl Circle {
    /// Whether the post stands in the circle for any reason.
    pub fn has(&self, post: PostId) -> bool {
        self.relations.contains_key(&post)
    }

    /// Whether the post stands in it for more than being asked.
    pub fn is_member(&self, post: PostId) -> bool {
        self.relations.get(&post).is_some_and(|all| all.iter().any(|r| *r != Relation::Asked))
    }

    /// Folds what an event does to the case `case`; effects on other cases are passed over.
    ///
    /// A new lead takes the relation `LEAD` from the old one.
    pub fn apply(&mut self, case: CaseId, effects: &Effects) {
        let here = |text: &str| CaseId::trusted(text) == case;
        for change in effects.circle.iter().filter(|c| here(&c.case_id)) {
            let post = PostId::trusted(&change.post_id);
            if change.ends {
                self.part(post, change.relation());
            } else {
                self.relations.entry(post).or_default().insert(change.relation());
            }
        }
        for change in effects.leads.iter().filter(|c| here(&c.case_id)) {
            if let Some(old) = self.lead {
                self.part(old, Relation::Lead);
            }
            let post = PostId::trusted(&change.post_id);
            // Nobody is responsible for a case that was closed.
            self.lead = (post != NOBODY).then_some(post);
            if let Some(post) = self.lead {
                self.relations.entry(post).or_default().insert(Relation::Lead);
            }
        }
        for change in effects.grants.iter().filter(|c| here(&c.case_id)) {
            let id = GrantId::trusted(&change.grant_id);
            if change.ends {
                self.grants.remove(&id);
                continue;
            }
            let recipients = change.recipients.iter().filter_map(|r| match r.who.as_ref()? {
                Who::PostId(p) => Some(Recipient::Post(PostId::trusted(p))),
                Who::AgencyId(a) => Some(Recipient::Agency(AgencyId::trusted(a))),
                Who::AgencyKind(k) => Some(Recipient::Kind(k.clone())),
            });
            let grant = Grant {
                recipients: recipients.collect(),
                classes: change.classes().collect(),
                excluded_keys: change.excluded_keys.iter().cloned().collect(),
                valid_to_day: (change.valid_to_day != 0).then_some(change.valid_to_day),
            };
            self.grants.insert(id, grant);
        }
    }

    fn part(&mut self, post: PostId, relation: Relation) {
        if let Some(all) = self.relations.get_mut(&post) {
            all.remove(&relation);
            if all.is_empty() {
                self.relations.remove(&post);
            }
        }
    }
}

/// Whether the effects can change who may read what of a case.
pub fn changes_disclosure(effects: &Effects) -> bool {
    !(effects.circle.is_empty() && effects.grants.is_empty() && effects.leads.is_empty())
}

/// The nil id, where a header names no post.
pub const NOBODY: PostId = PostId(Uuid::nil());
