//! P8: after the erasure of a case, somebody with the data directory, the WAL archive, a base backup, a standby, the
//! broker's files, the logs and the current keyring reads nothing personal of it; before it, the same person could.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tasuki_contract::DataClass;
use tasuki_contract::erasure::v1 as pb;
use tasuki_contract::intake::v1::GetReferralRequest;
use tasuki_contract::timeline::v1::{GetCaseCardRequest, GetTimelineRequest, TimelineItem};
use tasuki_standalone::{Place, Postgres, PostgresOptions};
use tasuki_tests::{Caller, Live, Program, World, eventually, referral};
use tokio::process::Command;
use uuid::Uuid;

use crate::PROGRAM;
use crate::attacker::{Haul, Loot};
use crate::p4_need_to_know::callers;
use crate::received::items;
use crate::story::Story;
use crate::who_reads::{COORDINATOR, HOSPITAL};

const LIMIT: Duration = Duration::from_secs(90);
/// What begins every text of the story that is personal.
const MARK: &str = "MARK-";

/// Where the attacker's copies lie; the server's user may write there.
struct Desk(PathBuf);

impl Desk {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tasuki-p8-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&path).unwrap();
        for folder in ["archive", "state"] {
            std::fs::create_dir(path.join(folder)).unwrap();
        }
        for folder in [path.clone(), path.join("archive")] {
            std::fs::set_permissions(folder, Permissions::from_mode(0o777)).unwrap();
        }
        Self(path)
    }

    fn archive(&self) -> PathBuf {
        self.0.join("archive")
    }

    /// The program behind a shell that keeps what it says on standard error.
    fn program(&self) -> String {
        let path = self.0.join("program");
        let script = format!("#!/bin/sh\nexec {PROGRAM} \"$@\" 2>>{}\n", self.log().display());
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    fn log(&self) -> PathBuf {
        self.0.join("program.log")
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A copy of the cluster in a home of its own, not started.
async fn base_backup(postgres: &Postgres, desk: &Desk, name: &str) -> PathBuf {
    let home = desk.0.join(name).join("postgres");
    std::fs::create_dir_all(&home).unwrap();
    let own_home = postgres.data_dir().parent().unwrap().to_owned();
    std::fs::copy(own_home.join("password"), home.join("password")).unwrap();
    let output = Command::new(postgres.programs().path("pg_basebackup"))
        .args(["-h", "127.0.0.1", "-U", "tasuki", "-X", "stream", "-c", "fast", "-p"])
        .arg(postgres.port().to_string())
        .arg("-D")
        .arg(home.join("data"))
        .env("PGPASSWORD", std::fs::read_to_string(own_home.join("password")).unwrap())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let owner = std::fs::metadata(postgres.data_dir()).unwrap();
    give_to(&home, owner.uid(), owner.gid());
    home.parent().unwrap().to_owned()
}

fn give_to(path: &Path, uid: u32, gid: u32) {
    if std::fs::metadata(path).unwrap().uid() != uid {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    }
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        give_to(&entry.path(), uid, gid);
    }
}

/// A second copy of a copy.
async fn copied(desk: &Desk, from: &str, to: &str) -> PathBuf {
    let (from, to) = (desk.0.join(from), desk.0.join(to));
    let status = Command::new("cp").arg("-a").arg(&from).arg(&to).status().await.unwrap();
    assert!(status.success());
    to
}

/// A server on such a copy. `signal` is the file that says how it starts.
async fn started(home: &Path, signal: &str, settings: &[(&str, &str)]) -> Postgres {
    let data = home.join("postgres/data");
    std::fs::write(data.join(signal), "").unwrap();
    let owner = std::fs::metadata(&data).unwrap();
    give_to(&data, owner.uid(), owner.gid());
    let mut options = PostgresOptions::at(Place::Kept(home.to_owned()));
    options.settings =
        settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Postgres::start(options).await.unwrap()
}

/// Restored from the backup: to its own end, or to the end of the archive.
async fn restored(desk: &Desk, name: &str, to_the_end: bool) -> Postgres {
    let home = copied(desk, "backup", name).await;
    let fetch = format!("cp {}/%f %p", desk.archive().display());
    let mut settings = vec![("restore_command", fetch.as_str()), ("recovery_target_action", "promote")];
    if !to_the_end {
        settings.push(("recovery_target", "immediate"));
    }
    let server = started(&home, "recovery.signal", &settings).await;
    eventually("the restored server has come to its point", LIMIT, || async {
        server.sql("postgres", "SELECT pg_is_in_recovery()").await.is_ok_and(|answer| answer == "f")
    })
    .await;
    server
}

fn databases(server: &Postgres) -> (String, String) {
    (server.url("tasuki"), server.url("tasuki_keys"))
}

/// Everything that was written is in the archive and on the standby.
async fn written_everywhere(world: &World, standby: &Postgres) {
    let postgres = &world.stack.postgres;
    let at = postgres.sql("postgres", "SELECT pg_current_wal_lsn()").await.unwrap();
    let last = postgres.sql("postgres", "SELECT pg_walfile_name(pg_switch_wal())").await.unwrap();
    let archived = format!("SELECT last_archived_wal >= '{last}' FROM pg_stat_archiver");
    eventually("the archive has it", LIMIT, || async {
        postgres.sql("postgres", &archived).await.is_ok_and(|answer| answer == "t")
    })
    .await;
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{at}'::pg_lsn");
    eventually("the standby has it", LIMIT, || async {
        standby.sql("postgres", &replayed).await.is_ok_and(|answer| answer == "t")
    })
    .await;
}

/// What must not change: the views, row for row, and the events up to a position.
async fn fixed(world: &World, head: u64) -> Vec<(String, Vec<u8>)> {
    let views = world.views().unwrap();
    let mut all = Vec::new();
    for table in tasuki_views::TABLES {
        all.push((table.name.to_owned(), views.copy_out(table).await.unwrap()));
    }
    let chain =
        format!("SELECT position, hash, header, parts FROM log.events WHERE position <= {head} ORDER BY 1");
    all.push((
        "log.events".to_owned(),
        world.stack.postgres.sql("tasuki", &chain).await.unwrap().into_bytes(),
    ));
    all
}

async fn confirmed(world: &World, program: &Program, case: &str) {
    let one = world.operator_named(program, "operator:one").await.unwrap();
    let two = world.operator_named(program, "operator:two").await.unwrap();
    let ground = pb::ErasureGround::CourtOrder.into();
    let propose = pb::ProposeErasureRequest { case_id: case.to_owned(), ground, context: None };
    let proposal = one.erasures().propose_erasure(one.request(propose)).await.unwrap().into_inner();
    let request = || pb::ConfirmErasureRequest {
        case_id: case.to_owned(),
        proposal_id: proposal.proposal_id.clone(),
        context: None,
    };
    // One person is not enough, and without two the command does nothing.
    let alone = one.erasures().confirm_erasure(one.request(request())).await.unwrap_err();
    assert_eq!(alone.code(), tonic::Code::PermissionDenied, "{alone:?}");
    let (ok, said) = run(world, &["erase", "--case", case]).await;
    assert!(!ok && said.contains("two operators"), "{said}");
    two.erasures().confirm_erasure(two.request(request())).await.unwrap();
}

/// A command by hand: what it says goes to whoever runs it, not to the log.
async fn run(world: &World, args: &[&str]) -> (bool, String) {
    let mut command = Command::new(PROGRAM);
    command.args(args).env("TASUKI_DATABASE_URL", &world.database_url);
    let output = command.env("TASUKI_SECRETS_DIR", &world.directory).output().await.unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    (output.status.success(), said)
}

/// What the coordinator is told of the case: items, card, and whether each says that it was erased.
async fn told(caller: &Caller, case: &str, referral: &str) -> (Vec<TimelineItem>, bool, bool, usize) {
    let timeline = GetTimelineRequest { case_id: case.to_owned(), page_size: 200, ..Default::default() };
    let items = caller.timeline().get_timeline(caller.request(timeline)).await.unwrap().into_inner().items;
    let card = GetCaseCardRequest { case_id: case.to_owned(), ..Default::default() };
    let card = caller.timeline().get_case_card(caller.request(card)).await.unwrap().into_inner();
    let get = GetReferralRequest { referral_id: referral.to_owned(), ..Default::default() };
    let sent = caller.referrals().get_referral(caller.request(get)).await.unwrap().into_inner();
    (items, card.erased, sent.referral.unwrap().erased, card.facts.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_nothing_personal_of_an_erased_case_can_be_read_from_anything_that_there_is() {
    let desk = Desk::new();
    let archive = format!("cp %p {}/%f", desk.archive().display());
    let world = World::start_with(&desk.program(), |options| {
        options.postgres.settings =
            vec![("archive_mode".into(), "on".into()), ("archive_command".into(), archive)];
    })
    .await
    .unwrap();
    let program =
        world.serve_with("all", &[("TASUKI_LOG", "debug"), ("TASUKI_LOG_FORMAT", "json")]).await.unwrap();
    world.register(&program).await.unwrap();
    let postgres = &world.stack.postgres;

    // A standby from the beginning, so that it holds the first copies of all keys; a backup before the erasure.
    let home = base_backup(postgres, &desk, "standby").await;
    let password = std::fs::read_to_string(postgres.data_dir().parent().unwrap().join("password")).unwrap();
    let follow = format!("host=127.0.0.1 port={} user=tasuki password={}", postgres.port(), password.trim());
    let standby = started(&home, "standby.signal", &[("primary_conninfo", &follow)]).await;

    let callers = callers(&world, &program).await;
    let live = Live::start(vec![callers[COORDINATOR].clone()]);
    let mut story = Story::new(callers.clone());
    story.tell(async |_| {}).await;
    let request_id = Uuid::now_v7().to_string();
    let (hospital, to) = (&callers[HOSPITAL], world.post(COORDINATOR).1);
    let other = hospital.referrals().submit_referral(hospital.request(referral(to, "kita_Z"))).await;
    let other = other.unwrap().into_inner().case_id;
    let cases = story.told.cases.clone();
    assert!(cases.len() >= 2, "one case from a referral, one from a consultation");
    // A request of the case that will be erased, to be tried again afterwards.
    let more = || {
        let request = referral(to, "kita_A");
        tasuki_contract::intake::v1::SubmitReferralRequest {
            case_id: cases[0].clone(),
            consent_at_source: None,
            ..request
        }
    };
    let first = hospital.referrals().submit_referral(hospital.request_as(more(), &request_id)).await;
    first.unwrap();
    world.views_reach_the_log().await.unwrap();
    base_backup(postgres, &desk, "backup").await;
    written_everywhere(&world, &standby).await;

    let log = tasuki_log::Database::new(&world.database_url, 2).unwrap();
    let mut streams: Vec<Uuid> = Vec::new();
    for case in &cases {
        streams.extend(tasuki_log::erasing::streams_of(&log, Uuid::try_parse(case).unwrap()).await.unwrap());
    }
    streams.sort_unstable();
    streams.dedup();
    assert!(streams.len() > cases.len(), "the consultation that a case came from is among them");
    let places = vec![
        postgres.data_dir(),
        postgres.log_file(),
        desk.0.clone(),
        world.stack.nats.store_dir(),
        world.stack.nats.log_file(),
    ];
    let mut loot = Loot { places, servers: Vec::new(), secrets: world.directory.clone() };

    let back_then = restored(&desk, "before", false).await;
    loot.servers = vec![databases(postgres), databases(&standby), databases(&back_then)];
    let before = loot.read(MARK).await;
    assert_eq!(before.plain, Vec::<PathBuf>::new(), "something personal lies there in plain");
    let readable = every_class_is_read(&before, &streams, &story);
    back_then.stop().await.unwrap();

    let head = world.views_reach_the_log().await.unwrap();
    let unchanged = fixed(&world, head).await;
    let items_before = items(&callers[COORDINATOR]).await;
    for case in &cases {
        confirmed(&world, &program, case).await;
        // Before any key is gone nothing of it is served any more.
        let told = told(&callers[COORDINATOR], &cases[0], &story.told.referrals[0]).await;
        assert!(told.1 && told.2 && told.3 == 0 && told.0.iter().all(|item| item.erased), "{told:?}");
        let (ok, said) = run(&world, &["erase", "--case", case]).await;
        assert!(ok && said.contains("erase ok") && said.contains("Destroy every copy"), "{said}");
        let (ok, again) = run(&world, &["erase", "--case", case]).await;
        assert!(ok && !again.contains("keys rotate ok"), "a second run has nothing to do: {again}");
    }
    written_everywhere(&world, &standby).await;

    let at_its_time = restored(&desk, "then", false).await;
    let at_the_end = restored(&desk, "now", true).await;
    loot.servers.extend([databases(&at_its_time), databases(&at_the_end)]);
    loot.servers.remove(2); // stopped; its files are still there
    let after = loot.read(MARK).await;
    assert_eq!(after.plain, Vec::<PathBuf>::new());
    for stream in &streams {
        assert_eq!(after.sealed[stream], before.sealed[stream], "the sealed parts are still there");
        assert_eq!(
            after.opened.get(stream).map_or(0, Vec::len),
            0,
            "parts of {stream} open after its erasure"
        );
    }
    assert!(after.carved > 0, "copies of wrapped keys lie in the files");
    for text in &readable {
        assert!(!after.reads(&streams, text), "{text} is read after the erasure");
    }
    let other = Uuid::try_parse(&other).unwrap();
    assert_eq!(after.opened[&other].len(), after.sealed[&other], "a case that lives still opens");
    assert!(after.reads(&[other], "MARK-DIAGNOSIS-kita_Z"));

    // Nothing moved: views, chain and records are what they were, byte for byte.
    world.views_reach_the_log().await.unwrap();
    for ((table, was), (_, is)) in unchanged.iter().zip(fixed(&world, head).await) {
        assert!(*was == is, "{table} was changed by the erasure");
    }
    let (ok, said) = run(&world, &["verify"]).await;
    assert!(ok, "{said}");
    let (ok, said) = run(&world, &["keys", "check"]).await;
    // The first one, and one for each erasure.
    let master = format!("master={} ", cases.len() + 1);
    assert!(ok && said.contains(&master), "{said}");
    the_feed_keeps_its_numbers(&items_before, &items(&callers[COORDINATOR]).await);

    // The program went on all the while, and goes on.
    let refused = hospital.referrals().submit_referral(hospital.request(more())).await.unwrap_err();
    assert_eq!(reason(&refused), "CASE_ERASED", "{refused:?}");
    let again = hospital.referrals().submit_referral(hospital.request_as(more(), &request_id)).await;
    assert_eq!(reason(&again.unwrap_err()), "REQUEST_ID_REUSED");
    let new = hospital.referrals().submit_referral(hospital.request(referral(to, "kita_Y"))).await.unwrap();
    let case_id = new.into_inner().case_id;
    eventually("a new case arrives live", LIMIT, || async {
        live.items().iter().any(|item| item.case_id == case_id && item.event.is_some())
    })
    .await;
    for server in [standby, at_its_time, at_the_end] {
        server.stop().await.unwrap();
    }
}

/// Before: every part of the case opens, and the story's texts of every class are among what is read.
fn every_class_is_read(before: &Haul, streams: &[Uuid], story: &Story) -> Vec<String> {
    for stream in streams {
        assert_eq!(before.opened.get(stream).map_or(0, Vec::len), before.sealed[stream], "{stream}");
    }
    let classes: BTreeSet<i32> = streams.iter().flat_map(|stream| &before.classes[stream]).copied().collect();
    // No event holds these yet.
    let without = [DataClass::Question, DataClass::LocalIssue, DataClass::ReaderLog, DataClass::Sealed];
    for class in tasuki_privacy_classes().filter(|class| !without.contains(class)) {
        assert!(classes.contains(&(class as i32)), "the story brings nothing of {class:?}");
    }
    let texts = story.told.marks.iter().map(|(_, text)| text).filter(|text| text.starts_with(MARK));
    let readable: Vec<String> = texts.filter(|text| before.reads(streams, text)).cloned().collect();
    assert!(readable.len() > 40, "{} texts are read", readable.len());
    readable
}

fn tasuki_privacy_classes() -> impl Iterator<Item = DataClass> {
    (2..=17).map(|number| DataClass::try_from(number).unwrap())
}

fn the_feed_keeps_its_numbers(before: &[TimelineItem], after: &[TimelineItem]) {
    let place = |item: &TimelineItem| (item.number, item.event_id.clone(), item.recorded_at);
    let places: Vec<_> = before.iter().map(place).collect();
    assert_eq!(after.iter().map(place).collect::<Vec<_>>(), places, "the feed was renumbered");
    for (was, is) in before.iter().zip(after) {
        if is.erased {
            // Neither withheld nor absent: what the policy withholds is what it withheld before.
            assert!(is.event.is_none());
            let by_policy = |i: &TimelineItem| (i.level, i.withheld_classes.clone(), i.withheld_keys.clone());
            if was.event.is_some() {
                assert_eq!(by_policy(is), by_policy(was), "{}", is.r#type);
            }
        } else {
            assert_eq!(was, is);
        }
    }
    assert!(after.iter().any(|item| item.erased) && after.iter().any(|item| !item.erased));
}

fn reason(status: &tonic::Status) -> String {
    use tonic_types::StatusExt as _;
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}
