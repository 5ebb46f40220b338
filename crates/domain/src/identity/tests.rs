//! Readings that no child has, days that mean nothing.

#![allow(clippy::unwrap_used, missing_docs)]

use jiff::civil::{Date, date};
use proptest::prelude::*;
use tasuki_contract::common::v1::{self as common, Fact, fact::Value};
use uuid::Uuid;

use super::{ClueKind, Person, Verdict, by_kind, compare};
use crate::ids::AgencyId;

const HERE: &str = "131997";
const THERE: &str = "131989";
const ONE: AgencyId = AgencyId(Uuid::from_u128(1));
const OTHER: AgencyId = AgencyId(Uuid::from_u128(2));
const BORN: Date = date(2024, 2, 29);

/// One line of a table: how a child was described.
#[derive(Clone, Debug)]
struct Said {
    kana: String,
    born: Date,
    sex: &'static str,
    place: &'static str,
    order: Option<i64>,
    number: Option<(&'static str, &'static str)>,
    unregistered: bool,
    by: AgencyId,
}

fn said(kana: &str) -> Said {
    let kana = kana.to_owned();
    let (sex, place, number, by) = ("female", HERE, None, ONE);
    Said { kana, born: BORN, sex, place, order: None, number, unregistered: false, by }
}

impl Said {
    fn facts(&self) -> Vec<Fact> {
        let fact = |key: &str, value| Fact { key: key.to_owned(), value: Some(value), ..Fact::default() };
        let born = common::Date {
            year: self.born.year().into(),
            month: self.born.month().into(),
            day: self.born.day().into(),
        };
        let mut facts = vec![
            fact("name_kana", Value::Text(self.kana.clone())),
            fact("birth_date", Value::Date(born)),
            fact("sex", Value::Code(self.sex.to_owned())),
        ];
        facts.extend(self.order.map(|order| fact("multiple_birth_order", Value::Number(order))));
        facts.extend(self.number.map(|(key, number)| fact(key, Value::Text(number.to_owned()))));
        facts.extend(self.unregistered.then(|| fact("name_registered_yet", Value::Flag(true))));
        facts
    }

    fn person(&self) -> Person {
        Person::of(&self.facts(), self.by, self.place)
    }
}

fn verdict(one: &Said, other: &Said) -> Verdict {
    let values = |said: &Said| by_kind(said.person().clues());
    let verdict = compare(&values(one), &values(other));
    assert_eq!(verdict, compare(&values(other), &values(one)), "{one:?} {other:?}");
    verdict
}

/// The table of examples: how the second differs from `テスト タロウ`, a girl born here on 29 February 2024.
#[test]
fn the_examples_of_the_table() {
    use Verdict::{Certain, Likely, Nothing, Possible};
    let taro = || said("テスト タロウ");
    let patient = Some(("patient_id", "00123-45"));
    let member = Some(("insurance_member_id", "12345678:ア:99:02"));
    let household = Some(("insurance_member_id", "12345678:ア:99:"));
    let rows: Vec<(&str, Said, Said, Verdict)> = vec![
        ("the same", taro(), taro(), Likely),
        ("another spelling", taro(), said("ﾃｽﾄ　たろー"), Likely),
        ("without a space", taro(), said("テストタロウ"), Likely),
        ("moved here", taro(), Said { place: THERE, ..taro() }, Likely),
        ("another day", taro(), Said { born: date(2024, 3, 1), ..taro() }, Nothing),
        ("another child of the day", taro(), said("ア イ"), Possible),
        ("a boy of the day elsewhere", taro(), Said { sex: "male", place: THERE, ..said("ア イ") }, Nothing),
        ("another surname since", taro(), said("ア タロウ"), Likely),
        ("another surname, elsewhere", taro(), Said { place: THERE, ..said("ア タロウ") }, Possible),
        ("a twin", taro(), said("テスト ハナ"), Possible),
        (
            "a twin of the same name, by order",
            Said { order: Some(1), ..taro() },
            Said { order: Some(2), ..taro() },
            Possible,
        ),
        (
            "the first of twins, twice",
            Said { order: Some(1), ..taro() },
            Said { order: Some(1), ..taro() },
            Likely,
        ),
        ("not named yet", taro(), said("テスト ベビー"), Likely),
        ("not registered yet", taro(), Said { unregistered: true, ..said("テスト") }, Likely),
        (
            "twins, neither named",
            Said { order: Some(1), ..said("テスト ベビー") },
            Said { order: Some(2), ..said("テスト ベビー") },
            Possible,
        ),
        (
            "one patient number",
            Said { number: patient, ..taro() },
            Said { number: Some(("patient_id", "００１２３４５")), ..taro() },
            Certain,
        ),
        (
            "one patient number of another hospital",
            Said { number: patient, ..taro() },
            Said { number: patient, by: OTHER, born: date(2020, 1, 1), place: THERE, ..said("ア イ") },
            Nothing,
        ),
        (
            "one number, another name",
            Said { number: patient, ..taro() },
            Said { number: patient, ..said("ア イ") },
            Likely,
        ),
        (
            "one number, a twin",
            Said { number: patient, ..taro() },
            Said { number: patient, ..said("テスト ハナ") },
            Likely,
        ),
        (
            "one member, whoever says so",
            Said { number: member, ..taro() },
            Said { number: member, by: OTHER, ..taro() },
            Certain,
        ),
        (
            "one member, one of twins",
            Said { number: member, order: Some(1), ..taro() },
            Said { number: member, ..taro() },
            Likely,
        ),
        (
            "one household, a twin",
            Said { number: household, ..taro() },
            Said { number: household, ..said("テスト ハナ") },
            Possible,
        ),
        (
            "one household, a new surname",
            Said { number: household, ..taro() },
            Said { number: household, place: THERE, ..said("ア タロウ") },
            Likely,
        ),
    ];
    for (what, one, other, expected) in rows {
        assert_eq!(verdict(&one, &other), expected, "{what}");
    }
}

#[test]
fn a_name_without_a_birth_date_is_no_clue() {
    assert_eq!(Person::sought("テスト タロウ", None, "female", HERE).clues(), []);
    let mut numbered = Person::sought("テスト タロウ", None, "female", HERE);
    numbered.identify("patient_id", "1", &ONE.to_string());
    let kinds: Vec<ClueKind> = numbered.clues().iter().map(|clue| clue.kind).collect();
    assert_eq!(kinds, [ClueKind::Identifier]);
}

#[test]
fn kinds_keep_their_numbers() {
    let numbers = ClueKind::ALL.map(ClueKind::number);
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7], "they stand in stored tokens");
    assert!(numbers.iter().all(|n| ClueKind::from_number(*n).is_some_and(|kind| kind.number() == *n)));
}

fn somebody() -> impl Strategy<Value = Said> {
    let kana = prop::sample::select(vec!["ア イ", "ア ウ", "カ イ", "ア ベビー", "アイ", "ｱ ｲ"]);
    let number = prop::sample::select(vec![
        None,
        Some(("patient_id", "1")),
        Some(("insurance_member_id", "1:2:3:4")),
        Some(("insurance_member_id", "1:2:3:")),
        Some(("welfare_recipient_no", "7")),
    ]);
    let place = prop::sample::select(vec![HERE, THERE]);
    let rest = (1_i8..3, any::<bool>(), prop::option::of(1_i64..3), any::<bool>(), any::<bool>());
    (kana, number, place, rest).prop_map(|(kana, number, place, (day, girl, order, unregistered, own))| {
        Said {
            born: date(2024, 1, day),
            sex: if girl { "female" } else { "male" },
            place,
            order,
            number,
            unregistered,
            by: if own { ONE } else { OTHER },
            ..said(kana)
        }
    })
}

proptest! {
    #[test]
    fn twins_never_come_out_certain(one in somebody(), other in somebody()) {
        let by_name = one.born == other.born && one.kana.split_whitespace().next() == other.kana.split_whitespace().next()
            && one.kana != other.kana && one.kana.contains(' ') && other.kana.contains(' ')
            && !one.kana.contains('ベ') && !other.kana.contains('ベ') && !one.unregistered && !other.unregistered;
        if by_name || one.order.is_some() || other.order.is_some() {
            prop_assert!(verdict(&one, &other) < Verdict::Certain);
        }
    }

    #[test]
    fn only_a_number_makes_certain(one in somebody(), other in somebody()) {
        if verdict(&one, &other) == Verdict::Certain {
            prop_assert!(one.number.is_some() && one.number == other.number);
        }
    }

    #[test]
    fn whoever_is_likely_is_found_by_what_is_looked_for(one in somebody(), other in somebody()) {
        if verdict(&one, &other) >= Verdict::Likely {
            let clues = one.person().clues();
            let common = other.person().clues().into_iter().filter(|clue| clues.contains(clue));
            prop_assert!(common.into_iter().any(|clue| clue.kind.finds()));
        }
    }

    #[test]
    fn who_is_described_twice_alike_is_found(one in somebody()) {
        let unnamed = one.unregistered || one.kana.contains('ベ');
        prop_assert!(verdict(&one, &one) >= Verdict::Likely, "unnamed: {unnamed}");
    }

    #[test]
    fn clues_hold_no_key_and_no_value_twice(one in somebody()) {
        let clues = one.person().clues();
        let mut once = clues.clone();
        once.dedup();
        prop_assert_eq!(&clues, &once);
    }
}
