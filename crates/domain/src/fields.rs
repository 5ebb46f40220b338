//! Reading the fields of a request: every malformed one is noted under its path, then the request is refused once.
//!
//! Limits that the contract states stand where the field is read; the ones here are for fields without a limit of
//! their own. Nothing here repeats a value.

use jiff::civil::Date;
use tasuki_contract::common::v1 as common;
use uuid::Uuid;

use crate::codes::{self, Table};
use crate::refusal::{Checks, Violation};
use crate::{days, municipality};

/// Characters of a message, a story, a note.
pub const TEXT_CHARS_MAX: usize = 4_000;
/// Characters of a label.
pub const LABEL_CHARS_MAX: usize = 120;
/// Characters of a telephone number with its extension.
pub const TELEPHONE_CHARS_MAX: usize = 60;

/// Notes a text that is longer than `chars_max`.
pub fn at_most(checks: &mut Checks, field: &str, text: &str, chars_max: usize) {
    checks.require(text.chars().nth(chars_max).is_none(), field, Violation::TOO_LONG);
}

/// Notes a text that is empty or longer than `chars_max`.
pub fn text(checks: &mut Checks, field: &str, text: &str, chars_max: usize) {
    checks.require(!text.trim().is_empty(), field, Violation::MISSING);
    at_most(checks, field, text, chars_max);
}

/// Notes an id that is missing or no UUID.
pub fn id(checks: &mut Checks, field: &str, text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok();
    let why = if text.is_empty() { Violation::MISSING } else { Violation::NOT_A_UUID };
    checks.require(id.is_some(), field, why);
    id
}

/// As [`id`], where an empty text is allowed.
pub fn optional_id(checks: &mut Checks, field: &str, text: &str) -> Option<Uuid> {
    if text.is_empty() { None } else { id(checks, field, text) }
}

/// Notes a list with more than `max` ids, each that is missing or no UUID, and each that stands in it before; what is
/// left, with its place: `name[i]`.
pub fn ids(checks: &mut Checks, name: &str, texts: &[String], max: usize) -> Vec<(usize, Uuid)> {
    checks.require(texts.len() <= max, name, Violation::TOO_MANY);
    let mut all: Vec<(usize, Uuid)> = Vec::new();
    for (i, text) in texts.iter().take(max).enumerate() {
        let path = format!("{name}[{i}]");
        let Some(id) = id(checks, &path, text) else { continue };
        let fresh = all.iter().all(|(_, other)| *other != id);
        checks.require(fresh, path, Violation::DUPLICATE);
        if fresh {
            all.push((i, id));
        }
    }
    all
}

/// Notes an enum that is unset or a number outside its list.
pub fn chosen<E: TryFrom<i32> + PartialEq + Default>(
    checks: &mut Checks,
    field: &str,
    number: i32,
) -> Option<E> {
    let value = E::try_from(number).ok();
    checks.require(value.is_some(), field, Violation::UNKNOWN_CODE);
    let value = value?;
    let set = value != E::default();
    checks.require(set, field, Violation::MISSING);
    set.then_some(value)
}

/// Notes a municipality's code that is missing, or whose check digit is not its own.
pub fn municipality(checks: &mut Checks, field: &str, code: &str) {
    one_of(checks, field, code, municipality::is_municipality(code), || {
        "six digits, the last one checks".to_owned()
    });
}

/// Notes a code that is missing or in none of the tables.
pub fn code(checks: &mut Checks, field: &str, tables: &[Table], text: &str) {
    let known = tables.iter().any(|table| codes::lookup(*table, text).is_some());
    one_of(checks, field, text, known, || codes::place(tables));
}

/// Notes a code that is missing or not in the closed list.
pub fn listed(checks: &mut Checks, field: &str, list: &[&str], text: &str) {
    one_of(checks, field, text, list.contains(&text), || list.join(", "));
}

fn one_of(checks: &mut Checks, field: &str, text: &str, known: bool, see: impl FnOnce() -> String) {
    let why = if text.is_empty() { Violation::MISSING } else { Violation::UNKNOWN_CODE };
    checks.require_of(known, field, why, see);
}

/// Notes a day that is missing or none.
pub fn day(checks: &mut Checks, field: &str, day: Option<&common::Date>) -> Option<Date> {
    checks.take(days::required(field, day))
}

/// Notes a list with more than `max` entries and every entry that stands in it before: `name[i]`.
pub fn no_repeats<T: PartialEq>(checks: &mut Checks, name: &str, list: &[T], max: usize) {
    checks.require(list.len() <= max, name, Violation::TOO_MANY);
    for (i, entry) in list.iter().enumerate().take(max) {
        checks.require(!list[..i].contains(entry), format!("{name}[{i}]"), Violation::DUPLICATE);
    }
}
