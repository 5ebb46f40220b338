//! A private nats-server with JetStream on a free loopback port.
//!
//! Never decides who may do what: `bus` supplies operator, accounts and permissions as configuration text.
//! Streams lie in `store` below the [`Place`]; its `nats.conf` is readable by its user alone.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

use crate::Error;
use crate::home::{Home, Place};
use crate::keeper::{Keeper, Launch};
use crate::postgres::blocking;
use crate::proc::Process;
use crate::programs::find_nats_server;
use crate::server::{Kind, Server, log_path};

/// How to start a nats-server.
#[derive(Debug, Clone)]
pub struct NatsOptions {
    /// Where its state lives.
    pub place: Place,
    /// The largest message that it takes, in bytes; 1 MiB.
    pub max_payload_bytes: u64,
    /// The most that JetStream keeps on disk, in bytes; 8 GiB.
    pub store_bytes_max: u64,
    /// Configuration text after ours: operator, accounts, authorization.
    pub extra: String,
    /// How long a start may take, recovery of the streams included; one minute.
    pub start_limit: Duration,
}

impl NatsOptions {
    /// The defaults at that place: no authorization.
    pub fn at(place: Place) -> Self {
        Self {
            place,
            max_payload_bytes: 1 << 20,
            store_bytes_max: 8 << 30,
            extra: String::new(),
            start_limit: Duration::from_secs(60),
        }
    }
}

/// A running private nats-server. Dropping it stops it without waiting; [`Nats::stop`] waits.
pub struct Nats {
    server: Server<Broker>,
}

impl Nats {
    /// Starts a nats-server and returns when it greets clients, JetStream included.
    ///
    /// Errors: [`Error::Missing`], [`Error::AlreadyRunning`], [`Error::NotOurs`], [`Error::Ended`],
    /// [`Error::TooSlow`].
    pub async fn start(options: NatsOptions) -> Result<Self, Error> {
        let broker = blocking(move || Broker::prepare(options)).await?;
        Ok(Self { server: Server::start(broker).await? })
    }

    /// The address for clients: `nats://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.server.port)
    }

    /// The port on 127.0.0.1; the same over restarts.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// The process number while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// Where JetStream keeps its files.
    pub fn store_dir(&self) -> PathBuf {
        self.server.kind.store()
    }

    /// The server's log.
    pub fn log_file(&self) -> PathBuf {
        log_path(&self.server.kind.home)
    }

    /// Other configuration text of the caller, in force from the next restart on.
    pub fn set_extra(&self, extra: String) {
        *self.server.kind.extra.lock().unwrap_or_else(PoisonError::into_inner) = extra;
    }

    /// Completes when the server has ended, for whatever reason.
    pub async fn ended(&self) {
        self.server.ended().await;
    }

    /// Stops it in order and waits. The store stays until the drop.
    pub async fn stop(&self) -> Result<(), Error> {
        self.server.stop().await
    }

    /// kill -9.
    pub async fn kill(&self) -> Result<(), Error> {
        self.server.kill().await
    }

    /// Starts again after [`stop`](Self::stop), [`kill`](Self::kill) or a crash: same port, same store.
    ///
    /// Errors: [`Error::StillRuns`]; [`Error::PortTaken`] if somebody else listens there meanwhile.
    pub async fn restart(&self) -> Result<(), Error> {
        self.server.restart(|_| Ok(())).await
    }

    /// Removes every stream and consumer of a stopped server: what the loss of NATS means.
    ///
    /// Errors: [`Error::StillRuns`].
    pub async fn wipe(&self) -> Result<(), Error> {
        self.server.while_down(Broker::empty_store).await
    }
}

/// The part that does not change while the server runs, stops and runs again.
struct Broker {
    program: PathBuf,
    home: Home,
    /// Unique to this home: by it the server is told from another one on the same port.
    name: String,
    max_payload_bytes: u64,
    store_bytes_max: u64,
    extra: Mutex<String>,
    start_limit: Duration,
}

impl Broker {
    fn prepare(options: NatsOptions) -> Result<Self, Error> {
        let program = find_nats_server()?; // before anything is created
        let home = Home::for_nats(&options.place)?;
        let store = home.dir.join("store");
        if !store.exists() {
            home.identity.create_dir(&store)?;
        }
        let remembered = home.dir.join("name");
        let name = match fs::read_to_string(&remembered) {
            Ok(name) => name,
            Err(_) => {
                let name = format!("tasuki-{}", uuid::Uuid::new_v4().simple());
                home.identity.write(&remembered, &name)?;
                name
            }
        };
        Ok(Self {
            program,
            home,
            name,
            max_payload_bytes: options.max_payload_bytes,
            store_bytes_max: options.store_bytes_max,
            extra: Mutex::new(options.extra),
            start_limit: options.start_limit,
        })
    }

    fn store(&self) -> PathBuf {
        self.home.dir.join("store")
    }

    /// The directory itself stays: a server may be found by it.
    fn empty_store(&self) -> Result<(), Error> {
        let store = self.store();
        fs::remove_dir_all(&store).map_err(Error::io(store.display()))?;
        self.home.identity.create_dir(&store)
    }

    fn configuration(&self, port: u16) -> String {
        format!(
            "# Written at every start: a change here is lost.\n\
             server_name: {name}\n\
             listen: \"127.0.0.1:{port}\"\n\
             max_payload: {payload}\n\
             jetstream {{\n  store_dir: {store}\n  max_memory_store: 67108864\n  max_file_store: {file}\n}}\n\
             {extra}\n",
            name = quoted(&self.name),
            payload = self.max_payload_bytes,
            store = quoted(&self.store().display().to_string()),
            file = self.store_bytes_max,
            extra = self.extra.lock().unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Kind for Broker {
    const NAME: &'static str = "nats-server";
    const STOP_SIGNAL: Signal = Signal::SIGTERM;

    fn home(&self) -> &Home {
        &self.home
    }

    fn work_dir(&self) -> PathBuf {
        self.store()
    }

    fn start_limit(&self) -> Duration {
        self.start_limit
    }

    fn stop_limit(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn launch(&self, port: u16, owns: bool) -> Result<Keeper, Error> {
        let path = self.home.dir.join("nats.conf");
        self.home.identity.write(&path, &self.configuration(port))?;
        Keeper::start(&Launch {
            identity: self.home.identity,
            program: &self.program,
            args: vec!["-c".into(), path.into()],
            cwd: &self.store(),
            log: &log_path(&self.home),
            stop_signal: Self::STOP_SIGNAL,
            stop_limit: self.stop_limit(),
            throw_away: self.home.hand_over(),
            owns,
        })
    }

    /// The greeting carries the name: another server on that port does not pass for ours.
    async fn answers(&self, port: u16, _process: Process) -> bool {
        let attempt = async {
            let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
            let mut line = String::new();
            BufReader::new(stream.take(64 * 1024)).read_line(&mut line).await.ok()?;
            let info: Info = serde_json::from_str(line.strip_prefix("INFO ")?).ok()?;
            Some(info.server_name == self.name && info.jetstream)
        };
        matches!(tokio::time::timeout(Duration::from_secs(2), attempt).await, Ok(Some(true)))
    }

    fn tidy(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// What the greeting tells that matters here.
#[derive(serde::Deserialize)]
struct Info {
    server_name: String,
    #[serde(default)]
    jetstream: bool,
}

/// A string of the configuration language.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
