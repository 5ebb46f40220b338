//! `tasuki up` in a state directory of its own, and the commands that work against it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tasuki::up::{Running, StateArgs};
use tokio::process::Command;

use crate::PROGRAM;
use crate::process::Process;

pub const LIMIT: Duration = Duration::from_secs(60);

/// A directory that goes with the test.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("tasuki-edges-{}", uuid::Uuid::now_v7()));
        // Closed to everybody else: the servers' unprivileged user cannot enter it.
        std::fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    pub fn state(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What lies outside of it, because the unprivileged user could not enter, is named in it.
        if let Ok(elsewhere) = std::fs::read_to_string(self.state().join("postgres.location")) {
            let elsewhere = PathBuf::from(elsewhere.trim());
            if elsewhere.starts_with("/var/lib/tasuki") {
                let _ = std::fs::remove_dir_all(elsewhere);
            }
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `tasuki up` with its state in the directory.
pub async fn up(state: &Path) -> Process {
    let mut command = Command::new(PROGRAM);
    command.arg("up").arg("--state-dir").arg(state);
    Process::start(command).await
}

/// What the running `up` wrote down.
pub fn running(state: &Path) -> Running {
    StateArgs { state_dir: state.to_owned(), region: None }.running().unwrap()
}

/// Runs a command against it; its standard output.
pub async fn tool(state: &Path, arguments: &[&str]) -> String {
    let (worked, out, error) = try_tool(state, arguments).await;
    assert!(worked, "{arguments:?}: {out}{error}");
    out
}

/// The same for a command that may fail: whether it worked, standard output, standard error.
pub async fn try_tool(state: &Path, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).arg("--state-dir").arg(state).kill_on_drop(true);
    let output = tokio::time::timeout(LIMIT, command.output()).await.expect("an end").unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

/// Calls a method for a post of the example region.
pub async fn call(state: &Path, method: &str, slug: &str, request: &Value) -> Value {
    let out = tool(state, &["call", method, "--as", slug, "-d", &request.to_string()]).await;
    serde_json::from_str(&out).unwrap()
}

/// Sends a referral from the hospital to the coordinator's desk.
pub async fn submit(state: &Path, label: &str) -> Value {
    let to = tasuki::region::post_id("coordinator.desk").to_string();
    let request = json!({
        "toPostId": to, "municipalityCode": "131172", "referralPurpose": "nicu_discharge",
        "expectedDischargeOn": {"year": 2027, "month": 7, "day": 1}, "senderTelephone": "03-0000-0001",
        "label": label,
        "facts": [
            {"key": "birth_date", "date": {"year": 2021, "month": 11, "day": 5}},
            {"key": "care_procedures", "codes": {"codes": ["suctioning"]}},
        ],
        "consentAtSource": {"signerRelation": "mother", "signedOn": {"year": 2026, "month": 4, "day": 5}},
    });
    call(state, "ReferralService/SubmitReferral", "hospital.discharge", &request).await
}

/// Whether somebody listens where the address says: `nats://127.0.0.1:PORT`, `postgres://…@127.0.0.1:PORT/…`.
pub async fn is_listening(url: &str) -> bool {
    let address = url.rsplit_once("127.0.0.1:").expect("a loopback address").1;
    let port: String = address.chars().take_while(char::is_ascii_digit).collect();
    tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await.is_ok()
}
