//! A revoked credential: no call and no stream, in any process, and nobody else is touched.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tasuki_contract::directory::v1::RevokeCredentialRequest;
use tasuki_contract::directory::v1::directory_service_client::DirectoryServiceClient;
use tasuki_tests::issuer::{Issuer, claims, jwks};
use tasuki_tests::{Caller, World};
use tonic::Code;

use crate::PROGRAM;
use crate::answer::{self, Seen};
use crate::process::Process;
use crate::streams::Feed;

const NAME: &str = "https://issuer.example";
const LIMIT: Duration = Duration::from_secs(60);
/// The directory is half a second old at most; the rest is the machine's.
const WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_and_a_revoked_subject_are_out_in_every_process_and_their_streams_end() {
    let world = World::start(PROGRAM).await.unwrap();
    let issuer = Issuer::new("key").unwrap();
    let document = world.directory.join("jwks.json");
    std::fs::write(&document, jwks(&[&issuer])).unwrap();
    let document = document.display().to_string();
    let environment = [("TASUKI_ISSUER", NAME), ("TASUKI_JWKS", document.as_str())];
    let (here, there) =
        (Process::serve(&world, &environment).await, Process::serve(&world, &environment).await);
    world.register_through(here.channel().await).await.unwrap();
    let (agency, post) = world.post("hospital.discharge");
    let subject = tasuki::region::holder_of(post);
    let now = jiff::Timestamp::now().as_second();
    let channel = there.channel().await;
    let with = |more: Value| {
        let mut claims = claims(NAME, agency, post);
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Caller { channel: channel.clone(), token: issuer.token(&claims), post }
    };
    let lost = with(json!({"jti": "token-1", "iat": now - 100}));
    let kept = with(json!({"jti": "token-2", "iat": now - 90}));
    let nameless = with(json!({"iat": now - 80}));
    let bystander = {
        let (agency, post) = world.post("coordinator.desk");
        Caller { channel: channel.clone(), token: issuer.token(&claims(NAME, agency, post)), post }
    };
    let everybody = [&lost, &kept, &nameless, &bystander];
    for caller in everybody {
        answer::is_let_in(caller).await.unwrap();
    }
    let mut streams = Vec::new();
    for caller in everybody {
        let mut stream = Feed::open(caller, "").await.unwrap();
        stream.until_caught_up().await;
        streams.push(stream);
    }
    let operator = tasuki::token::for_operator(world.secrets.issuer.as_ref().unwrap(), 3_600).unwrap();
    let operator = Caller { channel: here.channel().await, token: operator, post };
    let revoke = async |caller: &Caller, request: RevokeCredentialRequest| {
        DirectoryServiceClient::new(caller.channel.clone()).revoke_credential(caller.request(request)).await
    };
    let token = |id: &str| RevokeCredentialRequest { token_id: id.to_owned(), ..Default::default() };

    let refused = Seen::refused(revoke(&lost, token("token-2")).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "OPERATOR_ONLY"));

    // One token: its stream ends by itself, the same subject's others go on.
    revoke(&operator, token("token-1")).await.unwrap();
    let since = Instant::now();
    assert_out(&tokio::time::timeout(LIMIT, streams[0].end()).await.expect("the end of the stream"));
    assert!(since.elapsed() < WITHIN, "{:?}", since.elapsed());
    assert_out(&answer::is_let_in(&lost).await.unwrap_err());
    for caller in [&kept, &nameless, &bystander] {
        answer::is_let_in(caller).await.expect("another token");
    }
    let refused = Seen::refused(revoke(&operator, token("token-1")).await);
    assert_eq!(refused.reason, "ALREADY_EXISTS");

    // The subject, up to an instant: what was issued before it, with or without an id.
    let until =
        RevokeCredentialRequest { subject: subject.clone(), not_before_s: now - 85, ..Default::default() };
    revoke(&operator, until).await.unwrap();
    assert_out(&tokio::time::timeout(LIMIT, streams[1].end()).await.expect("the end of the stream"));
    assert_out(&answer::is_let_in(&kept).await.unwrap_err());
    answer::is_let_in(&nameless).await.expect("issued after the instant");
    revoke(&operator, RevokeCredentialRequest { subject: subject.clone(), ..Default::default() })
        .await
        .unwrap();
    assert_out(&tokio::time::timeout(LIMIT, streams[2].end()).await.expect("the end of the stream"));
    assert_out(&answer::is_let_in(&nameless).await.unwrap_err());
    answer::is_let_in(&bystander).await.expect("another subject");
    let again = with(json!({"jti": "token-3", "iat": jiff::Timestamp::now().as_second() + 2}));
    answer::is_let_in(&again).await.expect("issued since");

    // A process that starts later knows it too, and nobody's opaque ids stand in a log line.
    let later = Process::serve(&world, &environment).await;
    assert_out(
        &answer::is_let_in(&Caller { channel: later.channel().await, ..kept.clone() }).await.unwrap_err(),
    );
    for process in [&here, &there, &later] {
        let said = process.said();
        assert!(!said.contains(&subject) && !said.contains("token-1"), "{said}");
    }
}

fn assert_out(status: &tonic::Status) {
    let seen = Seen::of(status);
    assert_eq!((seen.code, seen.reason.as_str()), (Code::Unauthenticated, "TOKEN_REVOKED"));
}
