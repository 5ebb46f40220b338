//! A private PostgreSQL cluster on a free loopback port, with a generated password and no Unix socket.
//!
//! Never speaks SQL beyond what `psql` does for set-up: the crates `log` and `views` do that. Data lie in
//! `data` below the [`Place`]; the password in `password` beside it, readable by the server's user alone.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::home::{Home, Place};
use crate::keeper::{Keeper, Launch};
use crate::proc::Process;
use crate::programs::{Programs, find_postgres};
use crate::server::{Kind, Server, log_path};
use crate::template::{self, DATA, PASSWORD};
use crate::{Error, user};

/// The superuser of every private cluster.
pub(crate) const USER: &str = "tasuki";
/// What a caller may not set: the first four are the promise behind an acknowledgement, the rest is chosen here.
const FIXED: [&str; 9] = [
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "zero_damaged_pages",
    "port",
    "listen_addresses",
    "unix_socket_directories",
    "data_directory",
    "logging_collector",
];

/// How to start a cluster.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// Where its state lives.
    pub place: Place,
    /// Further settings, name and value as in `postgresql.conf` without quotes, after the defaults.
    pub settings: Vec<(String, String)>,
    /// How long a start may take, crash recovery included; two minutes.
    pub start_limit: Duration,
}

impl PostgresOptions {
    /// The defaults at that place.
    pub fn at(place: Place) -> Self {
        Self { place, settings: Vec::new(), start_limit: Duration::from_secs(120) }
    }
}

/// A running private cluster. Dropping it stops it without waiting; [`Postgres::stop`] waits.
pub struct Postgres {
    server: Server<Cluster>,
    password: String,
}

impl Postgres {
    /// Starts a cluster and returns when it accepts connections.
    ///
    /// Errors: [`Error::Missing`], [`Error::AlreadyRunning`], [`Error::NotOurs`], [`Error::Ended`],
    /// [`Error::TooSlow`].
    pub async fn start(options: PostgresOptions) -> Result<Self, Error> {
        let cluster = blocking(move || Cluster::prepare(options)).await?;
        let path = cluster.home.dir.join(PASSWORD);
        let password = std::fs::read_to_string(&path).map_err(Error::io(path.display()))?;
        let server = Server::start(cluster).await?;
        Ok(Self { server, password })
    }

    /// The throw-away cluster that the whole process shares, started at the first call and gone with the process.
    /// A database per test keeps tests apart for less than a cluster per test would.
    pub async fn shared() -> Result<Arc<Self>, Error> {
        static SHARED: tokio::sync::OnceCell<Arc<Postgres>> = tokio::sync::OnceCell::const_new();
        let start = || async { Self::start(PostgresOptions::at(Place::ThrowAway)).await.map(Arc::new) };
        SHARED.get_or_try_init(start).await.cloned()
    }

    /// The address of one database, password included: `postgres://tasuki:…@127.0.0.1:PORT/DATABASE`.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{}@127.0.0.1:{}/{database}", self.password, self.server.port)
    }

    /// Creates a database that must not exist yet, and gives its address.
    ///
    /// Shape: `name` is `[a-z_][a-z0-9_]*`, 63 bytes at most.
    /// Errors: [`Error::DatabaseName`]; [`Error::Helper`] for one that exists.
    pub async fn create_database(&self, name: &str) -> Result<String, Error> {
        self.sql("postgres", &format!("CREATE DATABASE {}", checked(name)?)).await?;
        Ok(self.url(name))
    }

    /// The address of a database that is created at the first call.
    pub async fn ensure_database(&self, name: &str) -> Result<String, Error> {
        let query = format!("SELECT 1 FROM pg_database WHERE datname = '{}'", checked(name)?);
        if self.sql("postgres", &query).await?.is_empty() {
            return self.create_database(name).await;
        }
        Ok(self.url(name))
    }

    /// Drops a database and cuts off whoever is connected to it.
    pub async fn drop_database(&self, name: &str) -> Result<(), Error> {
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", checked(name)?);
        self.sql("postgres", &statement).await.map(drop)
    }

    /// Runs one statement through `psql` and gives its rows: fields by `|`, one row a line.
    /// For set-up and for tests; costs a process.
    pub async fn sql(&self, database: &str, statement: &str) -> Result<String, Error> {
        let program = self.server.kind.programs.path("psql");
        let mut command = user::Identity::current().command(&program);
        command.env("PGPASSWORD", &self.password).env("PGCONNECT_TIMEOUT", "10");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]);
        command.args(["-U", USER, "-d", database, "-p", &self.server.port.to_string(), "-c", statement]);
        let rows = blocking(move || {
            let output = command.output().map_err(Error::io(program.display()))?;
            user::finished(&program, output)
        });
        Ok(rows.await?.trim_end().to_owned())
    }

    /// The port on 127.0.0.1; the same over restarts.
    pub fn port(&self) -> u16 {
        self.server.port
    }

    /// The postmaster's process number while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.pid()
    }

    /// The data directory: what an auditor of erasure searches.
    pub fn data_dir(&self) -> PathBuf {
        self.server.kind.work_dir()
    }

    /// The server's log.
    pub fn log_file(&self) -> PathBuf {
        log_path(&self.server.kind.home)
    }

    /// The binaries that belong to this cluster: `pgbench`, `pg_test_fsync`, `pg_basebackup`.
    pub fn programs(&self) -> &Programs {
        &self.server.kind.programs
    }

    /// Completes when the server has ended, for whatever reason.
    pub async fn ended(&self) {
        self.server.ended().await;
    }

    /// Stops it (`fast`; throw-away ones without a last checkpoint) and waits. The data stay until the drop.
    pub async fn stop(&self) -> Result<(), Error> {
        self.server.stop().await
    }

    /// kill -9 of the postmaster and all its children.
    pub async fn kill(&self) -> Result<(), Error> {
        self.server.kill().await
    }

    /// Starts again after [`stop`](Self::stop), [`kill`](Self::kill) or a crash: same port, same data.
    ///
    /// Errors: [`Error::StillRuns`]; [`Error::PortTaken`] if somebody else listens there meanwhile.
    pub async fn restart(&self) -> Result<(), Error> {
        self.server.restart(|_| Ok(())).await
    }
}

/// The part that does not change while the cluster runs, stops and runs again.
struct Cluster {
    programs: Programs,
    home: Home,
    settings: Vec<(String, String)>,
    start_limit: Duration,
}

impl Cluster {
    fn prepare(options: PostgresOptions) -> Result<Self, Error> {
        for (name, value) in &options.settings {
            let is_name =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.".contains(&b));
            // Names are case-insensitive to PostgreSQL.
            let is_fixed = FIXED.contains(&name.to_ascii_lowercase().as_str());
            if !is_name || is_fixed || value.contains(['\n', '\r', '\0']) {
                return Err(Error::Setting(name.clone()));
            }
        }
        let installed = find_postgres(None)?; // before anything is created
        let home = Home::for_postgres(&options.place)?;
        let data = home.dir.join(DATA);
        let programs = if data.exists() {
            let path = data.join("PG_VERSION");
            let version = std::fs::read_to_string(&path).map_err(Error::io(path.display()))?;
            let wanted = version.trim().parse().unwrap_or_default();
            find_postgres(Some(wanted)).map_err(|_| Error::OtherVersion { dir: data, wanted })?
        } else {
            let fill = if home.is_throw_away() { template::copy } else { template::create };
            fill(&installed, home.identity, &home.dir)?;
            installed
        };
        Ok(Self { programs, home, settings: options.settings, start_limit: options.start_limit })
    }

    fn configuration(&self, port: u16) -> String {
        let mut text = String::from("# Written at every start: a change here is lost.\n");
        let defaults = [
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", ""),
            ("password_encryption", "scram-sha-256"),
            ("fsync", "on"),
            ("synchronous_commit", "on"),
            ("full_page_writes", "on"),
            ("max_connections", "200"),
            ("shared_buffers", "64MB"),
            ("max_wal_size", "512MB"),
            ("jit", "off"),
            ("timezone", "UTC"),
            ("log_timezone", "UTC"),
            ("lc_messages", "C"),
            // To standard error, which the keeper sends to the log file.
            ("logging_collector", "off"),
            ("log_line_prefix", "%m [%p] "),
            ("log_checkpoints", "off"),
            // Statements and details of errors hold values, and values may be personal.
            ("log_min_error_statement", "panic"),
            ("log_error_verbosity", "terse"),
        ];
        let defaults = defaults.iter().map(|(name, value)| (*name, *value));
        let further = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in defaults.chain(further) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
        }
        let _ = writeln!(text, "port = {port}");
        text
    }
}

impl Kind for Cluster {
    const NAME: &'static str = "postgresql";
    const STOP_SIGNAL: Signal = Signal::SIGINT; // fast: clients are cut off, a checkpoint is written

    fn home(&self) -> &Home {
        &self.home
    }

    fn work_dir(&self) -> PathBuf {
        self.home.dir.join(DATA)
    }

    fn start_limit(&self) -> Duration {
        self.start_limit
    }

    fn stop_limit(&self) -> Duration {
        Duration::from_secs(30)
    }

    fn launch(&self, port: u16, owns: bool) -> Result<Keeper, Error> {
        let data = self.work_dir();
        self.home.identity.write(&data.join("postgresql.conf"), &self.configuration(port))?;
        // Nobody needs the data of a throw-away cluster after its end.
        let stop_signal = if self.home.is_throw_away() { Signal::SIGQUIT } else { Self::STOP_SIGNAL };
        Keeper::start(&Launch {
            identity: self.home.identity,
            program: &self.programs.path("postgres"),
            args: vec!["-D".into(), data.clone().into()],
            cwd: &data,
            log: &log_path(&self.home),
            stop_signal,
            stop_limit: self.stop_limit(),
            throw_away: self.home.hand_over(),
            owns,
        })
    }

    /// The lock file says `ready` under our process number, so the port in it is this server's and nobody
    /// else's; then a handshake proves that it answers.
    async fn answers(&self, port: u16, process: Process) -> bool {
        let lock_file = std::fs::read_to_string(self.work_dir().join("postmaster.pid")).unwrap_or_default();
        let mut lines = lock_file.lines();
        let pid = lines.next().and_then(|line| line.trim().parse::<i32>().ok());
        // A standby answers too: it may be read.
        let is_ready = lines.nth(6).is_some_and(|status| ["ready", "standby"].contains(&status.trim()));
        pid == Some(process.pid) && is_ready && shakes_hands(port).await
    }

    /// PostgreSQL takes a lock file for live when its number has been given to another process of that user.
    /// Removing it is safe only because no process works in the data directory: its shared memory is unused.
    fn tidy(&self) -> Result<(), Error> {
        let lock_file = self.work_dir().join("postmaster.pid");
        match std::fs::remove_file(&lock_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io(lock_file.display())(error))
            }
            _ => Ok(()),
        }
    }
}

/// Asks for TLS as a client would; a server answers with one letter, `S` or `N`.
async fn shakes_hands(port: u16) -> bool {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    let attempt = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
        stream.write_all(&SSL_REQUEST).await.ok()?;
        stream.read_u8().await.ok()
    };
    let answer = tokio::time::timeout(Duration::from_secs(2), attempt).await;
    matches!(answer, Ok(Some(b'S' | b'N')))
}

fn checked(name: &str) -> Result<&str, Error> {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let fits =
        name.len() <= 63 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if begins && fits { Ok(name) } else { Err(Error::DatabaseName(name.into())) }
}

/// File and process work off the runtime's threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| Error::io("start a thread")(std::io::Error::other(error)))?
}
