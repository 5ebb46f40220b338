//! Two projections at once, as when a leader has lost its lock without noticing: the stale one writes nothing.
#![allow(clippy::unwrap_used)]

use prost::Message as _;
use tasuki_contract::event::v1::{DutyChange, Effects, Envelope, Header};
use tasuki_domain::ids::PostId;
use tasuki_standalone::Postgres;
use uuid::Uuid;

use crate::{Projection, TABLES, ViewError, Views, migrate, rebuild};

const OWNER: Uuid = Uuid::from_u128(7);

/// Each begins a duty.
fn log(events: u64) -> Vec<Envelope> {
    let row = |n: u64| {
        let duty = DutyChange {
            duty_id: Uuid::from_u128(u128::from(n)).to_string(),
            owner_post_id: OWNER.to_string(),
            ..DutyChange::default()
        };
        let header = Header {
            event_id: Uuid::from_u128(u128::from(n)).to_string(),
            r#type: "tasuki.minutes.v1.ActionAssigned".into(),
            effects: Some(Effects { duties: vec![duty], ..Effects::default() }),
            ..Header::default()
        };
        let (header, commitment) = (header.encode_to_vec(), vec![0; 32]);
        Envelope { position: n, epoch: 1, header, commitment, ..Envelope::default() }
    };
    (1..=events).map(row).collect()
}

async fn database(log: &[Envelope]) -> (std::sync::Arc<Postgres>, String, Views) {
    let postgres = Postgres::shared().await.unwrap();
    let url = postgres.create_database(&format!("fence_{}", Uuid::new_v4().simple())).await.unwrap();
    tasuki_log::migrate(&tasuki_log::Database::new(&url, 1).unwrap()).await.unwrap();
    migrate(&url).await.unwrap();
    let client = crate::connect::writer(&url).await.unwrap();
    for row in log {
        let sql = "INSERT INTO log.events VALUES ($1, 1, 3, gen_random_uuid(), 1, gen_random_uuid(), 0, $2, '', '')";
        client.execute(sql, &[&(row.position as i64), &row.header]).await.unwrap();
    }
    let views = Views::new(&url, 2).unwrap();
    (postgres, url, views)
}

async fn owed(views: &Views) -> usize {
    views.duties(PostId(OWNER), None, 100).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_leader_cannot_write() {
    let log = log(6);
    let (_postgres, url, views) = database(&log).await;
    let mut stale = Projection::lead(&url).await.unwrap();
    stale.apply(&log[..1]).await.unwrap();
    // What a connection pooler does to a session between two transactions.
    stale.client().execute("SELECT pg_advisory_unlock_all()", &[]).await.unwrap();
    let mut leader = Projection::lead(&url).await.unwrap();
    assert_eq!(leader.position(), 1);

    // Before the leader has written anything, and after.
    assert!(matches!(stale.apply(&log[1..2]).await, Err(ViewError::Fenced)));
    assert_eq!((owed(&views).await, views.position().await.unwrap().position), (1, 1));
    leader.apply(&log[1..4]).await.unwrap();
    assert!(matches!(stale.apply(&log[1..6]).await, Err(ViewError::Fenced)));
    assert_eq!((owed(&views).await, views.position().await.unwrap().position), (4, 4));
    leader.apply(&log[4..]).await.unwrap();
    assert_eq!(owed(&views).await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_waits_for_the_lead_and_gets_it_with_the_leaders_end() {
    let log = log(2);
    let (_postgres, url, _) = database(&log).await;
    let mut leader = Projection::lead(&url).await.unwrap();
    let standby = tokio::spawn(async move { Projection::lead(&url).await });
    leader.apply(&log).await.unwrap();
    assert!(!standby.is_finished());
    drop(leader);
    assert_eq!(standby.await.unwrap().unwrap().position(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_fences_the_live_leader_off_the_old_generation() {
    let log = log(5);
    let (_postgres, url, views) = database(&log).await;
    let mut leader = Projection::lead(&url).await.unwrap();
    leader.apply(&log[..3]).await.unwrap();
    let rebuilt = rebuild(&url).await.unwrap();
    assert_eq!((rebuilt.generation, rebuilt.position, owed(&views).await), (2, 5, 5));
    assert!(matches!(leader.apply(&log[3..]).await, Err(ViewError::Fenced)));
    drop(leader);
    assert_eq!(Projection::lead(&url).await.unwrap().position(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_follow_the_cursor_is_refused() {
    let mut log = log(4);
    let (_postgres, url, views) = database(&log).await;
    let mut leader = Projection::lead(&url).await.unwrap();
    let hole = leader.apply(&log[1..]).await.unwrap_err();
    assert!(matches!(hole, ViewError::Hole { expected: 1, found: 2 }));
    // An unreadable header: what is before it counts, it and what is behind it never does.
    log[2].header = vec![0xff];
    assert_eq!(leader.apply(&log).await.unwrap().position, 2);
    for _ in 0..2 {
        assert!(matches!(leader.apply(&log[2..]).await, Err(ViewError::Unreadable { position: 3, .. })));
    }
    assert_eq!((owed(&views).await, views.position().await.unwrap().position), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn views_ahead_of_the_log_are_found_and_rebuilt() {
    let log = log(4);
    let (postgres, url, views) = database(&log).await;
    Projection::lead(&url).await.unwrap().apply(&log).await.unwrap();
    let database = url.rsplit('/').next().unwrap();
    postgres.sql(database, "DELETE FROM log.events WHERE position > 2").await.unwrap();
    let found = Projection::lead(&url).await.unwrap_err();
    assert!(matches!(found, ViewError::AheadOfLog { views: 4, log: 2 }), "{found}");
    assert_eq!(rebuild(&url).await.unwrap().position, 2);
    assert_eq!(Projection::lead(&url).await.unwrap().position(), 2);
    let duties = TABLES.iter().find(|table| table.name == "duties").unwrap();
    assert_eq!(views.copy_out(duties).await.unwrap().iter().filter(|b| **b == b'\n').count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_of_an_older_layout_are_rebuilt_and_those_of_a_newer_one_left_alone() {
    let log = log(3);
    let (postgres, url, views) = database(&log).await;
    Projection::lead(&url).await.unwrap().apply(&log).await.unwrap();
    let database = url.rsplit('/').next().unwrap();
    let set = async |by: &str| {
        postgres.sql(database, &format!("UPDATE views_meta.current SET layout = layout {by}")).await.unwrap();
    };
    let duties = TABLES.iter().find(|table| table.name == "duties").unwrap();
    set("+ 1").await;
    assert!(matches!(Projection::lead(&url).await, Err(ViewError::NewerLayout { .. })));
    // Whoever has read nothing yet reads nothing.
    assert!(matches!(views.position().await, Err(ViewError::NewerLayout { .. })));
    assert!(matches!(views.copy_out(duties).await, Err(ViewError::NewerLayout { .. })));
    set("- 2").await;
    assert!(matches!(Projection::lead(&url).await, Err(ViewError::OtherLayout { .. })));
    assert!(matches!(views.position().await, Err(ViewError::OtherLayout { .. })));
    assert_eq!(rebuild(&url).await.unwrap().position, 3);
    assert_eq!((Projection::lead(&url).await.unwrap().position(), owed(&views).await), (3, 3));
    // The newer binary moves the pointer: who has read before notices too.
    set("+ 1, number = number + 1").await;
    assert!(matches!(views.position().await, Err(ViewError::NewerLayout { .. })));
}
