//! The part of the story about the ward's meeting: what concerns no case, and what concerns each of two.

use tasuki_contract::DataClass;
use tasuki_contract::minutes::v1 as minutes;

use super::{Story, day};
use crate::who_reads::{COUNCIL, HEALTH, HOSPITAL, NURSE, OTHER_PROVIDER, PLANNER, SCHOOL, WARD};

impl Story {
    /// The ward's meeting on both cases; somebody of its own agency comes who stands in neither circle.
    pub(super) async fn meeting(&mut self) {
        let [first, second] = [0, 1].map(|i| self.told.cases[i].clone());
        let item = |case: &str, text| minutes::AgendaItem { case_id: case.to_owned(), text };
        let agenda = vec![
            item("", self.mark("meeting.agenda")),
            item(&first, self.mark("meeting.first.agenda")),
            item(&second, self.mark("meeting.second.agenda")),
        ];
        let invitees = [PLANNER, NURSE, HOSPITAL, COUNCIL, HEALTH, OTHER_PROVIDER];
        let id = say!(
            self,
            WARD,
            minutes,
            schedule_meeting,
            minutes::ScheduleMeetingRequest {
                meeting_kind: "case_meeting".to_owned(),
                starts_at: Some(prost_types::Timestamp {
                    seconds: jiff::Timestamp::now().as_second(),
                    nanos: 0
                }),
                place: self.mark("meeting.place"),
                invitee_post_ids: invitees.map(|slug| self.post(slug)).into(),
                agenda,
                ..Default::default()
            }
        )
        .meeting_id;
        let came = [WARD, NURSE, COUNCIL, HEALTH];
        say!(
            self,
            WARD,
            minutes,
            hold_meeting,
            minutes::HoldMeetingRequest {
                meeting_id: id.clone(),
                attendance: came
                    .map(|slug| minutes::Attendance { post_id: self.post(slug), people: 1 })
                    .into(),
                ..Default::default()
            }
        );
        let drafted = self.draft(&id, &first, &second);
        say!(self, WARD, minutes, draft_minutes, drafted);
        say!(
            self,
            WARD,
            minutes,
            circulate_minutes,
            minutes::CirculateMinutesRequest { meeting_id: id.clone(), ..Default::default() }
        );
        for who in [NURSE, COUNCIL, HEALTH] {
            let confirm = minutes::ConfirmMinutesRequest { meeting_id: id.clone(), ..Default::default() };
            say!(self, who, minutes, confirm_minutes, confirm);
        }
    }

    fn draft(&mut self, meeting: &str, first: &str, second: &str) -> minutes::DraftMinutesRequest {
        let passages = [
            ("", DataClass::Minutes, "meeting.section"),
            ("", DataClass::Diagnosis, "meeting.section.diagnosis"),
            (first, DataClass::Minutes, "meeting.first.section"),
            (first, DataClass::CareProcedure, "meeting.first.care"),
            (first, DataClass::Diagnosis, "meeting.first.diagnosis"),
            (first, DataClass::Restricted, "meeting.first.restricted"),
            (first, DataClass::FamilyCircumstances, "meeting.first.protection"),
            (second, DataClass::Minutes, "meeting.second.section"),
        ];
        let sections = passages.map(|(case, class, what)| minutes::SectionDraft {
            case_id: case.to_owned(),
            data_class: class.into(),
            text: self.mark(what),
        });
        let decisions = [
            ("", "meeting.decision", "meeting.basis"),
            (first, "meeting.first.decision", "meeting.first.basis"),
        ];
        let decisions = decisions.map(|(case, text, basis)| minutes::DecisionDraft {
            case_id: case.to_owned(),
            text: self.mark(text),
            basis: self.mark(basis),
            ..Default::default()
        });
        let actions = [("", COUNCIL, "meeting.action"), (first, SCHOOL, "meeting.first.action")];
        let actions = actions.map(|(case, owner, what)| minutes::ActionDraft {
            case_id: case.to_owned(),
            text: self.mark(what),
            owner_post_id: self.post(owner),
            due_on: day(20),
        });
        minutes::DraftMinutesRequest {
            meeting_id: meeting.to_owned(),
            sections: sections.into(),
            decisions: decisions.into(),
            actions: actions.into(),
            ..Default::default()
        }
    }
}
