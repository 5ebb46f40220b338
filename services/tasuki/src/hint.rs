//! Why a request in JSON is no message of the contract: the first name that the contract does not have, with those that
//! it has.
//!
//! Names fields and codes only; a value is repeated nowhere but where a name of an enum stands.

use prost_reflect::{EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value;

/// The first unknown field or value of an enum in `json`, and what may stand there; `None` where all are known.
pub fn unknown(message: &MessageDescriptor, json: &Value) -> Option<String> {
    // Times, wrappers and the like have a form of their own in JSON.
    if message.package_name().starts_with("google.") {
        return None;
    }
    json.as_object()?.iter().find_map(|(name, value)| {
        let field = message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name));
        let Some(field) = field else {
            let fields: Vec<String> = message.fields().map(|f| f.json_name().to_owned()).collect();
            let there_are = if fields.is_empty() { "no fields".to_owned() } else { fields.join(", ") };
            return Some(format!("{} has no field {name}; it has: {there_are}", message.name()));
        };
        match value.as_array().filter(|_| field.is_list()) {
            Some(list) => list.iter().find_map(|element| of_field(&field, element)),
            None => of_field(&field, value),
        }
    })
}

fn of_field(field: &FieldDescriptor, value: &Value) -> Option<String> {
    match field.kind() {
        Kind::Message(inner) => unknown(&inner, value),
        Kind::Enum(of) => no_value(field, &of, value),
        _ => None,
    }
}

fn no_value(field: &FieldDescriptor, of: &EnumDescriptor, value: &Value) -> Option<String> {
    let name = value.as_str().filter(|name| of.get_value_by_name(name).is_none())?;
    let values: Vec<String> = of.values().map(|value| value.name().to_owned()).collect();
    Some(format!("{} has no value {name}; it has: {}", field.json_name(), values.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::call::{find, pool};

    fn submit(json: Value) -> Option<String> {
        unknown(&find(&pool().unwrap(), "ReferralService/SubmitReferral").unwrap().input(), &json)
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_names_that_there_are() {
        let wrong = submit(json!({ "toPostId": "x", "consentAtSource": { "signedon": {} } })).unwrap();
        assert!(wrong.starts_with("ConsentAtSource has no field signedon; it has: "), "{wrong}");
        assert!(wrong.contains("signerRelation, signedOn"), "{wrong}");
        let wrong = submit(json!({ "facts": [{ "key": "k" }, { "keys": "k" }] })).unwrap();
        assert!(wrong.starts_with("Fact has no field keys"), "{wrong}");
        let wrong = submit(json!({ "urgency": "SOON" })).unwrap();
        assert!(wrong.starts_with("urgency has no value SOON; it has: URGENCY_UNSPECIFIED, "), "{wrong}");
    }

    #[test]
    fn a_request_of_the_contract_has_no_unknown_name() {
        let fine = json!({
            "to_post_id": "x",
            "urgency": "URGENCY_ROUTINE",
            "context": { "occurredAt": "2026-04-05T00:00:00Z" },
            "facts": [{ "key": "birth_date", "date": { "year": 2026, "month": 3, "day": 20 } }],
        });
        assert_eq!(submit(fine), None);
        assert_eq!(submit(json!({ "urgency": 1, "weekdays": [1, 2] })), None);
    }
}
