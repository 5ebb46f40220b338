//! The policies under which one post reads one case.

use std::sync::Arc;

use uuid::Uuid;

use super::Policy;

/// The policies in force for one reader of one case: that of the case's municipality, and beside it that of the
/// reader's own where the reader works elsewhere. Of two, the stricter applies at every single point.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Of the case's municipality; the default where it has adopted none.
    pub of_case: Arc<Policy>,
    /// Of the reader's own municipality, where that is another and has adopted one.
    pub elsewhere: Option<Arc<Policy>>,
    /// How often the policy of the case's municipality has been settled; 0: it has adopted none.
    pub revision: u64,
    /// The municipalities whose policies these are, by the ids of their streams, each with the version under which it
    /// was looked at. A read holds them as it holds its cases: nothing is served under a policy that has been replaced.
    pub rows: Vec<(Uuid, u64)>,
}

impl InForce {
    /// The policy that comes with the program, adopted by nobody.
    pub fn standard() -> Self {
        Self::only(Policy::standard().clone())
    }

    /// One policy, which no municipality has adopted.
    pub fn only(policy: Arc<Policy>) -> Self {
        Self { of_case: policy, elsewhere: None, revision: 0, rows: Vec::new() }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Policy> {
        [Some(&*self.of_case), self.elsewhere.as_deref()].into_iter().flatten()
    }
}
