//! Writing the minutes: each passage, decision and action goes to the stream of what it is about.

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use jiff::civil::Date;
use tasuki_contract::DataClass;
use tasuki_contract::common::v1::Date as PbDate;
use tasuki_contract::event::v1::DutyKind;
use tasuki_contract::minutes::v1 as pb;

use super::{Meeting, MeetingState, Stage, doing, find_own, member_of, within};
use crate::case::CaseState;
use crate::decision::{Decided, Decision, Given};
use crate::effects::Doing;
use crate::ids::{ActionId, CaseId, MeetingId, PostId};
use crate::refusal::{Checks, Reason, Refusal, Violation};
use crate::{days, fields};

/// Characters of a passage.
const PASSAGE_CHARS_MAX: usize = 4_000;
/// Characters of a decision, its basis, an action.
const LINE_CHARS_MAX: usize = 1_000;
/// Entries of each of the three lists.
const ENTRIES_MAX: usize = 100;
/// How far ahead an action may be due, in days.
const DUE_AHEAD_DAYS_MAX: i32 = 3_660;

/// Writes the minutes. Caller: the organizer, once, after the meeting was held.
///
/// `cases` holds the states of [`MeetingState::cases`]. The reply lists the actions in the order of the request.
/// Errors: malformed fields (also for a case that is not on the agenda), `NOT_FOUND`, `NOT_YOUR_PART`, `STALE_ETAG`,
/// `WRONG_STATE`, `NOT_INVITED`, `OWNER_OUTSIDE_CIRCLE`, `UNKNOWN_POST`, `POST_RETIRED`.
pub fn draft(
    state: &MeetingState,
    cases: &BTreeMap<CaseId, CaseState>,
    request: &pb::DraftMinutesRequest,
    given: &mut Given<'_>,
) -> Result<Decision<Vec<ActionId>>, Refusal> {
    let mut checks = Checks::default();
    let id = checks.take(MeetingId::parse("meeting_id", &request.meeting_id));
    let form = Form::read(&mut checks, request);
    checks.done()?;
    let id = id.ok_or(Reason::NotFound)?;
    let meeting = find_own(state, id, request.context.as_ref(), given)?;
    let Some(held_on) = meeting.held_on.filter(|_| meeting.stage == Stage::Held) else {
        return Err(Refusal::State(meeting.stage.code()));
    };
    form.check_against(meeting, held_on)?;
    for case in form.cases() {
        member_of(cases, case, given)?;
    }
    if !form.decisions.iter().filter_map(|d| d.by).all(|post| meeting.takes_part(post)) {
        return Err(Reason::NotInvited.into());
    }
    let mut actions = Vec::new();
    for action in &form.actions {
        actions.push(assign(id, meeting, cases, action, given)?);
    }

    let (sections, decisions) = form.part(None, meeting, given);
    let drafted = pb::MinutesDrafted { meeting_id: id.into(), sections, decisions };
    let doing = doing(id, &meeting.present(), Stage::Drafted);
    let mut events = vec![doing.by(MeetingState::stream(id), drafted)];
    for case in form.minuted() {
        let (sections, decisions) = form.part(Some(case), meeting, given);
        let party = within(&meeting.present(), member_of(cases, case, given)?);
        let minutes =
            pb::CaseMinutesDrafted { meeting_id: id.into(), case_id: case.into(), sections, decisions };
        events.push(Doing::of(case).parties(party).by(CaseState::stream(case), minutes));
    }
    let (ids, assigned): (Vec<ActionId>, Vec<Decided>) = actions.into_iter().unzip();
    events.extend(assigned);
    Ok(Decision { events, reply: ids, item: Some((id.0, meeting.revision + 1)) })
}

/// One action becomes a duty of its owner.
fn assign(
    meeting_id: MeetingId,
    meeting: &Meeting,
    cases: &BTreeMap<CaseId, CaseState>,
    action: &Action<'_>,
    given: &mut Given<'_>,
) -> Result<(ActionId, Decided), Refusal> {
    given.directory.active_post(action.owner)?;
    let id = ActionId(given.ids.fresh());
    let (stream, doing) = match action.case {
        Some(case) => {
            let state = member_of(cases, case, given)?;
            if !state.circle.is_member(action.owner) {
                return Err(Reason::OwnerOutsideCircle.into());
            }
            (CaseState::stream(case), Doing::of(case).parties(within(&meeting.present(), state)))
        }
        None if meeting.takes_part(action.owner) => {
            (MeetingState::stream(meeting_id), Doing::outside_cases().parties(meeting.present()))
        }
        None => return Err(Reason::NotInvited.into()),
    };
    let due = days::epoch_day(action.due);
    let doing = doing.parties([action.owner]).owes(DutyKind::DutyAction, id.0, action.owner, due);
    let event = pb::ActionAssigned {
        action_id: id.into(),
        meeting_id: meeting_id.into(),
        case_id: action.case.map(String::from).unwrap_or_default(),
        owner_post_id: action.owner.into(),
        due_on: Some(action.due_on),
        text: action.text.to_owned(),
    };
    Ok((id, doing.by(stream, event)))
}

/// The request's three lists, read; entries that are malformed have been noted and left out.
struct Form<'r> {
    sections: Vec<(usize, Option<CaseId>, pb::Section)>,
    decisions: Vec<Resolved<'r>>,
    actions: Vec<Action<'r>>,
}

struct Resolved<'r> {
    at: usize,
    case: Option<CaseId>,
    text: &'r str,
    basis: &'r str,
    by: Option<PostId>,
}

struct Action<'r> {
    at: usize,
    case: Option<CaseId>,
    owner: PostId,
    due: Date,
    due_on: PbDate,
    text: &'r str,
}

impl<'r> Form<'r> {
    fn read(checks: &mut Checks, request: &'r pb::DraftMinutesRequest) -> Self {
        let lists = [
            ("sections", request.sections.len()),
            ("decisions", request.decisions.len()),
            ("actions", request.actions.len()),
        ];
        for (field, len) in lists {
            checks.require(len <= ENTRIES_MAX, field, Violation::TOO_MANY);
        }
        checks.require(lists.iter().any(|(_, len)| *len > 0), "sections", Violation::MISSING);
        let sections = request.sections.iter().take(ENTRIES_MAX).enumerate();
        let sections = sections.map(|(i, s)| {
            let at = format!("sections[{i}]");
            fields::text(checks, &format!("{at}.text"), &s.text, PASSAGE_CHARS_MAX);
            let data_class = class(checks, format!("{at}.data_class"), s.data_class);
            let section = pb::Section { data_class: data_class.into(), text: s.text.clone() };
            (i, case(checks, &at, &s.case_id), section)
        });
        let sections = sections.collect();
        let decisions = request.decisions.iter().take(ENTRIES_MAX).enumerate();
        let decisions = decisions.map(|(i, d)| {
            let at = format!("decisions[{i}]");
            fields::text(checks, &format!("{at}.text"), &d.text, LINE_CHARS_MAX);
            fields::at_most(checks, &format!("{at}.basis"), &d.basis, LINE_CHARS_MAX);
            let by = fields::optional_id(checks, &format!("{at}.decided_by_post_id"), &d.decided_by_post_id);
            let case = case(checks, &at, &d.case_id);
            Resolved { at: i, case, text: &d.text, basis: &d.basis, by: by.map(PostId) }
        });
        let decisions = decisions.collect();
        let actions = request.actions.iter().take(ENTRIES_MAX).enumerate();
        let actions = actions.filter_map(|(i, a)| {
            let at = format!("actions[{i}]");
            fields::text(checks, &format!("{at}.text"), &a.text, LINE_CHARS_MAX);
            let owner = fields::id(checks, &format!("{at}.owner_post_id"), &a.owner_post_id);
            let due = fields::day(checks, &format!("{at}.due_on"), a.due_on.as_ref());
            let case = case(checks, &at, &a.case_id);
            Some(Action { at: i, case, owner: PostId(owner?), due: due?, due_on: a.due_on?, text: &a.text })
        });
        let actions = actions.collect();
        Self { sections, decisions, actions }
    }

    /// The cases that a passage or a decision is about.
    fn minuted(&self) -> BTreeSet<CaseId> {
        let sections = self.sections.iter().filter_map(|(_, case, _)| *case);
        sections.chain(self.decisions.iter().filter_map(|d| d.case)).collect()
    }

    /// Those, and the cases that only an action is about.
    fn cases(&self) -> BTreeSet<CaseId> {
        self.minuted().into_iter().chain(self.actions.iter().filter_map(|a| a.case)).collect()
    }

    /// Refuses what names a case that was not tabled, and what is due before the meeting or far too late.
    ///
    /// A case that is not on the agenda is refused alike, whether it exists or not.
    fn check_against(&self, meeting: &Meeting, held_on: Date) -> Result<(), Refusal> {
        let mut checks = Checks::default();
        let tabled = |case: Option<CaseId>| case.is_none_or(|c| meeting.cases.contains(&c));
        for (i, case, _) in &self.sections {
            checks.require(tabled(*case), format!("sections[{i}].case_id"), Violation::NOT_ALLOWED);
        }
        for d in &self.decisions {
            checks.require(tabled(d.case), format!("decisions[{}].case_id", d.at), Violation::NOT_ALLOWED);
        }
        let last = held_on.checked_add(DUE_AHEAD_DAYS_MAX.days()).unwrap_or(Date::MAX);
        for a in &self.actions {
            checks.require(tabled(a.case), format!("actions[{}].case_id", a.at), Violation::NOT_ALLOWED);
            let due = held_on <= a.due && a.due <= last;
            checks.require(due, format!("actions[{}].due_on", a.at), Violation::OUT_OF_RANGE);
        }
        checks.done()
    }

    /// Passages and decisions about the case, or about none.
    fn part(
        &self,
        wanted: Option<CaseId>,
        meeting: &Meeting,
        given: &mut Given<'_>,
    ) -> (Vec<pb::Section>, Vec<pb::Decision>) {
        let sections = self.sections.iter().filter(|(_, case, _)| *case == wanted);
        let decisions = self.decisions.iter().filter(|d| d.case == wanted).map(|d| pb::Decision {
            decision_id: given.ids.fresh().to_string(),
            text: d.text.to_owned(),
            basis: d.basis.to_owned(),
            decided_by_post_id: d.by.unwrap_or(meeting.organizer).into(),
        });
        (sections.map(|(_, _, section)| section.clone()).collect(), decisions.collect())
    }
}

/// A class that content can have; unset is `MINUTES`. What is sealed in a circle of its own has no place in minutes.
fn class(checks: &mut Checks, field: String, number: i32) -> DataClass {
    match DataClass::try_from(number) {
        Ok(DataClass::Unspecified) => DataClass::Minutes,
        Ok(class) => {
            let content = class > DataClass::NotPersonal && class < DataClass::Sealed;
            checks.require(content, field, Violation::NOT_ALLOWED);
            class
        }
        Err(_) => {
            checks.require(false, field, Violation::UNKNOWN_CODE);
            DataClass::Minutes
        }
    }
}

fn case(checks: &mut Checks, at: &str, text: &str) -> Option<CaseId> {
    fields::optional_id(checks, &format!("{at}.case_id"), text).map(CaseId)
}
