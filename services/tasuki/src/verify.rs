//! `tasuki verify`: walks the chain of the log and the ledger of reads, and checks a head that was given out before.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use tasuki_log::audit::{Kept, LogHead, log_head};
use tasuki_log::verify::Defect;
use tasuki_log::verify_reads::verify_reads;
use tasuki_log::{Database, anchor_reads, verify as log_verify};

use crate::Error;
use crate::maintain::DatabaseArgs;

/// How often it says how far it has come: to a person, and into a log.
const EVERY_TERMINAL: Duration = Duration::from_millis(200);
const EVERY_FILE: Duration = Duration::from_secs(5);

/// What to verify.
#[derive(Args, Clone, Debug)]
pub struct VerifyArgs {
    /// A head that `audit-head` printed before: also proves that the log still contains it.
    #[arg(long)]
    since_head: Option<PathBuf>,
    #[command(flatten)]
    database: DatabaseArgs,
}

/// Walks both chains; fails when it finds a bad row.
pub async fn verify(args: VerifyArgs) -> Result<(), Error> {
    let url = args.database.url()?;
    let database = Database::new(&url, 2)?;
    let secrets = args.database.secrets()?;
    let signers = || secrets.keyring.signers();
    let mut out = std::io::stdout();
    if let Some(path) = &args.since_head {
        let text = std::fs::read_to_string(path)?;
        let head = LogHead::from_text(&text)
            .ok_or("--since-head: the file holds no head that audit-head printed")?;
        since(&head, head.kept_by(&database, signers()).await?)?;
        writeln!(out, "verify ok: the log contains the head at position {}", head.position)?;
    }

    let total = tasuki_log::Reader::new(database.clone()).head().await?.0;
    let mut progress = Progress::of("position", total);
    let report = log_verify::verify(&database, signers(), |position| progress.at(position)).await?;
    progress.end();
    // Views that have seen more than there is: whoever cut the end off could not make them forget.
    let viewed = tasuki_views::Views::new(&url, 1)?.position().await.map_or(0, |views| views.position);
    let (head, _) = tasuki_log::Reader::new(database.clone()).head().await?;
    let cut = (viewed > head).then_some((head + 1, Defect::Truncated));
    if let Some((position, defect)) = report.first_bad.or(cut) {
        return Err(format!("verify: position {position}: {}", words(defect)).into());
    }

    let mut progress = Progress::of("read", 0);
    let reads = verify_reads(&database, signers(), |seen| progress.at(seen)).await?;
    progress.end();
    if let Some(bad) = reads.first_bad {
        let (writer, number) = (bad.writer, bad.number);
        return Err(
            format!("verify: reads of writer {writer}, number {number}: {}", words(bad.defect)).into()
        );
    }
    writeln!(
        out,
        "verify ok: rows={} heads={} reads={} writers={} anchors={}",
        report.rows, report.heads, reads.reads, reads.writers, reads.anchors
    )?;
    Ok(())
}

/// Prints the signed head of the log and of the reads on record.
pub async fn audit_head(args: DatabaseArgs) -> Result<(), Error> {
    let database = Database::new(&args.url()?, 1)?;
    anchor_reads(&database, &args.secrets()?.keyring).await?;
    let head = log_head(&database).await?.ok_or("the log is empty")?;
    std::io::stdout().write_all(head.to_text().as_bytes())?;
    Ok(())
}

fn since(head: &LogHead, kept: Kept) -> Result<(), Error> {
    let position = head.position;
    let anchor = head.anchor.number;
    match kept {
        Kept::Whole => Ok(()),
        Kept::Forged => Err("verify: the head was not signed by this installation / この署名は本システムのものではありません".into()),
        Kept::Rewritten => Err(format!(
            "verify: position {position}: history up to here was made anew since the head was given out / \
             この位置までの履歴が作り直されています"
        )
        .into()),
        Kept::ReadsRewritten => Err(format!(
            "verify: anchor {anchor}: the reads on record up to here were made anew since the head was given out / \
             ここまでの閲覧記録が作り直されています"
        )
        .into()),
    }
}

/// How far a walk has come, on the standard error.
struct Progress {
    what: &'static str,
    total: u64,
    terminal: bool,
    last: Instant,
}

impl Progress {
    /// `total` 0: nobody knows.
    fn of(what: &'static str, total: u64) -> Self {
        Self { what, total, terminal: std::io::stderr().is_terminal(), last: Instant::now() }
    }

    fn at(&mut self, place: u64) {
        let every = if self.terminal { EVERY_TERMINAL } else { EVERY_FILE };
        if self.last.elapsed() < every {
            return;
        }
        self.last = Instant::now();
        let of = if self.total > 0 { format!("/{}", self.total) } else { String::new() };
        let (begin, end) = if self.terminal { ("\r", "") } else { ("", "\n") };
        // Progress that cannot be shown is no reason to stop.
        let _ = write!(std::io::stderr(), "{begin}verify: {} {place}{of}{end}", self.what);
    }

    fn end(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn words(defect: Defect) -> String {
    let (en, ja) = match defect {
        Defect::Gap => ("a row is missing or was inserted before it", "欠落または挿入された行があります"),
        Defect::Hash => ("the row was altered", "行が書き換えられています"),
        Defect::Order => ("time or epoch goes backwards", "時刻または世代が逆行しています"),
        Defect::Header => ("the header does not agree with the row", "ヘッダーと行が一致しません"),
        Defect::Version => ("the stream's version is not the next", "ストリームの版が連続していません"),
        Defect::Head => ("the signed head does not agree", "署名付きの先頭が一致しません"),
        Defect::Truncated => ("the end was cut off", "末尾が切り取られています"),
        Defect::Unsigned => ("the last rows are not signed", "末尾の行に署名がありません"),
        Defect::Unchained => ("a record stands outside every chain", "連鎖に属さない記録があります"),
        Defect::Beside(table) => {
            return format!("{table} does not hold what the log says / {table} の内容が記録と一致しません");
        }
    };
    format!("{en} / {ja}")
}
