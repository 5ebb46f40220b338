//! The card of a case for one viewer: what is known about the child, by dictionary key, and what is withheld.
//!
//! Pure. Everything follows from what the viewer may read: a statement or a withdrawal that is hidden from it leaves no
//! trace, and what is withheld follows from policy and grants alone.
//!
//! Of each agency its newest statement counts, of these the newest is shown. Where the dictionary marks a key as one
//! that safety depends on, what other agencies say differently stands beside it, however old: no office takes a
//! danger off the card that another one has named.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;
use prost::Message as _;
use tasuki_contract::common::v1::{Fact, fact::Value};
use tasuki_contract::timeline::v1::{GetCaseCardResponse, KnownFact, Statement};
use tasuki_contract::{DataClass, Event, Lens as _};
use tasuki_domain::days;
use tasuki_domain::decision::day_in_tokyo;
use tasuki_domain::dictionary::{self, Field};
use tasuki_domain::ids::{CaseId, PostId};
use tasuki_log::Record;
use tasuki_log::read::timestamp;
use tasuki_privacy::{Access, Level, UNTOLD, says_untold};
use uuid::Uuid;

use crate::redact::{self, recorded_on};

/// The event that takes a referral back.
const WITHDRAWN: &str = "tasuki.intake.v1.ReferralWithdrawn";
/// Bytes of what others say about one key; beyond it, statements stand without their values.
const OTHERS_BYTES_MAX: usize = 128 * 1024;

/// A card, with what goes on record for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Card {
    pub response: GetCaseCardResponse,
    /// The events from which facts were taken.
    pub events: Vec<Uuid>,
    /// The keys of the facts.
    pub fact_keys: Vec<String>,
}

/// Whether the event of this record bears on what is known: it can bring facts, or takes some back.
pub(crate) fn bears_on_facts(record: &Record) -> bool {
    tasuki_contract::readable(&record.header).is_ok_and(|rule| rule.has_facts || rule.type_name == WITHDRAWN)
}

/// The card, without its etag.
///
/// `events` are opened events of the case, oldest first. `lead` is the responsible post with its office's telephone.
pub(crate) fn card(
    case: CaseId,
    access: &Access<'_>,
    lead: Option<(PostId, String)>,
    events: &[(Record, Event)],
) -> Card {
    let mut known: BTreeMap<usize, Vec<Said>> = BTreeMap::new();
    for said in all_said(access, events) {
        known.entry(said.place).or_default().push(said);
    }
    let mut from: Vec<Uuid> = Vec::new();
    let mut facts: Vec<KnownFact> = Vec::new();
    for (place, said) in known {
        let Some(field) = dictionary::all().get(place) else { continue };
        facts.extend(known_fact(field, said, &mut from));
    }
    from.sort_unstable();
    from.dedup();
    let (lead_post_id, lead_telephone) = lead
        .filter(|_| access.class_level(DataClass::Lead) == Level::Full)
        .map(|(post, telephone)| (post.to_string(), telephone))
        .unwrap_or_default();
    Card {
        fact_keys: facts.iter().filter_map(|f| f.fact.as_ref()).map(|f| f.key.clone()).collect(),
        events: from,
        response: GetCaseCardResponse {
            case_id: case.to_string(),
            lead_post_id,
            lead_telephone,
            facts,
            withheld_classes: access.withheld_classes().into_iter().map(|c| c as i32).collect(),
            withheld_keys: access.withheld_keys().into_iter().map(str::to_owned).collect(),
            etag: String::new(),
            partly_withheld_classes: access.partly_withheld_classes().into_iter().map(|c| c as i32).collect(),
            erased: false,
        },
    }
}

/// One statement of a fact, as the viewer reads it.
struct Said {
    /// Place of its key in the dictionary.
    place: usize,
    /// The day for which it stands, then its place among the events of the case.
    standing: (Date, usize),
    agency: String,
    event: Uuid,
    statement: Statement,
}

/// Every statement that the viewer reads and of whose withdrawal it does not know.
fn all_said(access: &Access<'_>, events: &[(Record, Event)]) -> Vec<Said> {
    let withdrawn = known_withdrawals(access, events);
    let untold = is_untold(events);
    let mut all = Vec::new();
    for (at, (record, event)) in events.iter().enumerate() {
        if matches!(event, Event::ReferralSubmitted(sent) if withdrawn.contains(sent.referral_id.as_str())) {
            continue;
        }
        let access = access.of_what_was_recorded_on(recorded_on(record));
        let lens = access.event_of(&record.header);
        for mut fact in event.facts() {
            let Some(place) = place_of(&fact.key) else { continue };
            let level = lens.fact_level(&fact.key);
            if untold && lens.hides_untold(&fact.key) || !lens.fact(&mut fact) {
                continue;
            }
            let day = day_of(record, &fact);
            fact.asserted_on = Some(days::to_proto(day));
            all.push(Said {
                place,
                standing: (day, at),
                agency: record.header.agency_id.clone(),
                event: Uuid::try_parse(&record.header.event_id).unwrap_or_default(),
                statement: Statement {
                    fact: Some(fact),
                    level: redact::level(level) as i32,
                    source_post_id: record.header.post_id.clone(),
                    recorded_at: Some(timestamp(record.recorded_at_us)),
                },
            });
        }
    }
    all
}

/// Whether some agency's newest word is that the family has not been told the diagnosis: it said so of the child, not of
/// one letter.
fn is_untold(events: &[(Record, Event)]) -> bool {
    let mut newest: BTreeMap<&str, bool> = BTreeMap::new();
    for (record, event) in events {
        let facts = event.facts();
        if facts.iter().any(|fact| fact.key == UNTOLD) {
            newest.insert(record.header.agency_id.as_str(), says_untold(facts.iter()));
        }
    }
    newest.into_values().any(|untold| untold)
}

/// The referrals that were taken back, as far as the viewer reads so; to everybody else they stand as before.
fn known_withdrawals<'e>(access: &Access<'_>, events: &'e [(Record, Event)]) -> BTreeSet<&'e str> {
    let withdrawal = |(record, event): &'e (Record, Event)| match event {
        Event::ReferralWithdrawn(e) => {
            let access = access.of_what_was_recorded_on(recorded_on(record));
            redact::needs_content(&access.event_of(&record.header)).then_some(e.referral_id.as_str())
        }
        _ => None,
    };
    events.iter().filter_map(withdrawal).collect()
}

/// The day on which the source said so, else that of the event; never after it was recorded.
fn day_of(record: &Record, fact: &Fact) -> Date {
    let recorded = day_in_tokyo(Timestamp::from_microsecond(record.recorded_at_us).unwrap_or_default());
    let asserted = days::from_proto("", fact.asserted_on.as_ref()).ok().flatten();
    let claimed = record.header.occurred_at;
    let occurred = || claimed.and_then(|at| days::instant(at.seconds, at.nanos)).map(day_in_tokyo);
    asserted.or_else(occurred).map_or(recorded, |day| day.min(recorded))
}

/// What is shown of a key, and in `from` the events that it is taken from. `None` without any statement.
fn known_fact(field: &Field, mut said: Vec<Said>, from: &mut Vec<Uuid>) -> Option<KnownFact> {
    said.sort_by_key(|s| Reverse(s.standing));
    let mut agencies = BTreeSet::new();
    said.retain(|s| agencies.insert(s.agency.clone()));
    let mut said = said.into_iter();
    let newest = said.next()?;
    from.push(newest.event);
    let value = meaning(&newest.statement);
    let mut others = Vec::new();
    let mut bytes = 0;
    for other in said.filter(|other| field.safety && meaning(&other.statement) != value) {
        from.push(other.event);
        let mut statement = other.statement;
        bytes += statement.encoded_len();
        if let Some(fact) = statement.fact.as_mut().filter(|_| bytes > OTHERS_BYTES_MAX) {
            fact.value = None;
        }
        others.push(statement);
    }
    let Statement { fact, level, source_post_id, recorded_at } = newest.statement;
    Some(KnownFact {
        fact,
        data_class: class_of(field) as i32,
        level,
        source_post_id,
        recorded_at,
        other_statements: others,
    })
}

/// The value of a statement as it is compared with others: the order of a list says nothing.
fn meaning(statement: &Statement) -> Option<Value> {
    let mut value = statement.fact.as_ref()?.value.clone()?;
    match &mut value {
        Value::Codes(list) => list.codes.sort_unstable(),
        Value::Texts(list) => list.texts.sort_unstable(),
        _ => {}
    }
    Some(value)
}

/// Place in the dictionary's order; a key that is in no dictionary is shown to nobody.
fn place_of(key: &str) -> Option<usize> {
    dictionary::all().iter().position(|field| field.key == key)
}

fn class_of(field: &Field) -> DataClass {
    DataClass::from_str_name(field.class.name()).unwrap_or_default()
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
