//! Reads the options of every field and refuses a contract in which one is missing.
//!
//! The result is a small model of the messages that events are made of; it knows nothing of Rust.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value,
};

/// Numbers of `tasuki.privacy.v1.DataClass` with a meaning of their own here.
pub const NOT_PERSONAL: i32 = 1;
pub const BY_CONTENT: i32 = 30;
pub const BY_KEY: i32 = 31;
pub const BY_FIELD: i32 = 32;
pub const INHERITED: i32 = 33;

/// The one message whose fields are classified by the dictionary key beside them.
pub const FACT: &str = "tasuki.common.v1.Fact";

pub struct Field {
    pub name: String,
    pub class: i32,
    pub in_summary: bool,
    pub part: i32,
    pub shape: Shape,
}

pub enum Shape {
    /// Text, bytes or a repeated scalar: empty when absent.
    Emptyable,
    /// A number, enum or bool: default when absent.
    Plain,
    /// A singular message; the name when it is one of ours, so that it can be looked into.
    Message(Option<String>),
    /// Repeated messages.
    Messages(String),
    /// A member of a oneof, all of whose members are not personal.
    OpenOneof,
}

pub struct Message {
    pub full_name: String,
    pub fields: Vec<Field>,
}

pub struct Event {
    pub full_name: String,
    pub class: i32,
    pub schema: u32,
    pub ja: String,
    pub en: String,
    /// Concrete personal classes that its fields can hold, without those of facts.
    pub classes: BTreeSet<i32>,
    /// Whether it can hold facts, whose classes come from their keys.
    pub has_facts: bool,
    /// A passage in it names its own class, so that any class may stand in it.
    pub has_passages: bool,
}

pub struct Model {
    pub messages: BTreeMap<String, Message>,
    pub events: Vec<Event>,
}

impl Model {
    /// Checks every message of `tasuki.*` and models those that events are made of.
    pub fn read(pool: &DescriptorPool) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut events = Vec::new();
        let mut messages = BTreeMap::new();
        for message in pool.all_messages().filter(|m| m.full_name().starts_with("tasuki.")) {
            check_message(&message, &mut problems);
            if let Some(options) = event_options(&message) {
                let before = problems.len();
                model_message(&message, &mut messages, &mut problems);
                if problems.len() == before {
                    events.push(event(&message, &options, &messages, &mut problems));
                }
            }
        }
        for e in pool.all_enums().filter(|e| e.full_name().starts_with("tasuki.")) {
            for value in e.values() {
                if !has_comment(value.path(), &value.parent_enum().parent_file()) {
                    problems.push(format!("{}: enum value has no comment", value.full_name()));
                }
            }
        }
        for service in pool.services().filter(|s| s.full_name().starts_with("tasuki.")) {
            for method in service.methods() {
                if !has_comment(method.path(), &method.parent_file()) {
                    problems.push(format!("{}: method has no comment", method.full_name()));
                }
            }
        }
        events.sort_by(|a, b| a.full_name.cmp(&b.full_name));
        if problems.is_empty() { Ok(Self { messages, events }) } else { Err(problems) }
    }
}

fn check_message(message: &MessageDescriptor, problems: &mut Vec<String>) {
    if !has_comment(message.path(), &message.parent_file()) && !message.is_map_entry() {
        problems.push(format!("{}: message has no comment", message.full_name()));
    }
    for field in message.fields() {
        let name = field.full_name().to_owned();
        if field.is_map() {
            problems.push(format!("{name}: maps are not allowed in the contract"));
            continue;
        }
        if !has_comment(field.path(), &field.parent_message().parent_file()) {
            problems.push(format!("{name}: field has no comment"));
        }
        let class = number(&field, "data_class");
        let reason = number(&field, "reason");
        if class == 0 {
            problems.push(format!("{name}: field has no data_class"));
        }
        if (class == NOT_PERSONAL) != (reason != 0) {
            problems.push(format!("{name}: NOT_PERSONAL and a reason go together"));
        }
        if class == BY_KEY && message.full_name() != FACT {
            problems.push(format!("{name}: BY_KEY is for {FACT} only"));
        }
        if class == BY_CONTENT && !matches!(field.kind(), Kind::Message(_)) {
            problems.push(format!("{name}: BY_CONTENT is for message fields only"));
        }
        if class == BY_FIELD && message.get_field_by_name("data_class").is_none() {
            problems.push(format!("{name}: BY_FIELD needs a field `data_class` beside it"));
        }
    }
}

fn model_message(
    message: &MessageDescriptor,
    into: &mut BTreeMap<String, Message>,
    problems: &mut Vec<String>,
) {
    let full_name = message.full_name().to_owned();
    if full_name == FACT || into.contains_key(&full_name) {
        return;
    }
    into.insert(full_name.clone(), Message { full_name: full_name.clone(), fields: Vec::new() });
    let mut fields = Vec::new();
    for field in message.fields() {
        let class = number(&field, "data_class");
        let shape = match field.kind() {
            _ if field.containing_oneof().is_some() => {
                if class != NOT_PERSONAL {
                    problems.push(format!("{}: a oneof in an event must be NOT_PERSONAL", field.full_name()));
                }
                Shape::OpenOneof
            }
            Kind::Message(inner) if inner.full_name().starts_with("tasuki.") => {
                model_message(&inner, into, problems);
                if field.cardinality() == Cardinality::Repeated {
                    if class == BY_CONTENT && mixes(&inner) {
                        problems.push(format!(
                            "{}: a repeated BY_CONTENT message mixes personal and open fields, which cannot be \
                             sealed apart and merged again",
                            field.full_name()
                        ));
                    }
                    Shape::Messages(inner.full_name().to_owned())
                } else {
                    Shape::Message(Some(inner.full_name().to_owned()))
                }
            }
            Kind::Message(_) => Shape::Message(None),
            _ if field.cardinality() == Cardinality::Repeated => Shape::Emptyable,
            Kind::String | Kind::Bytes => Shape::Emptyable,
            _ => Shape::Plain,
        };
        fields.push(Field {
            name: field.name().to_owned(),
            class,
            in_summary: flag(&field, "in_summary"),
            part: number(&field, "part"),
            shape,
        });
    }
    into.insert(full_name.clone(), Message { full_name, fields });
}

fn mixes(message: &MessageDescriptor) -> bool {
    let open = message.fields().filter(|f| number(f, "data_class") == NOT_PERSONAL).count();
    open != 0 && open != message.fields().count()
}

fn event(
    message: &MessageDescriptor,
    options: &DynamicMessage,
    messages: &BTreeMap<String, Message>,
    problems: &mut Vec<String>,
) -> Event {
    let mut reached = Reached::default();
    reached.follow(message.full_name(), messages);
    let Reached { classes, has_facts, has_passages } = reached;
    let text = |name: &str| match options.get_field_by_name(name).as_deref() {
        Some(Value::String(s)) => s.clone(),
        _ => String::new(),
    };
    let class = match options.get_field_by_name("data_class").as_deref() {
        Some(Value::EnumNumber(n)) => *n,
        _ => 0,
    };
    let schema = match options.get_field_by_name("schema").as_deref() {
        Some(Value::U32(n)) => *n,
        _ => 0,
    };
    let event = Event {
        full_name: message.full_name().to_owned(),
        class,
        schema,
        ja: text("ja"),
        en: text("en"),
        classes,
        has_facts,
        has_passages,
    };
    if event.class == 0 || event.schema == 0 || event.ja.is_empty() || event.en.is_empty() {
        problems.push(format!("{}: an event needs data_class, schema and both labels", event.full_name));
    }
    event
}

/// What stands anywhere in a message.
#[derive(Default)]
struct Reached {
    classes: BTreeSet<i32>,
    has_facts: bool,
    has_passages: bool,
}

impl Reached {
    fn follow(&mut self, name: &str, messages: &BTreeMap<String, Message>) {
        if name == FACT {
            self.has_facts = true;
            return;
        }
        for field in &messages[name].fields {
            if field.class > NOT_PERSONAL && field.class < BY_CONTENT {
                self.classes.insert(field.class);
            }
            self.has_passages |= field.class == BY_FIELD;
            if let Shape::Message(Some(inner)) | Shape::Messages(inner) = &field.shape {
                self.follow(inner, messages);
            }
        }
    }
}

fn event_options(message: &MessageDescriptor) -> Option<DynamicMessage> {
    let extension = message.parent_pool().get_extension_by_name("tasuki.privacy.v1.event")?;
    let options = message.options();
    options
        .has_extension(&extension)
        .then(|| options.get_extension(&extension).as_message().cloned())
        .flatten()
}

fn option(field: &FieldDescriptor, name: &str) -> Option<Value> {
    let extension = field.parent_pool().get_extension_by_name(&format!("tasuki.privacy.v1.{name}"))?;
    let options = field.options();
    options.has_extension(&extension).then(|| options.get_extension(&extension).into_owned())
}

fn number(field: &FieldDescriptor, name: &str) -> i32 {
    match option(field, name) {
        Some(Value::EnumNumber(n)) => n,
        _ => 0,
    }
}

fn flag(field: &FieldDescriptor, name: &str) -> bool {
    matches!(option(field, name), Some(Value::Bool(true)))
}

fn has_comment(path: &[i32], file: &prost_reflect::FileDescriptor) -> bool {
    let proto = file.file_descriptor_proto();
    proto.source_code_info.as_ref().is_some_and(|info| {
        info.location
            .iter()
            .any(|l| l.path == path && l.leading_comments.as_ref().is_some_and(|c| !c.trim().is_empty()))
    })
}
