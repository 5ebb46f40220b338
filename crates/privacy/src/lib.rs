//! Who sees what: classes, policy, grants, redaction.
//!
//! An [`Access`] is what one post may read of one case on one day; it follows from the post's reader group, its
//! relations in the circle and the grants in force, and from nothing else. For one event it becomes an
//! [`EventAccess`], the lens through which the event is reduced. What is withheld is listed from policy and grants
//! alone, so that nobody reads "withheld" as "absent".
//!
//! Nothing here reads a clock, a database or a key, and nothing decides what may be *done*. Everything fails closed:
//! an unknown class, key, kind or group reads nothing. Circles come from the fold of headers
//! ([`tasuki_domain::circle`]), levels from the domain's tables; projector and services ask the same functions.

mod access;
mod class;
mod event;
mod fact;

pub use access::{Access, Viewer, event_level};
pub use class::{PERSONAL, labels};
pub use event::EventAccess;
pub use tasuki_domain::visibility::Level;

/// Version of the rules in this crate and in the tables that it reads; stands in every read record.
///
/// Raise it with every change that lets anybody read more or less than before.
pub const POLICY_VERSION: i32 = 2;

#[cfg(test)]
mod tests;
