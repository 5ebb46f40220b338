//! The relay between a real PostgreSQL and a real nats-server: what is in the log is in the stream, whatever is
//! killed, wiped or set back in between. Each test has both servers of its own.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;
mod failover;
mod feeding;
mod outages;
