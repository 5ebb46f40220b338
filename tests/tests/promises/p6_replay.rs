//! P6: views rebuilt from nothing equal the live ones, whatever the live ones went through; who comes late sees what
//! an early reader saw.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message as _;
use tasuki_contract::timeline::v1::TimelineItem;
use tasuki_tests::{Live, World, eventually, referral};

use crate::PROGRAM;
use crate::p4_need_to_know::callers;
use crate::received::items;
use crate::story::Story;
use crate::who_reads::{COORDINATOR, HOSPITAL, WARD};

const LIMIT: Duration = Duration::from_secs(60);

async fn dump(world: &World) -> Vec<(&'static str, Vec<u8>)> {
    let views = world.views().unwrap();
    let mut all = Vec::new();
    for table in tasuki_views::TABLES {
        all.push((table.name, views.copy_out(table).await.unwrap()));
    }
    all
}

/// What an item says whoever may read its content by now: everything but that.
fn place(item: &TimelineItem) -> TimelineItem {
    TimelineItem {
        event: None,
        level: 0,
        withheld_classes: Vec::new(),
        withheld_keys: Vec::new(),
        // Who was asked, and is asked no more, learns of the event no longer; the number stays.
        ..if item.event_id.is_empty() {
            TimelineItem { number: item.number, ..Default::default() }
        } else {
            item.clone()
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_rebuilt_views_and_late_readers_equal_live_ones() {
    let world = World::start(PROGRAM).await.unwrap();
    // The first to start leads relay and projection.
    let leader = world.ready().await.unwrap();
    let other = world.serve("all").await.unwrap();
    let callers = callers(&world, &other).await;
    let lives: BTreeMap<_, _> =
        callers.iter().map(|(slug, caller)| (slug.clone(), Live::start(vec![caller.clone()]))).collect();

    let mut leader = Some(leader);
    let mut pauses = 0;
    let mut story = Story::new(callers.clone());
    story
        .tell(async |_| {
            pauses += 1;
            match pauses {
                2 => leader.take().unwrap().kill().await.unwrap(),
                4 => {
                    world.stack.nats.kill().await.unwrap();
                    world.stack.nats.wipe().await.unwrap();
                    world.stack.nats.restart().await.unwrap();
                }
                _ => {}
            }
        })
        .await;
    assert!(leader.is_none() && pauses > 4, "the leader died and NATS was wiped on the way");
    let operator = world.operator(&other).await.unwrap();
    crate::p4_policy::adopt(&operator, crate::p4_policy::lax(1)).await.unwrap();
    // From here on nobody's sight changes, so that content compares as well.
    let mut fresh = Vec::new();
    for _ in 0..20 {
        let request = referral(callers[COORDINATOR].post, "kita_A");
        let caller = &callers[HOSPITAL];
        let sent = caller.referrals().submit_referral(caller.request(request)).await.unwrap();
        fresh.push(sent.into_inner().case_id);
    }
    world.views_reach_the_log().await.unwrap();

    let views = world.views().unwrap();
    let mut whole = 0;
    for (slug, live) in &lives {
        let late = items(&callers[slug]).await;
        assert_eq!(late.len() as u64, views.feed_head(callers[slug].post).await.unwrap(), "{slug}");
        eventually(&format!("{slug} has got its feed live"), LIMIT, || async {
            live.items().len() >= late.len()
        })
        .await;
        let early = live.items();
        assert_eq!(early.len(), late.len(), "{slug}: something came twice");
        for (number, (early, late)) in (1..).zip(early.iter().zip(&late)) {
            assert_eq!((early.number, late.number), (number, number), "{slug}");
            if late.event_id.is_empty() {
                continue;
            }
            assert_eq!(place(early).encode_to_vec(), place(late).encode_to_vec(), "{slug}: item {number}");
            if fresh.contains(&late.case_id) {
                assert_eq!(early.encode_to_vec(), late.encode_to_vec(), "{slug}: content of item {number}");
                whole += 1;
            }
        }
    }
    assert_eq!(
        whole,
        20 * 2 * 2 + 20,
        "sender and ward see each case and referral, the receiver its referral"
    );
    assert!(lives[WARD].items().len() > 40);

    let before = dump(&world).await;
    let full = before.iter().filter(|(_, rows)| !rows.is_empty()).count();
    assert_eq!(full, before.len(), "a view is empty, so that its replay proves nothing");
    let generation = async || {
        let number =
            world.stack.postgres.sql("tasuki", "SELECT number FROM views_meta.current").await.unwrap();
        number.trim().parse::<u64>().unwrap()
    };
    let live = generation().await;
    let output = world.command(&["rebuild"]).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(generation().await, live + 1, "the rebuilt views are the ones that count");
    for ((table, live), (_, rebuilt)) in before.iter().zip(dump(&world).await) {
        assert!(*live == rebuilt, "{table} differs after the rebuild");
    }
    // Reads and the live projection go on with the new ones.
    let before = items(&callers[COORDINATOR]).await.len();
    let caller = &callers[HOSPITAL];
    let request = referral(callers[COORDINATOR].post, "kita_A");
    caller.referrals().submit_referral(caller.request(request)).await.unwrap();
    world.views_reach_the_log().await.unwrap();
    assert!(items(&callers[COORDINATOR]).await.len() > before);
}
