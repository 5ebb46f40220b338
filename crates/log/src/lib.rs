//! The log: the only writer of events, and the only place where sealed parts are opened.
//!
//! * [`Writer`] appends: group commit, versions, request ids, positions, the hash chain ([`append`]).
//! * [`Sealer`] seals and opens; data keys are wrapped by the master key of [`Keyring`] ([`seal`], [`keyring`]).
//! * [`Reader`] reads by position or stream ([`read`]), [`gained`] many cases with their disclosure epochs; [`ReadRecords`] puts reads on record ([`reads`]).
//! * [`BlindIndex`] finds cases by keyed tokens of what tells one child from another ([`blind`]).
//! * [`verify`] walks the chain and finds the first bad row.
//!
//! It decides nothing, knows no NATS and no gRPC. PostgreSQL is the only truth: a cursor counts, a signal is a hint.

pub mod append;
mod batch;
mod beside;
pub mod blind;
mod chain;
mod db;
mod error;
mod fit;
mod gained;
pub mod keyring;
mod partitions;
pub mod read;
pub mod reads;
pub mod seal;
pub mod verify;

pub use append::{Append, Appended, NewEvent, Stream, Writer, WriterOptions};
pub use blind::{BlindEntry, BlindIndex, Token};
pub use db::{Database, migrate};
pub use error::{AppendError, LogError};
pub use fit::fit;
pub use gained::{Gained, gained};
pub use keyring::Keyring;
pub use read::{Reader, Record};
pub use reads::{ReadEntry, ReadRecords};
pub use seal::Sealer;
