//! Messages with something in every field, made from the descriptors of the contract.
#![allow(dead_code, clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use prost_reflect::prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use tasuki_contract::{Event, RULES};

const DEPTH_MAX: u8 = 5;

pub fn pool() -> DescriptorPool {
    DescriptorPool::decode(tasuki_contract::DESCRIPTORS).unwrap()
}

/// A message with every field set: texts bear the field's name. A list of messages with a oneof has an entry for each of
/// its members; elsewhere the first member stands for all.
pub fn filled(message: &MessageDescriptor) -> DynamicMessage {
    with_member(message, DEPTH_MAX, 0)
}

pub fn every_event() -> Vec<Event> {
    let pool = pool();
    let fill = |name: &str| filled(&pool.get_message_by_name(name).unwrap()).encode_to_vec();
    RULES.iter().map(|rule| Event::decode(rule.type_name, &[&fill(rule.type_name)]).unwrap()).collect()
}

/// The message with member `member` of each of its oneofs, counted round.
fn with_member(message: &MessageDescriptor, depth: u8, member: usize) -> DynamicMessage {
    let mut all = DynamicMessage::new(message.clone());
    let mut members: BTreeMap<String, usize> = BTreeMap::new();
    for field in message.fields() {
        if let Some(oneof) = field.containing_oneof().filter(|o| !o.is_synthetic()) {
            let seen = members.entry(oneof.name().to_owned()).or_default();
            *seen += 1;
            if *seen - 1 != member % oneof.fields().len() {
                continue;
            }
        }
        let value = match field.is_list() {
            true => Value::List((0..entries(&field)).map(|n| value(&field, depth, n)).collect()),
            false => value(&field, depth, 0),
        };
        all.set_field(&field, value);
    }
    all
}

fn entries(field: &FieldDescriptor) -> usize {
    let Kind::Message(inner) = field.kind() else { return 2 };
    inner.oneofs().filter(|o| !o.is_synthetic()).map(|o| o.fields().len()).max().unwrap_or(0).max(2)
}

fn value(field: &FieldDescriptor, depth: u8, member: usize) -> Value {
    match field.kind() {
        Kind::String if field.name() == "key" => Value::String("allergies".into()),
        Kind::String => Value::String(format!("MARK {}", field.full_name())),
        Kind::Bytes => Value::Bytes(b"MARK".as_slice().into()),
        Kind::Bool => Value::Bool(true),
        Kind::Enum(_) => Value::EnumNumber(1),
        Kind::Message(inner) if depth > 0 => Value::Message(with_member(&inner, depth - 1, member)),
        Kind::Message(inner) => Value::Message(DynamicMessage::new(inner)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(7),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(7),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(7),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(7),
        Kind::Float => Value::F32(7.0),
        Kind::Double => Value::F64(7.0),
    }
}
