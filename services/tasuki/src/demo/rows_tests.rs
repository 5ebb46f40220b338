//! When events share a row, and when not.

#![allow(clippy::unwrap_used)]
use tasuki_auth::DevIssuer;
use tasuki_contract::Event;
use tasuki_contract::minutes::v1 as pb;
use tasuki_contract::timeline::v1::TimelineItem;

use super::*;
use crate::region::{EXAMPLE, Region, post_id};

const MEETING: &str = "m";
const CASE: &str = "c";

/// The events as each of these posts gets them, all on one afternoon.
fn rows(lang: Lang, posts: &[&str], extra: &str) -> Vec<Row> {
    let attendance = ["hospital.discharge", "coordinator.desk", "nursing.station"]
        .map(|slug| pb::Attendance { post_id: post_id(slug).to_string(), people: 1 });
    let meeting_id = || MEETING.to_owned();
    let confirmed = || pb::MinutesAttendeeConfirmed { meeting_id: meeting_id(), ..Default::default() };
    let action =
        || pb::ActionAssigned { meeting_id: meeting_id(), text: "text".to_owned(), ..Default::default() };
    let told: Vec<Event> = vec![
        pb::MeetingHeld { meeting_id: meeting_id(), attendance: attendance.to_vec() }.into(),
        pb::MinutesDrafted { meeting_id: meeting_id(), ..Default::default() }.into(),
        action().into(),
        action().into(),
        pb::MinutesCirculated { meeting_id: meeting_id() }.into(),
        confirmed().into(),
        confirmed().into(),
        pb::MinutesConfirmed { meeting_id: meeting_id() }.into(),
    ];
    let at = |minute: i64| {
        let start = jiff::civil::date(2024, 6, 12).at(14, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap();
        Some(prost_types::Timestamp { seconds: start.timestamp().as_second() + 86_400 * minute, nanos: 0 })
    };
    let item = |(i, event): (usize, &Event)| TimelineItem {
        case_id: CASE.to_owned(),
        event_id: format!("{i}"),
        r#type: event.rule().type_name.to_owned(),
        post_id: post_id("hospital.discharge").to_string(),
        occurred_at: at(if matches!(event, Event::ActionAssigned(_)) { 1 } else { i as i64 }),
        recorded_at: at(i as i64),
        level: tasuki_contract::timeline::v1::Level::Full.into(),
        event: Some(prost_types::Any {
            type_url: format!("type.googleapis.com/{}", event.rule().type_name),
            value: event.encode_to_vec(),
        }),
        ..TimelineItem::default()
    };
    let items: Vec<TimelineItem> = told.iter().enumerate().map(item).collect();
    // `extra` gets one confirmation only.
    let one = items.iter().filter(|item| item.event_id == "5").cloned().collect();
    let feeds = posts.iter().map(|slug| ((*slug).to_owned(), items.clone()));
    let received = Received::new(feeds.chain([(extra.to_owned(), one)])).unwrap();
    let desks = Desks::new(Region::parse(EXAMPLE).unwrap(), &DevIssuer::generate().unwrap(), lang).unwrap();
    let story = Story::read().unwrap();
    let (of_the_case, others) = received.split(CASE);
    assert!(others.is_empty());
    of(of_the_case.into_iter(), &story, &desks, &received, 40)
}

fn told(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.what.as_str()).collect()
}

#[test]
fn the_way_of_minutes_to_their_end_is_one_row_where_all_columns_agree() {
    let rows = rows(Lang::En, &["hospital.discharge", "coordinator.desk"], "provider1.desk");
    assert_eq!(told(&rows)[..2], ["Meeting held", "Minutes confirmed 2/2 final"]);
    let (from, to) = (rows[1].from.unwrap(), rows[1].to.unwrap());
    assert_eq!((to.date() - from.date()).get_days(), 6);
    assert_eq!(rows[1].cells, ["full", "full", "·", "·"]);
}

#[test]
fn what_some_column_did_not_get_keeps_its_own_row() {
    // The nursery head, who is shown, gets one confirmation and nothing else.
    let rows = rows(Lang::En, &["hospital.discharge"], "nursery.head");
    let confirmations = told(&rows).iter().filter(|what| **what == "Minutes confirmed 1/2 final").count();
    assert_eq!(confirmations, 1, "{:?}", told(&rows));
    assert!(rows.iter().any(|row| row.cells == ["full", "·", "full", "·"]), "{rows:?}");
}
