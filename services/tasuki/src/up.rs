//! The embedded default: private PostgreSQL and nats-server, all roles, the try-out issuer, an example region.
//!
//! State is kept under `.tasuki/`; a second start goes on where the first ended, also after a kill -9. It listens on
//! loopback only and says loudly that its tokens are for trying out.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use tasuki_auth::DevIssuer;
use tasuki_domain::ids::{AgencyId, PostId};
use tasuki_standalone::{Stack, StackOptions, StateLock};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::Error;
use crate::issued::Issued;
use crate::node::{Node, NodeOptions, Role};
use crate::region::{self, Region};
use crate::secrets::{self, Secrets};
use crate::token;

/// Where the embedded default keeps its state.
#[derive(Args, Clone, Debug)]
pub struct StateArgs {
    /// Directory of the state.
    #[arg(long, env = "TASUKI_STATE_DIR", default_value = ".tasuki")]
    pub state_dir: PathBuf,
    /// Region file; default: the example region inside the program.
    #[arg(long, env = "TASUKI_REGION")]
    pub region: Option<PathBuf>,
}

/// Arguments of `up`.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    #[command(flatten)]
    state: StateArgs,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, env = "TASUKI_LISTEN", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Connections to PostgreSQL that read the log at most, and as many that read the views.
    #[arg(long, env = "TASUKI_POOL", default_value_t = POOL, value_parser = clap::value_parser!(u16).range(2..=1_000))]
    pool: u16,
}

/// Connections that read, unless told otherwise: nobody else uses the server.
pub const POOL: u16 = 24;

/// What a running `up` tells the other commands.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Running {
    /// `http://127.0.0.1:PORT`.
    pub address: String,
    /// Connection string of its PostgreSQL.
    pub database_url: String,
    /// Address of its nats-server.
    pub nats_url: String,
    /// Its process.
    pub pid: u32,
}

const RUNNING: &str = "running.json";

impl StateArgs {
    /// What the running `up` wrote down.
    pub fn running(&self) -> Result<Running, Error> {
        let path = self.state_dir.join(RUNNING);
        let text = std::fs::read_to_string(&path).map_err(|_| {
            format!("nothing runs with its state in {}; start ./dev up", self.state_dir.display())
        })?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The secrets of the state directory.
    pub fn secrets(&self) -> Result<Secrets, Error> {
        Secrets::open(&self.secrets_dir())
    }

    /// Where they lie.
    pub fn secrets_dir(&self) -> PathBuf {
        self.state_dir.join("secrets")
    }

    /// The try-out issuer.
    pub fn issuer(&self) -> Result<DevIssuer, Error> {
        self.secrets()?.issuer.ok_or_else(|| "there is no try-out issuer here".into())
    }

    /// The region.
    pub fn region(&self) -> Result<Region, Error> {
        match &self.region {
            Some(path) => Region::parse(&std::fs::read_to_string(path)?),
            None => Region::parse(region::EXAMPLE),
        }
    }

    /// Agency and post of `agency.post`, or of a post's id together with its agency's.
    pub fn post(&self, name: &str, agency: Option<uuid::Uuid>) -> Result<(AgencyId, PostId), Error> {
        let region = self.region()?;
        let found = region.posts().find(|(slug, _, post)| slug == name || post.to_string() == name);
        if let Some((_, agency, post)) = found {
            return Ok((agency, post));
        }
        match (agency, uuid::Uuid::try_parse(name)) {
            (Some(agency), Ok(post)) => Ok((AgencyId(agency), PostId(post))),
            _ => {
                let names: Vec<String> = region.posts().map(|(slug, ..)| slug).collect();
                Err(format!("no post {name} in the region; there are: {}", names.join(", ")).into())
            }
        }
    }

    /// A try-out token for a post.
    pub fn token(&self, post: &str, agency: Option<uuid::Uuid>, lifetime_s: i64) -> Result<String, Error> {
        let (agency, post) = self.post(post, agency)?;
        token::for_post(&self.issuer()?, agency, post, lifetime_s)
    }
}

/// The embedded default, running.
pub struct Embedded {
    /// The private servers.
    pub stack: Stack,
    /// The roles.
    pub node: Node,
    /// What it told the other commands.
    pub running: Running,
    /// Its secrets.
    pub secrets: Secrets,
    state: StateArgs,
    _lock: StateLock,
}

impl Embedded {
    /// Starts the servers, the roles, and registers the region.
    pub async fn start(state: &StateArgs, listen: SocketAddr, pool: u16) -> Result<Self, Error> {
        let lock = StateLock::take(&state.state_dir)?;
        let secrets = Secrets::open_or_create(&state.state_dir.join("secrets"))?;
        let region = state.region()?;
        let (Some(issuer), Some(operator)) = (&secrets.issuer, &secrets.operator) else {
            return Err("the embedded default has an issuer and an operator".into());
        };
        let mut options = StackOptions::kept(&state.state_dir);
        let revoked = Issued::in_secrets(&state.secrets_dir()).revoked()?;
        options.nats.extra = operator.server_config_revoking(&revoked)?;
        let stack = Stack::start(options).await?;
        let database_url = stack.postgres.ensure_database("tasuki").await?;
        let nats_url = stack.nats.url();
        let node = Node::start(NodeOptions {
            database_url: database_url.clone(),
            keys_url: None,
            nats_url: nats_url.clone(),
            nats_creds: Some(operator.service_creds()?),
            nats_authorities: None,
            keyring: secrets.keyring.clone(),
            issuers: vec![issuer.trust(token::AUDIENCE)?],
            keys: None,
            roles: Role::ALL.to_vec(),
            pool: pool.into(),
            listen,
            tls: None,
        })
        .await?;
        let address = node.address().ok_or("no service role")?;
        let running =
            Running { address: format!("http://{address}"), database_url, nats_url, pid: std::process::id() };
        region.register(node.channel().await?, &token::for_operator(issuer, 600)?).await?;
        secrets::write(&state.state_dir.join(RUNNING), &serde_json::to_vec_pretty(&running)?)?;
        Ok(Self { stack, node, running, secrets, state: state.clone(), _lock: lock })
    }

    /// Ends calls in an orderly way, then the roles, then the servers.
    pub async fn stop(self) -> Result<(), Error> {
        let _ = std::fs::remove_file(self.state.state_dir.join(RUNNING));
        self.node.stop().await;
        self.stack.stop().await?;
        Ok(())
    }
}

/// Runs until Ctrl-C, SIGTERM, the end of one of the servers, or a role that cannot go on.
pub async fn run(args: UpArgs) -> Result<(), Error> {
    let mut interrupts = Interrupts::listen()?;
    let embedded = tokio::select! {
        started = Embedded::start(&args.state, args.listen, args.pool) => started?,
        () = interrupts.next() => return Ok(()),
    };
    let mut out = std::io::stdout();
    writeln!(out, "tasuki up: {}", embedded.running.address)?;
    writeln!(out, "  nats       {}", embedded.running.nats_url)?;
    writeln!(out, "  state      {}", args.state.state_dir.display())?;
    writeln!(
        out,
        "  TRY-OUT ISSUER: anybody who can read the state directory can act for any post. No real data."
    )?;
    writeln!(out, "  お試し用の認証です。実在の方の情報を入れないでください。")?;
    writeln!(out, "  posts:")?;
    for (slug, _, post) in args.state.region()?.posts() {
        writeln!(out, "    {slug:<24} {post}")?;
    }
    writeln!(out, "  Ctrl-C stops it")?;
    out.flush()?;
    let result = tokio::select! {
        () = interrupts.next() => Ok(()),
        failed = embedded.node.failed() => Err(failed),
        which = embedded.stack.ended() => Err(Error::from(format!("{which} has ended; see its log in the state directory"))),
    };
    embedded.stop().await?;
    result
}

/// Ctrl-C and SIGTERM, from the moment of listening on: one that comes while the program still starts is not lost.
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    /// From here on they no longer end the process by themselves.
    pub fn listen() -> Result<Self, Error> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Completes with the first of them.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Completes with the first of them, from the first poll on; never where they cannot be listened to.
pub async fn interrupted() {
    match Interrupts::listen() {
        Ok(mut interrupts) => interrupts.next().await,
        Err(_) => std::future::pending().await,
    }
}
