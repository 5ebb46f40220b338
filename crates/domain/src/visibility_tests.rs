//! Claims about the table of readers; the data is the crate's own file.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::codes::{self, Table};

#[test]
fn every_class_and_group_has_labels_in_both_languages() {
    for lang in [Lang::Ja, Lang::En] {
        assert!(ReaderGroup::ALL.iter().all(|g| g.label(lang) != g.name()));
        assert!(DataClass::ALL[1..].iter().all(|c| c.label(lang) != c.name() && !c.label(lang).is_empty()));
    }
}

#[test]
fn every_agency_kind_is_mapped_or_says_that_it_reads_nothing() {
    let kinds: Vec<_> = codes::rows(Table::AgencyKind).iter().map(|row| row.code.as_str()).collect();
    for kind in &kinds {
        assert!(FILE.agency_kinds.contains_key(*kind), "{kind} has no row");
    }
    assert_eq!(FILE.agency_kinds.len(), kinds.len(), "a row for a kind that is not in the code table");
    assert!(reader_group("no_such_kind").is_none());
    assert!(reader_group("other").is_none());
}

#[test]
fn every_reader_group_has_an_agency_kind() {
    for group in ReaderGroup::ALL {
        assert!(FILE.agency_kinds.values().any(|g| *g == Some(*group)), "{group}");
    }
}

#[test]
fn the_kinds_that_may_lead_exist_and_hospitals_nurseries_and_schools_are_not_among_them() {
    assert_eq!(kinds_that_may_lead().len(), 6);
    for kind in kinds_that_may_lead() {
        assert!(codes::lookup(Table::AgencyKind, kind).is_some(), "{kind}");
    }
    for kind in ["hospital", "nursery", "elementary_school", "child_dev_support_provider", "family"] {
        assert!(!kinds_that_may_lead().iter().any(|k| k == kind), "{kind}");
    }
}

#[test]
fn the_lead_is_open_to_all_and_the_sealed_class_to_no_one_in_full() {
    for group in ReaderGroup::ALL {
        assert_eq!(class_level("LEAD", *group), Level::Full, "{group}");
        assert!(class_cell(DataClass::Sealed, *group).ceiling <= Level::Own, "{group}");
    }
    assert_eq!(class_level("SEALED", ReaderGroup::Fam), Level::None);
    assert_eq!(class_level("NO_SUCH_CLASS", ReaderGroup::Fam), Level::None);
    assert_eq!(class_level("NOT_PERSONAL", ReaderGroup::Fam), Level::None);
}

#[test]
fn a_raised_ceiling_needs_a_condition_and_a_consent_opens_identity_to_the_support_centre() {
    for class in DataClass::ALL {
        for group in ReaderGroup::ALL {
            let cell = class_cell(*class, *group);
            assert!(cell.ceiling == cell.level || cell.condition.is_some(), "{class} × {group}");
        }
    }
    let cell = class_cell(DataClass::Identity, ReaderGroup::Sup);
    assert_eq!(
        cell,
        Cell { level: Level::None, condition: Some(Condition::Consented), ceiling: Level::Full }
    );
}

#[test]
fn levels_rise_from_nothing_to_all() {
    assert!(Level::ALL.is_sorted() && Level::None < Level::Existence && Level::Own < Level::Summary);
}
