//! Who sees what: classes, policy, grants, redaction.
//!
//! An [`Access`] is what one post may read of one case on one day; it follows from the post's reader group and purpose,
//! its relations in the circle, the grants and the policies in force, and from nothing else. For one event it becomes an
//! [`EventAccess`], the lens through which the event is reduced. What is withheld is listed from policy and grants
//! alone, so that nobody reads "withheld" as "absent".
//!
//! Nothing here reads a clock, a database or a key, and nothing decides what may be *done*. Everything fails closed:
//! an unknown class, key, kind or group reads nothing. Circles come from the fold of headers
//! ([`tasuki_domain::circle`]), levels from the policies ([`tasuki_domain::policy`]) and the dictionary; projector and
//! services ask the same functions.

mod access;
mod class;
mod event;
mod explain;
mod fact;

pub use access::{Access, Viewer, event_level};
pub use class::{PERSONAL, labels};
pub use event::EventAccess;
pub use explain::{Explained, level_word};
pub use fact::{UNTOLD, says_untold};
use tasuki_domain::policy::InForce;
pub use tasuki_domain::visibility::Level;

/// Version of the rules in this crate, in the dictionary and in the policy that comes along; stands in every read
/// record, before the revision of what the case's municipality has adopted.
///
/// Raise it with every change that lets anybody read more or less than before.
pub const POLICY_VERSION: i32 = 3;
/// Revisions of adopted policies are below this in [`policy_version`].
const REVISIONS: i32 = 100_000;

/// The number under which a read record tells the policy: [`POLICY_VERSION`] times 100,000, and the version of the
/// municipality's stream with which the case's policy came into force; 0 there: the policy that comes along.
pub fn policy_version(rules: &InForce) -> i32 {
    let revision = i32::try_from(rules.revision).unwrap_or(i32::MAX).min(REVISIONS - 1);
    POLICY_VERSION * REVISIONS + revision
}

#[cfg(test)]
mod tests;
