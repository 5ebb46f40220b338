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

/// Notes a text that is longer than `chars_max`, or that holds a character with which it shows as another one.
pub fn at_most(checks: &mut Checks, field: &str, text: &str, chars_max: usize) {
    let fits = text.chars().nth(chars_max).is_none();
    checks.require(fits, field, Violation::TOO_LONG);
    checks.require(!fits || crate::check::is_clean(text), field, Violation::CONTROL_CHARACTER);
}

/// Notes a text that is no telephone number: digits, `+`, `-`, `(`, `)` and spaces, with an extension after `ext.`, `x`
/// or `内線`. An empty one is allowed.
pub fn telephone(checks: &mut Checks, field: &str, text: &str) {
    let fits = text.chars().nth(TELEPHONE_CHARS_MAX).is_none();
    checks.require(fits, field, Violation::TOO_LONG);
    checks.require(!fits || text.trim().is_empty() || is_telephone(text), field, Violation::BAD_TELEPHONE);
}

fn is_telephone(text: &str) -> bool {
    let dialled = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '(' | ')' | ' ');
    let (number, extension) = text.split_at(text.find(|c| !dialled(c)).unwrap_or(text.len()));
    let marks = ["ext.", "ext", "x", "内線"];
    let inner = marks.iter().find_map(|mark| extension.strip_prefix(mark)).unwrap_or(extension);
    let extended =
        !inner.is_empty() && inner.chars().all(dialled) && inner.contains(|c: char| c.is_ascii_digit());
    number.contains(|c: char| c.is_ascii_digit()) && (extension.is_empty() || extended)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_holds_nothing_that_shows_it_as_another_one() {
        let why = |text: &str| {
            let mut checks = Checks::default();
            super::text(&mut checks, "note", text, 10);
            checks.done()
        };
        for c in ['\0', '\u{1b}', '\u{9b}', '\u{85}', '\r', '\u{202e}', '\u{202a}', '\u{2066}', '\u{2069}'] {
            let refused = crate::refusal::Refusal::invalid("note", Violation::CONTROL_CHARACTER);
            assert_eq!(why(&format!("甲{c}乙")), Err(refused), "{c:?}");
        }
        assert_eq!(why("甲\r\n乙\n\t丙"), Ok(()));
    }

    #[test]
    fn a_telephone_number_is_one_that_can_be_dialled() {
        let is = |text: &str| {
            let mut checks = Checks::default();
            telephone(&mut checks, "telephone", text);
            checks.done().is_ok()
        };
        for good in
            ["", "00-0000-0000", "+81 (0)00-0000-0000", "00-0000-0000 内線12", "00-0000-0000 (内線 12)"]
        {
            assert!(is(good), "{good}");
        }
        assert!(is("00-0000-0000 ext. 12") && is("00-0000-0000x12"));
        for bad in
            ["none", "内線12", "00-0000-0000 内線", "00-0000\u{202e}-0000", "00-0000\n0000", "00 x12 x13"]
        {
            assert!(!is(bad), "{bad:?}");
        }
        assert!(!is(&"0".repeat(TELEPHONE_CHARS_MAX + 1)));
    }
}
