//! P1: acknowledged is durable. What a call answered with OK is in the log, once, whatever was killed meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tasuki_tests::{Caller, World, eventually, referral};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::PROGRAM;

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
    let to = world.post("coordinator.desk").1;
    let acknowledged = Acknowledged::default();
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let caller = world.lazy_caller(&address, "hospital.discharge").unwrap();
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
    let logged: std::collections::BTreeSet<&str> = rows.lines().map(str::trim).collect();
    let lost: Vec<&String> = acknowledged.values().filter(|id| !logged.contains(id.as_str())).collect();
    assert!(lost.is_empty(), "{} of {} acknowledged referrals are lost", lost.len(), acknowledged.len());
    let rows = sql("SELECT request_id, events FROM log.requests").await;
    let requests = rows.lines().filter(|r| !r.starts_with("region-")).count();
    let distinct: std::collections::BTreeSet<&String> = acknowledged.values().collect();
    assert_eq!(distinct.len(), acknowledged.len(), "one request gave two referrals or two one");
    assert_eq!(logged.len(), requests, "a request was appended twice, or a referral has no request");

    // Everything arrives: the receiver's feed holds an item for each referral.
    let receiver = world.caller(&program, "coordinator.desk").await.unwrap();
    let expected = logged.len();
    eventually("every referral in the receiver's feed", LIMIT, || async {
        let count = sql("SELECT max(number) FROM views_1.feed").await;
        let _ = &receiver;
        count.trim().parse::<usize>().is_ok_and(|n| n >= expected)
    })
    .await;
}
