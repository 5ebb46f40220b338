//! Who is woken by what: streams and waits look when their own post has news, and by themselves beneath.

use tasuki_contract::intake::v1::ReferralAcknowledged;
use tasuki_contract::timeline::v1 as pb;
use tasuki_contract::timeline::v1::timeline_service_server::TimelineService as _;
use tasuki_privacy::PERSONAL;

use crate::world::*;

/// Looks at the feeds that are under way: each waits for the lock that a test holds.
async fn looks(world: &World) -> usize {
    let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'views_1.feed'::regclass AND NOT granted \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    world.sql(waiting).await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_without_news_is_not_woken() {
    let world = World::by_signals_alone().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR, HOSPITAL]).await;
    let mut streams = Vec::new();
    world.project().await;
    for post in [COORDINATOR, NURSERY, STRANGER] {
        let mut stream = world.subscribe(post, "").await.unwrap();
        history_of(&mut stream).await;
        streams.push(stream);
    }
    let polling = world.timeline.clone();
    let request = world.request(NURSES, pb::ReadFeedRequest { wait_s: 25, ..Default::default() });
    let waits = tokio::spawn(async move { polling.read_feed(request).await });
    until("everybody to be heard", || async { world.signals.posts_heard() == 4 }).await;
    world.refer(case, vec![]).await;
    let told = world.project_in_silence().await;

    let lock = world.hold("LOCK TABLE views_1.feed IN ACCESS EXCLUSIVE MODE").await;
    for batch in told {
        let grown = batch.news.iter().map(|news| (news.post, news.number));
        world.signals.tell(batch.position, batch.feed_epoch, grown);
    }
    until("the look of the post that has news", || async { looks(&world).await == 1 }).await;
    // Told once more, as by the ping of one's own commit: nobody comes to look.
    let position = world.platform.reader().head().await.unwrap().0;
    world.signals.tell(position, 1, []);
    assert_eq!(looks(&world).await, 1, "only that one");
    world.signals.tell_everyone(position);
    until("a look of everyone", || async { looks(&world).await == 4 }).await;
    drop(lock);
    assert_eq!(next_item(&mut streams[0]).await.unwrap().item.unwrap().number, 2);
    waits.abort();
    drop(streams);
    until("nothing to be kept", || async { world.signals.posts_heard() == 0 }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_and_a_wait_are_woken_by_the_news_of_their_post_alone() {
    let world = World::by_signals_alone().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR, HOSPITAL]).await;
    world.project().await;
    let mut stream = world.subscribe(COORDINATOR, "").await.unwrap();
    history_of(&mut stream).await;
    let cursor = world.read(HOSPITAL, pb::ReadFeedRequest::default()).await.unwrap().cursor;
    let waits = world.read(HOSPITAL, pb::ReadFeedRequest { cursor, wait_s: 25, ..Default::default() });
    let news = async {
        until("the wait to begin", || async { world.signals.posts_heard() == 2 }).await;
        world.refer(case, vec![]).await;
        world.project().await;
    };
    let (polled, ()) = within("the awaited item", async { tokio::join!(waits, news) }).await;
    assert_eq!(polled.unwrap().items.len(), 1);
    for number in 2..30 {
        let item = next_item(&mut stream).await.unwrap().item.unwrap();
        assert_eq!(item.number, number);
        world.refer(case, vec![]).await;
        world.project().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_that_are_lost_cost_no_more_than_the_next_look() {
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR]).await;
    world.project_in_silence().await;
    let mut stream = world.subscribe(COORDINATOR, "").await.unwrap();
    let history = history_of(&mut stream).await;
    let request = pb::ReadFeedRequest { cursor: history[0].cursor.clone(), wait_s: 25, ..Default::default() };
    let waits = world.read(COORDINATOR, request);
    let news = async {
        world.tell(HOSPITAL, case, ReferralAcknowledged::default(), Default::default()).await;
        world.project_in_silence().await;
        next_item(&mut stream).await.unwrap()
    };
    let (polled, streamed) = within("both without a signal", async { tokio::join!(waits, news) }).await;
    assert_eq!(polled.unwrap().items, [streamed]);
}
