//! What a post sees: the card of a case, its timeline, its caseload, its duties, and its feed, live.
//!
//! Every read goes the same way: rows of a view, which hold references only; the events and the circle as they are
//! now; the policy, evaluated under the case's disclosure epoch; opening and reducing; the read record, whose commit
//! finds a disclosure that ended meanwhile; then, and only then, the answer.
//!
//! | File | What |
//! |-|-|
//! | `service` | the gRPC edge, thin |
//! | `desk` | what every method stands on, and the times that it keeps |
//! | `asking`, `sight` | who asks; one case as it is disclosed now |
//! | `redact`, `card` | pure: one item, one card, for one viewer |
//! | `cursor` | pure: where a client stands in its feed |
//! | `feed`, `stream` | items by page and one by one: `ReadFeed`, `Subscribe` |
//! | `ledger`, `ledger_words` | who read what of a case, for those whom it concerns |
//! | `links` | the chain of a feed, for whoever keeps it |
//! | `queries`, `lists` | card and timeline of a case; caseload and duties |
//! | `wait` | read your own write |
//!
//! It writes nothing but read records, decides nothing about who may read (that is `tasuki_privacy`), and never shows
//! a position of the log.

mod asking;
mod card;
mod cursor;
mod desk;
mod errors;
mod explain;
mod feed;
mod ledger;
mod ledger_words;
mod links;
mod lists;
mod queries;
mod redact;
mod seats;
mod service;
mod sight;
mod stream;
mod wait;

pub use cursor::{BadCursor, Cursor};
pub use desk::TimelineOptions;
pub use links::head_message;
pub use service::Timeline;
