//! What `tasuki nats-creds` hands out: an ordinary client gets its own notices, and the server's own refusal for
//! everything else.

use std::process::Stdio;

use async_nats::{ConnectOptions, Event, ServerError};
use futures::StreamExt as _;
use serde_json::Value;
use tasuki::region;
use tasuki_bus::subjects;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;

use crate::up::{Directory, LIMIT, running, submit, tool, up};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/notices.py");

async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_client_gets_its_posts_notices_and_the_servers_refusal_for_all_else() {
    let directory = Directory::new();
    let state = directory.state();
    let _program = up(&state).await;
    let creds = tool(&state, &["nats-creds", "--post", "coordinator.desk"]).await;
    let agency = region::agency_id("coordinator").to_string();
    let post = region::post_id("coordinator.desk").to_string();
    let own = subjects::feed(&agency, &post).unwrap();

    let (sender, mut complaints) = mpsc::unbounded_channel();
    let options = ConnectOptions::with_credentials(&creds)
        .unwrap()
        .custom_inbox_prefix(subjects::inbox_prefix(&post).unwrap())
        // The client's own checks must not stand in for the server's.
        .skip_subject_validation(true)
        .event_callback(move |event| {
            if let Event::ServerError(ServerError::Other(text)) = event {
                let _ = sender.send(text);
            }
            std::future::ready(())
        });
    let client = within("connect", options.connect(running(&state).nats_url)).await.unwrap();
    let mut notices = client.subscribe(own.clone()).await.unwrap();
    let hospital = subjects::feed(
        &region::agency_id("hospital").to_string(),
        &region::post_id("hospital.discharge").to_string(),
    )
    .unwrap();
    let forbidden = [
        hospital.as_str(),
        "tasuki.feed.>",
        "tasuki.log.>",
        "tasuki.ping.views",
        "$JS.API.>",
        "$SYS.>",
        "_INBOX.>",
        ">",
    ];
    for subject in forbidden {
        let _refused = client.subscribe(subject.to_owned()).await.unwrap();
        let text = within(subject, complaints.recv()).await.unwrap();
        assert_eq!(text, format!("Permissions Violation for Subscription to \"{subject}\""));
    }
    for subject in [own.as_str(), "tasuki.log.case.x", "tasuki.ping.log", "$JS.API.STREAM.DELETE.TASUKI_LOG"]
    {
        client.publish(subject.to_owned(), "x".into()).await.unwrap();
        let text = within(subject, complaints.recv()).await.unwrap();
        assert_eq!(text, format!("Permissions Violation for Publish to \"{subject}\""));
    }

    // The server has read the subscription: it has answered what was said after it.
    let sent = submit(&state, "MARK-LABEL").await;
    let event = sent["receipt"]["eventId"].as_str().unwrap();
    let notice = loop {
        let notice = within("a notice", notices.next()).await.unwrap();
        let text = String::from_utf8(notice.payload.to_vec()).unwrap();
        assert!(!text.contains("MARK-LABEL"), "{text}");
        if text.contains(event) {
            break notice;
        }
    };
    let headers = notice.headers.clone().unwrap();
    let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned()).unwrap();
    let body: Value = serde_json::from_slice(&notice.payload).unwrap();
    assert_eq!(notice.subject.as_str(), own);
    assert_eq!(header("ce-specversion"), "1.0");
    assert_eq!(header("ce-source"), format!("/tasuki/feed/{agency}/{post}"));
    assert_eq!(header("ce-id"), format!("{}.{}", body["feed_epoch"], body["number"]));
    assert_eq!(header("ce-subject"), sent["caseId"].as_str().unwrap());
    assert!(header("ce-time").parse::<jiff::Timestamp>().is_ok(), "{}", header("ce-time"));
    assert_eq!(header("content-type"), "application/json");
    assert_eq!(body["post"], post.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_of_the_tour_prints_its_posts_notices() {
    let directory = Directory::new();
    let Some(python) = python_with_nats(&directory).await else {
        println!("SKIPPED: no python3 with nats-py and nkeys, and pip could not install them");
        return;
    };
    let state = directory.state();
    let _program = up(&state).await;
    let creds = directory.0.join("desk.creds");
    std::fs::write(&creds, tool(&state, &["nats-creds", "--post", "coordinator.desk"]).await).unwrap();

    let mut client = Command::new(python)
        .arg(CLIENT)
        .arg("--creds")
        .arg(&creds)
        .arg("--state")
        .arg(&state)
        .args(["--count", "1", "--also", "tasuki.log.>"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    while said.len() < 2 {
        said.push(within("what the client says", lines.next_line()).await.unwrap().expect("a line"));
    }
    said.sort();
    assert!(said[0].starts_with("listening to tasuki.feed."), "{said:?}");
    let violation = said[1].to_lowercase();
    assert!(violation.contains("permissions violation for subscription to \"tasuki.log.>\""), "{said:?}");

    let sent = submit(&state, "kita_A").await;
    let line = within("a notice", lines.next_line()).await.unwrap().expect("a notice");
    let notice: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(notice["headers"]["ce-specversion"], "1.0", "{line}");
    assert_eq!(notice["body"]["case"], sent["caseId"], "{line}");
    assert!(within("the client's end", client.wait()).await.unwrap().success());
}

/// An interpreter that has the client's packages: the system's, or one of its own in the directory.
async fn python_with_nats(directory: &Directory) -> Option<std::path::PathBuf> {
    let has = async |python: &std::path::Path| {
        let imports = Command::new(python).args(["-c", "import nats, nkeys"]).stderr(Stdio::null()).status();
        imports.await.is_ok_and(|status| status.success())
    };
    let system = std::path::PathBuf::from("python3");
    if has(&system).await {
        return Some(system);
    }
    let own = directory.0.join("venv");
    let python = own.join("bin/python");
    let made = Command::new(&system).args(["-m", "venv"]).arg(&own).output().await;
    if !made.is_ok_and(|made| made.status.success()) {
        return None;
    }
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", "nats-py", "nkeys"]).kill_on_drop(true);
    let installed = tokio::time::timeout(LIMIT, install.output()).await;
    let installed = matches!(installed, Ok(Ok(output)) if output.status.success());
    (installed && has(&python).await).then_some(python)
}
