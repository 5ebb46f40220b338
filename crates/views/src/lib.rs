//! Views: what each post has before it, folded from headers, one file per view.
//!
//! | View | File | Who reads it |
//! |-|-|-|
//! | feed: what a post learned of, numbered per post | [`feed`] | timeline, streams |
//! | caseload: the cases in whose circle a post stands | [`caseload`] | timeline |
//! | duties: what a post owes | [`duties`] | timeline |
//! | items: referrals, hand-offs, meetings, consultations of a post | [`items`] | the services of each |
//! | posts: agency and kind of each post | `posts` | the fold, notices |
//!
//! Input are envelopes in the order of the log: headers, never a sealed part, never a key. Views hold references;
//! whoever shows content opens the event and asks the policy at that moment. [`Projection`] writes them live under a
//! fence, [`rebuild()`] makes them anew beside the old ones, [`Views`] reads them. Both writers run the same fold, so
//! that a rebuild ends byte for byte where the live views are (P6). Nothing here reads a clock, and nothing but this
//! crate and the log's knows PostgreSQL.
//!
//! To add a view: a file with its table, its rows and its reading functions; a line in `schema::TABLES`; a field in
//! `changes::Changes`; raise `schema::LAYOUT`, so that running systems rebuild.

mod baseline;
mod case;
pub mod caseload;
mod changes;
mod connect;
mod copy;
pub mod duties;
mod entry;
mod error;
pub mod feed;
mod fold;
pub mod items;
mod load;
mod policies;
mod posts;
mod projection;
mod reads;
mod rebuild;
mod schema;
mod state;
mod write;

#[cfg(test)]
mod fencing_tests;

pub use baseline::{CopyBaseline, copy_baseline};
pub use caseload::CaseloadRow;
pub use duties::DutyRow;
pub use error::ViewError;
pub use feed::{FeedEnd, FeedRow, digest, link};
pub use items::{ItemFilter, ItemRow};
pub use projection::{Applied, FeedNews, Projection};
pub use reads::{ViewPosition, Views};
pub use rebuild::{Rebuilt, rebuild};
pub use schema::{TABLES, Table, feed_epoch, migrate};
