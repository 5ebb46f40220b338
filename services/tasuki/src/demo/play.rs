//! Playing the story: each step is one call of the contract, made as the desk that acts.
//!
//! Requests are built from JSON against the contract's own descriptors, so a field that the contract does not have
//! stops the demonstration. Ids that the server gave are remembered for later steps.

use jiff::ToSpan as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde_json::{Map, Value, json};
use tasuki_domain::codes::Lang;
use tonic::client::Grpc;
use tonic::transport::Channel;

use super::story::{Event, Step};
use super::tokens::Desks;
use crate::call::{DynamicCodec, explain, find, pool};
use crate::{Error, region};

/// Plays steps one after the other.
pub struct Player<'a> {
    channel: Channel,
    pool: DescriptorPool,
    desks: &'a Desks,
    answers: Map<String, Value>,
}

impl<'a> Player<'a> {
    /// Nothing is played yet.
    pub fn new(channel: Channel, desks: &'a Desks) -> Result<Self, Error> {
        Ok(Self { channel, pool: pool()?, desks, answers: Map::new() })
    }

    /// Plays one step; the answer is the last event that it appended.
    ///
    /// Errors: the step with the server's reason and the fields it names.
    pub async fn play(&mut self, event: &Event, step: &Step) -> Result<String, Error> {
        let at =
            |error: String| format!("{} ({}), {} as {}: {error}", event.id, step.at, step.call, step.actor);
        let method = find(&self.pool, &step.call).map_err(|e| at(e.to_string()))?;
        let message =
            build(&self.pool, step, self.desks.lang, &self.answers).map_err(|e| at(e.to_string()))?;
        let request = self.desks.named(&step.actor)?.request(message, &step.purpose)?;
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name()).parse()?;
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await?;
        let answer =
            grpc.unary(request, path, DynamicCodec(method.output())).await.map_err(|s| at(explain(&s)))?;
        let options = SerializeOptions::new().use_proto_field_name(true);
        let answer = answer.into_inner().serialize_with_options(serde_json::value::Serializer, &options)?;
        let last = answer["receipt"]["event_id"].as_str().unwrap_or_default().to_owned();
        if let Some(name) = &step.save {
            self.answers.insert(name.clone(), answer);
        }
        Ok(last)
    }

    /// A field of an answer that was kept, as text.
    pub fn kept(&self, reference: &str) -> Option<&str> {
        let (name, field) = reference.split_once('.')?;
        self.answers.get(name)?.get(field)?.as_str()
    }
}

/// The request of a step: its data with every reference resolved, and its time.
fn build(
    pool: &DescriptorPool,
    step: &Step,
    lang: Lang,
    answers: &Map<String, Value>,
) -> Result<DynamicMessage, Error> {
    let mut data = resolve(&step.data, lang, answers)?;
    data["context"] = json!({ "occurred_at": instant(step.at)? });
    let input = find(pool, &step.call)?.input();
    Ok(DynamicMessage::deserialize(input, data)?)
}

fn resolve(value: &Value, lang: Lang, answers: &Map<String, Value>) -> Result<Value, Error> {
    Ok(match value {
        Value::String(text) => match text.strip_prefix('@') {
            Some(reference) => referred(reference, answers)?,
            None => value.clone(),
        },
        Value::Array(list) => {
            Value::Array(list.iter().map(|v| resolve(v, lang, answers)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => match (map.get("ja"), map.get("en")) {
            (Some(ja), Some(en)) => if lang == Lang::Ja { ja } else { en }.clone(),
            _ => {
                let resolved = map.iter().map(|(k, v)| Ok((k.clone(), resolve(v, lang, answers)?)));
                Value::Object(resolved.collect::<Result<_, Error>>()?)
            }
        },
        _ => value.clone(),
    })
}

fn referred(reference: &str, answers: &Map<String, Value>) -> Result<Value, Error> {
    let (kind, rest) = reference.split_once(' ').ok_or_else(|| format!("no reference: @{reference}"))?;
    Ok(match kind {
        "post" => region::post_id(rest).to_string().into(),
        "date" => day(rest.parse()?),
        "time" => instant(rest.parse()?)?.into(),
        "ahead" => day(jiff::Zoned::now().date().checked_add(rest.parse::<i32>()?.days())?),
        "id" => {
            let (name, field) = rest.split_once('.').ok_or_else(|| format!("no saved answer: {rest}"))?;
            let found = answers.get(name).and_then(|answer| answer.get(field));
            found.cloned().ok_or_else(|| format!("no saved answer: {rest}"))?
        }
        _ => return Err(format!("no reference: @{reference}").into()),
    })
}

fn day(date: jiff::civil::Date) -> Value {
    json!({ "year": date.year(), "month": date.month(), "day": date.day() })
}

/// A local time in Asia/Tokyo as an instant.
fn instant(at: jiff::civil::DateTime) -> Result<String, Error> {
    Ok(jiff::tz::Offset::constant(9).to_timestamp(at)?.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::story::Story;
    use super::*;
    use crate::region::{EXAMPLE, Region};

    /// Stands for every answer: whatever is referred to is there, of the type that the contract names.
    fn answers(story: &Story, pool: &DescriptorPool) -> Map<String, Value> {
        let mut all = Map::new();
        for (_, step) in story.steps() {
            let Some(name) = &step.save else { continue };
            let output = find(pool, &step.call).unwrap().output();
            let fields = output.fields();
            let value = |f: &prost_reflect::FieldDescriptor| if f.is_list() { json!([]) } else { json!("0") };
            all.insert(name.clone(), fields.map(|f| (f.name().to_owned(), value(&f))).collect());
        }
        all
    }

    #[test]
    fn every_step_is_a_request_of_the_contract_by_a_post_of_the_region() {
        let (story, pool) = (Story::read().unwrap(), pool().unwrap());
        let slugs: Vec<String> = Region::parse(EXAMPLE).unwrap().posts().map(|(slug, ..)| slug).collect();
        let answers = answers(&story, &pool);
        for (event, step) in story.steps() {
            assert!(slugs.contains(&step.actor), "{}: {}", event.id, step.actor);
            for lang in [Lang::Ja, Lang::En] {
                build(&pool, step, lang, &answers)
                    .unwrap_or_else(|e| panic!("{} {}: {e}", event.id, step.call));
            }
            for word in step.data.to_string().split('"').filter_map(|w| w.strip_prefix("@post ")) {
                assert!(slugs.iter().any(|s| s == word), "{}: {word}", event.id);
            }
        }
    }

    #[test]
    fn local_time_is_japan_standard_time() {
        let at = jiff::civil::date(2024, 4, 8).at(14, 10, 0, 0);
        assert_eq!(instant(at).unwrap(), "2024-04-08T05:10:00Z");
    }
}
