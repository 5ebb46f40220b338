//! The chain of a post's feed, for whoever wants to keep it: its signed head, and its links without content.
//!
//! The digest of a link is computed from the event as it stands in the log at that moment, the chain is the one that the
//! view holds: where the two do not agree, one of them was altered.

use jiff::Timestamp;
use tasuki_contract::timeline::v1 as pb;
use tasuki_domain::ids::PostId;
use tasuki_kit::page;
use tasuki_kit::reading::{Disclosed, on_record};
use tasuki_log::read::timestamp;
use tasuki_log::{Keyring, Record};
use tasuki_views::{FeedEnd, FeedRow};
use tonic::Status;
use uuid::Uuid;

use crate::asking::Asking;
use crate::desk::Desk;
use crate::errors;

/// What is signed of the head of a feed: see `FeedHead.signature` of the contract.
pub fn head_message(post: PostId, epoch: u64, end: &FeedEnd, signed_at_us: i64) -> Vec<u8> {
    let mut message = b"tasuki feed head 1".to_vec();
    message.extend_from_slice(post.0.as_bytes());
    message.extend_from_slice(&epoch.to_be_bytes());
    message.extend_from_slice(&end.number.to_be_bytes());
    message.extend_from_slice(&end.chain);
    message.extend_from_slice(&signed_at_us.to_be_bytes());
    message
}

/// The head, signed now.
pub(crate) fn signed(keyring: &Keyring, post: PostId, epoch: u64, end: &FeedEnd) -> pb::FeedHead {
    let now_us = Timestamp::now().as_microsecond();
    pb::FeedHead {
        post_id: post.to_string(),
        epoch,
        number: end.number,
        chain: end.chain.to_vec(),
        signed_at: Some(timestamp(now_us)),
        signature: keyring.sign(&head_message(post, epoch, end, now_us)),
        key_id: keyring.signing_id().to_owned(),
        public_key: keyring.public_key().to_vec(),
    }
}

/// The link of a row, with the digest of its event; an event that is gone has none.
pub(crate) fn link(post: PostId, row: &FeedRow, record: Option<&Record>) -> pb::FeedLink {
    let digest = record.map(|record| tasuki_views::digest(post, row.number, &record.commitment()));
    pb::FeedLink {
        number: row.number,
        digest: digest.map(Vec::from).unwrap_or_default(),
        chain: row.chain.to_vec(),
    }
}

/// The head of the caller's feed.
pub(crate) async fn head(desk: &Desk, asking: &Asking) -> Result<pb::GetFeedHeadResponse, Status> {
    on_record(&desk.platform, asking, || async {
        let epoch = desk.views.position().await.map_err(|e| errors::views(&e))?.feed_epoch;
        let end = desk.views.feed_end(asking.post()).await.map_err(|e| errors::views(&e))?;
        let head = signed(desk.platform.keyring(), asking.post(), epoch, &end);
        Ok((pb::GetFeedHeadResponse { head: Some(head) }, Disclosed::default()))
    })
    .await
}

/// A page of the links of the caller's feed.
pub(crate) async fn links(
    desk: &Desk,
    asking: &Asking,
    request: &pb::ListFeedLinksRequest,
) -> Result<pb::ListFeedLinksResponse, Status> {
    let size = page::size(request.page_size)?;
    let post = asking.post();
    // Beyond what a number can be there is nothing.
    let after = request.after_number.min(i64::MAX as u64);
    on_record(&desk.platform, asking, || async {
        let rows = desk.views.feed_after(post, after, size).await.map_err(|e| errors::views(&e))?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.event_id).collect();
        let records = desk.platform.reader().events(&ids).await.map_err(errors::log)?;
        let record = |row: &FeedRow| {
            let id = row.event_id.to_string();
            records.iter().find(|record| record.header.event_id == id)
        };
        let links = rows.iter().map(|row| link(post, row, record(row))).collect();
        Ok((pb::ListFeedLinksResponse { links }, Disclosed::default()))
    })
    .await
}
