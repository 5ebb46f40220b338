//! Saying what an event does, in the words that every fold understands.
//!
//! One builder, so that ids of duties follow from what is owed and by whom in one place. It checks nothing and knows
//! no event type: what an event does is the context's to say.

use tasuki_contract::event::v1::{
    CircleChange, DutyChange, DutyKind, Effects, GrantChange, ItemChange, ItemKind, LeadChange, Recipient,
    Relation, recipient::Who,
};
use tasuki_contract::{DataClass, Event};
use uuid::Uuid;

use crate::decision::{Decided, StreamRef};
use crate::ids::{CaseId, GrantId, PostId, derived};

/// What one event does; ends as a [`Decided`].
#[derive(Clone, Debug, Default)]
pub struct Doing {
    case: Option<CaseId>,
    effects: Effects,
    on_behalf_of: Option<PostId>,
}

impl Doing {
    /// Of an event in the timeline of a case.
    pub fn of(case: CaseId) -> Self {
        Self { case: Some(case), ..Self::default() }
    }

    /// Of an event that concerns no case.
    pub fn outside_cases() -> Self {
        Self::default()
    }

    fn case_text(&self) -> String {
        self.case.map(String::from).unwrap_or_default()
    }

    /// Posts that see the event as their own part, each once.
    pub fn parties(mut self, posts: impl IntoIterator<Item = PostId>) -> Self {
        for post in posts {
            let text = post.to_string();
            if !self.effects.party_post_ids.contains(&text) {
                self.effects.party_post_ids.push(text);
            }
        }
        self
    }

    /// The post joins the circle.
    pub fn joins(self, post: PostId, relation: Relation) -> Self {
        self.circle(post, relation, false)
    }

    /// The post's relation ends.
    pub fn leaves(self, post: PostId, relation: Relation) -> Self {
        self.circle(post, relation, true)
    }

    fn circle(mut self, post: PostId, relation: Relation, ends: bool) -> Self {
        let change =
            CircleChange { case_id: self.case_text(), post_id: post.into(), relation: relation.into(), ends };
        self.effects.circle.push(change);
        self
    }

    /// The post is responsible from here on.
    pub fn leads(mut self, post: PostId) -> Self {
        self.effects.leads.push(LeadChange { case_id: self.case_text(), post_id: post.into() });
        self
    }

    /// The owner owes something about `subject` until a day, counted from 1970-01-01; 0: without a date.
    pub fn owes(self, kind: DutyKind, subject: Uuid, owner: PostId, due_day: i32) -> Self {
        self.duty(kind, subject, owner, due_day, false)
    }

    /// The owner owes it no more.
    pub fn ends(self, kind: DutyKind, subject: Uuid, owner: PostId) -> Self {
        self.duty(kind, subject, owner, 0, true)
    }

    fn duty(mut self, kind: DutyKind, subject: Uuid, owner: PostId, due_day: i32, ends: bool) -> Self {
        let change = DutyChange {
            duty_id: duty_id(kind, subject, owner).to_string(),
            kind: kind.into(),
            case_id: self.case_text(),
            owner_post_id: owner.into(),
            subject_id: subject.to_string(),
            due_day,
            ends,
        };
        self.effects.duties.push(change);
        self
    }

    /// The posts may read the classes from here on, without an end and but for the excluded keys.
    pub fn grants(
        self,
        grant: GrantId,
        posts: &[PostId],
        classes: &[DataClass],
        excluded_keys: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut recipients: Vec<Recipient> = Vec::new();
        for post in posts {
            let recipient = Recipient { who: Some(Who::PostId(post.to_string())) };
            if !recipients.contains(&recipient) {
                recipients.push(recipient);
            }
        }
        let classes = classes.iter().map(|class| i32::from(*class)).collect();
        let excluded_keys = excluded_keys.into_iter().collect();
        let grant_id = grant.into();
        self.grant(GrantChange { grant_id, recipients, classes, excluded_keys, ..GrantChange::default() })
    }

    /// The grant begins or ends; its case is filled in.
    pub fn grant(mut self, mut change: GrantChange) -> Self {
        change.case_id = self.case_text();
        self.effects.grants.push(change);
        self
    }

    /// The cases that an event concerns, in whose timelines it does not stand: only decisions that follow learn of them.
    pub fn concerns(mut self, cases: impl IntoIterator<Item = CaseId>) -> Self {
        self.effects.concerned_case_ids.extend(cases.into_iter().map(String::from));
        self
    }

    /// The new state of a thing, with the posts that list it, each once.
    pub fn item(
        mut self,
        kind: ItemKind,
        id: Uuid,
        state: &str,
        posts: impl IntoIterator<Item = PostId>,
    ) -> Self {
        let mut post_ids: Vec<String> = Vec::new();
        for post in posts {
            let text = post.to_string();
            if !post_ids.contains(&text) {
                post_ids.push(text);
            }
        }
        let change = ItemChange {
            kind: kind.into(),
            item_id: id.to_string(),
            case_id: self.case_text(),
            state: state.to_owned(),
            post_ids,
        };
        self.effects.items.push(change);
        self
    }

    /// The event with these effects, for that stream.
    pub fn by(self, stream: StreamRef, event: impl Into<Event>) -> Decided {
        let cases = self.case.iter().map(|case| case.0).collect();
        let Self { effects, on_behalf_of, .. } = self;
        Decided { stream, event: event.into(), effects, cases, on_behalf_of }
    }

    /// Another post than the caller's said so.
    pub fn on_behalf_of(mut self, post: Option<PostId>) -> Self {
        self.on_behalf_of = post;
        self
    }

    /// What it does so far.
    pub fn so_far(&self) -> &Effects {
        &self.effects
    }
}

/// The id of a duty: what is owed, about what, by whom.
pub fn duty_id(kind: DutyKind, subject: Uuid, owner: PostId) -> Uuid {
    derived(&["duty", kind.as_str_name(), &subject.to_string(), &owner.to_string()])
}
