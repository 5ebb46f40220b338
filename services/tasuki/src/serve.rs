//! `tasuki serve`: any subset of roles against servers that somebody else keeps.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tasuki_auth::{TrustedIssuer, Verifier, refuse_dev_issuer};

use crate::Error;
use crate::jwks::KeySource;
use crate::listen;
use crate::node::{Node, NodeOptions, Role};
use crate::secrets::Secrets;
use crate::token::AUDIENCE;
use crate::up::Interrupts;
use tasuki_transport::pem;
use tasuki_transport::server::ServerFiles;

/// Arguments of `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Roles, separated by commas: all, intake, handoff, minutes, directory, timeline, attachments, relay, projector.
    #[arg(long, env = "TASUKI_ROLES", value_delimiter = ',', default_value = "all")]
    roles: Vec<String>,
    /// Connection string of PostgreSQL. On another machine it goes over TLS, and the server's certificate and name are
    /// checked against sslrootcert=FILE or the system's authorities.
    #[arg(long, env = "TASUKI_DATABASE_URL")]
    database_url: String,
    /// Connection string of the database for the wrapped keys; default: on the same server, named as the log's with
    /// `_keys`, and created where it is missing.
    #[arg(long, env = "TASUKI_KEYS_URL")]
    keys_url: Option<String>,
    /// Address of nats-server: tls://HOST:PORT, or nats:// on a loopback address.
    #[arg(long, env = "TASUKI_NATS_URL")]
    nats_url: String,
    /// Credentials file for NATS.
    #[arg(long, env = "TASUKI_NATS_CREDS")]
    nats_creds: Option<PathBuf>,
    /// File with the authorities of nats-server's certificate, PEM; default: the system's.
    #[arg(long, env = "TASUKI_NATS_CA")]
    nats_ca: Option<PathBuf>,
    /// Directory with the keyring.
    #[arg(long, env = "TASUKI_SECRETS_DIR")]
    secrets_dir: PathBuf,
    /// Connections to PostgreSQL that read the log at most, and as many that read the views. A process with all roles
    /// needs up to ten besides; the server's max_connections must be enough for every process.
    #[arg(long, env = "TASUKI_POOL", default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..=1_000))]
    pool: u16,
    /// Where to listen; on what is no loopback address only with --tls-cert and --tls-key.
    #[arg(long, env = "TASUKI_LISTEN", default_value = "127.0.0.1:7443")]
    listen: SocketAddr,
    /// The server's certificate and those between it and its authority, PEM. Read again when it changes.
    #[arg(long, env = "TASUKI_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, env = "TASUKI_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Authorities of the callers' certificates, PEM: who shows none of theirs is not let in.
    #[arg(long, env = "TASUKI_TLS_CLIENT_CA", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Name of the token issuer (`iss`).
    #[arg(long, env = "TASUKI_ISSUER", requires = "jwks")]
    issuer: Option<String>,
    /// The issuer's public keys (JWKS): an https:// URL or a file. Read again while the program runs.
    #[arg(long, env = "TASUKI_JWKS", requires = "issuer")]
    jwks: Option<String>,
    /// File with the authorities of the URL's certificate, PEM; default: the system's.
    #[arg(long, env = "TASUKI_JWKS_CA", requires = "jwks")]
    jwks_ca: Option<PathBuf>,
    /// Accept the try-out issuer whose key is in the secrets directory. Never with real data.
    #[arg(long)]
    insecure_dev_issuer: bool,
}

/// Runs until Ctrl-C or SIGTERM.
pub async fn run(args: ServeArgs) -> Result<(), Error> {
    let tls = match (args.tls_cert, args.tls_key) {
        (Some(certificate), Some(key)) => Some(ServerFiles { certificate, key, clients: args.tls_client_ca }),
        _ => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    listen::allowed(args.listen, tls.as_ref())?;
    if let Some(files) = &tls {
        files.load()?;
    }
    if let Some(path) = &args.nats_ca {
        pem::authorities(Some(path))?;
    }
    let secrets = Secrets::open(&args.secrets_dir)?;
    let mut issuers = Vec::new();
    let mut source = None;
    if let (Some(issuer), Some(jwks)) = (&args.issuer, &args.jwks) {
        let keys = KeySource::new(issuer, jwks, args.jwks_ca)?;
        let keys =
            source.insert(keys).read().await.map_err(|e| format!("the issuer's keys at {jwks}: {e}"))?;
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
        keys_url: args.keys_url,
        nats_url: args.nats_url,
        nats_creds,
        nats_authorities: args.nats_ca,
        keyring: secrets.keyring,
        issuers,
        keys: source,
        roles: Role::parse_all(&args.roles)?,
        pool: args.pool.into(),
        listen: args.listen,
        tls,
    });
    let node = tokio::select! {
        started = starting => started?,
        () = interrupts.next() => return Ok(()),
    };
    if let Some(address) = node.address() {
        use std::io::Write as _;
        let mut out = std::io::stdout();
        writeln!(out, "tasuki serve: {scheme}://{address}")?;
        out.flush()?;
    }
    let result = tokio::select! {
        () = interrupts.next() => Ok(()),
        failed = node.failed() => Err(failed),
    };
    node.stop().await;
    result
}
