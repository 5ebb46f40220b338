//! 100,000 mutated requests over every RPC of the contract: no panic, no hang, no foreign data, nothing in the log.
//!
//! `TASUKI_HOSTILE` is their number, `TASUKI_SEED` repeats a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message as _;
use prost_reflect::DynamicMessage;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tasuki::region::{self, Region};
use tasuki::{call, token};
use tasuki_contract::timeline::v1::{ReadFeedRequest, SubscribeRequest};
use tasuki_tests::{Caller, Seed, World, referral};
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::answer::{self, call_request};
use crate::mutate::mutated;
use crate::process::Process;
use crate::samples;

/// So many are under way at once, over one connection for each eight of them.
const AT_ONCE: u64 = 64;
/// What takes longer has hung.
const HANGS: Duration = Duration::from_secs(30);
/// With this begins everything that only the hospital and the desk may read.
const MARK: &[u8] = b"MARK-";

/// One method with a request to mutate.
struct Target {
    path: String,
    request: Vec<u8>,
    by_operator: bool,
    /// How long its caller waits for news.
    patience: Duration,
    streams: bool,
}

/// Who is hostile, with what it knows.
struct Attack {
    targets: Vec<Target>,
    /// Ids that stand for something: those of the case, of its posts and agencies.
    ids: Vec<String>,
    /// The same for the operator, who may close a post: of agencies that have no part in this.
    others: Vec<String>,
    outsider: Caller,
    operator: Caller,
    left: AtomicU64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_mutated_requests_over_all_rpcs_panic_nothing_hang_nowhere_and_get_nothing_foreign()
 {
    let many: u64 = std::env::var("TASUKI_HOSTILE").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let mut seed = Seed::new("mutated");
    let world = World::start(crate::PROGRAM).await.unwrap();
    let mut process = Process::serve(&world, &[]).await;
    world.register_through(process.channel().await).await.unwrap();
    let hospital = process.caller(&world, "hospital.discharge").await;
    let desk = process.caller(&world, "coordinator.desk").await;
    let sent =
        hospital.referrals().submit_referral(hospital.request(referral(desk.post, "MARK-LABEL"))).await;
    let sent = sent.unwrap().into_inner();
    world.views_reach_the_log().await.unwrap();
    marks_are_read_by(&desk).await;

    let event = sent.receipt.map(|r| r.event_id).unwrap();
    let mut ids = vec![sent.case_id, sent.referral_id, event];
    for slug in ["hospital.discharge", "coordinator.desk"] {
        let (agency, post) = world.post(slug);
        ids.extend([agency.to_string(), post.to_string(), region::holder_of(post)]);
    }
    let region = Region::parse(region::EXAMPLE).unwrap();
    let apart =
        |slug: &str| !["hospital", "coordinator", "nursery"].iter().any(|agency| slug.starts_with(agency));
    let others = region.posts().filter(|(slug, ..)| apart(slug));
    let others = others.flat_map(|(_, agency, post)| [agency.to_string(), post.to_string()]).collect();
    let outsider = process.caller(&world, "nursery.head").await;
    let operator = token::for_operator(world.secrets.issuer.as_ref().unwrap(), 3_600).unwrap();
    let attack = Arc::new(Attack {
        targets: targets(),
        ids,
        others,
        operator: Caller { token: operator, ..outsider.clone() },
        outsider,
        left: AtomicU64::new(many),
    });

    let started = Instant::now();
    let mut tasks = JoinSet::new();
    let mut channel = process.channel().await;
    for number in 0..AT_ONCE {
        if number % 8 == 0 {
            channel = process.channel().await;
        }
        let random = StdRng::seed_from_u64(seed.0.random());
        tasks.spawn(attacker(attack.clone(), channel.clone(), random));
    }
    let mut codes: BTreeMap<(usize, i32), u64> = BTreeMap::new();
    while let Some(done) = tasks.join_next().await {
        for (key, count) in done.expect("an answer that is none") {
            *codes.entry(key).or_default() += count;
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    let mut by_code: BTreeMap<String, u64> = BTreeMap::new();
    for ((_, code), count) in &codes {
        *by_code.entry(format!("{:?}", Code::from_i32(*code))).or_default() += count;
    }
    println!("mutated: requests={many} seconds={seconds:.1} codes={by_code:?}");

    let reached: BTreeSet<usize> = codes.keys().map(|(target, _)| *target).collect();
    assert_eq!(reached.len(), attack.targets.len(), "every RPC was tried");
    assert!(by_code.len() >= 6, "the requests get no further than one check: {by_code:?}");
    let said = process.said();
    assert!(!said.contains("panicked"), "{said}");
    for personal in ["MARK-", "holder:", "kita_A", "例示", "Bearer", "DROP SCHEMA", "eyJ"] {
        assert!(!said.contains(personal), "{personal} in: {said}");
    }
    // It still works, and what was there is there.
    marks_are_read_by(&desk).await;
    answer::is_let_in(&attack.outsider).await.unwrap();
    process.signal("TERM").await;
    assert!(process.ended(HANGS).await.success());
}

async fn marks_are_read_by(desk: &Caller) {
    let feed =
        desk.timeline().read_feed(desk.request(ReadFeedRequest { wait_s: 20, ..Default::default() })).await;
    assert!(has_mark(&feed.unwrap().into_inner().encode_to_vec()), "there is nothing to be found");
}

/// Every method of the contract: the samples, and the streams, which have none.
fn targets() -> Vec<Target> {
    let pool = call::pool().unwrap();
    let samples = samples::all();
    let methods = pool.services().flat_map(|s| s.methods().collect::<Vec<_>>());
    let target = |method: prost_reflect::MethodDescriptor| {
        let name = format!("{}/{}", method.parent_service().name(), method.name());
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        let streams = method.is_server_streaming();
        let patience = if method.name() == "ReadFeed" { Duration::from_millis(500) } else { HANGS };
        let Some(sample) = samples.iter().find(|sample| sample.method == name) else {
            assert_eq!(name, "TimelineService/Subscribe", "a method without a sample");
            let request = SubscribeRequest { cursor: "AAAA".to_owned() }.encode_to_vec();
            return Target { path, request, by_operator: false, patience, streams };
        };
        let message = DynamicMessage::deserialize(method.input(), &sample.request).unwrap();
        Target { path, request: message.encode_to_vec(), by_operator: sample.by_operator, patience, streams }
    };
    methods.map(target).collect()
}

/// Sends until enough were sent; counts codes by target.
async fn attacker(
    attack: Arc<Attack>,
    channel: tonic::transport::Channel,
    mut random: StdRng,
) -> BTreeMap<(usize, i32), u64> {
    let mut codes = BTreeMap::new();
    while attack.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let which = random.random_range(0..attack.targets.len());
        let target = &attack.targets[which];
        let as_operator = target.by_operator && random.random_ratio(1, 4);
        let (who, ids) = match as_operator {
            true => (&attack.operator, &attack.others),
            false => (&attack.outsider, &attack.ids),
        };
        let caller = Caller { channel: channel.clone(), ..who.clone() };
        let bytes = mutated(&target.request, ids, &mut random);
        let mut request = caller.request(bytes.clone());
        let metadata = request.metadata_mut();
        if random.random_ratio(1, 20) {
            let name = *["x-purpose", "x-post", "x-request-id", "traceparent", "authorization"]
                .choose(&mut random)
                .unwrap();
            let value: String =
                (0..random.random_range(0..300)).map(|_| random.random_range(' '..='~')).collect();
            metadata.append(name, value.parse().unwrap());
        }
        let answering = async {
            if target.streams {
                answer::begin_stream(&caller, &target.path, request).await
            } else {
                call_request(&caller, &target.path, request).await
            }
        };
        let Ok(answer) = tokio::time::timeout(target.patience, answering).await else {
            assert!(target.patience < HANGS, "{} hangs on {bytes:02x?}", target.path);
            continue;
        };
        let code = match &answer {
            Ok(answer) => {
                assert!(!has_mark(answer), "{} told {bytes:02x?}", target.path);
                Code::Ok
            }
            Err(status) => {
                complain(status)
                    .unwrap_or_else(|what| panic!("{} {what}: {status:?} on {bytes:02x?}", target.path));
                status.code()
            }
        };
        *codes.entry((which, code as i32)).or_default() += 1;
    }
    codes
}

/// What is wrong with an error, if anything is.
fn complain(status: &Status) -> Result<(), &'static str> {
    // Never UNKNOWN, INTERNAL, DATA_LOSS or CANCELLED; nor UNAVAILABLE, which says that a server failed on it.
    let allowed = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Unauthenticated,
    ];
    if !allowed.contains(&status.code()) {
        return Err("answers with a code of a fault");
    }
    if has_mark(status.details()) || has_mark(status.message().as_bytes()) {
        return Err("told in an error");
    }
    let reasoned = status.get_error_details().error_info().is_some_and(|info| info.domain == "tasuki");
    if reasoned { Ok(()) } else { Err("gives no reason") }
}

fn has_mark(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|window| window == MARK)
}
