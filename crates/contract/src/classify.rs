//! Splitting and reducing events by the classes of their fields.
//!
//! The per-message code is generated from the options in `proto/`; this file holds what it speaks to. It decides
//! nothing: a [`Lens`] says what stays, a [`Sink`] is told what is there.

use crate::common::v1::Fact;
use crate::privacy::v1::{DataClass, SealedPart};

/// What the contract says about one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldRule {
    /// What it is about.
    pub class: DataClass,
    /// Whether it stays where the viewer gets a summary only.
    pub in_summary: bool,
    /// Which key seals it.
    pub part: SealedPart,
}

/// What the contract says about one event type.
#[derive(Debug)]
pub struct EventRule {
    /// Full name of the message.
    pub type_name: &'static str,
    /// The class that governs whether a viewer learns of the event; [`DataClass::ByField`] where each event of the type
    /// names its own, see [`Event::class`].
    pub class: DataClass,
    /// Schema number.
    pub schema: u32,
    /// Label in Japanese.
    pub ja: &'static str,
    /// Label in English.
    pub en: &'static str,
    /// Personal classes that its fields can hold, without those of facts.
    pub classes: &'static [DataClass],
    /// Whether it can hold facts.
    pub has_facts: bool,
    /// Whether a passage in it names its own class, so that any class may stand in it.
    pub has_passages: bool,
}

/// Decides what stays of a message.
pub trait Lens {
    /// Whether a field of this rule stays.
    fn field(&self, rule: FieldRule) -> bool;
    /// Whether the fact stays; may reduce it.
    fn fact(&self, fact: &mut Fact) -> bool;
    /// Whether a message in a field that stays is looked into as well. Sealing takes such a field whole.
    fn looks_inside(&self) -> bool {
        true
    }
}

/// Is told what a message holds.
pub trait Sink {
    /// A personal field of this rule is present.
    fn field(&mut self, rule: FieldRule);
    /// A fact is present.
    fn fact(&mut self, fact: &Fact);
}

/// A message whose fields have classes.
pub trait Classified {
    /// Clears every field that the lens does not keep; false when the whole message is to go.
    fn retain(&mut self, lens: &dyn Lens) -> bool;
    /// Tells the sink of every personal field that is present.
    fn visit(&self, sink: &mut dyn Sink);
}

impl Event {
    /// The facts about the child in it, wherever they stand.
    pub fn facts(&self) -> Vec<Fact> {
        struct Facts(Vec<Fact>);
        impl Sink for Facts {
            fn field(&mut self, _: FieldRule) {}
            fn fact(&mut self, fact: &Fact) {
                self.0.push(fact.clone());
            }
        }
        let mut facts = Facts(Vec::new());
        self.visit(&mut facts);
        facts.0
    }
}

/// Why a stored event cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum DecodeEventError {
    /// The type is newer than this binary, or was never one.
    UnknownType(String),
    /// The bytes are not of that type.
    Malformed(String),
}

impl std::fmt::Display for DecodeEventError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownType(name) => write!(f, "unknown event type {name}"),
            Self::Malformed(why) => write!(f, "malformed event: {why}"),
        }
    }
}

impl std::error::Error for DecodeEventError {}

impl From<prost::DecodeError> for DecodeEventError {
    fn from(e: prost::DecodeError) -> Self {
        Self::Malformed(e.to_string())
    }
}

include!(concat!(env!("OUT_DIR"), "/classified.rs"));

impl Event {
    /// Puts an event together again from its open payload and the parts that could be opened.
    ///
    /// Protocol Buffers merge encodings that are laid end to end, and the build makes sure that no repeated
    /// message is split between them.
    pub fn decode(type_name: &str, pieces: &[&[u8]]) -> Result<Self, DecodeEventError> {
        match pieces {
            [one] => Self::decode_as(type_name, one),
            many => Self::decode_as(type_name, &many.concat()),
        }
    }

    /// The fields that may stand in a header, encoded.
    pub fn open_payload(&self) -> Vec<u8> {
        let mut copy = self.clone();
        copy.retain(&Open);
        copy.encode_to_vec()
    }

    /// The fields that the given key seals, encoded; empty when there is nothing to seal.
    pub fn sealed_payload(&self, part: SealedPart) -> Vec<u8> {
        let mut copy = self.clone();
        copy.retain(&Part(part));
        copy.encode_to_vec()
    }

    /// The class that governs whether a viewer learns of the event: that of its type, or the one that the event itself
    /// names, where its type is [`DataClass::ByField`].
    pub fn class(&self) -> DataClass {
        match self {
            Self::AttachmentAdded(added) => named(added.data_class()),
            _ => self.rule().class,
        }
    }

    /// The rule of a type, by its full name.
    pub fn rule_of(type_name: &str) -> Option<&'static EventRule> {
        RULES.binary_search_by(|r| r.type_name.cmp(type_name)).ok().map(|i| &RULES[i])
    }
}

/// The class that a message names for its own fields. One that is none, or not personal, counts as sealed: nobody
/// opens what is sealed by naming it wrongly.
pub(crate) fn named(class: DataClass) -> DataClass {
    let personal = DataClass::Lead as i32..=DataClass::Sealed as i32;
    if personal.contains(&(class as i32)) { class } else { DataClass::Sealed }
}

/// Keeps what is not personal.
#[derive(Debug)]
pub struct Open;

impl Lens for Open {
    fn field(&self, rule: FieldRule) -> bool {
        rule.class == DataClass::NotPersonal
    }
    fn fact(&self, _: &mut Fact) -> bool {
        false
    }
    fn looks_inside(&self) -> bool {
        false
    }
}

/// Keeps what one key seals. Facts are sealed with the stream's key.
#[derive(Debug)]
pub struct Part(pub SealedPart);

impl Lens for Part {
    fn field(&self, rule: FieldRule) -> bool {
        rule.class != DataClass::NotPersonal && rule.part == self.0
    }
    fn fact(&self, _: &mut Fact) -> bool {
        self.0 == SealedPart::Stream
    }
    fn looks_inside(&self) -> bool {
        false
    }
}

impl Classified for Fact {
    fn retain(&mut self, lens: &dyn Lens) -> bool {
        lens.fact(self)
    }
    fn visit(&self, sink: &mut dyn Sink) {
        sink.fact(self);
    }
}
