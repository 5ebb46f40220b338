//! Facts: the field dictionary decides about each key, the grants whether at all.
//!
//! Never looks at a value to decide; a value is only cut down to what a summary keeps.

use tasuki_contract::DataClass;
use tasuki_contract::common::v1::{Fact, fact::Value};
use tasuki_domain::dictionary::{self, Field};
use tasuki_domain::visibility::{Level, ReaderGroup};

use crate::access::Access;
use crate::class;

/// All that a nursery, school or provider learns of a child before it takes the child up: which care, by codes.
const BEFORE_ACCEPTANCE: &str = "care_procedures";

impl Access<'_> {
    /// How much the viewer reads of a fact of this key, own parts aside: by dictionary and grants.
    ///
    /// Members only; an unknown key gives nothing. [`Level::Own`] in the dictionary gives nothing here: the
    /// recording agency reads its own facts through [`EventAccess`](crate::EventAccess).
    pub fn fact_level(&self, key: &str) -> Level {
        match dictionary::field(key) {
            Some(field) if self.member => self.by_dictionary(field),
            _ => Level::None,
        }
    }

    /// What a post reads of a fact in a referral or hand-off that is put before it.
    pub(crate) fn fact_level_when_asked(&self, key: &str) -> Level {
        let (true, Some(group), Some(field)) = (self.only_asked, self.group, dictionary::field(key)) else {
            return Level::None;
        };
        let level = self.by_dictionary(field);
        match group {
            ReaderGroup::Nur | ReaderGroup::Sch | ReaderGroup::Prov if key == BEFORE_ACCEPTANCE => {
                level.min(Level::Summary)
            }
            ReaderGroup::Nur | ReaderGroup::Sch | ReaderGroup::Prov => Level::None,
            _ => level,
        }
    }

    /// Dictionary keys that the card withholds in whole or in part, in the dictionary's order, known or not.
    pub fn withheld_keys(&self) -> Vec<&'static str> {
        self.keys_below_full().map(|field| field.key.as_str()).collect()
    }

    /// Classes of which some key is withheld in whole or in part.
    pub(crate) fn classes_with_withheld_keys(&self) -> &[DataClass] {
        self.partly_withheld.get_or_init(|| {
            let mut classes: Vec<_> = self.keys_below_full().map(|f| class::in_contract(f.class)).collect();
            classes.sort_unstable();
            classes.dedup();
            classes
        })
    }

    /// Whether the viewer reads some fact of the class, at least in summary.
    pub(crate) fn reads_a_key_of(&self, class: DataClass) -> bool {
        let mut of_class = dictionary::all().iter().filter(|field| class::in_contract(field.class) == class);
        of_class.any(|field| self.fact_level(&field.key) >= Level::Summary)
    }

    fn keys_below_full(&self) -> impl Iterator<Item = &'static Field> {
        dictionary::all().iter().filter(|field| self.fact_level(&field.key) < Level::Full)
    }

    fn by_dictionary(&self, field: &Field) -> Level {
        let Some(group) = self.group else { return Level::None };
        let class = class::in_contract(field.class);
        if class == DataClass::Sealed || !self.allowed(class, Some(&field.key)) {
            return Level::None;
        }
        let table = class::cell(class, group).map_or(Level::None, |cell| cell.ceiling);
        let most = field.ceiling(group);
        // Above the class's ceiling there is only what the dictionary keeps for posts that a grant names.
        let level =
            if most > table && self.allowed_by_name(class, &field.key) { most } else { field.level(group) };
        // That a fact exists, without its value, is no use to a reader and tells what was meant to be withheld.
        if level < Level::Summary { Level::None } else { level }
    }
}

/// Cuts a fact down to a level; false when it goes altogether.
///
/// A summary keeps codes, dates, numbers and yes or no. The value of a text, a list of texts or a document is left
/// unset, which no request may: an empty list would say "none". Key and fact stay.
pub(crate) fn reduce(fact: &mut Fact, level: Level) -> bool {
    match level {
        Level::Full => true,
        Level::Summary => {
            let is_words = matches!(fact.value, Some(Value::Text(_) | Value::Texts(_) | Value::Document(_)));
            if is_words {
                fact.value = None;
            }
            true
        }
        Level::None | Level::Existence | Level::Own => false,
    }
}
