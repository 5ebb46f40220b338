//! Whether two cases are about one child: clues, a verdict, and a person who decides.
//!
//! Matching proposes, and nothing here merges by itself: a case that looks like another one is *in doubt* until the
//! municipality's intake post has looked, and until then nobody new learns of it.
//!
//! | What | Where |
//! |-|-|
//! | What tells one child from another | `person` |
//! | How like each other two statements are | `verdict` |

mod person;
#[cfg(test)]
mod tests;
mod verdict;

pub use person::{Clue, ClueKind, IDENTIFIER_KEYS, Person, Values, by_kind};
pub use verdict::{Verdict, compare};
