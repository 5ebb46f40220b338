//! Claims about the value checker.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn reason(key: &str, value: ValueRef<'_>) -> Option<FieldReason> {
    check(key, value).err().map(|error| error.reason)
}

#[test]
fn each_kind_takes_its_own_values_and_no_other() {
    let codes = ["suctioning".to_owned()];
    let values = [
        ("address_text", ValueRef::Text("例示区例示町")),
        ("birth_date", ValueRef::Date("2021-11-05")),
        ("severe_motor_intellectual", ValueRef::Bool(true)),
        ("care_score", ValueRef::Int(29)),
        ("sex", ValueRef::Code("unknown")),
        ("care_procedures", ValueRef::Codes(&codes)),
        ("siblings", ValueRef::TextList(&codes)),
        (
            "doctor_instruction",
            ValueRef::Document { id: "d-1", title: "指示書", valid_until: Some("2025-12-17") },
        ),
    ];
    for (i, (key, _)) in values.iter().enumerate() {
        for (j, (_, value)) in values.iter().enumerate() {
            let expected = if i == j { None } else { Some(FieldReason::WrongKind) };
            assert_eq!(reason(key, *value), expected, "{key}");
        }
    }
}

#[test]
fn a_code_outside_its_table_or_twice_in_a_set_is_refused() {
    let twice = ["suctioning".to_owned(), "suctioning".to_owned()];
    let foreign = ["phone".to_owned()];
    assert_eq!(reason("preferred_contact_method", ValueRef::Code("phone")), None);
    assert_eq!(reason("sex", ValueRef::Code("phone")), Some(FieldReason::UnknownCode));
    assert_eq!(reason("care_procedures", ValueRef::Codes(&foreign)), Some(FieldReason::UnknownCode));
    assert_eq!(reason("care_procedures", ValueRef::Codes(&twice)), Some(FieldReason::RepeatedCode));
    assert_eq!(reason("care_procedures", ValueRef::Codes(&[])), None);
}

#[test]
fn names_have_no_ideographic_space_and_readings_are_in_katakana() {
    assert_eq!(reason("name_kanji", ValueRef::Text("甲 乙")), None);
    assert_eq!(reason("name_kanji", ValueRef::Text("甲\u{3000}乙")), Some(FieldReason::IdeographicSpace));
    assert_eq!(reason("name_kana", ValueRef::Text("コウ オツ")), None);
    assert_eq!(reason("name_kana", ValueRef::Text("こう おつ")), Some(FieldReason::NotKatakana));
    assert_eq!(reason("name_kana", ValueRef::Text("ｺｳ ｵﾂ")), Some(FieldReason::NotKatakana));
    assert_eq!(reason("name_kanji", ValueRef::Text("甲\n乙")), Some(FieldReason::ControlCharacter));
    assert_eq!(reason("name_kanji", ValueRef::Text(&"甲".repeat(101))), Some(FieldReason::TooLong));
}

#[test]
fn a_municipality_is_six_digits_with_their_check_digit_and_no_prefecture() {
    assert_eq!(reason("municipality_code", ValueRef::Text("131172")), None);
    for text in ["131171", "13117", "130001", "１３１１７２", ""] {
        assert_eq!(
            reason("municipality_code", ValueRef::Text(text)),
            Some(FieldReason::BadMunicipality),
            "{text}"
        );
    }
}

#[test]
fn dates_are_iso_days_and_a_month_is_taken_only_where_it_will_do() {
    assert_eq!(reason("planned_discharge_date", ValueRef::Date("2024-07")), None);
    assert_eq!(first_day("2024-07").unwrap(), jiff::civil::date(2024, 7, 1));
    for text in
        ["2024-07", "2023-02-29", "20240719", "2024-7-19", "1024-07-19", "2024-07-19T00:00", "+02024-07-19"]
    {
        assert_eq!(reason("birth_date", ValueRef::Date(text)), Some(FieldReason::BadDate), "{text}");
    }
    assert_eq!(reason("planned_discharge_date", ValueRef::Date("2024-13")), Some(FieldReason::BadDate));
}

#[test]
fn texts_have_a_bound_and_no_control_characters() {
    let longest = "あ".repeat(TEXT_CHARS_MAX);
    assert_eq!(reason("address_text", ValueRef::Text(&longest)), None);
    assert_eq!(reason("address_text", ValueRef::Text(&format!("{longest}あ"))), Some(FieldReason::TooLong));
    assert_eq!(reason("address_text", ValueRef::Text(" \u{3000}\n")), Some(FieldReason::Empty));
    for c in
        ['\0', '\u{1b}', '\r', '\u{7f}', '\u{85}', '\u{9b}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}']
    {
        let text = format!("a{c}b");
        assert_eq!(
            reason("address_text", ValueRef::Text(&text)),
            Some(FieldReason::ControlCharacter),
            "{c:?}"
        );
        assert_eq!(reason("name_kanji", ValueRef::Text(&text)), Some(FieldReason::ControlCharacter), "{c:?}");
    }
    assert_eq!(reason("address_text", ValueRef::Text("甲\r\n乙\n\t丙")), None);
    assert_eq!(reason("clinical_course", ValueRef::Text("一\n二")), None);
    let many = vec!["x".to_owned(); ITEMS_MAX + 1];
    assert_eq!(reason("siblings", ValueRef::TextList(&many)), Some(FieldReason::TooMany));
}

#[test]
fn numbers_have_the_range_of_their_key() {
    assert_eq!(reason("multiple_birth_order", ValueRef::Int(2)), None);
    assert_eq!(reason("multiple_birth_order", ValueRef::Int(0)), Some(FieldReason::OutOfRange));
    assert_eq!(reason("care_score", ValueRef::Int(151)), Some(FieldReason::OutOfRange));
}

#[test]
fn the_whole_score_sheet_lies_within_its_range() {
    let most = |row: &codes::Code| {
        row.basic.map_or(0, i64::from) + row.monitoring.first().map_or(0, |p| i64::from(*p))
    };
    let sheet: i64 = codes::rows(Table::CareProcedure).iter().map(most).sum();
    assert_eq!(reason("care_score", ValueRef::Int(sheet)), None);
}

#[test]
fn an_error_names_the_key_and_the_reason_and_never_what_was_given() {
    let error = check("name_kana", ValueRef::Text("こう")).unwrap_err();
    assert_eq!(error.to_string(), "name_kana: not_katakana");
    assert_eq!(check("no_such_key", ValueRef::Bool(true)).unwrap_err().key, "no_such_key");
    assert_eq!(check("甲 乙", ValueRef::Bool(true)).unwrap_err().key, "");
}

proptest! {
    #[test]
    fn no_text_makes_the_checker_panic_or_echo(text in any::<String>()) {
        for key in ["name_kana", "municipality_code", "clinical_course"] {
            if let Err(error) = check(key, ValueRef::Text(&text)) {
                prop_assert_eq!(error.key, key);
            }
        }
        let _ = check("birth_date", ValueRef::Date(&text));
        let _ = check(&text, ValueRef::Text("x"));
    }
}
