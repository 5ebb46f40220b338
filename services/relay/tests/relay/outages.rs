//! Servers that are killed, wiped and started again under a running relay.

use tasuki_bus::{BusError, Delivery, LostReason};

use crate::common::{World, envelopes, of_epoch, points, take_to, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_broker_gets_everything_again() {
    let world = World::start().await;
    let relay = world.relay().await;
    world.append(120).await;
    let mut before = world.consumer().await;
    take_to(&mut before, 120).await;

    world.stack.nats.stop().await.unwrap();
    world.append(30).await; // while it is away
    world.stack.nats.wipe().await.unwrap();
    world.stack.nats.restart().await.unwrap();
    world.append(30).await;
    let messages = take_to(&mut world.consumer().await, 180).await;
    assert_eq!(points(&messages), of_epoch(1, 1..=180));
    // Who was listening is told, and gets what it has not seen without a hole.
    let mut told = false;
    let mut last = 120;
    while last < 180 {
        match within("delivery", before.next()).await {
            Delivery::Lost(LostReason::StreamMissing | LostReason::StreamRecreated) => told = true,
            Delivery::Lost(reason) => panic!("{reason:?}"),
            // It looked while the stream was being fed: repeats, as the projector drops them.
            Delivery::Message(message) if message.position <= last => assert!(told),
            Delivery::Message(message) => {
                let first = envelopes(std::slice::from_ref(&message))[0].position;
                assert!(told && first <= last + 1, "{first} after {last}");
                last = message.position;
            }
        }
    }
    assert!(!relay.task.is_finished());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_wiped_in_the_midst_of_feeding_gets_everything_again() {
    let world = World::start().await;
    let _relay = world.relay().await;
    for round in 1..=3 {
        let (last, ()) = tokio::join!(world.append(400), async {
            // At an arbitrary moment of the feeding; the log itself is not waited for.
            world.stack.nats.kill().await.unwrap();
            world.stack.nats.wipe().await.unwrap();
            world.stack.nats.restart().await.unwrap();
        });
        assert_eq!(last, round * 400);
        world.relayed(last).await;
        let messages = take_to(&mut world.consumer().await, last).await;
        assert_eq!(points(&messages), of_epoch(1, 1..=last));
    }
}

#[tokio::test]
async fn a_stream_that_was_emptied_behind_an_idle_relay_is_fed_again() {
    let world = World::start().await;
    let _relay = world.relay().await;
    world.append(70).await;
    world.relayed(70).await;
    // Deleted and made anew by somebody else; nothing is appended that would tell the relay.
    let stream = world.stream().await;
    let old = stream.state().await.unwrap().unwrap().incarnation;
    assert_eq!(stream.repair(&BusError::StreamBroken).await, Ok(true));
    until("the new stream", || async {
        let state = stream.state().await.ok().flatten()?;
        (state.incarnation != old).then_some(())
    })
    .await;
    world.relayed(70).await;
    assert_eq!(points(&take_to(&mut world.consumer().await, 70).await), of_epoch(1, 1..=70));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_killed_and_comes_back_has_everything_once_and_in_order() {
    let world = World::start().await;
    let _relay = world.relay().await;
    let mut consumer = world.consumer().await;
    world.append(50).await;
    take_to(&mut consumer, 50).await;
    let mut expected = 50;
    for _ in 0..3 {
        let ((), last) = tokio::join!(
            async {
                world.stack.nats.kill().await.unwrap();
                world.stack.nats.restart().await.unwrap();
            },
            world.append(300),
        );
        expected += 300;
        assert_eq!(last, expected);
    }
    world.relayed(expected).await;
    let messages = take_to(&mut world.consumer().await, expected).await;
    assert_eq!(points(&messages), of_epoch(1, 1..=expected));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_starts_before_the_broker_feeds_it_when_it_comes() {
    let world = World::start().await;
    let bus = world.bus("tasuki-relay").await;
    world.stack.nats.kill().await.unwrap();
    let cancel = tokio_util::sync::CancellationToken::new();
    let (database, reader, wake) = (world.database.clone(), world.reader.clone(), world.writer.head());
    let options = crate::common::quick();
    let relay = tokio::spawn(tasuki_relay::run(database, reader, bus, wake, options, cancel.clone()));
    world.led().await;
    world.append(60).await;
    world.stack.nats.restart().await.unwrap();
    assert_eq!(points(&take_to(&mut world.consumer().await, 60).await), of_epoch(1, 1..=60));
    // It ends as well while the broker is away.
    world.stack.nats.kill().await.unwrap();
    world.append(10).await;
    cancel.cancel();
    within("the relay to end", relay).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgresql_that_is_killed_and_comes_back_is_read_on() {
    let world = World::start().await;
    let relay = world.relay().await;
    let mut end = 0;
    for _ in 0..3 {
        end = world.append(80).await;
        world.stack.postgres.kill().await.unwrap();
        world.stack.postgres.restart().await.unwrap();
    }
    world.led().await;
    assert_eq!(world.append(80).await, end + 80);
    world.relayed(end + 80).await;
    let messages = take_to(&mut world.consumer().await, end + 80).await;
    assert_eq!(points(&messages), of_epoch(1, 1..=end + 80));
    assert!(!relay.task.is_finished());
}
