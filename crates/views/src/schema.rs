//! Where the views live: a schema per generation, and the pointer to the one that counts.
//!
//! `views_meta.current` holds the number of the live schema `views_<n>` and the layout of its tables. A rebuild makes
//! the next one and moves the pointer; nothing is ever migrated in place, since everything can be folded again.

use tokio_postgres::Client;

use crate::error::ViewError;
use crate::{caseload, connect, duties, feed, items, policies, posts, state};

/// Raised whenever a table below changes or the fold answers otherwise; a system with another layout rebuilds.
pub(crate) const LAYOUT: i32 = 3;

/// The epoch of the numbers in feeds, of an epoch of the log: a number means the same item only within one.
///
/// A restore of the log begins a new one, and so does a fold that answers otherwise: it may number feeds differently.
pub fn feed_epoch(log_epoch: u64) -> u64 {
    LAYOUT.unsigned_abs() as u64 * 1_000_000 + log_epoch
}

/// Held while the pointer is made, so that two starting processes do not collide.
const SETUP_LOCK: i64 = 0x0074_6173_756b_6911;

/// One table of the views.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Columns with their types.
    pub(crate) columns: &'static str,
    /// Primary key and indexes; `$s` is the schema.
    pub(crate) keys: &'static [&'static str],
    /// The columns that order it totally: `COPY (SELECT * FROM … ORDER BY …)` is the same after every replay.
    pub order: &'static str,
}

/// Every table of the views; the cursor is none of them.
pub const TABLES: &[&Table] = &[
    &feed::TABLE,
    &caseload::TABLE,
    &caseload::CASES,
    &duties::TABLE,
    &items::TABLE,
    &items::POSTS,
    &posts::TABLE,
    &posts::AGENCIES,
    &policies::TABLE,
    &state::EVENTS,
    &state::SIGHTS,
    &state::GRANTS,
];

/// The schema of a generation.
pub(crate) fn name(number: i64) -> String {
    format!("views_{number}")
}

/// The statement with its schema put in for `$s`.
pub(crate) fn in_schema(sql: &str, number: i64) -> String {
    sql.replace("$s", &name(number))
}

/// Makes the pointer, and empty views where there are none. Safe to run from several processes at once.
///
/// Views of another layout stay as they are: [`crate::Projection::lead`] tells, [`crate::rebuild()`] replaces them.
pub async fn migrate(url: &str) -> Result<(), ViewError> {
    let mut client = connect::writer(url).await?;
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&SETUP_LOCK]).await?;
    transaction
        .batch_execute(
            "CREATE SCHEMA IF NOT EXISTS views_meta;
             CREATE TABLE IF NOT EXISTS views_meta.current (
                 only_one bool PRIMARY KEY DEFAULT true CHECK (only_one),
                 number   bigint NOT NULL,
                 layout   int    NOT NULL
             );",
        )
        .await?;
    if transaction.query_opt("SELECT FROM views_meta.current", &[]).await?.is_none() {
        transaction.batch_execute(&tables(1)).await?;
        transaction.batch_execute(&keys(1).join(";")).await?;
        transaction.execute(&in_schema(INSERT_CURSOR, 1), &[&0i64, &1i64]).await?;
        transaction
            .execute("INSERT INTO views_meta.current (number, layout) VALUES (1, $1)", &[&LAYOUT])
            .await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// The cursor of a generation; `fence` grows with every leader.
pub(crate) const INSERT_CURSOR: &str = "INSERT INTO $s.cursor (position, epoch, fence) VALUES ($1, $2, 0)";

/// Makes the schema and its tables, without keys.
pub(crate) fn tables(number: i64) -> String {
    let mut sql = in_schema(
        "CREATE SCHEMA $s;
         CREATE TABLE $s.cursor (
             only_one bool PRIMARY KEY DEFAULT true CHECK (only_one),
             position bigint NOT NULL,
             epoch    bigint NOT NULL,
             fence    bigint NOT NULL
         ) WITH (fillfactor = 10);",
        number,
    );
    for table in TABLES {
        sql += &format!("CREATE TABLE {}.{} ({});", name(number), table.name, table.columns);
    }
    sql
}

/// The statements that make keys and indexes, the largest first.
pub(crate) fn keys(number: i64) -> Vec<String> {
    TABLES.iter().flat_map(|table| table.keys).map(|key| in_schema(key, number)).collect()
}

/// Number and layout of the live generation.
pub(crate) async fn current(client: &Client) -> Result<(i64, i32), ViewError> {
    let row = client.query_opt("SELECT number, layout FROM views_meta.current", &[]).await;
    match row.map_err(ViewError::from) {
        Ok(Some(row)) => Ok((row.get(0), row.get(1))),
        Ok(None) => Err(ViewError::NotReady),
        Err(error) if error.is_missing_table() => Err(ViewError::NotReady),
        Err(error) => Err(error),
    }
}

/// Number of the live generation, if its tables are those that this binary knows.
///
/// Errors: `NotReady`, `OtherLayout`, `NewerLayout`, and faults.
pub(crate) async fn known(client: &Client) -> Result<i64, ViewError> {
    match current(client).await? {
        (number, LAYOUT) => Ok(number),
        (_, found) if found > LAYOUT => Err(ViewError::NewerLayout { found, wanted: LAYOUT }),
        (_, found) => Err(ViewError::OtherLayout { found, wanted: LAYOUT }),
    }
}

/// Removes generations that nobody needs: those that a pointer has left, and what a rebuild left that did not finish.
///
/// Whoever still reads one looks at the pointer with every query and goes on with the one that counts.
pub(crate) async fn drop_generations(client: &Client, gone: impl Fn(i64) -> bool) -> Result<(), ViewError> {
    let sql = "SELECT substr(nspname, 7)::bigint FROM pg_namespace WHERE nspname ~ '^views_[0-9]+$'";
    for row in client.query(sql, &[]).await? {
        let number = row.get(0);
        if gone(number) {
            client.batch_execute(&in_schema("DROP SCHEMA IF EXISTS $s CASCADE", number)).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use tasuki_contract::event::v1::Relation;
    use tasuki_domain::circle::{Circle, Grant, Recipient};
    use tasuki_domain::codes::{self, Table as Codes};
    use tasuki_domain::ids::{AgencyId, GrantId, PostId};
    use tasuki_domain::policy::InForce;
    use tasuki_domain::purpose::Purpose;
    use tasuki_privacy::{PERSONAL, Viewer, event_level};
    use uuid::Uuid;

    use super::*;

    /// Everything outside the fold's own code on which rows of the views depend.
    fn basis() -> String {
        let mut basis = String::new();
        for table in TABLES {
            let _ = writeln!(basis, "{} {} {:?} {}", table.name, table.columns, table.keys, table.order);
        }
        let post = PostId(Uuid::from_u128(1));
        let relations = (0..32).filter_map(|number| Relation::try_from(number).ok());
        for relation in relations {
            for kind in codes::rows(Codes::AgencyKind) {
                let viewer = Viewer {
                    post,
                    agency: AgencyId(Uuid::from_u128(2)),
                    kind: kind.code.clone(),
                    purpose: Purpose::Any,
                };
                for granted in [false, true] {
                    let mut circle = Circle::default();
                    circle.relations.entry(post).or_default().insert(relation);
                    if granted {
                        let grant = Grant {
                            recipients: vec![Recipient::Post(post)],
                            classes: PERSONAL.into_iter().collect(),
                            excluded_keys: Default::default(),
                            valid_to_day: None,
                            ..Grant::default()
                        };
                        circle.grants.insert(GrantId(Uuid::from_u128(3)), grant);
                    }
                    let _ = write!(basis, "{relation:?} {} {granted}:", kind.code);
                    for class in PERSONAL {
                        for party in [false, true] {
                            let _ = write!(
                                basis,
                                " {:?}",
                                event_level(&viewer, &circle, InForce::standard(), 0, class, party)
                            );
                        }
                    }
                    basis.push('\n');
                }
            }
        }
        basis
    }

    /// FNV-1a: it has to be the same on every machine, no more.
    fn hash(text: &str) -> u64 {
        text.bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    #[test]
    fn another_basis_is_another_layout() {
        // Raise LAYOUT whenever the second number changes: feeds may be numbered otherwise, and clients must be told.
        assert_eq!(
            (LAYOUT, hash(&basis())),
            (3, 12_277_149_387_121_382_211),
            "raise LAYOUT and pin both anew"
        );
    }

    #[test]
    fn a_restore_and_a_layout_begin_feeds_anew() {
        assert_ne!(feed_epoch(1), feed_epoch(2));
        assert_eq!(feed_epoch(1) / 1_000_000, u64::from(LAYOUT.unsigned_abs()));
    }
}
