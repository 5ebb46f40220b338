//! What a rebuild is measured against: plain COPY of the rows that the views hold now.
//!
//! Works in a schema of its own that is gone at the end; the views are only read.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{SinkExt as _, TryStreamExt as _};

use crate::connect;
use crate::error::ViewError;
use crate::schema::{self, TABLES, name};

/// How long PostgreSQL takes to be given the same rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyBaseline {
    /// Rows of all tables.
    pub rows: u64,
    /// COPY into tables without keys, one after the other.
    pub copying: Duration,
    /// The same keys and indexes as the views have, one after the other.
    pub indexing: Duration,
}

/// Copies the rows of the live views, held in memory, into empty tables of the same shape.
pub async fn copy_baseline(url: &str) -> Result<CopyBaseline, ViewError> {
    const SCRATCH: &str = "views_baseline";
    let client = connect::writer(url).await?;
    let (number, _) = schema::current(&client).await?;
    let live = name(number);
    let renamed = |sql: &str| sql.replace(&live, SCRATCH);
    client.batch_execute(&format!("DROP SCHEMA IF EXISTS {SCRATCH} CASCADE")).await?;
    client.batch_execute(&renamed(&schema::tables(number))).await?;
    let mut baseline = CopyBaseline::default();
    for table in TABLES {
        let out = client.copy_out(&format!("COPY {live}.{} TO STDOUT (FORMAT binary)", table.name)).await?;
        let chunks: Vec<Bytes> = out.try_collect().await?;
        let started = Instant::now();
        let sink =
            client.copy_in(&format!("COPY {SCRATCH}.{} FROM STDIN (FORMAT binary)", table.name)).await?;
        let mut sink = std::pin::pin!(sink);
        for rows in chunks.chunks(2_048) {
            sink.send(Bytes::from(rows.concat())).await?;
        }
        baseline.rows += sink.finish().await?;
        baseline.copying += started.elapsed();
    }
    let started = Instant::now();
    client.batch_execute("SET maintenance_work_mem = '128MB'").await?;
    for key in schema::keys(number) {
        client.batch_execute(&renamed(&key)).await?;
    }
    baseline.indexing = started.elapsed();
    client.batch_execute(&format!("DROP SCHEMA {SCRATCH} CASCADE")).await?;
    Ok(baseline)
}
