//! P6: views rebuilt from nothing equal the live ones, byte for byte, whatever batches and restarts they saw.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::history::History;
use common::{Database, oracle, seeds};
use rand::RngExt as _;
use tasuki_domain::ids::PostId;
use tasuki_views::{Projection, rebuild};

/// Folds the history live: batches of random sizes, and now and then a new leader with an empty memory.
async fn live(database: &Database, history: &mut History) {
    let mut projection = Projection::lead(&database.url).await.unwrap();
    loop {
        let from = projection.position() as usize;
        if from == history.rows.len() {
            return;
        }
        let size = [1, 2, 7, 40, 150][history.rng.random_range(0..5)];
        let to = (from + size).min(history.rows.len());
        projection.apply(&history.rows[from..to]).await.unwrap();
        if history.rng.random_bool(0.2) {
            drop(projection);
            projection = Projection::lead(&database.url).await.unwrap();
        }
    }
}

async fn feeds(database: &Database, posts: u64) -> oracle::Feeds {
    let mut feeds = oracle::Feeds::new();
    for n in 0..posts {
        let post = PostId(common::history::id(common::history::POST, n));
        let rows = database.views.feed_after(post, 0, 100_000).await.unwrap();
        let numbers: Vec<u64> = rows.iter().map(|row| row.number).collect();
        assert_eq!(numbers, (1..=rows.len() as u64).collect::<Vec<_>>(), "a gap in a feed");
        assert_eq!(database.views.feed_head(post).await.unwrap(), rows.len() as u64);
        if !rows.is_empty() {
            feeds.insert(post, rows.iter().map(|row| (row.case, row.position, row.history)).collect());
        }
    }
    feeds
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_replay_equals_live() {
    for seed in seeds(4) {
        println!("TASUKI_SEED={seed}");
        let database = Database::new().await;
        let mut history = History::random(seed, 18, 5, 500);
        database.append(&history.rows).await;
        live(&database, &mut history).await;
        let before = database.dump().await;
        assert!(before.iter().filter(|(_, text)| !text.is_empty()).count() == before.len(), "an empty view");
        let (live, expected) = (feeds(&database, 18).await, oracle::feeds(&history.rows));
        assert!(live.keys().eq(expected.keys()), "seed {seed}: other posts");
        for (post, rows) in &live {
            let differs = rows.iter().zip(&expected[post]).position(|(live, expected)| live != expected);
            assert_eq!(differs, None, "seed {seed}: feed of {post}");
            assert_eq!(rows.len(), expected[post].len(), "seed {seed}: feed of {post}");
        }

        let rebuilt = rebuild(&database.url).await.unwrap();
        assert_eq!((rebuilt.generation, rebuilt.position), (2, history.rows.len() as u64));
        for (live, replayed) in before.iter().zip(database.dump().await) {
            assert_eq!(live.0, replayed.0);
            assert!(live.1 == replayed.1, "seed {seed}: {} differs", live.0);
        }
        let rows: usize = before.iter().map(|(_, text)| text.lines().count()).sum();
        assert_eq!(rebuilt.rows, rows as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_catches_up_equals_one_that_did_not() {
    let seed = seeds(1)[0];
    println!("TASUKI_SEED={seed}");
    let database = Database::new().await;
    let mut history = History::random(seed, 18, 5, 300);
    database.append(&history.rows[..150]).await;
    rebuild(&database.url).await.unwrap();
    database.append(&history.rows[150..]).await;
    live(&database, &mut history).await;
    let before = database.dump().await;
    rebuild(&database.url).await.unwrap();
    assert!(before == database.dump().await, "seed {seed}");
}
