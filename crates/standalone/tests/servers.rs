//! The servers as their owner uses them: side by side, killed, restarted, wiped, kept.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use support::{Dir, nats_request, stream_messages, wait_until};
use tasuki_standalone::{Error, Nats, NatsOptions, Place, Postgres, PostgresOptions, Stack, StackOptions};

#[tokio::test]
async fn two_stacks_run_side_by_side_also_when_the_usual_ports_are_taken() {
    // Somebody else may hold them already: that is the same to us.
    let _usual = [5432, 4222].map(|port| TcpListener::bind(("127.0.0.1", port)));
    let (one, two) =
        tokio::join!(Stack::start(StackOptions::throw_away()), Stack::start(StackOptions::throw_away()));
    let (one, two) = (one.unwrap(), two.unwrap());
    let ports = [one.postgres.port(), one.nats.port(), two.postgres.port(), two.nats.port()];
    assert!(ports.iter().all(|port| ![5432, 4222].contains(port)));
    one.postgres.create_database("only_one").await.unwrap();
    let list = "SELECT count(*) FROM pg_database WHERE datname = 'only_one'";
    assert_eq!(one.postgres.sql("postgres", list).await.unwrap(), "1");
    assert_eq!(two.postgres.sql("postgres", list).await.unwrap(), "0");
    assert!(nats_request(one.nats.port(), "$JS.API.INFO", "").contains("\"streams\":0"));
    one.stop().await.unwrap();
    assert!(one.postgres.pid().is_none() && one.nats.pid().is_none());
    assert!(two.postgres.pid().is_some() && two.nats.pid().is_some());
}

#[tokio::test]
async fn a_cluster_commits_durably_listens_on_loopback_alone_and_asks_for_its_password() {
    let postgres = Postgres::shared().await.unwrap();
    for (setting, value) in [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("unix_socket_directories", ""),
        ("data_checksums", "on"),
    ] {
        assert_eq!(postgres.sql("postgres", &format!("SHOW {setting}")).await.unwrap(), value, "{setting}");
    }
    let mut psql = Command::new(postgres.programs().path("psql"));
    psql.args(["-w", "-X", "-h", "127.0.0.1", "-U", "tasuki", "-d", "postgres", "-c", "SELECT 1"]);
    let refused = psql.env_remove("PGPASSWORD").arg("-p").arg(postgres.port().to_string()).output().unwrap();
    assert!(!refused.status.success());
    assert!(!std::fs::metadata(postgres.data_dir()).unwrap().uid().eq(&0), "never as root");
    assert!(postgres.url("x").starts_with("postgres://tasuki:"));
}

#[tokio::test]
async fn a_shared_cluster_gives_each_test_a_database_of_its_own() {
    let first = Postgres::shared().await.unwrap();
    let second = Postgres::shared().await.unwrap();
    assert_eq!(first.pid(), second.pid());
    let url = first.create_database("apart").await.unwrap();
    assert!(url.ends_with("/apart"));
    assert!(matches!(second.create_database("apart").await, Err(Error::Helper { .. })));
    assert_eq!(second.ensure_database("apart").await.unwrap(), url);
    first.drop_database("apart").await.unwrap();
    second.create_database("apart").await.unwrap();
    assert!(matches!(first.create_database("a\"b").await, Err(Error::DatabaseName(_))));
}

#[tokio::test]
async fn a_setting_that_weakens_an_acknowledgement_is_refused() {
    for name in ["fsync", "Synchronous_Commit", "port", "x = 1\nfsync"] {
        let mut options = PostgresOptions::at(Place::ThrowAway);
        options.settings = vec![(name.into(), "off".into())];
        assert!(matches!(Postgres::start(options).await, Err(Error::Setting(_))), "{name}");
    }
    let mut options = PostgresOptions::at(Place::ThrowAway);
    options.settings = vec![("max_connections".into(), "37".into())];
    let postgres = Postgres::start(options).await.unwrap();
    assert_eq!(postgres.sql("postgres", "SHOW max_connections").await.unwrap(), "37");
}

#[tokio::test]
async fn a_killed_cluster_restarts_on_its_port_with_what_was_committed() {
    let postgres = Postgres::start(PostgresOptions::at(Place::ThrowAway)).await.unwrap();
    postgres.sql("postgres", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n").await.unwrap();
    assert!(matches!(postgres.restart().await, Err(Error::StillRuns(_))));
    let (port, first) = (postgres.port(), postgres.pid());
    postgres.kill().await.unwrap();
    postgres.ended().await;
    assert_eq!(postgres.pid(), None);
    postgres.restart().await.unwrap();
    assert_eq!(postgres.port(), port);
    assert_ne!(postgres.pid(), first);
    assert_eq!(postgres.sql("postgres", "SELECT count(*) FROM t").await.unwrap(), "1000");

    postgres.stop().await.unwrap();
    let thief = TcpListener::bind(("127.0.0.1", port)).unwrap();
    assert!(matches!(postgres.restart().await, Err(Error::PortTaken { .. })));
    drop(thief);
    postgres.restart().await.unwrap();
    assert_eq!(postgres.sql("postgres", "SELECT count(*) FROM t").await.unwrap(), "1000");
}

#[tokio::test]
async fn a_killed_broker_keeps_its_streams_until_they_are_wiped() {
    let nats = Nats::start(NatsOptions::at(Place::ThrowAway)).await.unwrap();
    let stream = r#"{"name":"s","subjects":["s.>"],"storage":"file"}"#;
    assert!(!nats_request(nats.port(), "$JS.API.STREAM.CREATE.s", stream).contains("\"error\""));
    nats_request(nats.port(), "s.one", "1");
    assert!(matches!(nats.wipe().await, Err(Error::StillRuns(_))));
    let port = nats.port();
    nats.kill().await.unwrap();
    nats.restart().await.unwrap();
    assert_eq!((nats.port(), stream_messages(port)), (port, Some(1)));
    nats.stop().await.unwrap();
    nats.wipe().await.unwrap();
    nats.restart().await.unwrap();
    assert_eq!((nats.port(), stream_messages(port)), (port, None));
}

#[tokio::test]
async fn the_callers_configuration_is_in_force_and_a_broken_one_is_told() {
    let mut options = NatsOptions::at(Place::ThrowAway);
    options.extra = "authorization { user: u, password: p }".into();
    options.max_payload_bytes = 2048;
    let nats = Nats::start(options).await.unwrap();
    let hello = std::net::TcpStream::connect(("127.0.0.1", nats.port())).unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(hello), &mut line).unwrap();
    assert!(line.contains("\"auth_required\":true") && line.contains("\"max_payload\":2048"), "{line}");
    nats.stop().await.unwrap();
    nats.set_extra("authorization {".into());
    let error = nats.restart().await.unwrap_err();
    assert!(matches!(&error, Error::Ended { log, .. } if log.contains("Parse error")), "{error}");
    // A failed restart leaves everything in place for the next.
    nats.set_extra(String::new());
    nats.restart().await.unwrap();
}

#[tokio::test]
async fn a_dropped_stack_takes_its_directories_with_it() {
    let stack = Stack::start(StackOptions::throw_away()).await.unwrap();
    let dirs = [stack.postgres.data_dir(), stack.nats.store_dir()];
    let homes = dirs.map(|dir| dir.parent().unwrap().to_owned());
    assert!(homes.iter().all(|home| home.is_dir()));
    drop(stack);
    wait_until("directories removed", || homes.iter().all(|home| !home.exists()));
}

#[tokio::test]
async fn kept_state_is_there_again_and_has_one_owner_at_a_time() {
    let dir = Dir::new();
    let state = dir.0.join(".tasuki");
    let first = Stack::start(StackOptions::kept(&state)).await.unwrap();
    first.postgres.sql("postgres", "CREATE TABLE t AS SELECT 7 AS n").await.unwrap();
    let password = first.postgres.data_dir().parent().unwrap().join("password");
    assert_eq!(std::fs::metadata(password).unwrap().mode() & 0o777, 0o600);
    let (port, url) = (first.postgres.port(), first.postgres.url("postgres"));
    let second = Stack::start(StackOptions::kept(&state)).await;
    assert!(matches!(second, Err(Error::AlreadyRunning { .. })));
    // Dropped, not stopped: the next owner has to wait for the keepers of the first.
    drop(first);
    let again = Stack::start(StackOptions::kept(&state)).await.unwrap();
    assert_eq!(again.postgres.sql("postgres", "SELECT n FROM t").await.unwrap(), "7");
    assert_eq!((again.postgres.port(), again.postgres.url("postgres")), (port, url));
    again.stop().await.unwrap();
}

#[tokio::test]
async fn a_stale_lock_file_that_names_a_living_process_does_not_stop_a_start() {
    let dir = Dir::new();
    let options = PostgresOptions::at(Place::Kept(dir.0.join(".tasuki")));
    let postgres = Postgres::start(options.clone()).await.unwrap();
    postgres.kill().await.unwrap();
    let lock_file = postgres.data_dir().join("postmaster.pid");
    let owner = std::fs::metadata(&lock_file).unwrap();
    drop(postgres);
    // A process of the same user now has the number, as after a restart of a container.
    let mut other = Command::new("cat");
    if nix::unistd::geteuid().is_root() {
        other.uid(owner.uid()).gid(owner.gid());
    }
    let mut other = other.current_dir("/").stdin(Stdio::piped()).spawn().unwrap();
    let text = std::fs::read_to_string(&lock_file).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    std::fs::write(&lock_file, format!("{}\n{rest}", other.id())).unwrap();
    let again = Postgres::start(options).await.unwrap();
    assert_eq!(again.sql("postgres", "SELECT 1").await.unwrap(), "1");
    assert!(other.try_wait().unwrap().is_none(), "the bystander was left alone");
    drop(other.stdin.take());
    other.wait().unwrap();
    again.stop().await.unwrap();
}
