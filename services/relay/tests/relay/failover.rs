//! One leader, and another one when it is gone.

use crate::common::{World, of_epoch, points, take_to, until, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_is_killed_the_standby_goes_on() {
    let world = World::start().await;
    let leader = world.relay().await;
    let first = world.led().await;
    let standby = world.relay().await;
    world.append(200).await;
    world.relayed(200).await;
    assert_eq!(world.leaders().await, first, "a standby takes nothing away");

    // In the midst of feeding: the task ends where it stands, as with its process.
    let (_, ended) = tokio::join!(world.append(400), async {
        world.relayed_past(200).await;
        leader.task.abort();
        leader.task.await
    });
    assert!(ended.unwrap_err().is_cancelled());
    let second = until("another leader", || async {
        Some(world.leaders().await).filter(|pid| !pid.is_empty() && *pid != first)
    })
    .await;
    assert_eq!(second.lines().count(), 1);
    world.relayed(600).await;
    assert_eq!(points(&take_to(&mut world.consumer().await, 600).await), of_epoch(1, 1..=600));
    assert!(!standby.task.is_finished());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_without_its_session_makes_way_and_stands_by() {
    let world = World::start().await;
    let relays = [world.relay().await, world.relay().await];
    let mut end = 0;
    for _ in 0..3 {
        let pid = world.led().await;
        end = world.append(100).await;
        world.stack.postgres.sql("log", &format!("SELECT pg_terminate_backend({pid})")).await.unwrap();
        let next = until("another session to lead", || async {
            Some(world.leaders().await).filter(|now| !now.is_empty() && *now != pid)
        })
        .await;
        assert_eq!(next.lines().count(), 1, "never two");
    }
    assert_eq!(world.append(10).await, end + 10);
    world.relayed(end + 10).await;
    let messages = take_to(&mut world.consumer().await, end + 10).await;
    assert_eq!(points(&messages), of_epoch(1, 1..=end + 10));
    for relay in relays {
        assert!(!relay.task.is_finished());
        relay.cancel.cancel();
        within("the relay to end", relay.task).await.unwrap();
    }
    until("the lock to be free", || async { world.leaders().await.is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn a_cancelled_standby_ends_and_the_leader_does_not_notice() {
    let world = World::start().await;
    let leader = world.relay().await;
    let pid = world.led().await;
    let standby = world.relay().await;
    standby.cancel.cancel();
    within("the standby to end", standby.task).await.unwrap();
    world.append(5).await;
    world.relayed(5).await;
    assert_eq!(world.leaders().await, pid);
    assert!(!leader.task.is_finished());
}
