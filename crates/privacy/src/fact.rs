//! Facts: the field dictionary decides about each key, the grants whether at all, policy and purpose how far.
//!
//! Never looks at a value to decide, but for the flag of a diagnosis that the family has not been told. A value is only
//! cut down to what a summary keeps.

use std::sync::LazyLock;

use tasuki_contract::DataClass;
use tasuki_contract::common::v1::{Fact, fact::Value};
use tasuki_domain::dictionary;
use tasuki_domain::policy::{Caps, InForce, KeySet, Policy};
use tasuki_domain::visibility::Level;

use crate::access::Access;
use crate::class;

/// The key of the flag that says that the family has not been told the diagnosis.
pub const UNTOLD: &str = "diagnosis_not_disclosed";

/// What a post reads of each key: of a member by table, of who is asked in what is put before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// In full.
    pub full: KeySet,
    /// In full or in summary.
    pub summary: KeySet,
    /// Hidden where the record says that the family has not been told the diagnosis.
    pub untold: KeySet,
}

impl Facts {
    pub(crate) fn of(access: &Access<'_>) -> Self {
        let Some(group) = access.group else { return Self { untold: KeySet::all(), ..Self::default() } };
        let (granted, named) = granted(access);
        let mut facts = Self { full: KeySet::all(), summary: KeySet::all(), untold: KeySet::EMPTY };
        for policy in access.rules.all() {
            let keys = policy.keys(group);
            let mut full = keys.full.and(granted).or(keys.named_full.and(named));
            let mut summary = keys.summary.and(granted).or(keys.named_summary.and(named));
            let caps = |caps: &Caps| (caps.full, caps.summary);
            let widest = |(full, summary): (KeySet, KeySet), caps: (KeySet, KeySet)| {
                (full.or(caps.0), summary.or(caps.1))
            };
            let in_relation = access.relations().map(|relation| caps(policy.in_relation(relation)));
            let in_relation = in_relation.fold((KeySet::EMPTY, KeySet::EMPTY), widest);
            let for_purpose = policy.for_purpose(access.viewer.purpose).map(caps);
            for (most_full, most_summary) in [in_relation].into_iter().chain(for_purpose) {
                (full, summary) = (full.and(most_full), summary.and(most_summary));
            }
            if let Some(before) = policy.before_acceptance(group).filter(|_| access.only_asked) {
                (full, summary) = (KeySet::EMPTY, summary.and(before));
            }
            if access.kept_away {
                let hidden = policy.hidden_by_address();
                (full, summary) = (full.without(hidden), summary.without(hidden));
            }
            facts.full = facts.full.and(full);
            facts.summary = facts.summary.and(summary);
            facts.untold = facts.untold.or(policy.hidden_when_untold(Some(group)));
        }
        facts
    }

    pub(crate) fn level(&self, key: &str) -> Level {
        match dictionary::place(key) {
            Some(place) if self.full.has(place) => Level::Full,
            Some(place) if self.summary.has(place) => Level::Summary,
            _ => Level::None,
        }
    }
}

/// The keys that some grant allows, and those that one allows that names the post itself.
fn granted(access: &Access<'_>) -> (KeySet, KeySet) {
    let (mut granted, mut named) = (KeySet::EMPTY, KeySet::EMPTY);
    for (_, grant) in access.covering() {
        let opened = grant.classes.iter().filter(|class| access.opens(grant, **class));
        let mut keys = opened.fold(KeySet::EMPTY, |all, class| all.or(class::keys(*class)));
        for place in grant.excluded_keys.iter().filter_map(|key| dictionary::place(key)) {
            keys.remove(place);
        }
        granted = granted.or(keys);
        if access.names_post(grant) {
            named = named.or(keys);
        }
    }
    let restricted = class::keys(DataClass::Restricted);
    if access.family {
        granted = KeySet::all();
    }
    // What is restricted needs a grant that names the post itself, from a family too.
    (granted.without(restricted).or(named.and(restricted)), named)
}

impl Access<'_> {
    /// How much the viewer reads of a fact of this key, own parts aside: by dictionary, grants, policy and purpose.
    ///
    /// Members only; an unknown key gives nothing. [`Level::Own`] in the dictionary gives nothing here: the
    /// recording agency reads its own facts through [`EventAccess`](crate::EventAccess).
    pub fn fact_level(&self, key: &str) -> Level {
        if self.member { self.facts().level(key) } else { Level::None }
    }

    /// Dictionary keys that the card withholds in whole or in part, in the dictionary's order, known or not.
    ///
    /// Among them are those of which some may be hidden as untold to the family, though the rest is read in full.
    pub fn withheld_keys(&self) -> Vec<&'static str> {
        self.keys_named().keys().collect()
    }

    /// The keys that a card names as withheld.
    pub(crate) fn keys_named(&self) -> KeySet {
        let full = if self.member { self.facts().full.without(self.facts().untold) } else { KeySet::EMPTY };
        all().without(full)
    }

    /// Takes out what the family has not been told, where the facts say so and the viewer may not know.
    ///
    /// Of one record, or of all that is known of a case: facts that were said together are judged together.
    pub fn drop_untold(&self, facts: &mut Vec<Fact>) {
        if says_untold(facts.iter()) {
            facts.retain(|fact| !self.hides_untold(&fact.key));
        }
    }

    /// Whether the key is hidden from the viewer where a diagnosis is untold.
    pub fn hides_untold(&self, key: &str) -> bool {
        let hidden = if self.in_circle() { self.facts().untold } else { untold_to_all(&self.rules) };
        dictionary::place(key).is_none_or(|place| hidden.has(place))
    }
}

/// Whether the facts say that the family has not been told the diagnosis.
pub fn says_untold<'f>(mut facts: impl Iterator<Item = &'f Fact>) -> bool {
    facts.any(|fact| fact.key == UNTOLD && fact.value == Some(Value::Flag(true)))
}

fn untold_to_all(rules: &InForce) -> KeySet {
    rules.all().map(|policy| policy.hidden_when_untold(None)).fold(KeySet::EMPTY, KeySet::or)
}

/// Every key of the dictionary.
pub(crate) fn all() -> KeySet {
    static ALL: LazyLock<KeySet> = LazyLock::new(KeySet::all);
    *ALL
}

/// Cuts a fact down to a level; false when it goes altogether.
///
/// A summary keeps the value of the keys that the policies list, and never words: the value of anything else is left
/// unset, which no request may: an empty list would say "none". Key and fact stay.
pub(crate) fn reduce(fact: &mut Fact, level: Level, rules: &InForce) -> bool {
    match level {
        Level::Full => true,
        Level::Summary => {
            let words = matches!(fact.value, Some(Value::Text(_) | Value::Texts(_) | Value::Document(_)));
            let listed =
                |policy: &Policy| dictionary::place(&fact.key).is_some_and(|p| policy.summary.has(p));
            if words || !rules.all().all(listed) {
                fact.value = None;
            }
            true
        }
        Level::None | Level::Existence | Level::Own => false,
    }
}
