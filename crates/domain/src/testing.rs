//! A world for tests: an example region, a clock that stands still until told, and a log kept in memory.
//!
//! Given events, when a command, then events or a refusal. What was decided is recorded exactly as the log does it:
//! a version, and of the event its open fields only, so that a fold that needs a sealed field fails here. Nothing of
//! it is compiled into a program.

use std::collections::BTreeMap;
use std::fmt::Debug;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use tasuki_contract::Event;
use tasuki_contract::common::v1 as common;
use tasuki_contract::directory::v1 as directory;
use tasuki_contract::event::v1::{Effects, Header};
use uuid::Uuid;

use crate::case::CaseState;
use crate::decision::{Actor, Decided, Decision, Given, Ids, Kind, Look, Recorded, StreamRef, day_in_tokyo};
use crate::directory::Directory;
use crate::ids::{AgencyId, CaseId, PostId, municipality_stream};
use crate::refusal::{Reason, Refusal};

/// The example ward, under a code that no municipality has.
pub const WARD: &str = "131997";
/// A second municipality without rules.
pub const UNCONFIGURED: &str = "131989";

macro_rules! region {
    ($($(#[$doc:meta])* $name:ident $number:literal $kind:literal;)*) => {
        $($(#[$doc])* pub const $name: PostId = PostId(Uuid::from_u128(0x1000 + $number));)*
        const REGION: &[(u128, &str)] = &[$(($number, $kind),)*];
    };
}

region! {
    /// The discharge team of a hospital.
    HOSPITAL 1 "hospital";
    /// The ward's intake post.
    INTAKE 2 "municipal_disability_welfare";
    /// A coordinator's desk, open on Monday, Wednesday and Friday.
    COORDINATOR 3 "mcc_coordinator_office";
    /// A visiting nurse station.
    NURSE 4 "visiting_nurse_station";
    /// A consultation-support office.
    PLANNER 5 "consultation_support_office";
    /// A nursery.
    NURSERY 6 "nursery";
    /// A school.
    SCHOOL 7 "special_needs_school";
    /// A health centre.
    HEALTH 8 "public_health_center";
    /// A guardian.
    GUARDIAN 9 "family";
    /// A second nursery.
    OTHER_NURSERY 10 "nursery";
    /// A nursery that was closed.
    RETIRED 11 "nursery";
}

/// A post that nobody has registered.
pub const UNKNOWN: PostId = PostId(Uuid::from_u128(0x1fff));

/// The agency of one of the region's posts.
pub fn agency_of(post: PostId) -> AgencyId {
    AgencyId(Uuid::from_u128(post.0.as_u128() + 0x1000))
}

/// A day as the contract spells it.
pub fn date(year: i32, month: i32, day: i32) -> Option<common::Date> {
    Some(common::Date { year, month, day })
}

/// The day `days` after today in Asia/Tokyo, as the contract spells it.
pub fn in_days(world: &World, days: i64) -> Option<common::Date> {
    let day = world.today().checked_add(days.days()).unwrap();
    date(day.year().into(), day.month().into(), day.day().into())
}

/// The reason of a refusal; panics when fields are malformed instead.
pub fn reason<T: Debug>(result: Result<T, Refusal>) -> Reason {
    match result {
        Err(Refusal::Reason(reason)) => reason,
        Err(Refusal::State(_)) => Reason::WrongState,
        Err(Refusal::Merged(_)) => Reason::CaseMerged,
        other => panic!("expected a refusal with a reason, got {other:?}"),
    }
}

/// The malformed fields of a refusal with their reasons, in the order found.
pub fn fields<T: Debug>(result: Result<T, Refusal>) -> Vec<(String, &'static str)> {
    match result {
        Err(Refusal::Invalid(all)) => all.into_iter().map(|v| (v.field, v.why)).collect(),
        other => panic!("expected malformed fields, got {other:?}"),
    }
}

/// Short names of the events' types.
pub fn types(events: &[Decided]) -> Vec<&'static str> {
    events.iter().map(|e| e.event.rule().type_name.rsplit('.').next().unwrap()).collect()
}

/// The example region, and everything that has happened in it.
#[derive(Debug)]
pub struct World {
    /// Agencies, posts and rules.
    pub directory: Directory,
    /// Everything that was appended, the directory's events first.
    pub log: Vec<Recorded>,
    /// The instant of the next command.
    pub now: Timestamp,
    /// When the next command happened; `None`: at its instant.
    pub occurred_at: Option<Timestamp>,
    versions: BTreeMap<StreamRef, u64>,
    next_id: u128,
}

impl World {
    /// The region on Wednesday 10 April 2024, 10:00 in Tokyo.
    pub fn new() -> Self {
        let mut world = Self {
            directory: Directory::default(),
            log: Vec::new(),
            now: "2024-04-10T01:00:00Z".parse().unwrap(),
            occurred_at: None,
            versions: BTreeMap::new(),
            next_id: 0x1_0000,
        };
        for (number, kind) in REGION {
            let (post, agency) = (Uuid::from_u128(0x1000 + number), Uuid::from_u128(0x2000 + number));
            let registered = directory::AgencyRegistered {
                agency_id: agency.to_string(),
                kind: (*kind).to_owned(),
                name_ja: format!("例示機関{number}"),
                name_en: format!("Example agency {number}"),
                municipality_code: WARD.to_owned(),
                telephone: String::new(),
            };
            world.tell(Kind::Agency, agency, registered);
            let created = directory::PostCreated {
                post_id: post.to_string(),
                agency_id: agency.to_string(),
                label_ja: format!("例示窓口{number}"),
                label_en: format!("Example post {number}"),
            };
            world.tell(Kind::Post, post, created);
        }
        let desk = directory::Calendar {
            open_weekdays: vec![1, 3, 5],
            opens_min: 540,
            closes_min: 1020,
            closed_on_national_holidays: true,
            closed_yearly: vec!["12-29/01-03".to_owned()],
        };
        let coordinator = agency_of(COORDINATOR);
        let set = directory::CalendarSet { agency_id: coordinator.into(), calendar: Some(desk) };
        world.tell(Kind::Agency, coordinator.0, set);
        world.retire(RETIRED);
        let configured = directory::MunicipalityConfigured {
            municipality_id: municipality_stream(WARD).to_string(),
            municipality_code: WARD.to_owned(),
            intake_post_id: INTAKE.into(),
            kinds_that_may_lead: crate::visibility::kinds_that_may_lead().to_vec(),
        };
        world.tell(Kind::Municipality, municipality_stream(WARD), configured);
        world
    }

    /// Retires a post, whatever it is responsible for.
    pub fn retire(&mut self, post: PostId) {
        self.tell(Kind::Post, post.0, directory::PostRetired { post_id: post.into() });
    }

    /// Appends an event of the directory as it is.
    pub fn tell(&mut self, kind: Kind, id: Uuid, event: impl Into<Event>) {
        let (stream, event) = (StreamRef { kind, id }, event.into());
        let effects = Effects::default();
        let decided = Decided { stream, event, effects, cases: Vec::new(), on_behalf_of: None };
        self.append(&actor(PostId(Uuid::nil()), true), &decided);
    }

    /// Today in Asia/Tokyo.
    pub fn today(&self) -> Date {
        day_in_tokyo(self.now)
    }

    /// Lets days pass.
    pub fn pass_days(&mut self, days: i64) {
        self.now = self.now.checked_add((24 * days).hours()).unwrap();
    }

    /// Runs a command of a post: what it decides is appended and folded, a refusal changes nothing.
    pub fn run<R>(
        &mut self,
        post: PostId,
        decide: impl FnOnce(&mut Given<'_>) -> Result<Decision<R>, Refusal>,
    ) -> Result<Decision<R>, Refusal> {
        self.run_as(actor(post, false), decide)
    }

    /// Runs a command of an operator.
    pub fn run_operator<R>(
        &mut self,
        decide: impl FnOnce(&mut Given<'_>) -> Result<Decision<R>, Refusal>,
    ) -> Result<Decision<R>, Refusal> {
        self.run_as(actor(PostId(Uuid::nil()), true), decide)
    }

    fn run_as<R>(
        &mut self,
        actor: Actor,
        decide: impl FnOnce(&mut Given<'_>) -> Result<Decision<R>, Refusal>,
    ) -> Result<Decision<R>, Refusal> {
        let mut given = Given {
            actor,
            now: self.now,
            occurred_at: self.occurred_at.unwrap_or(self.now),
            directory: Look::new(&self.directory),
            ids: Ids::seeded(uuid::Uuid::from_u128(self.next_id)),
        };
        let decision = decide(&mut given)?;
        for (stream, version) in given.directory.relied_on() {
            assert_eq!(
                version,
                self.directory.version(stream),
                "relied on a version that is not the present one"
            );
        }
        self.next_id += 0x1000;
        assert!(!decision.events.is_empty(), "an accepted command appends something");
        for decided in &decision.events {
            self.append(&actor, decided);
        }
        Ok(decision)
    }

    fn append(&mut self, actor: &Actor, decided: &Decided) {
        let version = self.versions.entry(decided.stream).or_default();
        *version += 1;
        let (version, rule) = (*version, decided.event.rule());
        let open_payload = decided.event.open_payload();
        let event = Event::decode(rule.type_name, &[&open_payload]).unwrap();
        self.next_id += 1;
        let header = Header {
            event_id: Uuid::from_u128(self.next_id).to_string(),
            r#type: rule.type_name.to_owned(),
            schema: rule.schema,
            stream_kind: decided.stream.kind.to_proto().into(),
            stream_id: decided.stream.id.to_string(),
            version,
            agency_id: actor.agency.into(),
            post_id: actor.post.into(),
            case_ids: decided.cases.iter().map(Uuid::to_string).collect(),
            occurred_at: Some(self.timestamp()),
            data_class: decided.event.class().into(),
            effects: Some(decided.effects.clone()),
            open_payload,
            on_behalf_of: decided.on_behalf_of.map(String::from).unwrap_or_default(),
            ..Header::default()
        };
        let recorded = Recorded { header, event, recorded_at: self.now };
        self.directory.apply(&recorded);
        self.log.push(recorded);
    }

    /// When the next command happened, as a header carries it.
    fn timestamp(&self) -> prost_types::Timestamp {
        let at = self.occurred_at.unwrap_or(self.now);
        prost_types::Timestamp { seconds: at.as_second(), nanos: at.subsec_nanosecond() }
    }

    /// The events of a stream, oldest first.
    pub fn stream(&self, kind: Kind, id: Uuid) -> impl Iterator<Item = &Recorded> {
        let (kind, id) = (kind.to_proto(), id.to_string());
        self.log.iter().filter(move |r| r.header.stream_kind() == kind && r.header.stream_id == id)
    }

    /// The state that follows from a stream.
    pub fn fold<S: Default>(&self, kind: Kind, id: Uuid, evolve: impl Fn(&mut S, &Recorded)) -> S {
        let mut state = S::default();
        self.stream(kind, id).for_each(|recorded| evolve(&mut state, recorded));
        state
    }

    /// The state of a case; of one that does not exist, the state before its first event.
    pub fn case(&self, case: CaseId) -> CaseState {
        self.fold(Kind::Case, case.0, |state: &mut CaseState, recorded| state.evolve(case, recorded))
    }

    /// Every case that was opened, with its state.
    pub fn cases(&self) -> BTreeMap<CaseId, CaseState> {
        let opened = self.log.iter().filter_map(|r| match &r.event {
            Event::CaseOpened(e) => Some(CaseId::trusted(&e.case_id)),
            _ => None,
        });
        opened.map(|case| (case, self.case(case))).collect()
    }

    /// Checks promise P2: each open case has exactly one responsible, active post of a kind that may lead.
    pub fn assert_nobody_is_dropped(&self) {
        for (id, case) in self.cases() {
            if case.merged.is_some() {
                assert_eq!(case.circle.lead, None, "case {id} was closed and has a lead");
                continue;
            }
            let lead = case.circle.lead.unwrap_or_else(|| panic!("case {id} has no lead"));
            let look = Look::new(&self.directory);
            look.may_lead(lead, &case.municipality_code).unwrap_or_else(|e| panic!("lead of {id}: {e}"));
            let lead_relation = tasuki_contract::event::v1::Relation::Lead;
            let leads: Vec<_> =
                case.circle.relations.iter().filter(|(_, all)| all.contains(&lead_relation)).collect();
            assert_eq!(leads.len(), 1, "case {id} has {leads:?}");
            assert_eq!(*leads[0].0, lead);
        }
    }
}

fn actor(post: PostId, operator: bool) -> Actor {
    let agency = if operator { AgencyId(Uuid::nil()) } else { agency_of(post) };
    Actor { agency, post, operator }
}
