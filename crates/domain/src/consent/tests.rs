//! What consents promise, given / when / then.
#![allow(clippy::unwrap_used)]

use tasuki_contract::Event;
use tasuki_contract::common::v1::{CommandContext, OnBehalf};
use tasuki_contract::consent::v1 as pb;
use tasuki_contract::event::v1::{DutyKind, Recipient as PbRecipient, recipient::Who};

use super::*;
use crate::days;
use crate::decision::{Decided, Decision};
use crate::ids::{AgencyId, NoticeId};
use crate::testing::*;

mod steps;
mod withdrawals;

pub(super) fn case_of(world: &mut World) -> CaseId {
    use crate::referral::submit;
    let request = crate::referral::tests::seven_items(NURSE);
    let state = CaseState::default();
    world.run(HOSPITAL, |given| submit(&state, &request, given)).unwrap().reply.case
}

pub(super) fn post(post: PostId) -> PbRecipient {
    PbRecipient { who: Some(Who::PostId(post.into())) }
}

pub(super) fn kind(code: &str) -> PbRecipient {
    PbRecipient { who: Some(Who::AgencyKind(code.to_owned())) }
}

pub(super) fn numbers(classes: &[DataClass]) -> Vec<i32> {
    classes.iter().map(|class| i32::from(*class)).collect()
}

pub(super) fn signed(
    case: CaseId,
    recipients: Vec<PbRecipient>,
    classes: &[DataClass],
) -> pb::RecordSignedConsentRequest {
    pb::RecordSignedConsentRequest {
        case_id: case.into(),
        recipients,
        classes: numbers(classes),
        signer_relation: "father".to_owned(),
        consent_method: "paper".to_owned(),
        signed_on: date(2024, 4, 1),
        ..pb::RecordSignedConsentRequest::default()
    }
}

pub(super) fn record(
    world: &mut World,
    caller: PostId,
    request: &pb::RecordSignedConsentRequest,
) -> Result<Decision<GrantId>, Refusal> {
    let state = world.case(CaseId::trusted(&request.case_id));
    world.run(caller, |given| record_signed(&state, request, given))
}

/// A command on the case as it stands.
pub(super) fn run<R>(
    world: &mut World,
    caller: PostId,
    case: CaseId,
    decide: impl Fn(&CaseState, &mut Given<'_>) -> Result<Decision<R>, Refusal>,
) -> Result<Decision<R>, Refusal> {
    let state = world.case(case);
    world.run(caller, |given| decide(&state, given))
}

pub(super) fn take_back(case: CaseId, grant: Option<GrantId>) -> pb::WithdrawConsentRequest {
    pb::WithdrawConsentRequest {
        case_id: case.into(),
        grant_id: grant.map(String::from).unwrap_or_default(),
        ..pb::WithdrawConsentRequest::default()
    }
}

pub(super) fn withdrawn(
    world: &mut World,
    caller: PostId,
    request: &pb::WithdrawConsentRequest,
) -> Result<Decision<Vec<GrantId>>, Refusal> {
    run(world, caller, CaseId::trusted(&request.case_id), |state, given| withdraw(state, request, given))
}

pub(super) fn by_telephone(said_by: &str) -> Option<OnBehalf> {
    Some(OnBehalf {
        post_id: GUARDIAN.into(),
        said_by: said_by.to_owned(),
        said_on: date(2024, 4, 9),
        channel: "phone".to_owned(),
        evidence: "例示".to_owned(),
    })
}

/// Whether the post reads the class under some grant in force today.
pub(super) fn reads(world: &World, case: CaseId, post: PostId, class: DataClass) -> bool {
    let (circle, day) = (world.case(case).circle, days::epoch_day(world.today()));
    let kind = &world.directory.agency_of(post).unwrap().kind;
    let agency: AgencyId = agency_of(post);
    let mut grants = circle.grants.values();
    circle.is_member(post)
        && grants.any(|g| g.covers(post, agency, kind, day) && g.opens(post, agency, kind, class))
}

/// The posts that are told to stop by these events, with the classes.
pub(super) fn told_posts(events: &[Decided]) -> Vec<(PostId, Vec<i32>)> {
    let told = events.iter().filter_map(|decided| match &decided.event {
        Event::StopNoticeIssued(e) => Some((PostId::trusted(&e.to_post_id), e.classes.clone())),
        _ => None,
    });
    told.collect()
}
