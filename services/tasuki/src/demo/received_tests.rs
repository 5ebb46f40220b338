//! What is found to be lacking, and what is found to be entered late.

#![allow(clippy::unwrap_used)]
use tasuki_contract::Event;
use tasuki_contract::common::v1::{Fact, fact::Value as FactValue};
use tasuki_contract::intake::v1::{ConsentAtSource, ReferralSubmitted};

use super::*;

fn item(event: ReferralSubmitted) -> TimelineItem {
    let event = Event::from(event);
    let type_url = format!("type.googleapis.com/{}", event.rule().type_name);
    let any = prost_types::Any { type_url, value: event.encode_to_vec() };
    TimelineItem { event_id: "one".to_owned(), event: Some(any), ..TimelineItem::default() }
}

fn allergies(text: &str) -> Vec<Fact> {
    let value = Some(FactValue::Text(text.to_owned()));
    vec![Fact { key: "allergies".to_owned(), value, ..Fact::default() }]
}

#[test]
fn what_a_post_lacks_is_found_in_the_bytes_that_others_received() {
    let consent = ConsentAtSource { signer_relation: "mother".to_owned(), ..ConsentAtSource::default() };
    let all = ReferralSubmitted {
        referral_id: "r".to_owned(),
        message: "text".to_owned(),
        facts: allergies("egg"),
        consent_at_source: Some(consent),
        ..ReferralSubmitted::default()
    };
    let reduced = ReferralSubmitted { message: String::new(), facts: allergies(""), ..all.clone() };
    let none = ReferralSubmitted { referral_id: "r".to_owned(), ..ReferralSubmitted::default() };
    let posts = [("a", all), ("b", reduced), ("c", none)];
    let posts = posts.map(|(slug, event)| (slug.to_owned(), vec![item(event)]));
    let received = Received::new(posts.into_iter()).unwrap();
    assert_eq!((received.delivered(), received.events.len()), (3, 1));
    let lacking = |slug: &str| {
        let found = received.events[0].lacking(slug);
        found.into_iter().map(|(piece, lack)| (piece.clone(), lack)).collect::<Vec<_>>()
    };
    let message = || Piece::Field("message".to_owned());
    let fact = || Piece::Fact("allergies".to_owned());
    let signer = || Piece::Field("signer_relation".to_owned());
    assert_eq!(lacking("a"), []);
    assert_eq!(lacking("b"), [(message(), Lack::Wholly), (fact(), Lack::Partly)]);
    let whole = [message(), signer(), fact()].map(|piece| (piece, Lack::Wholly));
    assert_eq!(lacking("c"), whole);
    assert_eq!(received.events[0].unannounced().len(), 5, "nothing was said to be withheld");
}

#[test]
fn a_fact_is_announced_by_its_class_and_its_key() {
    let told = |classes: &[DataClass], keys: &[&str]| TimelineItem {
        withheld_classes: classes.iter().map(|class| *class as i32).collect(),
        withheld_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        ..item(ReferralSubmitted::default())
    };
    let unannounced = |reduced: TimelineItem| {
        let whole = item(ReferralSubmitted { facts: allergies("egg"), ..ReferralSubmitted::default() });
        let posts = [("a".to_owned(), vec![whole]), ("b".to_owned(), vec![reduced])];
        Received::new(posts.into_iter()).unwrap().events[0].unannounced().len()
    };
    assert_eq!(unannounced(told(&[DataClass::CareProcedure], &[])), 1);
    assert_eq!(unannounced(told(&[], &["allergies"])), 1);
    assert_eq!(unannounced(told(&[DataClass::CareProcedure], &["allergies"])), 0);
}

#[test]
fn an_event_is_late_when_something_that_happened_after_it_was_recorded_before_it() {
    let stamp = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let event = |id: &str, occurred, recorded| TimelineItem {
        event_id: id.to_owned(),
        occurred_at: stamp(occurred),
        recorded_at: stamp(recorded),
        ..TimelineItem::default()
    };
    let items = vec![event("first", 10, 100), event("later", 30, 101), event("late", 20, 102)];
    let received = Received::new([("a".to_owned(), items)].into_iter()).unwrap();
    assert_eq!(received.entered_late().into_iter().collect::<Vec<_>>(), ["late"]);
    let order: Vec<_> = received.events.iter().map(|shared| shared.item.event_id.as_str()).collect();
    assert_eq!(order, ["first", "late", "later"]);
}

#[test]
fn a_meeting_is_about_a_case_that_stood_on_its_agenda() {
    use tasuki_contract::minutes::v1::{CaseTabled, MeetingHeld};
    let item = |id: &str, case: &str, event: Event| TimelineItem {
        event_id: id.to_owned(),
        case_id: case.to_owned(),
        event: Some(prost_types::Any {
            type_url: format!("type.googleapis.com/{}", event.rule().type_name),
            value: event.encode_to_vec(),
        }),
        ..TimelineItem::default()
    };
    let held = |meeting: &str| MeetingHeld { meeting_id: meeting.to_owned(), ..Default::default() }.into();
    let tabled = CaseTabled { meeting_id: "m".to_owned(), ..Default::default() };
    let items = vec![
        item("tabled", "c", tabled.into()),
        item("held", "", held("m")),
        item("council", "", held("n")),
        item("other case", "d", ReferralSubmitted::default().into()),
    ];
    let received = Received::new([("a".to_owned(), items)].into_iter()).unwrap();
    let (about, others) = received.split("c");
    let ids = |events: Vec<&Shared>| events.iter().map(|s| s.item.event_id.clone()).collect::<Vec<_>>();
    assert_eq!(
        (ids(about), ids(others)),
        (vec!["held".into(), "tabled".into()], vec!["council".into(), "other case".into()])
    );
}
