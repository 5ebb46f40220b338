//! The ledger of reads: what is hashed and signed of the records of one recording task, and how far it has come.
//!
//! A task is a *writer* with an id of its own. It knows its next number and the hash before it without asking anybody,
//! so chaining costs the read path no lock and no round trip. After a failure, when it cannot know what was committed,
//! it goes on as another writer.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ring::digest::{Context, SHA256};
use uuid::Uuid;

use crate::chain::GENESIS;
use crate::reads::ReadEntry;

/// A record as it is hashed. Lists are in the order in which they are stored.
pub(crate) struct Row<'a> {
    pub read_id: Uuid,
    pub at_us: i64,
    pub agency: Uuid,
    pub post: Uuid,
    pub purpose: &'a str,
    pub method: &'a str,
    pub cases: Vec<Uuid>,
    pub events: &'a [Uuid],
    pub fact_keys: &'a [String],
    pub grants: &'a [Uuid],
    pub policy_version: i32,
}

impl Row<'_> {
    /// The hash of the record at its place; every piece that varies in length stands with its length.
    pub(crate) fn hash(&self, previous: &[u8], writer: Uuid, number: u64) -> [u8; 32] {
        let mut context = Context::new(&SHA256);
        context.update(b"tasuki read 1");
        context.update(previous);
        context.update(writer.as_bytes());
        context.update(&number.to_be_bytes());
        context.update(self.read_id.as_bytes());
        context.update(&self.at_us.to_be_bytes());
        context.update(self.agency.as_bytes());
        context.update(self.post.as_bytes());
        let text = |context: &mut Context, text: &str| {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        };
        let ids = |context: &mut Context, ids: &[Uuid]| {
            context.update(&(ids.len() as u64).to_be_bytes());
            ids.iter().for_each(|id| context.update(id.as_bytes()));
        };
        text(&mut context, self.purpose);
        text(&mut context, self.method);
        ids(&mut context, &self.cases);
        ids(&mut context, self.events);
        context.update(&(self.fact_keys.len() as u64).to_be_bytes());
        self.fact_keys.iter().for_each(|key| text(&mut context, key));
        ids(&mut context, self.grants);
        context.update(&self.policy_version.to_be_bytes());
        finish(context)
    }
}

fn finish(context: Context) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

fn message(what: &[u8], writer: Uuid, number: u64, hash: &[u8]) -> Vec<u8> {
    [what, writer.as_bytes(), &number.to_be_bytes(), hash].concat()
}

/// What is signed of the last record of a batch.
pub(crate) fn batch_message(writer: Uuid, number: u64, hash: &[u8]) -> Vec<u8> {
    message(b"tasuki reads 1", writer, number, hash)
}

/// What is signed of the end of a month that is dropped.
pub(crate) fn closing_message(month: &str, writer: Uuid, number: u64, hash: &[u8]) -> Vec<u8> {
    [message(b"tasuki closing 1", writer, number, hash).as_slice(), month.as_bytes()].concat()
}

/// The hash of an anchor: the one before it, and what a writer had come to.
pub(crate) fn anchor_hash(
    previous: &[u8],
    number: u64,
    at_us: i64,
    writer: Uuid,
    writer_number: u64,
    writer_hash: &[u8],
) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(b"tasuki anchor 1");
    context.update(previous);
    context.update(&number.to_be_bytes());
    context.update(&at_us.to_be_bytes());
    context.update(writer.as_bytes());
    context.update(&writer_number.to_be_bytes());
    context.update(writer_hash);
    finish(context)
}

/// What is signed of an anchor.
pub(crate) fn anchor_message(number: u64, hash: &[u8]) -> Vec<u8> {
    [b"tasuki anchors 1".as_slice(), &number.to_be_bytes(), hash].concat()
}

/// How far one writer has come.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    pub writer: Uuid,
    pub number: u64,
    pub hash: [u8; 32],
    clock: Clock,
}

impl Ledger {
    /// A new writer, which has recorded nothing.
    pub(crate) fn begin() -> Self {
        Self { writer: Uuid::now_v7(), number: 0, hash: GENESIS, clock: Clock::default() }
    }

    /// Goes on as another writer: nobody knows whether the last records of this one were committed.
    pub(crate) fn begin_anew(&mut self) {
        *self = Self { clock: self.clock, ..Self::begin() };
    }

    /// Takes up a record; its hash.
    pub(crate) fn take(&mut self, row: &Row<'_>) -> [u8; 32] {
        self.number += 1;
        self.hash = row.hash(&self.hash, self.writer, self.number);
        self.hash
    }

    /// Whether the database's time is known.
    pub(crate) fn knows_the_time(&self) -> bool {
        self.clock.seen.is_some()
    }

    /// The database said that it is this time, in microseconds.
    pub(crate) fn heard(&mut self, us: i64) {
        let now = self.clock.now_us().unwrap_or(i64::MIN);
        // What it said is some time ago, so the latest of all that it said is the nearest.
        self.clock.seen = Some((us.max(now), Instant::now()));
    }

    /// The database's time, in microseconds, never before an earlier answer.
    pub(crate) fn now_us(&mut self) -> i64 {
        let own = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as i64;
        let now = self.clock.now_us().unwrap_or(own).max(self.clock.last_us);
        self.clock.last_us = now;
        now
    }
}

/// The database's clock, as far as it can be known without asking for each record: a record's time is part of what is
/// hashed and signed, so it must be known before the record is sent.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    seen: Option<(i64, Instant)>,
    last_us: i64,
}

impl Clock {
    fn now_us(&self) -> Option<i64> {
        self.seen.map(|(us, at)| us + at.elapsed().as_micros() as i64)
    }
}

/// As PostgreSQL takes a time.
pub(crate) fn system_time(us: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(us.unsigned_abs())
}

/// As it is hashed.
pub(crate) fn micros(at: SystemTime) -> i64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// The record of an entry.
pub(crate) fn row_of(entry: &ReadEntry, read_id: Uuid, at_us: i64) -> Row<'_> {
    Row {
        read_id,
        at_us,
        agency: entry.agency,
        post: entry.post,
        purpose: &entry.purpose,
        method: entry.method,
        cases: entry.cases.iter().map(|case| case.0).collect(),
        events: &entry.events,
        fact_keys: &entry.fact_keys,
        grants: &entry.grants,
        policy_version: entry.policy_version,
    }
}
