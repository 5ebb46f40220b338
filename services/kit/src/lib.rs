//! What every gRPC service shares: who calls ([`Context`]), how a command runs ([`command`]), how states are loaded
//! ([`states`]), and how refusals and faults become a status ([`errors`]).
//!
//! The only place where domain words turn into `tonic::Status`. It decides nothing.

pub mod command;
mod context;
mod directory;
pub mod errors;
pub mod page;
mod platform;
pub mod states;

pub use context::{Context, PURPOSES};
pub use platform::{Platform, PlatformOptions};
