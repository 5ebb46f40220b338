//! The visibility policy: who sees what, as a file that people read, and as sets that are evaluated.
//!
//! A policy says class × group of agency kinds × relation to the case × purpose: full, summary, own part, existence or
//! nothing. It never says who a post is or what a family signed: circle and grants come from the log. Whoever is not
//! named in it reads nothing, and a text that does not read is a policy by which nobody reads anything.
//!
//! Data: `deploy/policies/default.toml`, compiled in, holds where a municipality has adopted none; an adopted text
//! comes from the log (`PolicyAdopted`). `read` takes texts apart, `sets` prepares them; `tasuki_privacy` evaluates.

pub mod document;
mod in_force;
mod issue;
mod keyset;
mod read;
mod sets;

pub use in_force::InForce;
pub use issue::Issue;
pub use keyset::KeySet;
pub use sets::{Caps, GroupKeys};

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use tasuki_contract::event::v1::Relation;

use crate::purpose::{PURPOSES, Purpose};
use crate::visibility::{Cell, DataClass, Level, NOTHING, ReaderGroup};

/// The policy that holds where a municipality has adopted none.
pub const DEFAULT: &str = include_str!("../../../../deploy/policies/default.toml");
/// Bytes of a policy file at most: it travels in the header of an event.
pub const BYTES_MAX: usize = 48 * 1024;
/// The relations that a policy names, with the names that it gives them.
pub const RELATIONS: [(Relation, &str); 8] = [
    (Relation::Lead, "lead"),
    (Relation::Ward, "ward"),
    (Relation::Sender, "sender"),
    (Relation::Asked, "asked"),
    (Relation::Receiver, "receiver"),
    (Relation::Accompanying, "accompanying"),
    (Relation::Family, "family"),
    (Relation::Named, "named"),
];

const CLASSES: usize = DataClass::ALL.len();
const GROUPS: usize = ReaderGroup::ALL.len();

/// The most that is read of each class.
pub(crate) type Levels = [Level; CLASSES];

/// A place in a policy, for which it has a line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// What a group sees of a class.
    Cell(DataClass, ReaderGroup),
    /// The most that is read for a purpose.
    Purpose(&'static str),
    /// The most that is read in a relation.
    Relation(&'static str),
    /// A key that is narrowed for a group.
    Key(usize, ReaderGroup),
    /// What a summary shows.
    Summary,
    /// What is read before acceptance.
    BeforeAcceptance,
    /// What an untold diagnosis hides.
    Uninformed,
    /// What a kept address hides.
    ProtectedAddress,
}

/// A policy, ready to be evaluated.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Six-digit code of the municipality, or `default`.
    pub municipality: String,
    /// The municipality's own name of the version.
    pub version: String,
    cells: Vec<[Cell; GROUPS]>,
    purposes: Vec<Caps>,
    relations: BTreeMap<Relation, Caps>,
    groups: Vec<GroupKeys>,
    /// Keys whose value a summary shows.
    pub summary: KeySet,
    /// Groups that learn little before they take a child up, and the keys that they then read in summary.
    before_acceptance: (Vec<ReaderGroup>, KeySet),
    /// Keys that are hidden beside the flag of an untold diagnosis, from every group that may not read the flag.
    uninformed: KeySet,
    /// Keys and classes that a guardian does not read from whom the address is kept.
    protected: (KeySet, Vec<DataClass>),
    lines: BTreeMap<Place, usize>,
}

impl Policy {
    /// Reads the text of a policy file.
    ///
    /// A municipality's file may narrow the default, or widen up to the default's ceilings.
    /// Errors: every line that is wrong, in the order of the lines.
    pub fn read(text: &str) -> Result<Self, Vec<Issue>> {
        read::policy(text, Some(Self::standard()))
    }

    /// The policy that comes with the program.
    pub fn standard() -> &'static Arc<Self> {
        static STANDARD: LazyLock<Arc<Policy>> = LazyLock::new(|| {
            Arc::new(read::policy(DEFAULT, None).expect("invariant: the policy that comes along reads"))
        });
        &STANDARD
    }

    /// A policy by which nobody reads anything but own parts: for a text that does not read.
    pub fn closed() -> Self {
        let nothing = Caps::new([Level::None; CLASSES], None);
        Self {
            municipality: String::new(),
            version: String::new(),
            cells: vec![[NOTHING; GROUPS]; CLASSES],
            purposes: vec![nothing; PURPOSES.len()],
            relations: BTreeMap::new(),
            groups: vec![GroupKeys::default(); GROUPS],
            summary: KeySet::EMPTY,
            before_acceptance: (Vec::new(), KeySet::EMPTY),
            uninformed: KeySet::all(),
            protected: (KeySet::all(), DataClass::ALL.to_vec()),
            lines: BTreeMap::new(),
        }
    }

    /// A policy as an event of the log holds it: one that does not read is [closed](Self::closed).
    pub fn adopted(text: &str) -> Self {
        Self::read(text).unwrap_or_else(|_| Self::closed())
    }

    /// What a group sees of a class, before relation and purpose.
    pub fn cell(&self, class: DataClass, group: ReaderGroup) -> Cell {
        self.cells[class as usize][group as usize]
    }

    /// The most that is read for a purpose; `None`: no purpose narrows.
    pub fn for_purpose(&self, purpose: Purpose) -> Option<&Caps> {
        match purpose {
            Purpose::Any => None,
            Purpose::Is(place) => Some(self.purposes.get(place).unwrap_or(Caps::nothing())),
            Purpose::Unknown => Some(Caps::nothing()),
        }
    }

    /// The most that is read in a relation.
    pub fn in_relation(&self, relation: Relation) -> &Caps {
        self.relations.get(&relation).unwrap_or(Caps::nothing())
    }

    /// What a group reads of each key.
    pub fn keys(&self, group: ReaderGroup) -> &GroupKeys {
        &self.groups[group as usize]
    }

    /// The keys of which the group reads a summary, and no more, of what is put before it; `None`: as otherwise.
    pub fn before_acceptance(&self, group: ReaderGroup) -> Option<KeySet> {
        let (groups, keys) = &self.before_acceptance;
        groups.contains(&group).then_some(*keys)
    }

    /// The keys that are hidden from the group in a record that says that the family has not been told.
    pub fn hidden_when_untold(&self, group: Option<ReaderGroup>) -> KeySet {
        let flag = crate::dictionary::place(read::UNTOLD).unwrap_or(KeySet::KEYS_MAX);
        let may_read_the_flag = group.is_some_and(|group| self.keys(group).summary.has(flag));
        if may_read_the_flag { KeySet::EMPTY } else { self.uninformed }
    }

    /// The keys that a guardian does not read from whom the address is kept.
    pub fn hidden_by_address(&self) -> KeySet {
        self.protected.0
    }

    /// Whether a guardian from whom the address is kept reads nothing of the class.
    pub fn closed_by_address(&self, class: DataClass) -> bool {
        self.protected.1.contains(&class)
    }

    /// The line of the file that says so; `None`: none does, so that nothing is read.
    pub fn line(&self, place: &Place) -> Option<usize> {
        self.lines.get(place).copied()
    }

    /// Groups of a class, relations and purposes that the file does not name, in words of the file: they read nothing.
    pub fn unnamed(&self) -> Vec<String> {
        let has = |place: Place| self.lines.contains_key(&place);
        let mut unnamed = Vec::new();
        for class in DataClass::ALL.iter().filter(|class| **class != DataClass::NotPersonal) {
            let groups: Vec<&str> = ReaderGroup::ALL
                .iter()
                .filter(|group| !has(Place::Cell(*class, **group)))
                .map(|group| group.name())
                .collect();
            if !groups.is_empty() {
                unnamed.push(format!("classes.{class}: {}", groups.join(", ")));
            }
        }
        let relations = RELATIONS.iter().map(|(_, name)| *name).filter(|name| !has(Place::Relation(name)));
        unnamed.extend(relations.map(|name| format!("relations.{name}")));
        let purposes = PURPOSES.iter().copied().filter(|code| !has(Place::Purpose(code)));
        unnamed.extend(purposes.map(|code| format!("purposes.{code}")));
        unnamed
    }
}

#[cfg(test)]
mod tests;
