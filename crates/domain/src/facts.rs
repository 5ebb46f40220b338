//! Facts as they come in a request: each is checked against the field dictionary and named by its place.
//!
//! Never keeps or repeats a value, and decides nothing about who reads it.

use std::collections::BTreeSet;

use jiff::civil::Date;
use tasuki_contract::common::v1::{self as common, Fact, fact::Value};

use crate::check::{self, FieldReason, ValueRef};
use crate::dictionary::{self, Context, Field, Kind, Requirement};
use crate::refusal::{Checks, Violation};
use crate::visibility::{DataClass, ReaderGroup};
use crate::{codes, days, decision::Given};

/// Facts of one request.
pub const FACTS_MAX: usize = 120;
/// Bytes of texts and codes in the facts of one request: far more than a form holds, and an event with them fits into
/// what any client takes.
pub const FACTS_BYTES_MAX: usize = 64 * 1024;

/// For what the facts are given; some keys must not travel that way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A desk's own record.
    OwnRecord,
    /// A referral from agency to agency.
    Referral {
        /// Nobody may be named.
        anonymous: bool,
    },
}

/// Notes every malformed fact of the request field `name`, under `name[i].key`, `name[i].value` and so on; under
/// `name` itself that there are more than [`FACTS_MAX`] or more than [`FACTS_BYTES_MAX`].
///
/// Safeguarding never travels as a fact: it has a circle of its own. What the system computes is not taken from
/// anybody, and a referral carries nothing that the discharge form must not carry.
pub fn check_all(checks: &mut Checks, name: &str, facts: &[Fact], carrier: Carrier, given: &Given<'_>) {
    checks.require(facts.len() <= FACTS_MAX, name, Violation::TOO_MANY);
    let bytes: usize = facts.iter().take(FACTS_MAX).map(bytes).sum();
    checks.require(bytes <= FACTS_BYTES_MAX, name, Violation::TOO_LARGE);
    let mut seen = BTreeSet::new();
    for (i, fact) in facts.iter().enumerate().take(FACTS_MAX) {
        let path = |part: &str| format!("{name}[{i}].{part}");
        let group = fact.told_by.is_empty() || ReaderGroup::parse(&fact.told_by).is_some();
        checks.require(group, path("told_by"), Violation::UNKNOWN_CODE);
        let asserted = days::from_proto(&path("asserted_on"), fact.asserted_on.as_ref());
        if let Some(Some(day)) = checks.take(asserted) {
            checks.require(day <= given.today(), path("asserted_on"), Violation::OUT_OF_RANGE);
        }
        let Some(field) = dictionary::field(&fact.key) else {
            let why = if fact.key.is_empty() { Violation::MISSING } else { Violation::UNKNOWN_KEY };
            checks.require(false, path("key"), why);
            continue;
        };
        checks.require(seen.insert(fact.key.as_str()), path("key"), Violation::DUPLICATE);
        checks.require(may_travel(field, carrier), path("key"), Violation::NOT_ALLOWED);
        if let Err(why) = check_value(field, fact.value.as_ref(), given.today()) {
            checks.require_of(false, path("value"), why, || match field.kind {
                Kind::Code(table) | Kind::Codes(table) if why == Violation::UNKNOWN_CODE => {
                    codes::place(&[table])
                }
                _ => String::new(),
            });
        }
    }
}

/// Bytes of what a fact holds of any length; dates and numbers are not counted.
fn bytes(fact: &Fact) -> usize {
    let all = |texts: &[String]| texts.iter().map(String::len).sum();
    fact.key.len()
        + fact.told_by.len()
        + match &fact.value {
            Some(Value::Text(text) | Value::Code(text)) => text.len(),
            Some(Value::Codes(list)) => all(&list.codes),
            Some(Value::Texts(list)) => all(&list.texts),
            Some(Value::Document(document)) => document.document_id.len() + document.title.len(),
            Some(Value::Date(_) | Value::Flag(_) | Value::Number(_)) | None => 0,
        }
}

fn may_travel(field: &Field, carrier: Carrier) -> bool {
    if field.computed || field.class == DataClass::Sealed {
        return false;
    }
    match carrier {
        Carrier::OwnRecord => true,
        Carrier::Referral { anonymous } => {
            field.requirement(Context::Discharge) != Requirement::MustNot
                && !(anonymous && field.class == DataClass::Identity)
        }
    }
}

fn check_value(field: &Field, value: Option<&Value>, today: Date) -> Result<(), &'static str> {
    let iso;
    let value = match value.ok_or(Violation::MISSING)? {
        Value::Text(text) => ValueRef::Text(text),
        Value::Date(day) => {
            let day = read(day)?;
            // The one date that cannot lie ahead; every other may be planned.
            if field.key == "birth_date" && day > today {
                return Err(Violation::OUT_OF_RANGE);
            }
            iso = day.to_string();
            ValueRef::Date(&iso)
        }
        Value::Flag(flag) => ValueRef::Bool(*flag),
        Value::Number(number) => ValueRef::Int(*number),
        Value::Code(code) => ValueRef::Code(code),
        Value::Codes(list) => ValueRef::Codes(&list.codes),
        Value::Texts(list) => ValueRef::TextList(&list.texts),
        Value::Document(document) => {
            let last = document.valid_until.as_ref().map(read).transpose()?;
            iso = last.map(|day| day.to_string()).unwrap_or_default();
            let valid_until = last.map(|_| iso.as_str());
            ValueRef::Document { id: &document.document_id, title: &document.title, valid_until }
        }
    };
    check::check(&field.key, value).map_err(|error| why(error.reason))
}

fn read(day: &common::Date) -> Result<Date, &'static str> {
    days::required("", Some(day)).map_err(|_| Violation::BAD_DATE)
}

fn why(reason: FieldReason) -> &'static str {
    match reason {
        FieldReason::UnknownKey => Violation::UNKNOWN_KEY,
        FieldReason::WrongKind => Violation::WRONG_KIND,
        FieldReason::Empty => Violation::MISSING,
        FieldReason::TooLong => Violation::TOO_LONG,
        FieldReason::TooMany => Violation::TOO_MANY,
        FieldReason::ControlCharacter => Violation::CONTROL_CHARACTER,
        FieldReason::UnknownCode => Violation::UNKNOWN_CODE,
        FieldReason::RepeatedCode => Violation::DUPLICATE,
        FieldReason::BadDate => Violation::BAD_DATE,
        FieldReason::OutOfRange => Violation::OUT_OF_RANGE,
        FieldReason::IdeographicSpace => Violation::IDEOGRAPHIC_SPACE,
        FieldReason::NotKatakana => Violation::NOT_KATAKANA,
        FieldReason::BadMunicipality => Violation::BAD_MUNICIPALITY,
        FieldReason::Link => Violation::LINK_NOT_ALLOWED,
    }
}

/// Whether one of the keys is given.
pub fn has(facts: &[Fact], keys: &[&str]) -> bool {
    facts.iter().any(|fact| keys.contains(&fact.key.as_str()))
}

/// The date of birth, where it is given.
pub fn birth_date(facts: &[Fact]) -> Option<Date> {
    facts.iter().find(|fact| fact.key == "birth_date").and_then(|fact| match fact.value.as_ref()? {
        Value::Date(day) => read(day).ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tasuki_contract::common::v1::{CodeList, DocumentRef, TextList};

    use super::*;
    use crate::decision::Decision;
    use crate::refusal::Refusal;
    use crate::testing::{HOSPITAL, World, date, fields};

    fn fact(key: &str, value: Value) -> Fact {
        Fact { key: key.to_owned(), value: Some(value), ..Fact::default() }
    }

    fn document(valid_until: Option<common::Date>) -> Value {
        Value::Document(DocumentRef { document_id: "例-1".to_owned(), title: "例".to_owned(), valid_until })
    }

    fn found(facts: Vec<Fact>, carrier: Carrier) -> Vec<(String, &'static str)> {
        let mut result = Vec::new();
        let refused = World::new().run(HOSPITAL, |given| -> Result<Decision<()>, Refusal> {
            let mut checks = Checks::default();
            check_all(&mut checks, "facts", &facts, carrier, given);
            checks.require(false, "end", Violation::MISSING);
            Err(checks.done().unwrap_err())
        });
        result.extend(fields(refused));
        assert_eq!(result.pop(), Some(("end".to_owned(), Violation::MISSING)));
        result
    }

    #[test]
    fn every_malformed_fact_is_named_with_its_place() {
        let mut twice = fact("allergies", Value::Texts(TextList { texts: vec!["例".to_owned()] }));
        twice.told_by = "NOBODY".to_owned();
        twice.asserted_on = date(2024, 4, 11);
        let facts = vec![
            fact("allergies", Value::Texts(TextList { texts: vec!["例".to_owned()] })),
            fact("no_such_key", Value::Flag(true)),
            fact("birth_date", Value::Text("2021-11-05".to_owned())),
            fact("care_procedures", Value::Codes(CodeList { codes: vec!["wishing".to_owned()] })),
            Fact { key: "sex".to_owned(), ..Fact::default() },
            twice,
            fact("doctor_instruction", document(date(2025, 4, 10))),
            fact("birth_date", Value::Date(date(2024, 4, 11).unwrap())),
            fact("care_manual", document(date(2025, 2, 29))),
        ];
        let expected = [
            ("facts[1].key", "UNKNOWN_KEY"),
            ("facts[2].value", "WRONG_KIND"),
            ("facts[3].value", "UNKNOWN_CODE"),
            ("facts[4].value", "MISSING"),
            ("facts[5].told_by", "UNKNOWN_CODE"),
            ("facts[5].asserted_on", "OUT_OF_RANGE"),
            ("facts[5].key", "DUPLICATE"),
            ("facts[7].key", "DUPLICATE"),
            ("facts[7].value", "OUT_OF_RANGE"),
            ("facts[8].value", "BAD_DATE"),
        ];
        let expected: Vec<_> = expected.iter().map(|(path, why)| ((*path).to_owned(), *why)).collect();
        assert_eq!(found(facts, Carrier::OwnRecord), expected);
    }

    #[test]
    fn safeguarding_and_what_the_system_computes_are_no_facts_to_give() {
        let text = || Value::Text("例".to_owned());
        let why = |key: &str, carrier| found(vec![fact(key, text())], carrier).first().map(|f| f.1);
        assert_eq!(why("safeguarding_concern", Carrier::OwnRecord), Some("NOT_ALLOWED"));
        assert_eq!(why("next_transition", Carrier::OwnRecord), Some("NOT_ALLOWED"));
        assert_eq!(why("nationality", Carrier::OwnRecord), None);
        let referral = Carrier::Referral { anonymous: false };
        assert_eq!(why("nationality", referral), Some("NOT_ALLOWED"));
        assert_eq!(why("address_text", referral), None);
        assert_eq!(why("address_text", Carrier::Referral { anonymous: true }), Some("NOT_ALLOWED"));
    }

    #[test]
    fn facts_that_are_too_large_together_are_refused_once() {
        let lines = |count: usize| Value::Texts(TextList { texts: vec!["例".repeat(1_000); count] });
        let fits = vec![fact("allergies", lines(10)), fact("medications", lines(10))];
        assert_eq!(found(fits, Carrier::OwnRecord), []);
        let together = vec![fact("allergies", lines(11)), fact("medications", lines(11))];
        assert_eq!(found(together, Carrier::OwnRecord), [("facts".to_owned(), "TOO_LARGE")]);
    }

    #[test]
    fn more_facts_than_a_request_may_hold_are_refused_once() {
        let facts = vec![fact("address_text", Value::Text("例".to_owned())); FACTS_MAX + 1];
        let found = found(facts, Carrier::OwnRecord);
        assert_eq!(found[0], ("facts".to_owned(), "TOO_MANY"));
        assert_eq!(found.len(), FACTS_MAX);
    }
}
