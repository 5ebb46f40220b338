//! What every method stands on, and the times that it keeps.

use std::time::Duration;

use tasuki_kit::Platform;
use tasuki_views::Views;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often an answer is made anew because a disclosure changed under it, before the caller is told to try again.
pub(crate) const STALE_TRIES_MAX: usize = 5;

/// Times and signals of the service.
#[derive(Clone, Debug)]
pub struct TimelineOptions {
    /// The position that the views have reached, as far as this process has heard: a hint, never trusted.
    pub viewed: watch::Receiver<u64>,
    /// Ends open streams and waits.
    pub drain: CancellationToken,
    /// How often a stream says that it is alive.
    pub heartbeat: Duration,
    /// How often it looks without having been woken.
    pub poll: Duration,
}

impl TimelineOptions {
    /// A heartbeat every 15 s, and a look every second beneath the signals.
    pub fn new(viewed: watch::Receiver<u64>, drain: CancellationToken) -> Self {
        Self { viewed, drain, heartbeat: Duration::from_secs(15), poll: Duration::from_secs(1) }
    }
}

/// Everything that a method needs. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub platform: Platform,
    pub views: Views,
    pub options: TimelineOptions,
}

impl Desk {
    /// Completes when the views may have moved, or after `at_most`.
    ///
    /// `viewed` is the caller's own receiver, so that no signal is lost between two waits.
    pub(crate) async fn moved(viewed: &mut watch::Receiver<u64>, at_most: Duration) {
        let signal = async {
            if viewed.changed().await.is_err() {
                // Nobody signals any more: only the clock is left.
                std::future::pending::<()>().await;
            }
        };
        let _ = tokio::time::timeout(at_most, signal).await;
    }
}
