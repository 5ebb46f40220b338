//! What subscribers received, and how one post's bytes of an event differ from everybody's.
//!
//! An event is taken apart into pieces: a fact by its key, a passage of minutes by its class, any other personal field
//! by its name. The most that anybody received of a piece is the measure: who has fewer bytes of it, lacks something.
//! Never asks the policy or the log what should be there.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, ReflectMessage as _, Value,
};
use tasuki_contract::DataClass;
use tasuki_contract::timeline::v1::{KnownFact, TimelineItem};
use tasuki_domain::dictionary;

use crate::Error;
use crate::call::pool;

const FACT: &str = "tasuki.common.v1.Fact";
const SECTION: &str = "tasuki.minutes.v1.Section";

/// A part of an event that may be withheld by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    /// A field by its name.
    Field(String),
    /// A passage of minutes by its class.
    Passage(DataClass),
    /// A fact by its dictionary key.
    Fact(String),
}

/// How much of something a post lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// It received a part of it.
    Partly,
    /// It received nothing of it.
    Wholly,
}

/// One event as one post received it.
#[derive(Clone, Debug)]
pub struct Got {
    /// The item.
    pub item: TimelineItem,
    /// Its event, where more than its existence was sent.
    pub content: Option<DynamicMessage>,
    pieces: Pieces,
}

/// The bytes of each piece, with its class.
type Pieces = BTreeMap<Piece, (DataClass, Vec<u8>)>;

/// One event that somebody received.
#[derive(Debug)]
pub struct Shared {
    /// The item of whoever received most of it.
    pub item: TimelineItem,
    /// Each post's form of it, by slug.
    pub by_post: BTreeMap<String, Got>,
    most: Pieces,
}

/// Everything that was received.
#[derive(Debug)]
pub struct Received {
    /// Events in the order in which they happened.
    pub events: Vec<Shared>,
    contract: Contract,
    delivered: usize,
}

/// The contract, with the class of every field.
#[derive(Debug)]
pub struct Contract {
    pool: DescriptorPool,
    class: ExtensionDescriptor,
}

impl Received {
    /// Puts the items of all posts together.
    pub fn new(posts: impl Iterator<Item = (String, Vec<TimelineItem>)>) -> Result<Self, Error> {
        let contract = Contract::new()?;
        let mut events: BTreeMap<String, Shared> = BTreeMap::new();
        let mut delivered = 0;
        for (slug, items) in posts {
            delivered += items.len();
            for item in items {
                let got = contract.got(item)?;
                let shared = events.entry(got.item.event_id.clone()).or_insert_with(|| Shared {
                    item: got.item.clone(),
                    by_post: BTreeMap::new(),
                    most: BTreeMap::new(),
                });
                for (piece, held) in &got.pieces {
                    let most = shared.most.entry(piece.clone()).or_insert_with(|| held.clone());
                    if held.1.len() > most.1.len() {
                        most.clone_from(held);
                    }
                }
                shared.by_post.insert(slug.clone(), got);
            }
        }
        let mut events: Vec<Shared> = events.into_values().collect();
        events.sort_by_key(|shared| {
            (at(shared.item.occurred_at), at(shared.item.recorded_at), shared.item.event_id.clone())
        });
        Ok(Self { events, contract, delivered })
    }

    /// The events about a case, with the meetings on whose agenda it stood, and the others; as far as anybody was told.
    pub fn split(&self, case: &str) -> (Vec<&Shared>, Vec<&Shared>) {
        let of_the_case = |shared: &Shared| shared.by_post.values().any(|got| got.item.case_id == case);
        let meeting = |shared: &Shared| Some(shared.told("meeting_id")).filter(|id| !id.is_empty());
        let meetings: BTreeSet<String> =
            self.events.iter().filter(|shared| of_the_case(shared)).filter_map(meeting).collect();
        let about = |shared: &&Shared| {
            of_the_case(shared) || meeting(shared).is_some_and(|meeting| meetings.contains(&meeting))
        };
        self.events.iter().partition(about)
    }

    /// Items received by all subscribers.
    pub fn delivered(&self) -> usize {
        self.delivered
    }

    /// Events that were typed in after something that happened later than they did.
    pub fn entered_late(&self) -> BTreeSet<&str> {
        let mut recorded: Vec<&Shared> = self.events.iter().collect();
        recorded.sort_by_key(|shared| (at(shared.item.recorded_at), shared.item.event_id.as_str()));
        let mut latest = (i64::MIN, 0);
        let mut late = BTreeSet::new();
        for shared in recorded {
            let occurred = at(shared.item.occurred_at);
            if occurred < latest {
                late.insert(shared.item.event_id.as_str());
            }
            latest = latest.max(occurred);
        }
        late
    }

    /// The contract.
    pub fn contract(&self) -> &Contract {
        &self.contract
    }
}

impl Shared {
    /// What anybody received in a text field of the event itself; empty where nobody did.
    pub fn told(&self, field: &str) -> String {
        let mut told =
            self.by_post.values().filter_map(|got| got.content.as_ref()).map(|event| text(event, field));
        told.find(|told| !told.is_empty()).unwrap_or_default()
    }

    /// When it happened, by the clock on the wall in Japan.
    pub fn at(&self) -> Option<jiff::civil::DateTime> {
        let at = self.item.occurred_at.as_ref()?;
        let instant = jiff::Timestamp::new(at.seconds, at.nanos).ok()?;
        Some(jiff::tz::Offset::constant(9).to_datetime(instant))
    }

    /// What a post that received the event did not receive of it.
    pub fn lacking(&self, slug: &str) -> Vec<(&Piece, Lack)> {
        let Some(got) = self.by_post.get(slug) else { return Vec::new() };
        let lacks = self.most.iter().filter_map(|(piece, most)| match got.pieces.get(piece) {
            None => Some((piece, Lack::Wholly)),
            Some(held) if held != most => Some((piece, Lack::Partly)),
            Some(_) => None,
        });
        lacks.collect()
    }

    /// What a post lacks without having been told that its class is withheld, and of a fact its key: then withheld
    /// would look like absent.
    pub fn unannounced(&self) -> Vec<(&str, &Piece)> {
        let mut found = Vec::new();
        for (slug, got) in &self.by_post {
            for (piece, _) in self.lacking(slug) {
                let of_class = |class| got.item.withheld_classes().any(|told| told == class);
                let by_key = match piece {
                    Piece::Fact(key) => got.item.withheld_keys.contains(key),
                    Piece::Field(_) | Piece::Passage(_) => true,
                };
                if !(by_key && self.most.get(piece).is_some_and(|(class, _)| of_class(*class))) {
                    found.push((slug.as_str(), piece));
                }
            }
        }
        found
    }
}

impl Contract {
    /// Reads it from the descriptors inside the program.
    pub fn new() -> Result<Self, Error> {
        let pool = pool()?;
        let class =
            pool.get_extension_by_name("tasuki.privacy.v1.data_class").ok_or("the contract has classes")?;
        Ok(Self { pool, class })
    }

    fn got(&self, item: TimelineItem) -> Result<Got, Error> {
        let content = match &item.event {
            None => None,
            Some(any) => {
                let name = any.type_url.rsplit('/').next().unwrap_or_default();
                let descriptor =
                    self.pool.get_message_by_name(name).ok_or_else(|| format!("unknown event {name}"))?;
                Some(DynamicMessage::decode(descriptor, any.value.as_slice())?)
            }
        };
        let mut pieces = BTreeMap::new();
        if let Some(content) = &content {
            self.take_apart(content, &mut pieces);
        }
        Ok(Got { item, content, pieces })
    }

    /// The class that the contract gives a field.
    pub fn class_of(&self, field: &FieldDescriptor) -> DataClass {
        let options = field.options();
        let number = options.get_extension(&self.class).as_enum_number().unwrap_or_default();
        DataClass::try_from(number).unwrap_or(DataClass::Unspecified)
    }

    fn take_apart(&self, message: &DynamicMessage, pieces: &mut Pieces) {
        for (field, value) in message.fields() {
            let class = self.class_of(&field);
            for part in messages(value) {
                match part.descriptor().full_name() {
                    FACT => {
                        let key = text(part, "key");
                        let class = class_of_key(&key);
                        add(pieces, Piece::Fact(key), class, part);
                    }
                    SECTION => add(pieces, Piece::Passage(class_in(part)), class_in(part), part),
                    _ if class == DataClass::ByContent => self.take_apart(part, pieces),
                    _ => {}
                }
            }
            let apart =
                messages(value).next().is_some_and(|m| matches!(m.descriptor().full_name(), FACT | SECTION));
            if !apart && !matches!(class, DataClass::NotPersonal | DataClass::ByContent) {
                let mut alone = DynamicMessage::new(message.descriptor());
                alone.set_field(&field, value.clone());
                add(pieces, Piece::Field(field.name().to_owned()), class, &alone);
            }
        }
    }
}

/// What one card lacks of facts that another shows, by the same measure.
pub fn facts_lacking<'f>(all: &'f [Vec<KnownFact>], mine: &[KnownFact]) -> Vec<(&'f str, Option<Lack>)> {
    use prost::Message as _;
    let mut most: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for fact in all.iter().flatten().filter_map(|known| known.fact.as_ref()) {
        let bytes = fact.encode_to_vec();
        let held = most.entry(&fact.key).or_default();
        if bytes.len() > held.len() {
            *held = bytes;
        }
    }
    let mine = |key: &str| {
        let found = mine.iter().filter_map(|known| known.fact.as_ref()).find(|fact| fact.key == key);
        found.map(prost::Message::encode_to_vec)
    };
    let lack = |key, most: Vec<u8>| match mine(key) {
        None => (key, Some(Lack::Wholly)),
        Some(bytes) => (key, (bytes != most).then_some(Lack::Partly)),
    };
    most.into_iter().map(|(key, bytes)| lack(key, bytes)).collect()
}

fn at(time: Option<prost_types::Timestamp>) -> (i64, i32) {
    time.map_or((0, 0), |t| (t.seconds, t.nanos))
}

fn add(pieces: &mut Pieces, piece: Piece, class: DataClass, message: &DynamicMessage) {
    use prost::Message as _;
    pieces.entry(piece).or_insert((class, Vec::new())).1.extend(message.encode_to_vec());
}

/// The class that the dictionary gives a key.
fn class_of_key(key: &str) -> DataClass {
    let class = dictionary::field(key).and_then(|field| DataClass::from_str_name(field.class.name()));
    class.unwrap_or(DataClass::Unspecified)
}

/// The messages in a field: one, several, or none.
pub fn messages(value: &Value) -> impl Iterator<Item = &DynamicMessage> {
    let one = value.as_message();
    let several = value.as_list().into_iter().flatten().filter_map(Value::as_message);
    one.into_iter().chain(several)
}

/// A text field of a message; empty where there is none.
pub fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.and_then(|v| v.as_str().map(ToOwned::to_owned)).unwrap_or_default()
}

/// The class that a passage names for itself.
fn class_in(section: &DynamicMessage) -> DataClass {
    let number = section.get_field_by_name("data_class").and_then(|v| v.as_enum_number()).unwrap_or_default();
    DataClass::try_from(number).unwrap_or(DataClass::Unspecified)
}

#[cfg(test)]
#[path = "received_tests.rs"]
mod tests;
