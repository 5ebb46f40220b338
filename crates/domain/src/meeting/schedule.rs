//! Calling a meeting: who is invited, and what stands on its agenda for whom.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{Timestamp, ToSpan};
use tasuki_contract::minutes::v1 as pb;

use super::{MeetingState, Stage, doing, member_of, within};
use crate::case::CaseState;
use crate::codes::Table;
use crate::days;
use crate::decision::{Decision, Given};
use crate::effects::Doing;
use crate::fields;
use crate::ids::{CaseId, MeetingId, PostId};
use crate::refusal::{Checks, Refusal, Violation};

const PLACE_CHARS_MAX: usize = 200;
const ITEM_CHARS_MAX: usize = 1_000;
const INVITEES_MAX: usize = 50;
const AGENDA_MAX: usize = 50;
/// How far ahead a meeting may be called, in hours.
const AHEAD_HOURS_MAX: i64 = 24 * 731;

/// The well-formed case ids on the agenda: the cases whose states [`schedule`] needs.
pub fn cases_named(request: &pb::ScheduleMeetingRequest) -> BTreeSet<CaseId> {
    let items = request.agenda.iter().take(AGENDA_MAX);
    items.filter_map(|item| CaseId::parse("case_id", &item.case_id).ok()).collect()
}

/// Calls a meeting. Caller: any active post; for a case, a member of its circle.
///
/// `cases` holds the states of [`cases_named`]; one that is not in it counts as unknown. Each case gets its own items,
/// and of the invited posts only those of its circle see them. The invitation itself is for those invited alone.
/// Errors: malformed fields, `NOT_FOUND`, `UNKNOWN_POST`, `POST_RETIRED`.
pub fn schedule(
    cases: &BTreeMap<CaseId, CaseState>,
    request: &pb::ScheduleMeetingRequest,
    given: &mut Given<'_>,
) -> Result<Decision<MeetingId>, Refusal> {
    let me = given.actor.post;
    let mut checks = Checks::default();
    check_meeting(&mut checks, request, given);
    let invitees = invitees(&mut checks, &request.invitee_post_ids, me);
    let items = agenda(&mut checks, &request.agenda);
    checks.done()?;

    let named: BTreeSet<CaseId> = items.iter().filter_map(|(case, _)| *case).collect();
    for case in &named {
        member_of(cases, *case, given)?;
    }
    for post in invitees.iter().chain([&me]) {
        given.directory.active_post(*post)?;
    }

    let id = MeetingId(given.ids.fresh());
    let invited: BTreeSet<PostId> = invitees.iter().copied().chain([me]).collect();
    let texts_of = |wanted: Option<CaseId>| {
        let own = items.iter().filter(move |(case, _)| *case == wanted);
        own.map(|(_, text)| (*text).to_owned()).collect::<Vec<_>>()
    };
    let scheduled = pb::MeetingScheduled {
        meeting_id: id.into(),
        meeting_kind: request.meeting_kind.clone(),
        organizer_post_id: me.into(),
        invitee_post_ids: invitees.iter().map(|p| String::from(*p)).collect(),
        starts_at: request.starts_at,
        place: request.place.clone(),
        agenda: texts_of(None),
    };
    let calling = doing(id, &invited, Stage::Scheduled).concerns(named.iter().copied());
    let mut events = vec![calling.by(MeetingState::stream(id), scheduled)];
    for case in named {
        let state = member_of(cases, case, given)?;
        let agenda = texts_of(Some(case));
        let tabled = pb::CaseTabled { meeting_id: id.into(), case_id: case.into(), agenda };
        let doing = Doing::of(case).parties(within(&invited, state));
        events.push(doing.by(CaseState::stream(case), tabled));
    }
    Ok(Decision { events, reply: id, item: Some((id.0, 1)) })
}

fn check_meeting(checks: &mut Checks, request: &pb::ScheduleMeetingRequest, given: &Given<'_>) {
    fields::code(checks, "meeting_kind", &[Table::MeetingKind], &request.meeting_kind);
    match request.starts_at.as_ref().map(|at| days::instant(at.seconds, at.nanos)) {
        None => checks.require(false, "starts_at", Violation::MISSING),
        Some(None) => checks.require(false, "starts_at", Violation::BAD_DATE),
        Some(Some(at)) => {
            let last = given.now.checked_add(AHEAD_HOURS_MAX.hours()).unwrap_or(Timestamp::MAX);
            checks.require(at <= last, "starts_at", Violation::OUT_OF_RANGE);
        }
    }
    fields::at_most(checks, "place", &request.place, PLACE_CHARS_MAX);
}

fn invitees(checks: &mut Checks, ids: &[String], organizer: PostId) -> Vec<PostId> {
    checks.require(!ids.is_empty(), "invitee_post_ids", Violation::MISSING);
    let all = fields::ids(checks, "invitee_post_ids", ids, INVITEES_MAX);
    for (i, post) in &all {
        checks.require(*post != organizer.0, format!("invitee_post_ids[{i}]"), Violation::NOT_ALLOWED);
    }
    all.into_iter().map(|(_, post)| PostId(post)).collect()
}

fn agenda<'r>(checks: &mut Checks, items: &'r [pb::AgendaItem]) -> Vec<(Option<CaseId>, &'r str)> {
    checks.require(items.len() <= AGENDA_MAX, "agenda", Violation::TOO_MANY);
    let mut all = Vec::new();
    for (i, item) in items.iter().take(AGENDA_MAX).enumerate() {
        fields::text(checks, &format!("agenda[{i}].text"), &item.text, ITEM_CHARS_MAX);
        let case = fields::optional_id(checks, &format!("agenda[{i}].case_id"), &item.case_id);
        all.push((case.map(CaseId), item.text.as_str()));
    }
    all
}
