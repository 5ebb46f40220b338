//! One leader among all processes on a database: a session advisory lock on a connection of its own.
//!
//! The lock goes with its session, so a killed leader is followed as soon as PostgreSQL notices. A leader that has
//! lost its session without knowing is harmless (what it publishes is a repeat or a part of one), and learns of it within
//! [`HEALTH_EVERY`] + [`HEALTH_LIMIT`]. It never waits inside `pg_advisory_lock`: a waiting statement keeps a
//! snapshot open, and one open snapshot slows every append down.

use std::time::Duration;

use tasuki_log::{Database, LogError};

/// Whoever holds it leads the relays.
const LEADER_LOCK: i64 = 0x0074_6173_756b_6920;

const HEALTH_EVERY: Duration = Duration::from_secs(1);
const HEALTH_LIMIT: Duration = Duration::from_secs(2);
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Waits to become the leader, then does `work` for as long as it is; starts over after losing the lock.
/// Ends when `work` does.
pub(crate) async fn while_leading<T, F: Future<Output = T>>(
    database: &Database,
    standby: Duration,
    mut work: impl FnMut() -> F,
) -> T {
    let mut retry = RETRY_FIRST;
    loop {
        let session = match database.connect().await {
            Ok(session) => session,
            Err(error) => {
                tracing::debug!(%error, "no session to lead with");
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY_MAX);
                continue;
            }
        };
        retry = RETRY_FIRST;
        let elected = async {
            loop {
                let row = session.query_one("SELECT pg_try_advisory_lock($1)", &[&LEADER_LOCK]).await?;
                if row.get::<_, bool>(0) {
                    return Ok::<(), LogError>(());
                }
                tokio::time::sleep(standby).await;
            }
        };
        if let Err(error) = elected.await {
            tracing::debug!(%error, "the session to lead with is gone");
            continue;
        }
        tracing::info!("this relay leads");
        let lost = async {
            loop {
                tokio::time::sleep(HEALTH_EVERY).await;
                match tokio::time::timeout(HEALTH_LIMIT, session.batch_execute("SELECT 1")).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return LogError::from(error),
                    Err(_) => return LogError::Unavailable,
                }
            }
        };
        tokio::select! {
            done = work() => return done,
            error = lost => tracing::warn!(%error, "this relay leads no more: its session is gone"),
        }
    }
}
