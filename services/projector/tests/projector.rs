//! The projector on real servers, with the test in the place of the relay: whatever the stream does, the views end
//! where a rebuild ends, and posts are told.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../crates/views/tests/common/history.rs"]
#[allow(dead_code)]
mod history;

use std::ops::RangeInclusive;
use std::time::Duration;

use futures::FutureExt as _;
use history::{AGENCY, History, POST, id, text};
use prost::Message as _;
use rand::RngExt as _;
use tasuki_bus::{
    Bus, BusOptions, LogStream, LogStreamSettings, Notice, OutMessage, Publisher, PublisherSettings,
    subscribe_notices,
};
use tasuki_contract::Event;
use tasuki_contract::event::v1::{Effects, Envelope, Header, Page, StreamKind};
use tasuki_domain::ids::PostId;
use tasuki_kit::ViewSignals;
use tasuki_log::{Append, Database, Keyring, NewEvent, Reader, Sealer, Writer, WriterOptions};
use tasuki_projector::{ProjectorError, hear, run, run_connecting};
use tasuki_standalone::{Stack, StackOptions};
use tasuki_views::{TABLES, Views, rebuild};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    stack: Stack,
    url: String,
    reader: Reader,
    writer: Writer,
    views: Views,
}

/// One running projector.
struct Running {
    signals: ViewSignals,
    cancel: CancellationToken,
    task: JoinHandle<Result<(), ProjectorError>>,
}

impl Running {
    async fn reaches(&self, position: u64) {
        reaches(&self.signals, position).await;
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Waits until it was told that the views reach the position.
async fn reaches(signals: &ViewSignals, position: u64) {
    let mut reach = signals.reach();
    if reach.position() < position {
        tokio::time::timeout(PATIENCE, reach.reaches(position)).await.expect("in time");
    }
}

impl World {
    async fn new() -> Self {
        let stack = Stack::start(StackOptions::throw_away()).await.unwrap();
        let url = stack.postgres.create_database("tasuki").await.unwrap();
        let database = Database::new(&url, 8).unwrap();
        tasuki_log::migrate(&database).await.unwrap();
        tasuki_views::migrate(&url).await.unwrap();
        let keyring = Keyring::generate().unwrap();
        tasuki_log::begin(&database, &database, &keyring).await.unwrap();
        let sealer = Sealer::new(keyring.clone(), database.clone(), database.clone());
        let writer = Writer::start(database.clone(), keyring, sealer, WriterOptions::default());
        let views = Views::new(&url, 4).unwrap();
        Self { stack, reader: Reader::new(database), writer, views, url }
    }

    async fn bus(&self) -> Bus {
        Bus::connect(&BusOptions::service(self.stack.nats.url(), None, "test")).await.unwrap()
    }

    fn start(&self, bus: Bus) -> Running {
        let signals = ViewSignals::default();
        let cancel = CancellationToken::new();
        let (url, reader) = (self.url.clone(), self.reader.clone());
        let task = tokio::spawn(run(url, reader, bus, signals.clone(), cancel.clone()));
        Running { signals, cancel, task }
    }

    /// Appends through the log's writer, each event in a stream of its own.
    async fn append(&self, rows: &[Envelope]) {
        let event = |row: &Envelope| {
            let mut header = Header::decode(row.header.as_slice()).unwrap();
            header.agency_id = text(AGENCY, 0);
            header.post_id = text(POST, 0);
            header.stream_kind = StreamKind::Case as i32;
            header.stream_id = header.event_id.clone();
            header.version = 1;
            let event = Event::decode(&header.r#type, &[&header.open_payload]).unwrap();
            NewEvent { header, event }
        };
        let append = Append {
            agency: Uuid::nil(),
            request_id: Uuid::new_v4().to_string(),
            digest: Vec::new(),
            events: rows.iter().map(event).collect(),
            relied_on: Vec::new(),
            disclosures: Vec::new(),
            reply: Vec::new(),
            urgent: false,
        };
        self.writer.append(append).await.unwrap();
    }

    /// What the relay would publish of the given runs of positions.
    async fn messages(&self, runs: &[RangeInclusive<u64>]) -> Vec<OutMessage> {
        let rows = self.reader.envelopes_after(0, 100_000).await.unwrap();
        let message = |run: &RangeInclusive<u64>| {
            let page = Page { envelopes: rows[*run.start() as usize - 1..*run.end() as usize].to_vec() };
            assert_eq!(page.envelopes[0].position, *run.start());
            OutMessage { position: *run.end(), epoch: 1, payload: page.encode_to_vec().into() }
        };
        runs.iter().map(message).collect()
    }

    async fn publish(&self, bus: &Bus, runs: &[RangeInclusive<u64>]) {
        let publisher = Publisher::new(bus.clone(), PublisherSettings::default());
        let outcome = publisher.publish_batch(&self.messages(runs).await).await;
        assert_eq!(outcome.error, None);
    }

    async fn dump(&self) -> Vec<Vec<u8>> {
        let mut dump = Vec::new();
        for table in TABLES {
            dump.push(self.views.copy_out(table).await.unwrap());
        }
        dump
    }

    async fn equals_a_rebuild(&self) {
        let live = self.dump().await;
        rebuild(&self.url).await.unwrap();
        let replayed = self.dump().await;
        for ((table, live), replayed) in TABLES.iter().zip(live).zip(replayed) {
            assert!(live == replayed, "{} differs", table.name);
        }
    }
}

/// The stream, with a window for repeats that is over at once.
async fn stream(bus: &Bus) -> LogStream {
    let settings =
        LogStreamSettings { duplicate_window: Duration::from_millis(100), ..LogStreamSettings::default() };
    let stream = LogStream::new(bus.clone(), settings);
    stream.ensure().await.unwrap();
    stream
}

fn seed() -> u64 {
    let given = std::env::var("TASUKI_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = given.unwrap_or_else(|| Uuid::new_v4().as_u64_pair().0 % 1_000_000_000);
    println!("TASUKI_SEED={seed}");
    seed
}

#[tokio::test(flavor = "multi_thread")]
async fn p6_repeats_and_holes_of_the_stream_change_nothing() {
    let world = World::new().await;
    let bus = world.bus().await;
    stream(&bus).await;
    let mut history = History::random(seed(), 18, 5, 600);
    let projector = world.start(bus.clone());
    let (mut from, total) = (0, history.rows.len());
    while from < total {
        let to = (from + history.rng.random_range(1..60)).min(total);
        world.append(&history.rows[from..to]).await;
        // Pages of some, three of four of them, some that overlap what went before, and not always in order.
        let (mut runs, mut start) = (Vec::new(), from as u64 + 1);
        while start <= to as u64 {
            let end = (start + history.rng.random_range(0..8)).min(to as u64);
            runs.push(start..=end);
            start = end + 1;
        }
        runs.retain(|_| history.rng.random_bool(0.75));
        for _ in 0..history.rng.random_range(0..5) {
            let end = history.rng.random_range(1..=to as u64);
            let again = history.rng.random_range(1..=end)..=end;
            let at = history.rng.random_range(0..=runs.len());
            runs.insert(at, again);
        }
        world.publish(&bus, &runs).await;
        from = to;
    }
    projector.reaches(total as u64).await;
    projector.stop().await;
    world.equals_a_rebuild().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_go_on_without_nats_and_with_a_wiped_one() {
    let world = World::new().await;
    let bus = world.bus().await;
    stream(&bus).await;
    let history = History::random(seed(), 18, 5, 300);
    let projector = world.start(bus.clone());
    world.append(&history.rows[..100]).await;
    world.publish(&bus, &[1..=40, 41..=100]).await;
    projector.reaches(100).await;

    world.stack.nats.kill().await.unwrap();
    world.append(&history.rows[100..200]).await;
    projector.reaches(200).await;

    world.stack.nats.wipe().await.unwrap();
    world.stack.nats.restart().await.unwrap();
    let bus = world.bus().await;
    stream(&bus).await;
    world.append(&history.rows[200..]).await;
    // Fed again from the start, as the relay does with a stream that lost everything.
    let total = history.rows.len() as u64;
    world.publish(&bus, &[1..=250, 251..=total]).await;
    projector.reaches(total).await;
    projector.stop().await;
    world.equals_a_rebuild().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_do_not_wait_for_a_broker_that_was_never_there() {
    let world = World::new().await;
    let history = History::random(seed(), 18, 3, 60);
    world.append(&history.rows).await;
    let options = BusOptions::service(world.stack.nats.url(), None, "test");
    world.stack.nats.kill().await.unwrap();
    let signals = ViewSignals::default();
    let cancel = CancellationToken::new();
    let projecting =
        run_connecting(world.url.clone(), world.reader.clone(), options, signals.clone(), cancel.clone());
    let projector = Running { signals, cancel, task: tokio::spawn(projecting) };
    projector.reaches(history.rows.len() as u64).await;
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_projectors_side_by_side_survive_each_other_a_rebuild_and_postgresql() {
    let world = World::new().await;
    let bus = world.bus().await;
    stream(&bus).await;
    let history = History::random(seed(), 18, 5, 500);
    let first = world.start(bus.clone());
    world.append(&history.rows[..100]).await;
    first.reaches(100).await;
    let second = world.start(bus.clone());
    world.append(&history.rows[100..200]).await;
    first.reaches(200).await;

    // The leader ends, the standby goes on.
    first.stop().await;
    world.append(&history.rows[200..300]).await;
    second.reaches(300).await;

    // The views are rebuilt under it.
    assert_eq!(rebuild(&world.url).await.unwrap().generation, 2);
    world.append(&history.rows[300..400]).await;
    second.reaches(400).await;

    // The database dies.
    world.stack.postgres.kill().await.unwrap();
    world.stack.postgres.restart().await.unwrap();
    world.append(&history.rows[400..]).await;
    second.reaches(history.rows.len() as u64).await;
    second.stop().await;
    world.equals_a_rebuild().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_told_of_each_row_of_its_feed_by_its_number() {
    let world = World::new().await;
    let bus = world.bus().await;
    stream(&bus).await;
    let history = History::random(seed(), 18, 3, 200);
    // Of a kind that reads, and registered before anything happens.
    let known = Header::decode(history.rows[1].header.as_slice()).unwrap();
    let n = (0..18).find(|n| known.open_payload.windows(36).any(|w| w == text(POST, *n).as_bytes())).unwrap();
    let (agency, post) = (text(AGENCY, n), text(POST, n));
    let mut notices = subscribe_notices(&bus, &agency, &post).await.unwrap();
    bus.sync().await.unwrap();
    let projector = world.start(bus.clone());
    for rows in history.rows.chunks(23) {
        world.append(rows).await;
    }
    projector.reaches(history.rows.len() as u64).await;
    let feed = world.views.feed_after(PostId(id(POST, n)), 0, 10_000).await.unwrap();
    assert!(!feed.is_empty());
    for row in feed {
        let received =
            tokio::time::timeout(PATIENCE, notices.next()).await.expect("in time").unwrap().unwrap();
        let expected = Notice {
            agency: agency.clone(),
            post: post.clone(),
            feed_epoch: tasuki_views::feed_epoch(1),
            number: row.number,
            case: row.case.map(|case| case.to_string()),
            event: row.event_id.to_string(),
        };
        assert_eq!(received.notice, expected);
    }
    projector.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_another_process_is_woken_by_name_and_everyone_by_a_new_leader() {
    let world = World::new().await;
    let bus = world.bus().await;
    stream(&bus).await;
    let history = History::random(seed(), 18, 3, 200);
    let (elsewhere, other_bus) = (ViewSignals::default(), world.bus().await);
    let posts: Vec<PostId> = (0..18).map(|n| PostId(id(POST, n))).collect();
    let mut waiting: Vec<_> = posts.iter().map(|post| elsewhere.listen(*post)).collect();
    let mut nobody = elsewhere.listen(PostId(Uuid::nil()));
    let (hearing, told) = (elsewhere.clone(), other_bus.clone());
    let heard = tokio::spawn(async move { hear(&told, &hearing).await });
    // It says so itself once it hears.
    let begun = tokio::time::timeout(PATIENCE, nobody.news(1, 0, None));
    begun.await.expect("a listener that has come late looks");
    nobody.mark();
    waiting.iter_mut().for_each(|listener| listener.mark());

    let first = world.start(bus.clone());
    tokio::time::timeout(PATIENCE, nobody.news(1, 0, None)).await.expect("a leader wakes everyone");
    nobody.mark();
    waiting.iter_mut().for_each(|listener| listener.mark());
    for rows in history.rows.chunks(23) {
        world.append(rows).await;
    }
    reaches(&elsewhere, history.rows.len() as u64).await;
    let mut woken = 0;
    for (post, listener) in posts.iter().zip(&mut waiting) {
        let feed = world.views.feed_after(*post, 0, 10_000).await.unwrap();
        let Some(last) = feed.last() else { continue };
        tokio::time::timeout(PATIENCE, listener.news(1, last.number - 1, None)).await.expect("its news");
        woken += 1;
    }
    assert!(woken > 0);
    assert!(nobody.news(1, 0, None).now_or_never().is_none(), "no word to a post without news");
    first.stop().await;
    heard.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_of_a_newer_binary_stops_the_projection_and_is_never_skipped() {
    let world = World::new().await;
    let bus = world.bus().await;
    stream(&bus).await;
    let mut history = History::new(1, 18, 3);
    (0..3).for_each(|n| history.register(n));
    let newer = history.rows.len();
    history.push("tasuki.cases.v1.CaseOpened", vec![0], Effects::default(), &[]);
    history.push("tasuki.cases.v1.CaseOpened", vec![1], Effects::default(), &[]);
    let mut header = Header::decode(history.rows[newer].header.as_slice()).unwrap();
    header.schema = 99;
    history.rows[newer].header = header.encode_to_vec();
    world.append(&history.rows).await;
    let running = world.start(bus);
    let ended = tokio::time::timeout(PATIENCE, running.task).await.expect("in time").unwrap();
    assert!(matches!(ended, Err(ProjectorError::Unreadable(_))));
    assert_eq!(world.views.position().await.unwrap().position, newer as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn views_of_a_newer_binary_stop_the_projection_and_are_not_rebuilt() {
    let world = World::new().await;
    let bus = world.bus().await;
    world.stack.postgres.sql("tasuki", "UPDATE views_meta.current SET layout = layout + 1").await.unwrap();
    let running = world.start(bus);
    let ended = tokio::time::timeout(PATIENCE, running.task).await.expect("in time").unwrap();
    assert!(matches!(ended, Err(ProjectorError::Newer(_))), "{ended:?}");
    let number = world.stack.postgres.sql("tasuki", "SELECT number FROM views_meta.current").await.unwrap();
    assert_eq!(number.trim(), "1");
}
