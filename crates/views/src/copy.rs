//! COPY in PostgreSQL's binary format: rows into a buffer, buffers into a table.
//!
//! Written by hand since a rebuild is mostly this: the client's own writer looks up a type for every value.

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::SinkExt as _;
use tokio::sync::mpsc;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::error::ViewError;

/// What is collected before it goes to the server.
const CHUNK_BYTES: usize = 256 << 10;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
const TRAILER: i16 = -1;

/// Rows on their way into one table.
#[derive(Debug)]
pub(crate) struct CopyBuffer {
    bytes: BytesMut,
    pub rows: u64,
}

impl CopyBuffer {
    pub(crate) fn new() -> Self {
        let mut bytes = BytesMut::with_capacity(CHUNK_BYTES + 4_096);
        bytes.put_slice(SIGNATURE);
        Self { bytes, rows: 0 }
    }

    /// Begins a row of so many columns.
    pub(crate) fn row(&mut self, columns: i16) -> &mut Self {
        self.rows += 1;
        self.bytes.put_i16(columns);
        self
    }

    pub(crate) fn uuid(&mut self, value: Uuid) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    pub(crate) fn uuid_or_null(&mut self, value: Option<Uuid>) -> &mut Self {
        match value {
            Some(value) => self.uuid(value),
            None => {
                self.bytes.put_i32(-1);
                self
            }
        }
    }

    pub(crate) fn int8(&mut self, value: i64) -> &mut Self {
        self.bytes.put_i32(8);
        self.bytes.put_i64(value);
        self
    }

    pub(crate) fn int4(&mut self, value: i32) -> &mut Self {
        self.bytes.put_i32(4);
        self.bytes.put_i32(value);
        self
    }

    pub(crate) fn int2(&mut self, value: i16) -> &mut Self {
        self.bytes.put_i32(2);
        self.bytes.put_i16(value);
        self
    }

    pub(crate) fn bool(&mut self, value: bool) -> &mut Self {
        self.bytes.put_i32(1);
        self.bytes.put_u8(u8::from(value));
        self
    }

    /// A `bytea`, or a `text` in UTF-8.
    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.bytes.put_i32(i32::try_from(value.len()).unwrap_or(i32::MAX));
        self.bytes.put_slice(value);
        self
    }

    /// What has been collected, once it is worth sending.
    pub(crate) fn full(&mut self) -> Option<Bytes> {
        (self.bytes.len() >= CHUNK_BYTES).then(|| {
            let full = self.bytes.split().freeze();
            self.bytes.reserve(CHUNK_BYTES + 4_096);
            full
        })
    }

    /// The rest, with the end mark.
    pub(crate) fn finish(&mut self) -> Bytes {
        self.bytes.put_i16(TRAILER);
        self.bytes.split().freeze()
    }
}

/// Feeds a table from a channel until it closes; returns the number of rows.
pub(crate) async fn copy_in(
    client: &Client,
    table: &str,
    mut chunks: mpsc::Receiver<Bytes>,
) -> Result<u64, ViewError> {
    let sink = client.copy_in(&format!("COPY {table} FROM STDIN (FORMAT binary)")).await?;
    let mut sink = std::pin::pin!(sink);
    while let Some(chunk) = chunks.recv().await {
        sink.send(chunk).await?;
    }
    Ok(sink.finish().await?)
}

/// Fills a table at once; returns the number of rows.
pub(crate) async fn copy_all(client: &Client, table: &str, mut rows: CopyBuffer) -> Result<u64, ViewError> {
    let sink = client.copy_in(&format!("COPY {table} FROM STDIN (FORMAT binary)")).await?;
    let mut sink = std::pin::pin!(sink);
    sink.send(rows.finish()).await?;
    Ok(sink.finish().await?)
}
