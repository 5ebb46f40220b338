//! The everyday: in order, once, soon, and again from where the stream ends.

use std::time::Duration;

use futures::future::join_all;
use tasuki_bus::{LogPoint, OutMessage, Ping, Publisher, publish_ping};
use tasuki_contract::event::v1::{Effects, Header};
use tasuki_relay::RelayOptions;
use tokio::sync::watch;

use crate::common::{World, command, envelopes, of_epoch, points, quick, take_to, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_once_and_in_the_order_of_the_log() {
    let world = World::start().await;
    world.append(30).await; // before there is a relay
    let _relay = world.relay().await;
    let traceparent = format!("00-{}-{}-01", "a".repeat(32), "b".repeat(16));
    for round in 0..8 {
        let header = || Header { traceparent: traceparent.clone(), ..Default::default() };
        let appends = join_all((0..40).map(|_| world.writer.append(command(header()))));
        for appended in within("appends", appends).await {
            assert!(appended.is_ok(), "{round}");
        }
    }
    let messages = take_to(&mut world.consumer().await, 350).await;
    assert_eq!(points(&messages), of_epoch(1, 1..=350));
    let records = world.reader.after(0, 1000).await.unwrap();
    for (envelope, record) in envelopes(&messages).iter().zip(&records) {
        assert_eq!(*envelope, record.envelope());
        let traced = (!record.header.traceparent.is_empty()).then_some(&traceparent);
        assert_eq!(envelope.traceparent().as_ref(), traced);
    }
    let state = world.stream().await.state().await.unwrap().unwrap();
    assert_eq!(state.last_sequence, messages.len() as u64, "nothing was stored twice");
    assert!(messages.len() < 350, "what waits travels together");
}

#[tokio::test]
async fn who_wakes_the_relay_need_not_be_its_own_process() {
    let world = World::start().await;
    // It would look by itself only after an hour, and its own process never writes.
    let hour = Duration::from_secs(3600);
    let (sender, wake) = watch::channel(0);
    let _relay = world.relay_with(RelayOptions { poll: hour, check: hour, ..quick() }, wake).await;
    let bus = world.bus("another process").await;
    world.led().await;
    for round in 1..=3 {
        assert_eq!(world.append(1).await, round);
        let stream = world.stream().await;
        until("the pinged relay to feed", || async {
            // A ping may be lost: the relay may not listen yet.
            publish_ping(&bus, Ping::Log, round).await.unwrap();
            let last = stream.state().await.ok().flatten()?.last?;
            (last.position == round).then_some(())
        })
        .await;
    }
    // The other way: the watch of its own process alone.
    assert_eq!(world.append(1).await, 4);
    sender.send(4).unwrap();
    world.relayed(4).await;
    // A writer that has gone leaves the pings.
    drop(sender);
    assert_eq!(world.append(1).await, 5);
    publish_ping(&bus, Ping::Log, 5).await.unwrap();
    world.relayed(5).await;
}

#[tokio::test]
async fn without_any_wake_up_the_log_is_looked_at_all_the_same() {
    let world = World::start().await;
    let (_, gone) = watch::channel(0);
    let _relay = world.relay_with(quick(), gone).await;
    for position in 1..=3 {
        assert_eq!(world.append(1).await, position);
        world.relayed(position).await;
    }
}

#[tokio::test]
async fn a_relay_that_starts_again_goes_on_where_the_stream_ends() {
    let world = World::start().await;
    let mut options = quick();
    // As short as the server allows, so that it does not hide what is published twice.
    options.stream.duplicate_window = Duration::from_millis(100);
    for end in [20, 40, 60] {
        let relay = world.relay_with(options.clone(), world.writer.head()).await;
        assert_eq!(world.append(20).await, end);
        world.relayed(end).await;
        relay.cancel.cancel();
        within("the relay to end", relay.task).await.unwrap();
        until("the lock to be free", || async { world.leaders().await.is_empty().then_some(()) }).await;
    }
    let state = world.stream().await.state().await.unwrap().unwrap();
    assert_eq!(state.first_sequence, 1);
    let messages = take_to(&mut world.consumer().await, 60).await;
    assert_eq!(points(&messages), of_epoch(1, 1..=60));
    assert_eq!(state.last_sequence, messages.len() as u64);
    let stored: usize = messages.iter().map(|m| envelopes(std::slice::from_ref(m)).len()).sum();
    assert_eq!(stored, 60, "nothing was stored twice");
}

#[tokio::test]
async fn what_a_restore_discarded_is_followed_by_the_log_of_the_next_epoch() {
    let world = World::start().await;
    let relay = world.relay().await;
    world.append(10).await;
    world.relayed(10).await;
    relay.cancel.cancel();
    within("the relay to end", relay.task).await.unwrap();
    // The log was set back to 6 and resumed under the next epoch; the broker kept what it had.
    world.stack.postgres.sql("log", "DELETE FROM log.events WHERE position > 8").await.unwrap();
    world.stack.postgres.sql("log", "UPDATE log.events SET epoch = 2 WHERE position > 6").await.unwrap();
    let _relay = world.relay().await;
    let mut consumer = world.consumer().await;
    let mut messages = take_to(&mut consumer, 10).await;
    messages.extend(take_to(&mut consumer, 8).await);
    assert_eq!(points(&messages), [of_epoch(1, 1..=10), of_epoch(2, 7..=8)].concat());
}

#[tokio::test]
async fn a_stream_of_another_log_is_thrown_away_and_fed_from_the_start() {
    let world = World::start().await;
    let stream = world.stream().await;
    stream.ensure().await.unwrap();
    let foreign = |position| OutMessage { position, epoch: 1, payload: "of another log".into() };
    let batch: Vec<_> = (1..=50).map(foreign).collect();
    let publisher = Publisher::new(world.bus("another").await, quick().publisher);
    assert_eq!(publisher.publish_batch(&batch).await.acked_through, Some(50));
    world.append(10).await;
    let _relay = world.relay().await;
    world.relayed(10).await;
    let messages = take_to(&mut world.consumer().await, 10).await;
    assert_eq!(points(&messages), of_epoch(1, 1..=10));
    let records = world.reader.after(0, 10).await.unwrap();
    assert!(envelopes(&messages).iter().zip(&records).all(|(envelope, r)| *envelope == r.envelope()));
}

#[tokio::test]
async fn an_envelope_that_the_broker_finds_too_large_leaves_a_hole_and_holds_nothing_up() {
    let world = World::start().await;
    let mut options = quick();
    options.stream.max_message_bytes = 4096;
    let _relay = world.relay_with(options, world.writer.head()).await;
    world.append(5).await;
    let parties = (0..200).map(|_| uuid::Uuid::now_v7().to_string()).collect();
    let large = Header {
        effects: Some(Effects { party_post_ids: parties, ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(world.writer.append(command(large)).await.unwrap().last_position, 6);
    world.append(5).await;
    let messages = take_to(&mut world.consumer().await, 11).await;
    let expected: Vec<LogPoint> = of_epoch(1, (1..=11).filter(|position| *position != 6));
    assert_eq!(points(&messages), expected);
}

#[tokio::test]
async fn a_page_that_the_broker_finds_too_large_is_cut_and_loses_nothing() {
    let world = World::start().await;
    world.append(50).await;
    let mut options = RelayOptions { page_bytes_max: 1 << 20, ..quick() };
    options.stream.max_message_bytes = 4096;
    let _relay = world.relay_with(options, world.writer.head()).await;
    world.relayed(50).await;
    assert_eq!(points(&take_to(&mut world.consumer().await, 50).await), of_epoch(1, 1..=50));
}

#[tokio::test]
async fn a_header_that_is_none_is_for_the_projector_to_find() {
    let world = World::start().await;
    world.append(10).await;
    let spoil = "UPDATE log.events SET header = '\\xff' WHERE position = 6";
    world.stack.postgres.sql("log", spoil).await.unwrap();
    let _relay = world.relay().await;
    let messages = take_to(&mut world.consumer().await, 10).await;
    assert_eq!(points(&messages), of_epoch(1, 1..=10));
    assert_eq!(envelopes(&messages)[5].header, [0xff]);
}
