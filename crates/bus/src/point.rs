//! A place in the log, as the broker sees it: the epoch and the position, and the message id made of
//! both.
//!
//! Positions alone are not enough here: after a restore the log resumes at an earlier position under
//! the next epoch, and a broker that outlived the restore still holds the discarded messages.

use std::fmt;
use std::str::FromStr;

use crate::BusError;

/// A place in the log. Ordered by epoch, then by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPoint {
    /// The log's epoch, raised by every restore or promotion.
    pub epoch: u64,
    /// The gapless position within the log.
    pub position: u64,
}

impl LogPoint {
    /// The place `position` of `epoch`.
    pub const fn new(epoch: u64, position: u64) -> Self {
        Self { epoch, position }
    }
}

/// The text of `Nats-Msg-Id`: `<epoch>.<position>`, both decimal.
impl fmt::Display for LogPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.position)
    }
}

impl FromStr for LogPoint {
    type Err = BusError;

    fn from_str(text: &str) -> Result<Self, BusError> {
        let malformed = || BusError::Malformed("message id");
        let (epoch, position) = text.split_once('.').ok_or_else(malformed)?;
        Ok(Self {
            epoch: epoch.parse().map_err(|_| malformed())?,
            position: position.parse().map_err(|_| malformed())?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_message_id_reads_back_as_its_point() {
        let point = LogPoint::new(3, u64::MAX);
        assert_eq!(point.to_string().parse::<LogPoint>().unwrap(), point);
    }

    #[test]
    fn a_foreign_message_id_is_malformed() {
        for text in ["", "1", "1.", ".1", "1.2.3", "a.b", "-1.2", "1 .2"] {
            assert_eq!(text.parse::<LogPoint>(), Err(BusError::Malformed("message id")), "{text}");
        }
    }

    #[test]
    fn a_later_epoch_is_later_whatever_its_position() {
        assert!(LogPoint::new(2, 1) > LogPoint::new(1, 100));
    }
}
