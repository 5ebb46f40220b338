//! Claims about who sees what. `coverage` writes the outcome of every cell down, `redaction` and `withheld` go
//! through every event type of the contract, `grace` through the days after a consent, `rules` and `standing` hold the single rules that tables cannot show.
#![allow(clippy::unwrap_used, missing_docs)]

mod coverage;
mod explain;
mod fill;
mod grace;
mod purpose;
mod redaction;
mod rules;
mod standing;
mod withheld;

use std::collections::{BTreeMap, BTreeSet};

use tasuki_contract::DataClass;
use tasuki_contract::event::v1::Relation;
use tasuki_domain::circle::{Circle, Grant, Recipient};
use tasuki_domain::codes::{Table, rows};
use tasuki_domain::ids::{AgencyId, GrantId, PostId};
use tasuki_domain::policy::InForce;
use tasuki_domain::purpose::Purpose;
use tasuki_domain::visibility::{ReaderGroup, reader_group};
use uuid::Uuid;

use crate::{PERSONAL, Viewer};

pub const TODAY: i32 = 20_000;
pub const ME: PostId = PostId(Uuid::from_u128(1));
pub const MY_AGENCY: AgencyId = AgencyId(Uuid::from_u128(2));

pub fn kind_of(group: ReaderGroup) -> &'static str {
    rows(Table::AgencyKind).iter().map(|r| r.code.as_str()).find(|c| reader_group(c) == Some(group)).unwrap()
}

pub fn viewer(kind: &str) -> Viewer {
    Viewer { post: ME, agency: MY_AGENCY, kind: kind.to_owned(), purpose: Purpose::of("care_coordination") }
}

pub fn rules() -> InForce {
    InForce::standard()
}

pub fn grant(recipient: Recipient, classes: impl IntoIterator<Item = DataClass>) -> Grant {
    Grant {
        recipients: vec![recipient],
        classes: classes.into_iter().collect(),
        excluded_keys: BTreeSet::new(),
        valid_to_day: None,
        ..Grant::default()
    }
}

pub fn circle(relations: &[Relation], grants: impl IntoIterator<Item = Grant>) -> Circle {
    let mut all = BTreeMap::new();
    if !relations.is_empty() {
        all.insert(ME, relations.iter().copied().collect());
    }
    let numbered =
        grants.into_iter().enumerate().map(|(i, g)| (GrantId(Uuid::from_u128(100 + i as u128)), g));
    Circle { relations: all, grants: numbered.collect(), lead: None }
}

/// Every way to stand towards a case that the tests go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    MemberWithGrant,
    MemberNamed,
    MemberWithoutGrant,
    AskedParty,
    PartyOnly,
    Outsider,
    Family,
}

impl Standing {
    pub const ALL: [Standing; 7] = [
        Standing::MemberWithGrant,
        Standing::MemberNamed,
        Standing::MemberWithoutGrant,
        Standing::AskedParty,
        Standing::PartyOnly,
        Standing::Outsider,
        Standing::Family,
    ];

    /// Circle with grants of every class, where there are any, and whether the viewer is party.
    pub fn circle(self, kind: &str) -> (Circle, bool) {
        let by_kind = || grant(Recipient::Kind(kind.to_owned()), PERSONAL);
        match self {
            Self::MemberWithGrant => (circle(&[Relation::Receiver], [by_kind()]), false),
            Self::MemberNamed => (circle(&[Relation::Named], [grant(Recipient::Post(ME), PERSONAL)]), false),
            Self::MemberWithoutGrant => (circle(&[Relation::Lead], []), false),
            Self::AskedParty => (circle(&[Relation::Asked], [grant(Recipient::Post(ME), PERSONAL)]), true),
            Self::PartyOnly => (circle(&[], [by_kind()]), true),
            Self::Outsider => (circle(&[], [by_kind()]), false),
            Self::Family => (circle(&[Relation::Family], []), false),
        }
    }
}
