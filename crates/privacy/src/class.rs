//! The classes of the contract beside the classes of the domain's tables: one list in two spellings.
//!
//! The contract's numbers travel, the domain's names stand in data files; the two meet here and nowhere else. A
//! number that is no class of its own (`BY_CONTENT`, `BY_KEY`, a class of a later version) has no counterpart.

use std::sync::LazyLock;

use tasuki_contract::DataClass;
use tasuki_domain::codes::Lang;
use tasuki_domain::policy::KeySet;
use tasuki_domain::visibility;

/// The personal classes, in the order of the contract. A card withholds out of this list.
pub const PERSONAL: [DataClass; 16] = [
    DataClass::Lead,
    DataClass::Identity,
    DataClass::CareProcedure,
    DataClass::Diagnosis,
    DataClass::Instruction,
    DataClass::FamilyCircumstances,
    DataClass::ReferralState,
    DataClass::Handoff,
    DataClass::Question,
    DataClass::Minutes,
    DataClass::LocalIssue,
    DataClass::ReaderLog,
    DataClass::Support,
    DataClass::Consent,
    DataClass::Restricted,
    DataClass::Sealed,
];

/// The label of a class for people; `None` for a number that is no personal class.
pub fn labels(class: DataClass, lang: Lang) -> Option<&'static str> {
    in_tables(class).map(|c| c.label(lang))
}

/// The class as the domain's tables spell it; `None` for a number that is no personal class.
pub(crate) fn in_tables(class: DataClass) -> Option<visibility::DataClass> {
    static TABLES: LazyLock<[Option<visibility::DataClass>; DataClass::Sealed as usize + 1]> =
        LazyLock::new(|| {
            let mut all = [None; DataClass::Sealed as usize + 1];
            for class in PERSONAL {
                all[class as usize] = visibility::DataClass::parse(class.as_str_name());
            }
            all
        });
    TABLES.get(class as usize).copied().flatten()
}

/// The class of a dictionary key as the contract numbers it. An unknown one counts as sealed: nobody reads it.
pub(crate) fn in_contract(class: visibility::DataClass) -> DataClass {
    DataClass::from_str_name(class.name()).filter(|c| PERSONAL.contains(c)).unwrap_or(DataClass::Sealed)
}

/// The dictionary keys of a class; of a number that is no personal class none.
pub(crate) fn keys(class: DataClass) -> KeySet {
    static KEYS: LazyLock<[KeySet; DataClass::Sealed as usize + 1]> = LazyLock::new(|| {
        let mut all = [KeySet::EMPTY; DataClass::Sealed as usize + 1];
        for class in PERSONAL {
            all[class as usize] = KeySet::of(|field| in_contract(field.class) == class);
        }
        all
    });
    KEYS.get(class as usize).copied().unwrap_or_default()
}

/// The classes of which some key is in a set.
pub(crate) fn of_keys(set: KeySet) -> Classes {
    let has = |class: &DataClass| !keys(*class).and(set).is_empty();
    Classes(PERSONAL.iter().filter(|class| has(class)).fold(0, |all, class| all | 1 << *class as u32))
}

/// A set of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Classes(u32);

impl Classes {
    pub(crate) fn has(self, class: DataClass) -> bool {
        self.0 >> class as u32 & 1 == 1
    }
}
