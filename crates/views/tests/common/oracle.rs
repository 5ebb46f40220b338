//! The rule of the feed once more, written as it is said and without a thought for speed.
//!
//! At every event of a case, each post of the circle gets all earlier events of the case that it may see now and never
//! got; then everyone who may see the event gets it. It remembers each delivery and asks the policy for each event and
//! post anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message as _;
use tasuki_contract::DataClass;
use tasuki_contract::cases::v1::CaseOpened;
use tasuki_contract::directory::v1::{AgencyRegistered, PolicyAdopted, PostCreated};
use tasuki_contract::event::v1::{Envelope, Header};
use tasuki_domain::circle::Circle;
use tasuki_domain::ids::{AgencyId, CaseId, PostId};
use tasuki_domain::policy::{InForce, Policy};
use tasuki_domain::purpose::Purpose;
use tasuki_privacy::{Level, Viewer, event_level};
use uuid::Uuid;

/// Post, case, position, history: in the order of each post's feed.
pub type Feeds = BTreeMap<PostId, Vec<(Option<CaseId>, u64, bool)>>;

#[derive(Default)]
struct Case {
    municipality: String,
    circle: Circle,
    events: Vec<(u64, DataClass, BTreeSet<PostId>)>,
    got: BTreeSet<(PostId, u64)>,
}

pub fn feeds(log: &[Envelope]) -> Feeds {
    let mut feeds = Feeds::new();
    let mut kinds: BTreeMap<AgencyId, String> = BTreeMap::new();
    let mut places: BTreeMap<AgencyId, String> = BTreeMap::new();
    let mut agencies: BTreeMap<PostId, AgencyId> = BTreeMap::new();
    let mut policies: BTreeMap<String, Arc<Policy>> = BTreeMap::new();
    let mut cases: BTreeMap<CaseId, Case> = BTreeMap::new();
    for row in log {
        let header = Header::decode(row.header.as_slice()).unwrap();
        match header.r#type.as_str() {
            "tasuki.directory.v1.AgencyRegistered" => {
                let event = AgencyRegistered::decode(header.open_payload.as_slice()).unwrap();
                places.insert(AgencyId::trusted(&event.agency_id), event.municipality_code);
                kinds.insert(AgencyId::trusted(&event.agency_id), event.kind);
            }
            "tasuki.directory.v1.PostCreated" => {
                let event = PostCreated::decode(header.open_payload.as_slice()).unwrap();
                agencies.insert(PostId::trusted(&event.post_id), AgencyId::trusted(&event.agency_id));
            }
            "tasuki.directory.v1.PolicyAdopted" => {
                let event = PolicyAdopted::decode(header.open_payload.as_slice()).unwrap();
                policies.insert(event.municipality_code, Arc::new(Policy::adopted(&event.text)));
            }
            "tasuki.cases.v1.CaseOpened" => {
                let event = CaseOpened::decode(header.open_payload.as_slice()).unwrap();
                let id = CaseId::trusted(&event.case_id);
                cases.entry(id).or_default().municipality = event.municipality_code;
            }
            _ => {}
        }
        // The case's own policy; elsewhere the stricter of the two.
        let rules = |municipality: &str, post: PostId| {
            let own = agencies.get(&post).and_then(|agency| places.get(agency)).map(String::as_str);
            let own = own.filter(|own| *own != municipality);
            let of_case = policies.get(municipality).cloned();
            InForce {
                of_case: of_case.unwrap_or_else(|| Policy::standard().clone()),
                elsewhere: own.and_then(|own| policies.get(own)).cloned(),
                revision: 0,
                rows: Vec::new(),
            }
        };
        let class = header.data_class();
        if class == DataClass::NotPersonal {
            continue;
        }
        let viewer = |post: PostId| {
            let agency = agencies.get(&post).copied().unwrap_or(AgencyId(Uuid::nil()));
            Viewer {
                post,
                agency,
                kind: kinds.get(&agency).cloned().unwrap_or_default(),
                purpose: Purpose::Any,
            }
        };
        let day = ((super::recorded_at_us(row) + 9 * 3_600_000_000).div_euclid(86_400_000_000)) as i32;
        let effects = header.effects.clone().unwrap();
        let parties: BTreeSet<PostId> = effects.party_post_ids.iter().map(|p| PostId::trusted(p)).collect();
        if header.case_ids.is_empty() {
            for post in &parties {
                if event_level(&viewer(*post), &Circle::default(), InForce::standard(), day, class, true)
                    > Level::None
                {
                    feeds.entry(*post).or_default().push((None, row.position, false));
                }
            }
        }
        let mut here: Vec<CaseId> = Vec::new();
        for case in header.case_ids.iter().map(|c| CaseId::trusted(c)) {
            if !here.contains(&case) {
                here.push(case);
            }
        }
        for id in here {
            let case = cases.entry(id).or_default();
            case.circle.apply(id, &effects);
            let mut deliver = |got: &mut BTreeSet<(PostId, u64)>, post, position, history| {
                if got.insert((post, position)) {
                    feeds.entry(post).or_default().push((Some(id), position, history));
                }
            };
            let everyone: Vec<PostId> = case.circle.relations.keys().copied().collect();
            for post in &everyone {
                for (position, class, parties) in &case.events {
                    let party = parties.contains(post);
                    if event_level(
                        &viewer(*post),
                        &case.circle,
                        rules(&case.municipality, *post),
                        day,
                        *class,
                        party,
                    ) > Level::None
                    {
                        deliver(&mut case.got, *post, *position, true);
                    }
                }
            }
            case.events.push((row.position, class, parties.clone()));
            for post in everyone.iter().chain(&parties) {
                let party = parties.contains(post);
                if event_level(
                    &viewer(*post),
                    &case.circle,
                    rules(&case.municipality, *post),
                    day,
                    class,
                    party,
                ) > Level::None
                {
                    deliver(&mut case.got, *post, row.position, false);
                }
            }
        }
    }
    feeds
}
