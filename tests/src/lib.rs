//! What end-to-end tests share: private servers, the program as real processes, and callers with tokens.
//!
//! Nothing stands in for PostgreSQL, nats-server or the program. Everything listens on a free loopback port and is
//! gone when the test ends, also when it is killed. Conditions are waited for, with a limit; nothing sleeps to hope.

mod calls;
pub mod certs;
pub mod issuer;
mod live;
mod paper;
mod program;
mod world;

pub use calls::{Caller, Seed, fact, referral};
pub use live::{Got, Live};
pub use paper::Paper;
pub use program::Program;
pub use world::World;

use std::time::{Duration, Instant};

/// The error of a test's set-up.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Asks again and again until `condition` holds; fails with `what` after `limit`.
pub async fn eventually<F>(what: &str, limit: Duration, mut condition: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
