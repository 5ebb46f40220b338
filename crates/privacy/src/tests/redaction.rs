//! P4, the pure part: nothing that a viewer may not read is left of an event of any type, and nothing that it may
//! read is lost.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tasuki_contract::attachments::v1::AttachmentAdded;
use tasuki_contract::{Classified as _, Event, Lens as _, RULES};
use tasuki_domain::circle::Circle;
use tasuki_domain::dictionary;
use tasuki_domain::visibility::{Level, ReaderGroup};

use super::fill::{Leaf, fact_marker, filled, leaves, marker};
use super::*;
use crate::{Access, EventAccess};

/// Whether the leaf may be read, from the levels alone.
fn readable(lens: &EventAccess<'_>, leaf: &Leaf) -> bool {
    let by_rules = leaf.rules.iter().all(|rule| match lens.class_level(rule.class) {
        Level::Full => true,
        Level::Summary => rule.in_summary,
        _ => false,
    });
    by_rules
        && leaf.key.as_deref().is_none_or(|key| match lens.fact_level(key) {
            Level::Full => true,
            Level::Summary => !leaf.words,
            _ => false,
        })
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

/// Checks one reduced event in two ways: by the markers in its bytes, and by the descriptors of what is left.
fn nothing_hidden_is_left(lens: &EventAccess<'_>, event: &Event) {
    let Some(left) = lens.redact(event.clone()) else {
        assert!(lens.level() <= Level::Existence);
        return;
    };
    let bytes = left.encode_to_vec();
    for class in PERSONAL {
        for in_summary in [false, true] {
            let rule =
                tasuki_contract::FieldRule { class, in_summary, part: tasuki_contract::SealedPart::Stream };
            let may_stay = match lens.class_level(class) {
                Level::Full => true,
                Level::Summary => in_summary,
                _ => false,
            };
            assert_eq!(lens.field(rule), may_stay);
            assert!(may_stay || !contains(&bytes, &marker(rule)), "{} in {left:?}", marker(rule));
        }
    }
    for field in dictionary::all() {
        let level = lens.fact_level(&field.key);
        let words = matches!(
            field.kind,
            dictionary::Kind::Text | dictionary::Kind::TextList | dictionary::Kind::Document
        );
        let may_stay = level == Level::Full || level == Level::Summary && !words;
        assert!(may_stay || !contains(&bytes, &fact_marker(&field.key)), "{}", field.key);
    }
    // Every filled event with facts says that the family has not been told the diagnosis.
    let told = |leaf: &&Leaf| leaf.key.as_deref().is_none_or(|key| !lens.hides_untold(key));
    let kept = |leaf: &&Leaf| readable(lens, leaf) && told(leaf);
    let before: Vec<String> = leaves(event).iter().filter(kept).map(|l| l.name.clone()).collect();
    let after = leaves(&left);
    for leaf in &after {
        assert!(readable(lens, leaf), "{} of {}", leaf.name, event.rule().type_name);
    }
    // What may be read is still there. A fact in summary loses its words, and a passage goes as a whole.
    let after: BTreeSet<String> = after.into_iter().map(|l| l.name).collect();
    for name in before {
        // Keys that are owed are filtered one by one, and a marker is none of them.
        let singly = name.ends_with(".not_yet_keys");
        let passage = name.starts_with("tasuki.minutes.v1.Section.");
        assert!(
            singly || passage || after.contains(&name),
            "{name} was lost from {}",
            event.rule().type_name
        );
    }
}

#[test]
fn no_hidden_field_of_any_event_type_is_left_for_any_group_and_standing() {
    for rule in RULES {
        let event = filled(rule.type_name);
        for group in ReaderGroup::ALL {
            let me = viewer(kind_of(*group));
            for standing in Standing::ALL {
                let (circle, party) = standing.circle(&me.kind);
                let access = Access::new(&me, &circle, rules(), TODAY);
                for author in [false, true] {
                    nothing_hidden_is_left(&access.event(rule.class, party, author), &event);
                }
            }
        }
    }
}

#[test]
fn every_marker_is_in_the_filled_event_before_it_is_reduced() {
    let mut markers = 0;
    for rule in RULES {
        let event = filled(rule.type_name);
        let bytes = event.encode_to_vec();
        for leaf in leaves(&event).iter().filter(|l| l.key.is_none()) {
            for rule in &leaf.rules {
                assert!(rule.class != tasuki_contract::DataClass::Unspecified, "{}", leaf.name);
                markers += usize::from(contains(&bytes, &marker(*rule)));
            }
        }
        if rule.has_facts {
            assert!(
                contains(&bytes, &fact_marker("name_kanji")) && contains(&bytes, &fact_marker("allergies"))
            );
        }
        for class in rule.classes {
            assert!(
                leaves(&event).iter().any(|l| l.rules.iter().any(|r| r.class == *class)),
                "{}",
                rule.type_name
            );
        }
    }
    assert!(markers > 100, "{markers}");
}

#[test]
fn an_author_reads_its_own_event_whole_but_for_what_is_sealed() {
    let me = viewer("other");
    let empty = Circle::default();
    let access = Access::new(&me, &empty, rules(), TODAY);
    for rule in RULES.iter().filter(|r| PERSONAL.contains(&r.class)) {
        let event = filled(rule.type_name);
        let left = access.event(rule.class, false, true).redact(event.clone()).unwrap();
        let sealed = |l: &Leaf| {
            l.rules.iter().any(|r| r.class == tasuki_contract::DataClass::Sealed)
                || l.key.as_deref() == Some("safeguarding_concern")
        };
        let passage = |l: &Leaf| l.name.starts_with("tasuki.minutes.v1.Section.");
        let kept =
            |e: &Event| leaves(e).iter().filter(|l| !sealed(l) && !passage(l) && l.key.is_none()).count();
        assert_eq!(kept(&event), kept(&left), "{}", rule.type_name);
        if rule.has_passages {
            // One passage of each class was said; the sealed one goes, and the one that claims to be no class.
            assert_eq!(leaves(&left).iter().filter(|l| passage(l)).count(), 2 * (PERSONAL.len() - 1));
        }
    }
}

#[test]
fn the_event_types_with_passages_are_those_of_the_contract() {
    let pool = super::fill::pool();
    let holds_passages = |name: &str| {
        let message = pool.get_message_by_name(name).unwrap();
        let names_a_class =
            |m: &prost_reflect::MessageDescriptor| m.get_field_by_name("data_class").is_some();
        names_a_class(&message)
            || message
                .fields()
                .any(|f| matches!(f.kind(), prost_reflect::Kind::Message(m) if names_a_class(&m)))
    };
    for rule in RULES {
        assert_eq!(rule.has_passages, holds_passages(rule.type_name), "{}", rule.type_name);
    }
    assert!(RULES.iter().any(|rule| rule.has_passages));
}

#[test]
fn a_document_is_read_as_an_event_of_the_class_that_it_names() {
    let text = "TITLE-OF-A-DOCUMENT";
    for class in PERSONAL {
        let added = AttachmentAdded {
            data_class: class.into(),
            title: text.to_owned(),
            sha256: text.as_bytes().to_vec(),
            ..AttachmentAdded::default()
        };
        let event = Event::from(added);
        assert_eq!(event.class(), class);
        for group in ReaderGroup::ALL {
            let me = viewer(kind_of(*group));
            for standing in Standing::ALL {
                let (circle, party) = standing.circle(&me.kind);
                let access = Access::new(&me, &circle, InForce::standard(), TODAY);
                let lens = access.event(event.class(), party, false);
                let left = lens.redact(event.clone());
                let shown = left.is_some_and(|left| contains(&left.encode_to_vec(), text));
                assert_eq!(shown, lens.level() == Level::Full, "{class:?} {group:?} {standing:?}");
                let withheld = lens.withheld_classes(event.rule()).contains(&class);
                assert_eq!(withheld, lens.level() < Level::Full, "{class:?} {group:?} {standing:?}");
            }
        }
    }
    // Who names no class, or one that is not personal, opens nothing with it.
    for class in [DataClass::Unspecified, DataClass::NotPersonal, DataClass::ByField] {
        let title = text.to_owned();
        let event = Event::from(AttachmentAdded { data_class: class.into(), title, ..Default::default() });
        assert_eq!(event.class(), DataClass::Sealed);
        assert!(!contains(&event.open_payload(), text), "{class:?}");
    }
}

fn any_circle() -> impl Strategy<Value = (Circle, String)> {
    let classes = proptest::sample::subsequence(PERSONAL.to_vec(), 0..=PERSONAL.len());
    let keys = proptest::sample::subsequence(
        dictionary::all().iter().map(|f| f.key.clone()).collect::<Vec<_>>(),
        0..8,
    );
    let one = (0..3usize, classes, keys, proptest::option::of(TODAY - 1..TODAY + 2));
    let relations = proptest::collection::btree_set(1..=8i32, 0..4);
    let group = proptest::sample::select(ReaderGroup::ALL.to_vec());
    (group, relations, proptest::collection::vec(one, 0..4)).prop_map(|(group, relations, grants)| {
        let kind = kind_of(group).to_owned();
        let relations: Vec<_> = relations.into_iter().filter_map(|r| Relation::try_from(r).ok()).collect();
        let grants = grants.into_iter().map(|(who, classes, keys, valid_to_day)| {
            let recipient = match who {
                0 => Recipient::Post(ME),
                1 => Recipient::Agency(MY_AGENCY),
                _ => Recipient::Kind(kind.clone()),
            };
            Grant { excluded_keys: keys.into_iter().collect(), valid_to_day, ..grant(recipient, classes) }
        });
        (circle(&relations, grants.collect::<Vec<_>>()), kind)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn retaining_leaves_no_field_whose_class_the_viewer_may_not_read(
        (circle, kind) in any_circle(),
        party: bool,
        author in proptest::bool::weighted(0.2),
    ) {
        let me = viewer(&kind);
        let access = Access::new(&me, &circle, rules(), TODAY);
        for rule in RULES {
            nothing_hidden_is_left(&access.event(rule.class, party, author), &filled(rule.type_name));
        }
    }

    #[test]
    fn reducing_twice_is_reducing_once((circle, kind) in any_circle(), party: bool) {
        let me = viewer(&kind);
        let access = Access::new(&me, &circle, rules(), TODAY);
        for rule in RULES {
            let lens = access.event(rule.class, party, false);
            let once = lens.redact(filled(rule.type_name));
            let twice = once.clone().and_then(|event| lens.redact(event));
            prop_assert_eq!(once.clone(), twice);
            // The lens alone, without the passages being dropped first, hides no less.
            if let (Some(once), mut event) = (once, filled(rule.type_name)) {
                event.retain(&lens);
                prop_assert!(event.encode_to_vec().len() >= once.encode_to_vec().len());
            }
        }
    }

    #[test]
    fn a_grant_more_never_takes_anything_away((circle, kind) in any_circle()) {
        let me = viewer(&kind);
        let mut more = circle.clone();
        more.grants.insert(GrantId(Uuid::from_u128(9)), grant(Recipient::Post(ME), PERSONAL));
        let (less, more) = (Access::new(&me, &circle, rules(), TODAY), Access::new(&me, &more, rules(), TODAY));
        for class in PERSONAL {
            prop_assert!(less.class_level(class) <= more.class_level(class));
        }
        for field in dictionary::all() {
            prop_assert!(less.fact_level(&field.key) <= more.fact_level(&field.key));
        }
    }
}
