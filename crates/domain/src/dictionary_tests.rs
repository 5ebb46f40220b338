//! Claims about the field dictionary; the data is the crate's own file.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::visibility::ReaderGroup::*;

#[test]
fn the_dictionary_has_105_distinct_keys_with_labels_in_both_languages() {
    assert_eq!(all().len(), 105);
    assert_eq!(DICTIONARY.by_key.len(), 105);
    for f in all() {
        assert!(!f.label(Lang::Ja).is_empty() && !f.label(Lang::En).is_empty(), "{}", f.key);
        assert!(f.label(Lang::En).is_ascii() || f.label(Lang::En).contains('’'), "{}", f.key);
        assert_ne!(f.fresh_days, Some(0), "{}", f.key);
    }
}

#[test]
fn restricted_and_sealed_are_exactly_the_sensitivities_s4_and_s5() {
    for f in all() {
        assert_eq!(f.class == DataClass::Restricted, f.sensitivity == Sensitivity::S4, "{}", f.key);
        assert_eq!(f.class == DataClass::Sealed, f.sensitivity == Sensitivity::S5, "{}", f.key);
        assert_ne!(f.class, DataClass::NotPersonal, "{}", f.key);
        assert_ne!(f.sensitivity, Sensitivity::S0, "{}", f.key);
    }
}

#[test]
fn the_safety_fields_are_the_seven_of_the_reliance_notice() {
    let safety: Vec<_> = all().iter().filter(|f| f.safety).map(|f| f.key.as_str()).collect();
    let expected = [
        "care_procedures",
        "devices",
        "cannula_tube_size",
        "medications",
        "allergies",
        "emergency_signs",
        "emergency_call_order",
    ];
    assert_eq!(safety, expected);
}

#[test]
fn no_form_requires_what_none_of_its_addressees_may_read() {
    for context in Context::ALL {
        assert!(!addressees(*context).is_empty(), "{context}");
        for f in required(*context) {
            let read = addressees(*context).iter().any(|group| f.level(*group) > Level::Existence);
            assert!(read, "form {context} requires {}", f.key);
        }
    }
}

#[test]
fn the_family_reads_all_but_what_it_was_not_told_what_is_sealed_and_notes_on_a_parent() {
    for f in all() {
        let expected = match f.key.as_str() {
            "diagnosis_not_disclosed" | "safeguarding_concern" => Level::None,
            "parent_work" | "parent_health" | "economic_situation" | "family_history_genetic" => Level::Own,
            _ => Level::Full,
        };
        assert_eq!(f.level(Fam), expected, "{}", f.key);
        assert_eq!(f.ceiling(Fam), expected, "{}", f.key);
    }
}

#[test]
fn readers_are_those_of_the_dictionary() {
    for group in ReaderGroup::ALL {
        assert_eq!(readers("name_kanji", *group), Level::Full, "{group}");
        assert_eq!(readers("no_such_key", *group), Level::None);
    }
    assert_eq!(readers("primary_diagnosis", Nur), Level::Summary);
    assert_eq!(readers("primary_diagnosis", Chi), Level::None);
    assert_eq!(readers("devices", Cd), Level::Summary);
    assert_eq!(readers("clinical_course", Cd), Level::Summary);
    assert_eq!(readers("clinical_course", Vn), Level::Full);
    assert_eq!(readers("medications", Pharm), Level::Full);
    assert_eq!(readers("parent_work", Nur), Level::None);
    assert_eq!(readers("consultation_history", Nur), Level::Summary);
    assert_eq!(readers("consent_records", Hosp), Level::Own);
    assert_eq!(readers("emergency_hospital", Sch), readers("emergency_call_order", Sch));
    let care = field("care_procedures").unwrap();
    let change = field("care_profile_version").unwrap();
    assert!(ReaderGroup::ALL.iter().all(|g| care.level(*g) == change.level(*g)));
}

#[test]
fn named_posts_get_more_than_the_default_by_a_grant_only() {
    for (key, group) in
        [("nationality", Wel), ("parent_health", Phn), ("advance_directive", Ems), ("infection", Nur)]
    {
        let f = field(key).unwrap();
        assert_eq!((f.level(group), f.ceiling(group)), (Level::None, Level::Full), "{key}");
    }
}

#[test]
fn a_grant_widens_up_to_the_class_and_never_past_a_form_that_must_not_carry_the_key() {
    let schedule = field("daily_schedule").unwrap();
    assert_eq!((schedule.level(Sch), schedule.ceiling(Sch)), (Level::None, Level::Full));
    for (key, group) in
        [("diagnosis_not_disclosed", Vn), ("safeguarding_concern", Hosp), ("economic_situation", Nur)]
    {
        assert_eq!(field(key).unwrap().ceiling(group), Level::None, "{key}");
    }
    for f in all() {
        assert!(ReaderGroup::ALL.iter().all(|g| f.ceiling(*g) >= f.level(*g)), "{}", f.key);
    }
}

#[test]
fn the_facts_of_a_submission_are_keys_that_the_coordinator_reads() {
    for key in SUBMIT_FACTS.iter().flat_map(|group| group.iter()) {
        assert_eq!(readers(key, Cd), Level::Full, "{key}");
    }
}

#[test]
fn requirements_are_those_of_the_dictionary() {
    let requirement = |key, context| field(key).unwrap().requirement(context);
    assert_eq!(requirement("birth_date", Context::Emergency), Requirement::Required);
    assert_eq!(requirement("vaccination", Context::Discharge), Requirement::Optional);
    assert_eq!(requirement("patient_id", Context::School), Requirement::NotNeeded);
    assert_eq!(requirement("parent_health", Context::Nursery), Requirement::MustNot);
    assert!(required(Context::Discharge).any(|f| f.key == "power_dependency"));
    assert!(required(Context::Discharge).all(|f| f.key != "disclosure_log"));
}

#[test]
fn only_the_system_or_any_sender_may_be_without_a_natural_source() {
    let without: Vec<_> = all().iter().filter(|f| f.sources.is_empty()).map(|f| f.key.as_str()).collect();
    assert_eq!(without, ["school_entry_year", "disclosure_log", "urgency_and_due", "next_transition"]);
}

#[test]
fn a_month_will_do_for_dates_only() {
    for f in all().iter().filter(|f| f.month_ok) {
        assert_eq!(f.kind, Kind::Date, "{}", f.key);
    }
    assert!(field("planned_discharge_date").unwrap().month_ok);
    assert!(!field("birth_date").unwrap().month_ok);
}
