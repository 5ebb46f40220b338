//! The tables beside the events: what each must hold follows from the headers.
//!
//! They are there so that an append need not read the log. Who edits them strands a referral, lets a lead retire or
//! makes what was sealed unreadable, so a walk of the log compares them too. The log may grow meanwhile: what has
//! moved on since the walk is left to the next one.

use std::collections::HashMap;

use tasuki_contract::Event;
use tasuki_contract::event::v1::Header;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::attachments::sealed_digests;
use crate::error::LogError;
use crate::verify::Defect;

/// Ids that are asked about in one statement.
const CHUNK: usize = 10_000;

/// What the tables must hold after the walked part of the log, each with the position that says so.
#[derive(Default)]
pub(crate) struct Beside {
    streams: HashMap<Uuid, At<u64>>,
    items: HashMap<Uuid, At<Uuid>>,
    leads: HashMap<Uuid, At<Uuid>>,
    /// By stream and key.
    keys: HashMap<(Uuid, Uuid), u64>,
    /// Digests of the sealed chunks of documents.
    attachments: HashMap<Uuid, At<Vec<u8>>>,
}

struct At<T> {
    value: T,
    position: u64,
}

fn id(text: &str) -> Uuid {
    Uuid::try_parse(text).unwrap_or_default()
}

impl Beside {
    /// Takes note of a row; answers the version of its stream before it.
    pub(crate) fn note(&mut self, position: u64, stream: Uuid, header: &Header) -> u64 {
        for item in header.effects.iter().flat_map(|effects| &effects.items) {
            self.items.entry(id(&item.item_id)).or_insert(At { value: stream, position });
        }
        for lead in header.effects.iter().flat_map(|effects| &effects.leads) {
            self.leads.insert(id(&lead.case_id), At { value: id(&lead.post_id), position });
        }
        if header.r#type == "tasuki.attachments.v1.AttachmentAdded"
            && let Ok(Event::AttachmentAdded(added)) = Event::decode(&header.r#type, &[&header.open_payload])
        {
            let at = At { value: added.sealed_digest, position };
            self.attachments.insert(id(&added.attachment_id), at);
        }
        for part in &header.parts {
            self.keys.entry((stream, id(&part.key_id))).or_insert(position);
        }
        let before = self.streams.insert(stream, At { value: header.version, position });
        before.map_or(0, |before| before.value)
    }

    /// The first position whose row says otherwise than a table.
    pub(crate) async fn first_bad(self, client: &Client) -> Result<Option<(u64, Defect)>, LogError> {
        let sql = "SELECT w.id, s.version FROM unnest($1::uuid[]) w(id) LEFT JOIN log.streams s ON s.stream_id = w.id";
        let versions: HashMap<Uuid, Option<i64>> = ask(client, sql, self.streams.keys()).await?;
        let behind = |(stream, at): (&Uuid, &At<u64>)| {
            let stored = versions.get(stream).copied().flatten().unwrap_or(0) as u64;
            (stored < at.value).then_some((at.position, Defect::Beside("log.streams")))
        };
        let mut bad: Vec<(u64, Defect)> = self.streams.iter().filter_map(behind).collect();
        let grown = |stream: &Uuid| {
            let walked = self.streams.get(stream).map_or(0, |at| at.value);
            versions.get(stream).copied().flatten().is_some_and(|stored| stored as u64 > walked)
        };

        let sql = "SELECT w.id, i.stream_id FROM unnest($1::uuid[]) w(id) LEFT JOIN log.items i ON i.item_id = w.id";
        let items: HashMap<Uuid, Option<Uuid>> = ask(client, sql, self.items.keys()).await?;
        bad.extend(self.items.iter().filter_map(|(item, at)| {
            let stored = items.get(item).copied().flatten();
            (stored != Some(at.value)).then_some((at.position, Defect::Beside("log.items")))
        }));

        let sql =
            "SELECT w.id, l.post_id FROM unnest($1::uuid[]) w(id) LEFT JOIN log.leads l ON l.case_id = w.id";
        let leads: HashMap<Uuid, Option<Uuid>> = ask(client, sql, self.leads.keys()).await?;
        bad.extend(self.leads.iter().filter_map(|(case, at)| {
            let stored = leads.get(case).copied().flatten();
            let wrong = stored.is_none() || stored != Some(at.value) && !grown(case);
            wrong.then_some((at.position, Defect::Beside("log.leads")))
        }));

        bad.extend(unkeyed(client, &self.keys).await?.map(|at| (at, Defect::Beside("log.stream_keys"))));
        let digests = sealed_digests(client, self.attachments.keys()).await?;
        bad.extend(self.attachments.iter().filter_map(|(attachment, at)| {
            let differs = digests.get(attachment) != Some(&at.value);
            differs.then_some((at.position, Defect::Beside("log.attachment_chunks")))
        }));
        Ok(bad.into_iter().min_by_key(|(position, _)| *position))
    }
}

/// The first position with a part whose key is not said to be its stream's: an erasure would leave it.
async fn unkeyed(client: &Client, keys: &HashMap<(Uuid, Uuid), u64>) -> Result<Option<u64>, LogError> {
    let sql = "SELECT k.stream_id, k.key_id FROM unnest($1::uuid[]) AS w(id) JOIN log.stream_keys AS k ON k.stream_id = w.id";
    let statement = client.prepare(sql).await?;
    let mut streams: Vec<Uuid> = keys.keys().map(|(stream, _)| *stream).collect();
    streams.sort_unstable();
    streams.dedup();
    let mut said = std::collections::HashSet::with_capacity(keys.len());
    for chunk in streams.chunks(CHUNK) {
        let rows = client.query(&statement, &[&chunk]).await?;
        said.extend(rows.iter().map(|row| (row.get::<_, Uuid>(0), row.get::<_, Uuid>(1))));
    }
    Ok(keys.iter().filter(|(key, _)| !said.contains(*key)).map(|(_, at)| *at).min())
}

/// The second column of `sql` by the first, for all ids.
async fn ask<T>(
    client: &Client,
    sql: &str,
    ids: impl Iterator<Item = &Uuid>,
) -> Result<HashMap<Uuid, Option<T>>, LogError>
where
    T: for<'a> tokio_postgres::types::FromSql<'a>,
{
    let ids: Vec<Uuid> = ids.copied().collect();
    let statement = client.prepare(sql).await?;
    let mut answers = HashMap::with_capacity(ids.len());
    for chunk in ids.chunks(CHUNK) {
        for row in client.query(&statement, &[&chunk]).await? {
            answers.insert(row.get(0), row.get(1));
        }
    }
    Ok(answers)
}
