//! The edges of the system on real processes: bad input, overload, streams, traces, credentials, the embedded default.
#![allow(clippy::unwrap_used, missing_docs)]

mod answer;
mod process;
mod samples;
mod variants;

mod malformed;
mod refusals;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tasuki-program");
