//! Doubt and merge as parts of a case's state, and what they forbid.

use std::collections::BTreeSet;

use tasuki_contract::Event;
use tasuki_contract::event::v1::{Effects, GrantChange, ItemKind, recipient::Who};

use crate::case::CaseState;
use crate::circle::Recipient;
use crate::decision::{Decided, Recorded};
use crate::ids::{CaseId, GrantId, PostId, ReferralId};
use crate::refusal::{Reason, Refusal};

/// A case that looks like another one, and of which nobody new learns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Who stood in the circle when the doubt began: author, responsible post, intake post.
    pub insiders: BTreeSet<PostId>,
}

/// A case that was closed because it is another one's child's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The case that goes on.
    pub into: CaseId,
    /// The post that was responsible.
    pub lead: PostId,
    /// Referrals that were unanswered, and closed with it.
    pub closed: BTreeSet<ReferralId>,
}

/// Folds one event of the case's stream; events of other contexts are passed over. Never fails.
///
/// `lead`: who was responsible before the event.
pub fn evolve(state: &mut CaseState, case: CaseId, lead: Option<PostId>, recorded: &Recorded) {
    let closes = |e: &str| CaseId::trusted(e) == case;
    match &recorded.event {
        Event::IdentityDoubted(_) => {
            let insiders = state.circle.relations.keys().copied().collect();
            state.doubt = Some(Doubt { insiders });
        }
        Event::IdentityConfirmed(_) => state.doubt = None,
        Event::CasesMerged(e) if closes(&e.merged_case_id) => {
            let items = recorded.header.effects.iter().flat_map(|effects| &effects.items);
            let referrals = items.filter(|item| item.kind() == ItemKind::ItemReferral);
            let closed: BTreeSet<ReferralId> = referrals.map(|i| ReferralId::trusted(&i.item_id)).collect();
            crate::referral::close_all(state, &closed);
            let lead = lead.unwrap_or(crate::circle::NOBODY);
            state.doubt = None;
            state.merged = Some(Merged { into: CaseId::trusted(&e.survivor_case_id), lead, closed });
        }
        Event::CaseUnmerged(e) if closes(&e.merged_case_id) => {
            if let Some(merged) = state.merged.take() {
                crate::referral::reopen_all(state, &merged.closed);
            }
        }
        _ => {}
    }
}

/// Why the event may not be appended, given how the case's identity stands: the one place that says so, for every
/// command of every context, from effects and not from types.
///
/// Into a merged case goes nothing but what takes a consent back: a withdrawal has no precondition. Of a case in doubt
/// nobody new may learn.
/// `CASE_MERGED` names the surviving case: a command that gets as far as this is a member's.
pub fn barred(case: CaseId, state: &CaseState, decided: &Decided) -> Option<Refusal> {
    let effects = &decided.effects;
    let concerned = effects.concerned_case_ids.iter().any(|id| CaseId::trusted(id) == case);
    let touches = decided.stream.id == case.0 || decided.cases.contains(&case.0) || concerned;
    let decides = matches!(
        decided.event,
        Event::IdentityConfirmed(_)
            | Event::CasesMerged(_)
            | Event::CaseUnmerged(_)
            | Event::ReferralDelivered(_)
    );
    if !touches || decides {
        return None;
    }
    if let Some(merged) = &state.merged {
        return (!takes_back(state, effects)).then_some(Refusal::Merged(merged.into));
    }
    let doubt = state.doubt.as_ref()?;
    widens(state, doubt, effects).then(|| Reason::IdentityInDoubt.into())
}

/// Whether the effects change grants, and only so that less may be read.
fn takes_back(state: &CaseState, effects: &Effects) -> bool {
    !effects.grants.is_empty()
        && effects.grants.iter().all(|change| narrows(state, change))
        && effects.circle.iter().all(|change| change.ends)
        && effects.leads.is_empty()
}

fn narrows(state: &CaseState, change: &GrantChange) -> bool {
    let Some(held) = state.circle.grants.get(&GrantId::trusted(&change.grant_id)) else { return change.ends };
    let known = |who: &Who| {
        held.recipients.contains(&match who {
            Who::PostId(post) => Recipient::Post(PostId::trusted(post)),
            Who::AgencyId(agency) => Recipient::Agency(crate::ids::AgencyId::trusted(agency)),
            Who::AgencyKind(kind) => Recipient::Kind(kind.clone()),
        })
    };
    let shorter = match (held.valid_to_day, change.valid_to_day) {
        (None, _) => true,
        (Some(_), 0) => false,
        (Some(held), day) => day <= held,
    };
    change.ends
        || change.recipients.iter().all(|r| r.who.as_ref().is_some_and(known))
            && change.classes().all(|class| held.classes.contains(&class))
            && held.excluded_keys.iter().all(|key| change.excluded_keys.contains(key))
            && shorter
}

/// Whether somebody who was no insider would learn of the case.
fn widens(state: &CaseState, doubt: &Doubt, effects: &Effects) -> bool {
    let outside = |post: &String| !doubt.insiders.contains(&PostId::trusted(post));
    let joins = effects.circle.iter().any(|change| !change.ends && outside(&change.post_id));
    let leads = effects.leads.iter().any(|change| outside(&change.post_id));
    let owes = effects.duties.iter().any(|change| !change.ends && outside(&change.owner_post_id));
    let names_insiders = |change: &GrantChange| {
        let insider = |who: &Who| matches!(who, Who::PostId(post) if !outside(post));
        change.recipients.iter().all(|r| r.who.as_ref().is_some_and(insider))
    };
    let grants = effects.grants.iter().any(|change| !narrows(state, change) && !names_insiders(change));
    joins || leads || owes || grants || effects.party_post_ids.iter().any(outside)
}
