//! P1: acknowledged is durable. What a call answered with OK is in the log, once, whatever was killed meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::Message as _;
use tasuki_bus::{Bus, BusOptions, LogStream, LogStreamSettings};
use tasuki_contract::intake::v1::ReferralSubmitted;
use tasuki_contract::timeline::v1::TimelineItem;
use tasuki_tests::{Caller, World, eventually, referral};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::PROGRAM;
use crate::received::items;
use crate::who_reads::{COORDINATOR, HOSPITAL};

/// Request id to referral id, of every call that was answered with OK.
type Acknowledged = Arc<Mutex<BTreeMap<String, String>>>;

const LIMIT: Duration = Duration::from_secs(90);
const CALLERS: usize = 8;

/// Submits referrals one after the other; each is tried with the same request id until it is answered.
async fn submit_until(
    stop: Arc<AtomicBool>,
    caller: Caller,
    to: tasuki_domain::ids::PostId,
    acknowledged: Acknowledged,
) {
    while !stop.load(Ordering::Relaxed) {
        let request_id = Uuid::now_v7().to_string();
        loop {
            let request = caller.request_as(referral(to, "kita_A"), &request_id);
            match tokio::time::timeout(Duration::from_secs(5), caller.referrals().submit_referral(request))
                .await
            {
                Ok(Ok(answer)) => {
                    acknowledged.lock().await.insert(request_id, answer.into_inner().referral_id);
                    break;
                }
                Ok(Err(status)) => assert!(
                    !matches!(status.code(), tonic::Code::InvalidArgument | tonic::Code::FailedPrecondition),
                    "{status:?}"
                ),
                Err(_) => {}
            }
            if stop.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p1_acknowledged_is_durable() {
    let world = World::start(PROGRAM).await.unwrap();
    let mut program = world.ready().await.unwrap();
    let address = program.address().to_owned();
    let listen = address.trim_start_matches("http://").to_owned();
    let to = world.post(COORDINATOR).1;
    let acknowledged = Acknowledged::default();
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let caller = world.lazy_caller(&address, HOSPITAL).unwrap();
            tokio::spawn(submit_until(stop.clone(), caller, to, acknowledged.clone()))
        })
        .collect();
    let more = async |what: &str| {
        let before = acknowledged.lock().await.len();
        eventually(what, LIMIT, || async { acknowledged.lock().await.len() >= before + 30 }).await;
    };

    more("referrals at the beginning").await;
    program.kill().await.unwrap();
    program = world.serve_with("all", &[("TASUKI_LISTEN", &listen)]).await.unwrap();
    more("referrals after the program was killed").await;
    world.stack.postgres.kill().await.unwrap();
    world.stack.postgres.restart().await.unwrap();
    more("referrals after PostgreSQL was killed").await;
    world.stack.nats.kill().await.unwrap();
    more("referrals while nats-server is away").await;
    world.stack.nats.wipe().await.unwrap();
    world.stack.nats.restart().await.unwrap();
    more("referrals after nats-server was wiped").await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }

    let acknowledged = acknowledged.lock().await.clone();
    let sql = |statement: &str| {
        let statement = statement.to_owned();
        let postgres = &world.stack.postgres;
        async move { postgres.sql("tasuki", &statement).await.unwrap() }
    };
    let rows = sql("SELECT item_id FROM log.items").await;
    let logged: BTreeSet<&str> = rows.lines().map(str::trim).collect();
    let lost: Vec<&String> = acknowledged.values().filter(|id| !logged.contains(id.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged referrals are lost", lost.len(), acknowledged.len());
    let rows = sql("SELECT request_id, events FROM log.requests").await;
    let requests = rows.lines().filter(|r| !r.starts_with("region-")).count();
    let distinct: BTreeSet<&String> = acknowledged.values().collect();
    assert_eq!(distinct.len(), acknowledged.len(), "one request gave two referrals or two one");
    assert_eq!(logged.len(), requests, "a request was appended twice, or a referral has no request");

    // Everything arrives: the receiver's feed holds each referral, once, in dense numbers.
    world.views_reach_the_log().await.unwrap();
    let receiver = world.caller(&program, COORDINATOR).await.unwrap();
    let feed = items(&receiver).await;
    let numbers: Vec<u64> = feed.iter().map(|item| item.number).collect();
    assert_eq!(numbers, (1..=feed.len() as u64).collect::<Vec<_>>(), "a gap in the receiver's feed");
    let arrived: Vec<String> = feed.iter().filter_map(submitted).collect();
    let distinct: BTreeSet<&str> = arrived.iter().map(String::as_str).collect();
    assert_eq!(distinct.len(), arrived.len(), "a referral stands twice in the receiver's feed");
    assert_eq!(distinct, logged, "the receiver's feed does not hold what was sent");

    // The broker was wiped: the relay feeds it again from the beginning.
    let head = world.reader().unwrap().head().await.unwrap().0;
    let creds = world.secrets.operator.as_ref().unwrap().service_creds().unwrap();
    let bus = Bus::connect(&BusOptions::service(world.stack.nats.url(), Some(creds), "test")).await.unwrap();
    let stream = LogStream::new(bus, LogStreamSettings::default());
    eventually("every event on the wiped broker again", LIMIT, || async {
        let last = stream.state().await.ok().flatten().and_then(|state| state.last);
        last.is_some_and(|last| last.position >= head)
    })
    .await;
}

/// The referral that an item brings.
fn submitted(item: &TimelineItem) -> Option<String> {
    let any = item.event.as_ref().filter(|_| item.r#type == "tasuki.intake.v1.ReferralSubmitted")?;
    Some(ReferralSubmitted::decode(any.value.as_slice()).unwrap().referral_id)
}
