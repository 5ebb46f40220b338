//! The program as a process whose words, signals and end a test looks at.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tasuki_tests::{Caller, World};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

use crate::PROGRAM;

const START_LIMIT: Duration = Duration::from_secs(90);

/// A running program; killed when dropped.
pub struct Process {
    child: Child,
    address: String,
    said: Arc<Mutex<String>>,
}

impl Process {
    /// `serve` with all roles against the world's servers.
    pub async fn serve(world: &World, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(PROGRAM);
        command
            .args(["serve", "--insecure-dev-issuer"])
            .env("TASUKI_DATABASE_URL", &world.database_url)
            .env("TASUKI_NATS_URL", world.stack.nats.url())
            .env("TASUKI_SECRETS_DIR", &world.directory)
            .env("TASUKI_LISTEN", "127.0.0.1:0")
            .env("TASUKI_ROLES", "all")
            .envs(environment.iter().copied());
        Self::start(command).await
    }

    /// Starts the command and waits for the line that says where it listens.
    pub async fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (heard, mut hears) = watch::channel(None);
        keep(child.stdout.take().unwrap(), said.clone(), Some(heard));
        keep(child.stderr.take().unwrap(), said.clone(), None);
        let address = tokio::time::timeout(START_LIMIT, hears.wait_for(Option::is_some)).await;
        let address = match address {
            Ok(Ok(address)) => address.clone().unwrap(),
            _ => panic!("it does not listen: {}", said.lock().unwrap()),
        };
        Self { child, address, said }
    }

    /// A connection of its own.
    pub async fn channel(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }

    /// `http://127.0.0.1:PORT`, or `https://`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What a connection is made from.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(self.address.clone()).unwrap().tcp_nodelay(true)
    }

    /// Somebody who calls for the post.
    pub async fn caller(&self, world: &World, slug: &str) -> Caller {
        Caller { channel: self.channel().await, token: world.token(slug).unwrap(), post: world.post(slug).1 }
    }

    /// Everything that it has written to standard output and standard error.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Sends a signal such as `TERM`; does not wait.
    pub async fn signal(&self, name: &str) {
        signal(self.pid(), name).await;
    }

    /// Waits for its end.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        match tokio::time::timeout(limit, self.child.wait()).await {
            Ok(status) => status.unwrap(),
            Err(_) => panic!("still running after {limit:?}: {}", self.said()),
        }
    }
}

/// Sends a signal to one process.
pub async fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().await.unwrap();
    assert!(sent.success(), "no signal {name} to {pid}");
}

fn keep(
    from: impl AsyncRead + Unpin + Send + 'static,
    said: Arc<Mutex<String>>,
    heard: Option<watch::Sender<Option<String>>>,
) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if let (Some(heard), Some((_, address))) = (&heard, line.split_once(": http")) {
                heard.send_replace(Some(format!("http{address}")));
            }
            let mut said = said.lock().unwrap();
            said.push_str(&line);
            said.push('\n');
        }
    });
}
