//! The sum of the medical care score, to check the total that a doctor signed.
//!
//! Never a judgement: the signed score is the truth and a more complex device may lower it, so that severity
//! is never inferred from it. Points: [`Table::CareProcedure`].

use crate::codes::{self, Table};

/// One line of a score sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Code of [`Table::CareProcedure`].
    pub procedure: &'a str,
    /// Monitoring points given by the doctor.
    pub monitoring: u8,
}

/// Why a sheet has no sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScoreError {
    /// A procedure that is not on the sheet.
    #[error("procedure is not on the score sheet")]
    NotOnSheet,
    /// The same procedure twice.
    #[error("procedure is listed twice")]
    Twice,
    /// Monitoring points that the sheet does not offer, or for a tracheostomy beside a ventilator.
    #[error("monitoring points are not offered")]
    Monitoring,
}

/// Basic plus monitoring points of a sheet.
///
/// Errors: [`ScoreError`] for a line that the sheet does not allow.
pub fn total(lines: &[Line<'_>]) -> Result<u16, ScoreError> {
    let ventilated = lines.iter().any(|l| l.procedure == "ventilator_management");
    let mut sum = 0;
    for (i, line) in lines.iter().enumerate() {
        let row = codes::lookup(Table::CareProcedure, line.procedure).ok_or(ScoreError::NotOnSheet)?;
        let basic = row.basic.ok_or(ScoreError::NotOnSheet)?;
        if lines[..i].iter().any(|l| l.procedure == line.procedure) {
            return Err(ScoreError::Twice);
        }
        let doubled = ventilated && line.procedure == "tracheostomy_management" && line.monitoring > 0;
        if doubled || !(line.monitoring == 0 || row.monitoring.contains(&line.monitoring)) {
            return Err(ScoreError::Monitoring);
        }
        sum += u16::from(basic) + u16::from(line.monitoring);
    }
    Ok(sum)
}

/// The code of [`Table::ScoreTier`] into which a total falls.
pub fn tier(total: u16) -> &'static str {
    match total {
        0..3 => "below_3",
        3..16 => "tier_3",
        16..32 => "tier_16",
        32.. => "tier_32",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(lines: &[(&str, u8)]) -> Result<u16, ScoreError> {
        let lines: Vec<_> =
            lines.iter().map(|(procedure, monitoring)| Line { procedure, monitoring: *monitoring }).collect();
        total(&lines)
    }

    #[test]
    fn the_children_of_the_dictionary_have_its_totals() {
        let kita_a = [("ventilator_management", 2), ("tracheostomy_management", 0), ("suctioning", 1)];
        assert_eq!(sum(&kita_a), Ok(29));
        assert_eq!(tier(29), "tier_16");
        let matsudo_a =
            ["ventilator_management", "suctioning", "nebulizer", "tube_feeding", "tube_feeding_pump"];
        assert_eq!(sum(&matsudo_a.map(|p| (p, 0))), Ok(32));
        assert_eq!(tier(32), "tier_32");
        let before_the_pump = ["subcutaneous_injection", "blood_glucose_measurement"];
        assert_eq!(sum(&before_the_pump.map(|p| (p, 0))), Ok(8));
        let after_the_pump = ["subcutaneous_infusion_pump", "blood_glucose_measurement"];
        assert_eq!(sum(&after_the_pump.map(|p| (p, 0))), Ok(6));
    }

    #[test]
    fn the_highest_points_stand_first_and_every_procedure_but_the_last_has_points() {
        let rows = codes::rows(Table::CareProcedure);
        let scored: Vec<_> = rows.iter().filter(|r| r.basic.is_some()).collect();
        assert_eq!(scored.len(), rows.len() - 1);
        for row in scored {
            assert!(
                row.monitoring.is_sorted_by(|a, b| a > b) && row.monitoring.last() == Some(&0),
                "{}",
                row.code
            );
        }
    }

    #[test]
    fn a_line_that_the_sheet_does_not_allow_is_refused() {
        assert_eq!(sum(&[("other_medical_act", 0)]), Err(ScoreError::NotOnSheet));
        assert_eq!(sum(&[("enema", 0), ("enema", 0)]), Err(ScoreError::Twice));
        assert_eq!(sum(&[("enema", 2)]), Err(ScoreError::Monitoring));
        let beside_a_ventilator = [("ventilator_management", 2), ("tracheostomy_management", 2)];
        assert_eq!(sum(&beside_a_ventilator), Err(ScoreError::Monitoring));
    }
}
