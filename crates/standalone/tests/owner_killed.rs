//! What remains when the owner of servers is killed with -9, as root and not, and below a closed directory.
//!
//! The owner is this test program once more, running the ignored test `holds_servers_until_its_end`.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use support::{Dir, lives, parent_of, wait_until};
use tasuki_standalone::{Error, Place, Postgres, PostgresOptions, Stack, StackOptions};

/// The state directory of the owner, or `throw-away`.
const HOLD: &str = "TASUKI_TEST_HOLD";

#[tokio::test]
#[ignore = "not a claim: the owner that other tests start and kill"]
async fn holds_servers_until_its_end() {
    let Ok(place) = std::env::var(HOLD) else { return };
    let options = match place.as_str() {
        "throw-away" => StackOptions::throw_away(),
        state => StackOptions::kept(state),
    };
    let stack = Stack::start(options).await.unwrap();
    stack.postgres.sql("postgres", "CREATE TABLE IF NOT EXISTS t AS SELECT 7 AS n").await.unwrap();
    let pids = [stack.postgres.pid().unwrap(), stack.nats.pid().unwrap()];
    let dirs = [stack.postgres.data_dir(), stack.nats.store_dir()];
    println!("\nheld {} {} {} {}", pids[0], pids[1], dirs[0].display(), dirs[1].display());
    // Ends with the test that started it, should that one fail.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

struct Owner {
    child: Child,
    servers: [i32; 2],
    dirs: [PathBuf; 2],
}

impl Owner {
    fn start(mut command: Command, place: &str) -> Self {
        command.args(["--exact", "holds_servers_until_its_end", "--ignored", "--nocapture"]);
        command.env(HOLD, place).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let held = lines.map_while(Result::ok).find(|line| line.starts_with("held ")).expect("servers held");
        let mut fields = held.split(' ').skip(1);
        let servers = [(); 2].map(|()| fields.next().unwrap().parse().unwrap());
        let dirs = [(); 2].map(|()| PathBuf::from(fields.next().unwrap()));
        Self { child, servers, dirs }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn this_program() -> Command {
    Command::new(std::env::current_exe().unwrap())
}

fn signal(pid: i32) {
    // One that has ended by itself is as good.
    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
}

fn assert_nothing_left(owner: &Owner, keepers: &[i32]) {
    wait_until("servers gone", || !owner.servers.iter().any(|&pid| lives(pid)));
    wait_until("keepers gone", || !keepers.iter().any(|&pid| lives(pid)));
    for dir in &owner.dirs {
        assert!(!dir.parent().unwrap().exists(), "{} was removed", dir.display());
    }
}

#[test]
fn kill_9_of_the_owner_leaves_no_process_and_no_directory() {
    let mut owner = Owner::start(this_program(), "throw-away");
    let keepers = owner.servers.map(|pid| parent_of(pid).unwrap());
    assert!(owner.servers.iter().chain(&keepers).all(|&pid| lives(pid)));
    owner.kill();
    assert_nothing_left(&owner, &keepers);
}

#[test]
fn a_user_without_rights_and_without_a_home_owns_servers_too() {
    if !geteuid().is_root() {
        return; // then every other test here is this one
    }
    let dir = Dir::new();
    let program = dir.0.join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let mut command = Command::new(&program);
    command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw()).current_dir("/").env("HOME", "/nonexistent");
    let mut owner = Owner::start(command, "throw-away");
    let keepers = owner.servers.map(|pid| parent_of(pid).unwrap());
    owner.kill();
    assert_nothing_left(&owner, &keepers);
}

#[tokio::test]
async fn kept_state_recovers_after_kill_9_of_the_owner_and_of_everything() {
    let dir = Dir::new();
    let state = dir.0.join(".tasuki");
    let place = state.to_str().unwrap();
    let mut owner = Owner::start(this_program(), place);
    owner.kill();
    // The keepers may still be stopping the servers: the next owner waits for them.
    let mut owner = Owner::start(this_program(), place);
    let keepers = owner.servers.map(|pid| parent_of(pid).unwrap());
    keepers.into_iter().for_each(signal);
    owner.kill();
    owner.servers.into_iter().for_each(signal);
    let stack = Stack::start(StackOptions::kept(&state)).await.unwrap();
    assert_eq!(stack.postgres.sql("postgres", "SELECT n FROM t").await.unwrap(), "7");
    stack.stop().await.unwrap();
}

#[tokio::test]
async fn servers_that_lost_their_keeper_are_ended_by_the_next_owner() {
    let dir = Dir::new();
    let state = dir.0.join(".tasuki");
    let mut owner = Owner::start(this_program(), state.to_str().unwrap());
    for keeper in owner.servers.map(|pid| parent_of(pid).unwrap()) {
        // The keeper and its half that reads the life-line; the server itself stays.
        for pid in children_of(keeper).into_iter().filter(|pid| !owner.servers.contains(pid)) {
            signal(pid);
        }
        signal(keeper);
    }
    owner.kill();
    assert!(owner.servers.iter().all(|&pid| lives(pid)));
    let stack = Stack::start(StackOptions::kept(&state)).await.unwrap();
    assert!(!owner.servers.iter().any(|&pid| lives(pid)));
    assert_eq!(stack.postgres.sql("postgres", "SELECT n FROM t").await.unwrap(), "7");
    stack.stop().await.unwrap();
}

fn children_of(parent: i32) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| parent_of(pid) == Some(parent)).collect()
}

#[tokio::test]
async fn a_project_below_a_closed_directory_keeps_its_database_and_a_copy_of_it_gets_none() {
    let dir = Dir::new();
    let closed = dir.0.join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let state = closed.join("project/.tasuki");
    let options = |state: &Path| PostgresOptions::at(Place::Kept(state.to_owned()));

    let postgres = Postgres::start(options(&state)).await.unwrap();
    let outside = postgres.data_dir().parent().unwrap().to_owned();
    assert_eq!(outside.starts_with(&closed), !geteuid().is_root(), "{}", outside.display());
    postgres.sql("postgres", "CREATE TABLE t AS SELECT 7 AS n").await.unwrap();
    postgres.stop().await.unwrap();
    drop(postgres);

    if geteuid().is_root() {
        let _gone_afterwards = Outside(outside.clone());
        let copy = closed.join("copy/.tasuki");
        std::fs::create_dir_all(&copy).unwrap();
        std::fs::copy(state.join("postgres.location"), copy.join("postgres.location")).unwrap();
        assert!(matches!(Postgres::start(options(&copy)).await, Err(Error::OtherProject { .. })));

        let moved = closed.join("moved");
        std::fs::rename(closed.join("project"), &moved).unwrap();
        let postgres = Postgres::start(options(&moved.join(".tasuki"))).await.unwrap();
        assert_eq!(postgres.data_dir().parent(), Some(outside.as_path()));
        assert_eq!(postgres.sql("postgres", "SELECT n FROM t").await.unwrap(), "7");
        postgres.stop().await.unwrap();
    }
}

struct Outside(PathBuf);

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
