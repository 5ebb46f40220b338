//! Consents: what a family allows, step by step, and what becomes of it when it is taken back.
//!
//! A consent and the grant that it gives have one id. What a grant opens stands in the effects of events, where circle
//! and policy read it; this context decides about the steps and keeps who was near.
//!
//! ```text
//! prepare ─▶ draft ─explain─▶ explained ─sign─▶ active ─narrow, renew─▶ active
//!              │ refuse           │ refuse        │ its last day passes ─▶ grace ─▶ expired
//!              ▼                  ▼               ▼
//!           refused            refused         withdraw (from any of them, always) ─▶ withdrawn, or active for less
//! ```
//!
//! A consent held at source comes with a referral or a consultation, and is `active` at once. What a law opens is no
//! consent: [`record_legal_basis`] keeps it apart, and no withdrawal ends it.

mod change;
mod legal;
mod notice;
mod record;
mod state;
mod terms;
#[cfg(test)]
mod tests;
mod withdraw;

use std::collections::BTreeSet;

use tasuki_contract::DataClass;
use tasuki_contract::common::v1::OnBehalf;
use tasuki_contract::event::v1::{GrantChange, Relation};

pub use change::{change_signer, narrow, renew};
pub use legal::{end_legal_basis, record_legal_basis};
pub use notice::{acknowledge_stop_notice, resolve_hold};
pub use record::{explain, prepare, record_signed, refuse, sign};
pub use state::{ConsentState, Consents, Hold, Stage, StopNotice, evolve};
pub use terms::check_at_source;
pub use withdraw::withdraw;

use crate::case::CaseState;
use crate::circle::{Grant, Recipient};
use crate::codes::Table;
use crate::days;
use crate::decision::Given;
use crate::effects::Doing;
use crate::fields;
use crate::ids::{CaseId, GrantId, PostId};
use crate::refusal::{Checks, Reason, Refusal, Violation};

/// What a consent held at source covers: every personal class but those that need a consent of their own.
pub const SOURCE_CLASSES: &[DataClass] = &[
    DataClass::Lead,
    DataClass::Identity,
    DataClass::CareProcedure,
    DataClass::Diagnosis,
    DataClass::Instruction,
    DataClass::ReferralState,
    DataClass::Handoff,
    DataClass::Question,
    DataClass::Minutes,
    DataClass::LocalIssue,
    DataClass::ReaderLog,
    DataClass::Support,
    DataClass::Consent,
];

/// Who may sign.
pub const SIGNER_RELATIONS: [&str; 5] = ["mother", "father", "parents", "guardian", "self"];
/// How a consent is given.
pub const METHODS: [&str; 3] = ["paper", "verbal", "paper_and_verbal"];
/// Whose data a consent may be about.
pub const DATA_SUBJECTS: [&str; 4] = ["child", "mother", "father", "guardian"];
/// Kind of the agencies that are families: a consent never names all of them.
pub const FAMILY_KIND: &str = "family";
/// For so many days after its last one, who had something under a consent keeps it, where its text says so.
pub const GRACE_DAYS: i32 = 60;
/// Business days within which a stop notice is acknowledged, and work on hold is looked at.
const ANSWER_BUSINESS_DAYS: u16 = 2;

/// What the caller is to the consents of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The responsible post or the municipality's intake post: it keeps the consents.
    Keeper,
    /// A guardian, or the child: it speaks for itself.
    Family,
}

/// What the post is to the consents of the case.
///
/// Errors: `NOT_FOUND` for an unknown case and for a post outside its circle alike; `NOT_YOUR_PART`.
pub fn role(state: &CaseState, post: PostId) -> Result<Role, Refusal> {
    let relations = state.circle.relations.get(&post);
    let is = |relation| relations.is_some_and(|all| all.contains(&relation));
    match () {
        () if !state.exists() || !state.circle.is_member(post) => Err(Reason::NotFound.into()),
        () if state.circle.lead == Some(post) || is(Relation::Ward) => Ok(Role::Keeper),
        () if is(Relation::Family) => Ok(Role::Family),
        () => Err(Reason::NotYourPart.into()),
    }
}

/// Errors: those of [`role`]; `NOT_YOUR_PART` to a family.
fn keeper(state: &CaseState, given: &Given<'_>) -> Result<(), Refusal> {
    match role(state, given.actor.post)? {
        Role::Keeper => Ok(()),
        Role::Family => Err(Reason::NotYourPart.into()),
    }
}

/// Who sees what happens to a consent as its own part: the caller, the responsible post, the ward's.
fn parties(state: &CaseState, given: &Given<'_>) -> impl Iterator<Item = PostId> {
    let ward = state.circle.relations.iter().filter(|(_, all)| all.contains(&Relation::Ward));
    [given.actor.post].into_iter().chain(state.circle.lead).chain(ward.map(|(post, _)| *post))
}

/// A consent of the case.
///
/// Errors: `NOT_FOUND`, for a legal basis too.
fn consent(state: &CaseState, id: Option<GrantId>) -> Result<(GrantId, &ConsentState), Refusal> {
    let found = id.and_then(|id| Some((id, state.consents.all.get(&id)?)));
    found.filter(|(_, consent)| !consent.terms.by_law).ok_or_else(|| Reason::NotFound.into())
}

/// Notes what is malformed in who said something; the post for whom it is recorded, if it stands in the circle.
fn check_on_behalf(
    checks: &mut Checks,
    said: Option<&OnBehalf>,
    state: &CaseState,
    given: &Given<'_>,
) -> Option<PostId> {
    let said = said?;
    let post = fields::optional_id(checks, "on_behalf.post_id", &said.post_id).map(PostId);
    fields::text(checks, "on_behalf.said_by", &said.said_by, fields::LABEL_CHARS_MAX);
    if let Some(day) = fields::day(checks, "on_behalf.said_on", said.said_on.as_ref()) {
        checks.require(day <= given.today(), "on_behalf.said_on", Violation::OUT_OF_RANGE);
    }
    fields::code(checks, "on_behalf.channel", &[Table::ContactMethod], &said.channel);
    fields::at_most(checks, "on_behalf.evidence", &said.evidence, fields::TEXT_CHARS_MAX);
    // A header takes no id that is nobody's.
    post.filter(|post| state.circle.has(*post))
}

/// The change of a grant to these terms.
fn now_grants(doing: Doing, id: GrantId, consent: &ConsentState, terms: &Grant) -> Doing {
    let pending = consent.stage < Stage::Active;
    let of_other_subject = consent.of_other_subject;
    doing.grant(GrantChange { pending, of_other_subject, ..terms.to_change(id) })
}

/// The grant is over.
fn ends_grant(doing: Doing, id: GrantId, terms: &Grant) -> Doing {
    doing.grant(GrantChange {
        grant_id: id.into(),
        ends: true,
        by_law: terms.by_law,
        ..GrantChange::default()
    })
}

/// Lets the posts go that these terms named and that no grant names any more, as everything stands after `doing`: of two
/// consents that end together each would else keep the other's posts.
///
/// A guardian's post goes only where it is one of `put_out`, and never by its own hand.
fn parts<'g>(
    mut doing: Doing,
    state: &CaseState,
    case: CaseId,
    given: &Given<'_>,
    changed: impl Iterator<Item = &'g Grant>,
    put_out: &[Recipient],
) -> Doing {
    let mut after = state.circle.clone();
    after.apply(case, doing.so_far());
    let today = days::epoch_day(given.today());
    let lasts =
        |grant: &Grant| grant.valid_to_day.is_none_or(|last| today <= last.saturating_add(grant.grace_days));
    let posts: BTreeSet<PostId> = changed.flat_map(named_posts).collect();
    for post in posts {
        let means = |grant: &Grant| {
            let office = given.directory.office_of(post);
            named_posts(grant).any(|named| named == post)
                && office.is_none_or(|(agency, kind)| grant.names(post, agency, kind))
        };
        if after.grants.values().any(|grant| lasts(grant) && means(grant)) {
            continue;
        }
        let stands = |relation| state.circle.relations.get(&post).is_some_and(|all| all.contains(&relation));
        if stands(Relation::Named) {
            doing = doing.leaves(post, Relation::Named);
        }
        let put_out = put_out.contains(&Recipient::Post(post)) && post != given.actor.post;
        if put_out && stands(Relation::Family) {
            doing = doing.leaves(post, Relation::Family);
        }
    }
    doing
}

fn named_posts(grant: &Grant) -> impl Iterator<Item = PostId> + '_ {
    grant.recipients.iter().filter_map(|recipient| match recipient {
        Recipient::Post(post) => Some(*post),
        Recipient::Agency(_) | Recipient::Kind(_) => None,
    })
}

/// The case of a request that was checked.
fn checked(case: Option<CaseId>) -> CaseId {
    case.unwrap_or(CaseId(uuid::Uuid::nil()))
}

/// Whether the work may go on.
///
/// Errors: `ON_HOLD` to the post that lost what it read for it.
pub fn require_not_held(state: &CaseState, item: uuid::Uuid, post: PostId) -> Result<(), Refusal> {
    let held = state.consents.held.get(&item).is_some_and(|hold| hold.post == post);
    if held { Err(Reason::OnHold.into()) } else { Ok(()) }
}
