//! The one binary of many roles, as a library so that tests and measurements run the same code.
//!
//! * [`node`] runs any subset of roles against a database and a broker.
//! * [`up`] is the embedded default: private servers, all roles, the try-out issuer, an example region.
//! * [`demo`] plays the example story on [`up`] and prints four timelines side by side.
//! * [`serve`] is [`node`] against servers that somebody else keeps.
//! * [`mod@bench`] measures, each figure against a yardstick in the same run.
//! * The rest are commands: [`call`], [`token`], [`maintain`] (rebuild, NATS credentials), [`verify`] (and the auditor's
//!   head), [`verify_feed`], [`policy`] (check, adopt, explain), [`keys`], [`erase`], [`mod@export`].

mod again;
pub mod bench;
pub mod call;
pub mod cli;
pub mod demo;
pub mod erase;
pub mod export;
mod health;
mod hint;
mod issued;
pub mod jwks;
pub mod keys;
pub mod layer;
mod listen;
pub mod maintain;
pub mod node;
pub mod policy;
pub mod region;
pub mod secrets;
pub mod serve;
pub mod token;
pub mod up;
pub mod verify;
pub mod verify_feed;

/// An error that a command shows to whoever ran it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
