//! What somebody finds who has kept a feed: rewrites of it, and a server that contradicts itself.
#![allow(clippy::unwrap_used)]

use tasuki_log::Keyring;
use tasuki_log::read::timestamp;
use tasuki_views::digest;

use super::*;

/// A feed of events with these commitments, as a server gives it that signs with this key.
fn served(keys: &Keyring, epoch: u64, events: &[u8]) -> (pb::FeedHead, Vec<pb::FeedLink>) {
    let post = PostId(uuid::Uuid::from_u128(7));
    let mut end = FeedEnd::default();
    let mut links = Vec::new();
    for event in events {
        let number = end.number + 1;
        let digest = digest(post, number, &[*event; 32]);
        end = FeedEnd { number, chain: link(&end.chain, &digest) };
        links.push(pb::FeedLink { number, digest: digest.to_vec(), chain: end.chain.to_vec() });
    }
    let head = pb::FeedHead {
        post_id: post.to_string(),
        epoch,
        number: end.number,
        chain: end.chain.to_vec(),
        signed_at: Some(timestamp(5_000_001)),
        signature: keys.sign(&head_message(post, epoch, &end, 5_000_001)),
        key_id: keys.signing_id().to_owned(),
        public_key: keys.public_key().to_vec(),
    };
    (head, links)
}

fn kept(keys: &Keyring, events: &[u8]) -> Feed {
    let (head, links) = served(keys, 1, events);
    Feed::of(&head, &links, None).unwrap()
}

/// What somebody finds who has kept a feed, when the server gives this.
fn found(kept: &Feed, (head, links): &(pb::FeedHead, Vec<pb::FeedLink>)) -> Result<(), Found> {
    kept.is_kept_by(&Feed::of(head, links, Some(kept))?)
}

#[test]
fn a_feed_survives_its_text_form() {
    let feed = kept(&Keyring::generate().unwrap(), &[1, 2, 3]);
    assert_eq!(Feed::from_text(&feed.to_text()), Some(feed));
    assert_eq!(Feed::from_text("other"), None);
}

#[test]
fn who_holds_the_signing_key_still_cannot_rewrite_what_was_kept() {
    let keys = Keyring::generate().unwrap();
    let feed = kept(&keys, &[1, 2, 3, 4]);
    let rewritten = |events: &[u8]| found(&feed, &served(&keys, 1, events));
    assert_eq!(rewritten(&[1, 2, 3, 4]), Ok(()));
    assert_eq!(rewritten(&[1, 2, 3, 4, 5]), Ok(()), "the feed has grown");
    assert_eq!(rewritten(&[1, 2, 9, 4, 5]), Err(Found::Altered(3)));
    assert_eq!(rewritten(&[1, 3, 4]), Err(Found::Altered(2)), "removed");
    assert_eq!(rewritten(&[1, 9, 2, 3, 4]), Err(Found::Altered(2)), "inserted");
    assert_eq!(rewritten(&[2, 1, 3, 4]), Err(Found::Altered(1)), "reordered");
    assert_eq!(rewritten(&[1, 2]), Err(Found::Cut(3)));
    assert_eq!(found(&feed, &served(&keys, 2, &[1, 2, 3, 4])), Err(Found::OtherEpoch));
}

#[test]
fn a_server_that_contradicts_itself_is_found() {
    let keys = Keyring::generate().unwrap();
    let feed = kept(&keys, &[1, 2, 3]);
    let given = || served(&keys, 1, &[1, 2, 3, 4]);
    // The event was altered, the view was not.
    let mut altered = given();
    altered.1[1].digest[0] ^= 1;
    assert_eq!(found(&feed, &altered), Err(Found::Altered(2)));
    let mut gone = given();
    gone.1[2].digest.clear();
    assert_eq!(found(&feed, &gone), Err(Found::Altered(3)));
    // The view was altered, the event was not.
    let mut broken = given();
    broken.1[1].chain[0] ^= 1;
    assert_eq!(found(&feed, &broken), Err(Found::Broken(2)));
    let mut short = given();
    short.1.truncate(3);
    assert_eq!(found(&feed, &short), Err(Found::Cut(4)), "shorter than its own head");
    let mut head = given();
    head.0.chain[0] ^= 1;
    assert_eq!(found(&feed, &head), Err(Found::Signature));
    assert_eq!(found(&feed, &served(&Keyring::generate().unwrap(), 1, &[1, 2, 3])), Err(Found::Signature));
    let mut other = given();
    other.0.post_id = uuid::Uuid::from_u128(8).to_string();
    assert_eq!(found(&feed, &other), Err(Found::Signature), "the signature is of another post's");
}
