//! Every class × every group × every standing has an outcome that is written down here.
//!
//! A class, a group or a standing without its cell fails, and so does a cell that comes out otherwise: who changes
//! the tables of the domain, or adds a class or a kind of reader, says here what it means.

use std::collections::BTreeMap;

use tasuki_domain::visibility::{Level, ReaderGroup};

use super::*;
use crate::{Access, event_level};

/// How much of an event of the class its viewer learns: F full, S summary, O own (open fields only), E existence,
/// - nothing. Grants are of every class: to the kind of agency, `MemberNamed` and `AskedParty` to the post.
const TABLE: &str = include_str!("coverage.txt");

fn outcomes() -> BTreeMap<(String, String, String), Level> {
    let mut all = BTreeMap::new();
    let (mut standing, mut groups) = ("", Vec::new());
    for line in TABLE.lines().filter(|l| !l.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap();
        if let Some(name) = first.strip_prefix('#') {
            (standing, groups) = (name, words.collect());
            continue;
        }
        for (group, letter) in groups.iter().zip(words) {
            let level = match letter {
                "F" => Level::Full,
                "S" => Level::Summary,
                "O" => Level::Own,
                "E" => Level::Existence,
                "-" => Level::None,
                other => panic!("no level {other}"),
            };
            let key = (standing.to_owned(), first.to_owned(), (*group).to_owned());
            assert!(all.insert(key.clone(), level).is_none(), "{key:?} is written down twice");
        }
    }
    all
}

fn personal_classes_of_the_contract() -> Vec<DataClass> {
    let classes = super::fill::pool().get_enum_by_name("tasuki.privacy.v1.DataClass").unwrap();
    let all = classes.values().filter_map(|v| DataClass::try_from(v.number()).ok());
    all.filter(|c| (*c as i32) > 1 && (*c as i32) < DataClass::ByContent as i32).collect()
}

#[test]
fn the_list_of_personal_classes_is_that_of_the_contract_and_of_the_tables() {
    assert_eq!(PERSONAL.to_vec(), personal_classes_of_the_contract());
    for class in PERSONAL {
        let in_tables = crate::class::in_tables(class).unwrap();
        assert_eq!(crate::class::in_contract(in_tables), class);
    }
    assert_eq!(tasuki_domain::visibility::DataClass::ALL.len(), PERSONAL.len() + 1);
}

#[test]
fn every_class_and_group_and_standing_has_its_outcome() {
    let mut written = outcomes();
    let mut wrong = Vec::new();
    for standing in Standing::ALL {
        for class in personal_classes_of_the_contract() {
            for group in ReaderGroup::ALL {
                let key = (format!("{standing:?}"), class.as_str_name().to_owned(), group.name().to_owned());
                let expected = written.remove(&key).unwrap_or_else(|| panic!("{key:?} is not written down"));
                let me = viewer(kind_of(*group));
                let (circle, party) = standing.circle(&me.kind);
                let level = event_level(&me, &circle, TODAY, class, party);
                if level != expected {
                    wrong.push(format!("{key:?}: {level} instead of {expected}"));
                }
                // Inside the event the class reads as the event itself does.
                let access = Access::new(&me, &circle, TODAY);
                assert_eq!(access.event(class, party, false).class_level(class), level);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(written.is_empty(), "written down, but not known: {:?}", written.keys());
}
