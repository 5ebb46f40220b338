//! Filled instances of every event type, made from the descriptors of the contract and not from its generated code,
//! and the walk over what is left of one. A leaf stands on a path of classes: all of them must be readable.

use std::sync::LazyLock;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};
use tasuki_contract::{DESCRIPTORS, DataClass, Event, FieldRule, SealedPart};
use tasuki_domain::dictionary;

const FACT: &str = "tasuki.common.v1.Fact";

/// One field that holds something, and what decides about it.
#[derive(Clone, Debug)]
pub struct Leaf {
    pub name: String,
    /// Rules of the field and of the fields that hold it, outermost first; without what is not personal.
    pub rules: Vec<FieldRule>,
    /// The dictionary key of a fact.
    pub key: Option<String>,
    /// Text, texts or document of a fact: what a summary drops.
    pub words: bool,
}

pub fn pool() -> DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS).unwrap());
    POOL.clone()
}

/// The marker of a field: its class, and a letter for whether a summary keeps it. It ends with a stop, so that no
/// marker is the beginning of another.
pub fn marker(rule: FieldRule) -> String {
    format!("MARK-{}-{}.", rule.class.as_str_name(), if rule.in_summary { "S" } else { "T" })
}

pub fn fact_marker(key: &str) -> String {
    format!("MARK-KEY-{key}.")
}

/// An instance with something in every field; lists of facts hold every key, lists of passages every class.
pub fn filled(type_name: &str) -> Event {
    let descriptor = pool().get_message_by_name(type_name).unwrap();
    let message = fill(&descriptor, &[]);
    Event::decode(type_name, &[&prost::Message::encode_to_vec(&message)]).unwrap()
}

/// Every field that is left with something in it.
pub fn leaves(event: &Event) -> Vec<Leaf> {
    let descriptor = pool().get_message_by_name(event.rule().type_name).unwrap();
    let message = DynamicMessage::decode(descriptor, event.encode_to_vec().as_slice()).unwrap();
    let mut found = Vec::new();
    walk(&message, &[], None, &mut found);
    found
}

fn fill(descriptor: &MessageDescriptor, outer: &[FieldRule]) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let path = path(&field, outer, DataClass::Support);
        let text = path.iter().map(|r| marker(*r)).collect::<String>() + "open";
        let value = match field.kind() {
            Kind::Message(inner) if inner.full_name() == FACT => Value::List(facts(&inner)),
            Kind::Message(inner) if inner.full_name() == "tasuki.minutes.v1.Section" && field.is_list() => {
                Value::List((1..=17).map(|class| Value::Message(section(&inner, class, &path))).collect())
            }
            Kind::Message(inner) => one_or_list(&field, Value::Message(fill(&inner, &path))),
            _ => one_or_list(&field, scalar(&field, &text)),
        };
        message.set_field(&field, value);
    }
    message
}

fn section(descriptor: &MessageDescriptor, class: i32, outer: &[FieldRule]) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    message.set_field_by_name("data_class", Value::EnumNumber(class));
    let rule = rule(DataClass::try_from(class).unwrap(), false);
    let text = outer.iter().chain([&rule]).map(|r| marker(*r)).collect();
    message.set_field_by_name("text", Value::String(text));
    message
}

fn facts(descriptor: &MessageDescriptor) -> Vec<Value> {
    let fact = |field: &dictionary::Field| {
        let mut fact = DynamicMessage::new(descriptor.clone());
        fact.set_field_by_name("key", Value::String(field.key.clone()));
        let member = match field.kind {
            dictionary::Kind::Text => "text",
            dictionary::Kind::Date => "date",
            dictionary::Kind::Boolean => "flag",
            dictionary::Kind::Integer => "number",
            dictionary::Kind::Code(_) => "code",
            dictionary::Kind::Codes(_) => "codes",
            dictionary::Kind::TextList => "texts",
            dictionary::Kind::Document => "document",
        };
        let member = descriptor.get_field_by_name(member).unwrap();
        let value = match member.kind() {
            Kind::Message(inner) => {
                let mut holder = fill(&inner, &[]);
                for f in inner.fields().filter(|f| matches!(f.kind(), Kind::String)) {
                    holder.set_field(&f, one_or_list(&f, Value::String(fact_marker(&field.key))));
                }
                Value::Message(holder)
            }
            _ => scalar(&member, &fact_marker(&field.key)),
        };
        fact.set_field(&member, value);
        Value::Message(fact)
    };
    dictionary::all().iter().map(fact).collect()
}

fn scalar(field: &FieldDescriptor, text: &str) -> Value {
    match field.kind() {
        Kind::String => Value::String(text.to_owned()),
        Kind::Bytes => Value::Bytes(text.to_owned().into_bytes().into()),
        Kind::Bool => Value::Bool(true),
        Kind::Enum(e) => Value::EnumNumber(e.values().map(|v| v.number()).filter(|n| *n < 18).max().unwrap()),
        Kind::Int32 => Value::I32(3),
        Kind::Int64 => Value::I64(3),
        Kind::Uint32 => Value::U32(3),
        Kind::Uint64 => Value::U64(3),
        other => panic!("no marker for a field of kind {other:?}"),
    }
}

fn one_or_list(field: &FieldDescriptor, value: Value) -> Value {
    if field.is_list() { Value::List(vec![value]) } else { value }
}

fn rule(class: DataClass, in_summary: bool) -> FieldRule {
    FieldRule { class, in_summary, part: SealedPart::Stream }
}

/// The rules on the way to the field; `beside` is what the field `data_class` of the same message says.
fn path(field: &FieldDescriptor, outer: &[FieldRule], beside: DataClass) -> Vec<FieldRule> {
    let class = match option(field, "data_class") {
        Some(Value::EnumNumber(n)) => DataClass::try_from(n).unwrap(),
        // Not ours, such as the two halves of a timestamp: the field that holds it decides.
        _ => DataClass::Inherited,
    };
    let in_summary = matches!(option(field, "in_summary"), Some(Value::Bool(true)));
    let own = match class {
        DataClass::NotPersonal | DataClass::ByContent | DataClass::ByKey | DataClass::Inherited => None,
        DataClass::ByField => Some(rule(beside, in_summary)),
        _ => Some(rule(class, in_summary)),
    };
    outer.iter().copied().chain(own).collect()
}

fn option(field: &FieldDescriptor, name: &str) -> Option<Value> {
    let extension = field.parent_pool().get_extension_by_name(&format!("tasuki.privacy.v1.{name}"))?;
    let options = field.options();
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}

fn walk(message: &DynamicMessage, outer: &[FieldRule], key: Option<&str>, found: &mut Vec<Leaf>) {
    let beside = message.get_field_by_name("data_class").and_then(|v| v.as_enum_number()).unwrap_or_default();
    let beside = DataClass::try_from(beside).unwrap();
    let own_key = (message.descriptor().full_name() == FACT)
        .then(|| message.get_field_by_name("key").unwrap().as_str().unwrap().to_owned());
    let key = own_key.as_deref().or(key);
    for (field, value) in message.fields() {
        let rules = path(&field, outer, beside);
        let leaf = |words: bool| Leaf {
            name: field.full_name().to_owned(),
            rules: rules.clone(),
            key: key.map(str::to_owned),
            words,
        };
        let values = match value {
            Value::List(list) => list.clone(),
            one => vec![one.clone()],
        };
        for value in &values {
            let in_words =
                key.is_some() && matches!(field.name(), "text" | "texts" | "document_id" | "title");
            match value {
                Value::Message(inner) => walk(inner, &rules, key, found),
                Value::String(text) => found.push(leaf(in_words && !text.is_empty())),
                _ => found.push(leaf(false)),
            }
        }
    }
}
