//! Random histories of one bundle: commands by random posts, decided by the domain as the services do, with ids and
//! times that follow from the seed, so that the same history can be laid down in two worlds.

use std::collections::BTreeMap;

use jiff::{Timestamp, ToSpan as _};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tasuki_contract::attachments::v1 as attachments;
use tasuki_contract::common::v1::{CodeList, Date, DocumentRef, Fact, TextList, fact::Value};
use tasuki_contract::consent::v1::RecordSignedConsentRequest;
use tasuki_contract::event::v1::{Header, Recipient, recipient::Who};
use tasuki_contract::handoff::v1 as handoff_pb;
use tasuki_contract::intake::v1 as intake;
use tasuki_contract::minutes::v1 as minutes;
use tasuki_contract::{Classified, DataClass, Event, FieldRule, Sink};
use tasuki_domain::attachment::{self, Announced};
use tasuki_domain::case::CaseState;
use tasuki_domain::consultation::{self, ConsultationState};
use tasuki_domain::decision::{Actor, Decided, Decision, Given, Ids, Look, Recorded, StreamRef};
use tasuki_domain::dictionary::{self, Kind as ValueKind};
use tasuki_domain::directory::Directory;
use tasuki_domain::ids::{AttachmentId, CaseId, ConsultationId, HandoffId, MeetingId, PostId, ReferralId};
use tasuki_domain::meeting::{self, MeetingState};
use tasuki_domain::refusal::Refusal;
use tasuki_domain::{codes, consent, days, handoff, referral};
use tasuki_privacy::Viewer;
use uuid::Uuid;

use crate::people::{FAMILY, KINDS, MUNICIPALITY, actor, person, ward};

/// When the directory was registered, in microseconds since 1970-01-01 UTC.
pub const BEGIN_US: i64 = 1_760_000_000_000_000;
/// Commands that are tried before a step is given up.
const TRIES_MAX: usize = 12;

/// One event with everything that the log does not choose by itself.
#[derive(Clone, Debug)]
pub struct Step {
    pub actor: Actor,
    pub decided: Decided,
    pub id: Uuid,
    /// When it is recorded.
    pub at_us: i64,
    /// Events of one command have the same number.
    pub command: u64,
}

impl Step {
    /// The header as the service makes it.
    pub fn header(&self, version: u64) -> Header {
        let rule = self.decided.event.rule();
        let mut classes = Classes::default();
        self.decided.event.visit(&mut classes);
        Header {
            event_id: self.id.to_string(),
            r#type: rule.type_name.to_owned(),
            schema: rule.schema,
            stream_kind: self.decided.stream.kind.to_proto().into(),
            stream_id: self.decided.stream.id.to_string(),
            version,
            agency_id: self.actor.agency.into(),
            post_id: self.actor.post.into(),
            purpose: "care_coordination".to_owned(),
            occurred_at: Some(tasuki_log::read::timestamp(self.at_us)),
            case_ids: self.decided.cases.iter().map(Uuid::to_string).collect(),
            data_class: self.decided.event.class().into(),
            classes: classes.0.into_iter().collect(),
            effects: Some(self.decided.effects.clone()),
            ..Header::default()
        }
    }

    /// As folds get it.
    pub fn recorded(&self, version: u64) -> Recorded {
        let rule = self.decided.event.rule();
        let open_payload = self.decided.event.open_payload();
        let event = Event::decode(rule.type_name, &[&open_payload]).unwrap();
        let recorded_at = Timestamp::from_microsecond(self.at_us).unwrap();
        Recorded { header: Header { open_payload, ..self.header(version) }, event, recorded_at }
    }
}

#[derive(Default)]
struct Classes(std::collections::BTreeSet<i32>);

impl Sink for Classes {
    fn field(&mut self, rule: FieldRule) {
        self.0.insert(rule.class as i32);
    }
    fn fact(&mut self, fact: &Fact) {
        let class = dictionary::field(&fact.key).and_then(|f| DataClass::from_str_name(f.class.name()));
        self.0.insert(class.unwrap_or(DataClass::Sealed) as i32);
    }
}

/// The versions of the streams, in the order of the steps.
pub fn with_versions(steps: &[Step]) -> impl Iterator<Item = (&Step, u64)> {
    let mut versions: BTreeMap<StreamRef, u64> = BTreeMap::new();
    steps.iter().map(move |step| {
        let version = versions.entry(step.decided.stream).or_default();
        *version += 1;
        (step, *version)
    })
}

/// The directory that follows from its steps.
pub fn fold_directory(steps: &[Step]) -> Directory {
    let mut directory = Directory::default();
    for (step, version) in with_versions(steps) {
        directory.apply(&step.recorded(version));
    }
    directory
}

/// What there is in a history, for those who ask about it.
#[derive(Clone, Debug, Default)]
pub struct Things {
    pub cases: Vec<CaseId>,
    pub referrals: Vec<(CaseId, ReferralId)>,
    pub handoffs: Vec<(CaseId, HandoffId)>,
    pub meetings: Vec<MeetingId>,
    pub consultations: Vec<ConsultationId>,
    pub attachments: Vec<AttachmentId>,
}

/// Writes a history.
pub struct Author<'a> {
    directory: &'a Directory,
    bundle: usize,
    pub rng: StdRng,
    pub steps: Vec<Step>,
    pub things: Things,
    now: Timestamp,
    commands: u64,
}

impl<'a> Author<'a> {
    pub fn new(directory: &'a Directory, bundle: usize, seed: u64) -> Self {
        Self {
            directory,
            bundle,
            rng: StdRng::seed_from_u64(seed),
            steps: Vec::new(),
            things: Things::default(),
            // Yesterday, so that what is due from today on lies ahead.
            now: Timestamp::now().checked_sub(26.hours()).unwrap(),
            commands: seed,
        }
    }

    /// Opens a case and lets so many more commands follow.
    pub fn write(mut self, commands: usize) -> Self {
        while self.things.cases.is_empty() {
            self.submit(true);
        }
        for _ in 0..commands {
            for _ in 0..TRIES_MAX {
                let before = self.steps.len();
                self.command();
                if self.steps.len() > before {
                    break;
                }
            }
        }
        self
    }

    fn command(&mut self) {
        match self.rng.random_range(0..22) {
            0..3 => self.submit(false),
            3..7 => self.answer_referral(),
            7..9 => self.reroute_or_withdraw(),
            9 => self.propose(),
            10..13 => self.go_on_with_handoff(),
            13..15 => self.consent(),
            15 => self.schedule(),
            16..18 => self.go_on_with_meeting(),
            18 => self.consult(),
            19 | 20 => self.attach(),
            _ => self.submit(true),
        };
    }

    fn anybody(&mut self) -> Viewer {
        match self.rng.random_range(0..=KINDS.len()) {
            place if place < KINDS.len() => person(self.bundle, place),
            _ => ward(),
        }
    }

    fn text(&mut self) -> String {
        format!("TEXT-{:016x}", self.rng.random::<u64>())
    }

    fn some<T: Copy>(&mut self, of: impl Fn(&Things) -> &Vec<T>) -> Option<T> {
        of(&self.things).choose(&mut self.rng).copied()
    }

    fn state<S: Default>(&self, stream: StreamRef, evolve: impl Fn(&mut S, &Recorded)) -> S {
        let mut state = S::default();
        let of_stream = with_versions(&self.steps).filter(|(step, _)| step.decided.stream == stream);
        of_stream.for_each(|(step, version)| evolve(&mut state, &step.recorded(version)));
        state
    }

    fn case(&self, case: CaseId) -> CaseState {
        self.state(CaseState::stream(case), |state: &mut CaseState, recorded| state.evolve(case, recorded))
    }

    /// Runs a command; its events follow, or nothing does.
    fn give<R>(
        &mut self,
        by: &Viewer,
        decide: impl FnOnce(&mut Given<'_>) -> Result<Decision<R>, Refusal>,
    ) -> Option<R> {
        self.now = self.now.checked_add(self.rng.random_range(1..600).seconds()).unwrap();
        let mut given = Given {
            actor: actor(by),
            now: self.now,
            occurred_at: self.now,
            directory: Look::new(self.directory),
            ids: Ids::seeded(Uuid::from_u128(self.rng.random())),
        };
        let decision = decide(&mut given).ok()?;
        self.commands += 1;
        for decided in decision.events {
            let id = Ids::seeded(Uuid::from_u128(self.rng.random())).fresh();
            let at_us = self.now.as_microsecond();
            self.steps.push(Step { actor: actor(by), decided, id, at_us, command: self.commands });
        }
        Some(decision.reply)
    }

    fn submit(&mut self, opens: bool) -> Option<()> {
        let by = if opens { person(self.bundle, crate::people::HOSPITAL) } else { self.anybody() };
        let to = if opens { person(self.bundle, self.rng.random_range(1..4)) } else { self.anybody() };
        let into = if opens { None } else { Some(self.some(|t| &t.cases)?) };
        let mut facts = vec![
            fact("birth_date", Value::Date(Date { year: 2021, month: 11, day: 5 })),
            fact("care_procedures", Value::Codes(CodeList { codes: vec!["suctioning".to_owned()] })),
        ];
        if self.rng.random_bool(0.5) {
            facts.push(fact("name_kana", Value::Text(child_of(self.bundle, self.rng.random()))));
        }
        for _ in 0..self.rng.random_range(0..5) {
            let more = self.fact();
            if !facts.iter().any(|f| f.key == more.key) {
                facts.push(more);
            }
        }
        let signed = opens.then(|| intake::ConsentAtSource {
            anonymous: false,
            signer_relation: "mother".to_owned(),
            signed_on: Some(Date { year: 2024, month: 4, day: 5 }),
        });
        let request = intake::SubmitReferralRequest {
            case_id: into.map(String::from).unwrap_or_default(),
            to_post_id: to.post.into(),
            municipality_code: if opens { MUNICIPALITY.to_owned() } else { String::new() },
            referral_purpose: "nicu_discharge".to_owned(),
            expected_discharge_on: self.day(200),
            sender_telephone: "03-0000-0001".to_owned(),
            message: self.text(),
            label: if opens { self.text() } else { String::new() },
            facts,
            consent_at_source: signed,
            ..Default::default()
        };
        let state = into.map(|case| self.case(case)).unwrap_or_default();
        let sent = self.give(&by, |given| referral::submit(&state, &request, given))?;
        self.things.referrals.push((sent.case, sent.referral));
        if opens {
            self.things.cases.push(sent.case);
        }
        Some(())
    }

    /// By whoever is asked, most of the time.
    fn answer_referral(&mut self) -> Option<()> {
        let (case, referral) = self.some(|t| &t.referrals)?;
        let state = self.case(case);
        let asked = state.referrals.get(&referral)?.receiver;
        let by = self.viewer_of(asked)?;
        let referral_id = String::from(referral);
        match self.rng.random_range(0..4) {
            0 | 1 => {
                let request = intake::AcknowledgeReferralRequest { referral_id, context: None };
                self.give(&by, |given| referral::acknowledge(&state, &request, given))
            }
            2 => {
                let request = intake::AcceptReferralRequest {
                    referral_id,
                    as_lead: self.rng.random(),
                    first_contact_on: self.day(1),
                    ..Default::default()
                };
                self.give(&by, |given| referral::accept(&state, &request, given))
            }
            _ => {
                let request = intake::DeclineReferralRequest {
                    referral_id,
                    decline_reason: "no_nurse".to_owned(),
                    ..Default::default()
                };
                self.give(&by, |given| referral::decline(&state, &request, given))
            }
        }
    }

    fn reroute_or_withdraw(&mut self) -> Option<()> {
        let (case, referral) = self.some(|t| &t.referrals)?;
        let state = self.case(case);
        let by = self.viewer_of(state.referrals.get(&referral)?.sender)?;
        let referral_id = String::from(referral);
        if self.rng.random() {
            let to_post_id = self.anybody().post.into();
            let request = intake::RerouteReferralRequest { referral_id, to_post_id, ..Default::default() };
            self.give(&by, |given| referral::reroute(&state, &request, given))
        } else {
            let withdraw_reason = intake::WithdrawReason::FamilyWish.into();
            let request =
                intake::WithdrawReferralRequest { referral_id, withdraw_reason, ..Default::default() };
            self.give(&by, |given| referral::withdraw(&state, &request, given))
        }
    }

    fn propose(&mut self) -> Option<()> {
        let case = self.some(|t| &t.cases)?;
        let state = self.case(case);
        let by = self.viewer_of(state.circle.lead?)?;
        let request = handoff_pb::ProposeHandoffRequest {
            case_id: case.into(),
            kind: handoff_pb::HandoffKind::Other.into(),
            incoming_post_id: self.anybody().post.into(),
            reason_text: self.text(),
            ..Default::default()
        };
        let handoff = self.give(&by, |given| handoff::propose(&state, &request, given))?;
        self.things.handoffs.push((case, handoff));
        Some(())
    }

    fn go_on_with_handoff(&mut self) -> Option<()> {
        let (case, handoff) = self.some(|t| &t.handoffs)?;
        let state = self.case(case);
        let parties = state.handoffs.get(&handoff)?.parties();
        let by = *parties.choose(&mut self.rng)?;
        let by = self.viewer_of(by)?;
        let handoff_id = String::from(handoff);
        let text = self.text();
        match self.rng.random_range(0..6) {
            0 => {
                let request =
                    handoff_pb::OfferHandoffRequest { handoff_id, summary: text, ..Default::default() };
                self.give(&by, |given| handoff::offer(&state, &request, given)).map(drop)
            }
            1 => {
                let request = handoff_pb::AcceptHandoffRequest { handoff_id, context: None };
                self.give(&by, |given| handoff::accept(&state, &request, given))
            }
            2 => {
                let request = handoff_pb::BeginAccompanimentRequest {
                    handoff_id,
                    joint_contact_on: self.day(0),
                    review_on: self.day(30),
                    context: None,
                };
                self.give(&by, |given| handoff::begin_accompaniment(&state, &request, given))
            }
            3 => {
                let request = handoff_pb::RecordJointContactRequest {
                    handoff_id,
                    held_on: self.day(-1),
                    family_present: true,
                    outgoing_present: true,
                    incoming_present: true,
                    note: text,
                    ..Default::default()
                };
                self.give(&by, |given| handoff::record_joint_contact(&state, &request, given))
            }
            4 => {
                let request = handoff_pb::CompleteHandoffRequest {
                    handoff_id,
                    adopt_all_open_actions: true,
                    ..Default::default()
                };
                self.give(&by, |given| handoff::complete(&state, &request, given)).map(drop)
            }
            _ => {
                let request = handoff_pb::DeclineHandoffRequest {
                    handoff_id,
                    decline_reason: "no_nurse".to_owned(),
                    note: text,
                    context: None,
                };
                self.give(&by, |given| handoff::decline(&state, &request, given))
            }
        }
    }

    fn consent(&mut self) -> Option<()> {
        let case = self.some(|t| &t.cases)?;
        let state = self.case(case);
        let by = self.viewer_of(state.circle.lead?)?;
        let who = match self.rng.random_range(0..4) {
            0 => Who::AgencyKind(KINDS[self.rng.random_range(0..FAMILY)].to_owned()),
            1 => Who::AgencyId(self.anybody().agency.into()),
            _ => Who::PostId(self.anybody().post.into()),
        };
        let classes: Vec<i32> = tasuki_privacy::PERSONAL
            .into_iter()
            .filter(|class| *class != DataClass::Sealed && self.rng.random_bool(0.4))
            .map(|class| class as i32)
            .collect();
        let keys = dictionary::all();
        let excluded = (0..self.rng.random_range(0..3)).map(|_| self.rng.random_range(0..keys.len()));
        let excluded: std::collections::BTreeSet<usize> = excluded.collect();
        let request = RecordSignedConsentRequest {
            case_id: case.into(),
            recipients: vec![Recipient { who: Some(who) }],
            classes,
            excluded_keys: excluded.into_iter().map(|n| keys[n].key.clone()).collect(),
            signer_relation: "mother".to_owned(),
            consent_method: "paper".to_owned(),
            signed_on: self.day(-3),
            note: self.text(),
            ..Default::default()
        };
        self.give(&by, |given| consent::record_signed(&state, &request, given)).map(drop)
    }

    /// By anybody of the circle, of any class.
    fn attach(&mut self) -> Option<()> {
        let case = self.some(|t| &t.cases)?;
        let state = self.case(case);
        let by = self.anybody();
        let class = *attachment::CLASSES.choose(&mut self.rng)?;
        let about = attachments::BeginAttachmentRequest {
            case_id: case.into(),
            data_class: class.into(),
            media_type: attachments::MediaType::Pdf.into(),
            size_bytes: self.rng.random_range(1..2_000),
            sha256: vec![self.rng.random(); attachment::DIGEST_BYTES],
            title: self.text(),
            file_name: self.text(),
        };
        attachment::begin(&state, &about, by.post).ok()?;
        let id = AttachmentId(Ids::seeded(Uuid::from_u128(self.rng.random())).fresh());
        let found = Ok(vec![self.rng.random(); attachment::DIGEST_BYTES]);
        let announced = Announced { attachment: id, post: by.post, about, found };
        let request = attachments::CompleteAttachmentRequest { context: None, attachment_id: id.into() };
        self.give(&by, |given| attachment::complete(&state, Some(&announced), &request, given))?;
        self.things.attachments.push(id);
        Some(())
    }

    fn schedule(&mut self) -> Option<()> {
        let case = self.some(|t| &t.cases)?;
        let state = self.case(case);
        let members: Vec<PostId> =
            state.circle.relations.keys().copied().filter(|p| state.circle.is_member(*p)).collect();
        let by = *members.choose(&mut self.rng)?;
        let by = self.viewer_of(by)?;
        let starts_at = tasuki_log::read::timestamp(self.now.as_microsecond() + 600_000_000);
        let invited = [self.anybody(), self.anybody()].map(|v| v.post);
        let invited: std::collections::BTreeSet<PostId> =
            invited.into_iter().filter(|p| *p != by.post).collect();
        let request = minutes::ScheduleMeetingRequest {
            meeting_kind: "case_conference".to_owned(),
            starts_at: Some(starts_at),
            place: self.text(),
            invitee_post_ids: invited.into_iter().map(String::from).collect(),
            agenda: vec![
                minutes::AgendaItem { case_id: case.into(), text: self.text() },
                minutes::AgendaItem { case_id: String::new(), text: self.text() },
            ],
            context: None,
        };
        let cases = BTreeMap::from([(case, state)]);
        let meeting = self.give(&by, |given| meeting::schedule(&cases, &request, given))?;
        self.things.meetings.push(meeting);
        Some(())
    }

    fn go_on_with_meeting(&mut self) -> Option<()> {
        let id = self.some(|t| &t.meetings)?;
        let stream = MeetingState::stream(id);
        let state = self.state(stream, |state: &mut MeetingState, recorded| state.evolve(recorded));
        let called = self.steps.iter().find(|step| step.decided.stream == stream)?.actor.post;
        let (by, meeting_id) = (self.viewer_of(called)?, String::from(id));
        let cases: BTreeMap<CaseId, CaseState> =
            state.cases().into_iter().map(|case| (case, self.case(case))).collect();
        match self.rng.random_range(0..3) {
            0 => {
                let parties = state.meeting.as_ref()?.parties();
                let attendance = parties
                    .into_iter()
                    .take(2)
                    .map(|post| minutes::Attendance { post_id: post.into(), people: 2 });
                let attendance = attendance.collect();
                let request = minutes::HoldMeetingRequest { meeting_id, attendance, context: None };
                self.now = self.now.checked_add(1.hours()).unwrap();
                self.give(&by, |given| meeting::hold(&state, &request, given))
            }
            1 => {
                let case = *cases.keys().next()?;
                let owner = self.anybody().post;
                let section = |rng: &mut StdRng, class| minutes::SectionDraft {
                    case_id: case.into(),
                    data_class: class,
                    text: format!("TEXT-{:016x}", rng.random::<u64>()),
                };
                let classes: Vec<i32> = (0..3).map(|_| self.rng.random_range(2..16)).collect();
                let sections = classes.into_iter().map(|class| section(&mut self.rng, class)).collect();
                let action = minutes::ActionDraft {
                    case_id: case.into(),
                    text: self.text(),
                    owner_post_id: owner.into(),
                    due_on: self.day(20),
                };
                let request = minutes::DraftMinutesRequest {
                    meeting_id,
                    sections,
                    actions: vec![action],
                    ..Default::default()
                };
                self.give(&by, |given| meeting::draft(&state, &cases, &request, given)).map(drop)
            }
            _ => {
                let request = minutes::CirculateMinutesRequest { meeting_id, context: None };
                self.give(&by, |given| meeting::circulate(&state, &request, given))
            }
        }
    }

    fn consult(&mut self) -> Option<()> {
        let by = self.anybody();
        let request = intake::RecordConsultationRequest {
            consulter_attribute: "family".to_owned(),
            access_route: "leaflet".to_owned(),
            contact_method: "phone".to_owned(),
            contents: vec!["medical_care".to_owned()],
            caller_identity: intake::CallerIdentity::Anonymous.into(),
            story: self.text(),
            ..Default::default()
        };
        let id = self.give(&by, |given| consultation::record(&request, given))?;
        let _: ConsultationState = ConsultationState::default();
        self.things.consultations.push(id);
        Some(())
    }

    fn viewer_of(&self, post: PostId) -> Option<Viewer> {
        let everybody = (0..KINDS.len()).map(|place| person(self.bundle, place)).chain([ward()]);
        everybody.into_iter().find(|viewer| viewer.post == post)
    }

    fn day(&self, from_today: i64) -> Option<Date> {
        let today = tasuki_domain::decision::day_in_tokyo(self.now);
        let day = today.checked_add(from_today.days()).unwrap();
        Some(Date { year: day.year().into(), month: day.month().into(), day: day.day().into() })
    }

    /// A fact of any key, with a value of its kind.
    fn fact(&mut self) -> Fact {
        let fields = dictionary::all();
        let field = &fields[self.rng.random_range(0..fields.len())];
        let text = self.text();
        let code = |rng: &mut StdRng, table| codes::rows(table).choose(rng).unwrap().code.clone();
        let value = match field.kind {
            ValueKind::Text => Value::Text(text),
            ValueKind::Date => Value::Date(Date { year: 2020, month: 1, day: self.rng.random_range(1..28) }),
            ValueKind::Boolean => Value::Flag(self.rng.random()),
            ValueKind::Integer => Value::Number(self.rng.random_range(1..9)),
            ValueKind::Code(table) => Value::Code(code(&mut self.rng, table)),
            ValueKind::Codes(table) => Value::Codes(CodeList { codes: vec![code(&mut self.rng, table)] }),
            ValueKind::TextList => Value::Texts(TextList { texts: vec![text] }),
            ValueKind::Document => {
                Value::Document(DocumentRef { document_id: text.clone(), title: text, ..Default::default() })
            }
        };
        fact(&field.key, value)
    }
}

/// The reading of the name of one of the two children of a bundle, which no child of another bundle has.
pub fn child_of(bundle: usize, first: bool) -> String {
    let digit =
        |c: char| ['ア', 'イ', 'ウ', 'エ', 'カ', 'キ', 'ク', 'ケ', 'サ', 'シ'][c as usize - '0' as usize];
    let surname: String = bundle.to_string().chars().map(digit).collect();
    format!("{surname} {}", if first { "タロウ" } else { "ハナ" })
}

fn fact(key: &str, value: Value) -> Fact {
    Fact { key: key.to_owned(), value: Some(value), ..Fact::default() }
}

/// Today in Asia/Tokyo, as policy counts it.
pub fn today() -> i32 {
    days::epoch_day(tasuki_domain::decision::day_in_tokyo(Timestamp::now()))
}
