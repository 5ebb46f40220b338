//! What an operator does now and then: rebuild the views, verify the log, hand out NATS credentials.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use clap::Args;
use tasuki_log::verify::Defect;
use tasuki_log::{Database, verify as log_verify};

use crate::Error;
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
    fn url(&self) -> Result<String, Error> {
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

    fn secrets(&self) -> Result<crate::secrets::Secrets, Error> {
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

/// Walks the hash chain; fails when it finds a bad row.
pub async fn verify(args: DatabaseArgs) -> Result<(), Error> {
    let database = Database::new(&args.url()?, 2)?;
    let secrets = args.secrets()?;
    let mut out = std::io::stdout();
    let mut last = std::time::Instant::now();
    let report = log_verify::verify(&database, secrets.keyring.signers(), |position| {
        if last.elapsed() > Duration::from_secs(2) {
            last = std::time::Instant::now();
            let _ = writeln!(std::io::stderr(), "verify: at position {position}");
        }
    })
    .await?;
    // Views that have seen more than there is: whoever cut the end off could not make them forget.
    let viewed =
        tasuki_views::Views::new(&args.url()?, 1)?.position().await.map_or(0, |views| views.position);
    let (head, _) = tasuki_log::Reader::new(database).head().await?;
    let cut = (viewed > head).then_some((head + 1, Defect::Truncated));
    match report.first_bad.or(cut) {
        None => {
            writeln!(out, "verify ok: rows={} heads={}", report.rows, report.heads)?;
            Ok(())
        }
        Some((position, Defect::Beside(table))) => {
            let en = format!("{table} does not hold what the events say");
            let ja = format!("{table} の内容が出来事と一致しません");
            Err(format!("verify: position {position}: {en} / {ja}").into())
        }
        Some((position, defect)) => {
            let (en, ja) = words(defect);
            Err(format!("verify: position {position}: {en} / {ja}").into())
        }
    }
}

fn words(defect: Defect) -> (&'static str, &'static str) {
    match defect {
        Defect::Gap => ("a row is missing or was inserted before it", "欠落または挿入された行があります"),
        Defect::Hash => ("the row was altered", "行が書き換えられています"),
        Defect::Order => ("time or epoch goes backwards", "時刻または世代が逆行しています"),
        Defect::Header => ("the header does not agree with the row", "ヘッダーと行が一致しません"),
        Defect::Version => ("the stream's version is not the next", "ストリームの版が連続していません"),
        Defect::Head => ("the signed head does not agree", "署名付きの先頭が一致しません"),
        Defect::Truncated => ("the end of the log was cut off", "末尾が切り取られています"),
        Defect::Beside(_) => ("a table beside the log does not agree", "付随する表が一致しません"),
        Defect::Unsigned => ("the last rows have no signed head", "末尾の行に署名がありません"),
    }
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
