//! What may happen: pure states, decisions and rules.
//!
//! Nothing here reads a file, a clock or a source of randomness: data is compiled in from `data/`, and time and ids
//! arrive as arguments. Requests of `proto/` come in, events of `proto/` go out; services load states, append what was
//! decided, and add nothing.
//!
//! # Where things stand
//!
//! | What | Where |
//! |-|-|
//! | A decision: what it is given, what it gives back, etags | [`decision`], [`refusal`], [`ids`] |
//! | A child's case, and who stands around it | [`case`](mod@case), [`circle`] |
//! | Front desk | [`consultation`] |
//! | Referrals | [`referral`]: `submit`, `answer`, `route` |
//! | Consents | [`consent`] |
//! | Whether two cases are one child | [`identity`] |
//! | Hand-offs | [`handoff`]: `propose`, `accompany`, `complete` |
//! | Meetings and minutes | [`meeting`]: `schedule`, `hold`, `draft` |
//! | Agencies, posts, municipalities | [`directory`] folds them, [`registry`] decides |
//! | Erasing a case, and how long it is kept | [`erasure`], [`retention`] |
//! | For what a caller acts | [`purpose`] |
//! | Who sees what | [`policy`], [`visibility`] |
//! | Saying what an event does, reading a request | [`effects`], [`fields`], [`facts`], [`days`] |
//! | What everyone looks up | [`codes`], [`score`], [`dictionary`], [`check`], [`visibility`] |
//! | Dates and names | [`calendar`], [`holidays`], [`era`], [`fiscal`], [`age`], [`kana`], [`municipality`] |
//!
//! A context has a state, one function per command, and `evolve`. The fold gets headers and open fields only: what a
//! later decision must know and no open field carries goes into the event's [`effects`].
//!
//! # Adding an event
//!
//! 1. Its message in `proto/tasuki/<context>/v1/events.proto`, every field with its class; the command beside it in
//!    `service.proto`.
//! 2. Its place here, in the file of its context: `decide` builds it with [`effects::Doing`], the parties first, since
//!    they see it as their own part; an arm in `evolve` takes it up. In whose timeline it stands follows from
//!    `Doing::of` or `Doing::outside_cases`. Who is neither party nor of the circle gets `NOT_FOUND`, and the caller's
//!    part is checked before its etag. Where the parties of a thing change, its revision tells none of them what only
//!    the others saw (`etag_tests`).
//! 3. The view in `crates/views` that shows it. One that folds headers alone, such as feed and duties, needs nothing.
//! 4. A test, given / when / then, beside its context, with the world of `testing`; a command that may move a lead also
//!    joins a random walk (`referral/walk_tests`, `handoff/walk`).
//!
//! A new reason of refusal stands in [`refusal`], with its story in `refusal_tests`. To add a code or a field, add its
//! row in `data/`; the tests say what else it needs.

mod names;

pub mod age;
pub mod attachment;
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
pub mod erasure;
pub mod facts;
pub mod fields;
pub mod fiscal;
pub mod handoff;
pub mod holidays;
pub mod identity;
pub mod ids;
pub mod kana;
pub mod meeting;
pub mod municipality;
pub mod policy;
pub mod purpose;
pub mod referral;
pub mod refusal;
pub mod registry;
pub mod retention;
pub mod score;
pub mod visibility;

#[cfg(test)]
mod etag_tests;
#[cfg(test)]
mod purity_tests;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod testing;
