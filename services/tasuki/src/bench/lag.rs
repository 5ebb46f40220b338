//! How far relay and projector are behind the log.

use std::time::Duration;

use tasuki_bus::{Bus, LogStream, LogStreamSettings};
use tasuki_log::{Database, Reader};
use tasuki_views::Views;
use tokio::time::Instant;

use super::remark;
use super::world::World;
use crate::Error;

/// Looks at the log, the stream and the views from outside the program.
pub(super) struct Observer {
    /// The log.
    pub reader: Reader,
    views: Views,
    stream: LogStream,
}

/// The age of the oldest event that has not come through; 0 where none is missing, seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lag {
    /// To the stream on the broker.
    pub relay_s: f64,
    /// To the views.
    pub projector_s: f64,
}

impl Observer {
    /// Connects.
    pub async fn new(world: &World) -> Result<Self, Error> {
        let bus = Bus::connect(&world.bus_options()?).await?;
        Ok(Self {
            reader: Reader::new(Database::new(&world.database_url, 2)?),
            views: Views::new(&world.database_url, 2)?,
            stream: LogStream::new(bus, LogStreamSettings::default()),
        })
    }

    /// As of now.
    pub async fn lag(&self) -> Result<Lag, Error> {
        let relayed = self.stream.state().await?.and_then(|state| state.last).map_or(0, |last| last.position);
        let projected = self.views.position().await?.position;
        Ok(Lag { relay_s: self.age_after(relayed).await?, projector_s: self.age_after(projected).await? })
    }

    /// Waits until everything has come through; says how long that took.
    ///
    /// Errors: when it has not within `limit`.
    pub async fn settled(&self, limit: Duration) -> Result<Duration, Error> {
        let started = Instant::now();
        loop {
            let lag = self.lag().await?;
            if lag.relay_s <= 0.0 && lag.projector_s <= 0.0 {
                return Ok(started.elapsed());
            }
            if started.elapsed() > limit {
                return Err(format!("relay or projector is behind for more than {limit:?}: {lag:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The lag `pause` after the end of a load, the worse of the two; then waits for the rest, so that it does not
    /// disturb what is measured next.
    pub async fn after(&self, pause: Duration, limit: Duration) -> Result<f64, Error> {
        tokio::time::sleep(pause).await;
        let lag = self.lag().await?;
        let rest = self.settled(limit).await?;
        remark(format!(
            "{:.0} s after the load: relay {:.2} s behind, projector {:.2} s; nothing left {:.2} s later",
            pause.as_secs_f64(),
            lag.relay_s,
            lag.projector_s,
            rest.as_secs_f64()
        ))?;
        Ok(lag.relay_s.max(lag.projector_s))
    }

    async fn age_after(&self, position: u64) -> Result<f64, Error> {
        let oldest = self.reader.after(position, 1).await?;
        let now_us = jiff::Timestamp::now().as_microsecond();
        // Never 0 while something is missing.
        Ok(oldest.first().map_or(0.0, |row| ((now_us - row.recorded_at_us) as f64 / 1e6).max(0.001)))
    }
}
