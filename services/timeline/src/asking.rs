//! Who asks, as the policy and the read records know it.

use jiff::Timestamp;
use tasuki_domain::directory::Directory;
use tasuki_domain::ids::{CaseId, GrantId, PostId};
use tasuki_kit::Context;
use tasuki_log::ReadEntry;
use tasuki_privacy::{POLICY_VERSION, Viewer};
use tonic::Status;
use uuid::Uuid;

use crate::errors;

const TOKYO_OFFSET_S: i64 = 9 * 3_600;
const DAY_S: i64 = 86_400;

/// One caller of one method.
#[derive(Clone, Debug)]
pub(crate) struct Asking {
    pub context: Context,
    pub viewer: Viewer,
    /// `Service/Method`, as it stands in the read record.
    pub method: &'static str,
}

impl Asking {
    /// Errors: `POST_REQUIRED` for a caller without a post.
    pub(crate) fn new(context: Context, directory: &Directory, method: &'static str) -> Result<Self, Status> {
        let post = context.actor.post;
        if post.0.is_nil() {
            return Err(errors::post_required());
        }
        // An agency that is not known reads its own part only.
        let kind = directory.agency_of(post).map(|agency| agency.kind.clone()).unwrap_or_default();
        let viewer = Viewer { post, agency: context.actor.agency, kind };
        Ok(Self { context, viewer, method })
    }

    pub(crate) fn post(&self) -> PostId {
        self.viewer.post
    }

    /// The record of this read.
    pub(crate) fn entry(
        &self,
        cases: Vec<(CaseId, u64)>,
        events: Vec<Uuid>,
        fact_keys: Vec<String>,
        grants: Vec<GrantId>,
    ) -> ReadEntry {
        ReadEntry {
            agency: self.viewer.agency.0,
            post: self.viewer.post.0,
            purpose: self.context.purpose.clone(),
            method: self.method,
            cases: cases.into_iter().map(|(case, epoch)| (case.0, epoch)).collect(),
            events,
            fact_keys,
            grants: grants.into_iter().map(|g| g.0).collect(),
            policy_version: POLICY_VERSION,
        }
    }
}

/// The day of an instant in Asia/Tokyo, as days since 1970-01-01: the day on which grants are looked at.
pub(crate) fn day_of(now: Timestamp) -> i32 {
    i32::try_from((now.as_second() + TOKYO_OFFSET_S).div_euclid(DAY_S)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_midnight_in_tokyo() {
        let at = |second| day_of(Timestamp::from_second(second).unwrap_or_default());
        assert_eq!((at(15 * 3_600 - 1), at(15 * 3_600)), (0, 1));
        assert_eq!(at(-9 * 3_600 - 1), -1);
    }
}
