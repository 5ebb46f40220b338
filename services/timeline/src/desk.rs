//! What every method stands on, and the times that it keeps.

use std::time::Duration;

use tasuki_kit::{Platform, ViewSignals};
use tasuki_views::Views;
use tokio_util::sync::CancellationToken;

use crate::seats::Seats;

/// How often an answer is made anew because a disclosure changed under it, before the caller is told to try again.
pub(crate) const STALE_TRIES_MAX: usize = 5;

/// Times and signals of the service.
#[derive(Clone, Debug)]
pub struct TimelineOptions {
    /// How far the views reach and whose feeds have grown, as far as this process has heard: hints, never trusted.
    pub signals: ViewSignals,
    /// Ends open streams and waits.
    pub drain: CancellationToken,
    /// How often a stream says that it is alive.
    pub heartbeat: Duration,
    /// How often it looks without having been woken.
    pub poll: Duration,
}

impl TimelineOptions {
    /// A heartbeat every 15 s, and a look every second beneath the signals.
    pub fn new(signals: ViewSignals, drain: CancellationToken) -> Self {
        Self { signals, drain, heartbeat: Duration::from_secs(15), poll: Duration::from_secs(1) }
    }
}

/// Everything that a method needs. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub platform: Platform,
    pub views: Views,
    pub options: TimelineOptions,
    pub seats: Seats,
}
