//! What a batch changes, collected in memory and written in one transaction.
//!
//! Rows that are only ever added stand here as they are. Of what is overwritten only the keys are noted; the rows
//! come from the fold at the end, so that ten changes of one row are one.

use std::collections::{BTreeMap, BTreeSet};

use tasuki_domain::ids::{CaseId, GrantId, PostId};

use crate::duties::Duties;
use crate::items::Items;
use crate::{feed, posts, state};

/// The changes of a batch.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub feed: Vec<feed::NewRow>,
    /// When the events behind the rows of `feed` were recorded: as many, in the same order.
    pub feed_times_us: Vec<i64>,
    pub case_events: Vec<state::NewEvent>,
    pub cases: BTreeMap<CaseId, Touched>,
    pub duties: Duties,
    pub items: Items,
    pub posts: posts::Changed,
}

/// What of a case must be stored again. Being here at all means its row in `cases`.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    pub relations: BTreeSet<PostId>,
    pub sights: BTreeSet<PostId>,
    pub grants: BTreeSet<GrantId>,
}
