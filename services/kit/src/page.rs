//! Pages of lists: sizes, and tokens that hold a place and are bound to the viewer and the filter.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tasuki_domain::refusal::Violation;
use tasuki_log::Keyring;
use tonic::Status;

use crate::errors;

/// Bytes of a tag.
const TAG: usize = 16;

/// Bytes of encoded items after which a page ends, whatever size was asked for: clients take 4 MiB in one message
/// unless they are told otherwise, and one item has room beneath the rest.
pub const BYTES_MAX: usize = 1024 * 1024;

/// How many items of these encoded lengths stand on one page: at least one, if there is any.
pub fn fitting(lengths: impl IntoIterator<Item = usize>) -> usize {
    let mut bytes = 0_usize;
    let within = |length: &usize| {
        bytes = bytes.saturating_add(*length);
        bytes <= BYTES_MAX
    };
    let mut lengths = lengths.into_iter().peekable();
    let any = usize::from(lengths.peek().is_some());
    lengths.take_while(within).count().max(any)
}

/// The page size that a request asks for: 0 means 50, at most 200.
///
/// Errors: `page_size` OUT_OF_RANGE.
pub fn size(asked: i32) -> Result<usize, Status> {
    match asked {
        0 => Ok(50),
        1..=200 => Ok(asked as usize),
        _ => Err(errors::invalid_field("page_size", Violation::OUT_OF_RANGE)),
    }
}

/// A token that holds `place` and is worth something only with the same `bound` (viewer, method, filter).
pub fn token(keyring: &Keyring, bound: &[&[u8]], place: &[u8]) -> String {
    let mut bytes = tag(keyring, bound, place);
    bytes.extend_from_slice(place);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place that a token holds; `None` for the first page.
///
/// Errors: `page_token` NOT_ALLOWED for a token that was made up or belongs to another viewer or filter.
pub fn place(keyring: &Keyring, bound: &[&[u8]], token: &str) -> Result<Option<Vec<u8>>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let refuse = || errors::invalid_field("page_token", Violation::NOT_ALLOWED);
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| refuse())?;
    let (given, place) = bytes.split_at_checked(TAG).ok_or_else(refuse)?;
    // The tag is no secret worth timing: it protects against confusion, and what it leads to is checked again.
    if given == tag(keyring, bound, place) { Ok(Some(place.to_vec())) } else { Err(refuse()) }
}

fn tag(keyring: &Keyring, bound: &[&[u8]], place: &[u8]) -> Vec<u8> {
    let mut pieces: Vec<&[u8]> = vec![b"page"];
    pieces.extend_from_slice(bound);
    pieces.push(place);
    let mut tag = keyring.digest(&pieces);
    tag.truncate(TAG);
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_ends_at_its_bytes_and_holds_at_least_one_item() {
        let third = BYTES_MAX / 3;
        assert_eq!(fitting([]), 0);
        assert_eq!(fitting([4 * BYTES_MAX, 1]), 1);
        assert_eq!(fitting([third, third, third, third]), 3);
        assert_eq!(fitting([third, 2 * BYTES_MAX, 1]), 1);
        assert_eq!(fitting([BYTES_MAX, 1]), 1);
        assert_eq!(fitting(vec![100; 200]), 200);
    }
}
