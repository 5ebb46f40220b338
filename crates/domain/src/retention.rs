//! How long a case is kept, by data class: `data/retention.json`.
//!
//! Counted from the case's closure, and until a case can be closed, from the last event about the child. The years are
//! the least that the sources named there ask for; a municipality's own rules may ask for more.

use std::sync::LazyLock;

use jiff::ToSpan as _;
use jiff::civil::{Date, date};
use serde::Deserialize;
use tasuki_contract::DataClass;

use crate::days::epoch_day;

/// One class of the table.
#[derive(Clone, Debug, Deserialize)]
pub struct Retention {
    /// The class, as the contract spells it.
    pub class: String,
    /// Full years.
    pub years: i16,
    /// What is kept, for people.
    pub ja: String,
    /// The same in English.
    pub en: String,
    /// Where the years come from.
    pub source: String,
}

#[derive(Deserialize)]
struct File {
    classes: Vec<Retention>,
}

static TABLE: LazyLock<Vec<Retention>> = LazyLock::new(|| {
    let file: File = serde_json::from_str(include_str!("../data/retention.json"))
        .expect("invariant: retention.json parses");
    file.classes
});

/// The whole table.
pub fn all() -> &'static [Retention] {
    &TABLE
}

/// The first day on which what is of this class, a number of the contract, need not be kept any more.
///
/// Units: days since 1970-01-01. What is not personal is not kept for its own sake: the day itself. A personal class
/// that the table does not name is kept for as long as the longest.
pub fn ends(class: i32, from_day: i32) -> i32 {
    let Ok(class) = DataClass::try_from(class) else { return after(longest(), from_day) };
    if matches!(class, DataClass::NotPersonal | DataClass::Unspecified) {
        return from_day;
    }
    let years =
        TABLE.iter().find(|row| row.class == class.as_str_name()).map_or_else(longest, |row| row.years);
    after(years, from_day)
}

fn longest() -> i16 {
    TABLE.iter().map(|row| row.years).max().unwrap_or(i16::MAX)
}

fn after(years: i16, from_day: i32) -> i32 {
    let from = date(1970, 1, 1).checked_add(from_day.days());
    let end: Result<Date, _> = from.and_then(|day| day.checked_add(years.years()));
    // The day of the event itself counts as kept.
    end.map_or(i32::MAX, |end| epoch_day(end).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_personal_class_stands_in_the_table_once_with_labels_and_a_source() {
        for number in 1..=17 {
            let class = DataClass::try_from(number).unwrap_or_default();
            let rows = all().iter().filter(|row| row.class == class.as_str_name()).count();
            assert_eq!(rows, usize::from(class != DataClass::NotPersonal), "{class:?}");
        }
        for row in all() {
            assert!(row.years >= 5 && !row.en.is_empty() && !row.source.is_empty(), "{}", row.class);
            assert!(!row.ja.is_ascii(), "{}", row.class);
        }
    }

    #[test]
    fn years_are_counted_on_the_calendar_and_the_last_day_is_kept() {
        let day = epoch_day(date(2024, 2, 29));
        assert_eq!(ends(DataClass::Diagnosis as i32, day), epoch_day(date(2029, 3, 1)));
        assert_eq!(ends(DataClass::NotPersonal as i32, day), day);
        assert_eq!(ends(999, day), ends(DataClass::Sealed as i32, day));
    }
}
