//! A notice as an ordinary client sees it.

use futures::StreamExt;
use tasuki_bus::{BusError, Notice, publish_notice, subjects, subscribe_notices};

use crate::common::{Server, within};

fn notice() -> Notice {
    Notice {
        agency: "kita".into(),
        post: "kita_A".into(),
        feed_epoch: 2,
        number: 41,
        case: Some("01939f3e-0000-7000-8000-0000000000c1".into()),
        event: "01939f3e-0000-7000-8000-0000000000e1".into(),
    }
}

#[tokio::test]
async fn a_notice_is_a_cloud_event_in_binary_mode_without_content() {
    let server = Server::start().await;
    let bus = server.service().await;
    let mut notices = subscribe_notices(&bus, "kita", "kita_A").await.unwrap();
    bus.sync().await.unwrap();
    publish_notice(&bus, &notice(), 1_764_000_000_123_456).await.unwrap();

    let received = within("notice", notices.next()).await.unwrap().unwrap();
    assert_eq!(received.subject, subjects::feed("kita", "kita_A").unwrap());
    let expected = [
        ("ce-id", "2.41"),
        ("ce-source", "/tasuki/feed/kita/kita_A"),
        ("ce-specversion", "1.0"),
        ("ce-subject", "01939f3e-0000-7000-8000-0000000000c1"),
        ("ce-time", "2025-11-24T16:00:00.123456Z"),
        ("ce-type", "jp.tasuki.feed.notice.v1"),
        ("content-type", "application/json"),
    ];
    let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(received.headers, expected, "these and no others");
    assert_eq!(
        received.body,
        r#"{"agency":"kita","post":"kita_A","feed_epoch":2,"number":41,"case":"01939f3e-0000-7000-8000-0000000000c1","event":"01939f3e-0000-7000-8000-0000000000e1"}"#
    );
    assert_eq!(received.notice, notice());
}

#[tokio::test]
async fn a_repeated_notice_is_the_same_bytes_under_the_same_id() {
    let server = Server::start().await;
    let bus = server.service().await;
    let mut notices = subscribe_notices(&bus, "kita", "kita_A").await.unwrap();
    bus.sync().await.unwrap();
    for _ in 0..2 {
        publish_notice(&bus, &notice(), 5).await.unwrap();
    }
    let first = within("notice", notices.next()).await.unwrap().unwrap();
    let second = within("notice", notices.next()).await.unwrap().unwrap();
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_notice_without_a_case_has_no_subject_attribute() {
    let server = Server::start().await;
    let bus = server.service().await;
    let mut notices = subscribe_notices(&bus, "kita", "kita_A").await.unwrap();
    bus.sync().await.unwrap();
    publish_notice(&bus, &Notice { case: None, ..notice() }, 0).await.unwrap();
    let received = within("notice", notices.next()).await.unwrap().unwrap();
    assert!(received.headers.iter().all(|(name, _)| name != "ce-subject"));
    assert_eq!(received.notice.case, None);
}

#[tokio::test]
async fn a_notice_whose_ids_would_reach_further_is_not_sent() {
    let server = Server::start().await;
    let bus = server.service().await;
    let mut all = subscribe_all(&server).await;
    let refused = publish_notice(&bus, &Notice { post: "kita_A.x".into(), ..notice() }, 0).await;
    assert_eq!(refused, Err(BusError::InvalidToken { what: "post" }));
    let refused = publish_notice(&bus, &Notice { case: Some("a\r\nb".into()), ..notice() }, 0).await;
    assert_eq!(refused, Err(BusError::InvalidHeader { name: "ce-subject".into() }));
    publish_notice(&bus, &notice(), 0).await.unwrap();
    let first = within("the good one", all.next()).await.unwrap();
    assert_eq!(first.headers.unwrap().get("ce-id").unwrap().as_str(), "2.41");
}

#[tokio::test]
async fn a_body_that_is_no_notice_is_reported_and_the_next_one_arrives() {
    let server = Server::start().await;
    let bus = server.service().await;
    let mut notices = subscribe_notices(&bus, "kita", "kita_A").await.unwrap();
    bus.sync().await.unwrap();
    let creds = server.operator.service_creds().unwrap();
    let raw = async_nats::ConnectOptions::with_credentials(&creds).unwrap();
    let raw = raw.connect(server.nats.url()).await.unwrap();
    raw.publish("tasuki.feed.kita.kita_A", "{}".into()).await.unwrap();
    raw.flush().await.unwrap();
    assert_eq!(within("report", notices.next()).await.unwrap(), Err(BusError::Malformed("notice")));
    publish_notice(&bus, &notice(), 0).await.unwrap();
    assert!(within("notice", notices.next()).await.unwrap().is_ok());
}

/// What an ordinary client of ours sees of everything.
async fn subscribe_all(server: &Server) -> async_nats::Subscriber {
    let creds = server.operator.service_creds().unwrap();
    let raw = async_nats::ConnectOptions::with_credentials(&creds).unwrap();
    let raw = raw.connect(server.nats.url()).await.unwrap();
    let all = raw.subscribe("tasuki.>").await.unwrap();
    // Round trip: nobody answers there, and the server says so after it has read the above.
    raw.request("anybody", "".into()).await.unwrap_err();
    all
}
