//! Public holidays of Japan, as a table.
//!
//! Never computed: the equinoxes are fixed each February for the year after, and single laws have moved other days.
//! Data: `data/holidays.json`, compiled in with its version; the reader is the agency calendar.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::civil::Date;
use serde::Deserialize;

use crate::codes::Lang;

/// A public holiday.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holiday {
    /// The day.
    pub date: Date,
    /// Japanese name.
    pub ja: String,
    /// English name.
    pub en: String,
}

impl Holiday {
    /// The name in that language.
    pub fn label(&self, lang: Lang) -> &str {
        match lang {
            Lang::Ja => &self.ja,
            Lang::En => &self.en,
        }
    }
}

#[derive(Deserialize)]
struct File {
    version: String,
    from_year: i16,
    to_year: i16,
    holidays: Vec<Holiday>,
}

struct Holidays {
    version: String,
    years: std::ops::RangeInclusive<i16>,
    by_date: BTreeMap<Date, Holiday>,
}

static HOLIDAYS: LazyLock<Holidays> = LazyLock::new(|| {
    let file: File =
        serde_json::from_str(include_str!("../data/holidays.json")).expect("invariant: holidays.json parses");
    let by_date = file.holidays.into_iter().map(|holiday| (holiday.date, holiday)).collect();
    Holidays { version: file.version, years: file.from_year..=file.to_year, by_date }
});

/// The holiday on that day, if it is one. `None` too for a year that the table does not cover.
pub fn holiday(day: Date) -> Option<&'static Holiday> {
    HOLIDAYS.by_date.get(&day)
}

/// Whether the table knows the year of that day.
pub fn covers(day: Date) -> bool {
    HOLIDAYS.years.contains(&day.year())
}

/// Version of the table, stored with whatever was computed from it.
pub fn version() -> &'static str {
    &HOLIDAYS.version
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jiff::civil::{Weekday, date};

    fn days() -> impl Iterator<Item = Date> {
        HOLIDAYS.by_date.keys().copied()
    }

    #[test]
    fn the_table_covers_its_years_and_holds_fiscal_2024_as_published() {
        assert!(covers(date(2021, 1, 1)) && covers(date(2027, 12, 31)));
        assert!(!covers(date(2020, 12, 31)) && !covers(date(2028, 1, 1)));
        assert!(version().starts_with("jp-national-"));
        let published: Vec<Date> = [
            "2024-04-29",
            "2024-05-03",
            "2024-05-04",
            "2024-05-05",
            "2024-05-06",
            "2024-07-15",
            "2024-08-11",
            "2024-08-12",
            "2024-09-16",
            "2024-09-22",
            "2024-09-23",
            "2024-10-14",
            "2024-11-03",
            "2024-11-04",
            "2024-11-23",
            "2025-01-01",
            "2025-01-13",
            "2025-02-11",
            "2025-02-23",
            "2025-02-24",
            "2025-03-20",
        ]
        .map(|text| text.parse().unwrap())
        .to_vec();
        let held: Vec<Date> = days().filter(|d| crate::fiscal::fiscal_year(*d) == 2024).collect();
        assert_eq!(held, published);
    }

    #[test]
    fn a_holiday_on_a_sunday_is_followed_by_a_substitute() {
        for day in days().filter(|d| d.weekday() == Weekday::Sunday) {
            let mut next = day.tomorrow().unwrap();
            while holiday(next).is_some_and(|h| h.en != "Substitute holiday") {
                next = next.tomorrow().unwrap();
            }
            assert!(holiday(next).is_some(), "{day} has no substitute");
        }
        let sundays = days().filter(|d| d.weekday() == Weekday::Sunday).count();
        let substitutes = HOLIDAYS.by_date.values().filter(|h| h.en == "Substitute holiday").count();
        assert_eq!(sundays, substitutes);
    }

    #[test]
    fn a_day_between_two_holidays_is_one_itself() {
        for day in days() {
            let between = day.tomorrow().unwrap();
            let enclosed = holiday(between.tomorrow().unwrap()).is_some();
            assert!(
                !enclosed || holiday(between).is_some() || between.weekday() == Weekday::Sunday,
                "{between}"
            );
        }
        assert_eq!(holiday(date(2026, 9, 22)).unwrap().label(Lang::En), "Citizens’ holiday");
    }

    #[test]
    fn each_year_has_its_sixteen_holidays_once() {
        for year in 2021..=2027 {
            let extra = ["Substitute holiday", "Citizens’ holiday"];
            let names: Vec<_> =
                HOLIDAYS.by_date.values().filter(|h| h.date.year() == year).map(|h| &h.en).collect();
            let mut own: Vec<_> = names.into_iter().filter(|name| !extra.contains(&name.as_str())).collect();
            own.sort();
            own.dedup();
            assert_eq!(own.len(), 16, "{year}");
        }
    }
}
