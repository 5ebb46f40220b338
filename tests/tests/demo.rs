//! The demonstration, as a user runs it: the numbers in its last line are recomputed from what it left behind.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command;

use tasuki::demo::SUBSCRIBED;
use tasuki::region;
use tasuki::up::{Running, StateArgs};
use tasuki_contract::timeline::v1::ReadFeedRequest;
use tasuki_tests::{Caller, Program};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tasuki-program");

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn demo(state: &Path, lang: &str) -> String {
    let output = Command::new(PROGRAM)
        .args(["demo", "--lang", lang, "--state-dir"])
        .arg(state)
        .env("COLUMNS", "160")
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    printed
}

/// The three numbers of the last line.
fn counts(printed: &str) -> [u64; 3] {
    let last = printed.lines().last().unwrap();
    let rest = last.strip_prefix("demo ok: events=").unwrap();
    let (events, rest) = rest.split_once(" agencies=").unwrap();
    let (agencies, delivered) = rest.split_once(" delivered=").unwrap();
    [events, agencies, delivered].map(|number| number.parse().unwrap())
}

async fn events_in_the_log(running: &Running) -> u64 {
    let (client, connection) =
        tokio_postgres::connect(&running.database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let row = client.query_one("SELECT count(*), max(position) FROM log.events", &[]).await.unwrap();
    let (count, head): (i64, i64) = (row.get(0), row.get(1));
    assert_eq!(count, head, "positions are gapless");
    count.unsigned_abs()
}

/// What a client that comes late and can only poll gets of a post's feed.
async fn items_in_the_feed(program: &Program, state: &StateArgs, slug: &str) -> u64 {
    let token = state.token(slug, None, 600).unwrap();
    let caller = Caller { channel: program.channel().await.unwrap(), token, post: region::post_id(slug) };
    let mut cursor = String::new();
    let mut items = 0;
    loop {
        let request = caller.request(ReadFeedRequest { cursor, wait_s: 0, page_size: 7 });
        let page = caller.timeline().read_feed(request).await.unwrap().into_inner();
        if page.items.is_empty() {
            return items;
        }
        items += page.items.len() as u64;
        cursor = page.cursor;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_line_says_what_the_log_and_the_feeds_hold_each_time_it_is_played() {
    let directory =
        Directory(std::env::temp_dir().join(format!("tasuki-demo-test-{}", uuid::Uuid::now_v7())));
    let japanese = demo(&directory.0, "ja");
    let english = demo(&directory.0, "en");
    let said = counts(&english);
    assert_eq!(counts(&japanese), said, "a second demonstration begins anew");
    assert!(japanese.contains("主担当") && english.contains("Responsible for kita_A"));

    let state = StateArgs { state_dir: directory.0.clone(), region: None };
    let path = directory.0.display().to_string();
    let program = Program::start(Path::new(PROGRAM), &["up", "--state-dir", &path], &[]).await.unwrap();
    let events = events_in_the_log(&state.running().unwrap()).await;
    let agencies: std::collections::BTreeSet<_> =
        SUBSCRIBED.iter().map(|slug| slug.split_once('.').unwrap().0).collect();
    let mut delivered = 0;
    for slug in SUBSCRIBED {
        delivered += items_in_the_feed(&program, &state, slug).await;
    }
    assert_eq!(said, [events, agencies.len() as u64, delivered]);
    assert!(program.terminate().await.unwrap());
}
