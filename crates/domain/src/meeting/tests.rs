//! Meetings, given / when / then.

#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tasuki_contract::common::v1::CommandContext;
use tasuki_contract::event::v1::{DutyKind, Relation};
use tasuki_contract::minutes::v1 as pb;
use tasuki_contract::{DataClass, Event};
use uuid::Uuid;

use super::{Meeting, MeetingState, Stage};
use crate::case::CaseState;
use crate::decision::{Decided, Decision, Kind, etag};
use crate::effects::Doing;
use crate::handoff::given::{open_case, write};
use crate::ids::{ActionId, CaseId, MeetingId, PostId};
use crate::refusal::{Reason, Refusal};
use crate::testing::{
    COORDINATOR, HEALTH, HOSPITAL, INTAKE, NURSE, NURSERY, PLANNER, RETIRED, SCHOOL, UNKNOWN, World, date,
    fields, in_days, reason, types,
};

/// Two cases of the ward: the nurse takes part in the first, the planner in the second, the school is asked about
/// the first. The nursery takes part in none.
pub(crate) struct Table {
    pub(crate) world: World,
    first: CaseId,
    second: CaseId,
    pub(crate) id: MeetingId,
}

impl Table {
    pub(crate) fn new() -> Self {
        let mut world = World::new();
        let (first, second) = (open_case(&mut world, 1), open_case(&mut world, 2));
        for (case, post, relation) in [
            (first, NURSE, Relation::Named),
            (first, SCHOOL, Relation::Asked),
            (second, PLANNER, Relation::Named),
        ] {
            let event = tasuki_contract::consent::v1::ConsentActivated::default();
            write(
                &mut world,
                INTAKE,
                Doing::of(case).joins(post, relation).by(CaseState::stream(case), event),
            );
        }
        Self { world, first, second, id: MeetingId(Uuid::nil()) }
    }

    /// Both cases and a matter of the ward are on the agenda; nurse, planner, nursery and school are invited.
    pub(crate) fn scheduled() -> Self {
        let mut table = Self::new();
        let request = table.invitation();
        table.schedule(INTAKE, &request).unwrap();
        table
    }

    /// … and it took place: the nurse, the planner and the nursery came.
    pub(crate) fn held() -> Self {
        let mut table = Self::scheduled();
        table.hold(INTAKE, &[INTAKE, NURSE, PLANNER, NURSERY]).unwrap();
        table
    }

    pub(crate) fn drafted() -> Self {
        let mut table = Self::held();
        table.draft(INTAKE, &table.minutes()).unwrap();
        table
    }

    pub(crate) fn invitation(&self) -> pb::ScheduleMeetingRequest {
        let item = |case: Option<CaseId>, text: &str| pb::AgendaItem {
            case_id: case.map(String::from).unwrap_or_default(),
            text: text.to_owned(),
        };
        pb::ScheduleMeetingRequest {
            meeting_kind: "ward_mcc_meeting".to_owned(),
            starts_at: Some(prost_types::Timestamp {
                seconds: self.world.now.as_second() + 86_400,
                nanos: 0,
            }),
            place: "例示区役所".to_owned(),
            invitee_post_ids: [NURSE, PLANNER, NURSERY, SCHOOL].map(String::from).to_vec(),
            agenda: vec![
                item(Some(self.first), "退院後の訪問"),
                item(None, "災害時の連絡"),
                item(Some(self.second), "計画の見直し"),
                item(Some(self.first), "通園"),
            ],
            ..Default::default()
        }
    }

    pub(crate) fn minutes(&self) -> pb::DraftMinutesRequest {
        let (first, second) = (String::from(self.first), String::from(self.second));
        let section = |case_id: &str, data_class: DataClass, text: &str| pb::SectionDraft {
            case_id: case_id.to_owned(),
            data_class: data_class.into(),
            text: text.to_owned(),
        };
        let action = |case_id: &str, owner: PostId| pb::ActionDraft {
            case_id: case_id.to_owned(),
            text: "連絡する".to_owned(),
            owner_post_id: owner.into(),
            due_on: in_days(&self.world, 14),
        };
        pb::DraftMinutesRequest {
            meeting_id: self.id.into(),
            sections: vec![
                section(&first, DataClass::CareProcedure, "吸引の手順"),
                section("", DataClass::Unspecified, "連絡網を確かめた"),
            ],
            decisions: vec![pb::DecisionDraft {
                case_id: first.clone(),
                text: "訪問を週二回とする".to_owned(),
                ..Default::default()
            }],
            actions: vec![action(&first, NURSE), action("", NURSERY), action(&second, HOSPITAL)],
            ..Default::default()
        }
    }

    fn state(&self) -> MeetingState {
        self.world.fold(Kind::Meeting, self.id.0, MeetingState::evolve)
    }

    pub(crate) fn meeting(&self) -> Meeting {
        self.state().meeting.unwrap()
    }

    pub(crate) fn schedule(
        &mut self,
        by: PostId,
        request: &pb::ScheduleMeetingRequest,
    ) -> Result<Decision<MeetingId>, Refusal> {
        let named = super::cases_named(request);
        let cases = named.into_iter().map(|case| (case, self.world.case(case))).collect();
        let decision = self.world.run(by, |given| super::schedule(&cases, request, given))?;
        self.id = decision.reply;
        Ok(decision)
    }

    pub(crate) fn hold(&mut self, by: PostId, came: &[PostId]) -> Result<Decision<()>, Refusal> {
        let state = self.state();
        let attendance = came.iter().map(|p| pb::Attendance { post_id: String::from(*p), people: 2 });
        let request = pb::HoldMeetingRequest {
            meeting_id: self.id.into(),
            attendance: attendance.collect(),
            ..Default::default()
        };
        self.world.run(by, |given| super::hold(&state, &request, given))
    }

    pub(crate) fn draft(
        &mut self,
        by: PostId,
        request: &pb::DraftMinutesRequest,
    ) -> Result<Decision<Vec<ActionId>>, Refusal> {
        let state = self.state();
        let cases: BTreeMap<_, _> = state.cases().into_iter().map(|c| (c, self.world.case(c))).collect();
        self.world.run(by, |given| super::draft(&state, &cases, request, given))
    }

    pub(crate) fn circulate(&mut self, by: PostId) -> Result<Decision<()>, Refusal> {
        let state = self.state();
        let request = pb::CirculateMinutesRequest { meeting_id: self.id.into(), ..Default::default() };
        self.world.run(by, |given| super::circulate(&state, &request, given))
    }

    pub(crate) fn confirm(&mut self, by: PostId) -> Result<Decision<bool>, Refusal> {
        let state = self.state();
        let request = pb::ConfirmMinutesRequest { meeting_id: self.id.into(), ..Default::default() };
        self.world.run(by, |given| super::confirm(&state, &request, given))
    }
}

impl Table {
    /// Gives a command of a random walk; whether it was accepted.
    pub(crate) fn take(&mut self, (post, command): (usize, usize)) -> bool {
        let by = [INTAKE, NURSE, PLANNER, NURSERY, SCHOOL, HOSPITAL][post];
        match command {
            0 => self.hold(by, &[NURSE, PLANNER]).is_ok(),
            1 => self.draft(by, &self.minutes()).is_ok(),
            2 => self.circulate(INTAKE).is_ok(),
            _ => self.confirm(by).is_ok(),
        }
    }
}

fn parties(decided: &Decided) -> BTreeSet<PostId> {
    decided.effects.party_post_ids.iter().map(|p| PostId::trusted(p)).collect()
}

/// Events with the stream that each stands in, and who sees it as an own part.
fn placed(events: &[Decided]) -> Vec<(&'static str, Uuid, BTreeSet<PostId>)> {
    let names = types(events).into_iter();
    names.zip(events).map(|(name, d)| (name, d.stream.id, parties(d))).collect()
}

#[test]
fn each_invited_post_gets_the_agenda_of_its_own_cases_only() {
    let mut table = Table::new();
    let request = table.invitation();
    let events = table.schedule(INTAKE, &request).unwrap().events;
    let everybody = BTreeSet::from([INTAKE, NURSE, PLANNER, NURSERY, SCHOOL]);
    let expected = [
        ("MeetingScheduled", table.id.0, everybody),
        ("CaseTabled", table.first.0, [INTAKE, NURSE].into()),
        ("CaseTabled", table.second.0, [INTAKE, PLANNER].into()),
    ];
    assert_eq!(placed(&events), expected);
    let Event::MeetingScheduled(scheduled) = &events[0].event else { panic!() };
    assert_eq!(scheduled.agenda, ["災害時の連絡"]);
    let Event::CaseTabled(tabled) = &events[1].event else { panic!() };
    assert_eq!(tabled.agenda, ["退院後の訪問", "通園"]);
    // Each case's own part stands in its timeline, and the list entry names no case to those invited.
    assert_eq!(events[1].cases, [table.first.0]);
    assert_eq!(events[2].cases, [table.second.0]);
    assert!(events.iter().flat_map(|e| &e.effects.items).all(|item| item.case_id.is_empty()));
}

#[test]
fn what_concerns_no_case_stands_in_no_timeline_and_is_for_the_invited_alone() {
    let mut table = Table::drafted();
    table.circulate(INTAKE).unwrap();
    for post in [NURSE, NURSERY, PLANNER] {
        table.confirm(post).unwrap();
    }
    let invited = BTreeSet::from([INTAKE, NURSE, PLANNER, NURSERY, SCHOOL].map(String::from));
    let mut seen = BTreeSet::new();
    for recorded in table.world.stream(Kind::Meeting, table.id.0) {
        let effects = recorded.header.effects.as_ref().unwrap();
        assert_eq!(recorded.header.case_ids, [""; 0], "{}", recorded.header.r#type);
        assert!(effects.party_post_ids.iter().all(|post| invited.contains(post)));
        assert!(effects.circle.is_empty() && effects.grants.is_empty() && effects.leads.is_empty());
        seen.insert(recorded.header.r#type.rsplit('.').next().unwrap().to_owned());
    }
    let all = [
        "ActionAssigned",
        "MeetingHeld",
        "MeetingScheduled",
        "MinutesAttendeeConfirmed",
        "MinutesCirculated",
        "MinutesConfirmed",
        "MinutesDrafted",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), all);
    // Decisions still know the agenda: without a key, and from the first event alone.
    assert_eq!(table.state().cases(), [table.first, table.second].into());
}

#[test]
fn a_post_that_did_not_come_cannot_try_etags_to_learn_how_the_minutes_go_on() {
    let mut table = Table::held();
    let answers = |table: &mut Table| {
        let state = table.state();
        let id = table.id;
        let mut all = Vec::new();
        for revision in 0..8 {
            let context = Some(CommandContext { etag: etag(id.0, revision), occurred_at: None });
            let confirm = pb::ConfirmMinutesRequest { context: context.clone(), meeting_id: id.into() };
            all.push(reason(table.world.run(SCHOOL, |given| super::confirm(&state, &confirm, given))));
            let circulate = pb::CirculateMinutesRequest { context, meeting_id: id.into() };
            all.push(reason(table.world.run(SCHOOL, |given| super::circulate(&state, &circulate, given))));
        }
        all
    };
    let held = answers(&mut table);
    assert!(held.iter().all(|why| *why == Reason::NotYourPart));
    table.draft(INTAKE, &table.minutes()).unwrap();
    assert_eq!(answers(&mut table), held);
    table.circulate(INTAKE).unwrap();
    assert_eq!(answers(&mut table), held);
}

#[test]
fn a_case_is_tabled_by_members_of_its_circle_alone() {
    let mut table = Table::new();
    let request = table.invitation();
    let before = table.world.log.len();
    // The hospital is a member of both; the coordinator's desk of none, the asked school of none, the planner of one.
    for stranger in [COORDINATOR, SCHOOL, PLANNER] {
        let mut request = request.clone();
        request.invitee_post_ids = vec![NURSE.into()];
        assert_eq!(reason(table.schedule(stranger, &request)), Reason::NotFound);
    }
    let mut unknown = request.clone();
    unknown.agenda[0].case_id = Uuid::from_u128(9).to_string();
    assert_eq!(reason(table.schedule(INTAKE, &unknown)), Reason::NotFound);
    assert_eq!(table.world.log.len(), before);
    table.schedule(HOSPITAL, &request).unwrap();
    let mut general = request;
    general.agenda.retain(|item| item.case_id.is_empty());
    table.schedule(COORDINATOR, &general).unwrap();
}

#[test]
fn only_active_posts_are_invited_and_every_malformed_field_is_named() {
    let mut table = Table::new();
    for (post, why) in [(UNKNOWN, Reason::UnknownPost), (RETIRED, Reason::PostRetired)] {
        let mut request = table.invitation();
        request.invitee_post_ids.push(post.into());
        assert_eq!(reason(table.schedule(INTAKE, &request)), why);
    }
    let request = pb::ScheduleMeetingRequest {
        meeting_kind: "tea".to_owned(),
        place: "あ".repeat(201),
        invitee_post_ids: vec![NURSE.into(), NURSE.into(), INTAKE.into(), "x".to_owned()],
        agenda: vec![pb::AgendaItem { case_id: "x".to_owned(), text: " ".to_owned() }],
        ..Default::default()
    };
    let expected = [
        ("meeting_kind", "UNKNOWN_CODE"),
        ("starts_at", "MISSING"),
        ("place", "TOO_LONG"),
        ("invitee_post_ids[1]", "DUPLICATE"),
        ("invitee_post_ids[3]", "NOT_A_UUID"),
        ("invitee_post_ids[2]", "NOT_ALLOWED"),
        ("agenda[0].text", "MISSING"),
        ("agenda[0].case_id", "NOT_A_UUID"),
    ];
    assert_eq!(fields(table.schedule(INTAKE, &request)), expected.map(|(f, w)| (f.to_owned(), w)));
    for (seconds, nanos) in [(-62_135_596_801, 0), (0, -1), (0, 1_000_000_000)] {
        let starts_at = Some(prost_types::Timestamp { seconds, nanos });
        let never = pb::ScheduleMeetingRequest { starts_at, ..table.invitation() };
        assert_eq!(fields(table.schedule(INTAKE, &never)), [("starts_at".to_owned(), "BAD_DATE")]);
    }
    let nobody = pb::ScheduleMeetingRequest { invitee_post_ids: Vec::new(), ..table.invitation() };
    assert_eq!(fields(table.schedule(INTAKE, &nobody)), [("invitee_post_ids".to_owned(), "MISSING")]);
    let many = pb::ScheduleMeetingRequest {
        invitee_post_ids: (0..51).map(|n| Uuid::from_u128(n).to_string()).collect(),
        ..table.invitation()
    };
    assert_eq!(fields(table.schedule(INTAKE, &many)), [("invitee_post_ids".to_owned(), "TOO_MANY")]);
}

#[test]
fn attendance_counts_people_of_invited_posts_once() {
    let mut table = Table::scheduled();
    assert_eq!(reason(table.hold(INTAKE, &[HEALTH])), Reason::NotInvited);
    assert_eq!(reason(table.hold(NURSE, &[NURSE])), Reason::NotYourPart);
    assert_eq!(reason(table.hold(HOSPITAL, &[NURSE])), Reason::NotFound);
    let nobody = fields(table.hold(INTAKE, &[]));
    assert_eq!(nobody, [("attendance".to_owned(), "MISSING")]);
    let state = table.state();
    let entry = |people| pb::Attendance { post_id: NURSE.into(), people };
    let request = pb::HoldMeetingRequest {
        meeting_id: table.id.into(),
        attendance: vec![entry(0), entry(1_000)],
        ..Default::default()
    };
    let refused = fields(table.world.run(INTAKE, |given| super::hold(&state, &request, given)));
    let expected = [
        ("attendance[0].people", "OUT_OF_RANGE"),
        ("attendance[1].post_id", "DUPLICATE"),
        ("attendance[1].people", "OUT_OF_RANGE"),
    ];
    assert_eq!(refused, expected.map(|(f, w)| (f.to_owned(), w)));
    table.hold(INTAKE, &[NURSE]).unwrap();
    assert_eq!(reason(table.hold(INTAKE, &[NURSE])), Reason::WrongState);
}

#[test]
fn minutes_are_split_by_case_and_each_action_becomes_a_duty_of_its_owner() {
    let mut table = Table::held();
    let decision = table.draft(INTAKE, &table.minutes()).unwrap();
    let came = BTreeSet::from([INTAKE, NURSE, PLANNER, NURSERY]);
    let expected = [
        ("MinutesDrafted", table.id.0, came.clone()),
        ("CaseMinutesDrafted", table.first.0, [INTAKE, NURSE].into()),
        ("ActionAssigned", table.first.0, [INTAKE, NURSE].into()),
        ("ActionAssigned", table.id.0, came),
        ("ActionAssigned", table.second.0, [INTAKE, PLANNER, HOSPITAL].into()),
    ];
    assert_eq!(placed(&decision.events), expected);
    let Event::MinutesDrafted(own) = &decision.events[0].event else { panic!() };
    assert_eq!(own.sections[0].data_class(), DataClass::Minutes);
    assert!(own.decisions.is_empty() && decision.events[0].cases.is_empty());
    let Event::CaseMinutesDrafted(case) = &decision.events[1].event else { panic!() };
    assert_eq!(case.sections[0].data_class(), DataClass::CareProcedure);
    assert_eq!(case.decisions[0].decided_by_post_id, INTAKE.to_string());
    let owed: Vec<_> = decision.events[2..].iter().map(|e| &e.effects.duties[0]).collect();
    assert!(owed.iter().all(|d| d.kind() == DutyKind::DutyAction && d.due_day == 19_823 + 14 && !d.ends));
    let cases = [table.first.to_string(), String::new(), table.second.to_string()];
    assert_eq!(owed.iter().map(|d| d.case_id.clone()).collect::<Vec<_>>(), cases);
    // What a hand-off of the case will ask about.
    assert_eq!(table.world.case(table.second).open_actions[&decision.reply[2]].owner, HOSPITAL);
    assert_eq!(decision.item, Some((table.id.0, table.meeting().revision)));
}

#[test]
fn an_action_goes_to_a_post_that_takes_part_in_what_it_is_about() {
    let mut table = Table::held();
    let with_owner = |table: &Table, action: usize, owner: PostId| {
        let mut minutes = table.minutes();
        minutes.actions[action].owner_post_id = owner.into();
        minutes
    };
    for (action, owner, why) in [
        (0, PLANNER, Reason::OwnerOutsideCircle),
        (0, SCHOOL, Reason::OwnerOutsideCircle),
        (1, HOSPITAL, Reason::NotInvited),
        (2, NURSE, Reason::OwnerOutsideCircle),
        (1, RETIRED, Reason::PostRetired),
    ] {
        let minutes = with_owner(&table, action, owner);
        assert_eq!(reason(table.draft(INTAKE, &minutes)), why);
    }
    let mut minutes = table.minutes();
    minutes.decisions[0].decided_by_post_id = HOSPITAL.into();
    assert_eq!(reason(table.draft(INTAKE, &minutes)), Reason::NotInvited);
}

#[test]
fn a_case_that_was_not_tabled_is_refused_alike_whether_it_exists_or_not() {
    let mut table = Table::held();
    let exists = open_case(&mut table.world, 3);
    for case in [exists.0, Uuid::from_u128(9)] {
        let mut minutes = table.minutes();
        minutes.sections[1].case_id = case.to_string();
        minutes.decisions[0].case_id = case.to_string();
        minutes.actions[1].case_id = case.to_string();
        let expected = ["sections[1].case_id", "decisions[0].case_id", "actions[1].case_id"];
        let refused = fields(table.draft(INTAKE, &minutes));
        assert_eq!(refused, expected.map(|f| (f.to_owned(), "NOT_ALLOWED")));
    }
}

#[test]
fn malformed_minutes_name_every_field() {
    let mut table = Table::held();
    let (long, passage) = ("あ".repeat(1_001), "あ".repeat(4_001));
    let request = pb::DraftMinutesRequest {
        meeting_id: table.id.into(),
        sections: vec![
            pb::SectionDraft { case_id: "x".to_owned(), data_class: DataClass::Sealed.into(), text: passage },
            pb::SectionDraft {
                data_class: DataClass::ByKey.into(),
                text: "本文".to_owned(),
                ..Default::default()
            },
            pb::SectionDraft { data_class: 99, text: "本文".to_owned(), ..Default::default() },
        ],
        decisions: vec![pb::DecisionDraft {
            text: String::new(),
            basis: long.clone(),
            decided_by_post_id: "x".to_owned(),
            ..Default::default()
        }],
        actions: vec![pb::ActionDraft { text: long, due_on: date(2024, 13, 1), ..Default::default() }],
        ..Default::default()
    };
    let expected = [
        ("sections[0].text", "TOO_LONG"),
        ("sections[0].data_class", "NOT_ALLOWED"),
        ("sections[0].case_id", "NOT_A_UUID"),
        ("sections[1].data_class", "NOT_ALLOWED"),
        ("sections[2].data_class", "UNKNOWN_CODE"),
        ("decisions[0].text", "MISSING"),
        ("decisions[0].basis", "TOO_LONG"),
        ("decisions[0].decided_by_post_id", "NOT_A_UUID"),
        ("actions[0].text", "TOO_LONG"),
        ("actions[0].owner_post_id", "MISSING"),
        ("actions[0].due_on", "BAD_DATE"),
    ];
    assert_eq!(fields(table.draft(INTAKE, &request)), expected.map(|(f, w)| (f.to_owned(), w)));
    let empty = pb::DraftMinutesRequest { meeting_id: table.id.into(), ..Default::default() };
    assert_eq!(fields(table.draft(INTAKE, &empty)), [("sections".to_owned(), "MISSING")]);
    let mut early = table.minutes();
    early.actions[0].due_on = in_days(&table.world, -1);
    assert_eq!(fields(table.draft(INTAKE, &early)), [("actions[0].due_on".to_owned(), "OUT_OF_RANGE")]);
}

#[test]
fn the_last_attendee_that_confirms_confirms_the_minutes() {
    let mut table = Table::drafted();
    let circulated = table.circulate(INTAKE).unwrap();
    let owners = circulated.events[0].effects.duties.iter().map(|d| PostId::trusted(&d.owner_post_id));
    assert_eq!(owners.collect::<BTreeSet<_>>(), [NURSE, PLANNER, NURSERY].into());
    // Seven business days after Wednesday 10 April 2024.
    assert!(circulated.events[0].effects.duties.iter().all(|d| d.due_day == 19_832));
    assert_eq!(reason(table.confirm(INTAKE)), Reason::AlreadyConfirmed);
    assert_eq!(reason(table.confirm(SCHOOL)), Reason::NotYourPart);
    assert_eq!(reason(table.confirm(HOSPITAL)), Reason::NotFound);
    assert!(!table.confirm(NURSE).unwrap().reply);
    assert_eq!(reason(table.confirm(NURSE)), Reason::AlreadyConfirmed);
    assert!(!table.confirm(NURSERY).unwrap().reply);
    let last = table.confirm(PLANNER).unwrap();
    assert!(last.reply);
    assert_eq!(types(&last.events), ["MinutesAttendeeConfirmed", "MinutesConfirmed"]);
    assert!(last.events[0].effects.duties[0].ends);
    assert_eq!(table.meeting().stage, Stage::Confirmed);
    assert_eq!(last.item, Some((table.id.0, table.meeting().revision)));
}

#[test]
fn a_meeting_entered_late_counts_from_the_day_on_which_it_took_place() {
    let mut table = Table::held();
    let mut recorded = table.world.log.pop().unwrap();
    let fold = |table: &Table, last: &crate::decision::Recorded| {
        let mut state = table.state();
        state.evolve(last);
        state.meeting.unwrap().held_on
    };
    assert_eq!(fold(&table, &recorded), Some(jiff::civil::date(2024, 4, 10)));
    // 2024-04-01, 23:30 in Tokyo.
    recorded.header.occurred_at = Some(prost_types::Timestamp { seconds: 1_711_981_800, nanos: 0 });
    assert_eq!(fold(&table, &recorded), Some(jiff::civil::date(2024, 4, 1)));
}

#[test]
fn minutes_of_an_organizer_to_whom_nobody_came_are_confirmed_at_once() {
    let mut table = Table::scheduled();
    table.hold(INTAKE, &[INTAKE]).unwrap();
    let minutes = table.minutes();
    table.draft(INTAKE, &minutes).unwrap();
    let circulated = table.circulate(INTAKE).unwrap();
    assert_eq!(types(&circulated.events), ["MinutesCirculated", "MinutesConfirmed"]);
    assert_eq!(table.meeting().stage, Stage::Confirmed);
}

#[test]
fn no_step_is_taken_early_or_twice_or_by_another_post() {
    let mut table = Table::scheduled();
    let minutes = table.minutes();
    assert_eq!(reason(table.draft(INTAKE, &minutes)), Reason::WrongState);
    assert_eq!(reason(table.circulate(INTAKE)), Reason::WrongState);
    assert_eq!(reason(table.confirm(NURSE)), Reason::WrongState);
    table.hold(INTAKE, &[NURSE]).unwrap();
    assert_eq!(reason(table.circulate(INTAKE)), Reason::WrongState);
    assert_eq!(reason(table.draft(NURSE, &minutes)), Reason::NotYourPart);
    table.draft(INTAKE, &minutes).unwrap();
    assert_eq!(reason(table.draft(INTAKE, &minutes)), Reason::WrongState);
    assert_eq!(reason(table.confirm(NURSE)), Reason::WrongState);
    assert_eq!(reason(table.circulate(NURSE)), Reason::NotYourPart);
    table.circulate(INTAKE).unwrap();
    assert_eq!(reason(table.circulate(INTAKE)), Reason::WrongState);
    table.id = MeetingId(Uuid::from_u128(9));
    assert_eq!(reason(table.circulate(INTAKE)), Reason::NotFound);
}

#[test]
fn a_stale_etag_is_refused_and_nothing_is_appended() {
    let mut table = Table::scheduled();
    let seen = etag(table.id.0, 1);
    table.hold(INTAKE, &[NURSE]).unwrap();
    let before = table.world.log.len();
    let stale = |etag: String| Some(CommandContext { etag, occurred_at: None });
    let minutes = pb::DraftMinutesRequest { context: stale(seen), ..table.minutes() };
    assert_eq!(reason(table.draft(INTAKE, &minutes)), Reason::StaleEtag);
    assert_eq!(table.world.log.len(), before);
    let minutes = pb::DraftMinutesRequest { context: stale(etag(table.id.0, 2)), ..table.minutes() };
    table.draft(INTAKE, &minutes).unwrap();
}

/// Which post commands, and what.
pub(crate) fn commands() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0..6_usize, 0..5_usize), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_commanded_a_meeting_only_moves_on_and_is_confirmed_by_all_who_came(
        commands in commands()
    ) {
        let mut table = Table::scheduled();
        for command in commands {
            let (before, length) = (table.meeting(), table.world.log.len());
            let accepted = table.take(command);
            let after = table.meeting();
            prop_assert_eq!(accepted, table.world.log.len() > length);
            prop_assert_eq!(accepted, after.revision > before.revision);
            prop_assert!(after.stage >= before.stage);
            let all = after.confirmed == BTreeSet::from([NURSE, PLANNER]);
            prop_assert_eq!(after.stage == Stage::Confirmed, all);
        }
    }
}
