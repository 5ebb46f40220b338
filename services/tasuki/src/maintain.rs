//! What an operator does now and then: rebuild the views, hand out NATS credentials.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use clap::Args;

use crate::Error;
use crate::up::StateArgs;

/// Which database, and which keys.
#[derive(Args, Clone, Debug)]
pub struct DatabaseArgs {
    /// Connection string; default: that of the running `up`.
    #[arg(long, env = "TASUKI_DATABASE_URL")]
    database_url: Option<String>,
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
    #[arg(long)]
    post: String,
    /// The agency's id, where --post is an id that the region file does not name.
    #[arg(long)]
    agency: Option<uuid::Uuid>,
    /// How long they hold, days.
    #[arg(long, default_value_t = 30)]
    days: u64,
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

/// Prints a credentials file with which an ordinary NATS client gets one post's notices.
pub async fn nats_creds(args: CredsArgs) -> Result<(), Error> {
    let (agency, post) = args.state.post(&args.post, args.agency)?;
    let secrets = args.state.secrets()?;
    let operator = secrets.operator.ok_or("there is no NATS operator in the secrets directory")?;
    let until = SystemTime::now() + Duration::from_secs(args.days * 86_400);
    let creds = operator.post_creds(&agency.to_string(), &post.to_string(), until)?;
    std::io::stdout().write_all(creds.as_bytes())?;
    Ok(())
}
