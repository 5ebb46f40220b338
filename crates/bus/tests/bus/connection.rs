//! Connections that outlive the server, and pings over them.

use tasuki_bus::{Bus, BusError, BusEvent, Notice, Ping, publish_notice, publish_ping, subscribe_pings};

use crate::common::{Server, until, within};

#[tokio::test]
async fn a_connection_waits_for_a_server_that_is_not_there_yet() {
    let server = Server::start().await;
    server.nats.kill().await.unwrap();
    let options = server.service_options();
    let connecting = tokio::spawn(async move { Bus::connect(&options).await });
    server.nats.restart().await.unwrap();
    within("connect", connecting).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_comes_back_after_the_server_was_killed() {
    let server = Server::start().await;
    let bus = server.service().await;
    let mut generation = bus.generation();
    let mut events = bus.events();
    let before = *generation.borrow();
    server.nats.kill().await.unwrap();
    assert_eq!(within("news", events.recv()).await.unwrap(), BusEvent::Disconnected);
    assert_eq!(publish_ping(&bus, Ping::Log, 1).await, Err(BusError::Disconnected));
    server.nats.restart().await.unwrap();
    within("reconnection", generation.wait_for(|now| *now > before)).await.unwrap();
    bus.flush().await.unwrap();
    assert!(bus.is_connected());
}

#[tokio::test]
async fn a_ping_says_how_far_the_head_is_at_least() {
    let server = Server::start().await;
    let (sender, receiver) = (server.service().await, server.service().await);
    let mut log = subscribe_pings(&receiver, Ping::Log).await.unwrap();
    let mut views = subscribe_pings(&receiver, Ping::Views).await.unwrap();
    for head in [3, 5, 4] {
        publish_ping(&sender, Ping::Log, head).await.unwrap();
    }
    publish_ping(&sender, Ping::Views, 2).await.unwrap();

    let mut seen = 0;
    while seen < 5 {
        seen = within("ping", log.next()).await.unwrap();
    }
    assert_eq!(seen, 5);
    assert_eq!(within("ping", views.next()).await, Some(2));
}

#[tokio::test]
async fn pings_go_on_after_a_restart() {
    let server = Server::start().await;
    let (sender, receiver) = (server.service().await, server.service().await);
    let mut log = subscribe_pings(&receiver, Ping::Log).await.unwrap();
    server.nats.kill().await.unwrap();
    server.nats.restart().await.unwrap();
    // A ping may be lost while either side is away; the next one is not.
    let mut arrived = std::pin::pin!(log.next());
    let head = until("ping", || {
        let _ = futures::FutureExt::now_or_never(publish_ping(&sender, Ping::Log, 9));
        futures::future::ready(futures::FutureExt::now_or_never(arrived.as_mut()))
    })
    .await;
    assert_eq!(head, Some(9));
}

#[tokio::test]
async fn notices_hold_nobody_up_while_the_server_is_away() {
    let server = Server::start().await;
    let bus = server.service().await;
    let mut events = bus.events();
    server.nats.kill().await.unwrap();
    assert_eq!(within("news", events.recv()).await.unwrap(), BusEvent::Disconnected);
    let notice = Notice {
        agency: "kita".into(),
        post: "kita_A".into(),
        feed_epoch: 1,
        number: 1,
        case: None,
        event: "01939f3e-0000-7000-8000-0000000000e1".into(),
    };
    // Many more than the client's queue takes: the first wait in it, the rest are told to go.
    let refused = within("all of them", async {
        let mut refused = 0;
        for _ in 0..20_000 {
            match publish_notice(&bus, &notice, 0).await {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error, BusError::Disconnected);
                    refused += 1;
                }
            }
        }
        refused
    })
    .await;
    assert!(refused > 0);
}
