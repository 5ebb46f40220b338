//! The card of a case for one viewer: what is known about the child, by dictionary key, and what is withheld.
//!
//! Pure. For each key the newest fact that the viewer may read counts; a newer one that is hidden leaves no trace.
//! What is withheld follows from policy and grants alone.

use std::collections::BTreeMap;

use tasuki_contract::timeline::v1::{GetCaseCardResponse, KnownFact};
use tasuki_contract::{DataClass, Event, Lens as _};
use tasuki_domain::dictionary;
use tasuki_domain::ids::{CaseId, PostId};
use tasuki_log::Record;
use tasuki_log::read::timestamp;
use tasuki_privacy::{Access, Level};
use uuid::Uuid;

use crate::redact;

/// A card, with what goes on record for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Card {
    pub response: GetCaseCardResponse,
    /// The events from which facts were taken.
    pub events: Vec<Uuid>,
    /// The keys of the facts.
    pub fact_keys: Vec<String>,
}

/// Whether the event of this record can bring facts.
pub(crate) fn has_facts(record: &Record) -> bool {
    tasuki_contract::readable(&record.header).is_ok_and(|rule| rule.has_facts)
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
    let mut known: BTreeMap<usize, (KnownFact, Uuid)> = BTreeMap::new();
    for (record, event) in events {
        let lens = access.event_of(&record.header);
        for mut fact in event.facts() {
            let Some(place) = place_of(&fact.key) else { continue };
            let level = lens.fact_level(&fact.key);
            if !lens.fact(&mut fact) {
                continue;
            }
            let known_fact = KnownFact {
                data_class: class_of(&fact.key) as i32,
                fact: Some(fact),
                level: redact::level(level) as i32,
                source_post_id: record.header.post_id.clone(),
                recorded_at: Some(timestamp(record.recorded_at_us)),
            };
            known.insert(place, (known_fact, Uuid::try_parse(&record.header.event_id).unwrap_or_default()));
        }
    }
    let mut from: Vec<Uuid> = known.values().map(|(_, event)| *event).collect();
    from.sort_unstable();
    from.dedup();
    let facts: Vec<KnownFact> = known.into_values().map(|(fact, _)| fact).collect();
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
        },
    }
}

/// Place in the dictionary's order; a key that is in no dictionary is shown to nobody.
fn place_of(key: &str) -> Option<usize> {
    dictionary::all().iter().position(|field| field.key == key)
}

fn class_of(key: &str) -> DataClass {
    dictionary::field(key).and_then(|f| DataClass::from_str_name(f.class.name())).unwrap_or_default()
}

#[cfg(test)]
#[path = "card_tests.rs"]
mod tests;
