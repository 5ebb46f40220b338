//! Versions: what changes a stream, and what a decision only relied on.

use futures::future::join_all;
use tasuki_contract::Event;
use tasuki_contract::directory::v1::PostRetired;
use tasuki_contract::event::v1::{Effects, LeadChange};
use tasuki_log::{Append, AppendError};
use uuid::Uuid;

use crate::common::{Log, agency, assert_gapless, beginning, command, consultation, seen, within};

#[tokio::test]
async fn only_the_next_version_of_a_stream_is_appended() {
    let log = Log::fresh().await;
    let stream = Uuid::now_v7();
    log.writer.append(command(vec![agency(stream, 1)])).await.unwrap();
    for (wrong, why) in [(1, "taken"), (3, "skips one"), (0, "there is none")] {
        let answer = log.writer.append(command(vec![agency(stream, wrong)])).await;
        assert!(matches!(answer, Err(AppendError::Conflict)), "{why}: {answer:?}");
    }
    log.writer.append(command(vec![agency(stream, 2)])).await.unwrap();
    assert_eq!(log.reader.versions(&[stream]).await.unwrap(), [(stream, 2)]);
}

#[tokio::test]
async fn of_two_commands_in_one_batch_that_saw_the_same_version_one_is_appended() {
    let log = Log::fresh().await;
    let stream = Uuid::now_v7();
    let both = (0..2).map(|_| log.writer.append(command(vec![agency(stream, 1)])));
    let answers = join_all(both).await;
    assert!(answers[0].is_ok() && matches!(answers[1], Err(AppendError::Conflict)), "{answers:?}");
    // The later one sees what the earlier one of the same batch did.
    let chain = (2..=5).map(|version| log.writer.append(command(vec![agency(stream, version)])));
    assert!(join_all(chain).await.iter().all(Result::is_ok));
    assert_gapless(&log.all().await);
}

#[tokio::test]
async fn a_conflict_in_one_stream_keeps_the_other_streams_of_the_command_unchanged() {
    let log = Log::fresh().await;
    let (a, b) = (Uuid::now_v7(), Uuid::now_v7());
    log.writer.append(command(vec![agency(a, 1), consultation(b, 1), agency(a, 2)])).await.unwrap();
    let answer = log.writer.append(command(vec![agency(a, 3), consultation(b, 1)])).await;
    assert!(matches!(answer, Err(AppendError::Conflict)));
    log.writer.append(command(vec![agency(a, 3), consultation(b, 2)])).await.unwrap();
    let mut versions = log.reader.versions(&[a, b]).await.unwrap();
    versions.sort_by_key(|(_, version)| *version);
    assert_eq!(versions, [(b, 2), (a, 3)]);
    let records = log.all().await;
    assert_gapless(&records);
    assert_eq!(records.iter().map(|r| r.header.version).collect::<Vec<_>>(), [1, 1, 2, 3, 2]);
}

#[tokio::test]
async fn what_a_decision_relied_on_is_checked_and_not_bumped() {
    let log = Log::fresh().await;
    let post = Uuid::now_v7();
    log.writer.append(command(vec![agency(post, 1)])).await.unwrap();
    let relying = |version| Append { relied_on: vec![seen(post, version)], ..beginning() };
    log.writer.append(relying(1)).await.unwrap();
    assert_eq!(log.reader.versions(&[post]).await.unwrap(), [(post, 1)]);

    // Inside one batch too: the change comes first, so who relied on what was before it has to decide again.
    let (change, before, after) = tokio::join!(
        log.writer.append(command(vec![agency(post, 2)])),
        log.writer.append(relying(1)),
        log.writer.append(relying(2)),
    );
    assert!(change.is_ok() && after.is_ok());
    assert!(matches!(before, Err(AppendError::Conflict)));
    let unknown = Append { relied_on: vec![seen(Uuid::now_v7(), 1)], ..beginning() };
    assert!(matches!(log.writer.append(unknown).await, Err(AppendError::Conflict)));
    let absent = Append { relied_on: vec![seen(Uuid::now_v7(), 0)], ..beginning() };
    log.writer.append(absent).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_race_for_one_stream_give_each_version_once() {
    const VERSIONS: u64 = 30;
    let log = Log::fresh().await;
    let stream = Uuid::now_v7();
    let racers = (0..4).map(|_| {
        let process = log.another_process();
        tokio::spawn(async move {
            let mut won = 0;
            loop {
                let versions = process.reader.versions(&[stream]).await.unwrap();
                let version = versions.first().map_or(0, |(_, version)| *version);
                if version >= VERSIONS {
                    return won;
                }
                match process.writer.append(command(vec![consultation(stream, version + 1)])).await {
                    Ok(_) => won += 1,
                    Err(AppendError::Conflict) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
        })
    });
    let won: u64 = within("race", join_all(racers)).await.into_iter().map(Result::unwrap).sum();
    let records = log.reader.stream(stream, 0).await.unwrap();
    let versions: Vec<u64> = records.iter().map(|r| r.header.version).collect();
    assert_eq!(versions, (1..=records.len() as u64).collect::<Vec<_>>());
    assert_eq!(won, records.len() as u64, "whoever was told of a success did append");
    // Both processes met a stream without a key; only one key was kept, and it opens everything.
    let other = log.another_process();
    for record in &records {
        other.reader.open(&other.sealer, record).await.unwrap();
    }
}

/// The case gets a responsible post.
fn led(case: Uuid, version: u64, post: Uuid) -> Append {
    let mut event = consultation(case, version);
    let lead = LeadChange { case_id: case.to_string(), post_id: post.to_string() };
    event.header.effects = Some(Effects { leads: vec![lead], ..Default::default() });
    command(vec![event])
}

fn retired(post: Uuid) -> Append {
    let mut event = agency(post, 1);
    event.event = Event::PostRetired(PostRetired { post_id: post.to_string() });
    event.header.r#type = event.event.rule().type_name.into();
    command(vec![event])
}

#[tokio::test]
async fn a_post_that_is_responsible_for_a_case_is_not_retired() {
    let log = Log::fresh().await;
    let (case, first, second) = (Uuid::now_v7(), Uuid::now_v7(), Uuid::now_v7());
    log.writer.append(led(case, 1, first)).await.unwrap();
    assert!(matches!(log.writer.append(retired(first)).await, Err(AppendError::Conflict)));
    // In one batch: the second post leads a moment before it would retire.
    let (moved, retirement) =
        tokio::join!(log.writer.append(led(case, 2, second)), log.writer.append(retired(second)));
    moved.unwrap();
    assert!(matches!(retirement, Err(AppendError::Conflict)), "{retirement:?}");
    log.writer.append(retired(first)).await.unwrap();
    assert!(matches!(log.writer.append(retired(second)).await, Err(AppendError::Conflict)));
    assert_gapless(&log.all().await);
}

#[tokio::test]
async fn of_two_commands_that_bring_the_first_key_of_a_stream_the_later_decides_again() {
    let log = Log::fresh().await;
    let mut again = 0;
    // Which of both reaches the queue first is not ours to say, so there are several rounds.
    for _ in 0..30 {
        let stream = Uuid::now_v7();
        log.writer.append(command(vec![agency(stream, 1)])).await.unwrap();
        let (first, later) = tokio::join!(
            log.writer.append(command(vec![consultation(stream, 2)])),
            log.writer.append(command(vec![consultation(stream, 3)])),
        );
        first.unwrap();
        match later {
            Ok(_) => {}
            // Another key than the stream's own seals its parts: a conflict, never a fault.
            Err(AppendError::Conflict) => {
                again += 1;
                log.writer.append(command(vec![consultation(stream, 3)])).await.unwrap();
            }
            Err(other) => panic!("{other:?}"),
        }
        let records = log.reader.stream(stream, 0).await.unwrap();
        let keys: Vec<Uuid> = records.iter().flat_map(|r| r.key_ids()).collect();
        assert!(keys.len() == 2 && keys[0] == keys[1], "{keys:?}");
    }
    assert!(again > 0, "they never met");
}

#[tokio::test]
async fn versions_of_a_kind_leave_out_what_is_of_another_kind() {
    use tasuki_contract::event::v1::StreamKind;
    let log = Log::fresh().await;
    let (a, b) = (Uuid::now_v7(), Uuid::now_v7());
    log.writer.append(command(vec![agency(a, 1), consultation(b, 1), agency(a, 2)])).await.unwrap();
    let (agencies, posts): (i32, i32) = (StreamKind::Agency.into(), StreamKind::Post.into());
    let found = log.reader.versions_of_kinds(&[(agencies, a), (agencies, b), (posts, a)]).await.unwrap();
    assert_eq!(found, [(a, 2)]);
}
