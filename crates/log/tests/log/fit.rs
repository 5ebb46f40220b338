//! A log knows the keyring that it was begun with, and lets no other one near.

use tasuki_log::{Keyring, LogError, fit};
use uuid::Uuid;

use crate::common::{Log, beginning, command, consultation};

async fn refused(log: &Log, keyring: &Keyring) -> &'static str {
    match fit(&log.database, keyring).await {
        Err(LogError::OtherKeyring { key }) => key,
        other => panic!("{other:?}"),
    }
}

/// The first keyring with one line of the second.
fn mixed(first: &Keyring, second: &Keyring, line: &str) -> Keyring {
    let (first, second) = (first.to_text(), second.to_text());
    let lines = first.lines().zip(second.lines());
    let text: Vec<&str> = lines.map(|(a, b)| if a.starts_with(line) { b } else { a }).collect();
    Keyring::from_text(&text.join("\n")).unwrap()
}

#[tokio::test]
async fn the_first_keyring_is_that_of_the_log_and_every_other_one_is_refused() {
    let log = Log::fresh().await;
    let other = Keyring::generate().unwrap();
    // Nothing was appended yet.
    fit(&log.database, &log.keyring).await.unwrap();
    fit(&log.database, &log.keyring).await.unwrap();
    for (line, key) in [("master", "master"), ("signing", "signing"), ("digest", "digest")] {
        assert_eq!(refused(&log, &mixed(&log.keyring, &other, line)).await, key);
    }
    let text = fit(&log.database, &other).await.unwrap_err().to_string();
    assert!(text.contains("keyring") && text.contains("copy"), "{text}");
}

#[tokio::test]
async fn of_two_keyrings_that_come_to_an_empty_log_at_once_one_is_refused() {
    let log = Log::fresh().await;
    let keyrings = [(); 4].map(|()| Keyring::generate().unwrap());
    let results = futures::future::join_all(keyrings.iter().map(|k| fit(&log.database, k))).await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1, "{results:?}");
}

#[tokio::test]
async fn a_log_from_before_the_fingerprints_is_asked_by_what_it_holds() {
    let other = Keyring::generate().unwrap();
    let sealed = Log::fresh().await;
    sealed.writer.append(command(vec![consultation(Uuid::now_v7(), 1)])).await.unwrap();
    assert_eq!(refused(&sealed, &mixed(&sealed.keyring, &other, "master")).await, "master");
    assert_eq!(refused(&sealed, &mixed(&sealed.keyring, &other, "signing")).await, "signing");
    let open = Log::fresh().await;
    open.writer.append(beginning()).await.unwrap();
    assert_eq!(refused(&open, &other).await, "signing");
    // What was refused has left no mark.
    fit(&sealed.database, &sealed.keyring).await.unwrap();
    fit(&open.database, &open.keyring).await.unwrap();
}
