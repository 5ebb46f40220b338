//! The hash chain and its signed heads.

use ring::digest::{Context, SHA256};

use crate::anchors::ReadsHead;

/// The hash before the first row.
pub(crate) const GENESIS: [u8; 32] = [0; 32];

/// The hash of a row: the previous row's hash and everything in this one, each piece with its length.
///
/// `epoch`, `position` and `recorded_at_us` are known only inside the append, so they are no part of what seals a
/// part; here they are bound to it.
pub(crate) fn row_hash(
    previous: &[u8],
    position: u64,
    epoch: u64,
    recorded_at_us: i64,
    header: &[u8],
    parts: &[u8],
) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(b"tasuki row 1");
    context.update(previous);
    context.update(&position.to_be_bytes());
    context.update(&epoch.to_be_bytes());
    context.update(&recorded_at_us.to_be_bytes());
    context.update(&(header.len() as u64).to_be_bytes());
    context.update(header);
    context.update(&(parts.len() as u64).to_be_bytes());
    context.update(parts);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The hash of an event by itself, whatever stands before it in the log. The database computes the same.
///
/// Its header has a salt, so that it tells nothing of what is guessed to be in it.
pub fn commitment(header: &[u8], parts: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(b"tasuki event 1");
    context.update(&(header.len() as u64).to_be_bytes());
    context.update(header);
    context.update(parts);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// What is signed of a head: the chain up to there, and the last anchor of the reads on record by then.
pub(crate) fn head_message(position: u64, epoch: u64, hash: &[u8], reads: &ReadsHead) -> Vec<u8> {
    let anchored = reads.number > 0;
    let mut message = if anchored { b"tasuki head 2".to_vec() } else { b"tasuki head 1".to_vec() };
    message.extend_from_slice(&position.to_be_bytes());
    message.extend_from_slice(&epoch.to_be_bytes());
    message.extend_from_slice(hash);
    if anchored {
        message.extend_from_slice(&reads.number.to_be_bytes());
        message.extend_from_slice(&reads.hash);
    }
    message
}
