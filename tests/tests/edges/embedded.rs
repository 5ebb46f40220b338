//! The embedded default: started, stopped, killed, started again, as root and not, and the commands beside it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use tasuki_tests::eventually;
use tokio::process::Command;

use crate::PROGRAM;
use crate::process::Process;
use crate::up::{Directory, LIMIT, call, is_listening, running, submit, tool, try_tool, up};

#[tokio::test(flavor = "multi_thread")]
async fn up_stops_both_servers_on_ctrl_c_and_has_everything_after_a_kill() {
    let directory = Directory::new();
    let state = directory.state();
    let mut program = up(&state).await;
    let first = running(&state);
    assert_eq!(first.pid, program.pid());
    let sent = submit(&state, "kita_A").await;
    assert!(is_listening(&first.database_url).await && is_listening(&first.nats_url).await);

    program.signal("KILL").await;
    program.ended(LIMIT).await;
    // Nobody said goodbye: the servers' keepers see to it that they do not stay.
    eventually("both servers are gone after the kill", LIMIT, || async {
        !is_listening(&first.database_url).await && !is_listening(&first.nats_url).await
    })
    .await;

    let mut program = up(&state).await;
    let second = running(&state);
    let got = call(
        &state,
        "ReferralService/GetReferral",
        "coordinator.desk",
        &json!({"referralId": sent["referralId"]}),
    )
    .await;
    assert_eq!(got["referral"]["caseId"], sent["caseId"]);
    let more = submit(&state, "kita_B").await;
    assert_ne!(more["caseId"], sent["caseId"]);

    program.signal("INT").await;
    let status = program.ended(LIMIT).await;
    assert!(status.success(), "{status}: {}", program.said());
    assert!(!is_listening(&second.database_url).await, "PostgreSQL still listens");
    assert!(!is_listening(&second.nats_url).await, "nats-server still listens");
    assert!(!is_listening(&second.address).await, "the program still listens");
    assert!(!state.join("running.json").exists());
    let (worked, _, error) = try_tool(&state, &["token", "--post", "no.such"]).await;
    assert!(!worked && error.contains("hospital.discharge"), "{error}");
    let (worked, _, error) = try_tool(&state, &["verify"]).await;
    assert!(!worked && error.contains("nothing runs"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn call_token_verify_and_rebuild_work_against_a_running_up() {
    let directory = Directory::new();
    let state = directory.state();
    let mut program = up(&state).await;
    let sent = submit(&state, "kita_A").await;
    let event = sent["receipt"]["eventId"].as_str().unwrap();

    // A token from the command does what `--as` does, and one call may wait for another's write.
    let token = tool(&state, &["token", "--post", "coordinator.desk"]).await;
    let request = json!({"afterEventId": event}).to_string();
    let arguments = ["call", "TimelineService/ListDuties", "--token", token.trim(), "-d", &request];
    let duties: serde_json::Value = serde_json::from_str(&tool(&state, &arguments).await).unwrap();
    assert_eq!(duties["duties"][0]["caseId"], sent["caseId"], "{duties}");
    let again = submit(&state, "kita_B").await;
    let request = json!({"afterEventId": again["receipt"]["eventId"], "state": "submitted"});
    let list = call(&state, "ReferralService/ListReferrals", "coordinator.desk", &request).await;
    assert_eq!(list["referrals"][0]["referralId"], again["referralId"], "the newest is first: {list}");

    let (worked, _, error) = try_tool(
        &state,
        &[
            "call",
            "ReferralService/GetReferral",
            "--as",
            "school.head",
            "-d",
            &json!({"referralId": "x"}).to_string(),
        ],
    )
    .await;
    assert!(
        !worked && error.contains("INVALID_ARGUMENT") && error.contains("referral_id: NOT_A_UUID"),
        "{error}"
    );
    let (worked, _, error) =
        try_tool(&state, &["call", "ReferralService/Submit", "--as", "school.head"]).await;
    assert!(!worked && error.contains("SubmitReferral"), "the methods that there are: {error}");
    let misspelt = json!({"referalId": "x"}).to_string();
    let (worked, _, error) =
        try_tool(&state, &["call", "ReferralService/GetReferral", "--as", "school.head", "-d", &misspelt])
            .await;
    assert!(!worked && error.contains("referalId"), "{error}");

    let verified = tool(&state, &["verify"]).await;
    assert!(verified.starts_with("verify ok: rows="), "{verified}");
    let rows: u64 = verified["verify ok: rows=".len()..].split(' ').next().unwrap().parse().unwrap();
    let rebuilt = tool(&state, &["rebuild"]).await;
    assert!(rebuilt.starts_with(&format!("rebuild ok: position={rows} ")), "{rebuilt} after {verified}");
    let feed = call(&state, "TimelineService/ReadFeed", "coordinator.desk", &json!({"waitS": 10})).await;
    let events: Vec<&str> =
        feed["items"].as_array().unwrap().iter().filter_map(|i| i["item"]["eventId"].as_str()).collect();
    assert!(events.contains(&event), "{events:?}");

    program.signal("TERM").await;
    assert!(program.ended(LIMIT).await.success(), "{}", program.said());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_up_on_the_same_state_is_refused_in_words() {
    let directory = Directory::new();
    let state = directory.state();
    let _first = up(&state).await;
    let (worked, out, error) = try_tool(&state, &["up"]).await;
    assert!(!worked && out.is_empty(), "{out}");
    assert!(error.contains("error:") && error.lines().count() < 5, "{error}");
    let sent = submit(&state, "kita_A").await;
    assert!(sent["caseId"].is_string(), "the first one is not disturbed");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_ups_at_the_same_moment_one_runs_and_its_keys_are_the_logs() {
    let directory = Directory::new();
    let state = directory.state();
    let spawn = || {
        let mut command = Command::new(PROGRAM);
        command.arg("up").arg("--state-dir").arg(&state).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let (mut one, mut other) = (spawn(), spawn());
    let loser = tokio::time::timeout(LIMIT, async {
        tokio::select! { ended = one.wait() => ended, ended = other.wait() => ended }
    });
    assert!(!loser.await.expect("one of them ends").unwrap().success());
    eventually("the other one runs", LIMIT, || async { try_tool(&state, &["verify"]).await.0 }).await;
    assert!(submit(&state, "kita_A").await["caseId"].is_string());
    assert!(tool(&state, &["verify"]).await.starts_with("verify ok"));
    assert!(one.try_wait().unwrap().is_none() || other.try_wait().unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn up_works_for_an_ordinary_user_too() {
    if !is_root().await {
        println!("not run as root: the other tests of this file are the ones of an ordinary user");
        return;
    }
    let directory = Directory::new();
    let home = directory.0.join("home");
    // A copy, since the build may lie where that user cannot enter.
    std::fs::set_permissions(&directory.0, std::fs::Permissions::from_mode(0o711)).unwrap();
    let program = directory.0.join("tasuki");
    std::fs::copy(PROGRAM, &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::create_dir(&home).unwrap();
    let nobody = nobody(&home).await;
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o700)).unwrap();

    let state = home.join("state");
    let mut command = Command::new("setpriv");
    command
        .args([
            &format!("--reuid={nobody}"),
            &format!("--regid={nobody}"),
            "--clear-groups",
            "--no-new-privs",
        ])
        .arg(&program)
        .arg("up")
        .arg("--state-dir")
        .arg(&state)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", &home)
        .current_dir(&home);
    for name in ["TASUKI_PG_BIN", "TASUKI_NATS_SERVER"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let mut running_up = Process::start(command).await;
    let sent = submit(&state, "kita_A").await;
    assert!(sent["caseId"].is_string());
    let written = running(&state);
    running_up.signal("INT").await;
    let status = running_up.ended(LIMIT).await;
    assert!(status.success(), "{status}: {}", running_up.said());
    assert!(!is_listening(&written.database_url).await && !is_listening(&written.nats_url).await);
}

async fn is_root() -> bool {
    words(Command::new("id").arg("-u")).await == "0"
}

/// The number of a user without rights, to whom the directory now belongs.
async fn nobody(home: &Path) -> String {
    let id = words(Command::new("id").args(["-u", "nobody"])).await;
    words(Command::new("chown").arg(format!("{id}:{id}")).arg(home)).await;
    id
}

async fn words(command: &mut Command) -> String {
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
