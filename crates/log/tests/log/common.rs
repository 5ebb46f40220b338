//! A log in a database of its own, real events to append to it, and what the tests say often.

use std::future::Future;
use std::time::Duration;

use tasuki_contract::directory::v1::AgencyRegistered;
use tasuki_contract::event::v1::{Effects, Header, ItemChange, ItemKind, StreamKind};
use tasuki_contract::intake::v1::{CallerIdentity, ConsultationReceived};
use tasuki_contract::{DataClass, Event};
use tasuki_log::{
    Append, Database, Keyring, NewEvent, Reader, Record, Sealer, Stream, Writer, WriterOptions, begin,
    migrate,
};
use tasuki_standalone::{Place, Postgres, PostgresOptions};
use uuid::Uuid;

/// Far beyond what anything here takes; a claim that waits this long has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// What is said in the sealed part of every consultation here.
pub(crate) const STORY: &str = "例示の相談内容";

/// A migrated log in a database of its own.
pub(crate) struct Log {
    pub(crate) url: String,
    pub(crate) keyring: Keyring,
    pub(crate) database: Database,
    pub(crate) reader: Reader,
    pub(crate) sealer: Sealer,
    pub(crate) writer: Writer,
}

impl Log {
    /// In the cluster that the tests share.
    pub(crate) async fn fresh() -> Self {
        let postgres = Postgres::shared().await.unwrap();
        let name = format!("log_{}", Uuid::new_v4().simple());
        Self::at(&postgres.create_database(&name).await.unwrap()).await
    }

    pub(crate) async fn at(url: &str) -> Self {
        let keyring = Keyring::generate().unwrap();
        let database = Database::new(url, 1).unwrap();
        migrate(&database).await.unwrap();
        // The store of keys in the same database: what depends on it being apart has tests of its own.
        begin(&database, &database, &keyring).await.unwrap();
        Self::process(url, &keyring, WriterOptions::default())
    }

    /// What another process on the same log holds: nothing is shared but the database and the keys.
    pub(crate) fn process(url: &str, keyring: &Keyring, options: WriterOptions) -> Self {
        let database = Database::new(url, 8).unwrap();
        let sealer = Sealer::new(keyring.clone(), database.clone(), database.clone());
        let writer = Writer::start(database.clone(), keyring.clone(), sealer.clone(), options);
        let (url, keyring, reader) = (url.to_owned(), keyring.clone(), Reader::new(database.clone()));
        Self { url, keyring, database, reader, sealer, writer }
    }

    pub(crate) fn another_process(&self) -> Self {
        Self::process(&self.url, &self.keyring, WriterOptions::default())
    }

    /// The whole log.
    pub(crate) async fn all(&self) -> Vec<Record> {
        self.reader.after(0, 1_000_000).await.unwrap()
    }

    pub(crate) async fn sql(&self, statements: &str) {
        self.database.connect().await.unwrap().batch_execute(statements).await.unwrap();
    }
}

/// A cluster that the test may kill or weaken, and a log in it.
pub(crate) async fn own_cluster() -> (Postgres, Log) {
    let postgres = Postgres::start(PostgresOptions::at(Place::ThrowAway)).await.unwrap();
    let url = postgres.create_database("log").await.unwrap();
    let log = Log::at(&url).await;
    (postgres, log)
}

fn header(event: &Event, kind: StreamKind, stream: Uuid, version: u64) -> Header {
    let rule = event.rule();
    Header {
        event_id: Uuid::now_v7().to_string(),
        r#type: rule.type_name.into(),
        schema: rule.schema,
        stream_kind: kind as i32,
        stream_id: stream.to_string(),
        version,
        agency_id: Uuid::now_v7().to_string(),
        post_id: Uuid::now_v7().to_string(),
        data_class: rule.class as i32,
        ..Header::default()
    }
}

/// An event without a sealed part.
pub(crate) fn agency(stream: Uuid, version: u64) -> NewEvent {
    let event = Event::AgencyRegistered(AgencyRegistered {
        agency_id: stream.to_string(),
        kind: "hospital".into(),
        name_ja: "例示病院".into(),
        name_en: "Example hospital".into(),
        ..Default::default()
    });
    NewEvent { header: header(&event, StreamKind::Agency, stream, version), event }
}

/// An event with a sealed part, which lists the consultation as an item.
pub(crate) fn consultation(stream: Uuid, version: u64) -> NewEvent {
    let event = Event::ConsultationReceived(ConsultationReceived {
        consultation_id: stream.to_string(),
        desk_post_id: Uuid::now_v7().to_string(),
        caller_identity: CallerIdentity::Anonymous as i32,
        story: STORY.into(),
        ..Default::default()
    });
    let mut header = header(&event, StreamKind::Consultation, stream, version);
    header.classes = vec![DataClass::Support as i32];
    let item = ItemChange {
        kind: ItemKind::ItemConsultation as i32,
        item_id: stream.to_string(),
        state: "open".into(),
        ..Default::default()
    };
    header.effects = Some(Effects { items: vec![item], ..Default::default() });
    NewEvent { header, event }
}

/// A command of an agency of its own.
pub(crate) fn command(events: Vec<NewEvent>) -> Append {
    let request_id = Uuid::now_v7().to_string();
    Append {
        agency: Uuid::now_v7(),
        digest: request_id.clone().into_bytes(),
        reply: request_id.clone().into_bytes(),
        request_id,
        events,
        relied_on: Vec::new(),
        disclosures: Vec::new(),
        urgent: false,
    }
}

/// A command that begins a stream.
pub(crate) fn beginning() -> Append {
    command(vec![agency(Uuid::now_v7(), 1)])
}

pub(crate) fn seen(id: Uuid, version: u64) -> Stream {
    Stream { id, version }
}

/// 1, 2, 3, …: nothing missing, nothing twice, nothing out of order.
pub(crate) fn assert_gapless(records: &[Record]) {
    let positions: Vec<u64> = records.iter().map(|r| r.position).collect();
    let expected: Vec<u64> = (1..=records.len() as u64).collect();
    assert_eq!(positions, expected);
    assert!(records.is_sorted_by_key(|r| r.recorded_at_us), "recorded times never decrease");
}

/// Sessions of this database that wait for a lock of another one.
pub(crate) async fn lock_waits(log: &Log) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND wait_event_type = 'Lock'";
    log.database.get().await.unwrap().query_one(sql, &[]).await.unwrap().get(0)
}

pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {LIMIT:?}"),
    }
}
