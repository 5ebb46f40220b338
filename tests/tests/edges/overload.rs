//! More than the writer can take: refused at once, with advice; and a deadline that passes while a command waits.
//!
//! The writer is held up by holding the lock under which positions are given out, from a session of the test.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt as _};
use prost::Message as _;
use prost::bytes::Bytes;
use tasuki_contract::consent::v1::WithdrawConsentRequest;
use tasuki_contract::intake::v1::AcknowledgeReferralRequest;
use tasuki_tests::{Caller, World, eventually, referral};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::transport::Channel;

use crate::answer::Seen;
use crate::{PROGRAM, log_head};

const LIMIT: Duration = Duration::from_secs(60);
/// `APPEND_LOCK` of the log.
const APPEND_LOCK: i64 = 0x0074_6173_756b_6902;
/// Commands that may wait, and those of one batch, as the program runs.
const QUEUE_MAX: usize = 2_048;
const BATCH_MAX: usize = 512;
/// Calls that run at once in the program.
const CALLS_MAX: usize = 4_096;
/// Calls on one connection, below what a server takes by default.
const CALLS_PER_CONNECTION: usize = 100;

/// Nobody appends while this lives.
pub struct Held(tokio_postgres::Client);

impl Held {
    pub async fn new(world: &World) -> Self {
        let (client, connection) =
            tokio_postgres::connect(&world.database_url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.execute("SELECT pg_advisory_lock($1)", &[&APPEND_LOCK]).await.unwrap();
        Self(client)
    }

    /// Waits until a transaction of the writer waits for the lock.
    pub async fn until_somebody_waits(&self) {
        eventually("an append waits for the lock", LIMIT, || async {
            let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
                           AND (classid::bigint << 32 | objid::bigint) = $1";
            self.0.query_one(waiting, &[&APPEND_LOCK]).await.unwrap().get::<_, i64>(0) > 0
        })
        .await;
    }

    pub async fn release(self) {
        self.0.execute("SELECT pg_advisory_unlock($1)", &[&APPEND_LOCK]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn past_its_queue_the_writer_refuses_at_once_with_advice_and_the_rest_is_appended() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let to = world.post("coordinator.desk").1;
    let hospital = world.caller(&program, "hospital.discharge").await.unwrap();
    let opened = hospital.referrals().submit_referral(hospital.request(referral(to, "kita_B"))).await;
    let case_id = opened.unwrap().into_inner().case_id;
    let before = log_head(&world).await;
    let held = Held::new(&world).await;

    let total = QUEUE_MAX + BATCH_MAX + 200;
    let mut channels: Vec<Channel> = Vec::new();
    for _ in 0..total.div_ceil(CALLS_PER_CONNECTION) {
        channels.push(program.channel().await.unwrap());
    }
    let token = world.token("hospital.discharge").unwrap();
    let post = world.post("hospital.discharge").1;
    let mut calls: FuturesUnordered<_> = (0..total)
        .map(|i| {
            let channel = channels[i % channels.len()].clone();
            let caller = Caller { channel, token: token.clone(), post };
            tokio::spawn(async move {
                caller.referrals().submit_referral(caller.request(referral(to, "kita_A"))).await
            })
        })
        .collect();
    // While nothing can be appended, whoever is past the queue already knows.
    let mut refused = 0;
    while refused < total - QUEUE_MAX - BATCH_MAX {
        let answer =
            tokio::time::timeout(LIMIT, calls.next()).await.expect("a refusal while the log is held");
        let seen = Seen::refused(answer.unwrap().unwrap());
        assert_eq!((seen.code, seen.reason.as_str()), (Code::ResourceExhausted, "OVERLOADED"));
        assert!(seen.retry.is_some_and(|delay| delay > Duration::ZERO), "{seen:?}");
        refused += 1;
    }
    assert_eq!(log_head(&world).await, before);
    // Reads do not wait for the writer.
    let reader = Caller { channel: channels[0].clone(), token, post };
    let list = reader.request(tasuki_contract::timeline::v1::ListCaseloadRequest::default());
    tokio::time::timeout(LIMIT, reader.timeline().list_caseload(list)).await.unwrap().unwrap();

    // A withdrawal is refused for no load: past every queue it waits in a lane of its own, ahead of what waits elsewhere.
    let ward = world.caller(&program, "ward-welfare.intake").await.unwrap();
    let withdrawal = tokio::spawn(async move {
        let request = WithdrawConsentRequest { case_id, ..Default::default() };
        ward.consents().withdraw_consent(ward.request(request)).await
    });
    // By the time these are answered it has long come to its lane.
    for _ in 0..20 {
        let list = reader.request(tasuki_contract::timeline::v1::ListCaseloadRequest::default());
        tokio::time::timeout(LIMIT, reader.timeline().list_caseload(list)).await.unwrap().unwrap();
    }
    held.until_somebody_waits().await;
    assert!(!withdrawal.is_finished(), "answered while nothing can be appended: {:?}", withdrawal.await);

    held.release().await;
    let withdrawn = tokio::time::timeout(LIMIT, withdrawal).await.unwrap().unwrap();
    let event_id = withdrawn.expect("a withdrawal is never refused").into_inner().receipt.unwrap().event_id;
    let mut accepted = 0;
    while let Some(answer) = tokio::time::timeout(LIMIT, calls.next()).await.expect("an answer") {
        match answer.unwrap() {
            Ok(_) => accepted += 1,
            Err(status) => {
                assert_eq!(Seen::of(&status).reason, "OVERLOADED");
                refused += 1;
            }
        }
    }
    assert_eq!(accepted + refused, total);
    assert!(accepted >= QUEUE_MAX, "{accepted} of {total}");
    // A referral that opens a case is two events; a withdrawal brings some more.
    let sql = async |sql: &str| {
        let answer = world.stack.postgres.sql("tasuki", sql).await.unwrap();
        answer.trim().parse::<usize>().unwrap()
    };
    let opened = "SELECT count(*) FROM log.events WHERE stream_kind = 1 AND version = 1";
    assert_eq!(sql(opened).await, accepted + 1, "what was refused was appended, or the reverse");
    let at = format!("SELECT position FROM log.events WHERE event_id = '{event_id}'");
    let ahead = sql(&at).await - usize::try_from(before).unwrap();
    assert!(ahead <= 2 * BATCH_MAX + 16, "{ahead} events stand before the withdrawal that {total} overtook");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_is_honoured_by_the_server_itself() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let caller = world.caller(&program, "hospital.discharge").await.unwrap();
    let to = world.post("coordinator.desk").1;
    let before = log_head(&world).await;
    let held = Held::new(&world).await;
    let request_id = uuid::Uuid::now_v7().to_string();
    let submit = || caller.request_as(referral(to, "kita_A"), &request_id);
    let answer = submit_over_h2(program.address(), submit(), "400m");
    let seen = Seen::of(&tokio::time::timeout(LIMIT, answer).await.unwrap());
    assert_eq!((seen.code, seen.reason.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    held.release().await;
    // Whether it was appended meanwhile is learned by asking again, and it is appended once.
    tokio::time::timeout(LIMIT, caller.referrals().submit_referral(submit())).await.unwrap().unwrap();
    assert_eq!(log_head(&world).await, before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_a_slow_database_are_bounded_too() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let before = log_head(&world).await;
    let (client, connection) =
        tokio_postgres::connect(&world.database_url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN; LOCK TABLE log.items IN ACCESS EXCLUSIVE MODE").await.unwrap();

    let total = CALLS_MAX + 100;
    let mut channels: Vec<Channel> = Vec::new();
    for _ in 0..total.div_ceil(CALLS_PER_CONNECTION) {
        channels.push(program.channel().await.unwrap());
    }
    let token = world.token("hospital.discharge").unwrap();
    let post = world.post("hospital.discharge").1;
    let mut calls: FuturesUnordered<_> = (0..total)
        .map(|i| {
            let channel = channels[i % channels.len()].clone();
            let caller = Caller { channel, token: token.clone(), post };
            let referral_id = uuid::Uuid::now_v7().to_string();
            tokio::spawn(async move {
                let request = AcknowledgeReferralRequest { context: None, referral_id };
                caller.referrals().acknowledge_referral(caller.request(request)).await
            })
        })
        .collect();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    while reasons.get("OVERLOADED").is_none_or(|n| *n < total - CALLS_MAX) {
        let answer = tokio::time::timeout(LIMIT, calls.next()).await.expect("a refusal").unwrap().unwrap();
        let seen = Seen::refused(answer);
        assert!(seen.retry.is_some(), "{seen:?}");
        *reasons.entry(seen.reason).or_default() += 1;
    }
    client.batch_execute("ROLLBACK").await.unwrap();
    while let Some(answer) = tokio::time::timeout(LIMIT, calls.next()).await.expect("an answer") {
        *reasons.entry(Seen::refused(answer.unwrap()).reason).or_default() += 1;
    }
    // The rest waited for a connection: in vain, or until it was found that there is no such referral.
    let known = ["NOT_FOUND", "OVERLOADED", "UNAVAILABLE"];
    assert!(reasons.keys().all(|reason| known.contains(&reason.as_str())), "{reasons:?}");
    assert_eq!(reasons.values().sum::<usize>(), total);
    assert_eq!(log_head(&world).await, before);
}

/// A call by a client that keeps no time itself: tonic's own would end the call before the server does.
async fn submit_over_h2(
    address: &str,
    request: tonic::Request<tasuki_contract::intake::v1::SubmitReferralRequest>,
    grpc_timeout: &str,
) -> tonic::Status {
    let tcp = TcpStream::connect(address.strip_prefix("http://").unwrap()).await.unwrap();
    let (client, connection) = h2::client::handshake(tcp).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let path = format!("{address}/tasuki.intake.v1.ReferralService/SubmitReferral");
    let mut head = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", grpc_timeout);
    head.headers_mut().unwrap().extend(request.metadata().clone().into_headers());
    let (response, mut body) = client.send_request(head.body(()).unwrap(), false).unwrap();
    let message = request.into_inner().encode_to_vec();
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend_from_slice(&message);
    body.send_data(Bytes::from(framed), true).unwrap();
    let response = response.await.unwrap();
    if let Some(status) = tonic::Status::from_header_map(response.headers()) {
        return status;
    }
    let mut body = response.into_body();
    while let Some(part) = body.data().await {
        part.unwrap();
    }
    let trailers = body.trailers().await.unwrap().expect("trailers");
    tonic::Status::from_header_map(&trailers).expect("a status")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_token_is_answered_before_its_message_and_takes_nobodys_place() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    // As many open calls as would take every place, none of which ever sends its message.
    let per_connection = 1_000;
    let mut open = Vec::new();
    for _ in 0..CALLS_MAX.div_ceil(per_connection) + 1 {
        let tcp = TcpStream::connect(program.address().strip_prefix("http://").unwrap()).await.unwrap();
        let (client, connection) = h2::client::handshake(tcp).await.unwrap();
        tokio::spawn(connection);
        for _ in 0..per_connection {
            let path = format!("{}/tasuki.timeline.v1.TimelineService/ListDuties", program.address());
            let head = http::Request::post(path).header("content-type", "application/grpc");
            let request = head.header("te", "trailers").body(()).unwrap();
            let mut ready = tokio::time::timeout(LIMIT, client.clone().ready()).await.unwrap().unwrap();
            let (answer, body) = ready.send_request(request, false).unwrap();
            open.push((answer, body));
        }
    }
    let mut answered = 0;
    for (answer, _) in &mut open {
        let answer = tokio::time::timeout(LIMIT, answer).await.expect("an answer").unwrap();
        assert_eq!(answer.headers().get("grpc-status").unwrap(), "16");
        answered += 1;
    }
    assert!(answered > CALLS_MAX);
    // The bodies are still open; who has a token is served.
    let caller = world.caller(&program, "coordinator.desk").await.unwrap();
    let list = tasuki_contract::timeline::v1::ListCaseloadRequest::default();
    caller.timeline().list_caseload(caller.request(list)).await.unwrap();
}
