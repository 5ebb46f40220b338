//! What the credentials of one post allow, in the server's own words. (DESIGN, "Who calls")

use std::time::{Duration, SystemTime};

use async_nats::{ConnectOptions, Event, ServerError};
use futures::StreamExt;
use tasuki_bus::{Bus, BusError, BusEvent, BusOptions, Notice, publish_notice, subjects, subscribe_notices};
use tokio::sync::{broadcast, mpsc};

use crate::common::{Server, until, within};

const AGENCY: &str = "01939f3e-0000-7000-8000-00000000000a";
const POST: &str = "01939f3e-0000-7000-8000-0000000000a1";
const OTHER_POST: &str = "01939f3e-0000-7000-8000-0000000000a2";
const OTHER_AGENCY: &str = "01939f3e-0000-7000-8000-00000000000b";

fn in_an_hour() -> SystemTime {
    SystemTime::now() + Duration::from_secs(3600)
}

fn notice(post: &str, number: u64) -> Notice {
    Notice {
        agency: AGENCY.into(),
        post: post.into(),
        feed_epoch: 1,
        number,
        case: None,
        event: "01939f3e-0000-7000-8000-0000000000e1".into(),
    }
}

/// An ordinary NATS client, without our wrapper, holding the post's credentials.
async fn ordinary_client(server: &Server) -> (async_nats::Client, mpsc::UnboundedReceiver<String>) {
    let creds = server.operator.post_creds(AGENCY, POST, in_an_hour()).unwrap();
    let (sender, complaints) = mpsc::unbounded_channel();
    let options = ConnectOptions::with_credentials(&creds)
        .unwrap()
        .custom_inbox_prefix(subjects::inbox_prefix(POST).unwrap())
        // The client's own checks must not stand in for the server's.
        .skip_subject_validation(true)
        .event_callback(move |event| {
            if let Event::ServerError(ServerError::Other(text)) = event {
                sender.send(text).unwrap();
            }
            std::future::ready(())
        });
    (within("connect", options.connect(server.nats.url())).await.unwrap(), complaints)
}

#[tokio::test]
async fn a_post_receives_its_own_notices() {
    let server = Server::start().await;
    let creds = server.operator.post_creds(AGENCY, POST, in_an_hour()).unwrap();
    let post = Bus::connect(&BusOptions::post(server.nats.url(), creds, POST).unwrap()).await.unwrap();
    let mut notices = subscribe_notices(&post, AGENCY, POST).await.unwrap();

    let service = server.service().await;
    // A post cannot ask the server whether it has read the subscription, so the notice may be early.
    let mut next = std::pin::pin!(notices.next());
    let publishing = until("notice", || async {
        publish_notice(&service, &notice(OTHER_POST, 1), 0).await.unwrap();
        publish_notice(&service, &notice(POST, 7), 0).await.unwrap();
        service.sync().await.unwrap();
        None
    });
    let received = tokio::select! { received = &mut next => received, () = publishing => None };
    assert_eq!(received.unwrap().unwrap().notice, notice(POST, 7));
}

#[tokio::test]
async fn every_other_subscription_of_a_post_meets_the_servers_permission_violation() {
    let server = Server::start().await;
    let (client, mut complaints) = ordinary_client(&server).await;
    let forbidden = [
        subjects::feed(AGENCY, OTHER_POST).unwrap(),
        subjects::feed(OTHER_AGENCY, POST).unwrap(),
        format!("tasuki.feed.{AGENCY}.*"),
        format!("tasuki.feed.*.{POST}"),
        "tasuki.feed.>".into(),
        format!("tasuki.feed.{AGENCY}.{POST}.>"),
        "tasuki.log.>".into(),
        subjects::LOG_PAGE.into(),
        "tasuki.ping.log".into(),
        "_INBOX.>".into(),
        "_INBOX.someone.else".into(),
        format!("_INBOX_{OTHER_POST}.>"),
        "$JS.API.>".into(),
        "$JS.EVENT.>".into(),
        "$SYS.>".into(),
        "*".into(),
        ">".into(),
    ];
    for subject in forbidden {
        let _subscription = client.subscribe(subject.clone()).await.unwrap();
        let text = within(&subject, complaints.recv()).await.unwrap();
        assert_eq!(text, format!("Permissions Violation for Subscription to \"{subject}\""));
    }

    // Under a queue group's name the same subject is asked for in another way.
    let subject = subjects::feed(AGENCY, OTHER_POST).unwrap();
    let _subscription = client.queue_subscribe(subject.clone(), "group".into()).await.unwrap();
    let text = within("queue group", complaints.recv()).await.unwrap();
    assert!(text.starts_with("Permissions Violation for Subscription to"), "{text}");
    assert!(text.contains(&subject), "{text}");
}

#[tokio::test]
async fn every_publish_of_a_post_meets_the_servers_permission_violation() {
    let server = Server::start().await;
    let (_, stream) = server.stream().await;
    let (client, mut complaints) = ordinary_client(&server).await;
    let forbidden = [
        subjects::feed(AGENCY, POST).unwrap(),
        subjects::feed(AGENCY, OTHER_POST).unwrap(),
        subjects::LOG_PAGE.into(),
        "tasuki.ping.views".into(),
        format!("_INBOX_{POST}.self"),
        "_INBOX.someone.else".into(),
        "$JS.API.STREAM.DELETE.TASUKI_LOG".into(),
        "$JS.API.STREAM.MSG.GET.TASUKI_LOG".into(),
        "$SYS.REQ.SERVER.PING".into(),
        "anything".into(),
    ];
    for subject in forbidden {
        client.publish(subject.clone(), "x".into()).await.unwrap();
        let text = within(&subject, complaints.recv()).await.unwrap();
        assert_eq!(text, format!("Permissions Violation for Publish to \"{subject}\""));
    }
    let state = stream.state().await.unwrap().expect("the stream is still there");
    assert_eq!(state.last_sequence, 0, "nothing was stored");
}

#[tokio::test]
async fn what_a_post_may_not_subscribe_to_does_not_reach_it() {
    let server = Server::start().await;
    let (client, mut complaints) = ordinary_client(&server).await;
    let mut own = client.subscribe(subjects::feed(AGENCY, POST).unwrap()).await.unwrap();
    let mut everything = client.subscribe(">").await.unwrap();
    let mut others = client.subscribe(subjects::feed(AGENCY, OTHER_POST).unwrap()).await.unwrap();
    for _ in 0..2 {
        within("violation", complaints.recv()).await.unwrap();
    }

    let service = server.service().await;
    publish_notice(&service, &notice(OTHER_POST, 1), 0).await.unwrap();
    publish_notice(&service, &notice(POST, 2), 0).await.unwrap();
    // The server delivers in order: once the second is here, the first would be.
    within("own notice", own.next()).await.unwrap();
    assert!(futures::FutureExt::now_or_never(others.next()).is_none());
    assert!(futures::FutureExt::now_or_never(everything.next()).is_none());
}

#[tokio::test]
async fn credentials_past_their_end_are_refused() {
    let server = Server::start().await;
    let past = SystemTime::now() - Duration::from_secs(60);
    let creds = server.operator.post_creds(AGENCY, POST, past).unwrap();
    let options = BusOptions::post(server.nats.url(), creds, POST).unwrap();
    let refused = within("refusal", Bus::connect(&options)).await;
    assert_eq!(refused.unwrap_err(), BusError::Refused);
}

#[tokio::test]
async fn the_server_ends_a_connection_when_its_credentials_end() {
    let server = Server::start().await;
    // The end is in whole seconds: two leave at least one to connect.
    let soon = SystemTime::now() + Duration::from_secs(2);
    let creds = server.operator.post_creds(AGENCY, POST, soon).unwrap();
    let post = Bus::connect(&BusOptions::post(server.nats.url(), creds, POST).unwrap()).await.unwrap();
    let mut events = post.events();
    let text = within("end of the credentials", server_error(&mut events)).await;
    assert_eq!(text.to_lowercase(), "user authentication expired");
}

#[tokio::test]
async fn revoked_credentials_are_cut_off_by_a_reload_and_nobody_else_is() {
    let server = Server::start().await;
    let (lost, kept) = (
        server.operator.post_user(AGENCY, POST, in_an_hour()).unwrap(),
        server.operator.post_user(AGENCY, POST, in_an_hour()).unwrap(),
    );
    let connect = async |creds: &str| {
        let options = BusOptions::post(server.nats.url(), creds.to_owned(), POST).unwrap();
        within("connect", Bus::connect(&options)).await
    };
    let (cut, stays) = (connect(&lost.creds).await.unwrap(), connect(&kept.creds).await.unwrap());
    let mut events = cut.events();

    let file = server.nats.store_dir().parent().unwrap().join("nats.conf");
    let before = std::fs::read_to_string(&file).unwrap();
    let revoking = server.operator.server_config_revoking(&[(lost.user, SystemTime::now())]).unwrap();
    let after = before.replace(&server.operator.server_config().unwrap(), &revoking);
    assert_ne!(after, before);
    std::fs::write(&file, after).unwrap();
    let reload = ["-HUP".to_owned(), server.nats.pid().unwrap().to_string()];
    assert!(std::process::Command::new("kill").args(reload).status().unwrap().success());

    let text = within("the server's word", server_error(&mut events)).await;
    assert_eq!(text.to_lowercase(), "user authentication revoked");
    assert_eq!(connect(&lost.creds).await.unwrap_err(), BusError::Refused);
    connect(&kept.creds).await.unwrap();
    assert!(stays.is_connected() && *stays.generation().borrow() == 1);
}

#[tokio::test]
async fn without_credentials_of_this_operator_nobody_gets_in() {
    let server = Server::start().await;
    let nobody = BusOptions::service(server.nats.url(), None, "test");
    assert_eq!(within("refusal", Bus::connect(&nobody)).await.unwrap_err(), BusError::Refused);

    let stranger = tasuki_bus::Operator::generate().service_creds().unwrap();
    let stranger = BusOptions::service(server.nats.url(), Some(stranger), "test");
    assert_eq!(within("refusal", Bus::connect(&stranger)).await.unwrap_err(), BusError::Refused);
}

#[tokio::test]
async fn credentials_issued_while_the_server_runs_work_without_a_reload() {
    let server = Server::start().await;
    let keys = server.operator.keys().unwrap();
    let elsewhere = tasuki_bus::Operator::from_keys(&keys).unwrap();
    for post in ["kita_A", "kita_B", "kita_C"] {
        let creds = elsewhere.post_creds(AGENCY, post, in_an_hour()).unwrap();
        let options = BusOptions::post(server.nats.url(), creds, post).unwrap();
        let bus = within("connect", Bus::connect(&options)).await.unwrap();
        subscribe_notices(&bus, AGENCY, post).await.unwrap();
    }
}

async fn server_error(events: &mut broadcast::Receiver<BusEvent>) -> String {
    loop {
        if let BusEvent::ServerError(text) = events.recv().await.unwrap() {
            return text;
        }
    }
}
