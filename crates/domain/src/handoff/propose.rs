//! The first steps of a hand-off: proposing another post, and offering it what it needs to know.

use tasuki_contract::DataClass;
use tasuki_contract::event::v1::{DutyKind, Relation};
use tasuki_contract::handoff::v1 as pb;

use super::{Stage, Step, actions_of, under_way};
use crate::case::CaseState;
use crate::circle::{Circle, Grant};
use crate::decision::{Decision, Given};
use crate::ids::{ActionId, AgencyId, CaseId, HandoffId, PostId};
use crate::refusal::{Checks, Reason, Refusal, Violation};
use crate::{days, dictionary, fields};

/// Business days within which the incoming post answers an offer.
const ANSWER_BUSINESS_DAYS: u16 = 10;
/// Characters of the summary.
const SUMMARY_CHARS_MAX: usize = 4_000;
/// Keys of the do-not-ask-again list.
const KEYS_MAX: usize = 300;
/// What the incoming post must be able to read before it is offered the case.
const NEEDED_CLASSES: [DataClass; 4] =
    [DataClass::Handoff, DataClass::Lead, DataClass::Identity, DataClass::CareProcedure];

/// Proposes that another post becomes responsible. Caller: the responsible post or the ward's.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `ALREADY_LEAD`, `HANDOFF_UNDER_WAY`, `UNKNOWN_POST`,
/// `POST_RETIRED`, `MAY_NOT_LEAD`.
pub fn propose(
    state: &CaseState,
    request: &pb::ProposeHandoffRequest,
    given: &mut Given<'_>,
) -> Result<Decision<HandoffId>, Refusal> {
    let mut checks = Checks::default();
    let case = checks.take(CaseId::parse("case_id", &request.case_id));
    let incoming = checks.take(PostId::parse("incoming_post_id", &request.incoming_post_id));
    fields::chosen::<pb::HandoffKind>(&mut checks, "kind", request.kind);
    fields::at_most(&mut checks, "reason_text", &request.reason_text, fields::TEXT_CHARS_MAX);
    checks.done()?;
    let (Some(case), Some(incoming)) = (case, incoming) else { return Err(Reason::NotFound.into()) };

    let me = given.actor.post;
    let Some(outgoing) = state.circle.lead.filter(|_| state.circle.is_member(me)) else {
        return Err(Reason::NotFound.into());
    };
    let ward = state.circle.relations.get(&me).is_some_and(|all| all.contains(&Relation::Ward));
    if me != outgoing && !ward {
        return Err(Reason::NotYourPart.into());
    }
    if incoming == outgoing {
        return Err(Reason::AlreadyLead.into());
    }
    if under_way(state).is_some() {
        return Err(Reason::HandoffUnderWay.into());
    }
    given.directory.may_lead(incoming, &state.municipality_code)?;

    let id = HandoffId(given.ids.fresh());
    let parties = super::parties(outgoing, Some(incoming), me);
    let doing = super::doing(case, id, &parties, Stage::Proposed).joins(incoming, Relation::Asked);
    let event = pb::HandoffProposed {
        handoff_id: id.into(),
        case_id: case.into(),
        kind: request.kind,
        outgoing_post_id: outgoing.into(),
        incoming_post_id: incoming.into(),
        reason_text: request.reason_text.clone(),
    };
    let events = vec![doing.by(CaseState::stream(case), event)];
    Ok(Decision { events, reply: id, item: Some((id.0, 1)) })
}

/// Offers a proposed hand-off with the open actions that go with it. Caller: the outgoing post.
///
/// The reply lists those actions, in the order of their ids.
/// Errors: malformed fields, `NOT_FOUND`, `STALE_ETAG`, `NOT_YOUR_PART`, `WRONG_STATE`, `CONSENT_DOES_NOT_COVER`, and
/// those of the directory about the incoming post.
pub fn offer(
    state: &CaseState,
    request: &pb::OfferHandoffRequest,
    given: &mut Given<'_>,
) -> Result<Decision<Vec<ActionId>>, Refusal> {
    let mut checks = Checks::default();
    let id = checks.take(HandoffId::parse("handoff_id", &request.handoff_id));
    fields::text(&mut checks, "summary", &request.summary, SUMMARY_CHARS_MAX);
    check_keys(&mut checks, &request.do_not_ask_again_keys);
    checks.done()?;
    let step = Step::find(state, id, request.context.as_ref(), given, |h, me| me == h.outgoing)?;
    let incoming = step.handoff.incoming;
    if step.handoff.stage != Stage::Proposed {
        return Err(Refusal::State(step.handoff.stage.code()));
    }
    given.directory.may_lead(incoming, &state.municipality_code)?;
    require_consent(state, incoming, given)?;

    let actions: Vec<ActionId> = actions_of(state, step.handoff.outgoing).into_iter().collect();
    let due = days::epoch_day(days::due(given, incoming, ANSWER_BUSINESS_DAYS)?);
    // One that declined before is asked again by this offer.
    let handoff = step.handoff;
    let parties = super::parties(handoff.outgoing, Some(incoming), handoff.proposer);
    let doing = super::doing(handoff.case, step.id, &parties, Stage::Offered)
        .joins(incoming, Relation::Asked)
        .owes(DutyKind::DutyHandoffAnswer, step.id.0, incoming, due);
    let event = pb::HandoffOffered {
        handoff_id: step.id.into(),
        open_action_ids: actions.iter().map(|a| String::from(*a)).collect(),
        do_not_ask_again_keys: request.do_not_ask_again_keys.clone(),
        summary: request.summary.clone(),
    };
    Ok(step.decide(actions, doing, event))
}

fn check_keys(checks: &mut Checks, keys: &[String]) {
    fields::no_repeats(checks, "do_not_ask_again_keys", keys, KEYS_MAX);
    for (i, key) in keys.iter().take(KEYS_MAX).enumerate() {
        let known = dictionary::field(key).is_some();
        checks.require(known, format!("do_not_ask_again_keys[{i}]"), Violation::UNKNOWN_KEY);
    }
}

/// Whether the grants in force today let the incoming post read what it would answer for.
fn require_consent(state: &CaseState, incoming: PostId, given: &Given<'_>) -> Result<(), Refusal> {
    let (_, agency) = given.directory.active_post(incoming)?;
    let today = days::epoch_day(given.today());
    let covered = reads_what_it_needs(&state.circle, incoming, agency.id, &agency.kind, today);
    if covered { Ok(()) } else { Err(Reason::ConsentDoesNotCover.into()) }
}

/// Whether the grants in force on the day let the post read what it must before it is offered the case.
pub(crate) fn reads_what_it_needs(
    circle: &Circle,
    post: PostId,
    agency: AgencyId,
    kind: &str,
    day: i32,
) -> bool {
    let grants: Vec<&Grant> =
        circle.grants.values().filter(|grant| grant.covers(post, agency, kind, day)).collect();
    let reads = |class: &DataClass| grants.iter().any(|grant| grant.opens(post, agency, kind, *class));
    NEEDED_CLASSES.iter().all(reads)
}
