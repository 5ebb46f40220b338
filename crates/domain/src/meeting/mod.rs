//! Meetings, from the invitation to confirmed minutes, each post with its own part of them.
//!
//! What concerns no case stands in the meeting's stream and in no case's timeline, for the invited posts alone: a
//! circle must not learn from its own child's timeline who meets about other children. What concerns a case stands in
//! that case's stream, so that it is sealed with that case's key and reaches that case's circle alone. The state here folds the meeting's
//! stream; decisions that touch cases are given those cases' states too. Neither reads a sealed text or time.
//!
//! ```text
//! scheduled ─hold─▶ held ─draft─▶ drafted ─circulate─▶ circulated ─every attendee confirms─▶ confirmed
//! ```

mod draft;
mod hold;
mod schedule;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use tasuki_contract::Event;
use tasuki_contract::common::v1::CommandContext;
use tasuki_contract::event::v1::ItemKind;

pub use draft::draft;
pub use hold::{circulate, confirm, hold};
pub use schedule::{cases_named, schedule};

use crate::case::CaseState;
use crate::decision::{Given, Kind, Recorded, StreamRef, check_etag, day_in_tokyo};
use crate::effects::Doing;
use crate::ids::{CaseId, MeetingId, PostId};
use crate::refusal::{Reason, Refusal};

/// How far a meeting has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Called.
    Scheduled,
    /// It took place.
    Held,
    /// Minutes are written.
    Drafted,
    /// Each attendee has its part.
    Circulated,
    /// Every attendee has confirmed.
    Confirmed,
}

impl Stage {
    /// The code that lists carry.
    pub fn code(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Held => "held",
            Self::Drafted => "drafted",
            Self::Circulated => "circulated",
            Self::Confirmed => "confirmed",
        }
    }
}

/// What a meeting's stream says of the meeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// The post that calls it.
    pub organizer: PostId,
    /// The posts that are invited, without the organizer.
    pub invitees: BTreeSet<PostId>,
    /// The cases on its agenda.
    pub cases: BTreeSet<CaseId>,
    /// How far it has come.
    pub stage: Stage,
    /// The day on which it took place, as the organizer says.
    pub held_on: Option<Date>,
    /// The posts that somebody came from.
    pub attendees: BTreeSet<PostId>,
    /// Attendees that have confirmed, without the organizer.
    pub confirmed: BTreeSet<PostId>,
    /// Number of events about it, without those on single actions.
    pub revision: u64,
}

/// The state of a meeting's stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeetingState {
    /// Version of the stream; 0: the meeting does not exist.
    pub version: u64,
    /// The meeting; `None` before it was called.
    pub meeting: Option<Meeting>,
}

impl MeetingState {
    /// The stream of a meeting.
    pub fn stream(id: MeetingId) -> StreamRef {
        StreamRef { kind: Kind::Meeting, id: id.0 }
    }

    /// The cases whose states a decision on the meeting needs.
    pub fn cases(&self) -> BTreeSet<CaseId> {
        self.meeting.as_ref().map(|m| m.cases.clone()).unwrap_or_default()
    }

    /// Folds one event of the meeting's stream. Never fails.
    pub fn evolve(&mut self, recorded: &Recorded) {
        self.version = recorded.header.version;
        if let Event::MeetingScheduled(e) = &recorded.event {
            self.meeting = Some(Meeting {
                organizer: PostId::trusted(&e.organizer_post_id),
                invitees: e.invitee_post_ids.iter().map(|id| PostId::trusted(id)).collect(),
                cases: concerned(recorded),
                stage: Stage::Scheduled,
                held_on: None,
                attendees: BTreeSet::new(),
                confirmed: BTreeSet::new(),
                revision: 1,
            });
            return;
        }
        let Some(meeting) = &mut self.meeting else { return };
        match &recorded.event {
            Event::MeetingHeld(e) => {
                meeting.stage = Stage::Held;
                meeting.held_on = Some(day_in_tokyo(occurred_at(recorded)));
                meeting.attendees = e.attendance.iter().map(|a| PostId::trusted(&a.post_id)).collect();
            }
            Event::MinutesDrafted(_) => meeting.stage = Stage::Drafted,
            Event::MinutesCirculated(_) => meeting.stage = Stage::Circulated,
            Event::MinutesAttendeeConfirmed(e) => {
                meeting.confirmed.insert(PostId::trusted(&e.post_id));
            }
            Event::MinutesConfirmed(_) => meeting.stage = Stage::Confirmed,
            _ => return,
        }
        meeting.revision += 1;
    }
}

/// The cases on the agenda: they stand in the effects, since the event stands in no case's timeline.
fn concerned(recorded: &Recorded) -> BTreeSet<CaseId> {
    let ids = recorded.header.effects.iter().flat_map(|effects| &effects.concerned_case_ids);
    ids.map(|id| CaseId::trusted(id)).collect()
}

/// When an event happened; when it was recorded, where its header does not say.
fn occurred_at(recorded: &Recorded) -> Timestamp {
    let claimed = recorded.header.occurred_at.as_ref().map(|t| Timestamp::new(t.seconds, t.nanos));
    claimed.and_then(Result::ok).unwrap_or(recorded.recorded_at)
}

impl Meeting {
    /// Whether the post called the meeting or was invited.
    pub fn takes_part(&self, post: PostId) -> bool {
        post == self.organizer || self.invitees.contains(&post)
    }

    /// The posts whose own part it is now: those invited, and once it was held those that came.
    pub fn parties(&self) -> BTreeSet<PostId> {
        if self.stage < Stage::Held { self.invited() } else { self.present() }
    }

    /// The organizer and the posts that are invited.
    fn invited(&self) -> BTreeSet<PostId> {
        self.invitees.iter().copied().chain([self.organizer]).collect()
    }

    /// The organizer and the posts that came: those to whom the minutes go.
    fn present(&self) -> BTreeSet<PostId> {
        self.attendees.iter().copied().chain([self.organizer]).collect()
    }

    /// Attendees that confirm their part; the organizer does so by circulating.
    fn to_confirm(&self) -> BTreeSet<PostId> {
        self.attendees.iter().copied().filter(|p| *p != self.organizer).collect()
    }
}

/// The meeting, for a caller who may know of it.
///
/// Errors: `NOT_FOUND` for an unknown one, and for a caller who neither called it nor was invited.
fn find<'s>(state: &'s MeetingState, given: &Given<'_>) -> Result<&'s Meeting, Refusal> {
    let meeting = state.meeting.as_ref().filter(|m| m.takes_part(given.actor.post));
    meeting.ok_or_else(|| Reason::NotFound.into())
}

/// The meeting, for its organizer.
///
/// The part is checked before the etag: a post that did not come would otherwise learn, by trying etags, how the
/// minutes go on.
/// Errors: those of [`find`], `NOT_YOUR_PART`, `STALE_ETAG`.
fn find_own<'s>(
    state: &'s MeetingState,
    id: MeetingId,
    context: Option<&CommandContext>,
    given: &Given<'_>,
) -> Result<&'s Meeting, Refusal> {
    let meeting = find(state, given)?;
    if given.actor.post != meeting.organizer {
        return Err(Reason::NotYourPart.into());
    }
    check_etag(context, id.0, meeting.revision)?;
    Ok(meeting)
}

/// A case whose circle the caller belongs to.
///
/// Errors: `NOT_FOUND`, for an unknown case and a foreign one alike.
fn member_of<'s>(
    cases: &'s BTreeMap<CaseId, CaseState>,
    case: CaseId,
    given: &Given<'_>,
) -> Result<&'s CaseState, Refusal> {
    let state = cases.get(&case).filter(|c| c.exists() && c.circle.is_member(given.actor.post));
    state.ok_or_else(|| Reason::NotFound.into())
}

/// Those of the posts that belong to the circle of the case.
fn within(posts: &BTreeSet<PostId>, case: &CaseState) -> Vec<PostId> {
    posts.iter().copied().filter(|p| case.circle.is_member(*p)).collect()
}

/// What a step does, of an event in no case's timeline: its parties see it, and list the meeting in its new stage.
///
/// The list names no case, since an invitee may stand outside the circle of one; and it goes to those who see the
/// event, so that a post that did not come does not learn from it how the minutes go on.
fn doing(id: MeetingId, parties: &BTreeSet<PostId>, stage: Stage) -> Doing {
    let parties = parties.iter().copied();
    let doing = Doing::outside_cases().parties(parties.clone());
    doing.item(ItemKind::ItemMeeting, id.0, stage.code(), parties)
}
