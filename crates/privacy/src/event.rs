//! One event for one viewer: whether it is seen, what of it, and what is withheld from events of its type.
//!
//! The lens works field by field through the generated code of the contract; this file adds what the classes of
//! fields cannot say: own parts, own words, and posts that are asked no more.

use tasuki_contract::common::v1::Fact;
use tasuki_contract::minutes::v1::Section;
use tasuki_contract::{Classified as _, DataClass, Event, EventRule, FieldRule, Lens};
use tasuki_domain::dictionary;
use tasuki_domain::policy::KeySet;
use tasuki_domain::visibility::{self, Level};

use crate::access::Access;
use crate::class::{self, PERSONAL};
use crate::fact::{self, Facts};

/// Events that put a question before a post. Who no longer stands in the circle keeps its own answer of them only.
const ASKING: [DataClass; 2] = [DataClass::ReferralState, DataClass::Handoff];

/// What a viewer may read of events of one class.
#[derive(Clone, Debug)]
pub struct EventAccess<'a> {
    access: &'a Access<'a>,
    class: DataClass,
    part: Part,
    is_author: bool,
}

/// How much of an event is the viewer's own part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// None of it.
    None,
    /// That it is there, and its open fields.
    Open,
    /// The event with its own class.
    Whole,
}

impl<'a> EventAccess<'a> {
    pub(crate) fn new(access: &'a Access<'a>, class: DataClass, part: Part, is_author: bool) -> Self {
        // Who stands in the circle no more is asked nothing any more.
        let asked_no_more = ASKING.contains(&class) && !access.in_circle();
        let part = if part == Part::Whole && asked_no_more { Part::Open } else { part };
        // A part that names the offices around the child is none of a guardian's from whom they are kept.
        let tells =
            class::in_tables(class).is_none_or(|c| access.rules.all().any(|p| p.closed_by_address(c)));
        let part = if access.kept_away && tells { Part::None } else { part };
        Self { access, class, part, is_author }
    }

    /// Whether the event stands in the viewer's feed, or would: having recorded it is not enough, since another post
    /// of the same agency may have.
    pub fn is_told(&self) -> bool {
        let told = Self { is_author: false, ..self.clone() };
        told.level() > Level::None
    }

    /// How much the viewer learns of the event itself. Events that are not personal stand in no feed.
    pub fn level(&self) -> Level {
        if PERSONAL.contains(&self.class) { self.class_level(self.class) } else { Level::None }
    }

    /// How much of a class the viewer reads inside the event.
    pub fn class_level(&self, class: DataClass) -> Level {
        if class == DataClass::Sealed || !PERSONAL.contains(&class) {
            return Level::None;
        }
        if self.is_author {
            return Level::Full;
        }
        let by_circle = self.access.class_level(class);
        match self.part {
            Part::Whole if class == self.class => Level::Full,
            Part::Open if class == self.class => by_circle.max(Level::Own),
            _ => by_circle,
        }
    }

    /// How much the viewer reads of a fact of this key inside the event.
    pub fn fact_level(&self, key: &str) -> Level {
        if self.is_author {
            let own = dictionary::field(key).is_some_and(|field| {
                !matches!(field.class, visibility::DataClass::Sealed | visibility::DataClass::NotPersonal)
            });
            return if own { Level::Full } else { Level::None };
        }
        self.facts().map_or(Level::None, |facts| facts.level(key))
    }

    /// What is read of each key inside the event, by anybody but its author.
    fn facts(&self) -> Option<&Facts> {
        (self.access.member || self.part == Part::Whole && self.access.only_asked)
            .then(|| self.access.facts())
    }

    /// Keys that are not read in full, or of which a part may be hidden as untold to the family.
    fn keys_named(&self) -> KeySet {
        let full = match self.facts() {
            _ if self.is_author => fact::all().without(class::keys(DataClass::Sealed)),
            Some(facts) => facts.full.without(facts.untold),
            None => KeySet::EMPTY,
        };
        fact::all().without(full)
    }

    /// Classes that are withheld in whole or in part from events of this type, whether or not anything is in them.
    ///
    /// Shape: in the order of the contract, each once. The answer depends on viewer, circle, policy, day, and on who
    /// recorded the event and is party to it; never on its content.
    pub fn withheld_classes(&self, rule: &EventRule) -> Vec<DataClass> {
        let of_keys = class::of_keys(if rule.has_facts { self.keys_named() } else { KeySet::EMPTY });
        let withheld = |class: &DataClass| {
            let held = rule.has_passages || rule.class == *class || rule.classes.contains(class);
            held && self.class_level(*class) < Level::Full || of_keys.has(*class)
        };
        PERSONAL.into_iter().filter(withheld).collect()
    }

    /// Dictionary keys of which a fact in an event of this type is withheld in whole or in part, whether or not there
    /// is one.
    ///
    /// Shape: in the dictionary's order; empty for a type without facts. Depends on what
    /// [`withheld_classes`](Self::withheld_classes) depends on, never on content.
    pub fn withheld_keys(&self, rule: &EventRule) -> Vec<&'static str> {
        if !rule.has_facts {
            return Vec::new();
        }
        let named = if self.level() <= Level::Existence { fact::all() } else { self.keys_named() };
        let mut keys = Vec::with_capacity(named.len());
        keys.extend(named.keys());
        keys
    }

    /// Whether a fact of the key is hidden in a record that says that the family has not been told the diagnosis.
    pub fn hides_untold(&self, key: &str) -> bool {
        !self.is_author && self.access.hides_untold(key)
    }

    /// The event reduced to what the viewer may read; `None` where at most its existence may be known.
    pub fn redact(&self, mut event: Event) -> Option<Event> {
        if self.level() <= Level::Existence {
            return None;
        }
        let lens = self.told(&event);
        // An emptied passage would still tell that something of its class was said.
        let stays = |section: &Section| self.keeps(section.data_class(), false);
        match &mut event {
            Event::CaseMinutesDrafted(minutes) => minutes.sections.retain(stays),
            Event::MinutesDrafted(minutes) => minutes.sections.retain(stays),
            // That a fact is still owed tells that it is not held: only to those who would get it.
            Event::ReferralSubmitted(sent) => {
                sent.not_yet_keys.retain(|key| self.is_author || self.fact_level(key) >= Level::Summary);
            }
            _ => {}
        }
        event.retain(&lens).then_some(event)
    }

    /// The lens for this event, which is looked into for the flag of an untold diagnosis and nothing else.
    pub(crate) fn told(&self, event: &Event) -> Told<'_, 'a> {
        Told { lens: self, untold: fact::says_untold(event.facts().iter()) }
    }

    fn keeps(&self, class: DataClass, in_summary: bool) -> bool {
        match self.class_level(class) {
            Level::Full => true,
            Level::Summary => in_summary,
            Level::None | Level::Existence | Level::Own => false,
        }
    }
}

impl Lens for EventAccess<'_> {
    fn field(&self, rule: FieldRule) -> bool {
        rule.class == DataClass::NotPersonal || self.keeps(rule.class, rule.in_summary)
    }

    fn fact(&self, fact: &mut Fact) -> bool {
        fact::reduce(fact, self.fact_level(&fact.key), &self.access.rules)
    }
}

/// The lens for an event that was looked into for the flag of an untold diagnosis.
pub(crate) struct Told<'l, 'a> {
    lens: &'l EventAccess<'a>,
    untold: bool,
}

impl Lens for Told<'_, '_> {
    fn field(&self, rule: FieldRule) -> bool {
        self.lens.field(rule)
    }

    fn fact(&self, fact: &mut Fact) -> bool {
        !(self.untold && self.lens.hides_untold(&fact.key)) && self.lens.fact(fact)
    }
}
