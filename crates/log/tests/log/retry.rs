//! The same request again: one append, one answer.

use futures::future::join_all;
use tasuki_log::{Append, AppendError, NewEvent};
use uuid::Uuid;

use crate::common::{Log, agency, beginning, command, consultation};

/// The same command with freshly made event ids, as a caller's retry would bring it.
fn again(of: &Append, events: Vec<NewEvent>) -> Append {
    Append {
        agency: of.agency,
        request_id: of.request_id.clone(),
        digest: of.digest.clone(),
        reply: b"another reply".to_vec(),
        ..command(events)
    }
}

#[tokio::test]
async fn a_retry_gets_the_original_answer_and_appends_nothing() {
    let log = Log::fresh().await;
    let child = Uuid::now_v7();
    let first = command(vec![consultation(child, 1), consultation(child, 2)]);
    let retry = again(&first, vec![consultation(child, 1), consultation(child, 2)]);
    let late = again(&first, vec![consultation(child, 3)]);
    let (agency, request_id, digest, reply) =
        (first.agency, first.request_id.clone(), first.digest.clone(), first.reply.clone());
    let original = log.writer.append(first).await.unwrap();
    assert_eq!(original.reply, reply);
    for (process, retry) in [(log.another_process(), retry), (log.another_process(), late)] {
        let answer = process.writer.append(retry).await.unwrap();
        assert!(answer.replayed);
        assert_eq!(tasuki_log::Appended { replayed: false, ..answer }, original);
    }
    let replay = log.writer.replay(agency, &request_id, &digest).await.unwrap().unwrap();
    assert_eq!(tasuki_log::Appended { replayed: false, ..replay }, original);
    assert_eq!(log.writer.replay(agency, "never sent", &digest).await.unwrap(), None);
    assert_eq!(log.all().await.len(), 2);
}

#[tokio::test]
async fn a_request_id_with_another_body_is_refused_and_appends_nothing() {
    let log = Log::fresh().await;
    let first = beginning();
    let mut other = again(&first, vec![agency(Uuid::now_v7(), 1)]);
    other.digest = b"another body".to_vec();
    let (agency_id, request_id, digest) = (other.agency, other.request_id.clone(), other.digest.clone());
    log.writer.append(first).await.unwrap();
    assert!(matches!(log.writer.append(other).await, Err(AppendError::RequestReused)));
    let replay = log.writer.replay(agency_id, &request_id, &digest).await;
    assert!(matches!(replay, Err(AppendError::RequestReused)));
    assert_eq!(log.all().await.len(), 1);
}

#[tokio::test]
async fn a_request_id_belongs_to_its_agency() {
    let log = Log::fresh().await;
    let mut commands = [beginning(), beginning()];
    for command in &mut commands {
        command.request_id = "1".into();
    }
    for command in commands {
        assert!(!log.writer.append(command).await.unwrap().replayed);
    }
    assert_eq!(log.all().await.len(), 2);
}

#[tokio::test]
async fn retries_inside_one_batch_share_one_append() {
    let log = Log::fresh().await;
    let first = beginning();
    let mut tries: Vec<Append> = (0..6).map(|_| again(&first, vec![agency(Uuid::now_v7(), 1)])).collect();
    tries[4].digest = b"another body".to_vec();
    // Others between them: were the batch split to get rid of a repeat, there would be more transactions.
    let commands = tries.into_iter().flat_map(|again| [again, beginning()]);
    let answers = join_all(commands.map(|c| log.writer.append(c))).await;
    let (repeats, others): (Vec<_>, Vec<_>) = answers.into_iter().enumerate().partition(|(i, _)| i % 2 == 0);
    assert!(others.iter().all(|(_, answer)| matches!(answer, Ok(a) if !a.replayed)));
    let answers = repeats.into_iter().map(|(_, answer)| answer);
    let (done, refused): (Vec<_>, Vec<_>) = answers.partition(Result::is_ok);
    let done: Vec<_> = done.into_iter().map(Result::unwrap).collect();
    assert_eq!(done.iter().filter(|a| !a.replayed).count(), 1);
    assert!(done.iter().all(|a| (a.first_position, a.last_position) == (1, 1) && a.reply == done[0].reply));
    assert!(matches!(refused[..], [Err(AppendError::RequestReused)]));
    assert_eq!(log.all().await.len(), 1 + 6);
    assert_eq!(heads(&log).await, 1, "they did share a transaction");
}

async fn heads(log: &Log) -> i64 {
    let client = log.database.connect().await.unwrap();
    client.query_one("SELECT count(*) FROM log.heads", &[]).await.unwrap().get(0)
}
