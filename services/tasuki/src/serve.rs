//! `tasuki serve`: any subset of roles against servers that somebody else keeps.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tasuki_auth::{KeySet, TrustedIssuer, Verifier, refuse_dev_issuer};

use crate::Error;
use crate::node::{Node, NodeOptions, Role};
use crate::secrets::Secrets;
use crate::token::AUDIENCE;
use crate::up::Interrupts;

/// Arguments of `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Roles, separated by commas: all, intake, handoff, minutes, directory, timeline, attachments, relay, projector.
    #[arg(long, env = "TASUKI_ROLES", value_delimiter = ',', default_value = "all")]
    roles: Vec<String>,
    /// Connection string of PostgreSQL.
    #[arg(long, env = "TASUKI_DATABASE_URL")]
    database_url: String,
    /// Address of nats-server.
    #[arg(long, env = "TASUKI_NATS_URL")]
    nats_url: String,
    /// Credentials file for NATS.
    #[arg(long, env = "TASUKI_NATS_CREDS")]
    nats_creds: Option<PathBuf>,
    /// Directory with the keyring.
    #[arg(long, env = "TASUKI_SECRETS_DIR")]
    secrets_dir: PathBuf,
    /// Connections to PostgreSQL that read the log at most, and as many that read the views. A process with all roles
    /// needs up to ten besides; the server's max_connections must be enough for every process.
    #[arg(long, env = "TASUKI_POOL", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=1_000))]
    pool: u16,
    /// Where to listen.
    #[arg(long, env = "TASUKI_LISTEN", default_value = "127.0.0.1:7443")]
    listen: SocketAddr,
    /// Name of the token issuer (`iss`).
    #[arg(long, env = "TASUKI_ISSUER", requires = "jwks")]
    issuer: Option<String>,
    /// File with the issuer's public keys (JWKS).
    #[arg(long, env = "TASUKI_JWKS", requires = "issuer")]
    jwks: Option<PathBuf>,
    /// Accept the try-out issuer whose key is in the secrets directory. Never with real data.
    #[arg(long)]
    insecure_dev_issuer: bool,
}

/// Runs until Ctrl-C or SIGTERM.
pub async fn run(args: ServeArgs) -> Result<(), Error> {
    let secrets = Secrets::open(&args.secrets_dir)?;
    let mut issuers = Vec::new();
    if let (Some(issuer), Some(jwks)) = (&args.issuer, &args.jwks) {
        let keys = KeySet::read(jwks)?;
        issuers.push(TrustedIssuer { issuer: issuer.clone(), audience: AUDIENCE.to_owned(), keys });
    }
    if args.insecure_dev_issuer {
        let issuer = secrets.issuer.as_ref().ok_or("there is no try-out issuer in the secrets directory")?;
        issuers.push(issuer.trust(AUDIENCE)?);
    }
    if issuers.is_empty() {
        return Err("who issues tokens? give --issuer and --jwks".into());
    }
    refuse_dev_issuer(&Verifier::new(issuers.clone())?, args.insecure_dev_issuer)?;
    let nats_creds = match (&args.nats_creds, &secrets.operator) {
        (Some(path), _) => Some(std::fs::read_to_string(path)?),
        (None, Some(operator)) => Some(operator.service_creds()?),
        (None, None) => None,
    };
    let mut interrupts = Interrupts::listen()?;
    let starting = Node::start(NodeOptions {
        database_url: args.database_url,
        nats_url: args.nats_url,
        nats_creds,
        keyring: secrets.keyring,
        issuers,
        roles: Role::parse_all(&args.roles)?,
        pool: args.pool.into(),
        listen: args.listen,
    });
    let node = tokio::select! {
        started = starting => started?,
        () = interrupts.next() => return Ok(()),
    };
    if let Some(address) = node.address() {
        use std::io::Write as _;
        let mut out = std::io::stdout();
        writeln!(out, "tasuki serve: http://{address}")?;
        out.flush()?;
    }
    let result = tokio::select! {
        () = interrupts.next() => Ok(()),
        failed = node.failed() => Err(failed),
    };
    node.stop().await;
    result
}
