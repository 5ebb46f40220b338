//! Where a client stands in the feed of its post, as text that it keeps and gives back.
//!
//! A cursor holds the post, the number of the last item and the epoch of the feed, never a position. Its tag is keyed:
//! a cursor that was made up, or altered, is told apart from one that we gave. It is no secret and gives no right:
//! what stands behind it is checked at every read.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tasuki_domain::ids::PostId;
use tasuki_log::Keyring;
use uuid::Uuid;

const VERSION: u8 = 1;
const TAG_BYTES: usize = 16;
/// Version, post, number, epoch.
const BODY_BYTES: usize = 1 + 16 + 8 + 8;

/// A place in the feed of one post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Whose feed.
    pub post: PostId,
    /// Number of the last item that was processed; 0 is the beginning.
    pub number: u64,
    /// Epoch of the feed in which the number counts, see [`tasuki_views::feed_epoch`].
    pub epoch: u64,
}

/// The text is no cursor that this installation gave to this post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadCursor;

impl Cursor {
    /// The cursor as text. Shape: base64url without padding, 66 characters.
    pub fn to_text(self, keyring: &Keyring) -> String {
        let mut bytes = Vec::with_capacity(BODY_BYTES + TAG_BYTES);
        bytes.push(VERSION);
        bytes.extend_from_slice(self.post.0.as_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.epoch.to_be_bytes());
        bytes.extend_from_slice(&tag(keyring, &bytes));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the cursor that `post` gives back.
    ///
    /// Errors: [`BadCursor`] for everything that was not given to this very post, alike.
    pub fn read(keyring: &Keyring, post: PostId, text: &str) -> Result<Self, BadCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| BadCursor)?;
        let (body, given) = bytes.split_last_chunk::<TAG_BYTES>().ok_or(BadCursor)?;
        if !same(given, &tag(keyring, body)) {
            return Err(BadCursor);
        }
        let (version, rest) = body.split_first().ok_or(BadCursor)?;
        let (owner, rest) = rest.split_first_chunk::<16>().ok_or(BadCursor)?;
        let (number, rest) = rest.split_first_chunk::<8>().ok_or(BadCursor)?;
        let epoch: [u8; 8] = rest.try_into().map_err(|_| BadCursor)?;
        let cursor = Self {
            post: PostId(Uuid::from_bytes(*owner)),
            number: u64::from_be_bytes(*number),
            epoch: u64::from_be_bytes(epoch),
        };
        if *version == VERSION && cursor.post == post { Ok(cursor) } else { Err(BadCursor) }
    }
}

fn tag(keyring: &Keyring, body: &[u8]) -> [u8; TAG_BYTES] {
    let digest = keyring.digest(&[b"feed cursor", body]);
    let mut tag = [0; TAG_BYTES];
    tag.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    tag
}

/// Compares without stopping at the first difference, so that a tag cannot be guessed byte by byte.
fn same(a: &[u8; TAG_BYTES], b: &[u8; TAG_BYTES]) -> bool {
    a.iter().zip(b).fold(0, |different, (a, b)| different | (a ^ b)) == 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn cursor() -> Cursor {
        Cursor { post: PostId(Uuid::from_u128(7)), number: 42, epoch: 3 }
    }

    #[test]
    fn a_cursor_comes_back_as_it_was_given() {
        let keys = Keyring::generate().unwrap();
        let text = cursor().to_text(&keys);
        assert_eq!(text.len(), 66);
        assert_eq!(Cursor::read(&keys, cursor().post, &text), Ok(cursor()));
    }

    #[test]
    fn a_cursor_of_another_post_or_of_another_installation_is_refused() {
        let keys = Keyring::generate().unwrap();
        let text = cursor().to_text(&keys);
        assert_eq!(Cursor::read(&keys, PostId(Uuid::from_u128(8)), &text), Err(BadCursor));
        let others = Keyring::generate().unwrap();
        assert_eq!(Cursor::read(&others, cursor().post, &text), Err(BadCursor));
    }

    #[test]
    fn a_cursor_that_was_altered_anywhere_or_made_up_is_refused() {
        let keys = Keyring::generate().unwrap();
        let text = cursor().to_text(&keys);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for i in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[i] ^= 1;
            let altered = URL_SAFE_NO_PAD.encode(altered);
            assert_eq!(Cursor::read(&keys, cursor().post, &altered), Err(BadCursor), "byte {i}");
        }
        for made_up in ["", "0", "AAAA", "*", &text[1..], &format!("{text}AA")] {
            assert_eq!(Cursor::read(&keys, cursor().post, made_up), Err(BadCursor), "{made_up}");
        }
    }
}
