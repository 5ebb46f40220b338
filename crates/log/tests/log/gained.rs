//! What streams have gained, with the disclosure epochs of the same instant.

use tasuki_log::{Append, gained};
use uuid::Uuid;

use crate::common::{Log, agency, command, within};

/// One event of a stream, by which a disclosure of it changes or not.
fn event(stream: Uuid, version: u64, discloses: bool) -> Append {
    let disclosures = if discloses { vec![stream] } else { Vec::new() };
    Append { disclosures, ..command(vec![agency(stream, version)]) }
}

#[tokio::test]
async fn many_streams_at_once_are_what_each_is_alone_in_the_order_asked() {
    let log = Log::fresh().await;
    // More than one statement takes.
    let streams: Vec<Uuid> = (0..70).map(|_| Uuid::now_v7()).rev().collect();
    for (n, stream) in streams.iter().enumerate() {
        for version in 1..=(n % 4) as u64 {
            log.writer.append(event(*stream, version, n % 3 == 0)).await.unwrap();
        }
    }
    let asked: Vec<(Uuid, u64)> =
        streams.iter().zip([0, 1, 5].into_iter().cycle()).map(|(s, v)| (*s, v)).collect();
    let found = gained(&log.database, &asked).await.unwrap();
    assert_eq!(found.iter().map(|f| f.case).collect::<Vec<_>>(), streams);
    for (found, (stream, version)) in found.iter().zip(&asked) {
        let alone = log.reader.stream(*stream, *version).await.unwrap();
        assert_eq!(format!("{:?}", found.records), format!("{alone:?}"));
        assert_eq!(found.epoch, log.reader.disclosure_epochs(&[*stream]).await.unwrap()[0].1);
    }
    assert!(gained(&log.database, &[]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_is_never_seen_without_its_event_nor_the_event_without_it() {
    const EVENTS: u64 = 60;
    let log = Log::fresh().await;
    let stream = Uuid::now_v7();
    let appending = async {
        for version in 1..=EVENTS {
            log.writer.append(event(stream, version, true)).await.unwrap();
        }
    };
    let looking = async {
        loop {
            let found = gained(&log.database, &[(stream, 0)]).await.unwrap();
            let version = found[0].records.last().map_or(0, |record| record.header.version);
            assert_eq!(found[0].epoch, version);
            if version == EVENTS {
                return;
            }
        }
    };
    within("appends and looks", async { tokio::join!(appending, looking) }).await;
}
