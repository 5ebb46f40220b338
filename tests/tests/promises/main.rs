//! The promises, each on real processes: the program, PostgreSQL, nats-server.
#![allow(clippy::unwrap_used, missing_docs)]

mod p1_durable;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tasuki-program");
