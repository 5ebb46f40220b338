//! An issuer that publishes its keys by HTTPS and rotates them while the program runs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tasuki_tests::certs::Authority;
use tasuki_tests::issuer::{Issuer, claims, jwks};
use tasuki_tests::{Caller, World, eventually};
use tasuki_transport::server::ServerFiles;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tonic::Code;

use crate::PROGRAM;
use crate::answer::{self, Seen};
use crate::process::Process;
use crate::streams::Feed;

const LIMIT: Duration = Duration::from_secs(60);
const NAME: &str = "https://issuer.example";

/// A web server whose one document can be changed; it counts how often it was asked for.
struct Published {
    url: String,
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<Mutex<u32>>,
}

impl Published {
    async fn new(files: ServerFiles, document: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("https://localhost:{}/keys?of=all", listener.local_addr().unwrap().port());
        let (answer, asked) = (Arc::new(Mutex::new((200, document))), Arc::new(Mutex::new(0)));
        let acceptor = tokio_rustls::TlsAcceptor::from(files.load().unwrap());
        let (answers, count) = (answer.clone(), asked.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = vec![0; 4_096];
                let n = stream.read(&mut request).await.unwrap_or(0);
                assert!(request[..n].starts_with(b"GET /keys?of=all HTTP/1.1\r\n"));
                *count.lock().unwrap() += 1;
                let (status, document) = answers.lock().unwrap().clone();
                let text =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{document}", document.len());
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { url, answer, asked }
    }

    fn publish(&self, status: u16, document: String) {
        *self.answer.lock().unwrap() = (status, document);
    }

    fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_read_by_https_and_again_after_a_rotation_and_the_last_good_ones_outlive_a_failure() {
    let world = World::start(PROGRAM).await.unwrap();
    let authority = Authority::new(&world.directory, "authority").unwrap();
    let shown = authority.sign(&world.directory, "issuer", &["localhost"], &[]).unwrap();
    let files = ServerFiles { certificate: shown.certificate, key: shown.key, clients: None };
    let (first, second) = (Issuer::new("first").unwrap(), Issuer::new("second").unwrap());
    let published = Published::new(files, jwks(&[&first])).await;
    let ca = authority.file.display().to_string();
    let process = Process::serve(
        &world,
        &[("TASUKI_ISSUER", NAME), ("TASUKI_JWKS", &published.url), ("TASUKI_JWKS_CA", &ca)],
    )
    .await;
    world.register_through(process.channel().await).await.unwrap();
    let (agency, post) = world.post("hospital.discharge");
    let channel = process.channel().await;
    let by = |issuer: &Issuer| Caller {
        channel: channel.clone(),
        token: issuer.token(&claims(NAME, agency, post)),
        post,
    };
    answer::is_let_in(&by(&first)).await.unwrap();
    assert_eq!(published.asked(), 1);

    // Rotated: one token by the new key is refused, and makes the keys be read; the old key is worth nothing then.
    let mut stream = Feed::open(&by(&first), "").await.unwrap();
    stream.until_caught_up().await;
    published.publish(200, jwks(&[&second]));
    let refused = Seen::refused(answer::is_let_in(&by(&second)).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unauthenticated, "TOKEN_UNKNOWN_KEY"));
    eventually("the new key is accepted", LIMIT, || async { answer::is_let_in(&by(&second)).await.is_ok() })
        .await;
    let refused = Seen::refused(answer::is_let_in(&by(&first)).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unauthenticated, "TOKEN_UNKNOWN_KEY"));
    let ended = Seen::of(&tokio::time::timeout(LIMIT, stream.end()).await.expect("the end of the stream"));
    assert_eq!((ended.code, ended.reason.as_str()), (Code::Unauthenticated, "TOKEN_UNKNOWN_KEY"));

    // The publisher fails in turn: what was good stays good, however often others are tried.
    for (status, document) in
        [(500, jwks(&[&first])), (200, "{\"keys\":".to_owned()), (200, " ".repeat(300_000))]
    {
        let (asked, before) = (published.asked(), process.said().matches("last good ones hold").count());
        published.publish(status, document);
        eventually("the failure is told", LIMIT, || async {
            assert!(answer::is_let_in(&by(&first)).await.is_err());
            process.said().matches("last good ones hold").count() > before
        })
        .await;
        assert!(published.asked() - asked <= 2, "asked at every call");
        answer::is_let_in(&by(&second)).await.expect("the last good keys");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_not_taken_from_plain_http_nor_from_whom_nobody_vouches_for() {
    let world = World::start(PROGRAM).await.unwrap();
    let authority = Authority::new(&world.directory, "authority").unwrap();
    let other = Authority::new(&world.directory, "other").unwrap();
    let shown = authority.sign(&world.directory, "issuer", &["localhost"], &[]).unwrap();
    let files = ServerFiles { certificate: shown.certificate, key: shown.key, clients: None };
    let published = Published::new(files, jwks(&[&Issuer::new("first").unwrap()])).await;
    let plain = published.url.replace("https", "http");
    let elsewhere = published.url.replace("localhost", "127.0.0.1");
    for (url, ca, said) in [
        (&plain, &authority.file, "https only"),
        (&published.url, &other.file, "certificate"),
        (&elsewhere, &authority.file, "certificate"),
    ] {
        let mut command = tokio::process::Command::new(PROGRAM);
        command
            .arg("serve")
            .env("TASUKI_DATABASE_URL", &world.database_url)
            .env("TASUKI_NATS_URL", world.stack.nats.url())
            .env("TASUKI_SECRETS_DIR", &world.directory)
            .envs([
                ("TASUKI_ISSUER", NAME),
                ("TASUKI_JWKS", url),
                ("TASUKI_JWKS_CA", &ca.display().to_string()),
            ])
            .kill_on_drop(true);
        let refused = tokio::time::timeout(LIMIT, command.output()).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(said), "{url}: {text}");
    }
    assert_eq!(published.asked(), 0);
}
