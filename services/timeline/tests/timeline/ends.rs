//! Streams end with the token, with the post, and with the process, and say why.

use tasuki_contract::event::v1::{Effects, StreamKind};
use tasuki_contract::timeline::v1 as pb;
use tasuki_contract::timeline::v1::timeline_service_server::TimelineService as _;
use tasuki_privacy::PERSONAL;
use tonic::Code;

use crate::world::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_token_expires() {
    let world = World::start().await;
    let request = world.request_for(COORDINATOR, 2, pb::SubscribeRequest::default());
    let mut stream = world.timeline.subscribe(request).await.unwrap().into_inner();
    let status = next_item(&mut stream).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unauthenticated, "TOKEN_EXPIRED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_the_post_goes_to_others() {
    let world = World::start().await;
    let mut stream = world.subscribe(COORDINATOR, "").await.unwrap();
    assert!(history_of(&mut stream).await.is_empty());
    let others = holders(COORDINATOR, vec!["somebody_else".into()]);
    world.append(COORDINATOR, StreamKind::Post, COORDINATOR.id(), vec![(others, Effects::default())]).await;
    let status = next_item(&mut stream).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "POST_NOT_HELD"));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_waits_end_when_the_process_drains() {
    let world = World::start().await;
    let mut stream = world.subscribe(COORDINATOR, "").await.unwrap();
    assert!(history_of(&mut stream).await.is_empty());
    let waits = world.read(COORDINATOR, pb::ReadFeedRequest { wait_s: 25, ..Default::default() });
    let drain = async { world.drain.cancel() };
    let (answer, ()) = within("the end of the wait", async { tokio::join!(waits, drain) }).await;
    assert!(answer.unwrap().items.is_empty());
    let status = next_item(&mut stream).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Unavailable, "DRAINING"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_client_went_away_reads_nothing_more() {
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR]).await;
    for _ in 0..10 {
        world.refer(case, vec![]).await;
    }
    world.project().await;
    let mut stream = world.subscribe(COORDINATOR, "").await.unwrap();
    next_item(&mut stream).await.unwrap();
    drop(stream);
    // At most the one item that was about to be sent follows.
    for _ in 0..10 {
        world.history(COORDINATOR, case).await.unwrap();
    }
    assert!(world.reads("Subscribe").await <= 3);
}
