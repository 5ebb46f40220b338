//! Hostile tokens and headers against the real program: each is refused for its own reason, and nothing of it stays.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};
use tasuki_tests::issuer::{Issuer, claims, jwks, unsigned};
use tasuki_tests::{Caller, World, referral};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;
use tonic::metadata::{AsciiMetadataValue, MetadataValue};

use crate::PROGRAM;
use crate::answer::{self, Seen, call_request};
use crate::process::Process;

const NAME: &str = "https://issuer.example";
const PATH: &str = "/tasuki.directory.v1.DirectoryService/ListPosts";
const LIMIT: Duration = Duration::from_secs(30);

/// A program that trusts one issuer, beside the try-out issuer.
async fn trusting(world: &World, issuer: &Issuer) -> Process {
    let document = world.directory.join("jwks.json");
    std::fs::write(&document, jwks(&[issuer])).unwrap();
    let process =
        Process::serve(world, &[("TASUKI_ISSUER", NAME), ("TASUKI_JWKS", &document.display().to_string())])
            .await;
    world.register_through(process.channel().await).await.unwrap();
    process
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_stale_and_foreign_tokens_are_refused_each_for_its_own_reason() {
    let world = World::start(PROGRAM).await.unwrap();
    let issuer = Issuer::new("key").unwrap();
    let process = trusting(&world, &issuer).await;
    let (agency, post) = world.post("hospital.discharge");
    let (other_agency, other_post) = world.post("coordinator.desk");
    let good = claims(NAME, agency, post);
    let now = jiff::Timestamp::now().as_second();
    let but = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        issuer.token(&claims)
    };
    let header = |alg: &str| json!({"alg": alg, "kid": "key", "typ": "JWT"});
    let hs256 = |secret: &[u8]| {
        let message = unsigned(&header("HS256"), &good);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    };
    let token = issuer.token(&good);
    let (message, signature) = token.rsplit_once('.').unwrap();
    let grafted = {
        // Claims of another, under a signature that is good for one's own.
        let theirs = unsigned(&header("EdDSA"), &claims(NAME, other_agency, other_post));
        format!("{theirs}.{signature}")
    };
    let jwk_within = {
        let own = Issuer::new("key").unwrap();
        let within: Value = serde_json::from_str(&jwks(&[&own])).unwrap();
        own.token_with(
            &json!({"alg": "EdDSA", "kid": "key", "jwk": within["keys"][0], "jku": "https://x.example"}),
            &good,
        )
    };
    let public = URL_SAFE_NO_PAD.encode(issuer.public());
    for (what, token, reason) in [
        ("another's key under the same id", Issuer::new("key").unwrap().token(&good), "TOKEN_BAD_SIGNATURE"),
        ("a key that it brings itself", jwk_within, "TOKEN_BAD_SIGNATURE"),
        ("another's claims", grafted, "TOKEN_BAD_SIGNATURE"),
        ("an unknown key", Issuer::new("other").unwrap().token(&good), "TOKEN_UNKNOWN_KEY"),
        ("no signature", format!("{message}."), "TOKEN_BAD_SIGNATURE"),
        ("alg none", format!("{}.", unsigned(&header("none"), &good)), "TOKEN_UNSUPPORTED_ALGORITHM"),
        (
            "alg None",
            format!("{}.{signature}", unsigned(&header("None"), &good)),
            "TOKEN_UNSUPPORTED_ALGORITHM",
        ),
        ("the public key as a secret", hs256(issuer.public()), "TOKEN_UNSUPPORTED_ALGORITHM"),
        ("its text as a secret", hs256(public.as_bytes()), "TOKEN_UNSUPPORTED_ALGORITHM"),
        (
            "another algorithm for the key",
            issuer.token_with(&header("ES256"), &good),
            "TOKEN_UNSUPPORTED_ALGORITHM",
        ),
        ("expired", but("exp", json!(now - 1)), "TOKEN_EXPIRED"),
        ("from tomorrow", but("nbf", json!(now + 86_400)), "TOKEN_NOT_YET_VALID"),
        ("issued tomorrow", but("iat", json!(now + 86_400)), "TOKEN_NOT_YET_VALID"),
        ("for another audience", but("aud", json!(["elsewhere"])), "TOKEN_WRONG_AUDIENCE"),
        ("of another issuer", but("iss", json!("https://x.example")), "TOKEN_UNKNOWN_ISSUER"),
        ("without an agency", but("agency", Value::Null), "TOKEN_MALFORMED"),
        ("an end that is text", but("exp", json!("never")), "TOKEN_MALFORMED"),
        ("no token at all", "x".repeat(10_000), "TOKEN_MALFORMED"),
    ] {
        let caller = Caller { token, ..process.caller(&world, "hospital.discharge").await };
        let seen = Seen::refused(answer::is_let_in(&caller).await);
        assert_eq!((seen.code, seen.reason.as_str()), (Code::Unauthenticated, reason), "{what}");
        assert!(!String::from_utf8_lossy(&seen.whole.2).contains(&caller.token), "{what}: it is repeated");
    }
    // A good token of one agency, for the post of another: claimed is not held, and held is not claimed.
    for (what, agency, posts, subject) in [
        ("another's post", agency, other_post, post),
        ("another's post, as one of its agency", other_agency, other_post, post),
        ("one's own post, as one of another agency", other_agency, post, post),
        ("another's subject at one's own post", agency, post, other_post),
    ] {
        let mut claims = claims(NAME, agency, posts);
        claims["sub"] = json!(tasuki::region::holder_of(subject));
        let caller =
            Caller { token: issuer.token(&claims), ..process.caller(&world, "hospital.discharge").await };
        let seen = Seen::refused(answer::is_let_in(&caller).await);
        assert_eq!((seen.code, seen.reason.as_str()), (Code::PermissionDenied, "POST_NOT_HELD"), "{what}");
    }
    answer::is_let_in(&Caller { token, ..process.caller(&world, "hospital.discharge").await }).await.unwrap();
    assert_clean(&process.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn injected_doubled_endless_and_foreign_headers_do_nothing() {
    let world = World::start(PROGRAM).await.unwrap();
    let process = Process::serve(&world, &[]).await;
    world.register_through(process.channel().await).await.unwrap();
    let caller = process.caller(&world, "nursery.head").await;
    let ascii = |text: &str| AsciiMetadataValue::try_from(text).unwrap();
    let bytes = |text: &str| AsciiMetadataValue::try_from(text.as_bytes()).unwrap();

    // Twice: what stands in front of us may have looked at the other.
    let desk = format!("Bearer {}", world.token("coordinator.desk").unwrap());
    for (name, value, reason) in [
        ("authorization", ascii(&desk), "TOKEN_MALFORMED"),
        ("x-purpose", ascii("emergency"), "INVALID_ARGUMENT"),
        ("x-request-id", ascii("another"), "INVALID_ARGUMENT"),
    ] {
        let mut request = caller.request(Vec::new());
        request.metadata_mut().append(name, value);
        let seen = Seen::refused(call_request(&caller, PATH, request).await);
        assert_eq!(seen.reason, reason, "{name} twice");
    }
    // What is no plain ASCII, or stands for somebody else.
    let foreign = world.post("coordinator.desk").1.to_string();
    for (name, value, reason) in [
        ("x-purpose", bytes("care_coordination\u{e9}"), "INVALID_ARGUMENT"),
        ("x-purpose", ascii("care_coordination\tadministration"), "INVALID_ARGUMENT"),
        ("x-request-id", bytes("再送"), "INVALID_ARGUMENT"),
        ("x-request-id", ascii(&"a".repeat(5_000)), "INVALID_ARGUMENT"),
        ("x-post", ascii(&foreign), "POST_NOT_HELD"),
        ("x-post", ascii("*"), "INVALID_ARGUMENT"),
        ("authorization", bytes("Bearer 襷"), "TOKEN_MISSING"),
        ("authorization", ascii("Basic dXNlcjpwYXNz"), "TOKEN_MALFORMED"),
    ] {
        let mut request = caller.request(Vec::new());
        request.metadata_mut().insert(name, value);
        let seen = Seen::refused(call_request(&caller, PATH, request).await);
        assert_eq!(seen.reason, reason, "{name}");
    }
    // Names that other systems believe in: they change nothing.
    let plain = call_request(&caller, PATH, caller.request(Vec::new())).await.unwrap();
    let mut request = caller.request(Vec::new());
    for name in
        ["x-forwarded-for", "x-agency", "x-subject", "x-operator", "x-real-ip", "host", "x-original-url"]
    {
        request.metadata_mut().insert(name, MetadataValue::from_static("coordinator"));
    }
    assert_eq!(call_request(&caller, PATH, request).await.unwrap(), plain);
    // More than a connection may send: refused, and the connection or another one goes on.
    let mut request = caller.request(Vec::new());
    request.metadata_mut().insert("x-long", ascii(&"a".repeat(200_000)));
    assert!(call_request(&caller, PATH, request).await.is_err());
    let caller = process.caller(&world, "nursery.head").await;
    answer::is_let_in(&caller).await.unwrap();

    // What no HTTP library sends: line ends, NUL and upper case on the wire itself.
    let address = process.address().trim_start_matches("http://").to_owned();
    for (name, value) in [
        ("x-purpose", "care_coordination\r\nx-post: 1"),
        ("x-purpose", "care\0coordination"),
        ("x-request-id", "a\nFORGED-LOG-LINE level=ERROR"),
        ("traceparent", "00-\r\nFORGED-LOG-LINE-01"),
        ("X-Purpose", "care_coordination"),
        ("x-a\r\nb", "c"),
        (":path", "/tasuki.timeline.v1.TimelineService/ReadFeed"),
        ("connection", "upgrade"),
        ("transfer-encoding", "chunked"),
    ] {
        let frames = raw(&address, &caller.token, name, value).await;
        assert!(!frames.is_empty(), "no answer to {name:?}: {value:?}");
    }
    answer::is_let_in(&caller).await.unwrap();
    let hospital = process.caller(&world, "hospital.discharge").await;
    let request = hospital.request(referral(world.post("coordinator.desk").1, "MARK-LABEL"));
    hospital.referrals().submit_referral(request).await.expect("it works as before");
    assert_clean(&process.said());
}

fn assert_clean(said: &str) {
    for never in ["panicked", "FORGED-LOG-LINE", "eyJ", "Bearer", "holder:", "MARK-"] {
        assert!(!said.contains(never), "{never} in: {said}");
    }
}

/// Sends one call with one header more, as it stands, in HTTP/2 made by hand; the kinds of the frames that answer it.
async fn raw(address: &str, token: &str, name: &str, value: &str) -> Vec<u8> {
    let bearer = format!("Bearer {token}");
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", PATH),
        (":authority", address),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &bearer),
        (name, value),
    ] {
        // Literal, not indexed, not compressed.
        block.push(0);
        for text in [name, value] {
            block.extend(hpack_length(text.len()));
            block.extend(text.as_bytes());
        }
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut sent = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    sent.extend(frame(4, 0, 0, &[]));
    sent.extend(frame(1, 4, 1, &block));
    sent.extend(frame(0, 1, 1, &[0; 5]));
    stream.write_all(&sent).await.unwrap();
    let mut kinds = Vec::new();
    let answered = async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                // It hung up on us, which is an answer too.
                kinds.push(u8::MAX);
                return;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            if stream.read_exact(&mut payload).await.is_err() {
                kinds.push(u8::MAX);
                return;
            }
            // HEADERS or RST_STREAM of the call, or GOAWAY.
            if matches!(head[3], 1 | 3 | 7) {
                kinds.push(head[3]);
                return;
            }
        }
    };
    tokio::time::timeout(LIMIT, answered).await.unwrap_or_else(|_| panic!("it hangs on {name:?}: {value:?}"));
    kinds
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A length in seven bits of the first byte, the rest after it.
fn hpack_length(length: usize) -> Vec<u8> {
    if length < 127 {
        return vec![length as u8];
    }
    let (mut bytes, mut rest) = (vec![127], length - 127);
    while rest >= 128 {
        bytes.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}
