//! One event for one viewer, as an item of its timeline or feed.
//!
//! Pure: the record, the opened event and the access come in, the item goes out with what it discloses. Content is
//! never looked at beyond what the lens of the policy keeps.

use jiff::Timestamp;
use prost_types::Any;
use tasuki_contract::timeline::v1::{Level as PbLevel, TimelineItem};
use tasuki_contract::{Event, EventRule};
use tasuki_domain::dictionary;
use tasuki_domain::ids::CaseId;
use tasuki_log::Record;
use tasuki_log::read::timestamp;
use tasuki_privacy::{Access, EventAccess, Level, PERSONAL};
use tasuki_views::FeedRow;

use crate::asking::day_of;

/// An item, with what goes on record for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Disclosure {
    pub item: TimelineItem,
    /// Dictionary keys of the facts in it.
    pub fact_keys: Vec<String>,
}

impl Disclosure {
    /// Whether the item tells anything at all.
    pub(crate) fn tells(&self) -> bool {
        self.item.level() != PbLevel::None
    }
}

/// The day in Tokyo on which an event was recorded, as days since 1970-01-01.
pub(crate) fn recorded_on(record: &Record) -> i32 {
    day_of(Timestamp::from_microsecond(record.recorded_at_us).unwrap_or_default())
}

/// Whether the event has to be opened for this viewer.
pub(crate) fn needs_content(lens: &EventAccess<'_>) -> bool {
    lens.level() > Level::Existence
}

/// The content of an event, as far as it was opened.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Content {
    /// The whole event.
    Opened(Box<Event>),
    /// It need not be opened, or cannot: then the item says that it exists.
    Unopened,
    /// Nobody reads it any more: then the item says so, and what the policy would have shown.
    Erased,
}

impl From<Option<Event>> for Content {
    fn from(event: Option<Event>) -> Self {
        event.map_or(Self::Unopened, |event| Self::Opened(Box::new(event)))
    }
}

/// The item of `row`.
///
/// What the viewer may no longer know of keeps its number, since feeds have no gaps, and says nothing else.
pub(crate) fn item(
    row: &FeedRow,
    record: &Record,
    content: impl Into<Content>,
    access: &Access<'_>,
) -> Disclosure {
    let (event, erased) = match content.into() {
        Content::Opened(event) => (Some(*event), false),
        Content::Unopened => (None, false),
        Content::Erased => (None, true),
    };
    let header = &record.header;
    let access = access.of_what_was_recorded_on(recorded_on(record));
    let lens = access.event_of(header);
    let rule = Event::rule_of(&header.r#type);
    let (Some(rule), true) = (rule, lens.level() > Level::None) else {
        return Disclosure { item: nothing(row), fact_keys: Vec::new() };
    };
    let event = event.and_then(|event| lens.redact(event));
    let mut fact_keys: Vec<String> = Vec::new();
    for fact in event.iter().flat_map(Event::facts) {
        if !fact_keys.contains(&fact.key) {
            fact_keys.push(fact.key);
        }
    }
    // What is erased is not withheld: what is listed as withheld follows from the policy alone.
    let by_policy = event.is_some() || erased;
    let shown = if by_policy { lens.level() } else { Level::Existence };
    let item = TimelineItem {
        number: row.number,
        case_id: shown_case(row.case, record, &access),
        event_id: header.event_id.clone(),
        r#type: header.r#type.clone(),
        occurred_at: header.occurred_at,
        recorded_at: Some(timestamp(record.recorded_at_us)),
        agency_id: header.agency_id.clone(),
        post_id: header.post_id.clone(),
        level: level(shown) as i32,
        withheld_classes: withheld(&lens, rule, by_policy),
        withheld_keys: withheld_keys(&lens, rule, by_policy),
        event: event.map(|event| any(&event)),
        history: row.history,
        traceparent: header.traceparent.clone(),
        erased,
    };
    Disclosure { item, fact_keys }
}

/// A level as the contract spells it.
pub(crate) fn level(level: Level) -> PbLevel {
    match level {
        Level::None => PbLevel::None,
        Level::Existence => PbLevel::Existence,
        Level::Own => PbLevel::Own,
        Level::Summary => PbLevel::Summary,
        Level::Full => PbLevel::Full,
    }
}

fn nothing(row: &FeedRow) -> TimelineItem {
    TimelineItem {
        number: row.number,
        level: PbLevel::None as i32,
        withheld_classes: PERSONAL.iter().map(|class| *class as i32).collect(),
        ..TimelineItem::default()
    }
}

/// A case is named to who stands in its circle, and in items of the case's own stream; a meeting on several cases
/// does not tell its guests of cases that are none of theirs.
fn shown_case(case: Option<CaseId>, record: &Record, access: &Access<'_>) -> String {
    let Some(case) = case else { return String::new() };
    let of_the_case = CaseId::trusted(&record.header.stream_id) == case;
    if of_the_case || access.in_circle() { case.to_string() } else { String::new() }
}

/// Without content, every class of the type is withheld.
fn withheld(lens: &EventAccess<'_>, rule: &EventRule, content: bool) -> Vec<i32> {
    let by_policy = lens.withheld_classes(rule);
    let held = |class: &tasuki_contract::DataClass| {
        by_policy.contains(class) || (!content && (rule.class == *class || rule.classes.contains(class)))
    };
    PERSONAL.iter().filter(|class| held(class)).map(|class| *class as i32).collect()
}

/// As [`withheld`]: without content, every key of a type that can hold facts.
fn withheld_keys(lens: &EventAccess<'_>, rule: &EventRule, content: bool) -> Vec<String> {
    if content || !rule.has_facts {
        return lens.withheld_keys(rule).into_iter().map(str::to_owned).collect();
    }
    dictionary::all().iter().map(|field| field.key.clone()).collect()
}

fn any(event: &Event) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", event.rule().type_name), value: event.encode_to_vec() }
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
