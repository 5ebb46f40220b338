//! Referrals: one post asks another to take something up for a child.
//!
//! A referral lives in its case's stream. Accepting one moves the duty to act, never the lead, except where the
//! referral that opened the case is accepted as lead. The fold reads headers and open fields only.
//!
//! ```text
//! submitted ─acknowledge─▶ acknowledged ─accept─▶ accepted
//!     ▲                        │ decline              │ decline
//!     └──────reroute────── needs_routing ◀────────────┘       before acceptance: withdraw ─▶ closed
//! ```
//!
//! One that opens a case which looks like another one waits *on hold* until a person has decided (`hold`). What lies
//! unanswered before a post that has been retired is rerouted too.

mod answer;
mod hold;
mod route;
mod submit;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
pub(crate) mod walk_tests;

use std::collections::BTreeSet;

use jiff::Timestamp;
use tasuki_contract::Event;
use tasuki_contract::common::v1::CommandContext;
use tasuki_contract::event::v1::{DutyKind, ItemKind, Relation};
use uuid::Uuid;

pub use answer::{accept, acknowledge, decline};
pub(crate) use hold::{close_all, close_unanswered, deliver, reopen, reopen_all};
pub use route::{reroute, withdraw};
pub use submit::{Submitted, submit, submit_beside, told};

use crate::case::CaseState;
use crate::decision::{Given, Recorded, check_etag};
use crate::effects::Doing;
use crate::ids::{CaseId, PostId, ReferralId};
use crate::refusal::{Checks, Reason, Refusal, Violation};

/// Business days within which a receiver says that it has seen a referral.
pub const ACKNOWLEDGE_BUSINESS_DAYS: u16 = 2;
/// Business days within which it answers after that.
pub const ANSWER_BUSINESS_DAYS: u16 = 10;
/// Business days within which a declined referral goes on.
pub const REROUTE_BUSINESS_DAYS: u16 = 2;

/// How far a referral has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Sent, and kept from the receiver while the case is in doubt.
    OnHold,
    /// Before the receiver.
    Submitted,
    /// Seen by the receiver.
    Acknowledged,
    /// Taken up.
    Accepted,
    /// Declined: another post is to be found.
    NeedsRouting,
    /// Taken back.
    Closed,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 6] =
        [Self::OnHold, Self::Submitted, Self::Acknowledged, Self::Accepted, Self::NeedsRouting, Self::Closed];

    /// The code that lists carry.
    pub fn code(self) -> &'static str {
        match self {
            Self::OnHold => "on_hold",
            Self::Submitted => "submitted",
            Self::Acknowledged => "acknowledged",
            Self::Accepted => "accepted",
            Self::NeedsRouting => "needs_routing",
            Self::Closed => "closed",
        }
    }
}

/// The state of one referral.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferralState {
    /// The case that it belongs to.
    pub case: CaseId,
    /// The event that holds what was sent.
    pub submission: Uuid,
    /// When that was recorded.
    pub submitted_at: Timestamp,
    /// The post that refers.
    pub sender: PostId,
    /// The post that is asked, or that was asked last.
    pub receiver: PostId,
    /// How far it has come.
    pub stage: Stage,
    /// Whether accepting it made the post a receiver: a desk that opened the case was one already.
    pub brought_in: bool,
    /// Posts that declined it and are not asked again.
    pub decliners: BTreeSet<PostId>,
    /// What is owed about it, and by whom.
    pub duties: BTreeSet<(DutyKind, PostId)>,
    /// What its etag follows from: whom it lies before, and how far it has come.
    pub revision: u64,
}

impl ReferralState {
    /// The post before which it lies, or that took it up; `None` once that post has declined.
    ///
    /// Nobody while it is on hold or to be routed. One that declined keeps its own answer and learns nothing of how the referral goes on.
    pub fn asked(&self) -> Option<PostId> {
        let lies = !matches!(self.stage, Stage::OnHold | Stage::NeedsRouting);
        (lies && !self.decliners.contains(&self.receiver)).then_some(self.receiver)
    }

    /// Whether the post has what was sent before it: the sender, and whoever is asked or took it up.
    ///
    /// One that declined, or before which it was taken back, has it before it no more.
    pub fn is_before(&self, post: PostId) -> bool {
        post == self.sender || (self.asked() == Some(post) && self.stage != Stage::Closed)
    }

    /// The posts whose own part it is now.
    pub fn parties(&self) -> impl Iterator<Item = PostId> {
        [self.sender].into_iter().chain(self.asked())
    }
}

/// What the etag of a referral follows from.
///
/// It is no count of events: a post that is asked later would learn from it how often others were asked before. Whom
/// the referral lies before and how far it has come is what each party sees. A state that comes back has its etag
/// again, and a command that was meant for it fits it again.
fn revision(receiver: PostId, stage: Stage) -> u64 {
    crate::ids::derived(&["referral", &receiver.to_string(), stage.code()]).as_u64_pair().0
}

/// Whether a referral lies before the post unanswered, so that it stays `ASKED`.
pub fn asks(state: &CaseState, post: PostId) -> bool {
    asks_beside(state, post, None)
}

fn asks_beside(state: &CaseState, post: PostId, except: Option<ReferralId>) -> bool {
    let open = |r: &ReferralState| matches!(r.stage, Stage::Submitted | Stage::Acknowledged);
    state.referrals.iter().any(|(id, r)| Some(*id) != except && r.receiver == post && open(r))
}

/// Whether the post is a receiver for another reason than this referral: another one, or a case it handed over.
fn receives_beside(state: &CaseState, post: PostId, except: ReferralId) -> bool {
    let takes = |(id, r): (&ReferralId, &ReferralState)| {
        *id != except && r.receiver == post && r.stage == Stage::Accepted
    };
    let handed_over =
        |h: &crate::handoff::HandoffState| h.outgoing == post && h.stage == crate::handoff::Stage::Completed;
    state.referrals.iter().any(takes) || state.handoffs.values().any(handed_over)
}

/// Whether the post is a receiver for a reason that no referral ends: it opened the case, or handed it over.
fn receives_anyway(state: &CaseState, post: PostId) -> bool {
    let brought_in = |r: &ReferralState| r.receiver == post && r.stage == Stage::Accepted && r.brought_in;
    let relations = state.circle.relations.get(&post);
    relations.is_some_and(|all| all.contains(&Relation::Receiver))
        && !state.referrals.values().any(brought_in)
}

/// Ends what the post was in the circle through this referral alone.
fn part(doing: Doing, state: &CaseState, id: ReferralId, referral: &ReferralState) -> Doing {
    let post = referral.receiver;
    let asked_beside = asks_beside(state, post, Some(id)) || crate::handoff::asks(state, post);
    match referral.stage {
        Stage::Submitted | Stage::Acknowledged if !asked_beside => doing.leaves(post, Relation::Asked),
        Stage::Accepted if referral.brought_in && !receives_beside(state, post, id) => {
            doing.leaves(post, Relation::Receiver)
        }
        _ => doing,
    }
}

/// Ends every duty about the referral that the filter names.
fn end_duties(
    doing: Doing,
    id: ReferralId,
    referral: &ReferralState,
    which: impl Fn(DutyKind) -> bool,
) -> Doing {
    let all = referral.duties.iter().filter(|(kind, _)| which(*kind));
    all.fold(doing, |doing, (kind, owner)| doing.ends(*kind, id.0, *owner))
}

/// The referral in its new state, listed by the posts.
fn listed(case: CaseId, id: ReferralId, stage: Stage, posts: impl IntoIterator<Item = PostId>) -> Doing {
    Doing::of(case).item(ItemKind::ItemReferral, id.0, stage.code(), posts)
}

/// The municipality's intake posts of a case, of which there is one.
fn wards(state: &CaseState) -> impl Iterator<Item = PostId> {
    state.circle.relations.iter().filter(|(_, all)| all.contains(&Relation::Ward)).map(|(post, _)| *post)
}

/// An active post that a referral may go to: a family takes up nothing, least of all for another family's child.
///
/// Errors: `UNKNOWN_POST`, `POST_RETIRED`, `NOT_ALLOWED` of the field `to_post_id`.
fn receiver(to: PostId, given: &Given<'_>) -> Result<(), Refusal> {
    let (_, agency) = given.directory.active_post(to)?;
    let office = agency.kind != crate::consent::FAMILY_KIND;
    if office { Ok(()) } else { Err(Refusal::invalid("to_post_id", Violation::NOT_ALLOWED)) }
}

/// A referral that the command may be about, if the caller may know of it and it is the caller's to act.
///
/// Errors: `NOT_FOUND`, unknown and foreign alike; `NOT_YOUR_PART`; `STALE_ETAG`.
fn find<'s>(
    state: &'s CaseState,
    id: Option<Uuid>,
    context: Option<&CommandContext>,
    given: &Given<'_>,
    right: impl Fn(&ReferralState) -> bool,
) -> Result<(ReferralId, &'s ReferralState), Refusal> {
    let me = given.actor.post;
    let id = ReferralId(id.unwrap_or_default());
    let referral = state.referrals.get(&id).ok_or(Reason::NotFound)?;
    let asked = me == referral.receiver && !state.held_back.contains(&id);
    let party = me == referral.sender || asked || referral.decliners.contains(&me);
    // Not every member of the circle is told of it; the ward's post finds the next candidate for all of them.
    if !party && !wards(state).any(|ward| ward == me) {
        return Err(Reason::NotFound.into());
    }
    if !right(referral) {
        return Err(Reason::NotYourPart.into());
    }
    check_etag(context, id.0, referral.revision)?;
    Ok((id, referral))
}

/// Checks that hold for every command about a referral.
fn checked(referral_id: &str) -> (Checks, Option<Uuid>) {
    let mut checks = Checks::default();
    let id = crate::fields::id(&mut checks, "referral_id", referral_id);
    (checks, id)
}

/// Folds one event of the case's stream; events of other contexts are passed over. Never fails.
pub fn evolve(state: &mut CaseState, recorded: &Recorded) {
    match &recorded.event {
        // Its header lists the referral that opens the case, where one does.
        Event::CaseOpened(_) => {
            let items = recorded.header.effects.iter().flat_map(|effects| &effects.items);
            let mut referrals = items.filter(|item| item.kind() == ItemKind::ItemReferral);
            state.opened_by = referrals.next().map(|item| ReferralId::trusted(&item.item_id));
        }
        Event::ReferralSubmitted(e) => {
            let receiver = PostId::trusted(&e.to_post_id);
            let id = ReferralId::trusted(&e.referral_id);
            let items = recorded.header.effects.iter().flat_map(|effects| &effects.items);
            let mut states = items.filter(|i| ReferralId::trusted(&i.item_id) == id).map(|i| &i.state);
            let held = states.any(|state| state == Stage::OnHold.code());
            let stage = if held { Stage::OnHold } else { Stage::Submitted };
            if held {
                state.held_back.insert(id);
            }
            let referral = ReferralState {
                case: CaseId::trusted(&e.case_id),
                submission: Uuid::try_parse(&recorded.header.event_id).unwrap_or_default(),
                submitted_at: recorded.recorded_at,
                sender: PostId::trusted(&e.from_post_id),
                receiver,
                stage,
                brought_in: false,
                decliners: BTreeSet::new(),
                duties: BTreeSet::new(),
                revision: revision(receiver, stage),
            };
            state.referrals.insert(id, referral);
        }
        Event::ReferralDelivered(e) => {
            state.held_back.remove(&ReferralId::trusted(&e.referral_id));
            step(state, &e.referral_id, |r| r.stage = Stage::Submitted);
        }
        Event::ReferralAcknowledged(e) => step(state, &e.referral_id, |r| r.stage = Stage::Acknowledged),
        Event::ReferralAccepted(e) => {
            let mut joining = recorded.header.effects.iter().flat_map(|effects| &effects.circle);
            let joins = joining.any(|c| !c.ends && c.relation() == Relation::Receiver);
            step(state, &e.referral_id, |r| {
                r.stage = Stage::Accepted;
                r.brought_in = joins;
            });
        }
        Event::ReferralDeclined(e) => step(state, &e.referral_id, |r| {
            r.stage = Stage::NeedsRouting;
            r.decliners.insert(r.receiver);
        }),
        Event::ReferralRerouted(e) => {
            state.held_back.remove(&ReferralId::trusted(&e.referral_id));
            step(state, &e.referral_id, |r| {
                r.stage = Stage::Submitted;
                r.receiver = PostId::trusted(&e.to_post_id);
                r.decliners.remove(&r.receiver);
            });
        }
        Event::ReferralWithdrawn(e) => step(state, &e.referral_id, |r| r.stage = Stage::Closed),
        _ => {}
    }
    let duties = recorded.header.effects.iter().flat_map(|effects| &effects.duties);
    for duty in duties {
        if let Some(referral) = state.referrals.get_mut(&ReferralId::trusted(&duty.subject_id)) {
            let owed = (duty.kind(), PostId::trusted(&duty.owner_post_id));
            if duty.ends {
                referral.duties.remove(&owed)
            } else {
                referral.duties.insert(owed)
            };
        }
    }
}

fn step(state: &mut CaseState, id: &str, change: impl FnOnce(&mut ReferralState)) {
    if let Some(referral) = state.referrals.get_mut(&ReferralId::trusted(id)) {
        change(referral);
        referral.revision = revision(referral.receiver, referral.stage);
    }
}
