//! Claims about agency calendars; golden counts are those of a published yearly report and its neighbours.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::fiscal;
use jiff::civil::{date, datetime};
use proptest::prelude::*;

fn spec() -> CalendarSpec {
    CalendarSpec {
        version: "desk-1".into(),
        weekdays: ["mon", "wed", "fri"].map(Into::into).to_vec(),
        open: "09:00".into(),
        close: "17:00".into(),
        holidays: HolidayRule::JpNational,
        closed_ranges: vec![ClosedRange { from: "12-29".into(), to: "01-03".into() }],
        extra_open: vec![],
        extra_closed: vec![],
        close_counts_as_open: false,
    }
}

fn desk() -> Calendar {
    Calendar::try_from(&spec()).unwrap()
}

fn year_of(calendar: &Calendar, fiscal_year: i16) -> u32 {
    let (from, to) = fiscal::range(fiscal_year).unwrap();
    calendar.open_days(from, to)
}

#[test]
fn the_open_days_of_four_fiscal_years_are_the_published_ones() {
    let counts = [2022, 2023, 2024, 2025].map(|year| year_of(&desk(), year));
    assert_eq!(counts, [147, 142, 143, 142]);
}

#[test]
fn the_months_of_fiscal_2024_add_up() {
    let mut months = Vec::new();
    for offset in 0..12 {
        let first = date(2024, 4, 1).checked_add(jiff::Span::new().months(offset)).unwrap();
        months.push(desk().open_days(first, first.last_of_month()));
    }
    assert_eq!(months, [12, 12, 12, 13, 12, 11, 12, 12, 12, 11, 11, 13]);
}

#[test]
fn other_ends_of_the_year_give_the_other_counts_of_the_dictionary() {
    for (from, to, count) in [("12-31", "01-03", 144), ("12-27", "01-05", 142), ("12-28", "01-04", 143)] {
        let mut other = spec();
        other.closed_ranges = vec![ClosedRange { from: from.into(), to: to.into() }];
        assert_eq!(year_of(&Calendar::try_from(&other).unwrap(), 2024), count, "{from}..{to}");
    }
    let mut open = spec();
    open.closed_ranges.clear();
    open.holidays = HolidayRule::None;
    assert_eq!(year_of(&Calendar::try_from(&open).unwrap(), 2024), 157);
}

#[test]
fn the_fifth_of_april_2024_is_the_third_open_day() {
    assert_eq!(desk().open_days(date(2024, 4, 1), date(2024, 4, 5)), 3);
}

#[test]
fn hours_are_judged_by_the_start_and_the_closing_time_is_out() {
    let desk = desk();
    for (started, off) in [
        (datetime(2024, 4, 8, 9, 0, 0, 0), false),
        (datetime(2024, 4, 8, 8, 59, 59, 0), true),
        (datetime(2024, 4, 8, 16, 59, 0, 0), false),
        (datetime(2024, 4, 8, 17, 0, 0, 0), true),
        (datetime(2024, 4, 9, 10, 0, 0, 0), true),
        (datetime(2024, 4, 29, 10, 0, 0, 0), true),
        (datetime(2024, 6, 26, 18, 20, 0, 0), true),
        (datetime(2024, 10, 16, 17, 40, 0, 0), true),
    ] {
        assert_eq!(desk.off_hours(started), off, "{started}");
    }
    let mut late = spec();
    late.close_counts_as_open = true;
    assert!(!Calendar::try_from(&late).unwrap().off_hours(datetime(2024, 4, 8, 17, 0, 0, 0)));
}

#[test]
fn an_instant_is_read_on_the_wall_in_japan() {
    let instant: Timestamp = "2024-04-07T23:30:00Z".parse().unwrap();
    assert_eq!(in_japan(instant), datetime(2024, 4, 8, 8, 30, 0, 0));
}

#[test]
fn extra_days_overrule_holidays_ranges_and_weekdays() {
    let mut extra = spec();
    extra.extra_open = vec![date(2024, 4, 29), date(2024, 4, 9)];
    extra.extra_closed = vec![date(2024, 4, 8)];
    extra.closed_ranges.push(ClosedRange { from: "2024-04-10".into(), to: "2024-04-12".into() });
    let calendar = Calendar::try_from(&extra).unwrap();
    assert!(calendar.is_open_day(date(2024, 4, 29)) && calendar.is_open_day(date(2024, 4, 9)));
    assert!(!calendar.is_open_day(date(2024, 4, 8)) && !calendar.is_open_day(date(2024, 4, 10)));
    assert!(calendar.is_open_day(date(2025, 4, 11)), "a dated range does not recur");
}

#[test]
fn business_days_count_from_the_day_after_and_skip_the_closed() {
    let desk = desk();
    assert_eq!(desk.add_business_days(date(2024, 4, 8), 1), Some(date(2024, 4, 10)));
    assert_eq!(desk.add_business_days(date(2024, 4, 26), 2), Some(date(2024, 5, 8)));
    assert_eq!(desk.add_business_days(date(2024, 12, 27), 1), Some(date(2025, 1, 6)));
    assert_eq!(desk.add_business_days(date(2024, 4, 8), 0), Some(date(2024, 4, 8)));
    assert_eq!(desk.add_business_days(date(2024, 4, 9), 0), Some(date(2024, 4, 10)));
}

#[test]
fn a_calendar_that_never_opens_gives_no_day_and_ends() {
    let mut never = spec();
    never.closed_ranges = vec![ClosedRange { from: "01-01".into(), to: "12-31".into() }];
    let calendar = Calendar::try_from(&never).unwrap();
    assert_eq!(calendar.add_business_days(date(2024, 4, 8), u16::MAX), None);
    assert_eq!(calendar.open_days(date(2024, 4, 1), date(2025, 3, 31)), 0);
}

#[test]
fn malformed_calendars_name_the_part() {
    let broken = |change: fn(&mut CalendarSpec)| {
        let mut spec = spec();
        change(&mut spec);
        Calendar::try_from(&spec).unwrap_err().0
    };
    assert_eq!(broken(|s| s.version = " ".into()), CalendarPart::Version);
    assert_eq!(broken(|s| s.weekdays.clear()), CalendarPart::Weekdays);
    assert_eq!(broken(|s| s.weekdays.push("mon".into())), CalendarPart::Weekdays);
    assert_eq!(broken(|s| s.weekdays.push("月".into())), CalendarPart::Weekdays);
    assert_eq!(broken(|s| s.open = "17:00".into()), CalendarPart::Hours);
    assert_eq!(broken(|s| s.close = "25:00".into()), CalendarPart::Hours);
    assert_eq!(broken(|s| s.closed_ranges[0].to = "13-01".into()), CalendarPart::ClosedRanges);
    assert_eq!(broken(|s| s.closed_ranges[0].to = "2025-01-03".into()), CalendarPart::ClosedRanges);
    let both = |s: &mut CalendarSpec| {
        s.extra_open.push(date(2024, 4, 8));
        s.extra_closed.push(date(2024, 4, 8));
    };
    assert_eq!(broken(both), CalendarPart::ExtraDays);
}

#[test]
fn a_calendar_reads_back_from_its_file_form() {
    let text = serde_json::to_string(&spec()).unwrap();
    assert_eq!(serde_json::from_str::<CalendarSpec>(&text).unwrap(), spec());
}

fn any_calendar() -> impl Strategy<Value = Calendar> {
    (1u8..128, any::<bool>(), any::<bool>()).prop_map(|(days, holidays, year_end)| {
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let mut spec = spec();
        spec.weekdays = (0..7).filter(|i| days & (1 << i) != 0).map(|i| names[i].to_owned()).collect();
        spec.holidays = if holidays { HolidayRule::JpNational } else { HolidayRule::None };
        if !year_end {
            spec.closed_ranges.clear();
        }
        Calendar::try_from(&spec).unwrap()
    })
}

fn any_day() -> impl Strategy<Value = Date> {
    (0i64..2_500).prop_map(|offset| date(2021, 1, 1).checked_add(jiff::Span::new().days(offset)).unwrap())
}

proptest! {
    #[test]
    fn the_nth_business_day_is_open_and_has_n_open_days_behind_it(
        calendar in any_calendar(), from in any_day(), n in 1u16..40,
    ) {
        let due = calendar.add_business_days(from, n).unwrap();
        prop_assert!(calendar.is_open_day(due));
        prop_assert_eq!(calendar.open_days(from.tomorrow().unwrap(), due), u32::from(n));
    }

    #[test]
    fn business_days_add_up(calendar in any_calendar(), from in any_day(), a in 1u16..20, b in 1u16..20) {
        let stepwise = calendar.add_business_days(from, a).and_then(|day| calendar.add_business_days(day, b));
        prop_assert_eq!(stepwise, calendar.add_business_days(from, a + b));
    }

    #[test]
    fn open_days_of_two_adjoining_ranges_add_up(calendar in any_calendar(), from in any_day(), split in 0i64..300) {
        let middle = from.checked_add(jiff::Span::new().days(split)).unwrap();
        let end = middle.checked_add(jiff::Span::new().days(100)).unwrap();
        let parts = calendar.open_days(from, middle) + calendar.open_days(middle.tomorrow().unwrap(), end);
        prop_assert_eq!(parts, calendar.open_days(from, end));
    }
}
