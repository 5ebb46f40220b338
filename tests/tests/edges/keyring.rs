//! A keyring that is lost, damaged or another one: the program does not start, says so, and replaces nothing.

use tasuki::secrets::Secrets;
use tasuki_tests::World;
use tokio::process::Command;

use crate::PROGRAM;
use crate::up::{Directory, LIMIT, try_tool, up};

#[tokio::test(flavor = "multi_thread")]
async fn up_does_not_start_over_a_keyring_that_is_damaged_or_was_lost() {
    let directory = Directory::new();
    let state = directory.state();
    let mut first = up(&state).await;
    first.signal("TERM").await;
    assert!(first.ended(LIMIT).await.success(), "{}", first.said());
    let path = state.join("secrets/keyring");
    let kept = std::fs::read(&path).unwrap();

    let damaged = &kept[..kept.len() / 2];
    std::fs::write(&path, damaged).unwrap();
    let (worked, _, error) = try_tool(&state, &["up"]).await;
    assert!(!worked && error.contains(&path.display().to_string()), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), damaged);

    std::fs::remove_file(&path).unwrap();
    let (worked, _, error) = try_tool(&state, &["up"]).await;
    assert!(!worked && error.contains("the keyring does not fit this log"), "{error}");

    std::fs::write(&path, kept).unwrap();
    let mut again = up(&state).await;
    again.signal("TERM").await;
    assert!(again.ended(LIMIT).await.success(), "{}", again.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_with_another_keyring_is_refused() {
    let world = World::start(PROGRAM).await.unwrap();
    let _first = world.serve("all").await.unwrap();
    let other = Directory::new();
    Secrets::open_or_create(&other.0).unwrap();
    let mut command = Command::new(PROGRAM);
    command
        .args(["serve", "--insecure-dev-issuer"])
        .env("TASUKI_DATABASE_URL", &world.database_url)
        .env("TASUKI_NATS_URL", world.stack.nats.url())
        .env("TASUKI_SECRETS_DIR", &other.0)
        .env("TASUKI_LISTEN", "127.0.0.1:0")
        .kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("an end").unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("the keyring does not fit this log"), "{error}");
}
