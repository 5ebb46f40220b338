//! Cases brought up to date for a reader: what each has gained, and its disclosure epoch at the same instant.
//!
//! One statement, hence one snapshot: an append writes its events and raises the epoch in one transaction, so neither
//! is seen without the other. Who evaluates the policy on such a case under such an epoch misses no change of
//! disclosure, because the read record compares the epoch once more.

use uuid::Uuid;

use crate::db::Database;
use crate::error::LogError;
use crate::read::Record;

/// What a case has gained since a version of it.
#[derive(Clone, Debug)]
pub struct Gained {
    /// The case.
    pub case: Uuid,
    /// Its disclosure epoch; 0 where nothing was ever disclosed.
    pub epoch: u64,
    /// Its rows after the version, ascending.
    pub records: Vec<Record>,
}

/// Cases to one statement, so that many cold ones are not in memory at once.
const CASES_MAX: usize = 32;

/// The subqueries keep PostgreSQL at one look by index for each case, whatever it thought of the tables when it made
/// the plan.
const SQL: &str = "SELECT c.number, (SELECT d.epoch FROM log.disclosures d WHERE d.case_id = c.case_id), \
            e.position, e.epoch, e.recorded_at, e.header, e.parts, e.hash \
     FROM unnest($1::uuid[], $2::int8[]) WITH ORDINALITY AS c(case_id, version, number) \
     LEFT JOIN LATERAL ( \
         SELECT * FROM log.events e WHERE e.stream_id = c.case_id AND e.version > c.version OFFSET 0 \
     ) e ON true \
     ORDER BY c.number, e.version";

/// What the given cases have gained since a version of each, in the order given; an unknown case has gained nothing.
pub async fn gained(database: &Database, cases: &[(Uuid, u64)]) -> Result<Vec<Gained>, LogError> {
    let mut all = Vec::with_capacity(cases.len());
    for cases in cases.chunks(CASES_MAX) {
        let first = all.len();
        all.extend(cases.iter().map(|(case, _)| Gained { case: *case, epoch: 0, records: Vec::new() }));
        let (ids, versions): (Vec<Uuid>, Vec<i64>) = cases.iter().map(|(c, v)| (*c, *v as i64)).unzip();
        let client = database.get().await?;
        let statement = client.prepare_cached(SQL).await?;
        for row in client.query(&statement, &[&ids, &versions]).await? {
            let case = &mut all[first + row.get::<_, i64>(0) as usize - 1];
            case.epoch = row.get::<_, Option<i64>>(1).unwrap_or(0) as u64;
            // A case without a row stands there alone.
            if row.get::<_, Option<i64>>(2).is_some() {
                case.records.push(Record::from_columns(&row, 2)?);
            }
        }
    }
    Ok(all)
}
