//! The single rules: days, names, conditions, exclusions, own words.

use tasuki_contract::DataClass;
use tasuki_contract::common::v1::{CodeList, DocumentRef, Fact, TextList, fact::Value};
use tasuki_contract::event::v1::Relation;
use tasuki_contract::intake::v1::ReferralSubmitted;
use tasuki_contract::{Event, Lens as _};
use tasuki_domain::circle::Recipient;
use tasuki_domain::visibility::Level;

use super::*;
use crate::{Access, event_level};

const ALL_CLASSES: [DataClass; 16] = PERSONAL;

fn by_kind(kind: &str) -> Circle {
    circle(&[Relation::Receiver], [grant(Recipient::Kind(kind.to_owned()), ALL_CLASSES)])
}

#[test]
fn a_grant_ends_after_its_last_day() {
    let me = viewer("visiting_nurse_station");
    let mut circle = by_kind(&me.kind);
    circle.grants.values_mut().for_each(|g| g.valid_to_day = Some(TODAY));
    assert_eq!(Access::new(&me, &circle, rules(), TODAY).class_level(DataClass::Identity), Level::Full);
    assert_eq!(Access::new(&me, &circle, rules(), TODAY + 1).class_level(DataClass::Identity), Level::None);
    assert!(Access::new(&me, &circle, rules(), TODAY + 1).grants().is_empty());
}

#[test]
fn a_grant_without_the_class_opens_nothing_of_it() {
    let me = viewer("visiting_nurse_station");
    let circle = circle(&[Relation::Receiver], [grant(Recipient::Post(ME), [DataClass::Identity])]);
    let access = Access::new(&me, &circle, rules(), TODAY);
    assert_eq!(access.class_level(DataClass::CareProcedure), Level::None);
    assert_eq!(access.fact_level("care_procedures"), Level::None);
    assert_eq!(access.fact_level("birth_date"), Level::Full);
}

#[test]
fn an_agency_of_an_unmapped_kind_reads_its_own_part_only() {
    for kind in ["npo", "other", "no_such_kind", ""] {
        let me = viewer(kind);
        let circle = by_kind(kind);
        let access = Access::new(&me, &circle, rules(), TODAY);
        assert!(PERSONAL.iter().all(|c| access.class_level(*c) == Level::None), "{kind}");
        assert_eq!(
            event_level(&me, &circle, rules(), TODAY, DataClass::Minutes, true),
            Level::Full,
            "{kind}"
        );
    }
}

#[test]
fn a_family_relation_of_an_office_makes_no_guardian_of_it() {
    let me = viewer("hospital");
    let circle = circle(&[Relation::Family], []);
    assert_eq!(Access::new(&me, &circle, rules(), TODAY).class_level(DataClass::Identity), Level::None);
}

#[test]
fn the_support_centre_reads_identity_only_where_the_family_named_it() {
    let me = viewer("mcc_support_center");
    let level = |recipient| {
        let circle = circle(&[Relation::Receiver], [grant(recipient, ALL_CLASSES)]);
        Access::new(&me, &circle, rules(), TODAY).class_level(DataClass::Identity)
    };
    assert_eq!(level(Recipient::Kind("mcc_support_center".into())), Level::None);
    assert_eq!(level(Recipient::Agency(MY_AGENCY)), Level::Full);
    assert_eq!(level(Recipient::Post(ME)), Level::Full);
}

#[test]
fn protective_circumstances_open_to_the_ward_posts_that_a_grant_names() {
    let me = viewer("public_health_center");
    assert_eq!(
        Access::new(&me, &by_kind(&me.kind), rules(), TODAY).class_level(DataClass::FamilyCircumstances),
        Level::None
    );
    let named = circle(&[Relation::Ward], [grant(Recipient::Post(ME), [DataClass::FamilyCircumstances])]);
    assert_eq!(
        Access::new(&me, &named, rules(), TODAY).class_level(DataClass::FamilyCircumstances),
        Level::Full
    );
}

#[test]
fn an_excluded_key_is_read_only_under_another_grant_that_leaves_it_in() {
    let me = viewer("visiting_nurse_station");
    let mut circle = by_kind(&me.kind);
    circle.grants.values_mut().for_each(|g| g.excluded_keys.extend(["allergies".to_owned()]));
    assert_eq!(Access::new(&me, &circle, rules(), TODAY).fact_level("allergies"), Level::None);
    assert!(Access::new(&me, &circle, rules(), TODAY).withheld_keys().contains(&"allergies"));
    let second = grant(Recipient::Agency(MY_AGENCY), [DataClass::CareProcedure]);
    circle.grants.insert(GrantId(Uuid::from_u128(7)), second);
    assert_eq!(Access::new(&me, &circle, rules(), TODAY).fact_level("allergies"), Level::Full);
}

#[test]
fn what_the_dictionary_keeps_for_named_posts_opens_to_them_alone() {
    let nursery = viewer("nursery");
    assert_eq!(
        Access::new(&nursery, &by_kind("nursery"), rules(), TODAY).fact_level("infection"),
        Level::None
    );
    let named = circle(&[Relation::Receiver], [grant(Recipient::Post(ME), [DataClass::Diagnosis])]);
    assert_eq!(Access::new(&nursery, &named, rules(), TODAY).fact_level("infection"), Level::Full);

    let coordinator = viewer("mcc_coordinator_office");
    let by_kind = by_kind(&coordinator.kind);
    let access = Access::new(&coordinator, &by_kind, rules(), TODAY);
    assert!(
        ["nationality", "parent_health", "allowances"].iter().all(|k| access.fact_level(k) == Level::None)
    );
    let named = circle(&[Relation::Lead], [grant(Recipient::Post(ME), [DataClass::Restricted])]);
    let access = Access::new(&coordinator, &named, rules(), TODAY);
    assert!(
        ["nationality", "parent_health", "allowances"].iter().all(|k| access.fact_level(k) == Level::Full)
    );
    assert_eq!(access.fact_level("family_history_genetic"), Level::None);
    assert_eq!(access.fact_level("safeguarding_concern"), Level::None);
}

#[test]
fn what_is_sealed_is_read_by_nobody_not_even_by_its_author() {
    for group in ReaderGroup::ALL {
        let me = viewer(kind_of(*group));
        for standing in Standing::ALL {
            let (circle, party) = standing.circle(&me.kind);
            let access = Access::new(&me, &circle, rules(), TODAY);
            let event = access.event(DataClass::Support, party, true);
            assert_eq!(event.class_level(DataClass::Sealed), Level::None);
            assert_eq!(event.fact_level("safeguarding_concern"), Level::None);
            assert!(access.withheld_classes().contains(&DataClass::Sealed));
        }
    }
}

#[test]
fn before_acceptance_a_nursery_learns_codes_of_care_and_nothing_that_names_the_child() {
    let me = viewer("nursery");
    let (circle, _) = Standing::AskedParty.circle("nursery");
    let access = Access::new(&me, &circle, rules(), TODAY);
    let asked = access.event(DataClass::ReferralState, true, false);
    assert_eq!(asked.fact_level("care_procedures"), Level::Summary);
    for key in ["name_kana", "birth_date", "allergies", "primary_diagnosis"] {
        assert_eq!(asked.fact_level(key), Level::None, "{key}");
    }
    assert_eq!(asked.class_level(DataClass::ReferralState), Level::Full);
    assert_eq!(asked.class_level(DataClass::Consent), Level::None);
}

#[test]
fn a_nurse_station_that_is_asked_reads_by_the_dictionary_under_the_grant_and_nothing_without_it() {
    let me = viewer("visiting_nurse_station");
    let (granted, _) = Standing::AskedParty.circle(&me.kind);
    let access = Access::new(&me, &granted, rules(), TODAY);
    assert_eq!(access.event(DataClass::ReferralState, true, false).fact_level("birth_date"), Level::Full);
    assert_eq!(access.event(DataClass::ReferralState, false, false).fact_level("birth_date"), Level::None);
    let bare = circle(&[Relation::Asked], []);
    let access = Access::new(&me, &bare, rules(), TODAY);
    assert_eq!(access.event(DataClass::ReferralState, true, false).fact_level("birth_date"), Level::None);
}

#[test]
fn a_post_that_is_asked_no_more_keeps_its_own_answer_and_open_fields_of_the_rest() {
    let me = viewer("nursery");
    let outside = circle(&[], []);
    let access = Access::new(&me, &outside, rules(), TODAY);
    for class in [DataClass::ReferralState, DataClass::Handoff] {
        let asked = access.event(class, true, false);
        assert_eq!(asked.level(), Level::Own);
        assert!(!asked.field(field(class)) && asked.field(field(DataClass::NotPersonal)));
        assert_eq!(access.event(class, true, true).level(), Level::Full);
    }
    assert_eq!(access.event(DataClass::Minutes, true, false).level(), Level::Full);
    let referral = ReferralSubmitted { referral_id: "r".into(), age_class: "a".into(), ..Default::default() };
    let left = access.event(DataClass::ReferralState, true, false).redact(Event::ReferralSubmitted(referral));
    assert_eq!(
        left,
        Some(Event::ReferralSubmitted(ReferralSubmitted { referral_id: "r".into(), ..Default::default() }))
    );
}

#[test]
fn existence_brings_no_content() {
    let me = viewer("visiting_nurse_station");
    let circle = by_kind(&me.kind);
    let access = Access::new(&me, &circle, rules(), TODAY);
    let event = access.event(DataClass::Handoff, false, false);
    assert_eq!(event.level(), Level::Existence);
    assert_eq!(event.redact(Event::HandoffProposed(Default::default())), None);
    assert!(
        event
            .withheld_classes(Event::HandoffProposed(Default::default()).rule())
            .contains(&DataClass::Handoff)
    );
}

#[test]
fn a_summary_keeps_the_fact_and_drops_its_words() {
    let fact = |value| Fact {
        key: "care_procedures".into(),
        value: Some(value),
        told_by: "FAM".into(),
        ..Default::default()
    };
    let none = || CodeList { codes: Vec::new() };
    for kept in [Value::Code("x".into()), Value::Flag(true), Value::Number(3), Value::Codes(none())] {
        let mut reduced = fact(kept.clone());
        assert!(crate::fact::reduce(&mut reduced, Level::Summary, &rules()));
        assert_eq!(reduced, fact(kept));
    }
    // An empty list says that there are none, so a list that is withheld must not be one.
    for words in [
        Value::Text("x".into()),
        Value::Texts(TextList { texts: vec!["x".into()] }),
        Value::Texts(TextList::default()),
        Value::Document(DocumentRef { title: "x".into(), ..Default::default() }),
    ] {
        let mut reduced = fact(words.clone());
        assert!(crate::fact::reduce(&mut reduced, Level::Summary, &rules()));
        assert_eq!(reduced, Fact { value: None, ..fact(words) });
        let mut whole = fact(Value::Texts(TextList::default()));
        assert!(crate::fact::reduce(&mut whole, Level::Full, &rules()));
        assert_ne!(whole, reduced);
    }
    assert!([Level::None, Level::Existence, Level::Own].into_iter().all(|level| !crate::fact::reduce(
        &mut fact(Value::Flag(true)),
        level,
        &rules()
    )));
}

#[test]
fn a_class_of_a_later_version_is_read_by_nobody() {
    let me = viewer("mcc_coordinator_office");
    let circle = by_kind(&me.kind);
    let access = Access::new(&me, &circle, rules(), TODAY);
    for class in [DataClass::Unspecified, DataClass::ByContent, DataClass::ByField] {
        assert!(!access.event(DataClass::Minutes, true, true).field(field(class)));
        assert_eq!(access.event(class, true, true).level(), Level::None);
    }
    assert_eq!(access.event(DataClass::NotPersonal, true, true).level(), Level::None);
}

fn field(class: DataClass) -> tasuki_contract::FieldRule {
    tasuki_contract::FieldRule { class, in_summary: true, part: tasuki_contract::SealedPart::Stream }
}
