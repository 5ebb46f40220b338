//! Appending and reading back: sealed parts, shared transactions, readers beside writers, urgent commands.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::{join_all, try_join_all};
use prost::Message as _;
use tasuki_contract::event::v1::Header;
use tasuki_contract::{Event, SealedPart};
use tasuki_log::{AppendError, LogError, WriterOptions};
use uuid::Uuid;

use crate::common::{
    Log, STORY, agency, assert_gapless, beginning, command, consultation, lock_waits, within,
};

#[tokio::test]
async fn what_was_appended_is_read_back_whole() {
    let log = Log::fresh().await;
    let (desk, child) = (Uuid::now_v7(), Uuid::now_v7());
    let (open, sealed) = (agency(desk, 1), consultation(child, 1));
    let events = [open.event.clone(), sealed.event.clone()];
    let event_ids = [&open, &sealed].map(|e| Uuid::try_parse(&e.header.event_id).unwrap());
    let appended = log.writer.append(command(vec![open, sealed])).await.unwrap();
    assert_eq!((appended.first_position, appended.last_position, appended.replayed), (1, 2, false));

    let records = log.all().await;
    assert_gapless(&records);
    for (record, event) in records.iter().zip(&events) {
        assert_eq!(record.epoch, 1);
        assert_eq!(record.recorded_at_us, appended.recorded_at_us);
        assert_eq!(&log.reader.open(&log.sealer, record).await.unwrap(), event);
        assert_eq!(Header::decode(record.envelope().header.as_slice()).unwrap(), record.header);
    }
    assert_eq!(log.reader.head().await.unwrap(), (2, 1));
    assert_eq!(log.reader.position_of(event_ids[1]).await.unwrap(), Some(2));
    assert_eq!(log.reader.position_of(Uuid::now_v7()).await.unwrap(), None);
    assert_eq!(log.reader.stream_of(child).await.unwrap(), Some(child));
    assert_eq!(log.reader.stream_of(desk).await.unwrap(), None);
    assert_eq!(log.reader.versions(&[desk, Uuid::now_v7()]).await.unwrap(), [(desk, 1)]);
    let ids = |records: Vec<tasuki_log::Record>| records.iter().map(|r| r.position).collect::<Vec<_>>();
    assert_eq!(ids(log.reader.events(&event_ids).await.unwrap()), [1, 2]);
    assert_eq!(ids(log.reader.stream(child, 0).await.unwrap()), [2]);
    assert_eq!(ids(log.reader.stream(child, 1).await.unwrap()), [0; 0]);
    assert_eq!(ids(log.reader.directory_after(0).await.unwrap()), [1]);
}

#[tokio::test]
async fn what_is_personal_stands_in_sealed_parts_alone_and_opens_in_another_process() {
    let log = Log::fresh().await;
    let child = Uuid::now_v7();
    let first = consultation(child, 1);
    let whole = first.event.clone();
    log.writer.append(command(vec![first])).await.unwrap();
    log.writer.append(command(vec![consultation(child, 2)])).await.unwrap();

    let other = log.another_process();
    other.writer.append(command(vec![consultation(child, 3)])).await.unwrap();
    let records = other.all().await;
    for record in &records {
        let holds = |bytes: &[u8]| bytes.windows(STORY.len()).any(|w| w == STORY.as_bytes());
        assert!(!holds(&record.header_bytes) && !holds(&record.parts) && !record.parts.is_empty());
        let Event::ConsultationReceived(open) = record.open_event().unwrap() else { panic!("another type") };
        assert_eq!((open.story.as_str(), open.consultation_id.as_str()), ("", &*child.to_string()));
        assert_eq!(record.header.parts[0].part, SealedPart::Stream as i32);
    }
    assert_eq!(other.reader.open(&other.sealer, &records[0]).await.unwrap(), whole);
    // One key per stream, whichever process wrote.
    let keys: BTreeSet<Uuid> = records.iter().flat_map(|r| r.key_ids()).collect();
    assert_eq!(keys.len(), 1);
}

#[tokio::test]
async fn a_sealed_part_opens_neither_elsewhere_nor_altered_nor_without_its_key() {
    let log = Log::fresh().await;
    let child = Uuid::now_v7();
    log.writer.append(command(vec![consultation(child, 1), consultation(child, 2)])).await.unwrap();
    let records = log.all().await;
    let unopenable = |result: Result<Event, LogError>, at: usize| match result {
        Err(LogError::Unopenable { event_id }) => assert_eq!(event_id, records[at].header.event_id),
        other => panic!("{other:?}"),
    };
    // The same key seals both, yet a part stays with its own header.
    let mut moved = records[0].clone();
    moved.parts = records[1].parts.clone();
    unopenable(log.reader.open(&log.sealer, &moved).await, 0);
    let mut altered = records[1].clone();
    *altered.parts.last_mut().unwrap() ^= 1;
    unopenable(log.reader.open(&log.sealer, &altered).await, 1);

    log.sql("DELETE FROM key_store.data_keys").await;
    let other = log.another_process();
    unopenable(other.reader.open(&other.sealer, &records[0]).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_appends_share_transactions_and_leave_no_gap() {
    let log = Log::fresh().await;
    let appends = (0..300).map(|i| {
        let stream = Uuid::now_v7();
        let events = if i % 3 == 0 {
            vec![consultation(stream, 1), agency(Uuid::now_v7(), 1)]
        } else {
            vec![agency(stream, 1)]
        };
        log.writer.append(command(events))
    });
    let appended = try_join_all(appends).await.unwrap();

    let records = log.all().await;
    assert_eq!(records.len(), 400);
    assert_gapless(&records);
    let mut answered: Vec<u64> = appended.iter().flat_map(|a| a.first_position..=a.last_position).collect();
    answered.sort_unstable();
    assert_eq!(answered, (1..=400).collect::<Vec<_>>(), "each was told its own positions");
    let client = log.database.connect().await.unwrap();
    let heads: i64 = client.query_one("SELECT count(*) FROM log.heads", &[]).await.unwrap().get(0);
    assert!((1..100).contains(&heads), "{heads} transactions for 300 commands");
    assert_eq!(*log.writer.head().borrow(), 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_behind_a_cursor_never_skips_while_two_processes_write() {
    const WRITERS: usize = 16;
    const EACH: usize = 40;
    let log = Log::fresh().await;
    let processes = [log.another_process(), log.another_process()];
    let writing = join_all((0..WRITERS).map(|i| {
        let writer = processes[i % 2].writer.clone();
        tokio::spawn(async move {
            let stream = Uuid::now_v7();
            for version in 1..=EACH as u64 {
                writer.append(command(vec![consultation(stream, version)])).await.unwrap();
            }
        })
    }));
    let reading = async {
        let mut seen = Vec::new();
        while seen.len() < WRITERS * EACH {
            let cursor = seen.last().map_or(0, |r: &tasuki_log::Record| r.position);
            // A small page, so that it often ends in the midst of what is being written.
            seen.extend(log.reader.after(cursor, 7).await.unwrap());
            tokio::task::yield_now().await;
        }
        seen
    };
    let (written, seen) = within("writers and reader", async { tokio::join!(writing, reading) }).await;
    assert!(written.iter().all(Result::is_ok));
    assert_gapless(&seen);
    let polled: Vec<&str> = seen.iter().map(|r| r.header.event_id.as_str()).collect();
    let held = log.all().await;
    assert_eq!(polled, held.iter().map(|r| r.header.event_id.as_str()).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_the_reserved_lane_stays_open() {
    let log = Log::fresh().await;
    // Nobody appends while another transaction holds the table.
    let blocker = log.database.connect().await.unwrap();
    let options = WriterOptions { queue_max: 2, batch_max: 2, patience: Duration::from_secs(30) };
    let full = Log::process(&log.url, &log.keyring, options);
    blocker.batch_execute("BEGIN; LOCK TABLE log.events IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let append = |urgent| {
        let writer = full.writer.clone();
        tokio::spawn(async move { writer.append(tasuki_log::Append { urgent, ..beginning() }).await })
    };
    let with_the_database = append(false);
    within("the first to wait for the table", async {
        while lock_waits(&log).await == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let queued = [append(false), append(false)];
    let refused: Vec<_> = (0..5).map(|_| append(false)).collect();
    for answer in within("refusals, with the table still locked", join_all(refused)).await {
        assert!(matches!(answer.unwrap(), Err(AppendError::Overloaded)));
    }
    let urgent = [append(true), append(true)];
    let (first, urgent, queued, released) = within("answers", async {
        let commit = blocker.batch_execute("COMMIT");
        tokio::join!(with_the_database, join_all(urgent), join_all(queued), commit)
    })
    .await;
    released.unwrap();
    let positions: Vec<u64> = std::iter::once(first)
        .chain(urgent)
        .chain(queued)
        .map(|answer| answer.unwrap().unwrap().last_position)
        .collect();
    assert_eq!(positions, [1, 2, 3, 4, 5], "the urgent ones overtook those that had waited longer");
}

#[tokio::test]
async fn one_bad_command_fails_alone_and_its_batch_mates_are_appended() {
    let log = Log::fresh().await;
    let taken = agency(Uuid::now_v7(), 1);
    let taken_id = taken.header.event_id.clone();
    log.writer.append(command(vec![taken])).await.unwrap();

    let mut commands: Vec<_> = (0..20).map(|_| beginning()).collect();
    // An event id that is taken: the INSERT fails. A NUL: the server refuses the text before that.
    commands[3].events[0].header.event_id = taken_id;
    commands[11].request_id = "nul\0".into();
    commands[19].events.push(agency(Uuid::now_v7(), 1));
    let answers = join_all(commands.into_iter().map(|c| log.writer.append(c))).await;
    for (i, answer) in answers.iter().enumerate() {
        match (i, answer) {
            (3 | 11, Err(AppendError::Fault(LogError::Database(why)))) => {
                let code = if i == 3 { "23505" } else { "22021" };
                assert!(why.starts_with(code), "{why}");
                assert!(!why.contains("nul"), "no value in the message: {why}");
            }
            (3 | 11, other) => panic!("{i}: {other:?}"),
            (_, answer) => assert!(answer.is_ok(), "{i}: {answer:?}"),
        }
    }
    let records = log.all().await;
    assert_eq!(records.len(), 1 + 19);
    assert_gapless(&records);
    // The writer is as good as before.
    log.writer.append(beginning()).await.unwrap();
}
