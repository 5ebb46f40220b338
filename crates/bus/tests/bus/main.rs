//! This crate against a real nats-server: every claim is about what the server does, not about what we
//! send. Each test has a server of its own, on a free port, gone at the end.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod connection;
mod consumer;
mod credentials;
mod notices;
mod stream;
