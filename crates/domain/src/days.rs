//! Days as the contract spells them, and the days by which a post owes something.
//!
//! Due days are counted in the owner's business days from the day of the command, since nobody can act on what is
//! not yet recorded. Data: the agency's calendar from the directory; without one, Monday to Friday without national
//! holidays and the turn of the year.

use std::sync::LazyLock;

use jiff::civil::{Date, date};
use jiff::{Timestamp, ToSpan as _};
use tasuki_contract::common::v1 as common;
use tasuki_contract::directory::v1 as directory;

use crate::calendar::{Calendar, CalendarError, CalendarSpec, ClosedRange, HolidayRule};
use crate::decision::Given;
use crate::ids::PostId;
use crate::refusal::{Refusal, Violation};

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES_PER_DAY: i32 = 1_440;
const NANOS_PER_SECOND: i32 = 1_000_000_000;
/// 1900-01-01T00:00:00Z, in seconds since 1970: nothing that is recorded was before.
const FIRST_SECOND: i64 = -2_208_988_800;

static USUAL: LazyLock<Calendar> = LazyLock::new(|| {
    let usual = directory::Calendar {
        open_weekdays: vec![1, 2, 3, 4, 5],
        opens_min: 510,
        closes_min: 1_035,
        closed_on_national_holidays: true,
        closed_yearly: vec!["12-29/01-03".to_owned()],
    };
    calendar(&usual).expect("invariant: the usual calendar is well formed")
});

/// Days since 1970-01-01.
pub fn epoch_day(day: Date) -> i32 {
    day.since(date(1970, 1, 1)).map_or(0, |span| span.get_days())
}

/// The day that lies so many days after 1970-01-01; `None` beyond every calendar.
pub fn from_epoch_day(day: i32) -> Option<Date> {
    date(1970, 1, 1).checked_add(i64::from(day).days()).ok()
}

/// The day as the contract spells it.
pub fn to_proto(day: Date) -> common::Date {
    common::Date { year: day.year().into(), month: day.month().into(), day: day.day().into() }
}

/// Reads a day of the years 1868 to 9999; `None` when it is absent.
///
/// Errors: `BAD_DATE` on the field when there is no such day.
pub fn from_proto(field: &str, day: Option<&common::Date>) -> Result<Option<Date>, Refusal> {
    day.map(|d| read(d).ok_or_else(|| Refusal::invalid(field, Violation::BAD_DATE))).transpose()
}

/// Reads a day that must be there.
///
/// Errors: `MISSING` or `BAD_DATE` on the field.
pub fn required(field: &str, day: Option<&common::Date>) -> Result<Date, Refusal> {
    from_proto(field, day)?.ok_or_else(|| Refusal::invalid(field, Violation::MISSING))
}

fn read(day: &common::Date) -> Option<Date> {
    let year = i16::try_from(day.year).ok().filter(|year| *year >= 1868)?;
    Date::new(year, i8::try_from(day.month).ok()?, i8::try_from(day.day).ok()?).ok()
}

/// Reads an instant as protobuf spells it, in seconds since 1970 and nanoseconds, from 1900 on.
///
/// `None` for an earlier one, and for none at all: before 1970 too, nanoseconds count forward, 0 to 999,999,999.
pub fn instant(seconds: i64, nanos: i32) -> Option<Timestamp> {
    let proper = seconds >= FIRST_SECOND && (0..NANOS_PER_SECOND).contains(&nanos);
    Timestamp::new(seconds, nanos).ok().filter(|_| proper)
}

/// Seconds and nanoseconds of an instant as protobuf spells them: what [`instant`] reads.
pub fn seconds_and_nanos(at: Timestamp) -> (i64, i32) {
    // jiff gives both the same sign.
    match (at.as_second(), at.subsec_nanosecond()) {
        (seconds, nanos @ ..0) => (seconds - 1, nanos + NANOS_PER_SECOND),
        forward => forward,
    }
}

/// The calendar that an agency set, checked.
///
/// Errors: the part that is malformed.
pub fn calendar(set: &directory::Calendar) -> Result<Calendar, CalendarError> {
    let weekday = |n: &i32| {
        let index = usize::try_from(*n).ok().and_then(|n| n.checked_sub(1));
        index.and_then(|i| WEEKDAYS.get(i)).copied().unwrap_or_default().to_owned()
    };
    let range = |text: &String| {
        let (from, to) = text.split_once('/').unwrap_or_default();
        ClosedRange { from: from.to_owned(), to: to.to_owned() }
    };
    Calendar::try_from(&CalendarSpec {
        version: "directory".to_owned(),
        weekdays: set.open_weekdays.iter().map(weekday).collect(),
        open: clock(set.opens_min),
        close: clock(set.closes_min),
        holidays: if set.closed_on_national_holidays { HolidayRule::JpNational } else { HolidayRule::None },
        closed_ranges: set.closed_yearly.iter().map(range).collect(),
        extra_open: Vec::new(),
        extra_closed: Vec::new(),
        close_counts_as_open: false,
    })
}

/// Minutes after midnight as `HH:MM`; midnight at the end of the day as the minute before; empty for no such time.
fn clock(minutes: i32) -> String {
    match minutes {
        0..MINUTES_PER_DAY => format!("{:02}:{:02}", minutes / 60, minutes % 60),
        MINUTES_PER_DAY => "23:59".to_owned(),
        _ => String::new(),
    }
}

/// The day that lies `business_days` open days of the owner's agency after today; the owner's agency is noted.
///
/// Errors: those of [`active_post`](crate::decision::Look::active_post).
pub fn due(given: &Given<'_>, owner: PostId, business_days: u16) -> Result<Date, Refusal> {
    let (_, agency) = given.directory.active_post(owner)?;
    Ok(due_in(agency.calendar.as_ref(), given.today(), business_days))
}

/// The first open day of the owner's agency that is not before `day`.
///
/// Errors: those of [`active_post`](crate::decision::Look::active_post).
pub fn open_from(given: &Given<'_>, owner: PostId, day: Date) -> Result<Date, Refusal> {
    let (_, agency) = given.directory.active_post(owner)?;
    Ok(due_in(agency.calendar.as_ref(), day, 0))
}

/// As [`due`], of an owner that may be retired by now: its duty goes to whoever looks after what it left.
pub fn due_of_any(given: &Given<'_>, owner: PostId, business_days: u16) -> Date {
    due(given, owner, business_days).unwrap_or_else(|_| due_in(None, given.today(), business_days))
}

fn due_in(set: Option<&directory::Calendar>, from: Date, business_days: u16) -> Date {
    let own = set.and_then(|set| calendar(set).ok());
    let own = own.and_then(|calendar| calendar.add_business_days(from, business_days));
    // A calendar that stays closed for a year would let a duty vanish: the usual one holds then.
    own.or_else(|| USUAL.add_business_days(from, business_days)).unwrap_or(from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{COORDINATOR, NURSE, World};

    #[test]
    fn a_desk_with_three_days_a_week_gets_more_calendar_days() {
        let mut world = World::new();
        let (mut seen, mut moved) = (Vec::new(), Vec::new());
        let refused = world.run(NURSE, |given| -> Result<crate::decision::Decision<()>, Refusal> {
            seen = vec![due(given, NURSE, 2)?, due(given, COORDINATOR, 2)?];
            moved = vec![
                open_from(given, NURSE, date(2024, 4, 11))?,
                open_from(given, COORDINATOR, date(2024, 4, 11))?,
                open_from(given, NURSE, date(2024, 5, 3))?,
            ];
            Err(Refusal::invalid("nothing", Violation::MISSING))
        });
        assert!(refused.is_err());
        assert_eq!(seen, [date(2024, 4, 12), date(2024, 4, 15)]);
        // A Thursday: closed at the desk that is open on Monday, Wednesday and Friday.
        assert_eq!(moved, [date(2024, 4, 11), date(2024, 4, 12), date(2024, 5, 7)]);
    }

    #[test]
    fn an_instant_is_one_of_protobuf_from_1900_on_and_comes_back_as_it_was() {
        for (seconds, nanos) in
            [(FIRST_SECOND, 0), (-2, 500_000_000), (-1, 0), (0, 0), (0, 1), (1, 999_999_999)]
        {
            let at = instant(seconds, nanos).unwrap();
            assert_eq!(seconds_and_nanos(at), (seconds, nanos));
        }
        assert_eq!(instant(FIRST_SECOND, 0).unwrap().to_string(), "1900-01-01T00:00:00Z");
        let outside = [
            (FIRST_SECOND - 1, 999_999_999),
            (-62_135_596_801, 0),
            (i64::MIN, 0),
            (i64::MAX, 0),
            (0, -1),
            (-2, -500_000_000),
            (0, 1_000_000_000),
            (0, i32::MAX),
        ];
        for (seconds, nanos) in outside {
            assert_eq!(instant(seconds, nanos), None, "{seconds} {nanos}");
        }
    }

    #[test]
    fn a_calendar_that_never_opens_falls_back_to_the_usual_one() {
        let never = directory::Calendar {
            open_weekdays: vec![1],
            opens_min: 540,
            closes_min: 1_440,
            closed_on_national_holidays: false,
            closed_yearly: vec!["01-01/12-31".to_owned()],
        };
        assert!(calendar(&never).is_ok());
        assert_eq!(due_in(Some(&never), date(2024, 5, 2), 1), date(2024, 5, 7));
    }

    #[test]
    fn days_count_from_the_epoch_and_nonsense_is_named() {
        assert_eq!(epoch_day(date(1970, 1, 1)), 0);
        assert_eq!(epoch_day(date(2024, 4, 10)), 19_823);
        let bad = common::Date { year: 2023, month: 2, day: 29 };
        assert_eq!(from_proto("on", Some(&bad)), Err(Refusal::invalid("on", Violation::BAD_DATE)));
        assert_eq!(required("on", None), Err(Refusal::invalid("on", Violation::MISSING)));
        assert_eq!(from_proto("on", None), Ok(None));
        assert_eq!(read(&to_proto(date(2024, 2, 29))), Some(date(2024, 2, 29)));
    }
}
