//! The classes of the contract beside the classes of the domain's tables: one list in two spellings.
//!
//! The contract's numbers travel, the domain's names stand in data files; the two meet here and nowhere else. A
//! number that is no class of its own (`BY_CONTENT`, `BY_KEY`, a class of a later version) has no counterpart.

use std::sync::LazyLock;

use tasuki_contract::DataClass;
use tasuki_domain::codes::Lang;
use tasuki_domain::visibility::{self, Cell, ReaderGroup};

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
    PERSONAL.contains(&class).then(|| visibility::DataClass::parse(class.as_str_name())).flatten()
}

/// The class of a dictionary key as the contract numbers it. An unknown one counts as sealed: nobody reads it.
pub(crate) fn in_contract(class: visibility::DataClass) -> DataClass {
    DataClass::from_str_name(class.name()).filter(|c| PERSONAL.contains(c)).unwrap_or(DataClass::Sealed)
}

/// The cell of the table class × group; `None` where there is no such cell.
///
/// The projector asks for every event and every candidate, so the cells stand in one array.
pub(crate) fn cell(class: DataClass, group: ReaderGroup) -> Option<Cell> {
    static CELLS: LazyLock<Vec<[Cell; PERSONAL.len()]>> = LazyLock::new(|| {
        let cell = |class: DataClass, group| {
            let class = in_tables(class).expect("invariant: every personal class stands in the tables");
            visibility::class_cell(class, group)
        };
        ReaderGroup::ALL.iter().map(|group| PERSONAL.map(|class| cell(class, *group))).collect()
    });
    let column = PERSONAL.iter().position(|c| *c == class)?;
    CELLS.get(group as usize).map(|row| row[column])
}
