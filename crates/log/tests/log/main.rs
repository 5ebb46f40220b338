//! The log against a real PostgreSQL: every claim is about what the server holds afterwards. One throw-away cluster
//! for the whole binary, a fresh database per test; tests that kill or weaken a cluster have one of their own.
#![allow(clippy::unwrap_used, missing_docs)]

mod append;
mod blind;
mod common;
mod crash;
mod durable;
mod fit;
mod frozen;
mod gained;
mod partitions;
mod reads;
mod reads_tamper;
mod retry;
mod rotation;
mod tamper;
mod versions;
