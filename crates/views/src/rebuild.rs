//! The rebuild: the next generation of the views from the whole log, beside the one that is being read.
//!
//! Headers are read in big pages, folded in memory and copied into tables without keys; keys and indexes come last.
//! Then the new generation catches up like a live one, and the pointer moves in the transaction that also raises the
//! old one's fence: its projector notices at its next write and takes the lead over the new one. Readers go on all
//! the time. No notice is sent. The fold's state stays in memory: about 180 bytes per event.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt as _, TryFutureExt as _};
use tokio::sync::mpsc;
use tokio_postgres::Client;

use crate::copy::{CopyBuffer, copy_all, copy_in};
use crate::entry::Entry;
use crate::error::ViewError;
use crate::fold::Fold;
use crate::schema::{self, LAYOUT, in_schema, name};
use crate::write::{self, Cursor};
use crate::{caseload, connect, duties, feed, state};

/// One rebuild at a time.
const REBUILD_LOCK: i64 = 0x0074_6173_756b_6913;
/// Events handed to the fold at a time.
const PAGE_EVENTS: usize = 2_000;
/// Pages read ahead, and chunks waiting for a table.
const AHEAD: usize = 8;
/// Events of one transaction while catching up.
const CATCH_UP_EVENTS: i64 = 2_000;

const READ: &str = "SELECT position, epoch, recorded_at, header, commitment FROM log.events \
     WHERE position > $1 AND position <= $2 ORDER BY position";

/// What a rebuild did.
#[derive(Clone, Debug, Default)]
pub struct Rebuilt {
    /// The generation that counts now.
    pub generation: i64,
    /// How far it reached when it began to count.
    pub position: u64,
    /// Rows that were copied.
    pub rows: u64,
    /// Reading, folding and copying.
    pub copying: Duration,
    /// Keys and indexes.
    pub indexing: Duration,
    /// Catching up and moving the pointer.
    pub switching: Duration,
}

/// Makes the views anew and lets them count.
///
/// Errors: `RebuildRunning`; `NotReady` before [`crate::migrate`]; `Unreadable`; faults. After an error the old views
/// count as before, and the next rebuild removes what was left.
pub async fn rebuild(url: &str) -> Result<Rebuilt, ViewError> {
    let client = connect::writer(url).await?;
    if !client.query_one("SELECT pg_try_advisory_lock($1)", &[&REBUILD_LOCK]).await?.get::<_, bool>(0) {
        return Err(ViewError::RebuildRunning);
    }
    let (old, _) = schema::current(&client).await?;
    let number = old + 1;
    schema::drop_generations(&client, |other| other != old).await?;
    client.batch_execute(&schema::tables(number)).await?;
    let mut rebuilt = Rebuilt { generation: number, ..Rebuilt::default() };

    let started = Instant::now();
    let head = client.query_one("SELECT coalesce(max(position), 0) FROM log.events", &[]).await?.get(0);
    let (mut fold, epoch) = copy_from_log(url, number, head, &mut rebuilt.rows).await?;
    rebuilt.rows += copy_state(&client, number, &mut fold).await?;
    rebuilt.copying = started.elapsed();

    let started = Instant::now();
    make_keys(url, number).await?;
    client.execute(&in_schema(schema::INSERT_CURSOR, number), &[&head, &(epoch as i64)]).await?;
    rebuilt.indexing = started.elapsed();

    let started = Instant::now();
    let cursor = Cursor { position: head as u64, epoch, fence: 0 };
    let mut next =
        Next { statements: write::Statements::prepare(&client, number).await?, client, fold, cursor };
    rebuilt.position = switch(url, &mut next, old, number).await?;
    rebuilt.switching = started.elapsed();
    tracing::info!(generation = number, position = rebuilt.position, rows = rebuilt.rows, "views rebuilt");
    Ok(rebuilt)
}

/// Folds the log up to `head`; the tables that only grow are copied on the way.
async fn copy_from_log(url: &str, number: i64, head: i64, rows: &mut u64) -> Result<(Fold, u64), ViewError> {
    let (page_sender, mut pages) = mpsc::channel::<Vec<Entry>>(AHEAD);
    let (feed_sender, feed_chunks) = mpsc::channel::<Bytes>(AHEAD);
    let (event_sender, event_chunks) = mpsc::channel::<Bytes>(AHEAD);
    let folding = tokio::task::spawn_blocking(move || {
        let mut fold = Fold::default();
        let mut epoch = 1;
        let (mut feed, mut events) = (CopyBuffer::new(), CopyBuffer::new());
        while let Some(page) = pages.blocking_recv() {
            for entry in &page {
                fold.apply(entry);
                epoch = entry.epoch;
            }
            fold.changes.feed.drain(..).for_each(|row| feed::copy(&row, &mut feed));
            fold.changes.case_events.drain(..).for_each(|row| state::copy_event(&row, &mut events));
            fold.changes.feed_times_us.clear();
            for (buffer, sender) in [(&mut feed, &feed_sender), (&mut events, &event_sender)] {
                // A table that has failed says so itself.
                let sent = buffer.full().map_or(Ok(()), |chunk| sender.blocking_send(chunk));
                if sent.is_err() {
                    return (fold, epoch);
                }
            }
        }
        for (mut buffer, sender) in [(feed, feed_sender), (events, event_sender)] {
            let _ = sender.blocking_send(buffer.finish());
        }
        (fold, epoch)
    });
    let folding = async { folding.await.map_err(|e| ViewError::Database(e.to_string())) };
    let (feed_client, event_client) = futures::try_join!(connect::writer(url), connect::writer(url))?;
    let (feed_table, event_table) =
        (format!("{}.feed", name(number)), format!("{}.case_events", name(number)));
    let (folded, feed_rows, event_rows, ()) = futures::try_join!(
        folding,
        copy_in(&feed_client, &feed_table, feed_chunks),
        copy_in(&event_client, &event_table, event_chunks),
        read_log(url, head, page_sender),
    )?;
    *rows += feed_rows + event_rows;
    Ok(folded)
}

/// Headers up to `head`, in pages.
async fn read_log(url: &str, head: i64, pages: mpsc::Sender<Vec<Entry>>) -> Result<(), ViewError> {
    let client = connect::writer(url).await?;
    let rows = client.query_raw(READ, [0, head]).await?;
    let mut rows = std::pin::pin!(rows);
    let mut page = Vec::with_capacity(PAGE_EVENTS);
    while let Some(row) = rows.next().await {
        page.push(entry(&row?)?);
        if page.len() == PAGE_EVENTS {
            let full = std::mem::replace(&mut page, Vec::with_capacity(PAGE_EVENTS));
            if pages.send(full).await.is_err() {
                return Ok(());
            }
        }
    }
    // The fold ends when the channel does.
    let _ = pages.send(page).await;
    Ok(())
}

fn entry(row: &tokio_postgres::Row) -> Result<Entry, ViewError> {
    Entry::read(row.get::<_, i64>(0) as u64, row.get::<_, i64>(1) as u64, row.get(2), row.get(3), row.get(4))
}

/// Copies the tables that are overwritten in the course of time, as they are at the end.
async fn copy_state(client: &Client, number: i64, fold: &mut Fold) -> Result<u64, ViewError> {
    let changes = std::mem::take(&mut fold.changes);
    let rows = fold.all_rows();
    let mut tables: Vec<(&'static str, CopyBuffer)> = Vec::new();
    let mut table = |name, fill: &dyn Fn(&mut CopyBuffer)| {
        let mut buffer = CopyBuffer::new();
        fill(&mut buffer);
        tables.push((name, buffer));
    };
    table("caseload", &|b| rows.caseload.iter().for_each(|row| caseload::copy(row, b)));
    table("cases", &|b| rows.cases.iter().for_each(|row| caseload::copy_case(row, b)));
    table("case_sights", &|b| rows.sights.iter().for_each(|row| state::copy_sight(row, b)));
    table("case_grants", &|b| rows.grants.iter().for_each(|row| state::copy_grant(row, b)));
    table("duties", &|b| duties::copy(&changes.duties, b));
    let (mut items, mut item_posts) = (CopyBuffer::new(), CopyBuffer::new());
    changes.items.copy(&mut items, &mut item_posts);
    let (mut posts, mut agencies) = (CopyBuffer::new(), CopyBuffer::new());
    fold.posts.copy(&mut posts, &mut agencies);
    tables.extend([("items", items), ("item_posts", item_posts), ("posts", posts), ("agencies", agencies)]);
    let mut policies = CopyBuffer::new();
    fold.posts.policies.copy(&mut policies);
    tables.push(("policies", policies));
    let mut copied = 0;
    for (table, buffer) in tables {
        copied += copy_all(client, &format!("{}.{table}", name(number)), buffer).await?;
    }
    Ok(copied)
}

/// Keys and indexes on two connections, so that the feed's, which are most of it, do not wait for the others.
async fn make_keys(url: &str, number: i64) -> Result<(), ViewError> {
    let of_feed = |key: &String| key.contains(&format!("{}.feed ", name(number)));
    let (feed, others): (Vec<String>, Vec<String>) = schema::keys(number).into_iter().partition(of_feed);
    let make = async |keys: Vec<String>| {
        let client = connect::writer(url).await?;
        client.batch_execute("SET maintenance_work_mem = '128MB'").await?;
        client.batch_execute(&keys.join(";")).map_err(ViewError::from).await
    };
    futures::try_join!(make(feed), make(others))?;
    // Without statistics the first queries would be planned for empty tables.
    let analyze = schema::TABLES.iter().map(|table| format!("ANALYZE {}.{}", name(number), table.name));
    make(analyze.collect()).await
}

/// The new generation while it catches up. Its fold holds everything, so nothing is ever loaded.
struct Next {
    client: Client,
    statements: write::Statements,
    fold: Fold,
    cursor: Cursor,
}

impl Next {
    /// Folds at most a page of the log; false when there was nothing.
    async fn catch_up(&mut self, to: u64) -> Result<bool, ViewError> {
        let from = self.cursor.position as i64;
        let to = (to as i64).min(from + CATCH_UP_EVENTS);
        let rows = self.client.query(READ, &[&from, &to]).await?;
        let Some(last) = rows.last() else { return Ok(false) };
        for row in &rows {
            self.fold.apply(&entry(row)?);
        }
        let changes = std::mem::take(&mut self.fold.changes);
        let [position, epoch] = [0, 1].map(|column| last.get::<_, i64>(column) as u64);
        let to = Cursor { position, epoch, ..self.cursor };
        write::write(&self.client, &self.statements, &self.fold, &changes, self.cursor, to).await?;
        self.cursor = to;
        Ok(true)
    }
}

/// Moves the pointer as soon as the new generation is not behind the old one; returns where that was.
async fn switch(url: &str, next: &mut Next, old: i64, new: i64) -> Result<u64, ViewError> {
    // The pointer must not outlive the rows that it points to: this commit waits for the disk, and with it for all
    // before it.
    let mut control = connect::writer(url).await?;
    // And it is idle while the last events are folded, on another connection.
    let settings = "SET synchronous_commit = on; SET idle_in_transaction_session_timeout = '60s'";
    control.batch_execute(settings).await?;
    loop {
        while next.catch_up(i64::MAX as u64).await? {}
        // Holds the live projector still while the last few events are folded.
        let transaction = control.transaction().await?;
        let raise = "UPDATE $s.cursor SET fence = fence + 1 RETURNING position";
        let row = transaction.query_one(&in_schema(raise, old), &[]).await?;
        // Views ahead of the log, as after a restore of the log, are not waited for.
        let end = transaction.query_one("SELECT coalesce(max(position), 0) FROM log.events", &[]).await?;
        let target = row.get::<_, i64>(0).min(end.get(0)) as u64;
        if target.saturating_sub(next.cursor.position) > CATCH_UP_EVENTS as u64 {
            transaction.rollback().await?;
            continue;
        }
        while next.cursor.position < target && next.catch_up(target).await? {}
        let set = "UPDATE views_meta.current SET number = $1, layout = $2 WHERE number = $3";
        if transaction.execute(set, &[&new, &LAYOUT, &old]).await? != 1 {
            return Err(ViewError::Fenced);
        }
        transaction.commit().await?;
        return Ok(next.cursor.position);
    }
}
