//! What a policy comes to, key by key: prepared once, so that evaluating it for a reader takes no look at any text.

use std::sync::LazyLock;

use super::{CLASSES, KeySet, Levels, Policy};
use crate::dictionary::{Context, Field, Requirement};
use crate::visibility::{Cell, DataClass, Level, ReaderGroup};

/// The most that is read, for a purpose or in a relation.
#[derive(Clone, Debug)]
pub struct Caps {
    levels: Levels,
    /// Keys that may be read in full.
    pub full: KeySet,
    /// Keys that may be read in full or in summary.
    pub summary: KeySet,
}

impl Caps {
    /// The caps of these levels; with a form, of facts only the keys that the form asks for or allows.
    pub(super) fn new(levels: Levels, form: Option<Context>) -> Self {
        let at_least = |level| {
            KeySet::of(|field| {
                let in_form =
                    |form| matches!(field.requirement(form), Requirement::Required | Requirement::Optional);
                levels[field.class as usize] >= level && form.is_none_or(in_form)
            })
        };
        Self { levels, full: at_least(Level::Full), summary: at_least(Level::Summary) }
    }

    /// Nothing is read.
    pub fn nothing() -> &'static Self {
        static NOTHING: LazyLock<Caps> = LazyLock::new(|| Caps::new([Level::None; CLASSES], None));
        &NOTHING
    }

    /// The most that is read of a class.
    pub fn level(&self, class: DataClass) -> Level {
        self.levels[class as usize]
    }
}

/// What a group reads of each key by dictionary and policy, before grants, relation and purpose.
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupKeys {
    /// In full.
    pub full: KeySet,
    /// In full or in summary.
    pub summary: KeySet,
    /// In full, for a post that a grant names.
    pub named_full: KeySet,
    /// In full or in summary, for a post that a grant names.
    pub named_summary: KeySet,
}

impl GroupKeys {
    /// `cell` gives what the group sees of a class, if the file names it, and `standard` what it sees by the policy that comes along;
    /// `narrowed` what the file says of a key.
    pub(super) fn new(
        group: ReaderGroup,
        cell: impl Fn(DataClass) -> Option<Cell>,
        standard: Option<&Policy>,
        narrowed: impl Fn(&Field) -> Option<Level>,
    ) -> Self {
        let level = |field: &Field, by_name: bool| {
            // What the file does not name is not read, whatever the dictionary says.
            let Some(here) = cell(field.class) else { return Level::None };
            // A class that is narrower than by default narrows its keys too.
            let narrower = standard.map(|s| s.cell(field.class, group)).filter(|s| here.ceiling < s.ceiling);
            let most = match narrower {
                Some(_) => here.ceiling,
                None => Level::Full,
            };
            let named = if field.is_by_grant(group) { Level::Full } else { Level::None };
            let own_word = field.level(group).max(named);
            // Above the class's ceiling there is only what the dictionary keeps for posts that a grant names.
            let level = if by_name && own_word > here.ceiling { own_word } else { field.level(group) };
            match field.class {
                DataClass::Sealed | DataClass::NotPersonal => Level::None,
                _ => level.min(most).min(narrowed(field).unwrap_or(Level::Full)),
            }
        };
        Self {
            full: KeySet::of(|field| level(field, false) == Level::Full),
            summary: KeySet::of(|field| level(field, false) >= Level::Summary),
            named_full: KeySet::of(|field| level(field, true) == Level::Full),
            named_summary: KeySet::of(|field| level(field, true) >= Level::Summary),
        }
    }
}
