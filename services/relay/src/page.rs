//! From rows of the log to messages for the broker: pages of envelopes.
//!
//! A message costs the broker and both ends as much as fifty envelopes do, so whatever waits travels together. An
//! event that comes alone travels alone, at once: nobody waits for a page to fill.

use prost::Message as _;
use tasuki_bus::OutMessage;
use tasuki_contract::event::v1::{Envelope, Page};

/// Cuts envelopes, in the order of the log, into pages of one epoch and of at most `bytes_max` each; an envelope that
/// is larger stands alone.
pub(crate) fn pages(envelopes: Vec<Envelope>, bytes_max: usize) -> Vec<OutMessage> {
    let mut pages = Vec::new();
    let mut page = Page::default();
    let mut bytes = 0;
    for envelope in envelopes {
        let size = envelope.encoded_len();
        let other_epoch = page.envelopes.last().is_some_and(|last| last.epoch != envelope.epoch);
        if other_epoch || bytes + size > bytes_max {
            pages.extend(message(&std::mem::take(&mut page)));
            bytes = 0;
        }
        bytes += size;
        page.envelopes.push(envelope);
    }
    pages.extend(message(&page));
    pages
}

/// `None` for an empty page.
fn message(page: &Page) -> Option<OutMessage> {
    let last = page.envelopes.last()?;
    Some(OutMessage { position: last.position, epoch: last.epoch, payload: page.encode_to_vec().into() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn envelope(epoch: u64, position: u64, bytes: usize) -> Envelope {
        Envelope { position, epoch, header: vec![0; bytes], ..Envelope::default() }
    }

    /// Epoch, first and last position of each page.
    fn cut(envelopes: &[Envelope], bytes_max: usize) -> Vec<(u64, u64, u64)> {
        let pages = pages(envelopes.to_vec(), bytes_max);
        let range = |message: &OutMessage| {
            let page = Page::decode(message.payload.as_ref()).unwrap();
            assert_eq!(page.envelopes.last().unwrap().position, message.position);
            (message.epoch, page.envelopes[0].position, message.position)
        };
        pages.iter().map(range).collect()
    }

    #[test]
    fn what_waits_travels_together_up_to_the_bound() {
        let envelopes: Vec<_> = (1..=7).map(|n| envelope(1, n, 100)).collect();
        assert_eq!(cut(&envelopes, 1_000), [(1, 1, 7)]);
        assert_eq!(cut(&envelopes, 350), [(1, 1, 3), (1, 4, 6), (1, 7, 7)]);
        assert_eq!(cut(&envelopes[..1], 350), [(1, 1, 1)]);
        assert_eq!(cut(&[], 350), []);
    }

    #[test]
    fn one_that_is_too_large_stands_alone() {
        let sizes = [(1, 10), (2, 500), (3, 10), (4, 10)];
        let envelopes: Vec<_> = sizes.map(|(n, bytes)| envelope(1, n, bytes)).into();
        assert_eq!(cut(&envelopes, 350), [(1, 1, 1), (1, 2, 2), (1, 3, 4)]);
        assert_eq!(cut(&envelopes, 0), [(1, 1, 1), (1, 2, 2), (1, 3, 3), (1, 4, 4)]);
    }

    #[test]
    fn a_page_is_of_one_epoch() {
        let envelopes = [envelope(1, 1, 9), envelope(1, 2, 9), envelope(2, 3, 9)];
        assert_eq!(cut(&envelopes, 1_000), [(1, 1, 2), (2, 3, 3)]);
    }
}
