//! Connections to PostgreSQL, and the migrations of the log.

use std::str::FromStr;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tokio_postgres::{Client, NoTls, Row};

use crate::error::LogError;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// Held while migrating, so that two starting processes do not collide; refinery takes no lock of its own.
pub(crate) const MIGRATION_LOCK: i64 = 0x0074_6173_756b_6901;

/// Where the log lives, with a bounded pool of connections for reads.
#[derive(Clone, Debug)]
pub struct Database {
    config: tokio_postgres::Config,
    pool: Pool,
}

impl Database {
    /// Does not connect yet.
    ///
    /// Errors: [`LogError::Database`] when `url` is no connection string.
    pub fn new(url: &str, pool_size: usize) -> Result<Self, LogError> {
        let mut config =
            tokio_postgres::Config::from_str(url).map_err(|_| LogError::Database("malformed url".into()))?;
        config.connect_timeout(Duration::from_secs(5));
        config.application_name("tasuki");
        // Every statement here has an index to go by. A plan that was made while the tables were empty would scan
        // them for as long as the connection lives.
        config.options("-c enable_seqscan=off");
        let manager = Manager::from_config(
            config.clone(),
            NoTls,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let pool = Pool::builder(manager)
            .max_size(pool_size)
            .wait_timeout(Some(Duration::from_secs(10)))
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .build()
            .map_err(|e| LogError::Database(e.to_string()))?;
        Ok(Self { config, pool })
    }

    /// A pooled connection, for reading.
    pub async fn get(&self) -> Result<deadpool_postgres::Object, LogError> {
        Ok(self.pool.get().await?)
    }

    /// A connection of its own, for a writer or a lock that lives as long as the connection.
    pub async fn connect(&self) -> Result<Client, LogError> {
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok(client)
    }

    /// A connection of its own that has been asked to promise durability.
    ///
    /// Errors: [`LogError::NotDurable`] when `fsync` or `synchronous_commit` is not on.
    pub async fn connect_durable(&self) -> Result<Client, LogError> {
        let client = self.connect().await?;
        client.batch_execute("SET synchronous_commit = on").await?;
        durable(&client.query_one(&format!("SELECT {DURABILITY}"), &[]).await?, 0)?;
        Ok(client)
    }
}

/// Asked of every connection that promises durability, and again in each of its transactions: `fsync` can be turned
/// off by a reload.
pub(crate) const DURABILITY: &str = "current_setting('fsync'), current_setting('synchronous_commit')";

/// What [`DURABILITY`] says, in the columns from `first` on.
pub(crate) fn durable(row: &Row, first: usize) -> Result<(), LogError> {
    for (i, setting) in ["fsync", "synchronous_commit"].into_iter().enumerate() {
        let value: String = row.get(first + i);
        if value != "on" {
            return Err(LogError::NotDurable { setting, value });
        }
    }
    Ok(())
}

/// Brings the schemas `log` and `keys` up to date. Safe to run from several processes at once.
pub async fn migrate(database: &Database) -> Result<(), LogError> {
    let mut client = database.connect().await?;
    client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name("tasuki_log_migrations");
    runner.run_async(&mut client).await.map_err(|e| LogError::Database(e.to_string()))?;
    // Its own transaction takes the lock.
    client.execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK]).await?;
    if let Err(error) = crate::partitions::keep_partitions(database).await {
        // Reads go to the default partition meanwhile.
        tracing::warn!(%error, "the next months' partitions of the reads could not be made");
    }
    Ok(())
}
