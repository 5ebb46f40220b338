//! A private nats-server with our operator, and what the tests say often.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use tasuki_bus::{
    Bus, BusOptions, Delivery, InMessage, LogConsumer, LogStream, LogStreamSettings, Operator, OutMessage,
    Publisher, PublisherSettings,
};
use tasuki_standalone::{Nats, NatsOptions, Place};

/// Far beyond what anything here takes; a claim that waits this long has failed.
const LIMIT: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    pub(crate) nats: Nats,
    pub(crate) operator: Operator,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let operator = Operator::generate();
        let mut options = NatsOptions::at(Place::ThrowAway);
        options.extra = operator.server_config().unwrap();
        Self { nats: Nats::start(options).await.unwrap(), operator }
    }

    pub(crate) fn service_options(&self) -> BusOptions {
        BusOptions::service(self.nats.url(), Some(self.operator.service_creds().unwrap()), "test")
    }

    pub(crate) async fn service(&self) -> Bus {
        within("connect", Bus::connect(&self.service_options())).await.unwrap()
    }

    /// A service connection and the stream, made.
    pub(crate) async fn stream(&self) -> (Bus, LogStream) {
        let bus = self.service().await;
        let stream = LogStream::new(bus.clone(), LogStreamSettings::default());
        stream.ensure().await.unwrap();
        (bus, stream)
    }

    /// Down, every file of the broker gone, up again on the same port.
    pub(crate) async fn wipe(&self) {
        self.nats.kill().await.unwrap();
        self.nats.wipe().await.unwrap();
        self.nats.restart().await.unwrap();
    }
}

pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {LIMIT:?}"),
    }
}

/// Tries again until `attempt` gives something; for what the server does in its own time.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut attempt: impl FnMut() -> F) -> T {
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    within(what, async {
        loop {
            pause.tick().await;
            if let Some(done) = attempt().await {
                return done;
            }
        }
    })
    .await
}

pub(crate) fn publisher(bus: &Bus) -> Publisher {
    let settings = PublisherSettings { ack_timeout: Duration::from_secs(2), ..PublisherSettings::default() };
    Publisher::new(bus.clone(), settings)
}

pub(crate) fn page(epoch: u64, position: u64) -> OutMessage {
    OutMessage { position, epoch, payload: Bytes::from(format!("page {epoch}.{position}")) }
}

pub(crate) fn pages(epoch: u64, positions: impl IntoIterator<Item = u64>) -> Vec<OutMessage> {
    positions.into_iter().map(|position| page(epoch, position)).collect()
}

/// The next `count` pages; a loss in between fails the test.
pub(crate) async fn take(consumer: &mut LogConsumer, count: usize) -> Vec<InMessage> {
    let mut messages = Vec::with_capacity(count);
    while messages.len() < count {
        match within("delivery", consumer.next()).await {
            Delivery::Message(message) => messages.push(message),
            Delivery::Lost(reason) => panic!("lost ({reason:?}) after {} messages", messages.len()),
        }
    }
    messages
}

pub(crate) fn positions(messages: &[InMessage]) -> Vec<u64> {
    messages.iter().map(|m| m.position).collect()
}
