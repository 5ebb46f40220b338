//! Purposes that a caller may give, and which kinds of agencies act for which.
//!
//! A purpose goes on record with every read, so it says nothing that the caller cannot be. It opens nothing: who reads
//! what follows from circle and grants, and the policy narrows that by purpose.

use crate::consent::FAMILY_KIND;
use crate::visibility::{ReaderGroup, reader_group};

/// Every purpose.
pub const PURPOSES: &[&str] = &[
    "care_coordination",
    "intake",
    "discharge_coordination",
    "nursery_entry",
    "school_entry",
    "service_decision",
    "health_guidance",
    "disaster",
    "emergency",
    "own_family",
    "administration",
];

/// For what somebody reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Nobody reads: it is asked what a post could read for some purpose. For what stands in feeds; never of a caller.
    Any,
    /// One of [`PURPOSES`], by its place there.
    Is(usize),
    /// None of them: nothing is read for it.
    Unknown,
}

impl Purpose {
    /// The purpose of that code.
    pub fn of(code: &str) -> Self {
        PURPOSES.iter().position(|purpose| *purpose == code).map_or(Self::Unknown, Self::Is)
    }

    /// Its code; empty for any and for an unknown one.
    pub fn code(self) -> &'static str {
        match self {
            Self::Is(place) => PURPOSES.get(place).copied().unwrap_or_default(),
            Self::Any | Self::Unknown => "",
        }
    }
}

/// Whether a post of an agency of this kind may act for the purpose; `None` is an operator without a post.
///
/// A family acts for itself, and takes part in the coordination of its child's care. Only a family is `own_family`.
/// Services are decided by municipal offices, with the offices that plan them; health guidance is given by public
/// health nurses and family centres. Every office may take part in the rest. An unknown purpose is nobody's.
pub fn may_serve(purpose: &str, agency_kind: Option<&str>) -> bool {
    let group = agency_kind.and_then(reader_group);
    let one_of = |groups: &[ReaderGroup]| group.is_some_and(|group| groups.contains(&group));
    let family = agency_kind == Some(FAMILY_KIND);
    match purpose {
        "care_coordination" => true,
        "own_family" => family,
        "service_decision" => {
            use ReaderGroup::{Cd, Cfs, Cgc, Chi, Edu, Pcs, Phn, Wel};
            one_of(&[Wel, Chi, Edu, Phn, Cfs, Cgc, Pcs, Cd]) || agency_kind == Some("municipal_office_other")
        }
        "health_guidance" => one_of(&[ReaderGroup::Phn, ReaderGroup::Cfs]),
        known => !family && PURPOSES.contains(&known),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::codes::{Table, rows};

    #[test]
    fn only_a_family_acts_for_itself_and_it_acts_for_no_office() {
        for row in rows(Table::AgencyKind) {
            let family = row.code == FAMILY_KIND;
            assert_eq!(may_serve("own_family", Some(&row.code)), family, "{}", row.code);
            assert!(may_serve("care_coordination", Some(&row.code)), "{}", row.code);
            for office in ["discharge_coordination", "nursery_entry", "school_entry", "administration"] {
                assert_eq!(may_serve(office, Some(&row.code)), !family, "{office} {}", row.code);
            }
        }
    }

    #[test]
    fn every_purpose_is_some_offices_or_a_familys_and_an_unknown_one_nobodys() {
        for purpose in PURPOSES {
            assert!(
                rows(Table::AgencyKind).iter().any(|row| may_serve(purpose, Some(&row.code))),
                "{purpose}"
            );
        }
        assert!(!may_serve("curiosity", Some("nursery")) && !may_serve("", None));
    }

    #[test]
    fn a_nursery_decides_no_service_and_an_operator_is_nobodys_family() {
        assert!(!may_serve("service_decision", Some("nursery")));
        assert!(may_serve("service_decision", Some("municipal_disability_welfare")));
        assert!(!may_serve("health_guidance", Some("hospital")));
        assert!(may_serve("health_guidance", Some("public_health_center")));
        assert!(may_serve("administration", None) && !may_serve("own_family", None));
    }
}
