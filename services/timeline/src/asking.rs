//! Who asks, as the policy and the read records know it.

pub(crate) use tasuki_kit::reading::{Asking, day_of};
