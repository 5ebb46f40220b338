//! Both servers, a log to append to, relays to start and stop, and the stream as a consumer sees it.

use std::future::Future;
use std::time::Duration;

use prost::Message as _;
use tasuki_bus::{
    Bus, BusOptions, Delivery, InMessage, LogConsumer, LogPoint, LogStream, LogStreamSettings,
    PublisherSettings, StartFrom,
};
use tasuki_contract::Event;
use tasuki_contract::directory::v1::AgencyRegistered;
use tasuki_contract::event::v1::{Envelope, Header, Page, StreamKind};
use tasuki_log::{Append, Database, Keyring, NewEvent, Reader, Sealer, Writer, WriterOptions, migrate};
use tasuki_relay::{RelayOptions, run};
use tasuki_standalone::{Stack, StackOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Far beyond what anything here takes; a claim that waits this long has failed.
const LIMIT: Duration = Duration::from_secs(60);

/// The lock by which the relays elect their leader, as `pg_locks` shows it: high and low half of the key.
const LEADER: &str = "locktype = 'advisory' AND classid = 7627123 AND objid = 1969973536";

pub(crate) struct World {
    pub(crate) stack: Stack,
    pub(crate) database: Database,
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
}

pub(crate) struct Relay {
    pub(crate) cancel: CancellationToken,
    pub(crate) task: JoinHandle<()>,
}

/// Bounds under which a broken broker is noticed soon.
pub(crate) fn quick() -> RelayOptions {
    RelayOptions {
        publisher: PublisherSettings { ack_timeout: Duration::from_secs(1), ..Default::default() },
        batch_events_max: 50,
        page_bytes_max: 4_000, // several pages of a batch
        check: Duration::from_millis(300),
        standby: Duration::from_millis(50),
        ..RelayOptions::default()
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let stack = Stack::start(StackOptions::throw_away()).await.unwrap();
        let url = stack.postgres.create_database("log").await.unwrap();
        let database = Database::new(&url, 8).unwrap();
        migrate(&database).await.unwrap();
        let keyring = Keyring::generate().unwrap();
        tasuki_log::begin(&database, &database, &keyring).await.unwrap();
        let sealer = Sealer::new(keyring.clone(), database.clone(), database.clone());
        let writer = Writer::start(database.clone(), keyring, sealer, WriterOptions::default());
        Self { stack, reader: Reader::new(database.clone()), database, writer }
    }

    pub(crate) async fn bus(&self, name: &str) -> Bus {
        let options = BusOptions::service(self.stack.nats.url(), None, name);
        within("connect", Bus::connect(&options)).await.unwrap()
    }

    pub(crate) async fn stream(&self) -> LogStream {
        LogStream::new(self.bus("test").await, LogStreamSettings::default())
    }

    pub(crate) async fn relay(&self) -> Relay {
        self.relay_with(quick(), self.writer.head()).await
    }

    pub(crate) async fn relay_with(&self, options: RelayOptions, wake: watch::Receiver<u64>) -> Relay {
        let cancel = CancellationToken::new();
        let (database, reader) = (self.database.clone(), self.reader.clone());
        let bus = self.bus("tasuki-relay").await;
        let task = tokio::spawn(run(database, reader, bus, wake, options, cancel.clone()));
        Relay { cancel, task }
    }

    /// A reader of the whole stream from its oldest message on.
    pub(crate) async fn consumer(&self) -> LogConsumer {
        LogConsumer::start(self.stream().await, StartFrom::Beginning)
    }

    /// Appends `count` events, all at once; the last position of the log afterwards.
    pub(crate) async fn append(&self, count: usize) -> u64 {
        let appends = (0..count).map(|_| self.writer.append(command(Header::default())));
        let appended = within("appends", futures::future::try_join_all(appends)).await.unwrap();
        appended.into_iter().map(|a| a.last_position).max().unwrap()
    }

    /// Waits until the stream ends with that position.
    pub(crate) async fn relayed(&self, position: u64) {
        let stream = self.stream().await;
        until(&format!("the stream to end with {position}"), || async {
            let state = stream.state().await.ok().flatten()?;
            (state.last.map(|last| last.position) == Some(position)).then_some(())
        })
        .await;
    }

    /// Waits until the stream ends behind that position.
    pub(crate) async fn relayed_past(&self, position: u64) {
        let stream = self.stream().await;
        until(&format!("the stream to end behind {position}"), || async {
            let last = stream.state().await.ok().flatten()?.last?;
            (last.position > position).then_some(())
        })
        .await;
    }

    /// The sessions that lead the relays: none or one, as the server says.
    pub(crate) async fn leaders(&self) -> String {
        let sql = format!("SELECT pid FROM pg_locks WHERE granted AND {LEADER}");
        self.stack.postgres.sql("log", &sql).await.unwrap_or_default()
    }

    pub(crate) async fn led(&self) -> String {
        until("a leader", || async { Some(self.leaders().await).filter(|pid| !pid.is_empty()) }).await
    }
}

/// A command with one event, whose header is completed here.
pub(crate) fn command(header: Header) -> Append {
    let stream = Uuid::now_v7();
    let event = Event::AgencyRegistered(AgencyRegistered {
        agency_id: stream.to_string(),
        kind: "hospital".into(),
        name_ja: "例示病院".into(),
        name_en: "Example hospital".into(),
        ..Default::default()
    });
    let rule = event.rule();
    let header = Header {
        event_id: Uuid::now_v7().to_string(),
        r#type: rule.type_name.into(),
        schema: rule.schema,
        stream_kind: StreamKind::Agency as i32,
        stream_id: stream.to_string(),
        version: 1,
        agency_id: stream.to_string(),
        ..header
    };
    Append {
        agency: Uuid::now_v7(),
        request_id: Uuid::now_v7().to_string(),
        digest: Vec::new(),
        events: vec![NewEvent { header, event }],
        relied_on: Vec::new(),
        disclosures: Vec::new(),
        reply: Vec::new(),
        urgent: false,
    }
}

/// The pages until the one that ends at `position`; a loss in between fails the test.
pub(crate) async fn take_to(consumer: &mut LogConsumer, position: u64) -> Vec<InMessage> {
    let mut messages: Vec<InMessage> = Vec::new();
    while messages.last().is_none_or(|last| last.position != position) {
        match within("delivery", consumer.next()).await {
            Delivery::Message(message) => messages.push(message),
            Delivery::Lost(reason) => panic!("lost ({reason:?}) after {} messages", messages.len()),
        }
    }
    messages
}

/// The envelopes of the pages, without what a page repeats of an earlier one.
pub(crate) fn envelopes(messages: &[InMessage]) -> Vec<Envelope> {
    let mut all: Vec<Envelope> = Vec::new();
    for message in messages {
        let page = Page::decode(message.payload.as_ref()).unwrap().envelopes;
        assert_eq!(page.last().map(|e| (e.epoch, e.position)), Some((message.epoch, message.position)));
        let seen = all.last().map(|e| (e.epoch, e.position)).unwrap_or_default();
        all.extend(page.into_iter().filter(|e| (e.epoch, e.position) > seen));
    }
    all
}

pub(crate) fn points(messages: &[InMessage]) -> Vec<LogPoint> {
    envelopes(messages).iter().map(|e| LogPoint::new(e.epoch, e.position)).collect()
}

pub(crate) fn of_epoch(epoch: u64, positions: impl IntoIterator<Item = u64>) -> Vec<LogPoint> {
    positions.into_iter().map(|position| LogPoint::new(epoch, position)).collect()
}

pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {LIMIT:?}"),
    }
}

/// Tries again until `attempt` gives something; for what the servers do in their own time.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, mut attempt: impl FnMut() -> F) -> T {
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    within(what, async {
        loop {
            pause.tick().await;
            if let Some(done) = attempt().await {
                return done;
            }
        }
    })
    .await
}
