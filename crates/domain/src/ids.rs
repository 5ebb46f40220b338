//! Ids as distinct types, so that a post is never passed where an agency is meant.
//!
//! All are UUIDs; those of new things are v7, those of things that follow from others are v5.

use std::fmt;

use uuid::Uuid;

use crate::refusal::{Refusal, Violation};

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// Reads an id from the request field `field`.
            ///
            /// Errors: a refusal that names the field when it is empty or no UUID.
            pub fn parse(field: &'static str, text: &str) -> Result<Self, Refusal> {
                Uuid::try_parse(text).map(Self).map_err(|_| {
                    let why = if text.is_empty() { Violation::MISSING } else { Violation::NOT_A_UUID };
                    Refusal::invalid(field, why)
                })
            }

            /// Reads an id that the log itself wrote; an unreadable one is the nil id.
            pub fn trusted(text: &str) -> Self {
                Self(Uuid::try_parse(text).unwrap_or_default())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.to_string()
            }
        }
    )*};
}

id! {
    /// An agency: a hospital, a division of a ward office, a nursery, a family.
    AgencyId;
    /// A post of an agency. Duties follow it, whoever holds it.
    PostId;
    /// One child's case.
    CaseId;
    /// One consultation at a front desk.
    ConsultationId;
    /// One referral.
    ReferralId;
    /// One hand-off.
    HandoffId;
    /// One meeting.
    MeetingId;
    /// One action of the minutes.
    ActionId;
    /// One consent or legal basis, and the grant that it gives.
    GrantId;
    /// One notice that a consent has ended.
    NoticeId;
    /// One proposal to erase a case.
    ProposalId;
    /// One legal hold on a case.
    HoldId;
    /// One document of a case.
    AttachmentId;
}

/// Namespace of the ids that follow from other ids.
const NAMESPACE: Uuid = Uuid::from_u128(0x7a5e_11d0_4a53_4c55_8b1e_7461_7375_6b69);

/// The id that follows from the given pieces, the same everywhere and always.
pub fn derived(pieces: &[&str]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, pieces.join("\u{1f}").as_bytes())
}

/// The stream of a revoked token, or of all of a subject's; one of the two is empty.
pub fn credential_stream(token_id: &str, subject: &str) -> Uuid {
    derived(&["credential", token_id, subject])
}

/// The stream of a municipality.
pub fn municipality_stream(code: &str) -> Uuid {
    derived(&["municipality", code])
}
