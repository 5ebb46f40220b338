//! The edges of the system on real processes: bad input, overload, streams, traces, credentials, the embedded default.
#![allow(clippy::unwrap_used, missing_docs)]

mod answer;
mod mutate;
mod process;
mod samples;
mod up;
mod variants;

mod attachments;
mod consultation;
mod credentials;
mod embedded;
mod failing;
mod hostile;
mod identity;
mod issuer;
mod keyring;
mod keys;
mod malformed;
mod mutated;
mod overload;
mod pool;
mod refusals;
mod revoked;
mod streams;
mod tour;
mod traces;
mod transport;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tasuki-program");

/// The last position of the log.
async fn log_head(world: &tasuki_tests::World) -> u64 {
    let head = world.stack.postgres.sql("tasuki", "SELECT coalesce(max(position), 0) FROM log.events").await;
    head.unwrap().trim().parse().unwrap()
}
