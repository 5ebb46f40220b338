//! Partitions of the reads on record: one for each month in UTC, made before the month begins.
//!
//! Made when a process starts, and by a process that runs once a day, for the month and the two that follow. What was
//! recorded while a month had none lies in the default partition, which stands in the way of making it: such rows are
//! moved first. Nothing here is urgent, so whoever reads or writes the table for long wins against it; it tries again
//! a few times, and once more on the next day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::db::{Database, MIGRATION_LOCK};
use crate::error::LogError;

const SECONDS_OF_A_DAY: u64 = 86_400;
/// Pauses between the tries of one day: a slow commit or a long look at the table should not cost the day.
const PAUSES_S: [u64; 6] = [1, 2, 4, 8, 60, 600];

/// The months to make: this one, the two that follow, and those whose rows lie in the default partition; the bounds
/// with their offset, so that no session's time zone has a say.
const MISSING: &str = "
    WITH wanted AS (
        SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => i) AS month
        FROM generate_series(0, 2) AS i
        UNION
        SELECT date_trunc('month', read_at AT TIME ZONE 'UTC') FROM log.reads_default
    )
    SELECT to_char(month, 'YYYY_MM'), to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
           to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00'
    FROM wanted WHERE to_regclass('log.reads_' || to_char(month, 'YYYY_MM')) IS NULL ORDER BY month";

/// Makes the partitions that are missing; moves what waits for them in the default partition. Safe to run from several
/// processes at once, and beside the recording of reads.
pub(crate) async fn keep_partitions(database: &Database) -> Result<(), LogError> {
    let mut client = database.connect().await?;
    // Behind a long look at the table, every record would wait behind us.
    client.batch_execute("SET lock_timeout = '2s'").await?;
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&MIGRATION_LOCK]).await?;
    let missing = transaction.query(MISSING, &[]).await?;
    if missing.is_empty() {
        return Ok(());
    }
    // Before anything else, so that no row comes between the move and the attachment.
    transaction.batch_execute("LOCK TABLE log.reads_default IN ACCESS EXCLUSIVE MODE").await?;
    for row in transaction.query(MISSING, &[]).await? {
        let (name, from, to): (&str, &str, &str) = (row.get(0), row.get(1), row.get(2));
        transaction
            .batch_execute(&format!(
                "CREATE TABLE log.reads_{name} (LIKE log.reads INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
                 WITH moved AS (
                     DELETE FROM log.reads_default WHERE read_at >= '{from}' AND read_at < '{to}' RETURNING *
                 )
                 INSERT INTO log.reads_{name} SELECT * FROM moved;
                 ALTER TABLE log.reads ATTACH PARTITION log.reads_{name} FOR VALUES FROM ('{from}') TO ('{to}')"
            ))
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// Says once a day that the partitions are to be looked after.
#[derive(Debug, Default)]
pub(crate) struct Daily {
    /// Days since 1970-01-01 UTC.
    last: Option<u64>,
}

impl Daily {
    /// Looks after them beside the caller, if nobody has on this day; tries that fail are repeated after a pause, and
    /// the last one is logged.
    pub(crate) fn keep(&mut self, database: &Database) {
        if !self.due(SystemTime::now()) {
            return;
        }
        let database = database.clone();
        tokio::spawn(async move {
            for pause_s in PAUSES_S {
                if keep_partitions(&database).await.is_ok() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(pause_s)).await;
            }
            if let Err(error) = keep_partitions(&database).await {
                tracing::warn!(%error, "the next months' partitions of the reads could not be made");
            }
        });
    }

    fn due(&mut self, now: SystemTime) -> bool {
        let day = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / SECONDS_OF_A_DAY;
        self.last.replace(day) != Some(day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_looked_after_once_a_day() {
        let at = |hours| UNIX_EPOCH + Duration::from_secs(hours * 3_600);
        let mut daily = Daily::default();
        let due: Vec<u64> = (40..80).filter(|hours| daily.due(at(*hours))).collect();
        assert_eq!(due, [40, 48, 72]);
    }
}
