//! Who stands around a child, and what a family has allowed: the fold of effects that policy and views share.
//!
//! It reads headers only. Relations are what work brings about; grants are what a family signs. Both are needed
//! before anybody reads beyond an own part.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_contract::DataClass;
use tasuki_contract::event::v1::{
    Effects, GrantChange, GrantExcept, Recipient as PbRecipient, Relation, recipient::Who,
};
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

/// What was taken back of a grant from one of its recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Except {
    /// From whom.
    pub recipient: Recipient,
    /// Which classes; empty: all of them.
    pub classes: BTreeSet<DataClass>,
}

/// A grant in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Who may read under it.
    pub recipients: Vec<Recipient>,
    /// What they may read.
    pub classes: BTreeSet<DataClass>,
    /// Dictionary keys taken out by the signer.
    pub excluded_keys: BTreeSet<String>,
    /// Last day of validity in Asia/Tokyo, as days since 1970-01-01; `None`: without an end.
    pub valid_to_day: Option<i32>,
    /// What some recipients do not read under it, however else they are named.
    pub excepts: Vec<Except>,
    /// For so many days after the last one, who had something under it keeps that.
    pub grace_days: i32,
    /// Whether a law opens it and no family: a withdrawal leaves it as it is.
    pub by_law: bool,
}

impl Recipient {
    /// As the contract spells it.
    pub fn to_proto(&self) -> PbRecipient {
        let who = match self {
            Self::Post(post) => Who::PostId(post.to_string()),
            Self::Agency(agency) => Who::AgencyId(agency.to_string()),
            Self::Kind(kind) => Who::AgencyKind(kind.clone()),
        };
        PbRecipient { who: Some(who) }
    }

    /// From the contract; `None` where it names nobody.
    pub fn from_proto(recipient: &PbRecipient) -> Option<Self> {
        Some(match recipient.who.as_ref()? {
            Who::PostId(p) => Self::Post(PostId::trusted(p)),
            Who::AgencyId(a) => Self::Agency(AgencyId::trusted(a)),
            Who::AgencyKind(k) => Self::Kind(k.clone()),
        })
    }

    /// Whether it means the post of that agency.
    pub fn means(&self, post: PostId, agency: AgencyId, kind: &str) -> bool {
        match self {
            Self::Post(p) => *p == post,
            Self::Agency(a) => *a == agency,
            Self::Kind(k) => k == kind,
        }
    }
}

impl Grant {
    /// Whether it covers the post on the day.
    pub fn covers(&self, post: PostId, agency: AgencyId, kind: &str, day: i32) -> bool {
        self.valid_to_day.is_none_or(|last| day <= last) && self.names(post, agency, kind)
    }

    /// Whether it names the post and has not been taken back from it as a whole, whatever the day.
    pub fn names(&self, post: PostId, agency: AgencyId, kind: &str) -> bool {
        self.recipients.iter().any(|r| r.means(post, agency, kind))
            && !self.excepts.iter().any(|e| e.classes.is_empty() && e.recipient.means(post, agency, kind))
    }

    /// Whether the post, which the grant names, reads the class under it.
    pub fn opens(&self, post: PostId, agency: AgencyId, kind: &str, class: DataClass) -> bool {
        let closed = |e: &Except| e.classes.is_empty() || e.classes.contains(&class);
        self.classes.contains(&class)
            && !self.excepts.iter().any(|e| closed(e) && e.recipient.means(post, agency, kind))
    }

    /// Whether the day lies in its grace: after its last day, and not too long after it.
    pub fn in_grace(&self, day: i32) -> bool {
        self.valid_to_day.is_some_and(|last| last < day && day <= last.saturating_add(self.grace_days))
    }

    /// What a header says of a grant, whether in force or pending.
    pub fn from_change(change: &GrantChange) -> Self {
        let except = |e: &GrantExcept| {
            let recipient = Recipient::from_proto(e.recipient.as_ref()?)?;
            Some(Except { recipient, classes: e.classes().collect() })
        };
        Self {
            recipients: change.recipients.iter().filter_map(Recipient::from_proto).collect(),
            classes: change.classes().collect(),
            excluded_keys: change.excluded_keys.iter().cloned().collect(),
            valid_to_day: (change.valid_to_day != 0).then_some(change.valid_to_day),
            excepts: change.excepts.iter().filter_map(except).collect(),
            grace_days: change.grace_days,
            by_law: change.by_law,
        }
    }

    /// The change that makes this grant.
    pub fn to_change(&self, id: GrantId) -> GrantChange {
        let except = |e: &Except| GrantExcept {
            recipient: Some(e.recipient.to_proto()),
            classes: e.classes.iter().map(|class| *class as i32).collect(),
        };
        GrantChange {
            grant_id: id.into(),
            recipients: self.recipients.iter().map(Recipient::to_proto).collect(),
            classes: self.classes.iter().map(|class| *class as i32).collect(),
            excluded_keys: self.excluded_keys.iter().cloned().collect(),
            valid_to_day: self.valid_to_day.unwrap_or(0),
            excepts: self.excepts.iter().map(except).collect(),
            grace_days: self.grace_days,
            by_law: self.by_law,
            ..GrantChange::default()
        }
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

    /// Whether the post stands in it for more than being asked. That something is kept from it is no reason.
    pub fn is_member(&self, post: PostId) -> bool {
        let counts = |relation: &Relation| !matches!(relation, Relation::Asked | Relation::KeptAway);
        self.relations.get(&post).is_some_and(|all| all.iter().any(counts))
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
            // What is pending opens nothing yet, and what is about somebody else nothing of the child's.
            if change.ends || change.pending || change.of_other_subject {
                self.grants.remove(&id);
                continue;
            }
            self.grants.insert(id, Grant::from_change(change));
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
