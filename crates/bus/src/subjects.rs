//! The subjects of the broker, all below `tasuki.`.
//!
//! | Subject | Carried by | What |
//! |-|-|-|
//! | `tasuki.log.page` | JetStream | pages of envelopes, from the relay to the projector |
//! | `tasuki.feed.<agency>.<post>` | core NATS | notices to one post |
//! | `tasuki.ping.{log,views}` | core NATS | "the head has moved", to our own processes |
//!
//! Ids come from callers, so every part is checked: a dot, a wildcard or a space in one would let it
//! reach another post's subject.

use crate::BusError;

/// Everything that the stream of the log takes.
pub const LOG_ALL: &str = "tasuki.log.>";

/// The subject of the pages that the relay publishes.
pub const LOG_PAGE: &str = "tasuki.log.page";

/// The longest part of a subject, in bytes; a UUID needs 36.
const TOKEN_BYTES_MAX: usize = 64;

/// The subject of the notices to one post.
///
/// Errors: [`BusError::InvalidToken`].
pub fn feed(agency: &str, post: &str) -> Result<String, BusError> {
    Ok(format!("tasuki.feed.{}.{}", token("agency", agency)?, token("post", post)?))
}

/// The inbox prefix that belongs to one post alone, without the closing dot.
///
/// Errors: [`BusError::InvalidToken`].
pub fn inbox_prefix(post: &str) -> Result<String, BusError> {
    Ok(format!("_INBOX_{}", token("post", post)?))
}

/// `text`, when it can stand between two dots of a subject and mean itself only.
fn token<'a>(what: &'static str, text: &'a str) -> Result<&'a str, BusError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if text.is_empty() || text.len() > TOKEN_BYTES_MAX || !text.bytes().all(plain) {
        return Err(BusError::InvalidToken { what });
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ID: &str = "01939f3e-7a54-7cc0-8000-0123456789ab";

    #[test]
    fn subjects_are_made_of_ids_as_text() {
        assert_eq!(feed("kita", ID).unwrap(), format!("tasuki.feed.kita.{ID}"));
        assert_eq!(inbox_prefix("kita_A").unwrap(), "_INBOX_kita_A");
    }

    #[test]
    fn a_part_that_would_change_the_subject_is_refused() {
        let long = "a".repeat(65);
        for bad in ["", ".", "a.b", "*", ">", "a b", "a\tb", "a\r\nPUB", "$SYS", "区", long.as_str()] {
            assert_eq!(feed(bad, ID), Err(BusError::InvalidToken { what: "agency" }), "{bad:?}");
            assert_eq!(feed(ID, bad), Err(BusError::InvalidToken { what: "post" }), "{bad:?}");
            assert_eq!(inbox_prefix(bad), Err(BusError::InvalidToken { what: "post" }), "{bad:?}");
        }
    }
}
