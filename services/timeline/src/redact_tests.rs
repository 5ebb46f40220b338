//! Claims about single items, on records made by hand.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use prost::Message as _;
use tasuki_contract::DataClass;
use tasuki_contract::common::v1::{Fact, TextList, fact::Value};
use tasuki_contract::event::v1::{Effects, Header, Relation};
use tasuki_contract::handoff::v1::HandoffProposed;
use tasuki_contract::intake::v1::ReferralSubmitted;
use tasuki_contract::minutes::v1::MeetingScheduled;
use tasuki_domain::circle::{Circle, Grant, Recipient};
use tasuki_domain::ids::{AgencyId, GrantId, PostId};
use tasuki_domain::policy::InForce;
use tasuki_domain::purpose::Purpose;
use tasuki_privacy::Viewer;
use uuid::Uuid;

use super::*;

const CASE: CaseId = CaseId(Uuid::from_u128(1));
const ME: PostId = PostId(Uuid::from_u128(2));

fn row() -> FeedRow {
    let event_id = Uuid::from_u128(7);
    FeedRow { number: 5, case: Some(CASE), event_id, position: 99, history: false, chain: [0; 32] }
}

fn record(event: &Event, stream: Uuid, party: bool) -> Record {
    let party_post_ids = party.then(|| ME.to_string()).into_iter().collect();
    let header = Header {
        event_id: Uuid::from_u128(7).to_string(),
        r#type: event.rule().type_name.into(),
        stream_id: stream.to_string(),
        agency_id: Uuid::from_u128(8).to_string(),
        data_class: event.rule().class as i32,
        effects: Some(Effects { party_post_ids, ..Effects::default() }),
        ..Header::default()
    };
    Record {
        position: 99,
        epoch: 1,
        recorded_at_us: 1,
        header,
        header_bytes: Vec::new(),
        parts: Vec::new(),
        hash: Vec::new(),
    }
}

fn member_with(classes: &[DataClass]) -> Circle {
    let mut circle = Circle::default();
    circle.relations.insert(ME, BTreeSet::from([Relation::Receiver]));
    let grant = Grant {
        recipients: vec![Recipient::Post(ME)],
        classes: classes.iter().copied().collect(),
        excluded_keys: BTreeSet::new(),
        valid_to_day: None,
        ..Grant::default()
    };
    circle.grants.insert(GrantId(Uuid::from_u128(5)), grant);
    circle
}

fn shown(circle: &Circle, record: &Record, event: Option<Event>) -> Disclosure {
    let viewer = Viewer {
        post: ME,
        agency: AgencyId(Uuid::from_u128(3)),
        kind: "mcc_coordinator_office".into(),
        purpose: Purpose::Any,
    };
    item(&row(), record, event, &Access::new(&viewer, circle, InForce::standard(), 20_000))
}

#[test]
fn what_may_no_longer_be_known_keeps_its_number_and_says_nothing_else() {
    let referral: Event = ReferralSubmitted { message: "MARK".into(), ..Default::default() }.into();
    let minutes: Event = MeetingScheduled { place: "MARK".into(), ..Default::default() }.into();
    let items = [referral, minutes].map(|event| {
        let disclosure = shown(&Circle::default(), &record(&event, CASE.0, false), Some(event));
        assert!(!disclosure.tells() && disclosure.fact_keys.is_empty());
        disclosure.item
    });
    assert_eq!(items[0].encode_to_vec(), items[1].encode_to_vec(), "not even its type");
    assert_eq!((items[0].number, items[0].withheld_classes.len()), (5, PERSONAL.len()));
}

#[test]
fn an_erased_event_exists_and_everything_of_it_is_withheld() {
    let event: Event = HandoffProposed::default().into();
    let circle = member_with(&PERSONAL);
    let record = record(&event, CASE.0, false);
    let erased = shown(&circle, &record, None).item;
    assert_eq!((erased.level(), erased.event.is_none()), (PbLevel::Existence, true));
    assert!(erased.withheld_classes.contains(&(DataClass::Handoff as i32)));
    let whole = shown(&circle, &record, Some(event)).item;
    assert_eq!((whole.level(), whole.event.is_some()), (PbLevel::Full, true));
    assert!(!whole.withheld_classes.contains(&(DataClass::Handoff as i32)));
}

#[test]
fn the_keys_that_are_cut_out_are_named_whether_or_not_they_are_there() {
    let told = |facts: Vec<Fact>| -> Event { ReferralSubmitted { facts, ..Default::default() }.into() };
    let allergies =
        Fact { key: "allergies".into(), value: Some(Value::Text("MARK".into())), ..Default::default() };
    let circle = member_with(&[DataClass::ReferralState, DataClass::CareProcedure]);
    let items = [told(vec![allergies]), told(Vec::new())]
        .map(|event| shown(&circle, &record(&event, CASE.0, false), Some(event)).item);
    assert_eq!(items[0], items[1]);
    assert_eq!(items[0].level(), PbLevel::Full, "of the event itself");
    let withheld = |key: &str| items[0].withheld_keys.iter().any(|k| k == key);
    assert!(withheld("allergies") && !withheld("care_procedures"));
    let event = told(Vec::new());
    let erased = shown(&circle, &record(&event, CASE.0, false), None).item;
    assert_eq!(erased.withheld_keys.len(), dictionary::all().len());
    let without_facts: Event = HandoffProposed::default().into();
    assert!(
        shown(&circle, &record(&without_facts, CASE.0, true), Some(without_facts))
            .item
            .withheld_keys
            .is_empty()
    );
}

#[test]
fn a_list_that_is_withheld_is_not_an_empty_one_and_its_key_is_named() {
    let told = |lines: &[&str]| -> Event {
        let texts = lines.iter().map(|line| (*line).to_owned()).collect();
        let value = Some(Value::Texts(TextList { texts }));
        let fact = Fact { key: "devices".into(), value, ..Default::default() };
        ReferralSubmitted { facts: vec![fact], ..Default::default() }.into()
    };
    let circle = member_with(&PERSONAL);
    let [some, none] = [told(&["MARK"]), told(&[])]
        .map(|event| shown(&circle, &record(&event, CASE.0, false), Some(event)).item);
    assert_eq!(some, none, "the coordinator reads in summary which devices there are");
    let any = some.event.unwrap();
    let facts = Event::decode(&some.r#type, &[&any.value]).unwrap().facts();
    assert_eq!((facts.len(), facts[0].value.clone()), (1, None));
    assert!(some.withheld_keys.iter().any(|key| key == "devices"), "`level` speaks of the event alone");
}

#[test]
fn a_guest_of_a_meeting_does_not_learn_of_cases_that_are_none_of_its_own() {
    let event: Event = MeetingScheduled { place: "room".into(), ..Default::default() }.into();
    let of_the_meeting = record(&event, Uuid::from_u128(77), true);
    let guest = shown(&Circle::default(), &of_the_meeting, Some(event.clone())).item;
    assert_eq!((guest.level(), guest.case_id.as_str()), (PbLevel::Full, ""));
    let member = shown(&member_with(&[]), &of_the_meeting, Some(event)).item;
    assert_eq!(member.case_id, CASE.to_string());
}

#[test]
fn an_item_never_shows_a_position() {
    let event: Event = ReferralSubmitted::default().into();
    let mut moved = record(&event, CASE.0, true);
    let before = shown(&member_with(&PERSONAL), &moved, Some(event.clone()));
    moved.position = 1_234;
    moved.epoch = 9;
    assert_eq!(before, shown(&member_with(&PERSONAL), &moved, Some(event)));
}

#[test]
fn an_item_names_every_key_that_its_viewer_does_not_read_in_full_and_no_other() {
    let viewer = Viewer {
        post: ME,
        agency: AgencyId(Uuid::from_u128(3)),
        kind: "mcc_coordinator_office".into(),
        purpose: Purpose::Any,
    };
    let referral: Event = ReferralSubmitted::default().into();
    let circles = [member_with(&[]), member_with(&[DataClass::Identity, DataClass::ReferralState])];
    for (circle, party) in circles.iter().flat_map(|circle| [(circle, false), (circle, true)]) {
        let record = record(&referral, CASE.0, party);
        let access = Access::new(&viewer, circle, InForce::standard(), 20_000);
        let lens = access.event_of(&record.header);
        let less = |key: &str| lens.fact_level(key) < tasuki_privacy::Level::Full;
        let expected: BTreeSet<&str> =
            dictionary::all().iter().map(|field| field.key.as_str()).filter(|key| less(key)).collect();
        let item = shown(circle, &record, Some(referral.clone())).item;
        if item.level == PbLevel::None as i32 {
            continue;
        }
        let named: BTreeSet<&str> = item.withheld_keys.iter().map(String::as_str).collect();
        assert_eq!(named.len(), item.withheld_keys.len(), "each once");
        assert!(expected.len() > 1 && named.is_superset(&expected), "{party}: {expected:?}");
        let content = item.event.is_some();
        assert!(!content || named == expected, "{party}: {named:?}");
    }
}
