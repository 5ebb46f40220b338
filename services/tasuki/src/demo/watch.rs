//! Subscribers: each follows one post's feed live, from before the first command, and keeps what it received.

use std::time::Duration;

use tasuki_contract::timeline::v1 as pb;
use tasuki_contract::timeline::v1::timeline_service_client::TimelineServiceClient;
use tokio::sync::watch;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tonic_types::StatusExt as _;

use super::received::Received;
use super::tokens::{Desk, Desks};
use crate::Error;
use crate::call::explain;

/// Reads for coordination, as in the story.
const PURPOSE: &str = "care_coordination";
const PAGE: i32 = 200;
/// A stream that is ended more often than this has a fault of its own.
const RESUMED_MAX: usize = 20;

/// All subscribers.
pub struct Watchers<'a> {
    channel: Channel,
    all: Vec<Watcher<'a>>,
}

/// One subscriber.
pub struct Watcher<'a> {
    /// For which desk.
    pub desk: &'a Desk,
    progress: watch::Receiver<Progress>,
}

#[derive(Default)]
struct Progress {
    items: Vec<pb::TimelineItem>,
    /// How often the server ended the stream and asked to try again.
    resumed: usize,
    /// Why the stream ended for good.
    ended: Option<String>,
}

impl<'a> Watchers<'a> {
    /// Subscribes every post; when it returns, each stream is open.
    pub async fn subscribe(channel: Channel, desks: &'a Desks, slugs: &[&str]) -> Result<Self, Error> {
        let mut all = Vec::with_capacity(slugs.len());
        for slug in slugs {
            let desk = desks.named(slug)?;
            let mut feed = Feed { channel: channel.clone(), desk: desk.clone(), cursor: String::new() };
            let stream = feed.open().await.map_err(|s| format!("{slug}: {}", explain(&s)))?;
            let (told, progress) = watch::channel(Progress::default());
            tokio::spawn(async move { feed.follow(stream, told).await });
            all.push(Watcher { desk, progress });
        }
        Ok(Self { channel, all })
    }

    /// Waits until every subscriber has received what its feed holds once the views have `event_id`.
    ///
    /// Errors: a subscriber whose stream ended, or that has not caught up after `limit`.
    pub async fn caught_up(&self, event_id: &str, limit: Duration) -> Result<(), Error> {
        for watcher in &self.all {
            let expected = tokio::time::timeout(limit, self.poll(watcher, event_id))
                .await
                .map_err(|_| format!("{}: its feed did not answer within {limit:?}", watcher.desk.slug))??;
            watcher.has(&expected, limit).await?;
        }
        Ok(())
    }

    /// The event ids in a post's feed, read as a client does that can only poll.
    async fn poll(&self, watcher: &Watcher<'_>, event_id: &str) -> Result<Vec<String>, Error> {
        let mut client = self.client();
        let wait = pb::ListDutiesRequest { after_event_id: event_id.to_owned(), ..Default::default() };
        client.list_duties(watcher.desk.request(wait, PURPOSE)?).await.map_err(|s| explain(&s))?;
        let mut ids = Vec::new();
        let mut cursor = String::new();
        loop {
            let read = pb::ReadFeedRequest { cursor, wait_s: 0, page_size: PAGE };
            let page = client
                .read_feed(watcher.desk.request(read, PURPOSE)?)
                .await
                .map_err(|s| explain(&s))?
                .into_inner();
            if page.items.is_empty() {
                return Ok(ids);
            }
            cursor = page.cursor;
            ids.extend(page.items.into_iter().filter_map(|i| i.item).map(|item| item.event_id));
        }
    }

    /// What everybody received so far.
    pub fn received(&self) -> Result<Received, Error> {
        Received::new(self.all.iter().map(|w| (w.desk.slug.clone(), w.progress.borrow().items.clone())))
    }

    /// How often the server ended a stream that then went on from its cursor.
    pub fn resumed(&self) -> usize {
        self.all.iter().map(|watcher| watcher.progress.borrow().resumed).sum()
    }

    /// The subscriber for a desk.
    pub fn of(&self, slug: &str) -> Result<&Watcher<'a>, Error> {
        self.all
            .iter()
            .find(|w| w.desk.slug == slug)
            .ok_or_else(|| format!("{slug} did not subscribe").into())
    }

    /// Every subscriber.
    pub fn iter(&self) -> impl Iterator<Item = &Watcher<'a>> {
        self.all.iter()
    }

    /// A client of the timeline.
    pub fn client(&self) -> TimelineServiceClient<Channel> {
        TimelineServiceClient::new(self.channel.clone())
    }
}

impl Watcher<'_> {
    async fn has(&self, expected: &[String], limit: Duration) -> Result<(), Error> {
        let mut progress = self.progress.clone();
        let enough = |p: &Progress| p.items.len() >= expected.len() || p.ended.is_some();
        let waited = tokio::time::timeout(limit, progress.wait_for(enough)).await.is_ok();
        let now = self.progress.borrow();
        let slug = &self.desk.slug;
        if let Some(why) = &now.ended {
            return Err(format!("{slug}: the stream ended: {why}").into());
        }
        if !waited {
            let (has, of) = (now.items.len(), expected.len());
            return Err(format!("{slug}: received {has} of {of} items within {limit:?}").into());
        }
        if now.items.iter().map(|i| &i.event_id).ne(expected) {
            return Err(format!("{slug}: the stream and the polled feed are not the same").into());
        }
        let dense = now.items.iter().zip(1..).all(|(item, number)| item.number == number);
        if dense { Ok(()) } else { Err(format!("{slug}: the numbers of its feed are not dense").into()) }
    }

    /// A request of this subscriber's desk.
    pub fn request<M>(&self, message: M) -> Result<tonic::Request<M>, Error> {
        self.desk.request(message, PURPOSE)
    }
}

/// One post's feed, from a cursor on.
struct Feed {
    channel: Channel,
    desk: Desk,
    cursor: String,
}

impl Feed {
    async fn open(&mut self) -> Result<Streaming<pb::SubscribeResponse>, Status> {
        let request = pb::SubscribeRequest { cursor: self.cursor.clone() };
        let request = self.desk.request(request, PURPOSE).map_err(|e| Status::internal(e.to_string()))?;
        Ok(TimelineServiceClient::new(self.channel.clone()).subscribe(request).await?.into_inner())
    }

    /// Keeps every item; goes on from the last one where the server says that trying again helps.
    async fn follow(&mut self, mut stream: Streaming<pb::SubscribeResponse>, told: watch::Sender<Progress>) {
        loop {
            let end = match stream.message().await {
                Ok(Some(pb::SubscribeResponse {
                    message: Some(pb::subscribe_response::Message::Item(item)),
                })) => {
                    self.cursor = item.cursor;
                    told.send_modify(|progress| progress.items.extend(item.item));
                    continue;
                }
                Ok(Some(_)) => continue,
                Ok(None) => Status::unavailable("no reason given"),
                Err(status) => status,
            };
            let again = end.get_error_details().retry_info().and_then(|retry| retry.retry_delay);
            let allowed = told.borrow().resumed < RESUMED_MAX;
            let reopened = match again.filter(|_| allowed) {
                Some(delay) => {
                    tokio::time::sleep(delay).await;
                    self.open().await
                }
                None => Err(end),
            };
            match reopened {
                Ok(next) => {
                    stream = next;
                    told.send_modify(|progress| progress.resumed += 1);
                }
                Err(status) => {
                    told.send_modify(|progress| progress.ended = Some(explain(&status)));
                    return;
                }
            }
        }
    }
}
