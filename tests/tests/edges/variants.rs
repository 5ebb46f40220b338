//! Every way in which one field of a request can be wrong, found by reflection on the contract.
//!
//! A variant differs from a well-formed message in one field, whose path it knows. What can be wrong with a field
//! follows from its kind, its name and its data class; nothing here knows a single message but dates, times and facts.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, ReflectMessage as _, Value};

/// A message with one field that is wrong.
pub struct Variant {
    /// The field, as `BadRequest` should name it.
    pub path: String,
    /// What is wrong with it.
    pub what: &'static str,
    pub message: DynamicMessage,
}

/// What a field was left out is called.
pub const MISSING: &str = "missing";
/// Longer than any text of the contract.
const OVER_LONG_CHARS: usize = 70_000;
/// What an over-long text is made of: no answer may repeat it.
pub const OVER_LONG: char = '襷';
/// What is put in place of an id and of a code: no answer may repeat it.
pub const WRONG: &str = "wrong-input-7f3a";
/// The second before the first of a protobuf timestamp, 0001-01-01T00:00:00Z.
const BEFORE_PROTOBUF_S: i64 = -62_135_596_801;
/// The second before 1900-01-01T00:00:00Z.
const BEFORE_1900_S: i64 = -2_208_988_801;
/// More than any list of the contract may hold.
const OVER_MANY: usize = 1_000;

/// Every variant of a message; fields that it leaves out are set wrongly too.
pub fn of(message: &DynamicMessage) -> Vec<Variant> {
    let mut all = Vec::new();
    for field in message.descriptor().fields() {
        let value = message.get_field(&field).into_owned();
        let mut put = |path: String, what, value| {
            let mut message = message.clone();
            message.set_field(&field, value);
            all.push(Variant { path, what, message });
        };
        let name = field.name();
        if let (true, Value::List(list)) = (field.is_list(), &value) {
            let element = list.first().cloned().unwrap_or_else(|| default_element(&field));
            put(name.to_owned(), "too many", Value::List(vec![element.clone(); OVER_MANY]));
            for (suffix, what, element) in wrong(&field, &element) {
                let rest = list.iter().skip(1).cloned();
                put(
                    format!("{name}[0]{suffix}"),
                    what,
                    Value::List([element].into_iter().chain(rest).collect()),
                );
            }
        } else {
            for (suffix, what, value) in wrong(&field, &value) {
                put(format!("{name}{suffix}"), what, value);
            }
        }
        if message.has_field(&field) {
            let mut without = message.clone();
            without.clear_field(&field);
            all.push(Variant { path: name.to_owned(), what: MISSING, message: without });
        }
    }
    all
}

fn default_element(field: &FieldDescriptor) -> Value {
    match field.kind() {
        Kind::Message(message) => Value::Message(DynamicMessage::new(message)),
        kind => Value::default_value(&kind),
    }
}

/// Wrong values in the place of one that may be right, with what follows the field's own path.
fn wrong(field: &FieldDescriptor, value: &Value) -> Vec<(String, &'static str, Value)> {
    let here = |what, value| (String::new(), what, value);
    match field.kind() {
        Kind::String => {
            let mut all =
                vec![here("over-long", Value::String(OVER_LONG.to_string().repeat(OVER_LONG_CHARS)))];
            if field.name().ends_with("_id") || field.name().ends_with("_ids") {
                all.push(here("no uuid", Value::String(WRONG.to_owned())));
            } else if is_coded(field) {
                all.push(here("unknown code", Value::String(WRONG.to_owned())));
            }
            all
        }
        Kind::Enum(_) => vec![here("unknown number", Value::EnumNumber(9_999))],
        Kind::Int32 => vec![here("out of range", Value::I32(-5))],
        Kind::Message(message) => {
            let Value::Message(inner) = value else { return Vec::new() };
            match message.full_name() {
                "tasuki.common.v1.Date" => {
                    let mut day = DynamicMessage::new(message.clone());
                    for (part, number) in [("year", 2027), ("month", 2), ("day", 30)] {
                        day.set_field_by_name(part, Value::I32(number));
                    }
                    vec![here("no such day", Value::Message(day))]
                }
                "google.protobuf.Timestamp" => {
                    let time = |seconds, nanos| {
                        let mut time = DynamicMessage::new(message.clone());
                        time.set_field_by_name("seconds", Value::I64(seconds));
                        time.set_field_by_name("nanos", Value::I32(nanos));
                        Value::Message(time)
                    };
                    vec![
                        here("no such time", time(i64::MAX, 0)),
                        here("no such time", time(i64::MIN, 0)),
                        here("before the first time", time(BEFORE_PROTOBUF_S, 0)),
                        here("before the first time", time(BEFORE_1900_S, 999_999_999)),
                        here("no such nanosecond", time(0, -1)),
                        here("no such nanosecond", time(-2, -500_000_000)),
                        here("no such nanosecond", time(0, 1_000_000_000)),
                    ]
                }
                "tasuki.common.v1.Fact" => facts(inner),
                _ => {
                    let below = of(inner).into_iter();
                    below.map(|v| (format!(".{}", v.path), v.what, Value::Message(v.message))).collect()
                }
            }
        }
        _ => Vec::new(),
    }
}

/// A fact's value is one of several fields, and all of them are called `value` in a refusal.
fn facts(fact: &DynamicMessage) -> Vec<(String, &'static str, Value)> {
    let with = |suffix: &str, what, field: &str, value| {
        let mut fact = fact.clone();
        fact.set_field_by_name(field, value);
        (suffix.to_owned(), what, Value::Message(fact))
    };
    let members = fact.descriptor().oneofs().next().expect("a fact has a value");
    let given = members.fields().find(|f| fact.has_field(f)).expect("the sample has a value");
    let mut without = fact.clone();
    without.clear_field(&given);
    let other = members.fields().find(|f| f.number() != given.number() && f.kind() == Kind::Bool).unwrap();
    // An empty list is a value, so it has to be of the right kind.
    let lists = members.fields().filter(|f| f.number() != given.number() && f.name() != "document");
    let lists = lists.filter_map(|field| match field.kind() {
        Kind::Message(list) if list.full_name() != "tasuki.common.v1.Date" => {
            Some((field, Value::Message(DynamicMessage::new(list))))
        }
        _ => None,
    });
    let empty = lists.map(|(field, list)| with(".value", "empty list of a wrong kind", field.name(), list));
    let empty: Vec<_> = empty.collect();
    let date = fact.descriptor().get_field_by_name("asserted_on").unwrap();
    let Kind::Message(date) = date.kind() else { panic!("a date is a message") };
    let mut all = vec![
        with(".key", "unknown key", "key", Value::String(WRONG.to_owned())),
        with(".key", "no key", "key", Value::String(String::new())),
        with(".value", "wrong kind", other.name(), Value::Bool(true)),
        (".value".to_owned(), "no value", Value::Message(without)),
        with(".told_by", "unknown code", "told_by", Value::String(WRONG.to_owned())),
        with(".asserted_on", "no such day", "asserted_on", Value::Message(DynamicMessage::new(date))),
    ];
    all.extend(empty);
    all
}

/// Whether the contract calls it a closed code or something that statistics count.
fn is_coded(field: &FieldDescriptor) -> bool {
    let options = field.options();
    let reason = options.extensions().find(|(e, _)| e.full_name() == "tasuki.privacy.v1.reason");
    let Some((extension, value)) = reason else { return false };
    let (Kind::Enum(reasons), Value::EnumNumber(number)) = (extension.kind(), value) else { return false };
    reasons.get_value(*number).is_some_and(|v| ["CLOSED_CODE", "STATISTIC"].contains(&v.name()))
}
