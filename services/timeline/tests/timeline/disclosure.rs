//! P5 and P7 on open streams: nothing is served on a consent after it ended, and nothing without its record.

use tasuki_contract::event::v1::Relation;
use tasuki_contract::intake::v1::ReferralAcknowledged;
use tasuki_contract::timeline::v1 as pb;
use tasuki_privacy::PERSONAL;

use crate::world::*;

#[tokio::test(flavor = "multi_thread")]
async fn after_a_withdrawal_an_open_stream_serves_nothing_more_on_that_consent() {
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR, NURSES]).await;
    let kept = world.open_case(&PERSONAL, &[COORDINATOR, NURSES]).await;
    for case in [case, kept] {
        let joined = joins(case, &[(NURSES, Relation::Receiver)]);
        world.tell(COORDINATOR, case, ReferralAcknowledged::default(), joined).await;
    }
    let later = [
        tasuki_contract::cases::v1::ResponsibilityTransferred {
            case_id: case.to_string(),
            ..Default::default()
        },
        tasuki_contract::cases::v1::ResponsibilityTransferred {
            case_id: kept.to_string(),
            ..Default::default()
        },
    ];
    for _ in 0..10 {
        for (case, event) in [case, kept].into_iter().zip(&later) {
            world.tell(COORDINATOR, case, event.clone(), Default::default()).await;
        }
    }
    world.project().await;
    // The whole page is prepared while the first item waits to be taken.
    let mut stream = world.subscribe(NURSES, "").await.unwrap();
    until("the first read record", || async { world.reads("Subscribe").await == 1 }).await;
    world.withdraw(case).await;
    let withdrawn_at = world.sql("SELECT clock_timestamp()").await;

    let items = history_of(&mut stream).await;
    let numbers: Vec<u64> = items.iter().map(|i| i.item.as_ref().unwrap().number).collect();
    assert_eq!(numbers, (1..=22).collect::<Vec<_>>(), "a feed has no gaps");
    for item in items[1..].iter().map(|i| i.item.as_ref().unwrap()) {
        if item.level() == pb::Level::None {
            let nothing = pb::TimelineItem {
                number: item.number,
                withheld_classes: item.withheld_classes.clone(),
                ..Default::default()
            };
            assert_eq!(*item, nothing);
        } else {
            assert_eq!(item.case_id, kept.to_string());
        }
    }
    let told = |level| items[1..].iter().filter(|i| i.item.as_ref().unwrap().level() == level).count();
    assert_eq!((told(pb::Level::Full), told(pb::Level::None)), (11, 10));
    let served = format!(
        "SELECT count(*) FROM log.reads WHERE read_at > '{withdrawn_at}' AND '{case}' = ANY(case_ids) \
         AND post_id = '{}'",
        NURSES.id()
    );
    assert_eq!(world.sql(&served).await, "0");
    // Everything that tells anything is on record, each item once.
    let recorded =
        world.sql("SELECT count(DISTINCT event_ids[1]) FROM log.reads WHERE method LIKE '%Subscribe'").await;
    assert_eq!(recorded, "12");

    let polled =
        world.read(NURSES, pb::ReadFeedRequest { page_size: 200, ..Default::default() }).await.unwrap();
    let shown = polled.items.iter().filter(|i| i.item.as_ref().unwrap().level() != pb::Level::None);
    assert_eq!(shown.count(), 11);
    assert!(world.history(NURSES, case).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn disclosures_that_change_all_the_time_never_let_an_answer_out_without_its_record() {
    let world = World::start().await;
    let case = world.open_case(&PERSONAL, &[COORDINATOR]).await;
    world.project().await;
    let changing = async {
        for round in 0..30 {
            let relation = if round % 2 == 0 { Relation::Named } else { Relation::Receiver };
            world
                .tell(COORDINATOR, case, ReferralAcknowledged::default(), joins(case, &[(NURSERY, relation)]))
                .await;
        }
    };
    let reading = async {
        let mut served = 0;
        for _ in 0..30 {
            match world.card(COORDINATOR, case).await {
                Ok(_) => served += 1,
                Err(status) => assert_eq!(reason(&status), "CONFLICT"),
            }
        }
        served
    };
    let ((), served) = tokio::join!(changing, reading);
    assert_eq!(world.reads("GetCaseCard").await, served);
    assert!(served > 0);
}
