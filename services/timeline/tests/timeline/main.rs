//! The service on a real log and real views: who gets what, in which order, on record, and when it ends.
#![allow(clippy::unwrap_used, missing_docs)]

mod disclosure;
mod ends;
mod expiry;
mod feeds;
mod queries;
mod signals;
mod world;
