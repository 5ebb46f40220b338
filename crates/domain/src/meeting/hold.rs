//! The steps around the minutes: the meeting took place, its minutes go round, each attendee confirms its part.

use std::collections::BTreeSet;

use tasuki_contract::event::v1::DutyKind;
use tasuki_contract::minutes::v1 as pb;

use super::{Meeting, MeetingState, Stage, doing, find, find_own};
use crate::days;
use crate::decision::{Decided, Decision, Given, check_etag};
use crate::fields;
use crate::ids::{MeetingId, PostId};
use crate::refusal::{Checks, Reason, Refusal, Violation};

/// Business days within which an attendee confirms.
const CONFIRM_BUSINESS_DAYS: u16 = 7;
/// Entries of an attendance list: the organizer and fifty invitees.
const ATTENDANCE_MAX: usize = 51;

/// Says that the meeting took place, and who came. Caller: the organizer.
///
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `STALE_ETAG`, `WRONG_STATE`, `NOT_INVITED`.
pub fn hold(
    state: &MeetingState,
    request: &pb::HoldMeetingRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let id = checks.take(MeetingId::parse("meeting_id", &request.meeting_id));
    let present = attendance(&mut checks, &request.attendance);
    checks.done()?;
    let id = id.ok_or(Reason::NotFound)?;
    let meeting = find_own(state, id, request.context.as_ref(), given)?;
    if meeting.stage != Stage::Scheduled {
        return Err(Refusal::State(meeting.stage.code()));
    }
    if !present.iter().all(|post| meeting.takes_part(*post)) {
        return Err(Reason::NotInvited.into());
    }
    let event = pb::MeetingHeld { meeting_id: id.into(), attendance: request.attendance.clone() };
    let doing = doing(id, &meeting.invited(), Stage::Held);
    let events = vec![doing.by(MeetingState::stream(id), event)];
    Ok(decision(id, meeting, events, ()))
}

/// Sends each attendee its part of the minutes. Caller: the organizer, who confirms by doing so.
///
/// Where nobody else came, the minutes are confirmed at once.
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `STALE_ETAG`, `WRONG_STATE`.
pub fn circulate(
    state: &MeetingState,
    request: &pb::CirculateMinutesRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let id = MeetingId::parse("meeting_id", &request.meeting_id)?;
    let meeting = find_own(state, id, request.context.as_ref(), given)?;
    if meeting.stage != Stage::Drafted {
        return Err(Refusal::State(meeting.stage.code()));
    }
    let waiting = meeting.to_confirm();
    let mut doing = doing(id, &meeting.present(), Stage::Circulated);
    for post in &waiting {
        let due = days::epoch_day(days::due_of_any(given, *post, CONFIRM_BUSINESS_DAYS));
        doing = doing.owes(DutyKind::DutyConfirmMinutes, id.0, *post, due);
    }
    let mut events =
        vec![doing.by(MeetingState::stream(id), pb::MinutesCirculated { meeting_id: id.into() })];
    if waiting.is_empty() {
        events.push(confirmed(id, meeting));
    }
    Ok(decision(id, meeting, events, ()))
}

/// Confirms the caller's part; the last attendee's confirmation confirms the minutes. Caller: an attendee.
///
/// The reply says whether every attendee has confirmed.
/// Errors: malformed fields, `NOT_FOUND`, `NOT_YOUR_PART`, `STALE_ETAG`, `WRONG_STATE`, `ALREADY_CONFIRMED`.
pub fn confirm(
    state: &MeetingState,
    request: &pb::ConfirmMinutesRequest,
    given: &mut Given<'_>,
) -> Result<Decision<bool>, Refusal> {
    let id = MeetingId::parse("meeting_id", &request.meeting_id)?;
    let meeting = find(state, given)?;
    let me = given.actor.post;
    // Before the etag: a post that did not come must not learn from it how the minutes go on.
    if !meeting.parties().contains(&me) {
        return Err(Reason::NotYourPart.into());
    }
    check_etag(request.context.as_ref(), id.0, meeting.revision)?;
    if meeting.stage < Stage::Circulated {
        return Err(Reason::WrongState.into());
    }
    if me == meeting.organizer || meeting.confirmed.contains(&me) {
        return Err(Reason::AlreadyConfirmed.into());
    }
    let doing = doing(id, &meeting.present(), Stage::Circulated);
    let doing = doing.ends(DutyKind::DutyConfirmMinutes, id.0, me);
    let event = pb::MinutesAttendeeConfirmed { meeting_id: id.into(), post_id: me.into() };
    let mut events = vec![doing.by(MeetingState::stream(id), event)];
    let last = meeting.to_confirm().iter().all(|post| *post == me || meeting.confirmed.contains(post));
    if last {
        events.push(confirmed(id, meeting));
    }
    Ok(decision(id, meeting, events, last))
}

fn confirmed(id: MeetingId, meeting: &Meeting) -> Decided {
    let doing = doing(id, &meeting.present(), Stage::Confirmed);
    doing.by(MeetingState::stream(id), pb::MinutesConfirmed { meeting_id: id.into() })
}

/// Every event here counts for the revision.
fn decision<R>(id: MeetingId, meeting: &Meeting, events: Vec<Decided>, reply: R) -> Decision<R> {
    let revision = meeting.revision + events.len() as u64;
    Decision { events, reply, item: Some((id.0, revision)) }
}

fn attendance(checks: &mut Checks, all: &[pb::Attendance]) -> BTreeSet<PostId> {
    checks.require(!all.is_empty(), "attendance", Violation::MISSING);
    checks.require(all.len() <= ATTENDANCE_MAX, "attendance", Violation::TOO_MANY);
    let mut posts = BTreeSet::new();
    for (i, entry) in all.iter().take(ATTENDANCE_MAX).enumerate() {
        let path = format!("attendance[{i}].post_id");
        if let Some(post) = fields::id(checks, &path, &entry.post_id) {
            checks.require(posts.insert(PostId(post)), path, Violation::DUPLICATE);
        }
        let people = (1..=999).contains(&entry.people);
        checks.require(people, format!("attendance[{i}].people"), Violation::OUT_OF_RANGE);
    }
    posts
}
