//! Taking a consent back, in whole or in part: who may, what is left, who is told, what has to wait.
//!
//! Who is told follows from events alone: every office that a consent named and that stood in the circle at some time
//! while it was in force. Each could read under it, whether or not it did, and the read log is asked by nobody: it
//! belongs to the family.
//!
//! Every post is told by an event of its own, so that no recipient learns of another one.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_contract::DataClass;
use tasuki_contract::consent::v1 as pb;
use tasuki_contract::event::v1::{DutyKind, Relation};
use uuid::Uuid;

use super::terms::{check_classes, check_recipients};
use super::{
    ANSWER_BUSINESS_DAYS, ConsentState, FAMILY_KIND, Stage, check_on_behalf, checked, consent, ends_grant,
    now_grants, parties, parts, role,
};
use crate::case::CaseState;
use crate::circle::{Circle, Except, Grant, Recipient};
use crate::decision::{Decided, Decision, Given};
use crate::effects::Doing;
use crate::handoff::reads_what_it_needs;
use crate::ids::{CaseId, GrantId, NoticeId, PostId};
use crate::refusal::{Checks, Refusal};
use crate::{days, dictionary, fields};

/// What is taken from a grant. With neither recipients nor classes: all of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    pub recipients: Vec<Recipient>,
    pub classes: BTreeSet<DataClass>,
}

impl Taken {
    /// What is left of the terms; `None`: nothing.
    pub(super) fn from(&self, terms: &Grant) -> Option<Grant> {
        let mut rest = terms.clone();
        match (self.recipients.is_empty(), self.classes.is_empty()) {
            (true, true) => return None,
            (true, false) => rest.classes.retain(|class| !self.classes.contains(class)),
            (false, _) => self.except(&mut rest),
        }
        (!rest.classes.is_empty() && !rest.recipients.is_empty()).then_some(rest)
    }

    /// Of a recipient that is named by itself nothing is left where nothing but posts is named; otherwise a kind or an
    /// agency may stand for it too, and the grant says that it does not.
    fn except(&self, rest: &mut Grant) {
        let whole = self.classes.is_empty() || rest.classes.is_subset(&self.classes);
        if whole {
            rest.recipients.retain(|recipient| !self.recipients.contains(recipient));
        }
        let posts_only = rest.recipients.iter().all(|r| matches!(r, Recipient::Post(_)));
        for recipient in &self.recipients {
            let gone = whole && posts_only && matches!(recipient, Recipient::Post(_));
            let classes = if whole { BTreeSet::new() } else { self.classes.clone() };
            let except = Except { recipient: recipient.clone(), classes };
            if !gone && !rest.excepts.contains(&except) {
                rest.excepts.push(except);
            }
        }
    }
}

/// What becomes of one consent: its terms before, and what is left of them.
pub(super) struct Change<'s> {
    pub id: GrantId,
    pub consent: &'s ConsentState,
    pub rest: Option<Grant>,
}

impl Change<'_> {
    /// The effects of the change, without the posts that are told.
    pub(super) fn on(&self, doing: Doing) -> Doing {
        let Self { id, consent, rest } = self;
        match rest {
            Some(rest) => now_grants(doing, *id, consent, rest),
            None => ends_grant(doing, *id, &consent.terms),
        }
    }
}

/// Takes consents back. Caller: the responsible post, the municipality's intake post, or a guardian's own.
///
/// There is no precondition: an etag is not looked at, and what was taken back before is taken back once more, on
/// record and without any effect. The reply names the consents that hold for less now.
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`.
pub fn withdraw(
    state: &CaseState,
    request: &pb::WithdrawConsentRequest,
    given: &mut Given<'_>,
) -> Result<Decision<Vec<GrantId>>, Refusal> {
    let mut checks = Checks::default();
    let case = fields::id(&mut checks, "case_id", &request.case_id).map(CaseId);
    let one = fields::optional_id(&mut checks, "grant_id", &request.grant_id).map(GrantId);
    let recipients = check_recipients(&mut checks, &request.recipients);
    let classes = check_classes(&mut checks, &request.classes);
    fields::at_most(&mut checks, "note", &request.note, fields::TEXT_CHARS_MAX);
    let speaker = check_on_behalf(&mut checks, request.on_behalf.as_ref(), state, given);
    checks.done()?;
    role(state, given.actor.post)?;

    let case = checked(case);
    let meant: Vec<GrantId> = match one {
        Some(id) => vec![consent(state, Some(id))?.0],
        None => state.consents.all.iter().filter(|(_, c)| !c.terms.by_law).map(|(id, _)| *id).collect(),
    };
    let taken = Taken { recipients, classes };
    let mut changes: Vec<Change<'_>> = Vec::new();
    for id in meant {
        let Some(consent) = state.consents.all.get(&id).filter(|consent| consent.can_end()) else { continue };
        let rest = taken.from(&consent.terms);
        if rest.as_ref() != Some(&consent.terms) {
            changes.push(Change { id, consent, rest });
        }
    }
    let ids: Vec<GrantId> = changes.iter().map(|change| change.id).collect();
    let doing = Doing::of(case).parties(parties(state, given)).on_behalf_of(speaker);
    let doing = changes.iter().fold(doing, |doing, change| change.on(doing));
    let named = if ids.is_empty() { one.into_iter().collect() } else { ids.clone() };
    let event = pb::ConsentWithdrawn {
        case_id: case.into(),
        grant_ids: named.into_iter().map(String::from).collect(),
        recipients: request.recipients.clone(),
        classes: request.classes.clone(),
        note: request.note.clone(),
        on_behalf: request.on_behalf.clone(),
    };
    let events = told(state, case, &changes, &taken.recipients, doing, event, given);
    let item = one.map(|id| {
        let version = state.consents.all.get(&id).map_or(0, |consent| consent.version);
        (id.0, version + u64::from(ids.contains(&id)))
    });
    Ok(Decision { events, reply: ids, item })
}

/// The event that takes something back, with the posts that go (`put_out`: those that are named for it), then a notice to
/// each post that loses something, then what has to wait.
pub(super) fn told(
    state: &CaseState,
    case: CaseId,
    changes: &[Change<'_>],
    put_out: &[Recipient],
    doing: Doing,
    event: impl Into<tasuki_contract::Event>,
    given: &mut Given<'_>,
) -> Vec<Decided> {
    let terms = changes.iter().map(|change| &change.consent.terms);
    let doing = parts(doing, state, case, given, terms, put_out);
    let mut after = state.circle.clone();
    after.apply(case, doing.so_far());
    let mut events = vec![doing.by(CaseState::stream(case), event)];
    events.extend(notices(state, case, changes, given));
    events.extend(holds(state, &after, case, changes, given));
    events
}

/// A stop notice for every office that loses something; who records it knows already.
fn notices(state: &CaseState, case: CaseId, changes: &[Change<'_>], given: &mut Given<'_>) -> Vec<Decided> {
    let me = given.actor.post;
    let mut lost: BTreeMap<PostId, (BTreeSet<GrantId>, BTreeSet<DataClass>)> = BTreeMap::new();
    for Change { id, consent, rest } in changes.iter().filter(|change| change.consent.stage == Stage::Active)
    {
        for post in consent.around.iter().filter(|post| **post != me) {
            let Some((agency, kind)) = given.directory.office_of(*post) else { continue };
            if kind == FAMILY_KIND {
                continue;
            }
            let reads = |grant: &Grant, class: &DataClass| {
                grant.names(*post, agency, kind) && grant.opens(*post, agency, kind, *class)
            };
            let read = consent.terms.classes.iter().filter(|class| reads(&consent.terms, class));
            let mut gone: BTreeSet<DataClass> =
                read.filter(|class| !rest.as_ref().is_some_and(|rest| reads(rest, class))).copied().collect();
            let keys =
                rest.iter().flat_map(|rest| rest.excluded_keys.difference(&consent.terms.excluded_keys));
            gone.extend(keys.filter_map(|key| class_of(key)).filter(|class| reads(&consent.terms, class)));
            if !gone.is_empty() {
                let of_post = lost.entry(*post).or_default();
                of_post.0.insert(*id);
                of_post.1.extend(gone);
            }
        }
    }
    let keepers: Vec<PostId> = parties(state, given).collect();
    let mut notice = |(post, (grants, classes)): (PostId, (BTreeSet<GrantId>, BTreeSet<DataClass>))| {
        let id = NoticeId(given.ids.fresh());
        let due = days::epoch_day(days::due_of_any(given, post, ANSWER_BUSINESS_DAYS));
        let doing = Doing::of(case).parties([post].into_iter().chain(keepers.iter().copied())).owes(
            DutyKind::DutyStopNotice,
            id.0,
            post,
            due,
        );
        let event = pb::StopNoticeIssued {
            notice_id: id.into(),
            case_id: case.into(),
            grant_ids: grants.into_iter().map(String::from).collect(),
            to_post_id: post.into(),
            classes: classes.into_iter().map(|class| class as i32).collect(),
        };
        doing.by(CaseState::stream(case), event)
    };
    lost.into_iter().map(&mut notice).collect()
}

fn class_of(key: &str) -> Option<DataClass> {
    dictionary::field(key).and_then(|field| DataClass::from_str_name(field.class.name()))
}

/// Open work that rested on what was taken back: its post could read for it before and cannot any more.
fn holds(
    state: &CaseState,
    after: &Circle,
    case: CaseId,
    changes: &[Change<'_>],
    given: &mut Given<'_>,
) -> Vec<Decided> {
    let today = days::epoch_day(given.today());
    let owner = state.circle.lead.or_else(|| {
        let ward = |all: &BTreeSet<Relation>| all.contains(&Relation::Ward);
        state.circle.relations.iter().find(|(_, all)| ward(all)).map(|(post, _)| *post)
    });
    let Some(owner) = owner else { return Vec::new() };
    let covered = |circle: &Circle, post: PostId| {
        let office = given.directory.office_of(post);
        office.is_some_and(|(agency, kind)| {
            circle.grants.values().any(|grant| grant.covers(post, agency, kind, today))
        })
    };
    let needs = |circle: &Circle, post: PostId| {
        let office = given.directory.office_of(post);
        office.is_some_and(|(agency, kind)| reads_what_it_needs(circle, post, agency, kind, today))
    };
    let mut waiting: Vec<(Uuid, PostId, Vec<PostId>)> = Vec::new();
    for (id, referral) in &state.referrals {
        use crate::referral::Stage::{Closed, NeedsRouting};
        let open = !matches!(referral.stage, Closed | NeedsRouting);
        if let Some(post) = referral.asked().filter(|_| open)
            && covered(&state.circle, post)
            && !covered(after, post)
        {
            waiting.push((id.0, post, referral.parties().collect()));
        }
    }
    for (id, handoff) in state.handoffs.iter().filter(|(_, handoff)| handoff.stage.is_open()) {
        if let Some(post) = handoff.asked()
            && needs(&state.circle, post)
            && !needs(after, post)
        {
            waiting.push((id.0, post, handoff.parties()));
        }
    }
    waiting.retain(|(item, post, _)| state.consents.held.get(item).is_none_or(|hold| hold.post != *post));
    let due = days::epoch_day(days::due_of_any(given, owner, ANSWER_BUSINESS_DAYS));
    let keepers: Vec<PostId> = parties(state, given).collect();
    let hold = |(item, post, all): (Uuid, PostId, Vec<PostId>)| {
        let doing = Doing::of(case)
            .parties([post].into_iter().chain(all).chain(keepers.iter().copied()))
            .owes(DutyKind::DutyReviewHold, item, owner, due);
        let event = pb::WorkPutOnHold {
            case_id: case.into(),
            item_id: item.to_string(),
            grant_ids: changes.iter().map(|change| change.id.to_string()).collect(),
        };
        doing.by(CaseState::stream(case), event)
    };
    waiting.into_iter().map(hold).collect()
}
