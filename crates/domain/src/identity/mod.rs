//! Whether two cases are about one child: clues, a verdict, and a person who decides.
//!
//! Matching proposes, and nothing here merges by itself: a case that looks like another one is *in doubt* until the
//! municipality's intake post has looked, and until then nobody new learns of it.
//!
//! | What | Where |
//! |-|-|
//! | What tells one child from another | `person` |
//! | How like each other two statements are | `verdict` |
//! | Doubt and merge in a case's state, and what they forbid | `state` |
//! | What a person decides | `decide` |
//! | Who is told that a case exists, and what a search is | `search` |

mod decide;
#[cfg(test)]
mod decide_tests;
mod person;
mod search;
mod state;
#[cfg(test)]
mod tests;
mod verdict;

pub(crate) use decide::doubt;
pub use decide::{DECIDE_BUSINESS_DAYS, confirm_distinct, merge, unmerge, wards};
pub use person::{Clue, ClueKind, IDENTIFIER_KEYS, Person, Values, by_kind};
pub use search::{Sought, clues_of, existence_shown, sought};
pub use state::{Doubt, Merged, barred, evolve};
pub use verdict::{Verdict, compare};
