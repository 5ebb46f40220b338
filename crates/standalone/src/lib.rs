//! Private PostgreSQL and nats-server processes: started, watched, stopped and cleaned up by this program.
//!
//! For the embedded default (`tasuki up`, [`Place::Kept`]) and for tests ([`Place::ThrowAway`]).
//! It never touches a server that it did not start, never listens beyond 127.0.0.1, never uses a fixed port,
//! and never turns `fsync` or `synchronous_commit` off: what an acknowledgement means depends on them.
//! Data comes from the machine's installed servers ([`Programs`]) and goes to the directory of the [`Place`].
//!
//! ```no_run
//! # async fn example() -> Result<(), tasuki_standalone::Error> {
//! use tasuki_standalone::{Stack, StackOptions};
//! let stack = Stack::start(StackOptions::throw_away()).await?;
//! let log = stack.postgres.create_database("log").await?; // postgres://tasuki:…@127.0.0.1:…/log
//! stack.postgres.kill().await?; // what kill -9 leaves behind
//! stack.postgres.restart().await?; // same port, same data
//! stack.stop().await
//! # }
//! ```
//!
//! # Who cleans up after kill -9
//! Each server is the child of a *keeper*, a small `sh` that reads a pipe whose only writing end is in this
//! process. However this process ends, the kernel closes the pipe and the keeper stops the server. The
//! alternative, `PR_SET_PDEATHSIG`, is tied to the **thread** that forked: a worker thread of a runtime that
//! winds down would take the database with it.
//!
//! Linux only: processes are identified through `/proc`.

mod error;
mod home;
mod keeper;
mod nats;
mod port;
mod postgres;
mod proc;
mod programs;
mod server;
mod stack;
mod template;
mod user;

pub use error::Error;
pub use home::{Place, StateLock};
pub use nats::{Nats, NatsOptions};
pub use postgres::{Postgres, PostgresOptions};
pub use programs::{Programs, find_nats_server, find_postgres};
pub use stack::{Stack, StackOptions};
