//! Feeds: history, then live; resumed; polled; on record one by one; cursors.

use prost::Message as _;
use tasuki_contract::event::v1::{Effects, Relation};
use tasuki_contract::intake::v1::ReferralAcknowledged;
use tasuki_contract::timeline::v1 as pb;
use tasuki_contract::timeline::v1::timeline_service_server::TimelineService as _;
use tasuki_privacy::PERSONAL;
use tonic::Code;

use crate::world::*;

fn numbers(items: &[pb::FeedItem]) -> Vec<u64> {
    items.iter().map(|i| i.item.as_ref().unwrap().number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gives_history_then_lives_on_and_resumes_with_nothing_skipped_or_repeated() {
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR]).await;
    for _ in 0..70 {
        world.refer(case, vec![]).await;
    }
    world.project().await;
    let mut stream = world.subscribe(COORDINATOR, "").await.unwrap();
    let history = history_of(&mut stream).await;
    assert_eq!(numbers(&history), (1..=71).collect::<Vec<_>>());
    world.refer(case, vec![]).await;
    world.project().await;
    let live = next_item(&mut stream).await.unwrap();
    assert_eq!(live.item.as_ref().unwrap().number, 72);
    drop(stream);

    world.refer(case, vec![]).await;
    world.project().await;
    let mut again = world.subscribe(COORDINATOR, &history[9].cursor).await.unwrap();
    let rest = history_of(&mut again).await;
    assert_eq!(numbers(&rest), (11..=73).collect::<Vec<_>>());
    assert_eq!(rest[..61], history[10..], "a late subscriber gets what an early one got");
    let mut nothing = world.subscribe(COORDINATOR, &rest[62].cursor).await.unwrap();
    assert!(history_of(&mut nothing).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_polls_gets_the_same_and_may_wait_for_it() {
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR]).await;
    for _ in 0..4 {
        world.refer(case, vec![]).await;
    }
    world.project().await;
    let streamed = history_of(&mut world.subscribe(COORDINATOR, "").await.unwrap()).await;
    let mut polled = Vec::new();
    let mut cursor = String::new();
    loop {
        let request = pb::ReadFeedRequest { cursor, page_size: 2, wait_s: 0 };
        let part = world.read(COORDINATOR, request).await.unwrap();
        cursor = part.cursor;
        if part.items.is_empty() {
            break;
        }
        polled.extend(part.items);
    }
    assert_eq!(polled, streamed);
    assert_eq!(cursor, streamed[4].cursor);

    let waits =
        world.read(COORDINATOR, pb::ReadFeedRequest { cursor: cursor.clone(), wait_s: 25, page_size: 0 });
    let news = async {
        world.refer(case, vec![]).await;
        world.project().await;
    };
    let (woken, ()) = within("the awaited item", async { tokio::join!(waits, news) }).await;
    assert_eq!(numbers(&woken.unwrap().items), [6]);
    for wait_s in [-1, 26] {
        let refused =
            world.read(COORDINATOR, pb::ReadFeedRequest { wait_s, ..Default::default() }).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, "invalid: wait_s"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_slow_reader_has_not_taken_is_not_on_record() {
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR]).await;
    for _ in 0..20 {
        world.refer(case, vec![]).await;
    }
    world.project().await;
    let mut stream = world.subscribe(COORDINATOR, "").await.unwrap();
    until("the first read record", || async { world.reads("Subscribe").await == 1 }).await;
    // Other reads are served meanwhile; this stream goes no further by itself.
    for _ in 0..10 {
        world.history(COORDINATOR, case).await.unwrap();
    }
    assert_eq!(world.reads("Subscribe").await, 1);
    for taken in 1..=5 {
        next_item(&mut stream).await.unwrap();
        until("one more", || async { world.reads("Subscribe").await == taken + 1 }).await;
    }
    let on_record =
        world.sql("SELECT count(DISTINCT event_ids[1]) FROM log.reads WHERE method LIKE '%Subscribe'").await;
    assert_eq!(on_record, "6");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_post_or_made_up_is_invalid_and_one_of_another_epoch_resets() {
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR, HOSPITAL]).await;
    world.refer(case, vec![]).await;
    world.project().await;
    let own = world.read(COORDINATOR, pb::ReadFeedRequest::default()).await.unwrap().cursor;
    for (post, cursor) in [(HOSPITAL, own.as_str()), (COORDINATOR, "AAAA"), (COORDINATOR, "1")] {
        let polled =
            world.read(post, pb::ReadFeedRequest { cursor: cursor.into(), ..Default::default() }).await;
        let refused = [polled.unwrap_err(), world.subscribe(post, cursor).await.err().unwrap()];
        for status in refused {
            assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "CURSOR_INVALID"));
        }
    }
    let mut open = world.subscribe(COORDINATOR, &own).await.unwrap();
    world.sql("UPDATE views_1.cursor SET epoch = epoch + 1").await;
    let status = next_item(&mut open).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::FailedPrecondition, "CURSOR_RESET"));
    let status = world.subscribe(COORDINATOR, &own).await.err().unwrap();
    assert_eq!(reason(&status), "CURSOR_RESET");
    assert!(
        world.read(COORDINATOR, pb::ReadFeedRequest::default()).await.is_ok(),
        "from the beginning it goes on"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_that_joins_gets_the_visible_history_marked_as_such() {
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR, NURSERY]).await;
    world.project().await;
    let mut stream = world.subscribe(NURSERY, "").await.unwrap();
    assert!(history_of(&mut stream).await.is_empty());
    world
        .tell(
            COORDINATOR,
            case,
            ReferralAcknowledged::default(),
            joins(case, &[(NURSERY, Relation::Receiver)]),
        )
        .await;
    world.project().await;
    let opened = next_item(&mut stream).await.unwrap().item.unwrap();
    assert_eq!((opened.number, opened.history), (1, true));
    assert_eq!(opened.r#type, "tasuki.cases.v1.CaseOpened");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_keep_the_cursor_and_say_whether_the_views_are_behind() {
    use tasuki_contract::timeline::v1::subscribe_response::Message;
    use tokio_stream::StreamExt as _;
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR]).await;
    world.project().await;
    let mut stream = world.subscribe(COORDINATOR, "").await.unwrap();
    let history = history_of(&mut stream).await;
    world.tell(HOSPITAL, case, ReferralAcknowledged::default(), Effects::default()).await;
    // The views do not move: sooner or later the stream says so.
    let behind = async {
        loop {
            match stream.next().await.unwrap().unwrap().message.unwrap() {
                Message::Heartbeat(beat) if !beat.caught_up => return beat,
                Message::Heartbeat(_) => {}
                Message::Item(item) => panic!("{item:?}"),
            }
        }
    };
    assert_eq!(within("a heartbeat", behind).await.cursor, history[0].cursor);
    world.project().await;
    assert_eq!(numbers(&history_of(&mut stream).await), [2]);
}

/// What a client takes in one message unless it is told otherwise.
const MESSAGE_BYTES: usize = 4 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_ends_before_it_is_too_large_for_a_client_and_only_what_was_given_is_on_record() {
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR]).await;
    for _ in 0..6 {
        world.refer(case, vec![text("name_kanji", &"x".repeat(900_000))]).await;
    }
    world.project().await;
    let mut sizes = Vec::new();
    let mut got = Vec::new();
    let mut cursor = String::new();
    loop {
        let request = pb::ReadFeedRequest { cursor, page_size: 200, wait_s: 0 };
        let part = world.read(COORDINATOR, request).await.unwrap();
        assert!(part.encoded_len() < MESSAGE_BYTES);
        cursor = part.cursor;
        if part.items.is_empty() {
            break;
        }
        sizes.push(part.items.len());
        got.extend(part.items);
        let on_record = "SELECT sum(cardinality(event_ids)) FROM log.reads WHERE method LIKE '%/ReadFeed'";
        assert_eq!(world.sql(on_record).await, got.len().to_string());
    }
    assert_eq!(sizes, [2, 1, 1, 1, 1, 1], "the case itself is small");
    assert_eq!(numbers(&got), (1..=7).collect::<Vec<_>>());

    let mut paged = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = pb::GetTimelineRequest {
            case_id: case.to_string(),
            page_size: 200,
            page_token,
            ..Default::default()
        };
        let request = world.request(COORDINATOR, message);
        let part = world.timeline.get_timeline(request).await.unwrap().into_inner();
        assert!(part.encoded_len() < MESSAGE_BYTES && !part.items.is_empty());
        paged.extend(part.items);
        let on_record = "SELECT sum(cardinality(event_ids)) FROM log.reads WHERE method LIKE '%/GetTimeline'";
        assert_eq!(world.sql(on_record).await, paged.len().to_string());
        page_token = part.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let streamed: Vec<_> = got.into_iter().filter_map(|item| item.item).collect();
    assert_eq!(paged, streamed);
}
