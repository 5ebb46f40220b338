//! Claims about what is told of access: it is what the access is, and it names what decided.

use tasuki_domain::codes::Lang;
use tasuki_domain::dictionary;
use tasuki_domain::policy::Policy;
use tasuki_domain::visibility::Level;

use super::*;
use crate::Access;

#[test]
fn what_is_told_is_what_is_seen_for_every_class_key_standing_and_purpose() {
    for group in ReaderGroup::ALL {
        for standing in Standing::ALL {
            for purpose in ["care_coordination", "nursery_entry", "administration"] {
                let me = Viewer { purpose: Purpose::of(purpose), ..viewer(kind_of(*group)) };
                let (circle, _) = standing.circle(&me.kind);
                let access = Access::new(&me, &circle, rules(), TODAY);
                for (told, class) in access.explain_classes().iter().zip(PERSONAL) {
                    assert_eq!((told.name, told.level), (class.as_str_name(), access.class_level(class)));
                    assert!(!told.why(Lang::Ja).is_empty() && !told.why(Lang::En).is_empty(), "{class:?}");
                    // Whatever is read rests on a line of the policy.
                    assert!(
                        told.level == Level::None || told.line > 0,
                        "{class:?} for {group} as {standing:?}"
                    );
                }
                for (told, field) in access.explain_keys().iter().zip(dictionary::all()) {
                    let level = access.event(DataClass::ReferralState, true, false).fact_level(&field.key);
                    assert_eq!((told.name, told.level), (field.key.as_str(), level), "{group} {standing:?}");
                }
            }
        }
    }
}

#[test]
fn the_line_that_is_told_is_the_line_of_the_file() {
    let me = viewer("municipal_disability_welfare");
    let (circle, _) = Standing::MemberWithGrant.circle(&me.kind);
    let access = Access::new(&me, &circle, rules(), TODAY);
    let all = access.explain_classes();
    let care = all.iter().find(|told| told.name == "CARE_PROCEDURE").unwrap();
    let line = tasuki_domain::policy::DEFAULT.lines().nth(care.line - 1).unwrap();
    assert!(line.starts_with("summary") && line.contains("WEL"), "{line}");
    assert!(care.why(Lang::En).contains(&format!("policy line {}: summary", care.line)));
    assert!(care.why(Lang::Ja).contains("要約") && care.grants.len() == 1);
    assert!(Policy::standard().line(&tasuki_domain::policy::Place::Purpose("disaster")).is_some());
}

#[test]
fn a_purpose_that_narrows_is_named() {
    let me = Viewer { purpose: Purpose::of("administration"), ..viewer("mcc_coordinator_office") };
    let (circle, _) = Standing::MemberWithGrant.circle(&me.kind);
    let told = Access::new(&me, &circle, rules(), TODAY).explain_classes();
    let identity = told.iter().find(|told| told.name == "IDENTITY").unwrap();
    assert_eq!(identity.level, Level::None);
    assert!(identity.why(Lang::En).contains("for administration"), "{}", identity.why(Lang::En));
}
