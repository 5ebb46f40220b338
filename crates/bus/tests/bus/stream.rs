//! Publishing to the stream of the log, and knowing how far it reaches.

use std::time::Duration;

use bytes::Bytes;
use tasuki_bus::{
    BusError, LogPoint, LogStream, LogStreamSettings, PublishOutcome, Publisher, PublisherSettings,
    STREAM_NAME,
};

use crate::common::{Server, page, pages, publisher, until, within};

fn stored(through: u64) -> PublishOutcome {
    PublishOutcome { acked_through: Some(through), duplicates: 0, error: None }
}

#[tokio::test]
async fn a_batch_larger_than_the_window_is_stored_in_order() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    let settings = PublisherSettings { in_flight_max: 7, in_flight_bytes_max: 60, ..Default::default() };
    let publisher = Publisher::new(bus, settings);
    assert_eq!(publisher.publish_batch(&pages(1, 1..=500)).await, stored(500));
    let state = stream.state().await.unwrap().unwrap();
    assert_eq!((state.first_sequence, state.last_sequence), (1, 500));
    assert_eq!(state.last, Some(LogPoint::new(1, 500)));
}

#[tokio::test]
async fn an_empty_batch_changes_nothing() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    let outcome = publisher(&bus).publish_batch(&[]).await;
    assert_eq!(outcome, PublishOutcome { acked_through: None, duplicates: 0, error: None });
    assert_eq!(stream.state().await.unwrap().unwrap().last, None);
}

#[tokio::test]
async fn what_is_published_again_is_stored_once_and_acknowledged() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    let publisher = publisher(&bus);
    publisher.publish_batch(&pages(1, 1..=10)).await;
    let again = publisher.publish_batch(&pages(1, 6..=15)).await;
    assert_eq!(again, PublishOutcome { acked_through: Some(15), duplicates: 5, error: None });
    assert_eq!(stream.state().await.unwrap().unwrap().last_sequence, 15);
}

#[tokio::test]
async fn the_same_position_of_the_next_epoch_is_another_message() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    let publisher = publisher(&bus);
    publisher.publish_batch(&pages(1, 1..=10)).await;
    assert_eq!(publisher.publish_batch(&pages(2, 8..=9)).await, stored(9));
    let state = stream.state().await.unwrap().unwrap();
    assert_eq!((state.last_sequence, state.last), (12, Some(LogPoint::new(2, 9))));
}

#[tokio::test]
async fn a_batch_stops_before_a_message_that_is_too_large() {
    let server = Server::start().await;
    let bus = server.service().await;
    let settings = LogStreamSettings { max_message_bytes: 4096, ..Default::default() };
    let stream = LogStream::new(bus.clone(), settings);
    stream.ensure().await.unwrap();
    // Beyond the stream's limit, then beyond the server's: the second never leaves the client.
    for bytes in [8 << 10, 2 << 20] {
        let mut batch = pages(1, 1..=5);
        batch[2].payload = Bytes::from(vec![b'x'; bytes]);
        let outcome = publisher(&bus).publish_batch(&batch).await;
        assert_eq!(outcome.acked_through, Some(2));
        assert_eq!(outcome.error, Some(BusError::TooLarge { position: 3 }));
    }
}

#[tokio::test]
async fn a_missing_stream_is_reported_as_missing_and_never_as_stored() {
    let server = Server::start().await;
    let bus = server.service().await;
    let stream = LogStream::new(bus.clone(), LogStreamSettings::default());
    assert_eq!(stream.state().await.unwrap(), None);
    let outcome = publisher(&bus).publish_batch(&pages(1, 1..=3)).await;
    assert_eq!(outcome.acked_through, None);
    assert_eq!(outcome.error, Some(BusError::StreamMissing));
}

#[tokio::test]
async fn a_deleted_stream_is_made_again_and_fed_from_the_start() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    let publisher = publisher(&bus);
    publisher.publish_batch(&pages(1, 1..=20)).await;
    let before = stream.state().await.unwrap().unwrap();

    delete_stream(&server).await;
    assert_eq!(stream.state().await.unwrap(), None);
    assert_eq!(stream.repair(&BusError::StreamMissing).await, Ok(true));
    let empty = stream.state().await.unwrap().unwrap();
    assert_eq!(empty.last, None);
    assert_ne!(empty.incarnation, before.incarnation);

    // The ids are the same as before: the new stream must not take them for repeats.
    assert_eq!(publisher.publish_batch(&pages(1, 1..=20)).await, stored(20));
}

#[tokio::test]
async fn a_stream_that_cannot_store_is_noticed_and_made_anew() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    let files = server.nats.store_dir().join("jetstream").join(server.operator.account_id());
    let publisher = publisher(&bus);
    publisher.publish_batch(&pages(1, 1..=3)).await;
    std::fs::remove_dir_all(files.join("streams").join(STREAM_NAME)).unwrap();
    // The server still has one file open and may go on in it for a while; it cannot open the next.
    let mut large = pages(1, 4..=40);
    for message in &mut large {
        message.payload = Bytes::from(vec![b'x'; 1_000_000]);
    }
    let outcome = publisher.publish_batch(&large).await;
    assert!(outcome.acked_through < Some(40));
    // Servers of 2.9 say what is wrong, those of 2.15 fall silent.
    let told = matches!(outcome.error, Some(BusError::StreamBroken | BusError::AckTimeout(_)));
    assert!(told, "{:?}", outcome.error);
    assert_eq!(stream.repair(&BusError::StreamBroken).await, Ok(true));
    assert_eq!(publisher.publish_batch(&pages(1, 1..=3)).await, stored(3));
    assert_eq!(stream.repair(&BusError::Disconnected).await, Ok(false), "not about the stream");
    assert_eq!(stream.state().await.unwrap().unwrap().last, Some(LogPoint::new(1, 3)));
}

#[tokio::test]
async fn a_killed_server_stops_the_batch_and_the_relay_goes_on_from_the_gap() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    let publisher = publisher(&bus);
    assert_eq!(publisher.publish_batch(&pages(1, 1..=10)).await, stored(10));
    server.nats.kill().await.unwrap();
    let outcome = within("outcome", publisher.publish_batch(&pages(1, 11..=20))).await;
    assert_eq!(outcome.acked_through, None);
    assert!(outcome.error.is_some());
    server.nats.restart().await.unwrap();

    let mut next = 11;
    while next <= 20 {
        let outcome = within("outcome", publisher.publish_batch(&pages(1, next..=20))).await;
        next = outcome.acked_through.map_or(next, |through| through + 1);
    }
    let state = until("state", || async { stream.state().await.ok().flatten() }).await;
    assert_eq!(state.last, Some(LogPoint::new(1, 20)));
    assert_eq!(state.last_sequence, 20, "what the first attempt left in the queue was taken for a repeat");
}

#[tokio::test]
async fn a_wiped_server_shows_as_a_missing_stream() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    publisher(&bus).publish_batch(&pages(1, 1..=10)).await;
    server.wipe().await;
    let state = until("state", || async { stream.state().await.ok() }).await;
    assert_eq!(state, None);
    stream.ensure().await.unwrap();
    assert_eq!(publisher(&bus).publish_batch(&pages(1, 1..=10)).await, stored(10));
}

#[tokio::test]
async fn several_processes_may_ensure_the_stream_and_the_last_settings_hold() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    publisher(&bus).publish_batch(&[page(1, 1)]).await;
    let settings = LogStreamSettings { max_age: Duration::from_secs(3600), ..Default::default() };
    let other = LogStream::new(server.service().await, settings);
    let (one, two) = tokio::join!(stream.ensure(), other.ensure());
    assert_eq!((one, two), (Ok(()), Ok(())));
    other.ensure().await.unwrap();

    let raw = jetstream(&server).await;
    let mut handle = raw.get_stream(STREAM_NAME).await.unwrap();
    let info = handle.info().await.unwrap();
    assert_eq!(info.config.max_age, Duration::from_secs(3600));
    assert_eq!(info.config.storage, async_nats::jetstream::stream::StorageType::File);
    assert_eq!(info.state.messages, 1, "nothing was thrown away");
}

pub(crate) async fn jetstream(server: &Server) -> async_nats::jetstream::Context {
    let creds = server.operator.service_creds().unwrap();
    let options = async_nats::ConnectOptions::with_credentials(&creds).unwrap();
    async_nats::jetstream::new(options.connect(server.nats.url()).await.unwrap())
}

pub(crate) async fn delete_stream(server: &Server) {
    jetstream(server).await.delete_stream(STREAM_NAME).await.unwrap();
}
