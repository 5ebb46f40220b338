//! Referrals whose case is in doubt or closed by a merge: one waits until it goes out, another is closed with its case.

use std::collections::BTreeSet;

use tasuki_contract::event::v1::{DutyKind, GrantChange, ItemKind, Recipient, Relation, recipient::Who};
use tasuki_contract::intake::v1 as pb;

use super::{
    ACKNOWLEDGE_BUSINESS_DAYS, ANSWER_BUSINESS_DAYS, REROUTE_BUSINESS_DAYS, ReferralState, Stage, end_duties,
    listed, revision, wards,
};
use crate::case::CaseState;
use crate::circle::Recipient as Known;
use crate::days;
use crate::decision::{Decided, Given};
use crate::effects::Doing;
use crate::ids::{GrantId, PostId, ReferralId, derived};
use crate::refusal::Refusal;

/// Puts a referral that waited before the post that it was meant for, with the consent that it came with.
///
/// Where that post has been retired meanwhile, the intake post is to find another one.
pub(crate) fn deliver(
    state: &CaseState,
    id: ReferralId,
    referral: &ReferralState,
    given: &Given<'_>,
) -> Result<Decided, Refusal> {
    let (sender, to) = (referral.sender, referral.receiver);
    let stays = given.directory.active_post(to).is_ok();
    let asked = stays.then_some(to);
    let mut doing = listed(referral.case, id, Stage::Submitted, [sender].into_iter().chain(asked))
        .parties([sender].into_iter().chain(asked).chain(wards(state)));
    let mut answer_by = None;
    if stays {
        let acknowledge_by = days::due(given, to, ACKNOWLEDGE_BUSINESS_DAYS)?;
        answer_by = Some(days::due(given, to, ACKNOWLEDGE_BUSINESS_DAYS + ANSWER_BUSINESS_DAYS)?);
        doing = doing.joins(to, Relation::Asked).owes(
            DutyKind::DutyAcknowledge,
            id.0,
            to,
            days::epoch_day(acknowledge_by),
        );
        if let Some(grant) = with_receiver(state, id, to) {
            doing = doing.grant(grant);
        }
    } else {
        doing = to_be_routed(doing, state, id, given)?;
    }
    let event = pb::ReferralDelivered {
        referral_id: id.into(),
        to_post_id: to.into(),
        answer_due_on: answer_by.map(days::to_proto),
    };
    Ok(doing.by(CaseState::stream(referral.case), event))
}

/// The consent held at source with the receiver among those who may read; `None` where it was withdrawn meanwhile, or
/// where there was none.
fn with_receiver(state: &CaseState, id: ReferralId, to: PostId) -> Option<GrantChange> {
    let grant = GrantId(derived(&["source", &id.to_string()]));
    let held = state.circle.grants.get(&grant)?;
    let known = held.recipients.iter().map(|recipient| match recipient {
        Known::Post(post) => Who::PostId(post.to_string()),
        Known::Agency(agency) => Who::AgencyId(agency.to_string()),
        Known::Kind(kind) => Who::AgencyKind(kind.clone()),
    });
    let mut recipients: Vec<Recipient> = Vec::new();
    for who in known.chain([Who::PostId(to.to_string())]) {
        let recipient = Recipient { who: Some(who) };
        if !recipients.contains(&recipient) {
            recipients.push(recipient);
        }
    }
    Some(GrantChange {
        grant_id: grant.into(),
        recipients,
        classes: held.classes.iter().map(|class| i32::from(*class)).collect(),
        excluded_keys: held.excluded_keys.iter().cloned().collect(),
        valid_to_day: held.valid_to_day.unwrap_or(0),
        ..GrantChange::default()
    })
}

fn to_be_routed(
    doing: Doing,
    state: &CaseState,
    id: ReferralId,
    given: &Given<'_>,
) -> Result<Doing, Refusal> {
    let mut doing = doing;
    for ward in wards(state) {
        let due = days::epoch_day(days::due_of_any(given, ward, REROUTE_BUSINESS_DAYS));
        doing = doing.owes(DutyKind::DutyReroute, id.0, ward, due);
    }
    Ok(doing)
}

/// Closes every referral of the case that nobody has taken up; every duty about it ends, and who was asked is asked no
/// more.
pub(crate) fn close_unanswered(doing: Doing, state: &CaseState) -> Doing {
    let mut doing = doing;
    let mut asked = BTreeSet::new();
    for (id, referral) in state.referrals.iter().filter(|(_, r)| is_unanswered(r)) {
        let parties = referral.parties().chain(wards(state));
        doing = doing.item(ItemKind::ItemReferral, id.0, Stage::Closed.code(), parties);
        doing = end_duties(doing, *id, referral, |_| true);
        if matches!(referral.stage, Stage::Submitted | Stage::Acknowledged) {
            asked.insert(referral.receiver);
        }
    }
    let gone = asked.into_iter().filter(|post| !crate::handoff::asks(state, *post));
    gone.fold(doing, |doing, post| doing.leaves(post, Relation::Asked))
}

fn is_unanswered(referral: &ReferralState) -> bool {
    !matches!(referral.stage, Stage::Accepted | Stage::Closed)
}

/// Opens referrals again that a merge had closed: the intake post finds a post for each.
///
/// Errors: none but what the directory says.
pub(crate) fn reopen(
    doing: Doing,
    state: &CaseState,
    closed: &BTreeSet<ReferralId>,
    ward: PostId,
    given: &Given<'_>,
) -> Result<Doing, Refusal> {
    let mut doing = doing;
    for id in closed {
        let Some(referral) = state.referrals.get(id) else { continue };
        let posts = [referral.sender, ward];
        doing = doing.item(ItemKind::ItemReferral, id.0, Stage::NeedsRouting.code(), posts);
        doing = to_be_routed(doing, state, *id, given)?;
    }
    Ok(doing)
}

/// Folds the closing of referrals by a merge.
pub(crate) fn close_all(state: &mut CaseState, ids: &BTreeSet<ReferralId>) {
    to_stage(state, ids, Stage::Closed);
}

/// Folds their opening by its undoing.
pub(crate) fn reopen_all(state: &mut CaseState, ids: &BTreeSet<ReferralId>) {
    to_stage(state, ids, Stage::NeedsRouting);
}

fn to_stage(state: &mut CaseState, ids: &BTreeSet<ReferralId>, stage: Stage) {
    for (_, referral) in state.referrals.iter_mut().filter(|(id, _)| ids.contains(id)) {
        referral.stage = stage;
        referral.revision = revision(referral.receiver, stage);
    }
}
