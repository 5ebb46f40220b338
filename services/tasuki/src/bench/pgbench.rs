//! The yardstick: PostgreSQL's own pgbench, inserting one row of the same sealed bytes, and what its disk can do.

use std::process::Stdio;

use tasuki_standalone::Postgres;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::Error;

const DATABASE: &str = "pgbench";
const CLIENTS: &str = "32";
const THREADS: &str = "2";
/// A variable, so that the bytes travel with every execution as they do in the append.
const SCRIPT: &str = "INSERT INTO sealed (bytes) VALUES (:row);\n";
/// A plain row must fit into one page: more would be stored out of line, which is slower than need be.
const ROW_BYTES_MAX: usize = 7_900;

/// A database beside the log's on the same PostgreSQL, with one plain table.
pub(super) struct Pgbench<'a> {
    postgres: &'a Postgres,
    /// The row's bytes as text.
    row: String,
}

impl<'a> Pgbench<'a> {
    /// Makes the table.
    ///
    /// The bytes are not compressed: ciphertext does not, and the log does not try.
    pub async fn prepare(postgres: &'a Postgres, row: &[u8]) -> Result<Self, Error> {
        if row.len() > ROW_BYTES_MAX {
            return Err(format!("a referral of {} bytes does not fit into a plain row", row.len()).into());
        }
        postgres.create_database(DATABASE).await?;
        let table =
            "CREATE TABLE sealed (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, bytes bytea NOT NULL);
                     ALTER TABLE sealed ALTER COLUMN bytes SET STORAGE PLAIN";
        postgres.sql(DATABASE, table).await?;
        let row = row.iter().fold(String::from("\\x"), |text, byte| text + &format!("{byte:02x}"));
        Ok(Self { postgres, row })
    }

    /// Rows a second.
    pub async fn run(&self, seconds: u32) -> Result<f64, Error> {
        let mut pgbench = Command::new(self.postgres.programs().path("pgbench"))
            .args(["-n", "-M", "prepared", "-c", CLIENTS, "-j", THREADS, "-T", &seconds.max(1).to_string()])
            .args(["-D", &format!("row={}", self.row), "-f", "-"])
            .args(["-h", "127.0.0.1", "-U", "tasuki", "-p", &self.postgres.port().to_string(), DATABASE])
            .env("PGPASSWORD", password(&self.postgres.url(DATABASE)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = pgbench.stdin.take().ok_or("no standard input")?;
        stdin.write_all(SCRIPT.as_bytes()).await?;
        drop(stdin);
        let output = pgbench.wait_with_output().await?;
        let said = String::from_utf8_lossy(&output.stdout);
        rate(&said)
            .filter(|_| output.status.success())
            .ok_or_else(|| format!("pgbench: {}{said}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// What `pg_test_fsync` says of the disk under the log, a line per method.
pub(super) async fn test_fsync(postgres: &Postgres) -> Result<Vec<String>, Error> {
    let output = Command::new(postgres.programs().path("pg_test_fsync"))
        .args(["-s", "1", "-f"])
        .arg(postgres.data_dir().join("pg_test_fsync.out"))
        .stdin(Stdio::null())
        .output()
        .await?;
    if !output.status.success() {
        return Err(format!("pg_test_fsync: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    // The first part tries each method with one 8-kB write, which is what a commit is.
    let first = said.lines().take_while(|line| !line.contains("two 8kB"));
    let lines = first.filter(|line| line.contains("ops/sec"));
    Ok(lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect())
}

fn rate(said: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
    line.split(' ').next()?.parse().ok()
}

fn password(url: &str) -> &str {
    let user = url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).map_or("", |(user, _)| user);
    user.split_once(':').map_or("", |(_, password)| password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_from_what_pgbench_says() {
        let said = "latency average = 8.7 ms\ntps = 3665.184702 (without initial connection time)\n";
        assert_eq!(rate(said), Some(3_665.184_702));
        assert_eq!(rate("pgbench: error"), None);
    }

    #[test]
    fn the_password_is_taken_from_the_address() {
        assert_eq!(password("postgres://tasuki:abc123@127.0.0.1:5/x"), "abc123");
        assert_eq!(password("postgres://tasuki@127.0.0.1:5/x"), "");
    }
}
