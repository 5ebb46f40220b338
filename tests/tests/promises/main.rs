//! The promises, each on real processes: the program, PostgreSQL, nats-server.
#![allow(clippy::unwrap_used, missing_docs)]

mod attacker;
mod p10_withheld;
mod p1_durable;
mod p2_nobody_dropped;
mod p4_alike;
mod p4_asked_before;
mod p4_need_to_know;
mod p4_policy;
mod p5_withdrawal;
mod p6_replay;
mod p7_ledger;
mod p7_reads;
mod p8_erasure;
mod p9_tamper;
mod received;
mod story;
mod two_processes;
mod walk;
mod who_reads;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_tasuki-program");
