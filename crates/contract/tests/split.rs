//! An event split into open and sealed payloads is the event again when they are laid end to end.
#![allow(clippy::unwrap_used, missing_docs)]

mod filled;

use filled::every_event;
use tasuki_contract::common::v1::Fact;
use tasuki_contract::{Classified, Event, FieldRule, RULES, SealedPart, Sink};

#[test]
fn the_pieces_of_every_event_merge_into_the_event() {
    for event in every_event() {
        let pieces = [
            event.open_payload(),
            event.sealed_payload(SealedPart::Stream),
            event.sealed_payload(SealedPart::OtherSubject),
            event.sealed_payload(SealedPart::OwnAgency),
        ];
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        let again = Event::decode(event.rule().type_name, &pieces).unwrap();
        assert_eq!(again, event, "{}", event.rule().type_name);
    }
}

#[test]
fn the_open_payload_of_every_event_holds_nothing_personal() {
    #[derive(Default)]
    struct Found(Vec<FieldRule>, Vec<String>);
    impl Sink for Found {
        fn field(&mut self, rule: FieldRule) {
            self.0.push(rule);
        }
        fn fact(&mut self, fact: &Fact) {
            self.1.push(fact.key.clone());
        }
    }
    for event in every_event() {
        let name = event.rule().type_name;
        let open = Event::decode(name, &[&event.open_payload()]).unwrap();
        let mut found = Found::default();
        open.visit(&mut found);
        assert!(found.0.is_empty() && found.1.is_empty(), "{name}: {:?} {:?}", found.0, found.1);
    }
}

#[test]
fn every_class_that_an_event_can_hold_is_in_its_rule() {
    struct Within<'a>(&'a tasuki_contract::EventRule);
    impl Sink for Within<'_> {
        fn field(&mut self, rule: FieldRule) {
            let dynamic = self.0.has_passages;
            assert!(
                dynamic || self.0.classes.contains(&rule.class),
                "{}: {:?}",
                self.0.type_name,
                rule.class
            );
        }
        fn fact(&mut self, _: &Fact) {
            assert!(self.0.has_facts, "{}", self.0.type_name);
        }
    }
    for event in every_event() {
        event.visit(&mut Within(event.rule()));
    }
}

#[test]
fn an_unknown_type_is_an_error_and_never_skipped() {
    let error = Event::decode("tasuki.future.v9.Something", &[b""]).unwrap_err();
    assert_eq!(error.to_string(), "unknown event type tasuki.future.v9.Something");
}

#[test]
fn event_types_are_found_by_name() {
    for rule in RULES {
        assert_eq!(Event::rule_of(rule.type_name).unwrap().type_name, rule.type_name);
    }
    assert!(Event::rule_of("tasuki.future.v9.Something").is_none());
}
