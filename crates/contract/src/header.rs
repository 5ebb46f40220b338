//! What can be told of a header: whether this binary understands all of it, and its trace without decoding the rest.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message as _;

use crate::event::v1::{DutyKind, Effects, Envelope, Header, ItemKind, Relation};
use crate::{DataClass, EventRule, RULES};

/// The rules by type name.
static BY_TYPE: LazyLock<HashMap<&'static str, &'static EventRule>> =
    LazyLock::new(|| RULES.iter().map(|rule| (rule.type_name, rule)).collect());

/// The rule of the header's event, if this binary understands everything that the header says.
///
/// A type, schema number or code that it does not know may mean anything, a change of the circle included: whoever
/// folds must stop there, never pass it over. Errors: what is not understood, in words without content.
pub fn readable(header: &Header) -> Result<&'static EventRule, &'static str> {
    let rule = BY_TYPE.get(header.r#type.as_str()).copied().ok_or("unknown event type")?;
    if header.schema > rule.schema {
        return Err("schema newer than this binary");
    }
    DataClass::try_from(header.data_class).map_err(|_| "unknown data class")?;
    if header.effects.as_ref().is_some_and(|effects| !known_codes(effects)) {
        return Err("unknown code in effects");
    }
    Ok(rule)
}

fn known_codes(effects: &Effects) -> bool {
    let class = |class: &i32| DataClass::try_from(*class).is_ok();
    effects.circle.iter().all(|c| Relation::try_from(c.relation).is_ok())
        && effects.grants.iter().all(|g| g.classes.iter().all(class))
        && effects.grants.iter().flat_map(|g| &g.excepts).all(|e| e.classes.iter().all(class))
        && effects.duties.iter().all(|d| DutyKind::try_from(d.kind).is_ok())
        && effects.items.iter().all(|i| ItemKind::try_from(i.kind).is_ok())
}

/// The one field of a header that everybody on the way needs; the others are passed over.
#[derive(Clone, PartialEq, prost::Message)]
struct Traced {
    #[prost(string, tag = "17")]
    traceparent: String,
}

/// The W3C trace context of an encoded header: 55 characters. `None` where there is none, or none that is well formed.
pub fn traceparent(header: &[u8]) -> Option<String> {
    let text = Traced::decode(header).ok()?.traceparent;
    let plain = |b: u8| b.is_ascii_hexdigit() || b == b'-';
    (text.len() == 55 && text.bytes().all(plain)).then_some(text)
}

impl Envelope {
    /// The trace of the call that made the event, as [`traceparent`] tells it.
    pub fn traceparent(&self) -> Option<String> {
        traceparent(&self.header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::v1::{CircleChange, GrantChange};

    #[test]
    fn what_this_binary_does_not_know_is_not_readable() {
        let rule = &RULES[0];
        let known = Header { r#type: rule.type_name.into(), schema: rule.schema, ..Header::default() };
        assert_eq!(readable(&known).map(|rule| rule.type_name), Ok(rule.type_name));
        let newer = Header { schema: rule.schema + 1, ..known.clone() };
        assert_eq!(readable(&newer).err(), Some("schema newer than this binary"));
        let unheard = Header { r#type: "tasuki.intake.v9.Unheard".into(), ..known.clone() };
        assert_eq!(readable(&unheard).err(), Some("unknown event type"));
        let class = Header { data_class: 999, ..known.clone() };
        assert_eq!(readable(&class).err(), Some("unknown data class"));
        let circle = vec![CircleChange { relation: 999, ..CircleChange::default() }];
        let grants = vec![GrantChange { classes: vec![1, 999], ..GrantChange::default() }];
        for effects in [Effects { circle, ..Effects::default() }, Effects { grants, ..Effects::default() }] {
            let header = Header { effects: Some(effects), ..known.clone() };
            assert_eq!(readable(&header).err(), Some("unknown code in effects"));
        }
    }

    #[test]
    fn a_trace_is_found_in_a_header_and_what_is_none_is_left_out() {
        let good = format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16));
        let of = |text: &str| {
            let header = Header { traceparent: text.into(), schema: 3, ..Header::default() };
            Envelope { header: header.encode_to_vec(), ..Envelope::default() }.traceparent()
        };
        assert_eq!(of(&good), Some(good.clone()));
        assert_eq!(of(""), None);
        assert_eq!(of("00-a\r\nNats-Msg-Id: 9.9"), None);
        assert_eq!(traceparent(&[0xff]), None);
    }
}
