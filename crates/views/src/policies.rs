//! The view `policies`: the visibility policy that each municipality has adopted, from the directory's events.
//!
//! The fold asks it under which policy a post reads a case. What stands in a feed is decided with the policy in force at
//! that place in the log, so that a replay gives the same feeds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tasuki_domain::policy::{InForce, Policy};
use tokio_postgres::{Client, Statement};

use crate::copy::CopyBuffer;
use crate::error::ViewError;
use crate::schema::Table;

pub(crate) static TABLE: Table = Table {
    name: "policies",
    columns: "municipality text NOT NULL, content text NOT NULL, changed_position bigint NOT NULL",
    keys: &["ALTER TABLE $s.policies ADD PRIMARY KEY (municipality)"],
    order: "municipality",
};

pub(crate) const UPSERT: &str = "INSERT INTO $s.policies (municipality, content, changed_position) \
     SELECT * FROM unnest($1::text[], $2::text[], $3::int8[]) \
     ON CONFLICT (municipality) DO UPDATE SET content = excluded.content, \
         changed_position = excluded.changed_position";

pub(crate) const LOAD: &str = "SELECT municipality, content, changed_position FROM $s.policies";

/// The policies in force, by municipality.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    adopted: BTreeMap<String, Adopted>,
    /// Where in the log the last of them came into force.
    changed: u64,
}

#[derive(Debug)]
struct Adopted {
    text: String,
    policy: Arc<Policy>,
    changed: u64,
}

impl Policies {
    /// A policy holds from a place in the log on.
    pub(crate) fn adopt(&mut self, municipality: &str, text: &str, position: u64) {
        let policy = Arc::new(Policy::adopted(text));
        let adopted = Adopted { text: text.to_owned(), policy, changed: position };
        self.adopted.insert(municipality.to_owned(), adopted);
        self.changed = self.changed.max(position);
    }

    pub(crate) fn changed(&self) -> u64 {
        self.changed
    }

    /// Whether the municipality has adopted one behind the position.
    pub(crate) fn changed_since(&self, municipality: &str, position: u64) -> bool {
        self.adopted.get(municipality).is_some_and(|adopted| adopted.changed > position)
    }

    /// The policies for a case of the municipality, and a reader who works elsewhere.
    pub(crate) fn in_force(&self, municipality: &str, elsewhere: Option<&str>) -> InForce {
        let of = |code: &str| self.adopted.get(code).map(|adopted| adopted.policy.clone());
        let of_case = of(municipality).unwrap_or_else(|| Policy::standard().clone());
        InForce { of_case, elsewhere: elsewhere.and_then(of), revision: 0, rows: Vec::new() }
    }

    pub(crate) fn copy(&self, buffer: &mut CopyBuffer) {
        for (municipality, adopted) in &self.adopted {
            buffer.row(3).bytes(municipality.as_bytes()).bytes(adopted.text.as_bytes());
            buffer.int8(adopted.changed as i64);
        }
    }

    pub(crate) async fn write(
        &self,
        client: &Client,
        upsert: &Statement,
        changed: &BTreeSet<String>,
    ) -> Result<(), ViewError> {
        let rows: Vec<(&str, &Adopted)> =
            changed.iter().filter_map(|code| Some((code.as_str(), self.adopted.get(code)?))).collect();
        if !rows.is_empty() {
            let codes: Vec<&str> = rows.iter().map(|(code, _)| *code).collect();
            let texts: Vec<&str> = rows.iter().map(|(_, adopted)| adopted.text.as_str()).collect();
            let positions: Vec<i64> = rows.iter().map(|(_, adopted)| adopted.changed as i64).collect();
            client.execute(upsert, &[&codes, &texts, &positions]).await?;
        }
        Ok(())
    }
}
