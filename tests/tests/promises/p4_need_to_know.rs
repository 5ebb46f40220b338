//! P4, in its first form: whatever a post can get of a history with every event type, what it may not read is not in
//! the bytes, and what it may read is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use prost::Message as _;
use tasuki::region::{self, Region};
use tasuki_bus::{Bus, BusOptions, subscribe_notices};
use tasuki_contract::classify::RULES;
use tasuki_contract::timeline::v1::TimelineItem;
use tasuki_contract::{DataClass, Event};
use tasuki_tests::{Caller, Live, Program, World, eventually};

use crate::PROGRAM;
use crate::received::{everything, holds, items};
use crate::story::{Story, Told};
use crate::who_reads::{OUTSIDER, Row, TABLE};

const LIMIT: Duration = Duration::from_secs(60);

/// One caller for each post of the region.
pub async fn callers(world: &World, program: &Program) -> BTreeMap<String, Caller> {
    let mut all = BTreeMap::new();
    for (slug, _, _) in Region::parse(region::EXAMPLE).unwrap().posts() {
        all.insert(slug.clone(), world.caller(program, &slug).await.unwrap());
    }
    all
}

/// What one post has got, by any way.
#[derive(Default)]
struct Got {
    /// While the story was told.
    ever: Vec<Vec<u8>>,
    /// Asked at the end, from the beginning.
    late: Vec<Vec<u8>>,
}

impl Got {
    fn ever(&self, text: &str) -> bool {
        self.late(text) || self.ever.iter().any(|bytes| holds(bytes, text))
    }

    fn late(&self, text: &str) -> bool {
        self.late.iter().any(|bytes| holds(bytes, text))
    }
}

/// Notices as they arrive at a post: subject, headers and body.
async fn notices(world: &World, slug: &str) -> Arc<Mutex<Vec<u8>>> {
    let (agency, post) = world.post(slug);
    let (agency, post) = (agency.to_string(), post.to_string());
    let operator = world.secrets.operator.as_ref().unwrap();
    let until = SystemTime::now() + Duration::from_secs(3_600);
    let creds = operator.post_creds(&agency, &post, until).unwrap();
    let bus = Bus::connect(&BusOptions::post(world.stack.nats.url(), creds, &post).unwrap()).await.unwrap();
    let mut stream = subscribe_notices(&bus, &agency, &post).await.unwrap();
    let all = Arc::new(Mutex::new(Vec::new()));
    let into = all.clone();
    tokio::spawn(async move {
        let _bus = bus;
        while let Some(Ok(notice)) = stream.next().await {
            let mut into = into.lock().unwrap();
            into.extend(format!("{} {:?} ", notice.subject, notice.headers).into_bytes());
            into.extend_from_slice(&notice.body);
        }
    });
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_no_hidden_field_is_in_the_bytes_of_any_post_and_no_readable_one_is_missing() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let callers = callers(&world, &program).await;
    let mut told_by_nats = BTreeMap::new();
    for slug in callers.keys() {
        told_by_nats.insert(slug.clone(), notices(&world, slug).await);
    }
    let lives: BTreeMap<_, _> =
        callers.iter().map(|(slug, caller)| (slug.clone(), Live::start(vec![caller.clone()]))).collect();
    let views = world.views().unwrap();
    let caught_up = async || {
        world.views_reach_the_log().await.unwrap();
        for (slug, live) in &lives {
            let head = views.feed_head(callers[slug].post).await.unwrap();
            eventually(&format!("{slug} has got its feed live"), LIMIT, || async {
                live.items().len() as u64 >= head
            })
            .await;
        }
    };

    let mut got: BTreeMap<String, Got> = callers.keys().map(|slug| (slug.clone(), Got::default())).collect();
    let mut story = Story::new(callers.clone());
    story
        .tell(async |told: &Told| {
            caught_up().await;
            for (slug, caller) in &callers {
                got.get_mut(slug).unwrap().ever.extend(everything(caller, told).await);
            }
        })
        .await;
    for (slug, caller) in &callers {
        let got = got.get_mut(slug).unwrap();
        got.late = everything(caller, &story.told).await;
        got.ever.extend(lives[slug].got().messages.iter().map(prost::Message::encode_to_vec));
    }

    every_event_type_was_told(&world).await;
    let complaints = compare(&story.told, &got);
    assert!(complaints.is_empty(), "{complaints:#?}");
    nothing_readable_lies_outside_the_sealed_parts(&world, &story.told).await;
    for (slug, bytes) in &told_by_nats {
        let bytes = bytes.lock().unwrap();
        let feed = lives[slug].items();
        assert_eq!(
            bytes.is_empty(),
            feed.is_empty(),
            "{slug}: notices for what is in its feed, and only for it"
        );
        for (what, text) in &story.told.marks {
            assert!(!holds(&bytes, text), "{slug} was told {what} by NATS");
        }
    }
    assert!(lives[OUTSIDER].items().is_empty(), "who is in nothing gets nothing");
    every_fact_that_is_cut_out_is_named(&callers).await;
}

/// What somebody gets of an event, everybody else who learns of it gets too, or reads that the key is withheld.
async fn every_fact_that_is_cut_out_is_named(callers: &BTreeMap<String, Caller>) {
    type Seen<'s> = (&'s str, TimelineItem, BTreeSet<String>);
    let mut got: BTreeMap<String, Vec<Seen<'_>>> = BTreeMap::new();
    for (slug, caller) in callers {
        for item in items(caller).await {
            let Some(any) = &item.event else { continue };
            let facts = Event::decode(&item.r#type, &[&any.value]).unwrap().facts();
            let keys = facts.into_iter().map(|fact| fact.key).collect();
            got.entry(item.event_id.clone()).or_default().push((slug, item, keys));
        }
    }
    let mut cut = 0;
    for of_one_event in got.values() {
        let known: BTreeSet<&String> = of_one_event.iter().flat_map(|(.., keys)| keys).collect();
        for (slug, item, keys) in of_one_event {
            for key in known.iter().filter(|key| !keys.contains(**key)) {
                cut += 1;
                assert!(
                    item.withheld_keys.contains(key),
                    "{slug} is not told that {key} is withheld from it"
                );
            }
        }
    }
    assert!(cut > 20, "facts are cut out in this story");
}

/// What is read that must not be, and what is not read that may.
fn compare(told: &Told, got: &BTreeMap<String, Got>) -> Vec<String> {
    let marks: BTreeMap<&str, &str> = told.marks.iter().map(|(what, text)| (*what, text.as_str())).collect();
    assert_eq!(marks.len(), told.marks.len(), "each piece is told once");
    let rows: BTreeSet<&str> = TABLE.iter().map(|row| row.what).collect();
    assert_eq!(rows, marks.keys().copied().collect(), "the table names each piece of the story");
    let mut complaints = Vec::new();
    for Row { what, now, once } in TABLE {
        for (slug, got) in got {
            let (now, once) = (now.contains(&slug.as_str()), once.contains(&slug.as_str()));
            let (ever, late) = (got.ever(marks[what]), got.late(marks[what]));
            if ever && !now && !once {
                complaints.push(format!("{slug} got {what}, which it may not read"));
            } else if late && !now {
                complaints.push(format!("{slug} still gets {what}, which it may not read any more"));
            } else if (now && !late) || (once && !ever) {
                complaints.push(format!("{slug} did not get {what}, which it may read"));
            }
        }
    }
    complaints
}

/// Every type of the contract that says anything about a person; those of the directory say nothing.
async fn every_event_type_was_told(world: &World) {
    let records = world.reader().unwrap().after(0, 100_000).await.unwrap();
    let told: BTreeSet<String> = records.into_iter().map(|record| record.header.r#type).collect();
    let missing: Vec<&str> = RULES
        .iter()
        .filter(|rule| rule.class != DataClass::NotPersonal && !told.contains(rule.type_name))
        .map(|rule| rule.type_name)
        .collect();
    assert!(missing.is_empty(), "the story does not bring {missing:?}");
}

/// Headers, views and the broker hold no content; sealed parts hold none that can be read.
async fn nothing_readable_lies_outside_the_sealed_parts(world: &World, told: &Told) {
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    for record in world.reader().unwrap().after(0, 100_000).await.unwrap() {
        places.push((format!("header {}", record.position), record.header.encode_to_vec()));
        places.push((format!("parts {}", record.position), record.parts));
    }
    let views = world.views().unwrap();
    for table in tasuki_views::TABLES {
        places.push((format!("view {}", table.name), views.copy_out(table).await.unwrap()));
    }
    let requests =
        world.stack.postgres.sql("tasuki", "SELECT encode(reply, 'escape') FROM log.requests").await;
    places.push(("replies".to_owned(), requests.unwrap().into_bytes()));
    let mut folders = vec![world.stack.nats.store_dir()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else if let Ok(bytes) = std::fs::read(entry.path()) {
                places.push((format!("broker {}", entry.path().display()), bytes));
            }
        }
    }
    assert!(places.iter().any(|(place, bytes)| place.starts_with("broker") && bytes.len() > 10_000));
    for (place, bytes) in &places {
        for (what, text) in &told.marks {
            assert!(!holds(bytes, text), "{what} can be read in {place}");
        }
    }
}
