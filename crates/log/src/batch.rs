//! One transaction for many commands: lock, look, judge each, write set-wise, commit.
//!
//! The lock is an advisory one, taken in a statement of its own so that the next statement sees the last row that
//! was committed. Positions are therefore gapless and ascending, and a reader of `position > cursor` never skips a
//! late commit. No NOTIFY here: it serialises commits.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::anchors::ReadsHead;
use crate::append::{Appended, Prepared, Stream};
use crate::chain::{GENESIS, head_message, row_hash};
use crate::db::{DURABILITY, Database, Durable, durable};
use crate::error::LogError;
use crate::keyring::{Keyring, same_request};
use crate::seal::Sealed;

/// The lock under which positions are given out.
const APPEND_LOCK: i64 = 0x0074_6173_756b_6902;

type Param<'a> = &'a (dyn tokio_postgres::types::ToSql + Sync);

/// What became of one command.
#[derive(Debug)]
pub(crate) enum Outcome {
    Done(Appended),
    Conflict,
    RequestReused,
}

/// The writing connection and its statements; reconnects by itself.
pub(crate) struct Batch {
    database: Database,
    keyring: Keyring,
    connection: Durable<Statements>,
}

struct Statements {
    lock: Statement,
    head: Statement,
    versions: Statement,
    requests: Statement,
    scopes: Statement,
    insert_events: Statement,
    upsert_streams: Statement,
    insert_requests: Statement,
    insert_keys: Statement,
    insert_head: Statement,
    bump_disclosures: Statement,
    insert_items: Statement,
    insert_blind: Statement,
    leading: Statement,
    upsert_leads: Statement,
}

/// The log's last row, or what stands before the first.
struct Head {
    position: u64,
    epoch: u64,
    recorded_at_us: i64,
    hash: Vec<u8>,
    /// The last anchor of the reads on record.
    reads: ReadsHead,
}

impl Batch {
    pub(crate) fn new(database: Database, keyring: Keyring) -> Self {
        Self { database, keyring, connection: Durable::new() }
    }

    /// Runs the batch until it is committed or refused, over lost and hanging connections, until `deadline`.
    ///
    /// A try may hang for `attempt_max`; the last one may go beyond the deadline by as much.
    pub(crate) async fn commit(
        &mut self,
        batch: &[&Prepared],
        deadline: Instant,
        attempt_max: Duration,
    ) -> Result<Vec<Outcome>, LogError> {
        let mut pause = Duration::from_millis(20);
        loop {
            let attempt = async {
                let (client, statements) = self.connection.get(&self.database, Statements::prepare).await?;
                run(client, statements, &self.keyring, batch).await
            };
            let result = match tokio::time::timeout(attempt_max, attempt).await {
                Ok(result) => result,
                Err(_) => {
                    tracing::warn!(
                        limit_ms = attempt_max.as_millis() as u64,
                        "an append hangs, trying again"
                    );
                    self.connection.cut();
                    Err(LogError::Unavailable)
                }
            };
            match result {
                Err(LogError::NotDurable { setting, value }) => {
                    // Its transaction may be open, with the lock.
                    self.connection.cut();
                    return Err(LogError::NotDurable { setting, value });
                }
                Err(error) => {
                    if self.connection.rolled_back(attempt_max).await {
                        return Err(error);
                    }
                    // Whether the lost transaction had committed is learned by running it again: its request ids.
                    self.connection.cut();
                    if Instant::now() >= deadline {
                        return Err(LogError::Unavailable);
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(500));
                }
                done => return done,
            }
        }
    }
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Self, LogError> {
        Ok(Self {
            lock: client.prepare("SELECT pg_advisory_xact_lock($1)").await?,
            head: client
                .prepare(&format!(
                    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, \
                            e.position, e.epoch, e.recorded_at, e.hash, {DURABILITY}, a.number, a.hash \
                     FROM (SELECT 1) AS one LEFT JOIN LATERAL \
                          (SELECT * FROM log.events ORDER BY position DESC LIMIT 1) AS e ON true LEFT JOIN LATERAL \
                          (SELECT number, hash FROM log.read_anchors ORDER BY number DESC LIMIT 1) AS a ON true"
                ))
                .await?,
            versions: client
                .prepare("SELECT stream_id, version FROM log.streams WHERE stream_id = ANY($1)")
                .await?,
            requests: client
                .prepare(
                    "SELECT r.agency_id, r.request_id, r.digest, r.first_position, r.events, r.recorded_at, r.reply \
                     FROM unnest($1::uuid[], $2::text[]) AS want(agency_id, request_id) \
                     JOIN log.requests AS r USING (agency_id, request_id)",
                )
                .await?,
            scopes: client
                .prepare(
                    "SELECT k.stream_id, k.scope, k.part \
                     FROM unnest($1::uuid[], $2::uuid[], $3::smallint[]) AS want(stream_id, scope, part) \
                     JOIN log.stream_keys AS k USING (stream_id, scope, part)",
                )
                .await?,
            insert_events: client
                .prepare(
                    "INSERT INTO log.events \
                     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::uuid[], $5::bigint[], \
                                          $6::uuid[], $7::bigint[], $8::bytea[], $9::bytea[], $10::bytea[])",
                )
                .await?,
            upsert_streams: client
                .prepare(
                    "INSERT INTO log.streams SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::bigint[]) \
                     ON CONFLICT (stream_id) DO UPDATE SET version = excluded.version",
                )
                .await?,
            insert_requests: client
                .prepare(
                    "INSERT INTO log.requests SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bigint[], \
                                                                   $5::int[], $6::bigint[], $7::bytea[])",
                )
                .await?,
            insert_keys: client
                .prepare(
                    "INSERT INTO log.stream_keys SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::smallint[], \
                                                                      $4::uuid[])",
                )
                .await?,
            insert_head: client.prepare("INSERT INTO log.heads VALUES ($1, $2, $3, $4, $5, $6, $7)").await?,
            insert_items: client
                .prepare(
                    "INSERT INTO log.items SELECT * FROM unnest($1::uuid[], $2::uuid[]) \
                     ON CONFLICT (item_id) DO NOTHING",
                )
                .await?,
            insert_blind: client.prepare(crate::blind::INSERT).await?,
            leading: client
                .prepare("SELECT DISTINCT post_id FROM log.leads WHERE post_id = ANY($1)")
                .await?,
            upsert_leads: client
                .prepare(
                    "INSERT INTO log.leads SELECT * FROM unnest($1::uuid[], $2::uuid[]) \
                     ON CONFLICT (case_id) DO UPDATE SET post_id = excluded.post_id",
                )
                .await?,
            bump_disclosures: client
                .prepare(
                    "INSERT INTO log.disclosures SELECT c, 1 FROM unnest($1::uuid[]) AS c \
                     ON CONFLICT (case_id) DO UPDATE SET epoch = log.disclosures.epoch + 1",
                )
                .await?,
        })
    }
}

async fn run(
    client: &Client,
    statements: &Statements,
    keyring: &Keyring,
    batch: &[&Prepared],
) -> Result<Vec<Outcome>, LogError> {
    let mut streams: Vec<Uuid> = batch
        .iter()
        .flat_map(|p| p.rows.iter().map(|r| r.stream_id).chain(p.relied_on.iter().map(|s| s.id)))
        .collect();
    streams.sort_unstable();
    streams.dedup();
    let agencies: Vec<Uuid> = batch.iter().map(|p| p.agency).collect();
    let request_ids: Vec<&str> = batch.iter().map(|p| p.request_id.as_str()).collect();
    let sealed: Vec<Sealed> = batch.iter().flat_map(|p| p.keys.iter().map(|(of, _)| *of)).collect();
    let sealed_streams: Vec<Uuid> = sealed.iter().map(|of| of.0).collect();
    let scopes: Vec<Uuid> = sealed.iter().map(|of| of.1).collect();
    let parts: Vec<i16> = sealed.iter().map(|of| of.2).collect();

    let unled: Vec<Uuid> = batch.iter().flat_map(|p| p.unled.iter().copied()).collect();

    // One round trip: the statements are sent in this order and run in this order.
    let (want_requests, want_scopes): ([Param<'_>; 2], [Param<'_>; 3]) =
        ([&agencies, &request_ids], [&sealed_streams, &scopes, &parts]);
    let (lock, want_streams): ([Param<'_>; 1], [Param<'_>; 1]) = ([&APPEND_LOCK], [&streams]);
    let want_unled: [Param<'_>; 1] = [&unled];
    let (begin, locked, head, versions, requests, taken, leading) = futures::join!(
        client.batch_execute("BEGIN"),
        client.execute(&statements.lock, &lock),
        client.query_one(&statements.head, &[]),
        client.query(&statements.versions, &want_streams),
        client.query(&statements.requests, &want_requests),
        client.query(&statements.scopes, &want_scopes),
        client.query(&statements.leading, &want_unled),
    );
    begin?;
    locked?;
    let head_row = head?;
    durable(&head_row, 5)?;
    let now: i64 = head_row.get(0);
    let reads = head_row
        .get::<_, Option<i64>>(7)
        .map_or_else(ReadsHead::default, |number| ReadsHead { number: number as u64, hash: head_row.get(8) });
    let head = match head_row.get::<_, Option<i64>>(1) {
        None => Head { position: 0, epoch: 1, recorded_at_us: 0, hash: GENESIS.to_vec(), reads },
        Some(position) => Head {
            position: position as u64,
            epoch: head_row.get::<_, i64>(2) as u64,
            recorded_at_us: head_row.get(3),
            hash: head_row.get(4),
            reads,
        },
    };
    let versions = versions?.iter().map(|r| (r.get(0), r.get::<_, i64>(1) as u64)).collect();
    let known = requests?
        .iter()
        .map(|r| {
            let answer = replayed(r.get(3), r.get(4), r.get(5), r.get(6));
            ((r.get::<_, Uuid>(0), r.get::<_, String>(1)), (r.get::<_, Vec<u8>>(2), answer))
        })
        .collect();
    let taken = taken?.iter().map(|r| (r.get(0), r.get(1), r.get(2))).collect();
    let leading = leading?.iter().map(|r| r.get(0)).collect();

    let recorded_at_us = now.max(head.recorded_at_us);
    let mut judge = Judge { versions, known, taken, leading };
    let mut writes = Writes::new(&head, recorded_at_us);
    let outcomes: Vec<Outcome> = batch.iter().map(|p| judge.judge(p, &mut writes)).collect();
    if writes.positions.is_empty() {
        client.batch_execute("ROLLBACK").await?;
        return Ok(outcomes);
    }
    writes.write(client, statements, keyring).await?;
    Ok(outcomes)
}

/// Decides for each command in turn, so that later ones see the earlier ones.
struct Judge {
    versions: HashMap<Uuid, u64>,
    known: HashMap<(Uuid, String), (Vec<u8>, Appended)>,
    taken: HashSet<Sealed>,
    leading: Vec<Uuid>,
}

impl Judge {
    fn judge<'a>(&mut self, p: &'a Prepared, writes: &mut Writes<'a>) -> Outcome {
        if let Some((digest, answer)) = self.known.get(&(p.agency, p.request_id.clone())) {
            return if same_request(digest, &p.digest) {
                Outcome::Done(Appended { replayed: true, ..answer.clone() })
            } else {
                Outcome::RequestReused
            };
        }
        let now = |id: &Uuid| self.versions.get(id).copied().unwrap_or(0);
        let mut next: HashMap<Uuid, u64> = HashMap::new();
        let fits = p.rows.iter().all(|r| {
            let version = next.get(&r.stream_id).copied().unwrap_or_else(|| now(&r.stream_id)) + 1;
            next.insert(r.stream_id, version);
            version == r.version
        });
        let unmoved = p.relied_on.iter().all(|s: &Stream| now(&s.id) == s.version);
        let keys_free = p.keys.iter().all(|(of, _)| !self.taken.contains(of));
        let unled = p.unled.iter().all(|post| !self.leading.contains(post));
        if !(fits && unmoved && keys_free && unled) {
            return Outcome::Conflict;
        }
        self.versions.extend(next);
        self.leading.extend(p.leads.iter().map(|(_, post)| *post));
        self.taken.extend(p.keys.iter().map(|(of, _)| *of));
        let appended = writes.add(p);
        self.known.insert((p.agency, p.request_id.clone()), (p.digest.clone(), appended.clone()));
        Outcome::Done(appended)
    }
}

/// The columns of what is to be written.
struct Writes<'a> {
    position: u64,
    epoch: u64,
    recorded_at_us: i64,
    hash: Vec<u8>,
    reads: ReadsHead,
    positions: Vec<i64>,
    kinds: Vec<i16>,
    stream_ids: Vec<Uuid>,
    versions: Vec<i64>,
    event_ids: Vec<Uuid>,
    headers: Vec<&'a [u8]>,
    parts: Vec<&'a [u8]>,
    hashes: Vec<Vec<u8>>,
    streams: HashMap<Uuid, (i16, i64)>,
    accepted: Vec<(&'a Prepared, Appended)>,
}

impl<'a> Writes<'a> {
    fn new(head: &Head, recorded_at_us: i64) -> Self {
        Self {
            position: head.position,
            epoch: head.epoch,
            recorded_at_us,
            hash: head.hash.clone(),
            reads: head.reads.clone(),
            positions: Vec::new(),
            kinds: Vec::new(),
            stream_ids: Vec::new(),
            versions: Vec::new(),
            event_ids: Vec::new(),
            headers: Vec::new(),
            parts: Vec::new(),
            hashes: Vec::new(),
            streams: HashMap::new(),
            accepted: Vec::new(),
        }
    }

    fn add(&mut self, p: &'a Prepared) -> Appended {
        let first_position = self.position + 1;
        for row in &p.rows {
            self.position += 1;
            let hash =
                row_hash(&self.hash, self.position, self.epoch, self.recorded_at_us, &row.header, &row.parts);
            self.hash = hash.to_vec();
            self.positions.push(self.position as i64);
            self.kinds.push(row.stream_kind);
            self.stream_ids.push(row.stream_id);
            self.versions.push(row.version as i64);
            self.event_ids.push(row.event_id);
            self.headers.push(&row.header);
            self.parts.push(&row.parts);
            self.hashes.push(hash.to_vec());
            self.streams.insert(row.stream_id, (row.stream_kind, row.version as i64));
        }
        let appended = Appended {
            first_position,
            last_position: self.position,
            recorded_at_us: self.recorded_at_us,
            reply: p.reply.clone(),
            replayed: false,
        };
        self.accepted.push((p, appended.clone()));
        appended
    }

    async fn write(
        self,
        client: &Client,
        statements: &Statements,
        keyring: &Keyring,
    ) -> Result<(), LogError> {
        let rows = self.positions.len();
        let epochs = vec![self.epoch as i64; rows];
        let times = vec![self.recorded_at_us; rows];
        let mut streams: Vec<_> = self.streams.into_iter().collect();
        streams.sort_unstable_by_key(|(id, _)| *id);
        let stream_ids: Vec<Uuid> = streams.iter().map(|s| s.0).collect();
        let stream_kinds: Vec<i16> = streams.iter().map(|s| s.1.0).collect();
        let stream_versions: Vec<i64> = streams.iter().map(|s| s.1.1).collect();
        let of = |f: fn(&Appended) -> i64| self.accepted.iter().map(|(_, a)| f(a)).collect::<Vec<i64>>();
        let agencies: Vec<Uuid> = self.accepted.iter().map(|(p, _)| p.agency).collect();
        let request_ids: Vec<&str> = self.accepted.iter().map(|(p, _)| p.request_id.as_str()).collect();
        let digests: Vec<&[u8]> = self.accepted.iter().map(|(p, _)| p.digest.as_slice()).collect();
        let firsts = of(|a| a.first_position as i64);
        let counts: Vec<i32> = self.accepted.iter().map(|(p, _)| p.rows.len() as i32).collect();
        let recorded = of(|a| a.recorded_at_us);
        let replies: Vec<&[u8]> = self.accepted.iter().map(|(p, _)| p.reply.as_slice()).collect();
        let keys: Vec<_> = self.accepted.iter().flat_map(|(p, _)| &p.keys).collect();
        let key_streams: Vec<Uuid> = keys.iter().map(|(of, _)| of.0).collect();
        let scopes: Vec<Uuid> = keys.iter().map(|(of, _)| of.1).collect();
        let key_parts: Vec<i16> = keys.iter().map(|(of, _)| of.2).collect();
        let key_ids: Vec<Uuid> = keys.iter().map(|(_, id)| *id).collect();
        let mut cases: Vec<Uuid> =
            self.accepted.iter().flat_map(|(p, _)| p.disclosures.iter().copied()).collect();
        cases.sort_unstable();
        cases.dedup();
        let (item_ids, item_streams): (Vec<Uuid>, Vec<Uuid>) =
            self.accepted.iter().flat_map(|(p, _)| p.items.iter().copied()).unzip();
        let (blind_cases, blind_kinds, blind_tokens, blind_events) =
            crate::blind::columns(self.accepted.iter().flat_map(|(p, _)| &p.blind));
        // The last lead of a case counts; a statement may not touch a row twice.
        let leads: HashMap<Uuid, Uuid> =
            self.accepted.iter().flat_map(|(p, _)| p.leads.iter().copied()).collect();
        let (led_cases, lead_posts): (Vec<Uuid>, Vec<Uuid>) = leads.into_iter().unzip();
        let (position, epoch) = (self.position as i64, self.epoch as i64);
        let signature = keyring.sign(&head_message(self.position, self.epoch, &self.hash, &self.reads));
        let reads_number = self.reads.number as i64;
        let key_id = keyring.signing_id();

        // One round trip again. Where a statement fails, COMMIT rolls back, and that statement's error is the answer.
        let started = Instant::now();
        let events: [Param<'_>; 10] = [
            &self.positions,
            &epochs,
            &self.kinds,
            &self.stream_ids,
            &self.versions,
            &self.event_ids,
            &times,
            &self.headers,
            &self.parts,
            &self.hashes,
        ];
        let streams: [Param<'_>; 3] = [&stream_ids, &stream_kinds, &stream_versions];
        let requests: [Param<'_>; 7] =
            [&agencies, &request_ids, &digests, &firsts, &counts, &recorded, &replies];
        let keys: [Param<'_>; 4] = [&key_streams, &scopes, &key_parts, &key_ids];
        let disclosures: [Param<'_>; 1] = [&cases];
        let items: [Param<'_>; 2] = [&item_ids, &item_streams];
        let blind: [Param<'_>; 4] = [&blind_cases, &blind_kinds, &blind_tokens, &blind_events];
        let leads: [Param<'_>; 2] = [&led_cases, &lead_posts];
        let head: [Param<'_>; 7] =
            [&position, &epoch, &self.hash, &signature, &key_id, &reads_number, &self.reads.hash];
        let (events, streams, requests, keys, disclosures, items, blind, leads, head, commit) = futures::join!(
            client.execute(&statements.insert_events, &events),
            client.execute(&statements.upsert_streams, &streams),
            client.execute(&statements.insert_requests, &requests),
            client.execute(&statements.insert_keys, &keys),
            client.execute(&statements.bump_disclosures, &disclosures),
            client.execute(&statements.insert_items, &items),
            async {
                // Most commands say nothing of who a child is.
                if blind_cases.is_empty() {
                    return Ok(0);
                }
                client.execute(&statements.insert_blind, &blind).await
            },
            client.execute(&statements.upsert_leads, &leads),
            client.execute(&statements.insert_head, &head),
            client.batch_execute("COMMIT"),
        );
        events?;
        streams?;
        requests?;
        keys?;
        disclosures?;
        items?;
        blind?;
        leads?;
        head?;
        commit?;
        tasuki_telemetry::metrics().batch_committed(rows as u64, started.elapsed());
        Ok(())
    }
}

/// The answer of a request row.
pub(crate) fn replayed(first: i64, events: i32, recorded_at_us: i64, reply: Vec<u8>) -> Appended {
    Appended {
        first_position: first as u64,
        last_position: (first + i64::from(events) - 1) as u64,
        recorded_at_us,
        reply,
        replayed: true,
    }
}
