//! Dates in Japanese eras: reading what people type and writing what they expect to see.
//!
//! Never stored: facts keep ISO dates, eras are for input and display. Knows Showa, Heisei and Reiwa, which cover
//! every child, guardian and document of this field.

use jiff::civil::{Date, date};
use unicode_normalization::UnicodeNormalization;

/// An era.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 昭和, from 1926-12-25.
    Showa,
    /// 平成, from 1989-01-08.
    Heisei,
    /// 令和, from 2019-05-01.
    Reiwa,
}

impl Era {
    pub(crate) const NEWEST_FIRST: [Era; 3] = [Era::Reiwa, Era::Heisei, Era::Showa];

    /// First day of the era.
    pub const fn first_day(self) -> Date {
        match self {
            Era::Showa => date(1926, 12, 25),
            Era::Heisei => date(1989, 1, 8),
            Era::Reiwa => date(2019, 5, 1),
        }
    }

    /// The calendar year that is year 1 of the era.
    pub fn first_year(self) -> i16 {
        self.first_day().year()
    }

    /// The name in kanji.
    pub const fn kanji(self) -> &'static str {
        match self {
            Era::Showa => "昭和",
            Era::Heisei => "平成",
            Era::Reiwa => "令和",
        }
    }

    const fn letter(self) -> char {
        match self {
            Era::Showa => 'S',
            Era::Heisei => 'H',
            Era::Reiwa => 'R',
        }
    }

    /// Takes an era's name, its first kanji or its letter off the front of plain text.
    pub(crate) fn strip(text: &str) -> Option<(Era, &str)> {
        let short = |era: Era| era.kanji().chars().next();
        Era::NEWEST_FIRST.into_iter().find_map(|era| {
            let rest = text.strip_prefix(era.kanji());
            let rest = rest.or_else(|| text.strip_prefix(short(era)?));
            let rest = rest.or_else(|| text.strip_prefix(era.letter()));
            let rest = rest.or_else(|| text.strip_prefix(era.letter().to_ascii_lowercase()));
            rest.map(|rest| (era, rest))
        })
    }
}

/// A date that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EraDate {
    /// The day.
    pub day: Date,
    /// The text names a day after the era's end, such as 平成31年5月1日. The day is meant; say so to the writer.
    pub past_era_end: bool,
}

/// Why a text is no date of an era.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EraError {
    /// Not of the form era, year, month, day.
    #[error("not a date of an era")]
    Form,
    /// No such day in the calendar or in the era.
    #[error("no such day in the era")]
    NoSuchDay,
}

/// The era of a day and the year in it. `None` before Showa.
pub fn era_of(day: Date) -> Option<(Era, i16)> {
    let era = Era::NEWEST_FIRST.into_iter().find(|era| era.first_day() <= day)?;
    Some((era, day.year() - era.first_year() + 1))
}

/// The day as written in full, such as 令和6年4月1日; year 1 is 元年. `None` before Showa.
pub fn format(day: Date) -> Option<String> {
    let (era, year) = era_of(day)?;
    let year = if year == 1 { "元".to_owned() } else { year.to_string() };
    Some(format!("{}{year}年{}月{}日", era.kanji(), day.month(), day.day()))
}

/// The short form, such as R6.4.1. `None` before Showa.
pub fn format_short(day: Date) -> Option<String> {
    let (era, year) = era_of(day)?;
    Some(format!("{}{year}.{}.{}", era.letter(), day.month(), day.day()))
}

/// Reads 令和6年4月1日, R6.4.1, 令6・4・1 and the like, with full-width digits and spaces.
///
/// A day past an era's end is read when its year is the last that the era had, since papers printed ahead say so.
/// Errors: [`EraError`]; the text is not repeated.
pub fn parse(text: &str) -> Result<EraDate, EraError> {
    let text = plain(text);
    let (era, rest) = Era::strip(&text).ok_or(EraError::Form)?;
    let rest = rest.strip_suffix('日').unwrap_or(rest);
    let mut parts = rest.split(['年', '月', '.', '・', '/', '-']);
    let (Some(year), Some(month), Some(day), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(EraError::Form);
    };
    let year = year_number(year).ok_or(EraError::Form)?;
    let (month, day) = (number(month).ok_or(EraError::Form)?, number(day).ok_or(EraError::Form)?);
    let year = era.first_year().checked_add(year - 1).ok_or(EraError::NoSuchDay)?;
    let small = |n: i16| i8::try_from(n).map_err(|_| EraError::NoSuchDay);
    let day = Date::new(year, small(month)?, small(day)?).map_err(|_| EraError::NoSuchDay)?;
    if day < era.first_day() {
        return Err(EraError::NoSuchDay);
    }
    let next = match era {
        Era::Showa => Some(Era::Heisei),
        Era::Heisei => Some(Era::Reiwa),
        Era::Reiwa => None,
    };
    match next.map(Era::first_day) {
        Some(end) if day.year() > end.year() => Err(EraError::NoSuchDay),
        Some(end) => Ok(EraDate { day, past_era_end: day >= end }),
        None => Ok(EraDate { day, past_era_end: false }),
    }
}

/// Full-width letters and digits made plain, spaces dropped.
pub(crate) fn plain(text: &str) -> String {
    text.nfkc().filter(|c| !c.is_whitespace()).collect()
}

/// A year of an era: 元 or a number from 1.
pub(crate) fn year_number(text: &str) -> Option<i16> {
    if text == "元" { Some(1) } else { number(text).filter(|year| *year >= 1) }
}

fn number(text: &str) -> Option<i16> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use jiff::civil::Weekday;
    use proptest::prelude::*;

    #[test]
    fn dates_of_the_dictionary_fall_on_their_days_and_weekdays() {
        for (text, day, weekday) in [
            ("令和4年12月21日", date(2022, 12, 21), Weekday::Wednesday),
            ("令和8年2月9日", date(2026, 2, 9), Weekday::Monday),
            ("令和7年6月24日", date(2025, 6, 24), Weekday::Tuesday),
            ("昭和63年6月8日", date(1988, 6, 8), Weekday::Wednesday),
        ] {
            assert_eq!(parse(text).unwrap(), EraDate { day, past_era_end: false }, "{text}");
            assert_eq!(day.weekday(), weekday, "{text}");
        }
    }

    #[test]
    fn the_ways_of_writing_a_day_are_read_alike() {
        for text in [
            "令和6年4月1日",
            "R6.4.1",
            "令6・4・1",
            "Ｒ６．４．１",
            "令和６年 ４月 １日",
            "r6/4/1",
            "㋿6年4月1日",
        ] {
            assert_eq!(parse(text).unwrap().day, date(2024, 4, 1), "{text}");
        }
    }

    #[test]
    fn a_day_past_the_end_of_its_era_is_read_with_a_warning_in_the_last_year_only() {
        let read = parse("平成31年5月1日").unwrap();
        assert_eq!(read, EraDate { day: date(2019, 5, 1), past_era_end: true });
        assert!(!parse("平成31年4月30日").unwrap().past_era_end);
        assert_eq!(parse("平成32年4月1日"), Err(EraError::NoSuchDay));
    }

    #[test]
    fn eras_begin_on_their_first_day() {
        assert_eq!(format(date(2019, 5, 1)).unwrap(), "令和元年5月1日");
        assert_eq!(format(date(2019, 4, 30)).unwrap(), "平成31年4月30日");
        assert_eq!(format(date(1989, 1, 8)).unwrap(), "平成元年1月8日");
        assert_eq!(format(date(1989, 1, 7)).unwrap(), "昭和64年1月7日");
        assert_eq!(format_short(date(2024, 4, 1)).unwrap(), "R6.4.1");
        assert_eq!(format(date(1926, 12, 24)), None);
        for text in
            ["令和元年4月30日", "平成元年1月7日", "令和6年2月30日", "令和6年13月1日", "令和9999年1月1日"]
        {
            assert_eq!(parse(text), Err(EraError::NoSuchDay), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in
            ["", "令和", "6年4月1日", "令和0年1月1日", "令和6年4月", "R6.4.1.2", "R-6.4.1", "2024-04-01"]
        {
            assert_eq!(parse(text), Err(EraError::Form), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_day_reads_back_from_both_forms(offset in 0i64..100_000) {
            let day = date(1926, 12, 25).checked_add(jiff::ToSpan::days(offset)).unwrap();
            for text in [format(day).unwrap(), format_short(day).unwrap()] {
                prop_assert_eq!(parse(&text), Ok(EraDate { day, past_era_end: false }));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
