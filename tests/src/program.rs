//! The program as a process of its own.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tonic::transport::{Channel, Endpoint};

use crate::Error;

/// A running program; killed when dropped.
pub struct Program {
    child: Child,
    address: String,
}

impl Program {
    /// Starts it and waits for the line that says where it listens.
    pub async fn start(binary: &Path, args: &[&str], environment: &[(&str, &str)]) -> Result<Self, Error> {
        let mut child = Command::new(binary)
            .args(args)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let address = tokio::time::timeout(Duration::from_secs(60), async {
            while let Some(line) = lines.next_line().await? {
                if let Some((_, address)) = line.split_once(": http://") {
                    return Ok(format!("http://{address}"));
                }
            }
            Err(Error::from("the program ended before it listened"))
        })
        .await??;
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

    /// Kill -9.
    pub async fn kill(mut self) -> Result<(), Error> {
        self.child.kill().await?;
        Ok(())
    }

    /// SIGTERM; waits for the end and returns whether it was a clean one.
    pub async fn terminate(mut self) -> Result<bool, Error> {
        let pid = self.child.id().ok_or("it has ended")?;
        Command::new("kill").arg("-TERM").arg(pid.to_string()).status().await?;
        let status = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await??;
        Ok(status.success())
    }
}
