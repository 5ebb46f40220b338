//! The feed of a post from a cursor on: by page for clients that poll, one by one for those that subscribe.
//!
//! A stream gives history first and then lives on: woken when its post has news, looking by itself beneath. It holds
//! at most one unsent item. The read of an item goes on record only once there is room to send it, so what a slow
//! reader has not taken was not served. The stream ends with the token, with the post, or with the process.

use std::time::Duration;

use jiff::Timestamp;
use tasuki_contract::timeline::v1::{
    FeedItem, Heartbeat, ReadFeedRequest, ReadFeedResponse, SubscribeResponse, subscribe_response::Message,
};
use tasuki_domain::refusal::Violation;
use tasuki_kit::errors::invalid_field;
use tasuki_kit::{Listener, page};
use tasuki_log::Record;
use tasuki_telemetry::{child_of, metrics};
use tasuki_views::{FeedEnd, FeedRow};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Status;
use tracing::Instrument as _;

use crate::asking::Asking;
use crate::cursor::Cursor;
use crate::desk::Desk;
use crate::errors;
use crate::feed::Page;
use crate::links;
use crate::seats::Seat;

/// Rows that are prepared together for one stream.
const PAGE_ROWS: usize = 64;
/// Longest wait of a client that polls, seconds.
const WAIT_MAX_S: i32 = 25;
/// How long a heartbeat waits for the views to reach the log, before it says that they are behind.
const GRACE: Duration = Duration::from_secs(1);
/// How long a stream that has ended waits for its client to take the reason.
const LAST_WORD_MAX: Duration = Duration::from_secs(30);

/// What a stream sends.
pub(crate) type Sender = mpsc::Sender<Result<SubscribeResponse, Status>>;

/// Where the caller stands: its own cursor, or the beginning.
///
/// Errors: `CURSOR_INVALID`; `CURSOR_RESET` for a cursor of another epoch.
pub(crate) async fn start(desk: &Desk, asking: &Asking, text: &str) -> Result<Cursor, Status> {
    let post = asking.post();
    let given = match text {
        "" => None,
        text => {
            Some(Cursor::read(desk.platform.keyring(), post, text).map_err(|_| errors::cursor_invalid())?)
        }
    };
    let epoch = desk.views.position().await.map_err(|e| errors::views(&e))?.feed_epoch;
    match given {
        Some(cursor) if cursor.epoch != epoch => Err(errors::cursor_reset()),
        Some(cursor) => Ok(cursor),
        None => Ok(Cursor { post, number: 0, epoch }),
    }
}

/// A part of the feed; waits up to `wait_s` seconds for something new.
pub(crate) async fn read_feed(
    desk: &Desk,
    asking: &Asking,
    request: &ReadFeedRequest,
) -> Result<ReadFeedResponse, Status> {
    let size = page::size(request.page_size)?;
    if !(0..=WAIT_MAX_S).contains(&request.wait_s) {
        return Err(invalid_field("wait_s", Violation::OUT_OF_RANGE));
    }
    let _seat = desk.seats.take(asking.post())?;
    let cursor = start(desk, asking, &request.cursor).await?;
    let rows = rows_within(desk, asking, cursor, size, request.wait_s).await?;
    let keyring = desk.platform.keyring();
    let mut page = Page::prepare(&desk.platform, rows).await?;
    let disclosures = page.disclose_page_on_record(&desk.platform, asking).await?;
    let item = |(d, (row, record)): (crate::redact::Disclosure, &(FeedRow, Record))| {
        let cursor = Cursor { number: d.item.number, ..cursor }.to_text(keyring);
        let link = links::link(asking.post(), row, Some(record));
        FeedItem { item: Some(d.item), cursor, link: Some(link) }
    };
    let items: Vec<FeedItem> = disclosures.into_iter().zip(&page.rows).map(item).collect();
    let cursor = items.last().map_or_else(|| cursor.to_text(keyring), |last| last.cursor.clone());
    Ok(ReadFeedResponse { items, cursor })
}

async fn rows_within(
    desk: &Desk,
    asking: &Asking,
    cursor: Cursor,
    size: usize,
    wait_s: i32,
) -> Result<Vec<FeedRow>, Status> {
    let end = Instant::now() + Duration::from_secs(u64::from(wait_s.unsigned_abs()));
    let mut listener = desk.options.signals.listen(cursor.post);
    loop {
        listener.mark();
        let rows = desk.views.feed_after(cursor.post, cursor.number, size).await;
        let rows = rows.map_err(|e| errors::views(&e))?;
        still_holds(desk, asking)?;
        let left = end.saturating_duration_since(Instant::now());
        if !rows.is_empty() || left.is_zero() || desk.options.drain.is_cancelled() {
            return Ok(rows);
        }
        tokio::select! {
            () = desk.options.drain.cancelled() => {}
            () = listener.news(cursor.epoch, cursor.number, None) => {}
            () = tokio::time::sleep(left.min(desk.options.poll)) => {}
        }
    }
}

/// One open subscription.
pub(crate) struct Subscription {
    pub desk: Desk,
    pub asking: Asking,
    pub cursor: Cursor,
    pub out: Sender,
    /// Held for as long as it is open.
    pub _seat: Seat,
}

/// Why a subscription ends.
enum End {
    /// The client went away.
    Gone,
    /// It is told why.
    Said(Status),
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        Self::Said(status)
    }
}

impl Subscription {
    /// Runs until the client, the token, the post or the process goes away.
    pub(crate) async fn run(mut self) {
        let _open = metrics().stream_opened();
        let Err(end) = self.serve().await;
        if let End::Said(status) = end {
            // What was served before may still wait to be taken.
            let _ = tokio::time::timeout(LAST_WORD_MAX, self.out.send(Err(status))).await;
        }
    }

    async fn serve(&mut self) -> Result<std::convert::Infallible, End> {
        let mut listener = self.desk.options.signals.listen(self.cursor.post);
        let every = self.desk.options.heartbeat;
        let mut heartbeat_at = Instant::now() + every;
        // Everything up to here is in the log; once it is sent, the client is told that it is caught up.
        let mut to_reach = Some(self.head().await?);
        loop {
            listener.mark();
            let heartbeat_due = Instant::now() >= heartbeat_at;
            // The position first: what the views held then is in the rows that are read after it.
            let reached =
                if to_reach.is_some() || heartbeat_due { Some(self.reached().await?) } else { None };
            let rows = self.desk.views.feed_after(self.cursor.post, self.cursor.number, PAGE_ROWS).await;
            let rows = rows.map_err(|e| errors::views(&e))?;
            let (news, more) = (!rows.is_empty(), rows.len() == PAGE_ROWS);
            if news {
                self.send_page(rows).await?;
                heartbeat_at = Instant::now() + every;
            }
            if more {
                continue;
            }
            let all_sent = to_reach.zip(reached).is_some_and(|(end, reached)| reached >= end);
            match to_reach {
                Some(_) if all_sent => {
                    to_reach = None;
                    self.send_heartbeat(true).await?;
                    heartbeat_at = Instant::now() + every;
                }
                // The views are behind: alive, but something is still to come.
                Some(_) if heartbeat_due && !news => {
                    self.send_heartbeat(false).await?;
                    heartbeat_at = Instant::now() + every;
                }
                None if heartbeat_due && !news => {
                    to_reach = Some(self.head().await?);
                    heartbeat_at = Instant::now() + GRACE.min(every);
                    continue;
                }
                _ => {}
            }
            self.rest(&mut listener, to_reach, heartbeat_at).await?;
        }
    }

    async fn head(&self) -> Result<u64, Status> {
        Ok(self.desk.platform.reader().head().await.map_err(errors::log)?.0)
    }

    /// How far the views reach, after making sure that their numbers still mean what the cursor says.
    async fn reached(&self) -> Result<u64, Status> {
        let view = self.desk.views.position().await.map_err(|e| errors::views(&e))?;
        if view.feed_epoch == self.cursor.epoch { Ok(view.position) } else { Err(errors::cursor_reset()) }
    }

    /// Waits for news, for the views to reach `to_reach`, the next look, the next heartbeat, or the end.
    async fn rest(
        &self,
        listener: &mut Listener,
        to_reach: Option<u64>,
        heartbeat_at: Instant,
    ) -> Result<(), End> {
        let options = &self.desk.options;
        let at_most = options.poll.min(heartbeat_at.saturating_duration_since(Instant::now()));
        let news = listener.news(self.cursor.epoch, self.cursor.number, to_reach);
        self.unless_it_ends(async {
            let _ = tokio::time::timeout(at_most, news).await;
        })
        .await
    }

    /// Sends rows one by one, each put on record when there is room for it.
    async fn send_page(&mut self, rows: Vec<FeedRow>) -> Result<(), End> {
        let platform = self.desk.platform.clone();
        let out = self.out.clone();
        let mut page = Page::prepare(&platform, rows).await?;
        for index in 0..page.rows.len() {
            let room = self.unless_it_ends(out.reserve()).await?.map_err(|_| End::Gone)?;
            let (row, record) = &page.rows[index];
            let number = row.number;
            let link = links::link(self.cursor.post, row, Some(record));
            let span = tracing::info_span!("deliver", event_id = record.header.event_id, number);
            child_of(&span, &record.header.traceparent);
            let disclosing = page.disclose_on_record(&platform, &self.asking, index).instrument(span);
            let disclosed = self.unless_it_ends(disclosing).await??;
            self.cursor.number = number;
            let cursor = self.cursor.to_text(platform.keyring());
            let item = FeedItem { item: Some(disclosed.item), cursor, link: Some(link) };
            room.send(Ok(SubscribeResponse { message: Some(Message::Item(item)) }));
        }
        Ok(())
    }

    async fn send_heartbeat(&self, caught_up: bool) -> Result<(), End> {
        let room = self.unless_it_ends(self.out.reserve()).await?.map_err(|_| End::Gone)?;
        let keyring = self.desk.platform.keyring();
        let Cursor { post, number, epoch } = self.cursor;
        let chain = self.desk.views.feed_chain(post, number).await.map_err(|e| errors::views(&e))?;
        // Without one the cursor is ahead of the feed, and there is nothing to sign.
        let head = chain.map(|chain| links::signed(keyring, post, epoch, &FeedEnd { number, chain }));
        let heartbeat = Heartbeat { cursor: self.cursor.to_text(keyring), caught_up, head };
        room.send(Ok(SubscribeResponse { message: Some(Message::Heartbeat(heartbeat)) }));
        Ok(())
    }

    /// Completes with `work`, unless the stream has to end before it, or right after it.
    async fn unless_it_ends<T>(&self, work: impl Future<Output = T>) -> Result<T, End> {
        let left_s = self.asking.context.expires_at_s.saturating_sub(Timestamp::now().as_second());
        let left = Duration::from_secs(u64::try_from(left_s).unwrap_or(0));
        let done = tokio::select! {
            biased;
            () = self.out.closed() => return Err(End::Gone),
            () = self.desk.options.drain.cancelled() => return Err(errors::draining().into()),
            done = work => done,
            () = tokio::time::sleep(left) => return Err(errors::token_expired().into()),
        };
        still_holds(&self.desk, &self.asking)?;
        Ok(done)
    }
}

/// Errors: the token has expired or was revoked, its key is none of its issuer's any more, or its subject does not hold
/// the post any more.
fn still_holds(desk: &Desk, asking: &Asking) -> Result<(), Status> {
    desk.platform.still_in(&asking.context)
}
