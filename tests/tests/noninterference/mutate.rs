//! Histories that differ: values that change, events that go, commands of others that come between.

use std::collections::BTreeSet;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, ReflectMessage as _, Value};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use tasuki_contract::Event;
use tasuki_contract::event::v1::{CircleChange, GrantChange, Recipient, Relation, recipient::Who};
use tasuki_domain::dictionary;
use uuid::Uuid;

use crate::history::Step;
use crate::people::{KINDS, person};

/// One random change; `None` where it would change nothing. `spare` are commands that did not happen, oldest first.
pub fn changed(
    pool: &DescriptorPool,
    rng: &mut StdRng,
    bundle: usize,
    steps: &[Step],
    spare: &mut Vec<Step>,
) -> Option<Vec<Step>> {
    let mut steps = steps.to_vec();
    match rng.random_range(0..10) {
        0..4 => {
            let at = rng.random_range(0..steps.len());
            steps[at].decided.event = other_value(pool, rng, &steps[at].decided.event)?;
        }
        4 => {
            let at = rng.random_range(0..steps.len());
            steps[at].decided.event = other_facts(pool, rng, &steps[at].decided.event)?;
        }
        5 => {
            let gone = steps.choose(rng)?.command;
            steps.retain(|step| step.command != gone);
        }
        6..9 => insert(rng, &mut steps, spare)?,
        _ => other_effects(rng, bundle, &mut steps)?,
    }
    Some(steps)
}

/// The next command that did not happen, somewhere behind the one that was put in before.
fn insert(rng: &mut StdRng, steps: &mut Vec<Step>, spare: &mut Vec<Step>) -> Option<()> {
    let command = spare.first()?.command;
    let of_command = spare.iter().take_while(|step| step.command == command).count();
    let own: BTreeSet<Uuid> = spare.iter().map(|step| step.decided.stream.id).collect();
    let earliest =
        steps.iter().rposition(|step| own.contains(&step.decided.stream.id)).map_or(0, |at| at + 1);
    let at = rng.random_range(earliest..=steps.len());
    let time = steps.get(at.saturating_sub(1)).map_or(crate::history::BEGIN_US, |step| step.at_us);
    let moved = spare.drain(..of_command).map(|step| Step { at_us: time, ..step });
    steps.splice(at..at, moved.collect::<Vec<_>>());
    Some(())
}

/// Somebody else joins, or is granted something.
fn other_effects(rng: &mut StdRng, bundle: usize, steps: &mut [Step]) -> Option<()> {
    let step = steps.choose_mut_of_a_case(rng)?;
    let case = step.decided.cases.first()?.to_string();
    let somebody = person(bundle, rng.random_range(0..KINDS.len())).post.to_string();
    let effects = &mut step.decided.effects;
    if rng.random() {
        let (post_id, relation) = (somebody, Relation::Named.into());
        effects.circle.push(CircleChange { case_id: case, post_id, relation, ends: false });
    } else {
        effects.grants.push(GrantChange {
            case_id: case,
            grant_id: Uuid::from_u128(rng.random()).to_string(),
            recipients: vec![Recipient { who: Some(Who::PostId(somebody)) }],
            classes: (2..16).filter(|_| rng.random()).collect(),
            ..GrantChange::default()
        });
    }
    Some(())
}

trait OfACase {
    fn choose_mut_of_a_case(&mut self, rng: &mut StdRng) -> Option<&mut Step>;
}

impl OfACase for [Step] {
    fn choose_mut_of_a_case(&mut self, rng: &mut StdRng) -> Option<&mut Step> {
        let of_case: Vec<usize> = (0..self.len()).filter(|at| !self[*at].decided.cases.is_empty()).collect();
        of_case.choose(rng).map(|at| &mut self[*at])
    }
}

/// The event with another text or number in one of its fields.
fn other_value(pool: &DescriptorPool, rng: &mut StdRng, event: &Event) -> Option<Event> {
    let mut message = dynamic(pool, event);
    let mut left = rng.random_range(0..leaves(&message).max(1));
    replace(&mut message, rng, &mut left).then(|| back(event, &message))
}

fn dynamic(pool: &DescriptorPool, event: &Event) -> DynamicMessage {
    let descriptor = pool.get_message_by_name(event.rule().type_name).unwrap();
    DynamicMessage::decode(descriptor, event.encode_to_vec().as_slice()).unwrap()
}

fn back(event: &Event, message: &DynamicMessage) -> Event {
    Event::decode(event.rule().type_name, &[&message.encode_to_vec()]).unwrap()
}

/// Texts that are no ids, and numbers.
fn is_leaf(value: &Value) -> bool {
    match value {
        Value::String(text) => Uuid::try_parse(text).is_err(),
        Value::I32(_) | Value::I64(_) | Value::Bool(_) => true,
        _ => false,
    }
}

fn leaves(message: &DynamicMessage) -> usize {
    let of = |value: &Value| match value {
        Value::Message(inner) => leaves(inner),
        value => usize::from(is_leaf(value)),
    };
    message
        .fields()
        .map(|(_, value)| value.as_list().map_or_else(|| of(value), |all| all.iter().map(of).sum()))
        .sum()
}

fn replace(message: &mut DynamicMessage, rng: &mut StdRng, left: &mut usize) -> bool {
    let fields: Vec<_> = message.fields().map(|(field, _)| field).collect();
    for field in fields {
        // The key says what the value is: a change of it is a change of facts.
        if field.name() == "key" {
            continue;
        }
        let in_value = |value: &mut Value, rng: &mut StdRng, left: &mut usize| match value {
            Value::Message(inner) => replace(inner, rng, left),
            value if is_leaf(value) && *left == 0 => {
                *value = match value {
                    Value::String(_) => Value::String(format!("OTHER-{:016x}", rng.random::<u64>())),
                    Value::I32(n) => Value::I32(*n % 12 + 1),
                    Value::I64(n) => Value::I64(*n + 1),
                    Value::Bool(flag) => Value::Bool(!*flag),
                    _ => return false,
                };
                true
            }
            value => {
                *left = left.saturating_sub(usize::from(is_leaf(value)));
                false
            }
        };
        let done = match message.get_field_mut(&field) {
            Value::List(all) => all.iter_mut().any(|value| in_value(value, rng, left)),
            value => in_value(value, rng, left),
        };
        if done {
            return true;
        }
    }
    false
}

/// The event with a fact more or less.
fn other_facts(pool: &DescriptorPool, rng: &mut StdRng, event: &Event) -> Option<Event> {
    let mut message = dynamic(pool, event);
    let field =
        message.descriptor().get_field_by_name("facts").filter(|f| matches!(f.kind(), Kind::Message(_)))?;
    let Value::List(facts) = message.get_field_mut(&field) else { return None };
    if rng.random() && !facts.is_empty() {
        facts.remove(rng.random_range(0..facts.len()));
    } else {
        let keys = dictionary::all();
        let key = keys[rng.random_range(0..keys.len())].key.clone();
        let known = |fact: &Value| {
            let fact = fact.as_message().unwrap();
            fact.get_field_by_name("key").unwrap().as_str() == Some(&key)
        };
        if facts.iter().any(known) {
            return None;
        }
        let mut fact = facts.choose(rng)?.clone();
        if let Value::Message(fact) = &mut fact {
            fact.set_field_by_name("key", Value::String(key.clone()));
        }
        facts.push(fact);
    }
    Some(back(event, &message))
}

/// Whether two histories are the same, event for event.
pub fn same(one: &[Step], other: &[Step]) -> bool {
    let of = |step: &Step| (step.id, step.decided.clone());
    one.len() == other.len() && one.iter().zip(other).all(|(a, b)| of(a) == of(b))
}
