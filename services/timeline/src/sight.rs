//! One case as it is disclosed at this moment: its circle, and the epoch under which the circle was looked at.
//!
//! The epoch is read before the circle. A disclosure that changes in between, or later, has another epoch when the
//! read is put on record, and the answer is made anew: nothing evaluated before it is served after it.

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tasuki_domain::case::CaseState;
use tasuki_domain::circle::Circle;
use tasuki_domain::ids::CaseId;
use tasuki_kit::Platform;
use tonic::Status;

use crate::errors;

/// Cases that are loaded at the same time for one caller, so that one page does not take the whole pool.
const LOADS_MAX: usize = 8;

/// A case, ready for the policy.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub case: CaseId,
    pub epoch: u64,
    pub state: Arc<CaseState>,
}

impl Sight {
    /// Loads one case. An unknown case has an empty circle.
    pub(crate) async fn load(platform: &Platform, case: CaseId) -> Result<Self, Status> {
        let epochs = platform.reader().disclosure_epochs(&[case.0]).await.map_err(errors::log)?;
        let epoch = epochs.first().map_or(0, |(_, epoch)| *epoch);
        let state = platform.case(case).await.map_err(errors::log)?.state;
        Ok(Self { case, epoch, state })
    }

    pub(crate) fn circle(&self) -> &Circle {
        &self.state.circle
    }
}

/// Loads many cases, each once.
pub(crate) async fn load_all(
    platform: &Platform,
    cases: impl IntoIterator<Item = CaseId>,
) -> Result<HashMap<CaseId, Sight>, Status> {
    let mut ids: Vec<_> = cases.into_iter().map(|case| case.0).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let epochs = platform.reader().disclosure_epochs(&ids).await.map_err(errors::log)?;
    let load = |(id, epoch)| async move {
        let case = CaseId(id);
        let state = platform.case(case).await.map_err(errors::log)?.state;
        Ok::<_, Status>((case, Sight { case, epoch, state }))
    };
    stream::iter(epochs).map(load).buffer_unordered(LOADS_MAX).try_collect().await
}
