//! What an operator does now and then: rebuild the views, hand out NATS credentials.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use clap::Args;
use tasuki_log::Database;

use crate::Error;
use crate::issued::Issued;
use crate::up::StateArgs;

/// Which database, and which keys.
#[derive(Args, Clone, Debug)]
pub struct DatabaseArgs {
    /// Connection string; default: that of the running `up`.
    #[arg(long, env = "TASUKI_DATABASE_URL")]
    database_url: Option<String>,
    /// Connection string of the database for the keys; default: on the same server, named as the log's with `_keys`.
    #[arg(long, env = "TASUKI_KEYS_URL")]
    keys_url: Option<String>,
    /// Directory with the keyring; default: that of the state directory.
    #[arg(long, env = "TASUKI_SECRETS_DIR")]
    secrets_dir: Option<std::path::PathBuf>,
    #[command(flatten)]
    state: StateArgs,
}

/// For which post.
#[derive(Args, Clone, Debug)]
pub struct CredsArgs {
    /// A post of the region, such as `hospital.discharge`, or a post's id.
    #[arg(long, required_unless_present = "config")]
    post: Option<String>,
    /// The agency's id, where --post is an id that the region file does not name.
    #[arg(long)]
    agency: Option<uuid::Uuid>,
    /// How long they hold, days.
    #[arg(long, default_value_t = 30)]
    days: u64,
    /// Revoke all that were handed out for the post so far, and print nats-server's new configuration of them.
    #[arg(long)]
    revoke: bool,
    /// Print that configuration: operator, accounts, and what was revoked.
    #[arg(long, conflicts_with_all = ["post", "revoke"])]
    config: bool,
    #[command(flatten)]
    state: StateArgs,
}

impl DatabaseArgs {
    /// Where the log is.
    pub(crate) fn url(&self) -> Result<String, Error> {
        match &self.database_url {
            Some(url) => Ok(url.clone()),
            None => Ok(self.state.running()?.database_url),
        }
    }

    /// The log's database and that of the keys.
    pub(crate) fn databases(&self) -> Result<(Database, Database), Error> {
        let log = Database::new(&self.url()?, 2)?;
        let keys = log.for_keys(self.keys_url.as_deref(), 2)?;
        Ok((log, keys))
    }

    /// The directory with the keyring.
    pub(crate) fn directory(&self) -> Result<std::path::PathBuf, Error> {
        Ok(self.secrets_dir.clone().unwrap_or_else(|| self.state.state_dir.join("secrets")))
    }

    /// The keyring and its company.
    pub(crate) fn secrets(&self) -> Result<crate::secrets::Secrets, Error> {
        match &self.secrets_dir {
            Some(directory) => crate::secrets::Secrets::open(directory),
            None => self.state.secrets(),
        }
    }
}

/// Rebuilds every view from the log into fresh tables and switches over; reads go on meanwhile.
pub async fn rebuild(args: DatabaseArgs) -> Result<(), Error> {
    let started = std::time::Instant::now();
    let report = tasuki_views::rebuild(&args.url()?).await?;
    let mut out = std::io::stdout();
    let seconds = started.elapsed().as_secs_f64();
    writeln!(out, "rebuild ok: position={} rows={} seconds={seconds:.2}", report.position, report.rows)?;
    Ok(())
}

/// Prints a credentials file with which an ordinary NATS client gets one post's notices, and notes whom it is for; or
/// takes back what was noted.
pub async fn nats_creds(args: CredsArgs) -> Result<(), Error> {
    let secrets = args.state.secrets()?;
    let operator = secrets.operator.ok_or("there is no NATS operator in the secrets directory")?;
    let issued = Issued::in_secrets(&args.state.secrets_dir());
    let Some(post) = &args.post else {
        std::io::stdout().write_all(operator.server_config_revoking(&issued.revoked()?)?.as_bytes())?;
        return Ok(());
    };
    let (agency, post) = args.state.post(post, args.agency)?;
    if args.revoke {
        issued.revoke(post.0, SystemTime::now())?;
        std::io::stdout().write_all(operator.server_config_revoking(&issued.revoked()?)?.as_bytes())?;
        return Ok(());
    }
    let until = SystemTime::now() + Duration::from_secs(args.days * 86_400);
    let made = operator.post_user(&agency.to_string(), &post.to_string(), until)?;
    // Noted first: what nobody knows of cannot be taken back.
    issued.note(post.0, &made.user, until)?;
    std::io::stdout().write_all(made.creds.as_bytes())?;
    Ok(())
}
