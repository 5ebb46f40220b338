//! One child's case: the state that every decision about the child is made against.
//!
//! The fold reads headers and open fields only, so that a decision needs no key. What each context keeps in it
//! stands in that context's module: `referral`, `handoff`; this file holds the case itself.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_contract::Event;
use tasuki_contract::event::v1::DutyKind;

use crate::attachment::AttachmentState;
use crate::circle::Circle;
use crate::consent::Consents;
use crate::decision::{Kind, Recorded, StreamRef};
use crate::erasure::ErasureState;
use crate::handoff::HandoffState;
use crate::identity::{Doubt, Merged};
use crate::ids::{ActionId, AttachmentId, CaseId, HandoffId, PostId, ReferralId};
use crate::referral::ReferralState;

/// An action of the minutes that is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenAction {
    /// The post that owes it.
    pub owner: PostId,
    /// Until when, as days since 1970-01-01; 0: without a date. Read from the header, as the minutes' own day is sealed.
    pub due_day: i32,
}

/// The state of one case.
#[derive(Clone, Debug, Default)]
pub struct CaseState {
    /// Version of the stream; 0: the case does not exist.
    pub version: u64,
    /// Municipality whose rules hold.
    pub municipality_code: String,
    /// Circle, grants and lead.
    pub circle: Circle,
    /// The referral that opened the case, where one did.
    pub opened_by: Option<ReferralId>,
    /// Referrals of the case.
    pub referrals: BTreeMap<ReferralId, ReferralState>,
    /// Hand-offs of the case.
    pub handoffs: BTreeMap<HandoffId, HandoffState>,
    /// Open actions.
    pub open_actions: BTreeMap<ActionId, OpenAction>,
    /// What became of each consent, and of what rested on it.
    pub consents: Consents,
    /// How long it is to be kept, and whether it is erased.
    pub erasure: ErasureState,
    /// Documents, in the order in which they were announced.
    pub attachments: BTreeMap<AttachmentId, AttachmentState>,
    /// Whether the child may be another case's, which a person has yet to decide.
    pub doubt: Option<Doubt>,
    /// Where the case was closed because another one is about the same child.
    pub merged: Option<Merged>,
    /// Referrals that have waited since they were sent: whoever they are meant for was never asked.
    pub held_back: BTreeSet<ReferralId>,
}

impl CaseState {
    /// The stream of a case.
    pub fn stream(case: CaseId) -> StreamRef {
        StreamRef { kind: Kind::Case, id: case.0 }
    }

    /// Whether the case exists.
    pub fn exists(&self) -> bool {
        self.version > 0
    }

    /// Folds one event of the case's stream. Never fails.
    pub fn evolve(&mut self, case: CaseId, recorded: &Recorded) {
        self.version = recorded.header.version;
        let lead = self.circle.lead;
        if let Some(effects) = &recorded.header.effects {
            self.circle.apply(case, effects);
        }
        match &recorded.event {
            Event::CaseOpened(e) => self.municipality_code = e.municipality_code.clone(),
            Event::ActionAssigned(e) => {
                let id = ActionId::trusted(&e.action_id);
                let mut duties = recorded.header.effects.iter().flat_map(|effects| &effects.duties);
                let owed = duties.find(|duty| {
                    duty.kind() == DutyKind::DutyAction && ActionId::trusted(&duty.subject_id) == id
                });
                let due_day = owed.map_or(0, |duty| duty.due_day);
                let owner = PostId::trusted(&e.owner_post_id);
                self.open_actions.insert(id, OpenAction { owner, due_day });
            }
            _ => {}
        }
        crate::referral::evolve(self, recorded);
        crate::handoff::evolve(self, recorded);
        crate::consent::evolve(self, case, recorded);
        self.erasure.evolve(recorded);
        crate::attachment::evolve(self, recorded);
        crate::identity::evolve(self, case, lead, recorded);
    }
}
