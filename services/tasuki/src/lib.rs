//! The one binary of many roles, as a library so that tests and measurements run the same code.
//!
//! * [`node`] runs any subset of roles against a database and a broker.
//! * [`up`] is the embedded default: private servers, all roles, the try-out issuer, an example region.
//! * [`demo`] plays the example story on [`up`] and prints four timelines side by side.
//! * [`serve`] is [`node`] against servers that somebody else keeps.
//! * [`mod@bench`] measures, each figure against a yardstick in the same run.
//! * The rest are commands: [`call`], [`token`], [`maintain`] (rebuild, verify, NATS credentials), [`keys`], [`erase`],
//!   [`mod@export`].

mod again;
pub mod bench;
pub mod call;
pub mod cli;
pub mod demo;
pub mod erase;
pub mod export;
mod health;
mod hint;
pub mod keys;
pub mod layer;
pub mod maintain;
pub mod node;
pub mod region;
pub mod secrets;
pub mod serve;
pub mod token;
pub mod up;

/// An error that a command shows to whoever ran it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
