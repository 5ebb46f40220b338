//! `tasuki keys` and `tasuki subject-export`: a rotation that is killed at any moment, a keyring that is lost, an export.

use std::process::Stdio;
use std::time::Duration;

use rand::RngExt as _;
use tasuki_contract::timeline::v1::GetCaseCardRequest;
use tasuki_log::Keyring;
use tasuki_tests::{Seed, World, referral};
use tokio::process::Command;

use crate::PROGRAM;

fn tool(world: &World, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args).env("TASUKI_DATABASE_URL", &world.database_url).kill_on_drop(true);
    command.env("TASUKI_SECRETS_DIR", &world.directory);
    command
}

async fn said(mut command: Command) -> (bool, String) {
    let output = command.output().await.unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.success(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_killed_anywhere_leaves_every_key_readable_and_the_next_one_ends_it() {
    let mut seed = Seed::new("rotation");
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, "hospital.discharge").await.unwrap();
    let desk = world.caller(&program, "coordinator.desk").await.unwrap();
    let mut cases = Vec::new();
    let mut killed = 0;
    for round in 0..12 {
        let submitted = referral(desk.post, &format!("kita_{round}"));
        let sent = hospital.referrals().submit_referral(hospital.request(submitted)).await.unwrap();
        cases.push(sent.into_inner().case_id);
        let mut rotating =
            tool(&world, &["keys", "rotate"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::select! {
            ended = rotating.wait() => assert!(ended.unwrap().success()),
            () = tokio::time::sleep(Duration::from_millis(seed.0.random_range(0..120))) => {
                rotating.kill().await.unwrap();
                killed += 1;
            }
        }
        let (ok, text) = said(tool(&world, &["keys", "check"])).await;
        assert!(ok, "round {round}: {text}");
        // The program that runs opens everything too, whichever master wraps it now.
        let last = cases.last().unwrap().clone();
        let get = GetCaseCardRequest { case_id: last, ..Default::default() };
        let card = hospital.timeline().get_case_card(hospital.request(get)).await.unwrap().into_inner();
        assert!(!card.facts.is_empty(), "round {round}");
    }
    assert!(killed > 0, "no rotation was killed");
    let (ok, text) = said(tool(&world, &["keys", "rotate"])).await;
    assert!(ok, "{text}");
    let (ok, text) = said(tool(&world, &["keys", "check"])).await;
    assert!(ok && !text.contains("not finished"), "{text}");
    let keyring = Keyring::read(&world.directory.join("keyring")).unwrap();
    assert_eq!(keyring.versions().len(), 1, "an old master is still there");
    let left: Vec<String> = std::fs::read_dir(&world.directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("keyring") && name != "keyring")
        .collect();
    assert_eq!(left, Vec::<String>::new(), "a former keyring is left");
    // A program that starts now opens what was sealed under masters that are no more.
    let fresh = world.serve("timeline").await.unwrap();
    let again = world.caller(&fresh, "hospital.discharge").await.unwrap();
    for case_id in cases {
        let get = GetCaseCardRequest { case_id, ..Default::default() };
        let card = again.timeline().get_case_card(again.request(get)).await.unwrap().into_inner();
        assert!(!card.facts.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_keyring_comes_back_from_its_copy_and_a_copy_from_before_a_rotation_is_told_apart() {
    let world = World::start(PROGRAM).await.unwrap();
    let program = world.ready().await.unwrap();
    let hospital = world.caller(&program, "hospital.discharge").await.unwrap();
    let to = world.post("coordinator.desk").1;
    let sent = hospital.referrals().submit_referral(hospital.request(referral(to, "kita_A"))).await.unwrap();
    let case_id = sent.into_inner().case_id;
    let (copy, phrase) = (world.directory.join("copy"), world.directory.join("phrase"));
    std::fs::write(&phrase, "a sentence of some length\n").unwrap();
    let (copy, phrase) = (copy.display().to_string(), phrase.display().to_string());
    let with_copy = |what: &str| tool(&world, &["keys", what, "--file", &copy, "--passphrase-file", &phrase]);

    let (ok, text) = said(with_copy("escrow")).await;
    assert!(ok, "{text}");
    assert!(!std::fs::read_to_string(&copy).unwrap().contains("master."), "nothing stands there in plain");
    let (ok, text) = said(with_copy("drill")).await;
    assert!(ok && text.contains("drill ok"), "{text}");
    // What is lost without the copy: the program does not start, and nothing sealed is read.
    program.terminate().await.unwrap();
    std::fs::remove_file(world.directory.join("keyring")).unwrap();
    assert!(world.serve("all").await.is_err());
    let (ok, text) = said(with_copy("restore")).await;
    assert!(ok, "{text}");
    let (ok, text) = said(with_copy("restore")).await;
    assert!(!ok && text.contains("already"), "what is there is left as it is: {text}");
    let program = world.serve("all").await.unwrap();
    let hospital = world.caller(&program, "hospital.discharge").await.unwrap();
    let get = || GetCaseCardRequest { case_id: case_id.clone(), ..Default::default() };
    let card = hospital.timeline().get_case_card(hospital.request(get())).await.unwrap().into_inner();
    assert!(!card.facts.is_empty());

    // The signing key changes by itself, and the log is whole all the same.
    let (ok, text) = said(tool(&world, &["keys", "rotate-signing"])).await;
    assert!(ok, "{text}");
    hospital.referrals().submit_referral(hospital.request(referral(to, "kita_B"))).await.unwrap();
    program.terminate().await.unwrap();
    let program = world.serve("all").await.unwrap();
    let hospital = world.caller(&program, "hospital.discharge").await.unwrap();
    hospital.referrals().submit_referral(hospital.request(referral(to, "kita_C"))).await.unwrap();
    let (ok, text) = said(tool(&world, &["verify"])).await;
    assert!(ok, "{text}");

    let (ok, text) = said(tool(&world, &["keys", "rotate"])).await;
    assert!(ok && text.contains("Destroy every copy"), "{text}");
    let (ok, text) = said(with_copy("drill")).await;
    assert!(!ok && text.contains("version 2"), "a copy of the old master is told apart: {text}");

    the_export_holds_everything_and_is_on_record(&world, &case_id).await;
}

async fn the_export_holds_everything_and_is_on_record(world: &World, case_id: &str) {
    let (agency, post) = world.post("coordinator.desk");
    let (agency, post) = (agency.to_string(), post.to_string());
    let to = world.directory.join("export").display().to_string();
    let args = ["subject-export", "--case", case_id, "--agency", &agency, "--post", &post, "--to", &to];
    let (ok, text) = said(tool(world, &args)).await;
    assert!(ok && text.contains("subject-export ok"), "{text}");
    let whole = std::fs::read_to_string(format!("{to}/{case_id}.json")).unwrap();
    let page = std::fs::read_to_string(format!("{to}/{case_id}.md")).unwrap();
    for told in ["MARK-REFERRAL-kita_A", "MARK-DIAGNOSIS-kita_A", "suctioning", "DIAGNOSIS: 告知の有無を確認"]
    {
        assert!(whole.contains(told) && page.contains(told), "{told} is missing");
    }
    let read = format!(
        "SELECT count(*) FROM log.reads WHERE method = 'tasuki subject-export' AND post_id = '{post}' \
         AND case_ids = ARRAY['{case_id}'::uuid] AND 'primary_diagnosis' = ANY(fact_keys)"
    );
    assert_eq!(world.stack.postgres.sql("tasuki", &read).await.unwrap(), "1");
}
