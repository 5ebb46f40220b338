//! A rebuild beside readers and a live writer.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use common::Database;
use common::history::{History, POST, id};
use tasuki_domain::ids::PostId;
use tasuki_views::{FeedRow, Projection, ViewError, rebuild};
use tokio_util::sync::CancellationToken;

/// Reads a feed over and over: it must only ever grow, and what was read must stay as it was.
async fn keep_reading(views: tasuki_views::Views, post: PostId, until: CancellationToken) -> usize {
    let mut known: Vec<FeedRow> = Vec::new();
    let (mut rounds, mut position) = (0, 0);
    while !until.is_cancelled() {
        let rows = views.feed_after(post, 0, 1_000_000).await.unwrap();
        assert!(rows.len() >= known.len() && rows[..known.len()] == known, "the feed went back");
        known = rows;
        let now = views.position().await.unwrap().position;
        assert!(now >= position, "the views went back from {position} to {now}");
        position = now;
        rounds += 1;
    }
    rounds
}

/// A live projector: folds what is in the log, and takes the lead again when it is fenced off.
async fn keep_projecting(url: String, log: Vec<tasuki_contract::event::v1::Envelope>) -> usize {
    let mut leads = 0;
    loop {
        let mut projection = Projection::lead(&url).await.unwrap();
        leads += 1;
        loop {
            let from = projection.position() as usize;
            if from == log.len() {
                return leads;
            }
            match projection.apply(&log[from..(from + 3).min(log.len())]).await {
                Ok(_) => {}
                Err(ViewError::Fenced) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_and_writes_go_on_during_rebuilds() {
    let seed = common::seeds(1)[0];
    println!("TASUKI_SEED={seed}");
    let database = Database::new().await;
    let history = History::random(seed, 18, 4, 4_000);
    database.append(&history.rows).await;
    let done = CancellationToken::new();
    let readers: Vec<_> = (0..3)
        .map(|n| {
            let reader = keep_reading(database.views.clone(), PostId(id(POST, n)), done.clone());
            tokio::spawn(reader)
        })
        .collect();
    let projecting = tokio::spawn(keep_projecting(database.url.clone(), history.rows.clone()));
    let mut rebuilds = 0;
    while !projecting.is_finished() || rebuilds < 2 {
        rebuild(&database.url).await.unwrap();
        rebuilds += 1;
    }
    let leads = projecting.await.unwrap();
    assert!(leads >= 2, "no rebuild met the live projector");
    let before = database.dump().await;
    rebuild(&database.url).await.unwrap();
    done.cancel();
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
    assert!(before == database.dump().await, "seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_rebuild_at_a_time_and_a_dead_one_leaves_nothing() {
    let database = Database::new().await;
    let history = History::random(1, 18, 4, 2_000);
    database.append(&history.rows).await;
    let (first, second) = tokio::join!(rebuild(&database.url), rebuild(&database.url));
    let refused = [first, second].into_iter().filter(|r| matches!(r, Err(ViewError::RebuildRunning))).count();
    assert_eq!(refused, 1);

    let before = database.dump().await;
    // One that dies on its way.
    let died = tokio::time::timeout(Duration::from_millis(20), rebuild(&database.url)).await;
    assert!(died.is_err());
    assert!(before == database.dump().await);
    // The dead one's connections may take a moment to end, and its lock with them.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let generation = loop {
        match rebuild(&database.url).await {
            Ok(rebuilt) => break rebuilt.generation,
            Err(ViewError::RebuildRunning) if std::time::Instant::now() < deadline => {
                tokio::task::yield_now().await
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(generation, 3);
    assert!(before == database.dump().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_views_that_were_never_set_up() {
    let postgres = tasuki_standalone::Postgres::shared().await.unwrap();
    let url = postgres.create_database("bare").await.unwrap();
    let views = tasuki_views::Views::new(&url, 1).unwrap();
    assert!(matches!(views.position().await, Err(ViewError::NotReady)));
    assert!(matches!(rebuild(&url).await, Err(ViewError::NotReady)));
    assert!(matches!(Projection::lead(&url).await, Err(ViewError::NotReady)));
    // From several processes at once.
    let (a, b) = tokio::join!(tasuki_views::migrate(&url), tasuki_views::migrate(&url));
    a.and(b).unwrap();
    assert_eq!(views.position().await.unwrap().position, 0);
}
