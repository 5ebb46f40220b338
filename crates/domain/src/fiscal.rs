//! The Japanese fiscal year (年度): 1 April to 31 March, and how it is written.
//!
//! Never reads a clock. Labels follow the era of the year; both spellings of fiscal 2019 are read.

use jiff::civil::{Date, date};

use crate::era::{self, Era};

/// The fiscal year in which a day falls.
pub fn fiscal_year(day: Date) -> i16 {
    if day.month() >= 4 { day.year() } else { day.year() - 1 }
}

/// First and last day of a fiscal year.
///
/// `None` outside the years 1 to 9998.
pub fn range(fiscal_year: i16) -> Option<(Date, Date)> {
    (1..9999).contains(&fiscal_year).then(|| (date(fiscal_year, 4, 1), date(fiscal_year + 1, 3, 31)))
}

/// The label as printed, such as 令和6年度; fiscal 2019 is 令和元年度. `None` before fiscal 1926.
pub fn label(fiscal_year: i16) -> Option<String> {
    range(fiscal_year)?;
    // A year in which an era begins is written with the new one, also before its first day.
    let era = Era::NEWEST_FIRST.into_iter().find(|era| era.first_year() <= fiscal_year)?;
    match fiscal_year - era.first_year() + 1 {
        1 => Some(format!("{}元年度", era.kanji())),
        year => Some(format!("{}{year}年度", era.kanji())),
    }
}

/// Reads 令和6年度, 平成31年度, 令和元年度, R6年度 or 2024年度, with full-width digits too. `None` for anything else.
pub fn parse(text: &str) -> Option<i16> {
    let text = era::plain(text);
    let body = text.strip_suffix("年度")?;
    if body.len() == 4 && body.bytes().all(|b| b.is_ascii_digit()) {
        return body.parse().ok().filter(|year| range(*year).is_some());
    }
    let (era, rest) = Era::strip(body)?;
    let year = era::year_number(rest)?;
    // 平成31年度 and 昭和64年度 do not exist as whole years, yet the first is what papers of 2019 say.
    let last = match era {
        Era::Reiwa => i16::MAX,
        Era::Heisei => 31,
        Era::Showa => 63,
    };
    (year <= last)
        .then(|| era.first_year().checked_add(year - 1))
        .flatten()
        .filter(|year| range(*year).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_year_turns_on_the_first_of_april() {
        assert_eq!(fiscal_year(date(2025, 3, 31)), 2024);
        assert_eq!(fiscal_year(date(2025, 4, 1)), 2025);
        assert_eq!(range(2024), Some((date(2024, 4, 1), date(2025, 3, 31))));
    }

    #[test]
    fn both_spellings_of_fiscal_2019_are_read() {
        for text in ["平成31年度", "令和元年度", "令和１年度", "R1年度", "2019年度", "Ｈ３１年度"]
        {
            assert_eq!(parse(text), Some(2019), "{text}");
        }
        assert_eq!(label(2019).as_deref(), Some("令和元年度"));
        assert_eq!(parse("令和6年度"), Some(2024));
        assert_eq!(label(2024).as_deref(), Some("令和6年度"));
        assert_eq!(label(1989).as_deref(), Some("平成元年度"));
        assert_eq!(label(1988).as_deref(), Some("昭和63年度"));
    }

    #[test]
    fn what_is_no_fiscal_year_is_refused() {
        for text in ["令和6年", "平成32年度", "令和0年度", "年度", "20240年度", "大正3年度", "令和99999年度"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_label_reads_back(year in 1926i16..2300) {
            prop_assert_eq!(label(year).as_deref().and_then(parse), Some(year));
        }

        #[test]
        fn every_day_lies_in_the_range_of_its_year(year in 1927i16..2300, offset in 0i32..366) {
            let day = date(year, 1, 1).checked_add(jiff::ToSpan::days(i64::from(offset))).expect("in range");
            let (first, last) = range(fiscal_year(day)).expect("in range");
            prop_assert!(first <= day && day <= last);
        }
    }
}
