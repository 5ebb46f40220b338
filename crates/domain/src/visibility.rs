//! The words of visibility: groups of readers, levels, classes, conditions, and one cell of the table class × group.
//!
//! Never decides alone about a fact (the field dictionary does) and never about a person: consent, purpose and
//! circle come before it. Data: `data/visibility.json`, compiled in; the cells stand in the policy ([`crate::policy`]).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::codes::Lang;
use crate::names::named_enum;

named_enum! {
    /// A group of agency kinds that reads alike. A kind outside every group reads nothing.
    pub enum ReaderGroup {
        /// The child and each guardian, each a viewer of their own.
        Fam = "FAM",
        /// Coordinator's office.
        Cd = "CD",
        /// Hospital.
        Hosp = "HOSP",
        /// Home-visit doctor.
        Hvm = "HVM",
        /// Visiting nurse.
        Vn = "VN",
        /// Consultation-support (planning) office.
        Pcs = "PCS",
        /// Disability-welfare division.
        Wel = "WEL",
        /// Health centre, public health nurse.
        Phn = "PHN",
        /// Child and family support centre.
        Cfs = "CFS",
        /// Child guidance centre.
        Cgc = "CGC",
        /// Childcare division.
        Chi = "CHI",
        /// Nursery or kindergarten.
        Nur = "NUR",
        /// Board of education, school-entry desk.
        Edu = "EDU",
        /// School.
        Sch = "SCH",
        /// Service provider.
        Prov = "PROV",
        /// Equipment vendor.
        Vend = "VEND",
        /// Disaster prevention division.
        Dis = "DIS",
        /// Ambulance, by emergency access only.
        Ems = "EMS",
        /// Prefectural support centre.
        Sup = "SUP",
        /// Visiting pharmacy.
        Pharm = "PHARM",
    }
}

named_enum! {
    /// How much of something a reader gets, from nothing to all.
    pub enum Level {
        /// Nothing, not even that it exists.
        None = "none",
        /// That it exists, and its status.
        Existence = "existence",
        /// The reader's own part: what it wrote, what was addressed to it, what is about itself.
        Own = "own",
        /// What to do, without the whole text.
        Summary = "summary",
        /// All of it.
        Full = "full",
    }
}

named_enum! {
    /// Class of data. Every field of the contract has one; every fact has one through its dictionary key.
    pub enum DataClass {
        /// Not about a person. No fact has it and no table of readers lists it.
        NotPersonal = "NOT_PERSONAL",
        /// The lead (主担当) and its telephone.
        Lead = "LEAD",
        /// Names, address, contacts, insurance ids, guardians.
        Identity = "IDENTITY",
        /// Care procedures, devices, drugs, allergies, emergency, power.
        CareProcedure = "CARE_PROCEDURE",
        /// Diagnosis, history, hospital facts.
        Diagnosis = "DIAGNOSIS",
        /// Doctor's instruction, care manual.
        Instruction = "INSTRUCTION",
        /// Family circumstances that concern protection.
        FamilyCircumstances = "FAMILY_CIRCUMSTANCES",
        /// State of a referral.
        ReferralState = "REFERRAL_STATE",
        /// Hand-off and responsibility.
        Handoff = "HANDOFF",
        /// Questions and answers.
        Question = "QUESTION",
        /// Minutes and actions.
        Minutes = "MINUTES",
        /// Local issues.
        LocalIssue = "LOCAL_ISSUE",
        /// Record of readers.
        ReaderLog = "READER_LOG",
        /// Everyday support: family, daily life, services, plans, education, wishes.
        Support = "SUPPORT",
        /// Consents.
        Consent = "CONSENT",
        /// Every field of sensitivity s4.
        Restricted = "RESTRICTED",
        /// Every field of sensitivity s5.
        Sealed = "SEALED",
    }
}

named_enum! {
    /// What must hold for a cell of the table, beside consent and circle.
    pub enum Condition {
        /// The family has handed in its application there.
        AfterSubmit = "after_submit",
        /// For the hours that the child is there.
        OwnHours = "own_hours",
        /// The child is enrolled there.
        Enrolled = "enrolled",
        /// The post is named in a grant.
        NamedPosts = "named_posts",
        /// The post attended the meeting.
        Attended = "attended",
        /// In the version written for the family.
        FamilyVersion = "family_version",
        /// The ward decided so in the single case.
        WardDecision = "ward_decision",
        /// Without anything that points to a child.
        DeIdentified = "de_identified",
        /// The family consented to this reader by name.
        Consented = "consented",
    }
}

/// One cell of the table class × group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// What the group gets.
    pub level: Level,
    /// Without a raised ceiling: what must hold for `level`. With one: what must hold for `ceiling`.
    pub condition: Option<Condition>,
    /// The most that a grant may give to the group; never below `level`.
    pub ceiling: Level,
}

/// The cell of whoever is not named.
pub const NOTHING: Cell = Cell { level: Level::None, condition: None, ceiling: Level::None };

#[derive(Deserialize)]
struct File {
    groups: BTreeMap<ReaderGroup, Label>,
    agency_kinds: BTreeMap<String, Option<ReaderGroup>>,
    may_lead: Vec<String>,
    classes: BTreeMap<DataClass, Label>,
}

#[derive(Deserialize)]
struct Label {
    ja: String,
    en: String,
}

impl Label {
    fn of(&self, lang: Lang) -> &str {
        match lang {
            Lang::Ja => &self.ja,
            Lang::En => &self.en,
        }
    }
}

static FILE: LazyLock<File> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../data/visibility.json")).expect("invariant: visibility.json parses")
});

/// The reader group of an agency kind (a code of `agency_kind`).
///
/// `None` for a kind that reads nothing, and for a code that is no kind.
pub fn reader_group(agency_kind: &str) -> Option<ReaderGroup> {
    FILE.agency_kinds.get(agency_kind).copied().flatten()
}

/// Codes of the agency kinds whose posts may be the lead, unless the municipality's file says otherwise.
pub fn kinds_that_may_lead() -> &'static [String] {
    &FILE.may_lead
}

/// Codes of the agency kinds of a group.
pub fn kinds_of(group: ReaderGroup) -> impl Iterator<Item = &'static str> {
    let of_group = move |(kind, of): (&'static String, &Option<ReaderGroup>)| {
        (*of == Some(group)).then_some(kind.as_str())
    };
    FILE.agency_kinds.iter().filter_map(of_group)
}

/// The cell of a class and a group in the policy that comes with the program.
pub fn class_cell(class: DataClass, group: ReaderGroup) -> Cell {
    crate::policy::Policy::standard().cell(class, group)
}

/// What a group reads of a class by that policy, by the name of the class. An unknown name gives nothing.
pub fn class_level(class_name: &str, group: ReaderGroup) -> Level {
    DataClass::parse(class_name).map_or(Level::None, |class| class_cell(class, group).level)
}

impl DataClass {
    /// The label for people; the fixed name for `NOT_PERSONAL`, which is never shown.
    pub fn label(self, lang: Lang) -> &'static str {
        FILE.classes.get(&self).map_or(self.name(), |label| label.of(lang))
    }
}

impl ReaderGroup {
    /// The label for people.
    pub fn label(self, lang: Lang) -> &'static str {
        FILE.groups.get(&self).map_or(self.name(), |label| label.of(lang))
    }
}

#[cfg(test)]
#[path = "visibility_tests.rs"]
mod tests;
