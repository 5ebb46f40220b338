//! This executable again, as other processes: the program under load, and whoever makes the load.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};

use super::load::Job;
use crate::Error;

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running `serve`; killed when dropped.
pub(super) struct Program {
    child: Child,
    address: String,
}

impl Program {
    /// Starts it and waits for the line that says where it listens.
    pub async fn serve(environment: &[(&str, &str)], log: &Path) -> Result<Self, Error> {
        let mut child = this_program()?
            .args(["serve", "--insecure-dev-issuer"])
            .envs(environment.iter().copied())
            .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log)?)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let listening = async {
            while let Some(line) = lines.next_line().await? {
                if let Some((_, address)) = line.split_once(": http://") {
                    return Ok(format!("http://{address}"));
                }
            }
            let why = std::fs::read_to_string(log).unwrap_or_default();
            Err(Error::from(format!("the program ended before it listened: {why}")))
        };
        let address = tokio::time::timeout(START_LIMIT, listening).await??;
        // Whatever else it prints must not fill the pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, address })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A connected channel.
    pub async fn channel(&self) -> Result<Channel, Error> {
        Ok(Endpoint::from_shared(self.address.clone())?.tcp_nodelay(true).connect().await?)
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// SIGTERM, and waits for the end; nothing where it has ended.
    pub async fn terminate(&mut self) -> Result<(), Error> {
        let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) else { return Ok(()) };
        kill(Pid::from_raw(pid), Signal::SIGTERM)?;
        tokio::time::timeout(STOP_LIMIT, self.child.wait()).await??;
        Ok(())
    }
}

/// This executable, in a session of its own.
///
/// Linux shares the processor among sessions first (autogroups), and each backend of PostgreSQL has one: 32 of them
/// for pgbench, against one for the program and its load together, would measure the scheduler.
fn this_program() -> Result<Command, Error> {
    let mut command = Command::new("setsid");
    command.arg(std::env::current_exe()?);
    Ok(command)
}

/// Has a process of its own do the job, and reads what it measured.
pub(super) async fn load<R: serde::de::DeserializeOwned>(job: &Job) -> Result<R, Error> {
    let mut child = this_program()?
        .args(["bench", "load"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().ok_or("no standard input")?;
    stdin.write_all(&serde_json::to_vec(job)?).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        return Err("the load could not be made; its error is above".into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
