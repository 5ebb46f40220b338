//! Reading the views: a bounded pool, and the pointer to the generation that counts.
//!
//! Every query is sent together with a look at the pointer; when the pointer has moved, the answer is thrown away and
//! the query asked again of the new generation. So a rebuild is never noticed, and the dropped generation never read.
//! The functions stand with the views that they read.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use deadpool_postgres::Pool;
use futures::TryStreamExt as _;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::connect;
use crate::error::ViewError;
use crate::schema::{self, Table, in_schema};

/// The pointer may move while we look; more often than this in one query it does not.
const TRIES_MAX: usize = 5;

/// Reads the views of one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Views {
    pool: Pool,
    /// The generation that counted last; 0: not looked yet.
    number: Arc<AtomicI64>,
}

/// How far the views reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewPosition {
    /// The last position of the log that the views hold.
    pub position: u64,
    /// Epoch of the numbers in feeds, as [`crate::feed_epoch`] makes it.
    pub feed_epoch: u64,
}

impl Views {
    /// Reads with up to `pool_size` connections. Does not connect yet.
    ///
    /// Errors: [`ViewError::Database`] when `url` is no connection string.
    pub fn new(url: &str, pool_size: usize) -> Result<Self, ViewError> {
        Ok(Self { pool: connect::readers(url, pool_size)?, number: Arc::default() })
    }

    /// How far the views reach: whoever waits for an event waits for its position here.
    ///
    /// Errors, as of every query: `NotReady` before [`crate::migrate`], `OtherLayout` until they are rebuilt,
    /// `NewerLayout`, and faults.
    pub async fn position(&self) -> Result<ViewPosition, ViewError> {
        let rows = self.query("SELECT position, epoch FROM $s.cursor", &[]).await?;
        let row = rows.first().ok_or(ViewError::NotReady)?;
        let [position, epoch] = [0, 1].map(|column| row.get::<_, i64>(column) as u64);
        Ok(ViewPosition { position, feed_epoch: schema::feed_epoch(epoch) })
    }

    /// The whole table as text, in its total order: after every replay the same, byte for byte.
    ///
    /// For comparing one replay with another; reads the table at once.
    pub async fn copy_out(&self, table: &Table) -> Result<Vec<u8>, ViewError> {
        let client = self.pool.get().await?;
        let number = schema::known(&client).await?;
        let sql = format!("COPY (SELECT * FROM $s.{} ORDER BY {}) TO STDOUT", table.name, table.order);
        let rows = client.copy_out(&in_schema(&sql, number)).await?;
        let rows: Vec<bytes::Bytes> = rows.try_collect().await?;
        Ok(rows.concat())
    }

    /// The rows of `sql`, in which `$s` stands for the schema.
    pub(crate) async fn query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ViewError> {
        let client = self.pool.get().await?;
        let mut number = self.number.load(Ordering::Relaxed);
        for _ in 0..TRIES_MAX {
            if number == 0 {
                number = schema::known(&client).await?;
                self.number.store(number, Ordering::Relaxed);
            }
            let pointer = client.prepare_cached("SELECT number FROM views_meta.current").await?;
            let asked = async {
                let statement = client.prepare_cached(&in_schema(sql, number)).await?;
                // In this order on the wire: rows of a generation that was still pointed at just before.
                futures::try_join!(client.query_one(&pointer, &[]), client.query(&statement, params))
            };
            match asked.await.map_err(ViewError::from) {
                Ok((current, rows)) if current.get::<_, i64>(0) == number => return Ok(rows),
                Ok(_) => number = 0,
                Err(error) if error.is_missing_table() => number = 0,
                Err(error) => return Err(error),
            }
        }
        Err(ViewError::Unavailable)
    }
}
