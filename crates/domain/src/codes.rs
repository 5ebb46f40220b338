//! The code tables: closed lists of codes with a Japanese and an English label.
//!
//! Never reads a file at run time and never accepts free text: a code is in its table or it is an error.
//! Data: `data/codes.json`, compiled in; readers are the field checker, the command services and the reports.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::names::named_enum;

named_enum! {
    /// A code table, named as in `data/codes.json`.
    pub enum Table {
        /// Grouping of agency kinds.
        AgencySector = "agency_sector",
        /// Kinds of agencies, with `family` for the child and each guardian.
        AgencyKind = "agency_kind",
        /// Who asks, as an axis of reports.
        ConsulterAttribute = "consulter_attribute",
        /// How a first contact came about.
        AccessRoute = "access_route",
        /// Content of a consultation, eighteen categories.
        ConsultationContent = "consultation_content",
        /// Finer content codes of one ward; each maps to the eighteen.
        ConsultationContentKita = "consultation_content_kita",
        /// How a contact took place.
        ContactMethod = "contact_method",
        /// The three groups of activities.
        ActivityGroup = "activity_group",
        /// Activities within a group.
        ActivitySub = "activity_sub",
        /// What was done for a consultation.
        SupportAction = "support_action",
        /// Kinds of meetings.
        MeetingKind = "meeting_kind",
        /// Kinds of trainings.
        TrainingKind = "training_kind",
        /// Role of a person in a training.
        TrainingRole = "training_role",
        /// Kinds of services.
        ServiceKind = "service_kind",
        /// What a provider says about whom it can take.
        AcceptanceAttribute = "acceptance_attribute",
        /// Why a request was declined or accepted on conditions.
        DeclineReason = "decline_reason",
        /// Categories of local issues.
        LocalIssueCategory = "local_issue_category",
        /// Professions and certificates.
        QualificationKind = "qualification_kind",
        /// Why the care of a child changed.
        CareChangeReason = "care_change_reason",
        /// Sensitivity of a field.
        Sensitivity = "sensitivity",
        /// Legal ground of a disclosure.
        ShareBasis = "share_basis",
        /// Medical care procedures, with the points of the care score.
        CareProcedure = "care_procedure",
        /// Life stages and transitions.
        Transition = "transition",
        /// Sex.
        Sex = "sex",
        /// Where the child goes on discharge.
        DischargeDestination = "discharge_destination",
        /// A doctor's opinion on group life.
        GroupLiving = "group_living",
        /// How the child moves.
        Mobility = "mobility",
        /// Band of the care score.
        ScoreTier = "score_tier",
        /// Intellectual disability.
        IntellectualLevel = "intellectual_level",
        /// Level of a risk.
        RiskLevel = "risk_level",
        /// Whether a parent must attend.
        Escort = "escort",
        /// Wished kind of school.
        SchoolPlacement = "school_placement",
        /// Way to the nursery or school.
        SchoolTransport = "school_transport",
        /// Interval of plan reviews.
        MonitoringInterval = "monitoring_interval",
        /// Answer of a provider that was asked.
        AcceptanceAnswer = "acceptance_answer",
    }
}

named_enum! {
    /// Language of text for people.
    pub enum Lang {
        /// Japanese.
        Ja = "ja",
        /// English.
        En = "en",
    }
}

/// Where the codes of these tables are listed with their labels, for people.
pub fn place(tables: &[Table]) -> String {
    let names: Vec<&str> = tables.iter().map(|table| table.name()).collect();
    format!("{} in crates/domain/data/codes.json", names.join(" or "))
}

/// One row of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Code {
    /// The code: lower case ASCII with underscores, never changed and never reused.
    pub code: String,
    /// Japanese label.
    pub ja: String,
    /// English label.
    pub en: String,
    /// Codes of [`Table::ConsultationContent`] that this row counts for, the main one first. Empty elsewhere.
    #[serde(default)]
    pub maps_to: Vec<String>,
    /// Code of [`Table::ActivityGroup`] of an activity.
    pub group: Option<String>,
    /// Basic points of the care score. `None` for a procedure outside the score sheet.
    pub basic: Option<u8>,
    /// Monitoring points that a doctor may give, highest first.
    #[serde(default)]
    pub monitoring: Vec<u8>,
    /// Left out of everything that is published, whatever the count.
    #[serde(default)]
    pub restricted: bool,
}

impl Code {
    /// The label in that language.
    pub fn label(&self, lang: Lang) -> &str {
        match lang {
            Lang::Ja => &self.ja,
            Lang::En => &self.en,
        }
    }
}

/// A code that its table does not hold. It names the table only: the refused text may be personal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown code for table {}", table.name())]
pub struct UnknownCode {
    /// The table that was asked.
    pub table: Table,
}

#[derive(Deserialize)]
struct File {
    tables: Vec<TableRows>,
}

#[derive(Deserialize)]
struct TableRows {
    table: Table,
    title: String,
    rows: Vec<Code>,
}

struct Indexed {
    title: String,
    rows: Vec<Code>,
    by_code: BTreeMap<String, usize>,
}

static TABLES: LazyLock<BTreeMap<Table, Indexed>> = LazyLock::new(|| {
    let file: File =
        serde_json::from_str(include_str!("../data/codes.json")).expect("invariant: codes.json parses");
    let index = |rows: &[Code]| rows.iter().enumerate().map(|(i, row)| (row.code.clone(), i)).collect();
    file.tables
        .into_iter()
        .map(|t| (t.table, Indexed { by_code: index(&t.rows), title: t.title, rows: t.rows }))
        .collect()
});

/// The rows of a table in printed order.
pub fn rows(table: Table) -> &'static [Code] {
    TABLES.get(&table).map_or(&[], |t| &t.rows)
}

/// The English title of a table.
pub fn title(table: Table) -> &'static str {
    TABLES.get(&table).map_or("", |t| &t.title)
}

/// The row of that code, `None` if the table has no such code.
pub fn lookup(table: Table, code: &str) -> Option<&'static Code> {
    let table = TABLES.get(&table)?;
    table.rows.get(*table.by_code.get(code)?)
}

/// The row of that code.
///
/// Errors: [`UnknownCode`], naming the table and never the text.
pub fn require(table: Table, code: &str) -> Result<&'static Code, UnknownCode> {
    lookup(table, code).ok_or(UnknownCode { table })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_table_is_in_the_file_and_every_code_is_unique() {
        assert_eq!(TABLES.len(), Table::ALL.len());
        for table in Table::ALL {
            let rows = rows(*table);
            assert!(!rows.is_empty(), "{table}");
            assert!(!title(*table).is_empty(), "{table}");
            assert_eq!(rows.len(), TABLES[table].by_code.len(), "{table} repeats a code");
            for row in rows {
                assert!(!row.label(Lang::Ja).is_empty() && !row.label(Lang::En).is_empty(), "{}", row.code);
                let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                assert!(row.code.chars().all(snake), "{}", row.code);
            }
        }
    }

    #[test]
    fn the_tables_of_the_dictionary_have_their_full_length() {
        let lengths = [
            (Table::AgencySector, 5),
            (Table::AgencyKind, 51),
            (Table::ConsultationContent, 18),
            (Table::ConsultationContentKita, 18),
            (Table::ActivityGroup, 3),
            (Table::MeetingKind, 22),
            (Table::CareProcedure, 20),
            (Table::Transition, 17),
            (Table::Sensitivity, 6),
            (Table::ShareBasis, 11),
        ];
        for (table, length) in lengths {
            assert_eq!(rows(table).len(), length, "{table}");
        }
    }

    #[test]
    fn references_between_tables_hold() {
        for row in rows(Table::ConsultationContentKita) {
            assert!(!row.maps_to.is_empty(), "{}", row.code);
            assert!(
                row.maps_to.iter().all(|c| lookup(Table::ConsultationContent, c).is_some()),
                "{}",
                row.code
            );
        }
        for row in rows(Table::ActivitySub) {
            let group = row.group.as_deref().unwrap();
            assert!(lookup(Table::ActivityGroup, group).is_some(), "{}", row.code);
        }
    }

    #[test]
    fn abuse_and_nationality_are_restricted_and_nothing_else_is() {
        let restricted: Vec<_> = Table::ALL
            .iter()
            .flat_map(|t| rows(*t))
            .filter(|r| r.restricted)
            .map(|r| r.code.as_str())
            .collect();
        assert_eq!(restricted, ["abuse_dv", "foreign_nationality"]);
    }

    #[test]
    fn an_unknown_code_names_the_table_and_not_the_text() {
        let error = require(Table::MeetingKind, "例示").unwrap_err();
        assert_eq!(error.to_string(), "unknown code for table meeting_kind");
        assert_eq!(require(Table::MeetingKind, "case_meeting").unwrap().label(Lang::En), "Case meeting");
    }
}
