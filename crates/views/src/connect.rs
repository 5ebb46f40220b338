//! Connections to PostgreSQL: one of one's own for whoever writes, a bounded pool for readers.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tasuki_transport::postgres::{self, Connector};
use tokio_postgres::{Client, Config};

use crate::error::ViewError;

fn config(url: &str) -> Result<(Config, Connector), ViewError> {
    let (mut config, tls) = postgres::read(url).map_err(|e| ViewError::Database(e.to_string()))?;
    config.connect_timeout(Duration::from_secs(5));
    config.application_name("tasuki-views");
    // As in the log: no plan that was made while the tables were empty may scan them for ever.
    // As there too: a process that freezes in a transaction, or goes away with its machine, must not hold its locks for
    // ever.
    config.options(
        "-c enable_seqscan=off -c idle_in_transaction_session_timeout=10s -c client_connection_check_interval=1s \
         -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
    );
    config.keepalives_idle(Duration::from_secs(10));
    config.keepalives_interval(Duration::from_secs(5));
    config.keepalives_retries(3);
    Ok((config, tls))
}

/// A connection for writing.
///
/// Its commits do not wait for the disk: after a crash the rows and the cursor are missing together, and the log
/// brings both back. Never to be used for anything that is not derived from the log.
pub(crate) async fn writer(url: &str) -> Result<Client, ViewError> {
    let (config, tls) = config(url)?;
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
    client.batch_execute("SET synchronous_commit = off; SET jit = off").await?;
    Ok(client)
}

/// A pool for reading. Does not connect yet.
pub(crate) fn readers(url: &str, pool_size: usize) -> Result<Pool, ViewError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let (config, tls) = config(url)?;
    Pool::builder(Manager::from_config(config, tls, recycling))
        .max_size(pool_size)
        .wait_timeout(Some(Duration::from_secs(10)))
        .runtime(deadpool_postgres::Runtime::Tokio1)
        .build()
        .map_err(|e| ViewError::Database(e.to_string()))
}
