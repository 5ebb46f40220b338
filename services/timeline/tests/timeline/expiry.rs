//! P5 by the clock: what ends by its day ends at midnight in Tokyo, for calls and open streams, though no event says
//! so and nothing runs that could say it.

use std::time::Duration;

use prost::Message as _;
use tasuki_contract::cases::v1::ResponsibilityTransferred;
use tasuki_contract::event::v1::Relation;
use tasuki_contract::intake::v1::ReferralAcknowledged;
use tasuki_contract::timeline::v1 as pb;
use tasuki_privacy::PERSONAL;
use uuid::Uuid;

use crate::world::*;

const DAY_S: i64 = 86_400;
const NAME: &str = "MARK-NAME";

fn holds_name(bytes: &[u8]) -> bool {
    bytes.windows(NAME.len()).any(|window| window == NAME.as_bytes())
}

/// A case that the nurses read until the end of today, and for `grace_days` keep what they had.
async fn case_until_today(world: &World, grace_days: i32) -> Uuid {
    let case = world.open_case(&[], &[]).await;
    let today = world.platform.today();
    let mut joined = joins(case, &[(NURSES, Relation::Receiver)]);
    let mut granted = grant(case, &PERSONAL, &[NURSES]);
    (granted.valid_to_day, granted.grace_days) = (today, grace_days);
    joined.grants.push(granted);
    world.tell(COORDINATOR, case, ReferralAcknowledged::default(), joined).await;
    let moved = ResponsibilityTransferred { case_id: case.to_string(), ..Default::default() };
    for _ in 0..5 {
        world.tell(COORDINATOR, case, moved.clone(), Default::default()).await;
    }
    world.project().await;
    case
}

async fn reads_name(world: &World, case: Uuid) -> bool {
    holds_name(&world.card(NURSES, case).await.unwrap().encode_to_vec())
}

async fn history_holds_name(world: &World, case: Uuid) -> bool {
    world.history(NURSES, case).await.unwrap().iter().any(|item| holds_name(&item.encode_to_vec()))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_looked_at_before_midnight_is_not_served_after_it() {
    let world = World::start().await;
    let case = case_until_today(&world, 0).await;
    assert!(reads_name(&world, case).await && history_holds_name(&world, case).await);
    // Both have been evaluated, and wait for their record while midnight comes.
    let held = world.hold("LOCK TABLE log.reads IN SHARE MODE").await;
    let mut stream = world.subscribe(NURSES, "").await.unwrap();
    let (card, ()) = tokio::join!(world.card(NURSES, case), async {
        until("a read waits for its record", || async {
            let waiting = "SELECT count(*) FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation \
                           WHERE NOT l.granted AND c.relname LIKE 'reads%'";
            world.sql(waiting).await != "0"
        })
        .await;
        world.clock.advance(DAY_S);
        drop(held);
    });
    assert!(!holds_name(&card.unwrap().encode_to_vec()), "a card was served after the last day");
    let items = history_of(&mut stream).await;
    assert!(items.len() >= 6, "{}", items.len());
    for item in &items {
        let item = item.item.as_ref().unwrap();
        assert_eq!(item.level(), pb::Level::None, "an item was streamed after the last day");
    }
    assert!(!history_holds_name(&world, case).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn midnight_comes_while_many_read_and_nobody_who_asks_after_it_gets_anything() {
    let world = World::start().await;
    let mut cases = Vec::new();
    for _ in 0..4 {
        cases.push(case_until_today(&world, 0).await);
    }
    let moved = std::sync::atomic::AtomicBool::new(false);
    let read = async |turn: usize| {
        let (mut before, mut after) = (0, 0);
        for n in 0.. {
            let case = cases[(turn + n) % cases.len()];
            let late = moved.load(std::sync::atomic::Ordering::SeqCst);
            let served = if n % 2 == 0 {
                reads_name(&world, case).await
            } else {
                let page = pb::ReadFeedRequest { page_size: 200, ..Default::default() };
                holds_name(&world.read(NURSES, page).await.unwrap().encode_to_vec())
            };
            assert!(!(late && served), "served to who asked after the last day");
            (before, after) = (before + usize::from(served), after + usize::from(late));
            if after > 10 {
                break;
            }
        }
        before
    };
    let midnight = async {
        until("many reads", || async { world.reads("GetCaseCard").await > 40 }).await;
        world.clock.advance(DAY_S);
        moved.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let all = futures::future::join_all((0..8).map(&read));
    let (served, ()) = tokio::time::timeout(Duration::from_secs(60), async { tokio::join!(all, midnight) })
        .await
        .expect("the readers end");
    assert!(served.iter().sum::<usize>() > 40, "{served:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_its_grace_a_consent_leaves_what_there_was_and_then_nothing() {
    let world = World::start().await;
    let case = case_until_today(&world, 60).await;
    for (days, keeps) in [(0, true), (1, true), (59, true), (1, false)] {
        world.clock.advance(days * DAY_S);
        assert_eq!(reads_name(&world, case).await, keeps, "{days} days more");
        assert_eq!(history_holds_name(&world, case).await, keeps, "{days} days more");
    }
}
