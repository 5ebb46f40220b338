//! TLS at every end: what leaves the machine is never plain text, and who is at the other end is looked at.

use std::path::Path;
use std::time::Duration;

use tasuki_tests::certs::{Authority, Identity};
use tasuki_tests::{Caller, World, eventually};
use tokio::process::Command;
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::process::Process;
use crate::{PROGRAM, answer};

const LIMIT: Duration = Duration::from_secs(60);

/// An endpoint that trusts the authority, and shows a certificate if it is given one.
fn endpoint(address: &str, authority: &Path, shown: Option<&Identity>) -> Endpoint {
    let mut tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(std::fs::read(authority).unwrap()));
    if let Some(Identity { certificate, key }) = shown {
        let (certificate, key) = (std::fs::read(certificate).unwrap(), std::fs::read(key).unwrap());
        tls = tls.identity(tonic::transport::Identity::from_pem(certificate, key));
    }
    let endpoint = Endpoint::from_shared(address.replace("127.0.0.1", "localhost")).unwrap();
    endpoint.tls_config(tls).unwrap().connect_timeout(Duration::from_secs(10))
}

/// The command line of `serve` against the world's servers.
fn serve(world: &World) -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .args(["serve", "--insecure-dev-issuer"])
        .env("TASUKI_DATABASE_URL", &world.database_url)
        .env("TASUKI_NATS_URL", world.stack.nats.url())
        .env("TASUKI_SECRETS_DIR", &world.directory)
        .env("TASUKI_LISTEN", "127.0.0.1:0");
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_refuses_plain_text_beyond_the_machine_to_callers_database_and_broker() {
    let world = World::start(PROGRAM).await.unwrap();
    for (name, value, said) in [
        ("TASUKI_LISTEN", "0.0.0.0:0", "TASUKI_TLS_CERT"),
        ("TASUKI_DATABASE_URL", "postgres://tasuki@192.0.2.1/tasuki?sslmode=disable", "plain text"),
        ("TASUKI_NATS_URL", "nats://192.0.2.1:4222", "tls://"),
    ] {
        let refused = serve(&world).env(name, value).kill_on_drop(true).output();
        let refused = tokio::time::timeout(LIMIT, refused).await.expect(name).unwrap();
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && text.contains(said), "{name}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_postgresql_and_nats_are_spoken_to_over_tls_and_a_renewed_certificate_needs_no_restart() {
    let world = World::start(PROGRAM).await.unwrap();
    let directory = &world.directory;
    let authority = Authority::new(directory, "authority").unwrap();
    let other = Authority::new(directory, "other").unwrap();
    let shown = authority.sign(directory, "server", &["localhost", "127.0.0.1"], &[]).unwrap();
    over_tls(&world, &shown).await;
    let url = |authority: &Authority| {
        format!("{}?sslmode=verify-full&sslrootcert={}", world.database_url, authority.file.display())
    };
    let mut command = serve(&world);
    command
        .env("TASUKI_DATABASE_URL", url(&authority))
        .env("TASUKI_NATS_URL", world.stack.nats.url().replace("nats://", "tls://"))
        .env("TASUKI_NATS_CA", &authority.file)
        .env("TASUKI_TLS_CERT", &shown.certificate)
        .env("TASUKI_TLS_KEY", &shown.key);
    let process = Process::start(command).await;
    assert!(process.address().starts_with("https://"), "{}", process.address());

    // Everything works, to the notice by way of NATS.
    let channel = endpoint(process.address(), &authority.file, None).connect().await.unwrap();
    world.register_through(channel.clone()).await.unwrap();
    let caller = Caller {
        channel,
        token: world.token("hospital.discharge").unwrap(),
        post: world.post("hospital.discharge").1,
    };
    answer::is_let_in(&caller).await.unwrap();
    world.views_reach_the_log().await.unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
                    WHERE a.application_name LIKE 'tasuki%' AND a.client_port > 0 AND s.ssl";
    let encrypted = world.stack.postgres.sql("tasuki", sessions).await.unwrap();
    assert!(encrypted.trim().parse::<u32>().unwrap() > 3, "{encrypted}");

    let creds = world.secrets.operator.as_ref().unwrap().service_creds().unwrap();
    let broker = async |authority: &Authority| {
        let options = async_nats::ConnectOptions::with_credentials(&creds).unwrap();
        let options = options.add_root_certificates(authority.file.clone());
        options.connect(world.stack.nats.url().replace("nats://", "tls://")).await
    };
    let relayed = async_nats::jetstream::new(broker(&authority).await.unwrap());
    eventually("the log is relayed over TLS", LIMIT, || async {
        relayed.get_stream("TASUKI_LOG").await.is_ok_and(|stream| stream.cached_info().state.messages > 0)
    })
    .await;
    assert!(broker(&other).await.is_err());

    // Neither end talks to somebody else.
    assert!(endpoint(process.address(), &other.file, None).connect().await.is_err());
    let plain = process.address().replace("https", "http");
    let plain = Endpoint::from_shared(plain).unwrap().connect_lazy();
    let plain = answer::is_let_in(&Caller { channel: plain, ..caller.clone() }).await.unwrap_err();
    assert!(std::error::Error::source(&plain).is_some(), "answered, over plain text: {plain:?}");
    let deceived = serve(&world).env("TASUKI_DATABASE_URL", url(&other)).kill_on_drop(true).output();
    let deceived = tokio::time::timeout(LIMIT, deceived).await.unwrap().unwrap();
    assert!(!deceived.status.success(), "it spoke to a database with another authority's certificate");

    // A certificate of another authority under the same names: callers see it without a restart.
    other.sign(directory, "server", &["localhost", "127.0.0.1"], &[]).unwrap();
    eventually("the new certificate is shown", LIMIT, || async {
        endpoint(process.address(), &other.file, None).connect().await.is_ok()
    })
    .await;
    assert!(endpoint(process.address(), &authority.file, None).connect().await.is_err());
    answer::is_let_in(&caller).await.expect("what is open stays open");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_client_certificates_nobody_comes_in_without_one_and_one_is_good_for_the_agencies_it_names() {
    let world = World::start(PROGRAM).await.unwrap();
    let directory = &world.directory;
    let authority = Authority::new(directory, "authority").unwrap();
    let clients = Authority::new(directory, "clients").unwrap();
    let shown = authority.sign(directory, "server", &["localhost"], &[]).unwrap();
    let mut command = serve(&world);
    command
        .env("TASUKI_TLS_CERT", &shown.certificate)
        .env("TASUKI_TLS_KEY", &shown.key)
        .env("TASUKI_TLS_CLIENT_CA", &clients.file);
    let process = Process::start(command).await;
    let connect = async |shown: Option<&Identity>| {
        let channel = endpoint(process.address(), &authority.file, shown).connect().await?;
        let post = world.post("hospital.discharge").1;
        Ok::<_, tonic::transport::Error>(Caller {
            channel,
            token: world.token("hospital.discharge").unwrap(),
            post,
        })
    };
    let gateway = clients.sign(directory, "gateway", &["gateway.example"], &[]).unwrap();
    let gateway = connect(Some(&gateway)).await.unwrap();
    world.register_through(gateway.channel.clone()).await.unwrap();
    answer::is_let_in(&gateway).await.expect("a certificate without an agency is good for all");

    let agency = |slug: &str| format!("urn:tasuki:agency:{}", world.post(slug).0.0);
    let own = clients.sign(directory, "own", &[], &[agency("hospital"), agency("coordinator")]).unwrap();
    answer::is_let_in(&connect(Some(&own)).await.unwrap()).await.expect("its own agency");
    let others = clients.sign(directory, "others", &[], &[agency("nursery")]).unwrap();
    let refused = answer::is_let_in(&connect(Some(&others)).await.unwrap()).await.unwrap_err();
    let seen = answer::Seen::of(&refused);
    assert_eq!((seen.code, seen.reason.as_str()), (Code::Unauthenticated, "CERTIFICATE_OF_ANOTHER_AGENCY"));

    let forged = authority.sign(directory, "forged", &[], &[agency("hospital")]).unwrap();
    let malformed = clients.sign(directory, "malformed", &[], &["urn:tasuki:agency:all".to_owned()]).unwrap();
    for (what, shown) in [("none", None), ("forged", Some(&forged)), ("malformed", Some(&malformed))] {
        // With TLS 1.3 a client learns of its refusal after its own part of the handshake.
        let refused = match connect(shown).await {
            Ok(caller) => answer::is_let_in(&caller).await.map_err(|status| status.code()),
            Err(_) => Err(Code::Unavailable),
        };
        assert!(
            matches!(refused, Err(Code::Unavailable | Code::Unknown | Code::Cancelled)),
            "{what}: {refused:?}"
        );
    }
    drop(process);
}

/// Gives PostgreSQL and nats-server the certificate, and lets nats-server take nothing else.
async fn over_tls(world: &World, shown: &Identity) {
    let postgres = &world.stack.postgres;
    // As the server's own user, in its own directory: it takes no key that another user owns.
    let copy = format!(
        "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null; install -m 600 {} tls.key'",
        shown.key.display()
    );
    postgres.sql("tasuki", &copy).await.unwrap();
    let certificate = format!("ALTER SYSTEM SET ssl_cert_file = '{}'", shown.certificate.display());
    for statement in [
        certificate.as_str(),
        "ALTER SYSTEM SET ssl_key_file = 'tls.key'",
        "ALTER SYSTEM SET ssl = on",
        "SELECT pg_reload_conf()",
    ] {
        postgres.sql("tasuki", statement).await.unwrap();
    }
    eventually("PostgreSQL speaks TLS", LIMIT, || async {
        postgres.sql("tasuki", "SHOW ssl").await.is_ok_and(|on| on.trim() == "on")
    })
    .await;
    let operator = world.secrets.operator.as_ref().unwrap().server_config().unwrap();
    let (certificate, key) = (shown.certificate.display(), shown.key.display());
    world
        .stack
        .nats
        .set_extra(format!("{operator}\ntls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}\n"));
    world.stack.nats.stop().await.unwrap();
    world.stack.nats.restart().await.unwrap();
}
