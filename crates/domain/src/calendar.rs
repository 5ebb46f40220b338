//! The calendar of an agency: on which days and at which hours its desk is open.
//!
//! Never reads a clock or a time-zone database: days and times are those of Japan, which has kept UTC+9 without
//! summer time since 1951. What was computed is stored with [`Calendar::version`], so that a later calendar changes
//! no past report. Data: a [`CalendarSpec`] from an agency's file or command, and the table of holidays.

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{Offset, TimeZone, offset};
use serde::{Deserialize, Serialize};

use crate::holidays;
use crate::names::named_enum;

/// Offset of Japan Standard Time.
pub const JST: Offset = offset(9);

/// How far a search for the next open day goes before it gives up: any real calendar opens within a year.
const SEARCH_DAYS_MAX: u16 = 366;

/// Entries of each list of a calendar.
const ENTRIES_MAX: usize = 1_000;

named_enum! {
    /// Which holidays close the desk.
    pub enum HolidayRule {
        /// Open on public holidays.
        None = "none",
        /// Closed on the public holidays of Japan.
        JpNational = "jp_national",
    }
}

/// A closed range, both ends included: two days of a year that recur (`12-29` to `01-03`), or two dates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClosedRange {
    /// First closed day, `MM-DD` or `YYYY-MM-DD`.
    pub from: String,
    /// Last closed day, in the same form.
    pub to: String,
}

/// A calendar as written in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarSpec {
    /// Name of this version, chosen by whoever sets the calendar.
    pub version: String,
    /// Open weekdays: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`.
    pub weekdays: Vec<String>,
    /// First open time, `09:00`.
    pub open: String,
    /// First closed time, `17:00`.
    pub close: String,
    /// Holidays that close the desk.
    pub holidays: HolidayRule,
    /// Closed ranges, such as the end of the year.
    #[serde(default)]
    pub closed_ranges: Vec<ClosedRange>,
    /// Days open against all other rules.
    #[serde(default)]
    pub extra_open: Vec<Date>,
    /// Days closed against all other rules.
    #[serde(default)]
    pub extra_closed: Vec<Date>,
    /// Whether the closing time itself still counts as open.
    #[serde(default)]
    pub close_counts_as_open: bool,
}

named_enum! {
    /// The part of a calendar that is malformed.
    pub enum CalendarPart {
        /// The version is empty or longer than 100 characters.
        Version = "version",
        /// No weekday, an unknown one, or one twice.
        Weekdays = "weekdays",
        /// A time that is none, or opening not before closing.
        Hours = "hours",
        /// A range whose ends differ in form, do not exist, or stand in the wrong order.
        ClosedRanges = "closed_ranges",
        /// A day that is both opened and closed, or too many days.
        ExtraDays = "extra_days",
    }
}

/// A malformed calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("calendar is malformed in {0}")]
pub struct CalendarError(pub CalendarPart);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Closed {
    /// (month, day), wrapping over the new year when the first is the later.
    Yearly((i8, i8), (i8, i8)),
    Dates(Date, Date),
}

impl Closed {
    fn parse(range: &ClosedRange) -> Option<Closed> {
        if let (Some(from), Some(to)) = (month_day(&range.from), month_day(&range.to)) {
            return Some(Closed::Yearly(from, to));
        }
        let (from, to): (Date, Date) = (range.from.parse().ok()?, range.to.parse().ok()?);
        (from <= to).then_some(Closed::Dates(from, to))
    }

    fn contains(&self, day: Date) -> bool {
        let this = (day.month(), day.day());
        match *self {
            Closed::Yearly(from, to) if from <= to => from <= this && this <= to,
            Closed::Yearly(from, to) => from <= this || this <= to,
            Closed::Dates(from, to) => from <= day && day <= to,
        }
    }
}

fn month_day(text: &str) -> Option<(i8, i8)> {
    if text.len() != 5 {
        return None;
    }
    // A leap year, so that 02-29 is a day.
    let day: Date = format!("2000-{text}").parse().ok()?;
    Some((day.month(), day.day()))
}

fn weekday(name: &str) -> Option<Weekday> {
    const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let offset = NAMES.iter().position(|n| *n == name)?;
    Weekday::from_monday_zero_offset(i8::try_from(offset).ok()?).ok()
}

/// A checked calendar. Made from a [`CalendarSpec`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calendar {
    version: String,
    /// From Monday.
    weekdays: [bool; 7],
    open: Time,
    close: Time,
    holidays: HolidayRule,
    closed: Vec<Closed>,
    extra_open: BTreeSet<Date>,
    extra_closed: BTreeSet<Date>,
    close_counts_as_open: bool,
}

impl TryFrom<&CalendarSpec> for Calendar {
    type Error = CalendarError;

    fn try_from(spec: &CalendarSpec) -> Result<Calendar, CalendarError> {
        let bad = CalendarError;
        if spec.version.trim().is_empty() || spec.version.chars().count() > 100 {
            return Err(bad(CalendarPart::Version));
        }
        let mut weekdays = [false; 7];
        for name in &spec.weekdays {
            let day = weekday(name).ok_or(bad(CalendarPart::Weekdays))?;
            let slot = &mut weekdays[day.to_monday_zero_offset() as usize];
            if std::mem::replace(slot, true) {
                return Err(bad(CalendarPart::Weekdays));
            }
        }
        if spec.weekdays.is_empty() {
            return Err(bad(CalendarPart::Weekdays));
        }
        let time = |text: &str| text.parse::<Time>().map_err(|_| bad(CalendarPart::Hours));
        let (open, close) = (time(&spec.open)?, time(&spec.close)?);
        if open >= close {
            return Err(bad(CalendarPart::Hours));
        }
        let closed: Option<Vec<Closed>> = spec.closed_ranges.iter().map(Closed::parse).collect();
        let closed = closed.filter(|c| c.len() <= ENTRIES_MAX).ok_or(bad(CalendarPart::ClosedRanges))?;
        let extra_open: BTreeSet<Date> = spec.extra_open.iter().copied().collect();
        let extra_closed: BTreeSet<Date> = spec.extra_closed.iter().copied().collect();
        let too_many = extra_open.len() > ENTRIES_MAX || extra_closed.len() > ENTRIES_MAX;
        if too_many || !extra_open.is_disjoint(&extra_closed) {
            return Err(bad(CalendarPart::ExtraDays));
        }
        Ok(Calendar {
            version: spec.version.clone(),
            weekdays,
            open,
            close,
            holidays: spec.holidays,
            closed,
            extra_open,
            extra_closed,
            close_counts_as_open: spec.close_counts_as_open,
        })
    }
}

impl Calendar {
    /// Name of this version of the calendar.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether the desk is open on that day.
    ///
    /// A year that the table of holidays does not cover has none: a due date then comes early rather than late.
    pub fn is_open_day(&self, day: Date) -> bool {
        if self.extra_closed.contains(&day) {
            return false;
        }
        if self.extra_open.contains(&day) {
            return true;
        }
        let holiday = self.holidays == HolidayRule::JpNational && holidays::holiday(day).is_some();
        let weekday = self.weekdays[day.weekday().to_monday_zero_offset() as usize];
        weekday && !holiday && !self.closed.iter().any(|range| range.contains(day))
    }

    /// Number of open days from `from` to `to`, both included; 0 if `to` is the earlier.
    pub fn open_days(&self, from: Date, to: Date) -> u32 {
        let mut count = 0;
        let mut day = Some(from);
        while let Some(d) = day.filter(|d| *d <= to) {
            count += u32::from(self.is_open_day(d));
            day = d.tomorrow().ok();
        }
        count
    }

    /// The `n`-th open day after `from`; for 0 the first open day not before `from`.
    ///
    /// `None` if the calendar stays closed for a year on the way.
    pub fn add_business_days(&self, from: Date, n: u16) -> Option<Date> {
        if n == 0 {
            return self.next_open(from);
        }
        (0..n).try_fold(from, |day, _| self.next_open(day.tomorrow().ok()?))
    }

    fn next_open(&self, from: Date) -> Option<Date> {
        let mut day = from;
        for _ in 0..SEARCH_DAYS_MAX {
            if self.is_open_day(day) {
                return Some(day);
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    /// Whether something that started then, by the clock on the wall in Japan, started outside the opening hours.
    ///
    /// A record without a time has no answer: ask only for one that has.
    pub fn off_hours(&self, started: DateTime) -> bool {
        let time = started.time();
        let before_close = time < self.close || (self.close_counts_as_open && time == self.close);
        !(self.is_open_day(started.date()) && self.open <= time && before_close)
    }
}

/// The clock on the wall in Japan at an instant.
pub fn in_japan(instant: Timestamp) -> DateTime {
    TimeZone::fixed(JST).to_datetime(instant)
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
