//! Two processes with the same roles side by side: one is killed, and who retries at the other notices nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::Message as _;
use tasuki_contract::intake::v1::SubmitReferralResponse;
use tasuki_tests::{Caller, Live, World, eventually, referral};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::PROGRAM;
use crate::received::items;
use crate::who_reads::{COORDINATOR, HOSPITAL};

const LIMIT: Duration = Duration::from_secs(90);
const CALLERS: usize = 6;
const TRY_MAX: Duration = Duration::from_secs(10);

/// What each request id was answered with, first.
type Answers = Arc<Mutex<BTreeMap<String, SubmitReferralResponse>>>;

/// Submits one referral after the other; what is not answered is tried again at the next address with the same id.
async fn submit(stop: Arc<AtomicBool>, addresses: [Caller; 2], first: usize, to: Caller, answers: Answers) {
    let mut at = first;
    while !stop.load(Ordering::Relaxed) {
        let request_id = Uuid::now_v7().to_string();
        loop {
            let caller = &addresses[at % addresses.len()];
            let request = caller.request_as(referral(to.post, "kita_A"), &request_id);
            match tokio::time::timeout(TRY_MAX, caller.referrals().submit_referral(request)).await {
                Ok(Ok(answer)) => {
                    answers.lock().await.insert(request_id, answer.into_inner());
                    break;
                }
                Ok(Err(status)) => {
                    let worth_it = matches!(
                        status.code(),
                        tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled
                    );
                    assert!(worth_it, "a caller that retries notices it: {status:?}");
                    at += 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(_) => panic!("no answer within {TRY_MAX:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_processes_dies_and_nobody_who_retries_notices() {
    let world = World::start(PROGRAM).await.unwrap();
    let first = world.ready().await.unwrap();
    let second = world.serve("all").await.unwrap();
    let at =
        |program: &tasuki_tests::Program, slug: &str| world.lazy_caller(program.address(), slug).unwrap();
    let hospital = [at(&first, HOSPITAL), at(&second, HOSPITAL)];
    let coordinator = [at(&first, COORDINATOR), at(&second, COORDINATOR)];
    // Both subscribe at the first; when it dies they go on at the second from their last cursor.
    let moving: Vec<Live> = (0..2).map(|_| Live::start(coordinator.clone().into())).collect();
    let staying = Live::start(vec![coordinator[1].clone()]);

    let answers = Answers::default();
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..CALLERS)
        .map(|i| {
            let to = coordinator[1].clone();
            tokio::spawn(submit(stop.clone(), hospital.clone(), i, to, answers.clone()))
        })
        .collect();
    let more = async |what: &str| {
        let before = answers.lock().await.len();
        eventually(what, LIMIT, || async { answers.lock().await.len() >= before + 60 }).await;
    };
    more("referrals through both").await;
    eventually("items at both subscribers", LIMIT, || async {
        moving.iter().all(|live| live.items().len() > 20)
    })
    .await;
    first.kill().await.unwrap();
    more("referrals through the one that is left").await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }

    // The same request again, at the other process: the answer of the first time.
    let answers = answers.lock().await.clone();
    let caller = &hospital[1];
    for (request_id, answer) in &answers {
        let request = caller.request_as(referral(coordinator[1].post, "kita_A"), request_id);
        let again = caller.referrals().submit_referral(request).await.unwrap().into_inner();
        assert_eq!(again.encode_to_vec(), answer.encode_to_vec(), "another answer to the same request");
    }
    let logged = world.stack.postgres.sql("tasuki", "SELECT item_id FROM log.items").await.unwrap();
    let logged: BTreeSet<&str> = logged.lines().map(str::trim).collect();
    let answered: BTreeSet<&str> = answers.values().map(|answer| answer.referral_id.as_str()).collect();
    assert_eq!(answered.len(), answers.len(), "two requests got one referral");
    assert_eq!(logged, answered, "each request brought one referral, once");

    world.views_reach_the_log().await.unwrap();
    let all = items(&coordinator[1]).await;
    assert!(all.len() >= answers.len());
    for live in moving.iter().chain([&staying]) {
        eventually("the whole feed at every subscriber", LIMIT, || async { live.items().len() >= all.len() })
            .await;
        let got = live.items();
        let numbers: Vec<u64> = got.iter().map(|item| item.number).collect();
        assert_eq!(numbers, (1..=all.len() as u64).collect::<Vec<_>>(), "something was skipped or repeated");
        for (got, item) in got.iter().zip(&all) {
            assert_eq!(got.encode_to_vec(), item.encode_to_vec(), "item {}", item.number);
        }
    }
    assert!(moving.iter().all(|live| live.got().resumed > 0), "they lost their stream on the way");
    assert_eq!(staying.got().resumed, 0, "{:?}", staying.got().ends);
}
