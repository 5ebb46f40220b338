//! Reading the stream of the log through everything that can happen to it.

use tasuki_bus::{
    Delivery, LogConsumer, LogPoint, LogStream, LogStreamSettings, LostReason, STREAM_NAME, StartFrom,
};

use crate::common::{Server, page, pages, positions, publisher, take, within};
use crate::stream::{delete_stream, jetstream};

fn after(position: u64) -> StartFrom {
    StartFrom::After(LogPoint::new(1, position))
}

#[tokio::test]
async fn pages_arrive_whole_and_in_order() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    publisher(&bus).publish_batch(&pages(1, 1..=2000)).await;
    let mut consumer = LogConsumer::start(stream, StartFrom::Beginning);
    let received = take(&mut consumer, 2000).await;
    assert_eq!(positions(&received), (1..=2000).collect::<Vec<_>>());
    assert_eq!(received[41].point(), LogPoint::new(1, 42));
    assert_eq!(received[41].payload, "page 1.42");
}

#[tokio::test]
async fn live_pages_follow_those_of_before() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    let mut consumer = LogConsumer::start(stream, StartFrom::Beginning);
    for position in 1..=20 {
        publisher(&bus).publish_batch(&[page(1, position)]).await;
        assert_eq!(positions(&take(&mut consumer, 1).await), [position]);
    }
}

#[tokio::test]
async fn reading_starts_behind_any_place() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    publisher(&bus).publish_batch(&pages(1, 101..=200)).await;
    for (start, first) in [(0, 101), (100, 101), (101, 102), (150, 151), (198, 199), (199, 200)] {
        let mut consumer = LogConsumer::start(stream.clone(), after(start));
        assert_eq!(positions(&take(&mut consumer, 1).await), [first], "behind {start}");
    }
    let mut consumer = LogConsumer::start(stream, after(200));
    publisher(&bus).publish_batch(&[page(1, 201)]).await;
    assert_eq!(positions(&take(&mut consumer, 1).await), [201]);
}

#[tokio::test]
async fn reading_starts_behind_a_place_among_deleted_messages() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    publisher(&bus).publish_batch(&pages(1, 1..=100)).await;
    let handle = jetstream(&server).await.get_stream(STREAM_NAME).await.unwrap();
    for sequence in (1..=10).chain(40..=60) {
        handle.delete_message(sequence).await.unwrap();
    }
    for (start, first) in [(3, 11), (39, 61), (50, 61), (60, 61), (61, 62)] {
        let mut consumer = LogConsumer::start(stream.clone(), after(start));
        assert_eq!(positions(&take(&mut consumer, 1).await), [first], "behind {start}");
    }
}

#[tokio::test]
async fn an_epoch_starts_behind_whatever_the_one_before_it_left() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    publisher(&bus).publish_batch(&pages(1, 1..=10)).await;
    publisher(&bus).publish_batch(&pages(2, 8..=12)).await;
    let mut consumer = LogConsumer::start(stream, StartFrom::After(LogPoint::new(2, 8)));
    let received = take(&mut consumer, 4).await;
    assert_eq!(received[0].point(), LogPoint::new(2, 9));
    assert_eq!(positions(&received), [9, 10, 11, 12]);
}

#[tokio::test]
async fn holes_and_repeats_reach_the_caller_as_they_are() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    let publisher = publisher(&bus);
    publisher.publish_batch(&pages(1, [1, 2, 5, 6])).await;
    publisher.publish_batch(&pages(1, [3, 4])).await;
    let mut consumer = LogConsumer::start(stream, StartFrom::Beginning);
    assert_eq!(positions(&take(&mut consumer, 6).await), [1, 2, 5, 6, 3, 4]);
}

#[tokio::test]
async fn a_message_that_is_not_ours_is_passed_over() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    let raw = jetstream(&server).await;
    publisher(&bus).publish_batch(&[page(1, 1)]).await;
    raw.publish("tasuki.log.case.x", "not ours".into()).await.unwrap().await.unwrap();
    assert_eq!(stream.state().await.unwrap().unwrap().last, None);
    publisher(&bus).publish_batch(&[page(1, 2)]).await;
    let mut consumer = LogConsumer::start(stream.clone(), StartFrom::Beginning);
    assert_eq!(positions(&take(&mut consumer, 2).await), [1, 2]);
    let mut consumer = LogConsumer::start(stream, after(1));
    assert_eq!(positions(&take(&mut consumer, 1).await), [2]);
}

#[tokio::test]
async fn a_restarted_server_loses_nothing_and_reports_nothing() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    publisher(&bus).publish_batch(&pages(1, 1..=100)).await;
    let mut consumer = LogConsumer::start(stream, StartFrom::Beginning);
    take(&mut consumer, 60).await;
    server.nats.stop().await.unwrap();
    server.nats.restart().await.unwrap();
    assert_eq!(positions(&take(&mut consumer, 40).await), (61..=100).collect::<Vec<_>>());
    publish_until_stored(&server, 1, 101, 110).await;
    assert_eq!(positions(&take(&mut consumer, 10).await), (101..=110).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_wiped_server_is_reported_and_what_is_fed_again_arrives() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    publisher(&bus).publish_batch(&pages(1, 1..=50)).await;
    let mut consumer = LogConsumer::start(stream.clone(), StartFrom::Beginning);
    take(&mut consumer, 50).await;
    server.wipe().await;
    let loss = within("report", consumer.next()).await;
    assert_eq!(loss, Delivery::Lost(LostReason::StreamMissing));

    // The relay feeds it from before the reader's place: what the reader had comes again or not, and
    // everything behind it comes.
    publish_until_stored(&server, 1, 31, 70).await;
    let mut last = 0;
    while last < 70 {
        match within("delivery", consumer.next()).await {
            Delivery::Message(message) => last = message.position,
            Delivery::Lost(reason) => panic!("a second report: {reason:?}"),
        }
    }
}

#[tokio::test]
async fn a_wiped_server_that_was_fed_before_the_reader_looked_is_reported_too() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    publisher(&bus).publish_batch(&pages(1, 1..=50)).await;
    let mut consumer = LogConsumer::start(stream.clone(), StartFrom::Beginning);
    take(&mut consumer, 50).await;

    let raw = jetstream(&server).await;
    raw.delete_stream(STREAM_NAME).await.unwrap();
    stream.ensure().await.unwrap();
    publish_until_stored(&server, 1, 1, 60).await;

    // Which of the two it sees depends on who is faster; what it must not do is stand still.
    let Delivery::Lost(reason) = within("report", consumer.next()).await else { panic!("no report") };
    assert!(matches!(reason, LostReason::StreamMissing | LostReason::StreamRecreated), "{reason:?}");
    let mut last = 0;
    while last < 60 {
        if let Delivery::Message(message) = within("delivery", consumer.next()).await {
            last = message.position;
        }
    }
}

#[tokio::test]
async fn a_stream_deleted_under_an_idle_reader_is_reported() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    publisher(&bus).publish_batch(&pages(1, 1..=5)).await;
    let mut consumer = LogConsumer::start(stream, StartFrom::Beginning);
    take(&mut consumer, 5).await;
    delete_stream(&server).await;
    let loss = within("report", consumer.next()).await;
    assert_eq!(loss, Delivery::Lost(LostReason::StreamMissing));
    publish_until_stored(&server, 1, 1, 6).await;
    let mut last = 0;
    while last < 6 {
        if let Delivery::Message(message) = within("delivery", consumer.next()).await {
            last = message.position;
        }
    }
}

#[tokio::test]
async fn a_server_that_forgot_its_newest_messages_is_reported_as_cut_short() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    publisher(&bus).publish_batch(&pages(1, 1..=30)).await;
    server.nats.stop().await.unwrap();
    let copy = copy_dir(&server.nats.store_dir());
    server.nats.restart().await.unwrap();
    publish_until_stored(&server, 1, 31, 50).await;
    let mut consumer = LogConsumer::start(stream, StartFrom::Beginning);
    take(&mut consumer, 50).await;

    // The store as it was twenty messages ago: what a crash before the fsync leaves.
    server.nats.kill().await.unwrap();
    restore_dir(&copy, &server.nats.store_dir());
    server.nats.restart().await.unwrap();
    let loss = within("report", consumer.next()).await;
    assert_eq!(loss, Delivery::Lost(LostReason::StreamTruncated));
    publish_until_stored(&server, 1, 31, 55).await;
    let mut last = 0;
    while last < 55 {
        if let Delivery::Message(message) = within("delivery", consumer.next()).await {
            last = message.position;
        }
    }
}

#[tokio::test]
async fn a_reader_may_start_before_the_stream_and_the_server() {
    let server = Server::start().await;
    let bus = server.service().await;
    server.nats.kill().await.unwrap();
    let stream = LogStream::new(bus, LogStreamSettings::default());
    let mut consumer = LogConsumer::start(stream, StartFrom::Beginning);
    server.nats.restart().await.unwrap();
    let other = server.service().await;
    LogStream::new(other, LogStreamSettings::default()).ensure().await.unwrap();
    publish_until_stored(&server, 1, 1, 3).await;
    assert_eq!(positions(&take(&mut consumer, 3).await), [1, 2, 3]);
}

#[tokio::test]
async fn an_abandoned_wait_loses_nothing() {
    let server = Server::start().await;
    let (bus, stream) = server.stream().await;
    let mut consumer = LogConsumer::start(stream, StartFrom::Beginning);
    publisher(&bus).publish_batch(&pages(1, 1..=300)).await;
    let mut received = Vec::new();
    while received.len() < 300 {
        // Polled once and dropped, as `select!` does.
        if let Some(Delivery::Message(message)) = futures::FutureExt::now_or_never(consumer.next()) {
            received.push(message.position);
        } else {
            received.extend(positions(&take(&mut consumer, 1).await));
        }
    }
    assert_eq!(received, (1..=300).collect::<Vec<_>>());
}

/// As the relay does it: from the gap, until everything is stored, and from the start in a new stream.
async fn publish_until_stored(server: &Server, epoch: u64, first: u64, last: u64) {
    let bus = server.service().await;
    let stream = LogStream::new(bus.clone(), LogStreamSettings::default());
    let publisher = publisher(&bus);
    let mut next = first;
    within("publishing", async {
        while next <= last {
            let outcome = publisher.publish_batch(&pages(epoch, next..=last)).await;
            next = outcome.acked_through.map_or(next, |through| through + 1);
            if let Some(error) = outcome.error
                && stream.repair(&error).await == Ok(true)
            {
                next = first;
            }
        }
    })
    .await;
}

fn copy_dir(from: &std::path::Path) -> std::path::PathBuf {
    let to = from.with_file_name("copy");
    run("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
    to
}

fn restore_dir(copy: &std::path::Path, to: &std::path::Path) {
    run("rm", &["-rf", to.to_str().unwrap()]);
    run("cp", &["-a", copy.to_str().unwrap(), to.to_str().unwrap()]);
}

fn run(program: &str, arguments: &[&str]) {
    assert!(std::process::Command::new(program).args(arguments).status().unwrap().success());
}
