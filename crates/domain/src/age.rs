//! Age by law and the school years that follow from a date of birth.
//!
//! Never reads a clock and never decides where a child goes: postponed entry and repeated years exist, so the cohort
//! is a default that a record may override. Rules: the age law (an age is reached at the end of the day before the
//! birthday) and the school law (entry on the first 1 April after the day on which the child reaches six).

use jiff::ToSpan;
use jiff::civil::{Date, date};

/// The day at whose end a person reaches that many years.
///
/// Someone born on 29 February reaches every age at the end of 28 February. `None` past the calendar's last year.
pub fn reaches(birth: Date, years: i16) -> Option<Date> {
    let year = birth.year().checked_add(years)?;
    match Date::new(year, birth.month(), birth.day()) {
        Ok(birthday) => birthday.checked_sub(1.day()).ok(),
        Err(_) => Date::new(year, 2, 28).ok(),
    }
}

/// Completed years on a day, as everyone counts: one more from the birthday on. 0 before birth.
pub fn age_on(birth: Date, day: Date) -> i16 {
    let years = (day.year() - birth.year()).max(0);
    let reached = reaches(birth, years).is_some_and(|last| last < day);
    if reached { years } else { (years - 1).max(0) }
}

/// The fiscal year of birth by the school's cut-off: 2 April to 1 April.
pub fn cohort(birth: Date) -> i16 {
    if (birth.month(), birth.day()) >= (4, 2) { birth.year() } else { birth.year() - 1 }
}

/// First day of elementary school.
pub fn school_entry(birth: Date) -> Date {
    first_april(cohort(birth) + 7)
}

/// Last day of high school, if no year was lost or gained.
pub fn high_school_end(birth: Date) -> Date {
    date((cohort(birth) + 19).min(9999), 3, 31)
}

/// The age class of a nursery in a fiscal year: 0 for the babies, 5 for the last before school. Negative before.
pub fn class_age(birth: Date, fiscal_year: i16) -> i16 {
    fiscal_year - cohort(birth) - 1
}

/// Whether someone is a child with medical care needs by age under the Act: under 18, or older and enrolled in a
/// high school or its equal. Whether a service may go on afterwards is another question.
pub fn is_child_by_the_act(birth: Date, day: Date, in_high_school: bool) -> bool {
    in_high_school || age_on(birth, day) < 18
}

fn first_april(year: i16) -> Date {
    date(year.min(9999), 4, 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn school_begins_in_the_years_of_the_dictionary() {
        for (birth, entry) in [
            (date(2018, 4, 1), 2024),
            (date(2018, 4, 2), 2025),
            (date(2020, 2, 29), 2026),
            (date(2021, 11, 5), 2028),
            (date(2019, 9, 14), 2026),
        ] {
            assert_eq!(school_entry(birth), date(entry, 4, 1), "{birth}");
        }
    }

    #[test]
    fn a_leap_day_child_is_six_at_the_end_of_the_28th() {
        let birth = date(2020, 2, 29);
        assert_eq!(reaches(birth, 6), Some(date(2026, 2, 28)));
        assert_eq!(reaches(birth, 4), Some(date(2024, 2, 28)));
        assert_eq!((age_on(birth, date(2026, 2, 28)), age_on(birth, date(2026, 3, 1))), (5, 6));
        assert_eq!((age_on(birth, date(2024, 2, 28)), age_on(birth, date(2024, 2, 29))), (3, 4));
    }

    #[test]
    fn the_synthetic_child_a_has_the_years_of_its_storyline() {
        let birth = date(2021, 11, 5);
        assert_eq!(cohort(birth), 2021);
        assert_eq!(class_age(birth, 2025), 3);
        assert_eq!(high_school_end(birth), date(2040, 3, 31));
    }

    #[test]
    fn the_classes_of_april_2025_take_the_births_of_their_published_list() {
        assert_eq!(class_age(date(2019, 4, 2), 2025), 5);
        assert_eq!(class_age(date(2019, 4, 1), 2025), 6);
        assert_eq!(class_age(date(2024, 4, 1), 2025), 1);
        assert_eq!(class_age(date(2024, 4, 2), 2025), 0);
    }

    #[test]
    fn the_act_covers_until_18_or_the_end_of_high_school() {
        let birth = date(2006, 9, 1);
        assert!(is_child_by_the_act(birth, date(2024, 8, 31), false));
        assert!(!is_child_by_the_act(birth, date(2024, 9, 1), false));
        assert!(is_child_by_the_act(birth, date(2025, 3, 31), true));
    }

    fn any_day() -> impl Strategy<Value = Date> {
        (0i64..60_000).prop_map(|offset| date(1950, 1, 1).checked_add(offset.days()).unwrap())
    }

    proptest! {
        #[test]
        fn school_entry_is_the_first_april_after_the_day_after_reaching_six(birth in any_day()) {
            let after = reaches(birth, 6).unwrap().tomorrow().unwrap();
            let this_year = date(after.year(), 4, 1);
            let by_law = if after <= this_year { this_year } else { date(after.year() + 1, 4, 1) };
            prop_assert_eq!(school_entry(birth), by_law);
        }

        #[test]
        fn an_age_is_counted_from_the_day_after_it_is_reached(birth in any_day(), years in 1i16..100) {
            let last = reaches(birth, years).unwrap();
            prop_assert_eq!(age_on(birth, last), years - 1);
            prop_assert_eq!(age_on(birth, last.tomorrow().unwrap()), years);
        }

        #[test]
        fn the_last_class_before_school_is_the_fifth(birth in any_day()) {
            prop_assert_eq!(class_age(birth, school_entry(birth).year()), 6);
        }
    }
}
