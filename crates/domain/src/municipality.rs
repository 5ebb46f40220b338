//! Codes of local governments (全国地方公共団体コード): five digits and a check digit.
//!
//! Never knows which municipalities exist today (mergers are data with dates) and never compares names: a name such
//! as 北区 exists in many cities. Codes are text, since leading zeros count.

const DIGITS: usize = 6;
const PREFECTURES: std::ops::RangeInclusive<u8> = 1..=47;

/// The check digit of the first five digits, `None` if they are not five ASCII digits.
pub fn check_digit(five: &str) -> Option<char> {
    if five.len() != DIGITS - 1 || !five.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let sum: u32 =
        five.bytes().zip([6, 5, 4, 3, 2]).map(|(digit, weight)| u32::from(digit - b'0') * weight).sum();
    char::from_digit((11 - sum % 11) % 10, 10)
}

/// The prefecture's number, 1 to 47, of a well-formed six-digit code with a right check digit.
pub fn prefecture(code: &str) -> Option<u8> {
    let (five, check) = code.split_at_checked(DIGITS - 1)?;
    if check_digit(five).is_none_or(|digit| !check.chars().eq([digit])) {
        return None;
    }
    code.get(..2)?.parse().ok().filter(|number| PREFECTURES.contains(number))
}

/// Whether the code is well formed and stands for less than a prefecture.
pub fn is_municipality(code: &str) -> bool {
    prefecture(code).is_some() && code.get(2..5) != Some("000")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_check_digits_of_the_dictionary_are_reproduced() {
        for (five, digit) in [
            ("13117", '2'),
            ("13119", '9'),
            ("12207", '6'),
            ("15213", '7'),
            ("13000", '1'),
            ("12000", '6'),
            ("15000", '2'),
        ] {
            assert_eq!(check_digit(five), Some(digit), "{five}");
        }
    }

    #[test]
    fn prefectures_are_told_from_municipalities_and_leading_zeros_count() {
        assert_eq!(prefecture("130001"), Some(13));
        assert!(!is_municipality("130001"));
        assert!(is_municipality("131172"));
        assert_eq!(prefecture("011002"), Some(1));
        assert!(!is_municipality("11002"));
        assert!(!is_municipality("480011") && !is_municipality("000000"));
    }

    proptest! {
        #[test]
        fn exactly_one_check_digit_is_right(number in 1_000u32..48_000) {
            let five = format!("{number:05}");
            let right = (0..10).filter(|d| prefecture(&format!("{five}{d}")).is_some()).count();
            prop_assert_eq!(right, 1);
        }

        #[test]
        fn any_text_is_judged_without_a_panic(text in any::<String>()) {
            let _ = is_municipality(&text);
        }
    }
}
