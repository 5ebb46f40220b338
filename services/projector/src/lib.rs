//! The projector: from JetStream to the views, and from the views to those who wait for them.
//!
//! One process leads, any number stand by; the lead and its fence are the views' own ([`tasuki_views::Projection`]).
//! The leader takes envelopes as they come (`follow`), drops what it has seen, fills holes from the log, lets the
//! views fold them, and when they are committed tells posts and streams (`tell`); streams of other processes hear of
//! it there ([`hear`]). While NATS is away it reads the log itself: PostgreSQL is the only truth, NATS is the fast way.
//!
//! It holds no keys and opens nothing. It never skips: a header that it cannot read ends it, for a person or a newer
//! binary to go on. A rebuild is met as the loss of the lead, and tells nobody anything.

mod follow;
mod hear;
mod tell;

pub use hear::hear;

use std::time::Duration;

use tasuki_bus::{Bus, BusError, BusOptions};
use tasuki_kit::ViewSignals;
use tasuki_log::{LogError, Reader};
use tasuki_views::{Projection, ViewError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What ends a projector before it is cancelled: trying again cannot help, a person must look.
#[derive(Debug, thiserror::Error)]
pub enum ProjectorError {
    /// A header that this binary cannot read. Nothing behind it is projected.
    #[error("projection stopped: {0}")]
    Unreadable(String),
    /// The views are those of a newer binary, which would rebuild them after us, and we after it.
    #[error("projection stopped: {0}")]
    Newer(String),
    /// The broker is there and does not want us, or its address or credentials are malformed.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// Why the lead is given up or not had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error(transparent)]
    Views(#[from] ViewError),
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Projects until cancelled, as the leader or as a standby; outlives restarts of both servers, and rebuilds.
///
/// `signals` wake the streams of this process after each of its commits, those of the posts that have news. The other
/// processes get a ping. Dropping the future is as good as cancelling.
///
/// Errors: [`ProjectorError::Unreadable`] and [`ProjectorError::Newer`], which have been logged as errors too.
pub async fn run(
    database_url: String,
    reader: Reader,
    bus: Bus,
    signals: ViewSignals,
    cancel: CancellationToken,
) -> Result<(), ProjectorError> {
    let (_keep, bus) = watch::channel(Some(bus));
    project(database_url, reader, bus, signals, cancel).await
}

/// The same, for a broker that may not be there yet: the views do not wait for it.
///
/// Errors: those of [`run`], and [`ProjectorError::Bus`].
pub async fn run_connecting(
    database_url: String,
    reader: Reader,
    bus: BusOptions,
    signals: ViewSignals,
    cancel: CancellationToken,
) -> Result<(), ProjectorError> {
    let (connected, connecting) = watch::channel(None);
    let connect = async {
        connected.send_replace(Some(Bus::connect(&bus).await?));
        std::future::pending().await
    };
    tokio::select! {
        projected = project(database_url, reader, connecting, signals, cancel) => projected,
        refused = connect => refused,
    }
}

async fn project(
    url: String,
    reader: Reader,
    bus: watch::Receiver<Option<Bus>>,
    signals: ViewSignals,
    cancel: CancellationToken,
) -> Result<(), ProjectorError> {
    let projecting = async {
        let mut wait = RETRY_FIRST;
        loop {
            let mut progressed = false;
            let fault = lead(&url, &reader, &bus, &signals, &mut progressed).await;
            if progressed {
                wait = RETRY_FIRST;
            }
            match fault {
                Fault::Views(error @ ViewError::Unreadable { .. }) => return unreadable(&error),
                Fault::Views(error @ ViewError::NewerLayout { .. }) => {
                    tracing::error!(%error, "the projection stops: a newer binary has made the views");
                    return Err(ProjectorError::Newer(error.to_string()));
                }
                Fault::Log(error @ LogError::UnreadableHeader { .. }) => return unreadable(&error),
                // A rebuild moved the pointer, or another leads: nothing is wrong.
                Fault::Views(ViewError::Fenced) => tracing::info!("fenced off, taking the lead again"),
                Fault::Views(error @ (ViewError::OtherLayout { .. } | ViewError::AheadOfLog { .. })) => {
                    tracing::warn!(%error, "rebuilding the views");
                    if let Err(error) = tasuki_views::rebuild(&url).await {
                        if let ViewError::Unreadable { .. } = error {
                            return unreadable(&error);
                        }
                        tracing::warn!(%error, "the views could not be rebuilt");
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(RETRY_MAX);
                    }
                }
                error => {
                    tracing::warn!(%error, retry_ms = wait.as_millis() as u64, "the views are not written for now");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_MAX);
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = cancel.cancelled() => Ok(()),
        ended = projecting => ended,
    }
}

fn unreadable(error: &dyn std::error::Error) -> Result<(), ProjectorError> {
    tracing::error!(%error, "the projection stops: this binary cannot read the log");
    Err(ProjectorError::Unreadable(error.to_string()))
}

/// Leads until something is wrong.
async fn lead(
    url: &str,
    reader: &Reader,
    bus: &watch::Receiver<Option<Bus>>,
    signals: &ViewSignals,
    progressed: &mut bool,
) -> Fault {
    let projection = match Projection::lead(url).await {
        Ok(projection) => projection,
        Err(error) => return error.into(),
    };
    tracing::info!(position = projection.position(), "leading the projection");
    // Streams look again: the views may have moved while nobody led, or have been rebuilt.
    let broker = bus.borrow().clone();
    tell::everyone(broker.as_ref(), signals, projection.position()).await;
    let mut follower = follow::Follower::new(projection, reader.clone(), bus.clone());
    loop {
        match follower.next().await {
            Ok(applied) => {
                *progressed = true;
                tell::news(follower.bus().as_ref(), signals, &applied).await;
            }
            Err(fault) => return fault,
        }
    }
}
