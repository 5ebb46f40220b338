//! Pings between our own processes: "the head is at least here now".
//!
//! A ping is a hint that saves waiting for the next slow poll. It may be lost, come late or come twice;
//! who gets one looks at the log or the view, and never acts on the number alone.

use futures::{FutureExt, StreamExt};

use crate::{Bus, BusError};

/// Which head has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ping {
    /// The log: something was appended.
    Log,
    /// The views: the projector has committed.
    Views,
}

impl Ping {
    /// The subject.
    pub fn subject(self) -> &'static str {
        match self {
            Self::Log => "tasuki.ping.log",
            Self::Views => "tasuki.ping.views",
        }
    }
}

/// Tells the others that the head is at position `head`. Says nothing while the connection is down: a
/// late hint is worth less than the poll that has happened meanwhile.
///
/// Errors: [`BusError::Disconnected`], [`BusError::Client`]; safe to ignore.
#[tracing::instrument(level = "trace", skip(bus))]
pub async fn publish_ping(bus: &Bus, ping: Ping, head: u64) -> Result<(), BusError> {
    if !bus.is_connected() {
        return Err(BusError::Disconnected);
    }
    bus.send(ping.subject().into(), None, head.to_string().into()).await
}

/// Pings from now on.
#[derive(Debug)]
pub struct PingStream {
    subscriber: async_nats::Subscriber,
}

/// Listens to pings, across reconnections. Returns when the server has seen it.
///
/// Errors: [`BusError::Client`], [`BusError::Disconnected`].
pub async fn subscribe_pings(bus: &Bus, ping: Ping) -> Result<PingStream, BusError> {
    let subscribed = bus.client().subscribe(ping.subject()).await;
    let subscriber = subscribed.map_err(|e| BusError::Client(e.to_string()))?;
    bus.sync().await?;
    Ok(PingStream { subscriber })
}

impl PingStream {
    /// The newest head of all pings that have arrived, waiting for one; `None` once the client is
    /// closed. Pings that came in between are merged into it; what is no number is passed over.
    pub async fn next(&mut self) -> Option<u64> {
        let mut head = None;
        loop {
            let message = match head {
                None => self.subscriber.next().await?,
                Some(_) => match self.subscriber.next().now_or_never().flatten() {
                    Some(message) => message,
                    None => return head,
                },
            };
            let text = std::str::from_utf8(&message.payload).ok();
            head = text.and_then(|t| t.parse().ok()).max(head);
        }
    }
}
