//! What may happen: pure states, decisions and rules.
//!
//! Nothing here reads a file, a clock or a source of randomness: data is compiled in from `data/`, and time and ids
//! arrive as arguments. The first half is what everyone looks up: code tables ([`codes`], [`score`]), the field
//! dictionary ([`dictionary`], [`check`]), who reads what ([`visibility`]), and the rules of dates and names.
//!
//! To add a code or a field, add its row in `data/`; the tests say what else it needs.

mod names;

pub mod age;
pub mod calendar;
pub mod case;
pub mod check;
pub mod circle;
pub mod codes;
pub mod consent;
pub mod consultation;
pub mod days;
pub mod decision;
pub mod dictionary;
pub mod directory;
pub mod effects;
pub mod era;
pub mod facts;
pub mod fields;
pub mod fiscal;
pub mod handoff;
pub mod holidays;
pub mod ids;
pub mod kana;
pub mod meeting;
pub mod municipality;
pub mod referral;
pub mod refusal;
pub mod registry;
pub mod score;
pub mod visibility;

#[cfg(test)]
mod etag_tests;
#[cfg(test)]
mod purity_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod testing;
