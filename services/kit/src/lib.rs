//! What every gRPC service shares: who calls ([`Context`]), how a command runs ([`command`]), how an answer goes on
//! record before it leaves ([`reading`]), how states are loaded ([`states`]), how refusals and faults become a status
//! ([`errors`]), by which clock is read ([`clock`]), and who is woken when the views have moved ([`ViewSignals`]).
//!
//! The only place where domain words turn into `tonic::Status`. It decides nothing.

pub mod clock;
pub mod command;
mod context;
mod directory;
pub mod errors;
pub mod page;
mod platform;
pub mod reading;
mod signals;
pub mod states;

pub use context::{Context, PURPOSES};
pub use platform::{Platform, PlatformOptions};
pub use signals::{Listener, Reach, ViewSignals};
