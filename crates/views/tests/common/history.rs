//! Random histories: agencies, posts, cases; posts that join and leave, grants that come and end, time that passes.

use prost::Message as _;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tasuki_contract::cases::v1::CaseOpened;
use tasuki_contract::directory::v1::{AgencyRegistered, PolicyAdopted, PostCreated};
use tasuki_contract::event::v1::{
    CircleChange, DutyChange, Effects, Envelope, GrantChange, Header, ItemChange, LeadChange, Recipient,
    Relation, recipient::Who,
};
use tasuki_contract::{DataClass, RULES};
use tasuki_domain::policy::DEFAULT;
use tasuki_privacy::PERSONAL;
use uuid::Uuid;

const KINDS: [&str; 9] = [
    "hospital",
    "mcc_coordinator_office",
    "municipal_childcare",
    "municipal_disability_welfare",
    "visiting_nurse_station",
    "nursery",
    "consultation_support_office",
    "family",
    "npo",
];
const PLACES: [&str; 3] = ["131172", "131199", "122076"];
const NARROW: &str = include_str!("../../../../deploy/policies/example-narrow.toml");
const STATES: [&str; 4] = ["submitted", "acknowledged", "accepted", "closed"];
/// 2026-04-01 00:00 in Tokyo, in microseconds.
pub const BEGIN_US: i64 = 1_774_969_200_000_000;
pub const BEGIN_DAY: i32 = 20_544;
const HOUR_US: i64 = 3_600_000_000;

pub fn id(space: u64, n: u64) -> Uuid {
    Uuid::from_u64_pair(space << 32, n + 1)
}

pub fn text(space: u64, n: u64) -> String {
    id(space, n).to_string()
}

pub const AGENCY: u64 = 1;
pub const POST: u64 = 2;
pub const CASE: u64 = 3;
const GRANT: u64 = 4;
const DUTY: u64 = 5;
const ITEM: u64 = 6;
const EVENT: u64 = 7;

/// Makes a log, row by row.
pub struct History {
    pub rng: StdRng,
    pub rows: Vec<Envelope>,
    now_us: i64,
    posts: u64,
    cases: u64,
}

impl History {
    pub fn new(seed: u64, posts: u64, cases: u64) -> Self {
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, rows: Vec::new(), now_us: BEGIN_US, posts, cases }
    }

    /// A directory first, where one post in eight comes late, then so many events.
    pub fn random(seed: u64, posts: u64, cases: u64, events: usize) -> Self {
        let mut history = Self::new(seed, posts, cases);
        let mut late = Vec::new();
        for n in 0..posts {
            if history.rng.random_bool(0.125) { late.push(n) } else { history.register(n) }
        }
        for n in 0..events {
            if n % (events / 8).max(1) == 0
                && let Some(post) = late.pop()
            {
                history.register(post);
            }
            history.random_event();
        }
        history
    }

    /// Registers an agency of one post, and the post.
    pub fn register(&mut self, n: u64) {
        let kind = KINDS[n as usize % KINDS.len()].to_owned();
        let agency = AgencyRegistered {
            agency_id: text(AGENCY, n),
            kind,
            municipality_code: PLACES[n as usize % 3].to_owned(),
            ..AgencyRegistered::default()
        };
        self.push(
            "tasuki.directory.v1.AgencyRegistered",
            vec![],
            Effects::default(),
            &agency.encode_to_vec(),
        );
        let post =
            PostCreated { post_id: text(POST, n), agency_id: text(AGENCY, n), ..PostCreated::default() };
        self.push("tasuki.directory.v1.PostCreated", vec![], Effects::default(), &post.encode_to_vec());
    }

    pub fn pass_hours(&mut self, hours: i64) {
        self.now_us += hours * HOUR_US;
    }

    /// An event of a type, with its own class.
    pub fn push(&mut self, r#type: &str, cases: Vec<u64>, effects: Effects, open_payload: &[u8]) {
        let rule = RULES.iter().find(|rule| rule.type_name == r#type).unwrap();
        let number = self.rows.len() as u64;
        let header = Header {
            event_id: text(EVENT, number),
            r#type: r#type.to_owned(),
            schema: rule.schema,
            case_ids: cases.into_iter().map(|n| text(CASE, n)).collect(),
            data_class: rule.class as i32,
            effects: Some(effects),
            open_payload: open_payload.to_vec(),
            ..Header::default()
        };
        self.now_us += 1;
        let header = header.encode_to_vec();
        self.rows.push(Envelope {
            position: number + 1,
            epoch: 1,
            recorded_at: Some(tasuki_log::read::timestamp(self.now_us)),
            commitment: tasuki_log::commitment(&header, &[]).to_vec(),
            header,
            hash: Vec::new(),
        });
    }

    fn post(&mut self) -> String {
        let n = self.rng.random_range(0..self.posts);
        text(POST, n)
    }

    fn random_event(&mut self) {
        if self.rng.random_bool(0.2) {
            let hours = self.rng.random_range(1..30);
            self.pass_hours(hours);
        }
        let personal: Vec<_> = RULES.iter().filter(|rule| PERSONAL.contains(&rule.class)).collect();
        if self.rng.random_bool(0.004) {
            self.adopt_policy();
        }
        let rule = personal[self.rng.random_range(0..personal.len())];
        let mut cases = Vec::new();
        for _ in 0..[0, 1, 1, 1, 1, 1, 2, 3][self.rng.random_range(0..8)] {
            cases.push(self.rng.random_range(0..self.cases));
        }
        let effects = self.effects(&cases);
        let opens = (rule.type_name == "tasuki.cases.v1.CaseOpened").then(|| CaseOpened {
            case_id: cases.first().map(|n| text(CASE, *n)).unwrap_or_default(),
            municipality_code: PLACES[self.rng.random_range(0..PLACES.len())].to_owned(),
            ..CaseOpened::default()
        });
        let payload = opens.map(|event| event.encode_to_vec()).unwrap_or_default();
        self.push(rule.type_name, cases, effects, &payload);
    }

    /// Some municipality adopts the default, the example that narrows it, or a text that does not read.
    pub fn adopt_policy(&mut self) {
        let place = PLACES[self.rng.random_range(0..PLACES.len())];
        let text = [DEFAULT, NARROW, "form = 99"][self.rng.random_range(0..3)].to_owned();
        let event = PolicyAdopted { municipality_code: place.to_owned(), text, ..PolicyAdopted::default() };
        let payload = event.encode_to_vec();
        self.push("tasuki.directory.v1.PolicyAdopted", vec![], Effects::default(), &payload);
    }

    fn effects(&mut self, cases: &[u64]) -> Effects {
        let mut effects = Effects::default();
        for _ in 0..self.rng.random_range(0..3) {
            let post = self.post();
            effects.party_post_ids.push(post);
        }
        for case in cases {
            let case_id = text(CASE, *case);
            for _ in 0..[0, 0, 0, 1, 2][self.rng.random_range(0..5)] {
                let change = self.circle_change(case_id.clone());
                effects.circle.push(change);
            }
            if self.rng.random_bool(0.1) {
                let post_id = self.post();
                effects.leads.push(LeadChange { case_id: case_id.clone(), post_id });
            }
            if self.rng.random_bool(0.15) {
                let grant = self.grant_change(case_id);
                effects.grants.push(grant);
            }
        }
        let case_id = cases.first().map(|n| text(CASE, *n)).unwrap_or_default();
        for _ in 0..self.rng.random_range(0..2) {
            let duty = self.duty_change(case_id.clone());
            effects.duties.push(duty);
        }
        if self.rng.random_bool(0.4) {
            let item = self.item_change(case_id);
            effects.items.push(item);
        }
        effects
    }

    fn circle_change(&mut self, case_id: String) -> CircleChange {
        let relation = self.rng.random_range(Relation::Lead as i32..=Relation::Named as i32);
        CircleChange { case_id, post_id: self.post(), relation, ends: self.rng.random_bool(0.3) }
    }

    fn grant_change(&mut self, case_id: String) -> GrantChange {
        let mut classes = PERSONAL.to_vec();
        classes.retain(|_| self.rng.random_bool(0.7));
        let mut recipients = Vec::new();
        for _ in 0..self.rng.random_range(1..4) {
            let who = match self.rng.random_range(0..3) {
                0 => Who::PostId(self.post()),
                1 => Who::AgencyId(text(AGENCY, self.rng.random_range(0..self.posts))),
                _ => Who::AgencyKind(KINDS[self.rng.random_range(0..KINDS.len())].to_owned()),
            };
            recipients.push(Recipient { who: Some(who) });
        }
        let today = ((self.now_us - BEGIN_US) / (24 * HOUR_US)) as i32 + BEGIN_DAY;
        let valid_to_day = if self.rng.random_bool(0.5) { today + self.rng.random_range(-1..6) } else { 0 };
        GrantChange {
            case_id,
            grant_id: text(GRANT, self.rng.random_range(0..8)),
            recipients,
            classes: classes.into_iter().map(|class: DataClass| class as i32).collect(),
            excluded_keys: Vec::new(),
            valid_to_day,
            ends: self.rng.random_bool(0.25),
            ..GrantChange::default()
        }
    }

    fn duty_change(&mut self, case_id: String) -> DutyChange {
        DutyChange {
            duty_id: text(DUTY, self.rng.random_range(0..30)),
            kind: self.rng.random_range(1..=10),
            case_id,
            owner_post_id: self.post(),
            subject_id: text(ITEM, self.rng.random_range(0..30)),
            due_day: [0, BEGIN_DAY + self.rng.random_range(0..9)][self.rng.random_range(0..2)],
            ends: self.rng.random_bool(0.4),
        }
    }

    fn item_change(&mut self, case_id: String) -> ItemChange {
        let n = self.rng.random_range(0..30);
        let mut post_ids = Vec::new();
        for _ in 0..self.rng.random_range(0..3) {
            post_ids.push(self.post());
        }
        let state = STATES[self.rng.random_range(0..STATES.len())].to_owned();
        ItemChange { kind: (n % 4) as i32 + 1, item_id: text(ITEM, n), case_id, state, post_ids }
    }
}
