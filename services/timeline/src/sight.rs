//! One case as it is disclosed at this moment: its circle, and the epoch under which the circle was looked at.
//!
//! Both are of the same instant. A disclosure that changes later has another epoch when the read is put on record, and
//! the answer is made anew: nothing evaluated before it is served after it.

use std::collections::HashMap;
use std::sync::Arc;

use tasuki_domain::case::CaseState;
use tasuki_domain::circle::Circle;
use tasuki_domain::directory::Directory;
use tasuki_domain::ids::CaseId;
use tasuki_domain::policy::InForce;
use tasuki_kit::Platform;
use tasuki_privacy::{Access, Viewer};
use tonic::Status;

use crate::errors;

/// A case, ready for the policy.
#[derive(Clone, Debug)]
pub(crate) struct Sight {
    pub case: CaseId,
    pub epoch: u64,
    pub state: Arc<CaseState>,
    /// Whose policies were in force when the case was looked at. One that has been replaced since has another version
    /// when the read is put on record.
    directory: Arc<Directory>,
}

impl Sight {
    /// Loads one case. An unknown case has an empty circle.
    pub(crate) async fn load(platform: &Platform, case: CaseId) -> Result<Self, Status> {
        let loaded = platform.cases_with_epochs(&[case]).await.map_err(errors::log)?;
        let (epoch, state) =
            loaded.into_iter().next().map(|(_, epoch, state)| (epoch, state)).unwrap_or_default();
        Ok(Self { case, epoch, state, directory: platform.directory() })
    }

    pub(crate) fn circle(&self) -> &Circle {
        &self.state.circle
    }

    /// What the viewer may read of the case on a day, counted from 1970-01-01.
    pub(crate) fn access<'a>(&'a self, viewer: &'a Viewer, day: i32) -> Access<'a> {
        Access::of_case(viewer, &self.state, self.rules(viewer), day)
    }

    /// The policies under which the viewer reads the case.
    pub(crate) fn rules(&self, viewer: &Viewer) -> InForce {
        self.directory.in_force(&self.state.municipality_code, viewer.agency)
    }
}

/// Loads many cases, each once.
pub(crate) async fn load_all(
    platform: &Platform,
    cases: impl IntoIterator<Item = CaseId>,
) -> Result<HashMap<CaseId, Sight>, Status> {
    let mut ids: Vec<CaseId> = cases.into_iter().collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let loaded = platform.cases_with_epochs(&ids).await.map_err(errors::log)?;
    let directory = platform.directory();
    let sight = |(case, epoch, state)| (case, Sight { case, epoch, state, directory: directory.clone() });
    Ok(loaded.into_iter().map(sight).collect())
}
