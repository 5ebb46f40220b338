//! Where to go on: the last row of the log that the stream has, told by what the stream ends with.

use tasuki_bus::LogPoint;
use tasuki_log::{LogError, Reader};

/// What the end of the stream means for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Go on behind this position.
    Behind(u64),
    /// The stream ends with something that the log does not have and never will under that id: it is a copy of
    /// another log, or of one that was set back without a new epoch.
    Foreign,
}

/// The position behind which the stream that ends with `last` has to be fed.
///
/// After a restore the log resumes under a new epoch at an earlier position, and the stream still holds what was
/// discarded: then it is the last row whose epoch the stream has reached. `last` must have been asked before this is
/// called, since the log only grows.
pub(crate) async fn resume(reader: &Reader, last: LogPoint) -> Result<Resume, LogError> {
    let (position, epoch) = reader.head().await?;
    if last > LogPoint::new(epoch, position) {
        return Ok(Resume::Foreign);
    }
    let reached = async |position: u64| -> Result<bool, LogError> {
        let row = reader.after(position - 1, 1).await?;
        Ok(row.first().is_some_and(|row| row.position == position && row.epoch <= last.epoch))
    };
    // Epochs never decrease along the log. Nearly always the first look settles it.
    let (mut low, mut high) = (0, last.position.min(position));
    let mut middle = high;
    while low < high {
        if reached(middle).await? {
            low = middle;
        } else {
            high = middle - 1;
        }
        middle = low + (high - low).div_ceil(2);
    }
    Ok(Resume::Behind(low))
}
