//! The log: the only writer of events, and the only place where sealed parts are opened.
//!
//! * [`Writer`] appends: group commit, versions, request ids, positions, the hash chain ([`append`]).
//! * [`Sealer`] seals and opens; data keys are wrapped by the master key of [`Keyring`] ([`seal`], [`keyring`]) and lie in
//!   a store apart ([`key_store`]); [`rotate`] wraps them anew.
//! * [`Reader`] reads by position or stream ([`read`]), [`gained`] many cases with their disclosure epochs; [`ReadRecords`] puts reads on record ([`reads`]).
//! * [`Attachments`] keeps the sealed bytes of documents ([`attachments`]).
//! * [`BlindIndex`] finds cases by keyed tokens of what tells one child from another ([`blind`]).
//! * [`verify`] walks the chain and finds the first bad row; [`verify_reads`] does so with the reads on record.
//!
//! It decides nothing, knows no NATS and no gRPC. PostgreSQL is the only truth: a cursor counts, a signal is a hint.

mod anchors;
pub mod append;
pub mod attachments;
pub mod audit;
mod batch;
mod beside;
pub mod blind;
mod chain;
mod db;
mod digest;
pub mod erasing;
mod error;
pub mod escrow;
mod fit;
mod gained;
pub mod key_store;
pub mod keyring;
mod ledger;
mod months;
mod partitions;
pub mod read;
mod read_back;
pub mod reads;
pub mod rotate;
pub mod seal;
pub mod verify;
pub mod verify_reads;

pub use anchors::{ReadsHead, anchor_reads};
pub use append::{Append, Appended, NewEvent, Stream, Writer, WriterOptions};
pub use attachments::Attachments;
pub use blind::{BlindEntry, BlindIndex, Token};
pub use chain::commitment;
pub use db::{Database, migrate};
pub use digest::sha256_hex;
pub use error::{AppendError, LogError};
pub use gained::{Gained, gained};
pub use key_store::begin;
pub use keyring::{Keyring, Signers};
pub use months::drop_month;
pub use read::{Reader, Record};
pub use read_back::{ReadPlace, RecordedRead};
pub use reads::{ReadEntry, ReadRecords};
pub use seal::Sealer;
