//! What is wrong in a line of a policy file, for the person who wrote it.

use std::fmt;

/// One thing that is wrong, where, and what may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong, in English.
    pub en: String,
    /// What is wrong, in Japanese.
    pub ja: String,
    /// What may stand there: names, separated by commas, or a phrase.
    pub allowed: String,
}

impl Issue {
    pub(super) fn new(line: usize, en: impl Into<String>, ja: impl Into<String>, allowed: &[&str]) -> Self {
        Self { line, en: en.into(), ja: ja.into(), allowed: allowed.join(", ") }
    }
}

/// `LINE: what is wrong / 何が違うか; allowed: …`, without the file's name, which stands before it.
impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} / {}; allowed: {}", self.line, self.en, self.ja, self.allowed)
    }
}
