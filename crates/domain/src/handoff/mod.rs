//! Handing the responsibility for a case over, in company: nobody lets go before the other has taken hold.
//!
//! A hand-off lives in its case's stream, so that at most one is under way and the lead moves in one event. Decisions
//! read [`CaseState`] and the directory; the fold reads headers and open fields only, never a date or a text that is
//! sealed. It never moves a lead by itself: [`complete`] does, once both sides have confirmed.
//!
//! ```text
//! proposed ─offer─▶ offered ─accept─▶ agreed ─begin─▶ accompanied ─both confirm─▶ completed
//!    ▲                 │decline                       every state before: cancel ─▶ cancelled
//!    └─────────────────┘
//! ```

mod accompany;
mod complete;
#[cfg(test)]
pub(crate) mod given;
mod propose;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod walk;

use std::collections::BTreeSet;

use tasuki_contract::Event;
use tasuki_contract::cases::v1::TransferReason;
use tasuki_contract::common::v1::CommandContext;
use tasuki_contract::event::v1::{ItemKind, Relation};
use tasuki_contract::handoff::v1::HandoffKind;

pub use accompany::{accept, begin_accompaniment, decline, record_joint_contact};
pub use complete::{cancel, complete};
pub(crate) use propose::reads_what_it_needs;
pub use propose::{offer, propose};

use crate::case::CaseState;
use crate::decision::{Decision, Given, Recorded, check_etag};
use crate::effects::Doing;
use crate::ids::{ActionId, CaseId, HandoffId, PostId};
use crate::refusal::{Reason, Refusal};

/// How far a hand-off has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Proposed, or declined and open for another offer.
    Proposed,
    /// Before the incoming post.
    Offered,
    /// Agreed in principle.
    Agreed,
    /// Both posts walk along.
    Accompanied,
    /// The incoming post is responsible.
    Completed,
    /// Given up.
    Cancelled,
}

impl Stage {
    /// The code that lists carry.
    pub fn code(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Offered => "offered",
            Self::Agreed => "agreed",
            Self::Accompanied => "accompanied",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the hand-off still goes on.
    pub fn is_open(self) -> bool {
        self < Self::Completed
    }
}

/// The state of one hand-off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoffState {
    /// The case that it belongs to.
    pub case: CaseId,
    /// What for.
    pub kind: HandoffKind,
    /// The post that is responsible until it is complete.
    pub outgoing: PostId,
    /// The post that shall become responsible.
    pub incoming: PostId,
    /// The post that proposed it: the outgoing one or the ward's.
    pub proposer: PostId,
    /// How far it has come.
    pub stage: Stage,
    /// Whether the incoming post declined the last offer: until another one it has no part in the hand-off.
    pub declined: bool,
    /// Contacts at which family, outgoing and incoming post were all present.
    pub full_contacts: u32,
    /// Sides that have confirmed.
    pub confirmed: BTreeSet<PostId>,
    /// Open actions that the incoming side has adopted.
    pub adopted: BTreeSet<ActionId>,
    /// Number of events about it.
    pub revision: u64,
}

impl HandoffState {
    /// The posts that see every step as their own part: outgoing, incoming, proposer, each once.
    ///
    /// An incoming post that declined keeps its own answer and learns nothing of how the hand-off goes on.
    pub fn parties(&self) -> Vec<PostId> {
        parties(self.outgoing, self.asked(), self.proposer)
    }

    /// The incoming post; `None` once it has declined, until it gets another offer.
    pub fn asked(&self) -> Option<PostId> {
        (!self.declined).then_some(self.incoming)
    }

    /// Whether the post has what was proposed and offered before it: the outgoing post and the proposer always, the
    /// incoming one until it declines or the hand-off is given up.
    pub fn is_before(&self, post: PostId) -> bool {
        post == self.outgoing
            || post == self.proposer
            || (self.asked() == Some(post) && self.stage != Stage::Cancelled)
    }

    /// Whether the post is the outgoing one, or the incoming one that has not declined.
    fn is_side(&self, post: PostId) -> bool {
        post == self.outgoing || self.is_incoming(post)
    }

    /// Whether the post is the incoming one and has not declined.
    fn is_incoming(&self, post: PostId) -> bool {
        self.asked() == Some(post)
    }

    /// The side across from `post`.
    fn other_side(&self, post: PostId) -> PostId {
        if post == self.outgoing { self.incoming } else { self.outgoing }
    }
}

/// The hand-off of the case that is under way, of which there is at most one.
pub fn under_way(state: &CaseState) -> Option<(HandoffId, &HandoffState)> {
    state.handoffs.iter().find(|(_, h)| h.stage.is_open()).map(|(id, h)| (*id, h))
}

/// Whether the hand-off under way has the post before it and is not yet accompanied, so that it stays `ASKED`.
pub fn asks(state: &CaseState, post: PostId) -> bool {
    under_way(state).is_some_and(|(_, h)| h.is_incoming(post) && h.stage < Stage::Accompanied)
}

/// Folds one event of the case's stream; events of other contexts are passed over. Never fails.
pub fn evolve(state: &mut CaseState, recorded: &Recorded) {
    match &recorded.event {
        Event::HandoffProposed(e) => {
            let handoff = HandoffState {
                case: CaseId::trusted(&e.case_id),
                kind: e.kind(),
                outgoing: PostId::trusted(&e.outgoing_post_id),
                incoming: PostId::trusted(&e.incoming_post_id),
                proposer: PostId::trusted(&recorded.header.post_id),
                stage: Stage::Proposed,
                declined: false,
                full_contacts: 0,
                confirmed: BTreeSet::new(),
                adopted: BTreeSet::new(),
                revision: 1,
            };
            state.handoffs.insert(HandoffId::trusted(&e.handoff_id), handoff);
        }
        Event::HandoffOffered(e) => step(state, &e.handoff_id, |h| {
            h.stage = Stage::Offered;
            h.declined = false;
        }),
        Event::HandoffAccepted(e) => step(state, &e.handoff_id, |h| h.stage = Stage::Agreed),
        Event::HandoffDeclined(e) => step(state, &e.handoff_id, |h| {
            h.stage = Stage::Proposed;
            h.declined = true;
        }),
        Event::AccompanimentStarted(e) => step(state, &e.handoff_id, |h| h.stage = Stage::Accompanied),
        Event::JointContactRecorded(e) => step(state, &e.handoff_id, |h| {
            let full = e.family_present && e.outgoing_present && e.incoming_present;
            h.full_contacts += u32::from(full);
        }),
        Event::HandoffCompletionConfirmed(e) => {
            let mut adopted: BTreeSet<ActionId> =
                e.adopted_action_ids.iter().map(|id| ActionId::trusted(id)).collect();
            if e.adopted_all_open_actions {
                let found = state.handoffs.get(&HandoffId::trusted(&e.handoff_id));
                adopted.extend(found.map(|h| actions_of(state, h.outgoing)).unwrap_or_default());
            }
            step(state, &e.handoff_id, |h| {
                h.confirmed.insert(PostId::trusted(&e.by_post_id));
                h.adopted.extend(adopted);
            });
        }
        Event::HandoffCancelled(e) => step(state, &e.handoff_id, |h| h.stage = Stage::Cancelled),
        Event::ResponsibilityTransferred(e) if e.transfer_reason() == TransferReason::Handoff => {
            step(state, &e.because_of_id, |h| h.stage = Stage::Completed);
            let Some(done) = state.handoffs.get(&HandoffId::trusted(&e.because_of_id)) else { return };
            let (outgoing, incoming) = (done.outgoing, done.incoming);
            let moving = state.open_actions.values_mut().filter(|action| action.owner == outgoing);
            moving.for_each(|action| action.owner = incoming);
        }
        _ => {}
    }
}

fn step(state: &mut CaseState, id: &str, change: impl FnOnce(&mut HandoffState)) {
    if let Some(handoff) = state.handoffs.get_mut(&HandoffId::trusted(id)) {
        handoff.revision += 1;
        change(handoff);
    }
}

fn parties(outgoing: PostId, incoming: Option<PostId>, proposer: PostId) -> Vec<PostId> {
    let mut all: Vec<PostId> = [outgoing].into_iter().chain(incoming).collect();
    if !all.contains(&proposer) {
        all.push(proposer);
    }
    all
}

/// One step of a hand-off, for a caller whose part it is.
struct Step<'s> {
    id: HandoffId,
    handoff: &'s HandoffState,
}

impl<'s> Step<'s> {
    /// Errors: `NOT_FOUND` for an unknown hand-off, and for a caller who never was a party; `NOT_YOUR_PART`, of an
    /// incoming post that declined whatever became of it; `STALE_ETAG`.
    fn find(
        state: &'s CaseState,
        id: Option<HandoffId>,
        context: Option<&CommandContext>,
        given: &Given<'_>,
        right: impl Fn(&HandoffState, PostId) -> bool,
    ) -> Result<Self, Refusal> {
        let me = given.actor.post;
        let found = id.and_then(|id| Some((id, state.handoffs.get(&id)?)));
        // A member of the circle is not told of every hand-off: to who is no party it does not exist.
        let known = |h: &HandoffState| h.parties().contains(&me) || h.incoming == me;
        let (id, handoff) = found.filter(|(_, h)| known(h)).ok_or(Reason::NotFound)?;
        if !right(handoff, me) {
            return Err(Reason::NotYourPart.into());
        }
        check_etag(context, id.0, handoff.revision)?;
        Ok(Self { id, handoff })
    }

    /// Errors: `ON_HOLD` to the incoming post, and to the outgoing one that would take the hand-off further to it.
    fn goes_on(&self, state: &CaseState) -> Result<(), Refusal> {
        crate::consent::require_not_held(state, self.id.0, self.handoff.incoming)
    }

    /// What every step does: the parties see it, and list the hand-off in its new stage.
    ///
    /// List and event go to the same posts, so that a list tells nobody of a step that its event does not show.
    fn doing(&self, stage: Stage) -> Doing {
        doing(self.handoff.case, self.id, &self.handoff.parties(), stage)
    }

    /// The decision of a step that is one event.
    fn decide<R>(&self, reply: R, doing: Doing, event: impl Into<Event>) -> Decision<R> {
        let events = vec![doing.by(CaseState::stream(self.handoff.case), event)];
        Decision { events, reply, item: Some((self.id.0, self.handoff.revision + 1)) }
    }

    /// Ends `ASKED` of the incoming post, unless a referral still asks it.
    fn release_asked(&self, state: &CaseState, doing: Doing) -> Doing {
        let incoming = self.handoff.incoming;
        if self.handoff.declined || crate::referral::asks(state, incoming) {
            doing
        } else {
            doing.leaves(incoming, Relation::Asked)
        }
    }
}

fn doing(case: CaseId, id: HandoffId, parties: &[PostId], stage: Stage) -> Doing {
    let parties = parties.iter().copied();
    Doing::of(case).parties(parties.clone()).item(ItemKind::ItemHandoff, id.0, stage.code(), parties)
}

/// Open actions of the case that the post owes.
fn actions_of(state: &CaseState, owner: PostId) -> BTreeSet<ActionId> {
    state.open_actions.iter().filter(|(_, action)| action.owner == owner).map(|(id, _)| *id).collect()
}
