//! Claims about purposes, what a few may read, and what is kept from a guardian.

use tasuki_contract::common::v1::{Fact, fact::Value};
use tasuki_contract::intake::v1::ReferralSubmitted;
use tasuki_contract::{Event, RULES};
use tasuki_domain::dictionary;
use tasuki_domain::policy::Policy;
use tasuki_domain::visibility::Level;

use super::*;
use crate::Access;

fn of(kind: &str, purpose: &str) -> Viewer {
    Viewer { purpose: Purpose::of(purpose), ..viewer(kind) }
}

#[test]
fn a_purpose_only_ever_narrows_and_an_unknown_one_reads_nothing() {
    for group in ReaderGroup::ALL {
        for standing in Standing::ALL {
            let any = Viewer { purpose: Purpose::Any, ..viewer(kind_of(*group)) };
            let (circle, _) = standing.circle(&any.kind);
            let widest = Access::new(&any, &circle, rules(), TODAY);
            for purpose in tasuki_domain::purpose::PURPOSES.iter().copied().chain(["", "curiosity"]) {
                let me = of(&any.kind, purpose);
                let access = Access::new(&me, &circle, rules(), TODAY);
                for class in PERSONAL {
                    assert!(access.class_level(class) <= widest.class_level(class));
                    assert!(!purpose.is_empty() || access.class_level(class) == Level::None);
                }
                for field in dictionary::all() {
                    assert!(access.fact_level(&field.key) <= widest.fact_level(&field.key), "{}", field.key);
                    assert!(purpose != "curiosity" || access.fact_level(&field.key) == Level::None);
                }
            }
        }
    }
}

#[test]
fn what_is_restricted_is_read_by_named_posts_for_a_purpose_that_the_policy_lists_and_by_nobody_else() {
    let restricted = || dictionary::all().iter().filter(|f| f.class.name() == "RESTRICTED");
    for group in ReaderGroup::ALL {
        for standing in Standing::ALL.into_iter().filter(|s| *s != Standing::MemberNamed) {
            let me = of(kind_of(*group), "care_coordination");
            let (circle, party) = standing.circle(&me.kind);
            let access = Access::new(&me, &circle, rules(), TODAY);
            let event = access.event(DataClass::ReferralState, party, false);
            for field in restricted() {
                assert_eq!(access.fact_level(&field.key), Level::None, "{} {group} {standing:?}", field.key);
                assert_eq!(event.fact_level(&field.key), Level::None, "{} {group} {standing:?}", field.key);
            }
        }
    }
    let level = |purpose| {
        let me = of("mcc_coordinator_office", purpose);
        let (circle, _) = Standing::MemberNamed.circle(&me.kind);
        Access::new(&me, &circle, rules(), TODAY).fact_level("parent_health")
    };
    assert_eq!(level("care_coordination"), Level::Full);
    for purpose in ["discharge_coordination", "nursery_entry", "disaster", "emergency", "administration", ""]
    {
        assert_eq!(level(purpose), Level::None, "{purpose}");
    }
}

fn referral(told: bool) -> Event {
    let fact = |key: &str, value| Fact { key: key.into(), value: Some(value), ..Fact::default() };
    let facts = vec![
        fact("diagnosis_not_disclosed", Value::Flag(!told)),
        fact("primary_diagnosis", Value::Text("x".into())),
        fact("birth_date", Value::Text("y".into())),
    ];
    ReferralSubmitted { facts, ..ReferralSubmitted::default() }.into()
}

#[test]
fn an_untold_diagnosis_reaches_neither_the_family_nor_any_but_the_doctors() {
    for group in ReaderGroup::ALL {
        for standing in Standing::ALL {
            let me = viewer(kind_of(*group));
            let (circle, party) = standing.circle(&me.kind);
            let access = Access::new(&me, &circle, rules(), TODAY);
            let lens = access.event(DataClass::ReferralState, party, false);
            let keys = |event| -> Vec<String> {
                lens.redact(event).iter().flat_map(Event::facts).map(|fact| fact.key).collect()
            };
            let doctor = matches!(group, ReaderGroup::Hosp | ReaderGroup::Hvm);
            let untold = keys(referral(false));
            assert!(doctor || !untold.contains(&"primary_diagnosis".to_owned()), "{group} {standing:?}");
            // The list of what is withheld is the same, told or untold, and names the key.
            let rule = referral(true).rule();
            assert!(
                doctor || lens.withheld_keys(rule).contains(&"primary_diagnosis"),
                "{group} {standing:?}"
            );
            assert!(doctor || access.withheld_keys().contains(&"primary_diagnosis"), "{group}");
            if keys(referral(true)).contains(&"birth_date".to_owned()) {
                assert!(untold.contains(&"birth_date".to_owned()), "the rest stays");
            }
        }
    }
    let family = viewer("family");
    let (circle, _) = Standing::Family.circle("family");
    let access = Access::new(&family, &circle, rules(), TODAY);
    assert_eq!(access.fact_level("primary_diagnosis"), Level::Full, "once told, it is the family's");
}

#[test]
fn a_guardian_from_whom_the_address_is_kept_learns_nothing_of_where_the_child_is() {
    let me = viewer("family");
    let kept = circle(&[Relation::Family, Relation::KeptAway], []);
    let access = Access::new(&me, &kept, rules(), TODAY);
    for key in ["address_text", "current_enrollment", "emergency_hospital", "phone_primary", "support_circle"]
    {
        assert_eq!(access.fact_level(key), Level::None, "{key}");
        assert!(access.withheld_keys().contains(&key), "{key}");
    }
    assert_eq!(access.fact_level("allergies"), Level::Full, "it stays a guardian");
    // No event that names an office nearby, not even one that names the guardian as party.
    for rule in RULES.iter().filter(|rule| Policy::standard().closed_by_address(tables(rule.class))) {
        for party in [false, true] {
            let event = access.event(rule.class, party, false);
            assert!(!event.is_told() && event.level() == Level::None, "{}", rule.type_name);
        }
    }
    // The other guardian is a viewer of its own.
    let other = circle(&[Relation::Family], []);
    assert_eq!(Access::new(&me, &other, rules(), TODAY).fact_level("address_text"), Level::Full);
    // Being kept away makes nobody a member.
    let alone = circle(&[Relation::KeptAway], []);
    assert!(!Access::new(&me, &alone, rules(), TODAY).in_circle());
}

fn tables(class: DataClass) -> tasuki_domain::visibility::DataClass {
    crate::class::in_tables(class).unwrap_or(tasuki_domain::visibility::DataClass::NotPersonal)
}

#[test]
fn of_two_policies_the_stricter_applies_at_every_point() {
    let narrow = include_str!("../../../../deploy/policies/example-narrow.toml");
    let elsewhere = Some(std::sync::Arc::new(Policy::read(narrow).unwrap()));
    let both = || InForce { elsewhere: elsewhere.clone(), ..rules() };
    let closed = || InForce { elsewhere: Some(std::sync::Arc::new(Policy::closed())), ..rules() };
    for group in ReaderGroup::ALL {
        let me = viewer(kind_of(*group));
        let (circle, _) = Standing::MemberNamed.circle(&me.kind);
        let access = |rules| Access::new(&me, &circle, rules, TODAY);
        let only = InForce::only(elsewhere.clone().unwrap());
        for class in PERSONAL {
            let (a, b) = (access(rules()).class_level(class), access(only.clone()).class_level(class));
            assert_eq!(access(both()).class_level(class), a.min(b), "{class:?} {group}");
            assert_eq!(access(closed()).class_level(class), Level::None);
        }
        for field in dictionary::all() {
            let (a, b) =
                (access(rules()).fact_level(&field.key), access(only.clone()).fact_level(&field.key));
            assert_eq!(access(both()).fact_level(&field.key), a.min(b), "{} {group}", field.key);
        }
    }
}
