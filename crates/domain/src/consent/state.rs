//! What a case knows of its consents: how far each has come, who was near it, who was told to stop, what is on hold.
//!
//! The fold reads effects and open fields only. Consents that came with a referral or a consultation are among them:
//! whatever gives a grant is one.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_contract::Event;
use tasuki_contract::event::v1::DutyKind;
use uuid::Uuid;

use crate::case::CaseState;
use crate::circle::Grant;
use crate::days;
use crate::decision::{Recorded, day_in_tokyo};
use crate::ids::{CaseId, GrantId, NoticeId, PostId};

/// How far a consent has come. What ends it without an event, its last day, is no stage: see [`ConsentState::on`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Its terms are there.
    #[default]
    Draft,
    /// The family was told what it means.
    Explained,
    /// Signed.
    Active,
    /// The family said no.
    Refused,
    /// Taken back as a whole.
    Withdrawn,
    /// Its signer signs no more, or a law opens nothing any more.
    Ended,
}

/// One consent, or one legal basis.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConsentState {
    /// How far it has come.
    pub stage: Stage,
    /// Grows by one with every change of its terms.
    pub version: u64,
    /// Its terms: those in force, those that are pending, or the last ones.
    pub terms: Grant,
    /// Whether it is about somebody else than the child, so that it opens nothing.
    pub of_other_subject: bool,
    /// Posts that stood in the circle, for whatever reason, at some time while it was in force.
    pub around: BTreeSet<PostId>,
}

impl ConsentState {
    /// The code of its state on a day: `draft`, `explained`, `active`, `grace`, `expired`, `refused`, `withdrawn`, `ended`.
    pub fn on(&self, day: i32) -> &'static str {
        match self.stage {
            Stage::Draft => "draft",
            Stage::Explained => "explained",
            Stage::Active if self.terms.valid_to_day.is_none_or(|last| day <= last) => "active",
            Stage::Active if self.terms.in_grace(day) => "grace",
            Stage::Active => "expired",
            Stage::Refused => "refused",
            Stage::Withdrawn => "withdrawn",
            Stage::Ended => "ended",
        }
    }

    /// Whether it can be taken back still: prepared, or signed, however long ago it expired.
    pub fn can_end(&self) -> bool {
        self.stage <= Stage::Active
    }
}

/// A post that was told to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopNotice {
    /// The consents that ended or hold for less.
    pub grants: BTreeSet<GrantId>,
    /// The post that owes the acknowledgement.
    pub post: PostId,
    /// Whether it has taken note.
    pub acknowledged: bool,
}

/// Work that waits since a consent was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The post that lost what it read for the work.
    pub post: PostId,
    /// The post that says what becomes of it.
    pub owner: PostId,
}

/// The consents of a case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consents {
    /// Each by its id, legal bases too.
    pub all: BTreeMap<GrantId, ConsentState>,
    /// Who was told to stop.
    pub notices: BTreeMap<NoticeId, StopNotice>,
    /// Referrals and hand-offs that are on hold.
    pub held: BTreeMap<Uuid, Hold>,
    /// Since which day each post of the circle has stood in it without a break.
    joined: BTreeMap<PostId, i32>,
}

impl Consents {
    /// Whether the post stood in the circle on the day, and has without a break since.
    pub fn stood_on(&self, post: PostId, day: i32) -> bool {
        self.joined.get(&post).is_some_and(|joined| *joined <= day)
    }
}

/// Folds one event of the case's stream, after the circle has taken it up. Never fails.
pub fn evolve(state: &mut CaseState, case: CaseId, recorded: &Recorded) {
    let CaseState { circle, consents, .. } = state;
    let effects = recorded.header.effects.iter();
    let mut changed = false;
    for effects in effects.clone() {
        changed |= !(effects.circle.is_empty() && effects.leads.is_empty() && effects.grants.is_empty());
        for change in effects.grants.iter().filter(|change| CaseId::trusted(&change.case_id) == case) {
            let consent = consents.all.entry(GrantId::trusted(&change.grant_id)).or_default();
            consent.version += 1;
            if change.ends {
                consent.stage = ended_by(&recorded.event);
                continue;
            }
            consent.terms = Grant::from_change(change);
            consent.of_other_subject = change.of_other_subject;
            if !change.pending {
                consent.stage = Stage::Active;
            }
        }
    }
    match &recorded.event {
        Event::ConsentExplained(e) => {
            if let Some(consent) = consents.all.get_mut(&GrantId::trusted(&e.grant_id)) {
                consent.stage = Stage::Explained;
                consent.version += 1;
            }
        }
        Event::StopNoticeIssued(e) => {
            let owed =
                effects.flat_map(|e| &e.duties).find(|d| d.kind() == DutyKind::DutyStopNotice && !d.ends);
            let notice = StopNotice {
                grants: e.grant_ids.iter().map(|id| GrantId::trusted(id)).collect(),
                post: owed.map_or(crate::circle::NOBODY, |duty| PostId::trusted(&duty.owner_post_id)),
                acknowledged: false,
            };
            consents.notices.insert(NoticeId::trusted(&e.notice_id), notice);
        }
        Event::StopNoticeAcknowledged(e) => {
            if let Some(notice) = consents.notices.get_mut(&NoticeId::trusted(&e.notice_id)) {
                notice.acknowledged = true;
            }
        }
        Event::WorkPutOnHold(e) => {
            let mut effects = effects;
            let owed = effects.clone().flat_map(|e| &e.duties).find(|d| d.kind() == DutyKind::DutyReviewHold);
            // The post whose work it is stands first among the parties.
            let post = effects.find_map(|e| e.party_post_ids.first());
            let hold = Hold {
                post: post.map_or(crate::circle::NOBODY, |post| PostId::trusted(post)),
                owner: owed.map_or(crate::circle::NOBODY, |duty| PostId::trusted(&duty.owner_post_id)),
            };
            consents.held.insert(Uuid::try_parse(&e.item_id).unwrap_or_default(), hold);
        }
        Event::WorkHoldEnded(e) => {
            consents.held.remove(&Uuid::try_parse(&e.item_id).unwrap_or_default());
        }
        _ => {}
    }
    if changed {
        let day = days::epoch_day(day_in_tokyo(recorded.recorded_at));
        consents.joined.retain(|post, _| circle.has(*post));
        for post in circle.relations.keys() {
            consents.joined.entry(*post).or_insert(day);
        }
        for consent in consents.all.values_mut().filter(|consent| consent.stage == Stage::Active) {
            consent.around.extend(circle.relations.keys());
        }
    }
}

fn ended_by(event: &Event) -> Stage {
    match event {
        Event::ConsentRefused(_) => Stage::Refused,
        Event::SignerChanged(_) | Event::LegalBasisEnded(_) => Stage::Ended,
        _ => Stage::Withdrawn,
    }
}
