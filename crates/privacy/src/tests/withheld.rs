//! P10: what is withheld never looks absent, and what is absent never looks withheld.

use tasuki_contract::common::v1::{Fact, fact::Value};
use tasuki_contract::intake::v1::ReferralSubmitted;
use tasuki_contract::{DataClass, Event, RULES};
use tasuki_domain::dictionary;
use tasuki_domain::visibility::{Level, ReaderGroup};

use super::fill::filled;
use super::*;
use crate::Access;

/// The same event without anything that the lens hides: the history in which it was never known.
fn without_what_is_hidden(lens: &crate::EventAccess<'_>, event: &Event) -> Event {
    use tasuki_contract::Classified as _;
    let mut bare = event.clone();
    bare.retain(&lens.told(event));
    bare
}

#[test]
fn withheld_never_looks_like_absent() {
    for rule in RULES.iter().filter(|r| PERSONAL.contains(&r.class)) {
        let rich = filled(rule.type_name);
        let empty = Event::decode(rule.type_name, &[&[]]).unwrap();
        for group in ReaderGroup::ALL {
            let me = viewer(kind_of(*group));
            for standing in Standing::ALL {
                let (circle, party) = standing.circle(&me.kind);
                let access = Access::new(&me, &circle, rules(), TODAY);
                let lens = access.event(rule.class, party, false);
                // Having what is hidden and not having it give the same bytes …
                let bare = without_what_is_hidden(&lens, &rich);
                let bytes = |event: &Event| lens.redact(event.clone()).map(|e| e.encode_to_vec());
                assert_eq!(bytes(&rich), bytes(&bare), "{} for {me:?} as {standing:?}", rule.type_name);
                // … beside the same list, which names every class of which anything was hidden.
                let withheld = lens.withheld_classes(rule);
                let keys = lens.withheld_keys(rule);
                for leaf in super::fill::leaves(&rich) {
                    for r in &leaf.rules {
                        let full = lens.class_level(r.class) == Level::Full || !PERSONAL.contains(&r.class);
                        assert!(full || withheld.contains(&r.class), "{:?} in {}", r.class, rule.type_name);
                    }
                    if let Some(field) = leaf.key.as_deref().and_then(dictionary::field) {
                        let class = crate::class::in_contract(field.class);
                        let full = lens.fact_level(&field.key) == Level::Full;
                        assert!(full || withheld.contains(&class));
                        assert!(full || keys.contains(&field.key.as_str()), "{} is not named", field.key);
                    }
                }
                assert_eq!(lens.withheld_classes(rule), lens.withheld_classes(empty.rule()));
                // A fact that is not left whole has its key named, and a key that is read in full is not named.
                let left = lens.redact(rich.clone());
                let facts: Vec<Fact> = left.iter().flat_map(Event::facts).collect();
                for fact in rich.facts() {
                    let named = keys.contains(&fact.key.as_str());
                    assert!(named || facts.contains(&fact), "{} of {}", fact.key, rule.type_name);
                    // What may be untold to the family is named though the rest of it is read.
                    assert_eq!(
                        named,
                        left.is_none()
                            || lens.fact_level(&fact.key) < Level::Full
                            || lens.hides_untold(&fact.key),
                        "{}",
                        fact.key
                    );
                }
                assert!(rule.has_facts || keys.is_empty(), "{} holds no facts", rule.type_name);
            }
        }
    }
}

#[test]
fn a_hidden_fact_and_no_fact_give_the_same_bytes_and_the_same_list() {
    let nurse = viewer("visiting_nurse_station");
    let circle = circle(&[Relation::Sender], [grant(Recipient::Post(ME), [DataClass::ReferralState])]);
    let access = Access::new(&nurse, &circle, rules(), TODAY);
    let lens = access.event(DataClass::ReferralState, true, false);
    let with = |facts: Vec<Fact>| {
        Event::ReferralSubmitted(ReferralSubmitted { referral_id: "r".into(), facts, ..Default::default() })
    };
    let allergy =
        Fact { key: "allergies".into(), value: Some(Value::Text("egg".into())), ..Default::default() };
    let (known, unknown) = (with(vec![allergy]), with(vec![]));
    assert_ne!(known, unknown);
    assert_eq!(lens.redact(known.clone()), lens.redact(unknown.clone()));
    assert!(lens.withheld_classes(unknown.rule()).contains(&DataClass::CareProcedure));
    assert!(access.withheld_keys().contains(&"allergies"));
    assert!(lens.withheld_keys(unknown.rule()).contains(&"allergies"));
}

#[test]
fn the_card_withholds_every_key_and_class_that_is_not_read_in_full() {
    for group in ReaderGroup::ALL {
        let me = viewer(kind_of(*group));
        for standing in Standing::ALL {
            let (circle, _) = standing.circle(&me.kind);
            let access = Access::new(&me, &circle, rules(), TODAY);
            let (keys, classes) = (access.withheld_keys(), access.withheld_classes());
            for field in dictionary::all() {
                let full = access.fact_level(&field.key) == Level::Full;
                let named = !full || access.hides_untold(&field.key);
                assert_eq!(named, keys.contains(&field.key.as_str()), "{} for {group}", field.key);
                assert!(full || classes.contains(&crate::class::in_contract(field.class)), "{}", field.key);
            }
            for class in PERSONAL {
                assert!(access.class_level(class) == Level::Full || classes.contains(&class), "{class:?}");
            }
        }
    }
}

#[test]
fn what_is_withheld_in_part_is_what_something_can_be_read_of() {
    for group in ReaderGroup::ALL {
        let me = viewer(kind_of(*group));
        for standing in Standing::ALL {
            let (circle, _) = standing.circle(&me.kind);
            let access = Access::new(&me, &circle, rules(), TODAY);
            let (withheld, partly) = (access.withheld_classes(), access.partly_withheld_classes());
            assert!(partly.iter().all(|class| withheld.contains(class)), "{group} {standing:?}");
            for class in withheld.iter().filter(|class| !partly.contains(class)) {
                assert_eq!(access.class_level(*class), Level::None, "{class:?} for {group} {standing:?}");
                let mut keys =
                    dictionary::all().iter().filter(|f| crate::class::in_contract(f.class) == *class);
                assert!(
                    keys.all(|field| access.fact_level(&field.key) == Level::None),
                    "{class:?} for {group}"
                );
            }
        }
    }
    let partly = |kind: &str, standing: Standing| {
        let (circle, me) = (standing.circle(kind).0, viewer(kind));
        Access::new(&me, &circle, rules(), TODAY).partly_withheld_classes()
    };
    // A coordinator reads of diagnoses what the dictionary leaves it; a family gets no minutes before its version.
    assert!(partly("mcc_coordinator_office", Standing::MemberWithGrant).contains(&DataClass::Diagnosis));
    assert!(!partly("family", Standing::Family).contains(&DataClass::Minutes));
    // Minutes of the meetings that it attended are the hospital's own part.
    assert!(partly("hospital", Standing::MemberWithGrant).contains(&DataClass::Minutes));
    assert_eq!(partly("hospital", Standing::Outsider), []);
}

#[test]
fn a_member_without_a_grant_has_everything_withheld() {
    let me = viewer("mcc_coordinator_office");
    let (circle, _) = Standing::MemberWithoutGrant.circle(&me.kind);
    let access = Access::new(&me, &circle, rules(), TODAY);
    assert_eq!(access.withheld_classes(), PERSONAL);
    assert_eq!(access.withheld_keys().len(), dictionary::all().len());
}

#[test]
fn what_is_withheld_comes_in_the_order_of_the_contract_each_class_once() {
    let me = viewer("hospital");
    let (circle, party) = Standing::MemberWithGrant.circle(&me.kind);
    let access = Access::new(&me, &circle, rules(), TODAY);
    for rule in RULES {
        let lens = access.event(rule.class, party, false);
        let once = lens.withheld_classes(rule);
        assert!(
            once.is_sorted_by(|a, b| a < b) && once.iter().all(|c| PERSONAL.contains(c)),
            "{}",
            rule.type_name
        );
    }
}

#[test]
fn that_a_fact_is_still_owed_is_told_only_to_those_who_would_read_it() {
    let desk = viewer("mcc_coordinator_office");
    let classes = [DataClass::ReferralState, DataClass::CareProcedure, DataClass::Diagnosis];
    let circle = circle(&[Relation::Receiver], [grant(Recipient::Post(ME), classes)]);
    let access = Access::new(&desk, &circle, rules(), TODAY);
    let owed = |party, author| {
        let sent = ReferralSubmitted {
            not_yet_keys: vec!["allergies".to_owned(), "care_procedures".to_owned()],
            ..ReferralSubmitted::default()
        };
        match access.event(DataClass::ReferralState, party, author).redact(sent.into()) {
            Some(Event::ReferralSubmitted(sent)) => sent.not_yet_keys,
            other => panic!("{other:?}"),
        }
    };
    // A coordinator reads care procedures, and no allergies: so it does not learn whether they are known.
    assert_eq!(owed(true, false), ["care_procedures"]);
    assert_eq!(owed(true, true), ["allergies", "care_procedures"]);
}
