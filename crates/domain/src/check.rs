//! Is a value fit for its key? The one place where values of facts are checked, whatever wire they came by.
//!
//! Never keeps, changes or repeats a value: an error has the key and a reason, nothing else.
//! Rules come from the field dictionary; callers are the services that take facts.

use jiff::civil::Date;

use crate::codes::{self, Table};
use crate::dictionary::{self, Field, Kind, Rule};
use crate::names::named_enum;
use crate::{kana, municipality};

/// Characters of one text, and of a document's title.
pub const TEXT_CHARS_MAX: usize = 4_000;
/// Characters of a name.
pub const NAME_CHARS_MAX: usize = 100;
/// Lines of a list, and codes of a set.
pub const ITEMS_MAX: usize = 100;
/// Characters of a document's id.
pub const DOCUMENT_ID_CHARS_MAX: usize = 200;

/// A value as its caller holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueRef<'a> {
    /// Free text.
    Text(&'a str),
    /// ISO date `2024-07-19`, or `2024-07` where a month will do.
    Date(&'a str),
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// One code.
    Code(&'a str),
    /// A set of codes.
    Codes(&'a [String]),
    /// Lines of text.
    TextList(&'a [String]),
    /// A document kept elsewhere, or an attachment of the case.
    Document {
        /// Opaque id: never a link.
        id: &'a str,
        /// Title for people.
        title: &'a str,
        /// Last day on which it is valid, as an ISO date.
        valid_until: Option<&'a str>,
    },
}

named_enum! {
    /// Why a value is refused. The names are stable.
    pub enum FieldReason {
        /// The dictionary has no such key.
        UnknownKey = "unknown_key",
        /// Another kind of value than the key's.
        WrongKind = "wrong_kind",
        /// Nothing but space.
        Empty = "empty",
        /// More characters than allowed.
        TooLong = "too_long",
        /// More items than allowed.
        TooMany = "too_many",
        /// A control character other than a line break or tab, or any in a name; one that turns the reading direction.
        ControlCharacter = "control_character",
        /// A code that the key's table does not hold.
        UnknownCode = "unknown_code",
        /// A code twice in a set.
        RepeatedCode = "repeated_code",
        /// No ISO date of the years 1900 to 2199.
        BadDate = "bad_date",
        /// A number outside the key's range.
        OutOfRange = "out_of_range",
        /// An ideographic space in a name.
        IdeographicSpace = "ideographic_space",
        /// A reading that is not in full-width katakana.
        NotKatakana = "not_katakana",
        /// No municipality's code, or a wrong check digit.
        BadMunicipality = "bad_municipality",
        /// A link where a document is named.
        Link = "link",
    }
}

/// A refused value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct FieldError {
    /// The key; empty if what was given does not even look like one, since it may be anything.
    pub key: String,
    /// Why.
    pub reason: FieldReason,
}

/// Whether a value fits the key.
///
/// Errors: [`FieldError`] with the first reason found.
pub fn check(key: &str, value: ValueRef<'_>) -> Result<(), FieldError> {
    let Some(field) = dictionary::field(key) else {
        let snake = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        let looks_like_a_key = key.len() <= 64 && key.bytes().all(snake);
        let key = if looks_like_a_key { key.to_owned() } else { String::new() };
        return Err(FieldError { key, reason: FieldReason::UnknownKey });
    };
    check_field(field, value).map_err(|reason| FieldError { key: field.key.clone(), reason })
}

/// The first day that a date value can mean: the day itself, or the first of its month. `None` if it is no date.
pub fn first_day(text: &str) -> Option<Date> {
    if is_iso_shape(text, &[4, 2]) { parse_day(&format!("{text}-01")) } else { parse_day(text) }
}

fn check_field(field: &Field, value: ValueRef<'_>) -> Result<(), FieldReason> {
    match (field.kind, value) {
        (Kind::Text, ValueRef::Text(text)) => check_text(field.rule, text),
        (Kind::Date, ValueRef::Date(text)) => match first_day(text) {
            Some(_) if field.month_ok || text.len() == 10 => Ok(()),
            _ => Err(FieldReason::BadDate),
        },
        (Kind::Boolean, ValueRef::Bool(_)) => Ok(()),
        (Kind::Integer, ValueRef::Int(number)) => {
            let range = match field.rule {
                Some(Rule::BirthOrder) => 1..=9,
                Some(Rule::Score) => 0..=150,
                _ => 0..=1_000_000,
            };
            if range.contains(&number) { Ok(()) } else { Err(FieldReason::OutOfRange) }
        }
        (Kind::Code(table), ValueRef::Code(code)) => check_code(table, code),
        (Kind::Codes(table), ValueRef::Codes(list)) => {
            count(list)?;
            for (i, code) in list.iter().enumerate() {
                check_code(table, code)?;
                if list[..i].contains(code) {
                    return Err(FieldReason::RepeatedCode);
                }
            }
            Ok(())
        }
        (Kind::TextList, ValueRef::TextList(list)) => {
            count(list)?;
            list.iter().try_for_each(|line| check_text(None, line))
        }
        (Kind::Document, ValueRef::Document { id, title, valid_until }) => {
            check_line(id, DOCUMENT_ID_CHARS_MAX)?;
            check_line(title, TEXT_CHARS_MAX)?;
            if is_link(id) || is_link(title) {
                return Err(FieldReason::Link);
            }
            match valid_until {
                Some(day) if parse_day(day).is_none() => Err(FieldReason::BadDate),
                _ => Ok(()),
            }
        }
        _ => Err(FieldReason::WrongKind),
    }
}

fn check_text(rule: Option<Rule>, text: &str) -> Result<(), FieldReason> {
    match rule {
        Some(Rule::Municipality) if municipality::is_municipality(text) => Ok(()),
        Some(Rule::Municipality) => Err(FieldReason::BadMunicipality),
        Some(Rule::Name | Rule::Kana) => {
            if text.contains('\u{3000}') {
                return Err(FieldReason::IdeographicSpace);
            }
            check_line(text, NAME_CHARS_MAX)?;
            if rule == Some(Rule::Kana) && !kana::is_katakana_name(text) {
                return Err(FieldReason::NotKatakana);
            }
            Ok(())
        }
        _ => {
            length(text, TEXT_CHARS_MAX)?;
            if is_clean(text) { Ok(()) } else { Err(FieldReason::ControlCharacter) }
        }
    }
}

/// Whether a text has no control character but line breaks and tabs, and none that turns the direction in which the
/// text around it is read.
pub(crate) fn is_clean(text: &str) -> bool {
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let breaks = matches!(c, '\n' | '\t') || (c == '\r' && rest.peek() == Some(&'\n'));
        if (c.is_control() && !breaks) || turns_direction(c) {
            return false;
        }
    }
    true
}

/// The overrides, embeddings and isolates of bidirectional text, with which a text can show as another one.
fn turns_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a text leads somewhere, where it should name a document. What lies behind a link is read without a record,
/// stays after a withdrawal (P5) and is not erased (P8). Free text is not asked: there a link is words.
pub(crate) fn is_link(text: &str) -> bool {
    let text = text.trim().to_lowercase().replace('\u{ff1a}', ":").replace('\u{ff0f}', "/");
    text.contains("://")
        || ["www.", "//", "\\\\", "data:", "file:", "mailto:", "javascript:"]
            .iter()
            .any(|start| text.starts_with(start))
}

fn check_line(text: &str, chars_max: usize) -> Result<(), FieldReason> {
    length(text, chars_max)?;
    if text.chars().any(|c| c.is_control() || turns_direction(c)) {
        Err(FieldReason::ControlCharacter)
    } else {
        Ok(())
    }
}

fn length(text: &str, chars_max: usize) -> Result<(), FieldReason> {
    if text.trim().is_empty() {
        return Err(FieldReason::Empty);
    }
    if text.chars().nth(chars_max).is_some() { Err(FieldReason::TooLong) } else { Ok(()) }
}

/// An empty list is a value: none of these, as its source says.
fn count(list: &[String]) -> Result<(), FieldReason> {
    if list.len() > ITEMS_MAX { Err(FieldReason::TooMany) } else { Ok(()) }
}

fn check_code(table: Table, code: &str) -> Result<(), FieldReason> {
    codes::require(table, code).map(|_| ()).map_err(|_| FieldReason::UnknownCode)
}

fn is_iso_shape(text: &str, lengths: &[usize]) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits =
        |(part, length): (&&str, &usize)| part.len() == *length && part.bytes().all(|b| b.is_ascii_digit());
    parts.len() == lengths.len() && parts.iter().zip(lengths).all(digits)
}

fn parse_day(text: &str) -> Option<Date> {
    // The shape first: jiff also reads other forms, and one value should have one spelling.
    let day: Date = if is_iso_shape(text, &[4, 2, 2]) { text.parse().ok()? } else { return None };
    (1900..2200).contains(&day.year()).then_some(day)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
