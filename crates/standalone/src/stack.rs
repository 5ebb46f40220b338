//! Both servers together, as the embedded default and most tests want them.

use std::path::PathBuf;

use crate::Error;
use crate::home::Place;
use crate::nats::{Nats, NatsOptions};
use crate::postgres::{Postgres, PostgresOptions};

/// How to start both.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// PostgreSQL's part.
    pub postgres: PostgresOptions,
    /// nats-server's part.
    pub nats: NatsOptions,
}

impl StackOptions {
    /// The defaults, gone with their owner.
    pub fn throw_away() -> Self {
        Self::at(Place::ThrowAway)
    }

    /// The defaults, kept in a state directory such as `.tasuki`.
    pub fn kept(state: impl Into<PathBuf>) -> Self {
        Self::at(Place::Kept(state.into()))
    }

    fn at(place: Place) -> Self {
        Self { postgres: PostgresOptions::at(place.clone()), nats: NatsOptions::at(place) }
    }
}

/// A running PostgreSQL and a running nats-server.
pub struct Stack {
    /// The truth.
    pub postgres: Postgres,
    /// The transport.
    pub nats: Nats,
}

impl Stack {
    /// Starts both at the same time; if one fails, the other is stopped.
    pub async fn start(options: StackOptions) -> Result<Self, Error> {
        let (postgres, nats) = tokio::join!(Postgres::start(options.postgres), Nats::start(options.nats));
        Ok(Self { postgres: postgres?, nats: nats? })
    }

    /// Stops both and waits for both, whatever happens to one.
    pub async fn stop(&self) -> Result<(), Error> {
        let (postgres, nats) = tokio::join!(self.postgres.stop(), self.nats.stop());
        postgres.and(nats)
    }

    /// Completes with a server's name as soon as one has ended, for whatever reason.
    pub async fn ended(&self) -> &'static str {
        tokio::select! {
            () = self.postgres.ended() => "postgresql",
            () = self.nats.ended() => "nats-server",
        }
    }
}
