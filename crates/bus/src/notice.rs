//! Notices: one post learns that its feed has grown.
//!
//! A notice is a CloudEvent in binary mode: attributes in the headers, a small JSON body of opaque ids
//! and the feed's own number. It never holds content, and no trace context either: a trace shared by
//! two posts would tell each that the same command reached both.
//!
//! Core NATS carries it, without storage. Notices may be lost or come again under the same number;
//! what counts is the feed itself, read by its cursor.

use async_nats::header::{HeaderName, HeaderValue};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::{Bus, BusError, subjects};

const TYPE: &str = "jp.tasuki.feed.notice.v1";

/// One item of one post's feed, by reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// The post's agency.
    pub agency: String,
    /// The post whose feed it is.
    pub post: String,
    /// The feed's epoch; a number means the same item only within one epoch.
    pub feed_epoch: u64,
    /// The dense number within that feed, not the position in the log.
    pub number: u64,
    /// The case; absent for what concerns none, such as a meeting of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// The event.
    pub event: String,
}

impl Notice {
    /// The CloudEvents id: unique within the source, and the same when the notice comes again.
    fn id(&self) -> String {
        format!("{}.{}", self.feed_epoch, self.number)
    }

    fn source(&self) -> String {
        format!("/tasuki/feed/{}/{}", self.agency, self.post)
    }
}

/// Tells the post; `recorded_at_us` is the event's, microseconds since 1970, UTC.
///
/// Shape: subject `tasuki.feed.<agency>.<post>`; headers `ce-specversion`, `ce-id`
/// (`<feed epoch>.<number>`), `ce-source` (`/tasuki/feed/<agency>/<post>`), `ce-type`, `ce-time`
/// (RFC 3339), `ce-subject` (the case, when there is one) and `content-type`; body [`Notice`] as JSON.
///
/// Returns when the client has taken it, before the server has: [`Bus::sync`] waits for that.
/// Errors: [`BusError::InvalidToken`], [`BusError::InvalidHeader`], [`BusError::Disconnected`].
/// Source: DESIGN, "The way of the data".
#[tracing::instrument(level = "debug", skip_all, fields(post = notice.post, number = notice.number))]
pub async fn publish_notice(bus: &Bus, notice: &Notice, recorded_at_us: i64) -> Result<(), BusError> {
    let subject = subjects::feed(&notice.agency, &notice.post)?;
    let time = jiff::Timestamp::from_microsecond(recorded_at_us)
        .map_err(|_| BusError::InvalidHeader { name: "ce-time".into() })?;
    let mut headers = async_nats::HeaderMap::new();
    let mut attribute =
        |name: &str, value: &str| header(name, value).map(|(name, value)| headers.insert(name, value));
    attribute("ce-specversion", "1.0")?;
    attribute("ce-id", &notice.id())?;
    attribute("ce-source", &notice.source())?;
    attribute("ce-type", TYPE)?;
    attribute("ce-time", &time.to_string())?;
    if let Some(case) = &notice.case {
        attribute("ce-subject", case)?;
    }
    attribute("content-type", "application/json")?;
    let body = serde_json::to_vec(notice).map_err(|_| BusError::Malformed("notice"))?;
    bus.send(subject, Some(headers), body.into()).await
}

/// A header that cannot break out of its line.
fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), BusError> {
    let invalid = || BusError::InvalidHeader { name: name.escape_default().to_string() };
    Ok((name.parse().map_err(|_| invalid())?, value.parse().map_err(|_| invalid())?))
}

/// A notice as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedNotice {
    /// The subject.
    pub subject: String,
    /// The headers, sorted by name.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub notice: Notice,
    /// The body as received, byte for byte.
    pub body: bytes::Bytes,
}

/// The notices to one post from now on.
#[derive(Debug)]
pub struct NoticeStream {
    subscriber: async_nats::Subscriber,
}

/// Listens to the notices of one post, across reconnections.
///
/// A post may do so with its own credentials ([`crate::BusOptions::post`]). Refused rights arrive
/// through [`Bus::events`] in the server's words, not here. Returns when the request is on its way: what
/// happens before the server has read it is in the feed, which is to be read once after this.
///
/// Errors: [`BusError::InvalidToken`], [`BusError::Client`], [`BusError::Disconnected`].
pub async fn subscribe_notices(bus: &Bus, agency: &str, post: &str) -> Result<NoticeStream, BusError> {
    let subject = subjects::feed(agency, post)?;
    let subscribed = bus.client().subscribe(subject).await;
    let subscriber = subscribed.map_err(|e| BusError::Client(e.to_string()))?;
    bus.flush().await?;
    Ok(NoticeStream { subscriber })
}

impl NoticeStream {
    /// The next notice; `None` once the client is closed.
    ///
    /// Errors: [`BusError::Malformed`] for a body that is no notice; the next call goes on.
    pub async fn next(&mut self) -> Option<Result<ReceivedNotice, BusError>> {
        let message = self.subscriber.next().await?;
        Some(receive(message))
    }
}

fn receive(message: async_nats::Message) -> Result<ReceivedNotice, BusError> {
    let notice = serde_json::from_slice(&message.payload).map_err(|_| BusError::Malformed("notice"))?;
    let mut headers: Vec<(String, String)> = message
        .headers
        .iter()
        .flat_map(async_nats::HeaderMap::iter)
        .flat_map(|(name, values)| values.iter().map(|v| (name.to_string(), v.as_str().to_owned())))
        .collect();
    headers.sort();
    Ok(ReceivedNotice { subject: message.subject.to_string(), headers, notice, body: message.payload })
}
