//! Connections to PostgreSQL, and the migrations of the log.

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use tasuki_transport::postgres::{self, Connector};
use tokio::task::AbortHandle;
use tokio_postgres::{Client, Row};

use crate::error::LogError;

mod embedded {
    refinery::embed_migrations!("migrations");
}

mod key_store {
    refinery::embed_migrations!("key_store");
}

/// Held while migrating, so that two starting processes do not collide; refinery takes no lock of its own.
pub(crate) const MIGRATION_LOCK: i64 = 0x0074_6173_756b_6901;

/// What a session is told for the case that its process freezes, or its machine goes away, in the midst of a
/// transaction: it holds locks that everybody waits for, and must not hold them for long. It also asks whether its
/// client is still there while it waits itself, so that what was given up does not come to hold a lock.
const FROZEN: &str = "-c idle_in_transaction_session_timeout=5s -c client_connection_check_interval=1s \
                      -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3";
/// The same from our side: a server that went away is noticed within half a minute.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// Where the log lives, with a bounded pool of connections for reads.
#[derive(Clone, Debug)]
pub struct Database {
    config: tokio_postgres::Config,
    tls: Connector,
    pool: Pool,
}

impl Database {
    /// Does not connect yet.
    ///
    /// Errors: [`LogError::Database`] when `url` is no connection string, or would send plain text to another machine.
    pub fn new(url: &str, pool_size: usize) -> Result<Self, LogError> {
        let (mut config, tls) = postgres::read(url).map_err(|e| LogError::Database(e.to_string()))?;
        config.connect_timeout(Duration::from_secs(5));
        config.application_name("tasuki");
        // Every statement here has an index to go by. A plan that was made while the tables were empty would scan
        // them for as long as the connection lives.
        config.options(format!("-c enable_seqscan=off {FROZEN}"));
        config.keepalives_idle(KEEPALIVE_IDLE);
        config.keepalives_interval(KEEPALIVE_INTERVAL);
        config.keepalives_retries(KEEPALIVE_RETRIES);
        Self::of(config, tls, pool_size)
    }

    /// The database for the keys: where `url` says, else one on the same server, named as this one with `_keys`.
    pub fn for_keys(&self, url: Option<&str>, pool_size: usize) -> Result<Self, LogError> {
        match url {
            Some(url) => Self::new(url, pool_size),
            None => {
                let mut config = self.config.clone();
                config.dbname(format!("{}_keys", self.name()));
                Self::of(config, self.tls.clone(), pool_size)
            }
        }
    }

    /// Its name on its server.
    fn name(&self) -> &str {
        self.config.get_dbname().or(self.config.get_user()).unwrap_or("postgres")
    }

    fn of(config: tokio_postgres::Config, tls: Connector, pool_size: usize) -> Result<Self, LogError> {
        let manager = Manager::from_config(
            config.clone(),
            tls.clone(),
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let pool = Pool::builder(manager)
            .max_size(pool_size)
            .wait_timeout(Some(Duration::from_secs(10)))
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .build()
            .map_err(|e| LogError::Database(e.to_string()))?;
        Ok(Self { config, tls, pool })
    }

    /// A pooled connection, for reading.
    pub async fn get(&self) -> Result<deadpool_postgres::Object, LogError> {
        Ok(self.pool.get().await?)
    }

    /// A connection of its own, for a writer or a lock that lives as long as the connection.
    pub async fn connect(&self) -> Result<Client, LogError> {
        Ok(self.connect_task().await?.0)
    }

    /// With the task that moves its bytes.
    async fn connect_task(&self) -> Result<(Client, AbortHandle), LogError> {
        let (client, connection) = self.config.connect(self.tls.clone()).await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        Ok((client, task.abort_handle()))
    }

    /// A connection of its own that has been asked to promise durability.
    ///
    /// Errors: [`LogError::NotDurable`] when `fsync` or `synchronous_commit` is not on.
    pub async fn connect_durable(&self) -> Result<Client, LogError> {
        Ok(self.connect_durable_task().await?.0)
    }

    async fn connect_durable_task(&self) -> Result<(Client, AbortHandle), LogError> {
        let (client, task) = self.connect_task().await?;
        let promise = async {
            client.batch_execute("SET synchronous_commit = on").await?;
            durable(&client.query_one(&format!("SELECT {DURABILITY}"), &[]).await?, 0)
        };
        promise.await?;
        Ok((client, task))
    }
}

/// A connection that promises durability, with what was prepared on it: made when it is needed, kept until it fails.
///
/// What hangs on it is given up by [`cut`](Self::cut).
#[derive(Debug)]
pub(crate) struct Durable<S>(Option<(Client, AbortHandle, S)>);

impl<S> Durable<S> {
    pub(crate) fn new() -> Self {
        Self(None)
    }

    /// The connection, made and prepared if there is none.
    pub(crate) async fn get(
        &mut self,
        database: &Database,
        prepare: impl AsyncFnOnce(&Client) -> Result<S, LogError>,
    ) -> Result<(&Client, &S), LogError> {
        if self.is_lost() {
            let (client, task) = database.connect_durable_task().await?;
            let prepared = prepare(&client).await?;
            self.0 = Some((client, task, prepared));
        }
        match &self.0 {
            Some((client, _, prepared)) => Ok((client, prepared)),
            None => Err(LogError::Unavailable),
        }
    }

    /// There is none, or it has ended.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.as_ref().is_none_or(|(client, ..)| client.is_closed())
    }

    /// Ends an open transaction, if it can; whether the connection is good for another.
    pub(crate) async fn rolled_back(&self, limit: Duration) -> bool {
        let Some((client, ..)) = self.0.as_ref().filter(|(client, ..)| !client.is_closed()) else {
            return false;
        };
        matches!(tokio::time::timeout(limit, client.batch_execute("ROLLBACK")).await, Ok(Ok(())))
    }

    /// Closes the socket at once. Merely dropped, a connection would first wait for the answers that are due: the
    /// transaction would be granted its locks when nobody waits for it any more.
    pub(crate) fn cut(&mut self) {
        if let Some((_, task, _)) = self.0.take() {
            task.abort();
        }
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

/// Makes the keys' database where its server has none of that name, if `beside`, on the same server, may create one;
/// then brings the schema `key_store` in it up to date. Safe to run from several processes at once.
pub(crate) async fn migrate_keys(keys: &Database, beside: &Database) -> Result<(), LogError> {
    let mut client = match keys.config.connect(keys.tls.clone()).await {
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::INVALID_CATALOG_NAME) => {
            let name = keys.name().replace('"', "\"\"");
            let created = beside.connect().await?.batch_execute(&format!("CREATE DATABASE \"{name}\"")).await;
            if let Err(error) = created {
                // Another process may have been the one that made it; else connecting says what is wrong.
                tracing::debug!(%error, "the database for the keys was not created");
            }
            keys.connect().await.map_err(|_| LogError::NoKeyStore { name: keys.name().to_owned() })?
        }
        Err(error) => return Err(error.into()),
        Ok((client, connection)) => {
            tokio::spawn(connection);
            client
        }
    };
    client.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
    let mut runner = key_store::migrations::runner();
    runner.set_migration_table_name("tasuki_key_store_migrations");
    runner.run_async(&mut client).await.map_err(|e| LogError::Database(e.to_string()))?;
    client.execute("SELECT pg_advisory_unlock($1)", &[&MIGRATION_LOCK]).await?;
    Ok(())
}

/// Brings the schema `log` up to date. Safe to run from several processes at once.
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
