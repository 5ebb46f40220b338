//! What the tests share: a database of their own, random histories of headers, and a log that is filled by hand.
//!
//! Rows are put into `log.events` directly, since in these histories days pass and the log's writer takes its time
//! from the database. Hashes are of no interest here and stay empty.
#![allow(clippy::unwrap_used, missing_docs, dead_code, unreachable_pub)]

pub mod history;
pub mod oracle;

use std::sync::Arc;

use prost::Message as _;
use tasuki_contract::event::v1::{Envelope, Header};
use tasuki_standalone::Postgres;
use tasuki_views::{Projection, TABLES, Views};
use uuid::Uuid;

/// A database with an empty log and empty views.
pub struct Database {
    pub postgres: Arc<Postgres>,
    pub url: String,
    pub views: Views,
    client: tokio_postgres::Client,
}

impl Database {
    pub async fn new() -> Self {
        let postgres = Postgres::shared().await.unwrap();
        let name = format!("views_{}", Uuid::new_v4().simple());
        let url = postgres.create_database(&name).await.unwrap();
        tasuki_log::migrate(&tasuki_log::Database::new(&url, 1).unwrap()).await.unwrap();
        tasuki_views::migrate(&url).await.unwrap();
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        Self { postgres, views: Views::new(&url, 4).unwrap(), url, client }
    }

    /// Puts rows into the log.
    pub async fn append(&self, rows: &[Envelope]) {
        let mut headers = Vec::new();
        for row in rows {
            headers.push(Header::decode(row.header.as_slice()).unwrap());
        }
        let positions: Vec<i64> = rows.iter().map(|r| r.position as i64).collect();
        let epochs: Vec<i64> = rows.iter().map(|r| r.epoch as i64).collect();
        let times: Vec<i64> = rows.iter().map(recorded_at_us).collect();
        let bytes: Vec<&[u8]> = rows.iter().map(|r| r.header.as_slice()).collect();
        let events: Vec<Uuid> = headers.iter().map(|h| h.event_id.parse().unwrap()).collect();
        let sql = "INSERT INTO log.events \
             (position, epoch, stream_kind, stream_id, version, event_id, recorded_at, header, parts, hash) \
             SELECT p, e, 1, id, 1, id, t, h, '', '' \
             FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::bytea[], $5::uuid[]) r(p, e, t, h, id)";
        self.client.execute(sql, &[&positions, &epochs, &times, &bytes, &events]).await.unwrap();
    }

    /// Every table of the views, in its total order.
    pub async fn dump(&self) -> Vec<(&'static str, String)> {
        let mut dump = Vec::new();
        for table in TABLES {
            let text = self.views.copy_out(table).await.unwrap();
            dump.push((table.name, String::from_utf8(text).unwrap()));
        }
        dump
    }

    /// Takes the lead and folds everything that is left, in one batch.
    pub async fn project_all(&self, log: &[Envelope]) -> Projection {
        let mut projection = Projection::lead(&self.url).await.unwrap();
        let from = projection.position() as usize;
        projection.apply(&log[from..]).await.unwrap();
        assert_eq!(projection.position(), log.len() as u64);
        projection
    }
}

pub fn recorded_at_us(row: &Envelope) -> i64 {
    let at = row.recorded_at.unwrap();
    at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000
}

/// The seeds to run: one given in `TASUKI_SEED`, or some of the clock's choosing. Each is printed before its run.
pub fn seeds(count: u64) -> Vec<u64> {
    if let Ok(seed) = std::env::var("TASUKI_SEED") {
        return vec![seed.parse().unwrap()];
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    (0..count).map(|n| now.as_nanos() as u64 % 1_000_000_000 + n).collect()
}
