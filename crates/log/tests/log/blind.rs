//! The blind index: written with its events or not at all, read by tokens, gone with its case.

use tasuki_log::blind::CANDIDATES_MAX;
use tasuki_log::{BlindEntry, BlindIndex};
use uuid::Uuid;

use crate::common::{Log, beginning, command, consultation};

const NAME: i16 = 1;

fn said(log: &Log, case: Uuid, kind: i16, clue: &str) -> BlindEntry {
    BlindEntry { case, kind, token: log.keyring.blind_token(kind, clue), event: Uuid::now_v7() }
}

#[tokio::test]
async fn tokens_are_found_by_who_has_the_key_and_go_with_their_case() {
    let log = Log::fresh().await;
    let index = BlindIndex::new(log.database.clone());
    let [one, other] = [Uuid::now_v7(), Uuid::now_v7()];
    let both = [said(&log, one, NAME, "テスト"), said(&log, one, 5, "131997")];
    log.writer.append_indexed(beginning(), both.to_vec()).await.unwrap();
    log.writer.append_indexed(beginning(), vec![said(&log, other, 5, "131997")]).await.unwrap();

    let name = log.keyring.blind_token(NAME, "テスト");
    assert_eq!(
        index.like(std::slice::from_ref(&name)).await.unwrap(),
        both,
        "with all that is said of the case"
    );
    let strange = tasuki_log::Keyring::generate().unwrap().blind_token(NAME, "テスト");
    assert_eq!(index.like(&[strange]).await.unwrap(), []);
    assert_eq!(index.of(other).await.unwrap().len(), 1);

    let client = log.database.connect().await.unwrap();
    assert_eq!(BlindIndex::forget(&client, one).await.unwrap(), 2);
    assert_eq!(index.like(&[name]).await.unwrap(), []);
    assert_eq!(index.of(other).await.unwrap().len(), 1, "the others stay");
}

#[tokio::test]
async fn a_command_that_is_not_taken_leaves_no_token() {
    let log = Log::fresh().await;
    let index = BlindIndex::new(log.database.clone());
    let case = Uuid::now_v7();
    let conflicting = command(vec![consultation(case, 2)]);
    let refused = log.writer.append_indexed(conflicting, vec![said(&log, case, NAME, "テスト")]).await;
    assert!(refused.is_err());
    assert_eq!(index.of(case).await.unwrap(), []);

    // A retry is no second statement.
    let first = beginning();
    let (agency, request_id, digest) = (first.agency, first.request_id.clone(), first.digest.clone());
    log.writer.append_indexed(first, vec![said(&log, case, NAME, "テスト")]).await.unwrap();
    let again = tasuki_log::Append { agency, request_id, digest, ..beginning() };
    let retried = log.writer.append_indexed(again, vec![said(&log, case, NAME, "テスト")]).await.unwrap();
    assert!(retried.replayed);
    assert_eq!(index.of(case).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_table_holds_nothing_that_was_said() {
    let log = Log::fresh().await;
    let case = Uuid::now_v7();
    let clue = "テスト\u{1f}2024-02-29";
    log.writer.append_indexed(beginning(), vec![said(&log, case, NAME, clue)]).await.unwrap();
    let client = log.database.connect().await.unwrap();
    let sql = "SELECT token, b::text FROM log.blind_index b";
    let row = client.query_one(sql, &[]).await.unwrap();
    let (token, text): (Vec<u8>, String) = (row.get(0), row.get(1));
    assert_eq!(token.len(), 32);
    for piece in ["テスト", "2024-02-29"] {
        assert!(
            !text.contains(piece) && !token.windows(piece.len()).any(|w| w == piece.as_bytes()),
            "{piece}"
        );
    }
}

#[tokio::test]
async fn a_lookup_gives_a_bounded_number_of_cases_the_likest_first() {
    let log = Log::fresh().await;
    let index = BlindIndex::new(log.database.clone());
    let likest = Uuid::max();
    let mut all: Vec<BlindEntry> =
        (0..CANDIDATES_MAX + 4).map(|_| said(&log, Uuid::now_v7(), 5, "131997")).collect();
    all.extend([said(&log, likest, 5, "131997"), said(&log, likest, NAME, "テスト")]);
    log.writer.append_indexed(beginning(), all).await.unwrap();
    let tokens = [log.keyring.blind_token(5, "131997"), log.keyring.blind_token(NAME, "テスト")];
    let found = index.like(&tokens).await.unwrap();
    let mut cases: Vec<Uuid> = found.iter().map(|entry| entry.case).collect();
    cases.dedup();
    assert_eq!(cases.len(), CANDIDATES_MAX);
    assert!(cases.contains(&likest));
}

#[tokio::test]
async fn searches_are_counted_for_a_post_over_all_processes_and_come_back_with_time() {
    let log = Log::fresh().await;
    let other = log.another_process();
    let indexes = [BlindIndex::new(log.database.clone()), BlindIndex::new(other.database.clone())];
    let (post, somebody) = (Uuid::now_v7(), Uuid::now_v7());
    for n in 0..5 {
        assert!(indexes[n % 2].take_search(post, 5).await.unwrap(), "{n}");
    }
    assert!(!indexes[0].take_search(post, 5).await.unwrap());
    assert!(!indexes[1].take_search(post, 5).await.unwrap());
    assert!(indexes[1].take_search(somebody, 5).await.unwrap(), "each post for itself");
    // A fifth of an hour later there is one again, and only one.
    log.sql("UPDATE log.search_allowance SET at = at - interval '13 minutes'").await;
    assert!(indexes[0].take_search(post, 5).await.unwrap());
    assert!(!indexes[1].take_search(post, 5).await.unwrap());
    // However long nobody searched, there are not more than fit.
    log.sql("UPDATE log.search_allowance SET at = at - interval '1 year'").await;
    for n in 0..5 {
        assert!(indexes[n % 2].take_search(post, 5).await.unwrap(), "{n}");
    }
    assert!(!indexes[0].take_search(post, 5).await.unwrap());
}
