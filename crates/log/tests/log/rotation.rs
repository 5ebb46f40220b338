//! Rotation and erasure in the store of keys: nothing is lost on the way, and what was erased is gone for everybody.

use tasuki_log::key_store::{erase, keys_of, lost, masters};
use tasuki_log::rotate::Rotating;
use tasuki_log::{Keyring, LogError, Sealer, WriterOptions};
use uuid::Uuid;

use crate::common::{Log, STORY, command, consultation};

/// A keyring in a file, as a process has it.
struct Kept {
    path: std::path::PathBuf,
}

impl Kept {
    fn new(keyring: &Keyring) -> Self {
        let path = std::env::temp_dir().join(format!("tasuki-keyring-{}", Uuid::new_v4().simple()));
        let kept = Self { path };
        kept.write(keyring);
        kept
    }

    fn write(&self, keyring: &Keyring) {
        std::fs::write(&self.path, keyring.to_text().as_bytes()).unwrap();
    }

    fn read(&self) -> Keyring {
        Keyring::read(&self.path).unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn opens(log: &Log, sealer: &Sealer, stream: Uuid) -> Result<(), LogError> {
    for record in log.reader.stream(stream, 0).await.unwrap() {
        let event = log.reader.open(sealer, &record).await?;
        let tasuki_contract::Event::ConsultationReceived(event) = event else { panic!("another type") };
        assert_eq!(event.story, STORY);
    }
    Ok(())
}

#[tokio::test]
async fn every_key_opens_after_each_step_of_a_rotation_and_a_step_may_be_done_twice() {
    let log = Log::fresh().await;
    let file = Kept::new(&log.keyring);
    let running = Log::process(&log.url, &file.read(), WriterOptions::default());
    let streams: Vec<Uuid> = (0..5).map(|_| Uuid::now_v7()).collect();
    for stream in &streams {
        running.writer.append(command(vec![consultation(*stream, 1)])).await.unwrap();
    }
    let all_open = async |keyring: &Keyring| {
        let fresh = Log::process(&log.url, keyring, WriterOptions::default());
        for stream in &streams {
            opens(&log, &fresh.sealer, *stream).await.unwrap();
            opens(&log, &running.sealer, *stream).await.unwrap();
        }
    };
    let both = file.read().with_new_master().unwrap();
    file.write(&both);
    all_open(&both).await;
    let mut rotating = Rotating::begin(&log.database).await.unwrap();
    for _ in 0..2 {
        rotating.announce(&both).await.unwrap();
        all_open(&both).await;
    }
    assert!(rotating.retire().await.is_err(), "nothing is wrapped anew yet");
    // A process that has not looked yet makes keys all the same, wrapped by the current master.
    let late = Uuid::now_v7();
    let unaware = Log::process(&log.url, &file.read(), WriterOptions::default());
    unaware.writer.append(command(vec![consultation(late, 1)])).await.unwrap();
    assert!(rotating.rewrap(&both, |_, _| ()).await.unwrap() >= 5);
    assert_eq!(rotating.rewrap(&both, |_, _| ()).await.unwrap(), 0);
    all_open(&both).await;
    for _ in 0..2 {
        rotating.retire().await.unwrap();
        all_open(&both).await;
    }
    let new = both.keeping(|version| version == 2).unwrap();
    file.write(&new);
    running.sealer.look().await.unwrap();
    assert_eq!(running.sealer.keyring().versions(), [2]);
    all_open(&new).await;
    opens(&log, &running.sealer, late).await.unwrap();
    assert_eq!(masters(&log.database).await.unwrap().listed, [2]);
}

#[tokio::test]
async fn a_process_without_the_current_master_stops_instead_of_writing_what_nobody_opens() {
    let log = Log::fresh().await;
    let both = log.keyring.with_new_master().unwrap();
    let mut rotating = Rotating::begin(&log.database).await.unwrap();
    rotating.announce(&both).await.unwrap();
    let looked = log.sealer.look().await;
    assert!(matches!(looked, Err(LogError::MasterMissing { version: 2 })), "{looked:?}");
    let followed = log.sealer.follow(std::time::Duration::from_millis(1)).await;
    assert!(matches!(followed, Err(LogError::MasterMissing { version: 2 })));
    let refused = log.writer.append(command(vec![consultation(Uuid::now_v7(), 1)])).await;
    assert!(refused.is_err(), "{refused:?}");
}

#[tokio::test]
async fn what_was_erased_opens_for_nobody_and_nothing_more_is_sealed_there() {
    let log = Log::fresh().await;
    let [gone, stays] = [Uuid::now_v7(), Uuid::now_v7()];
    for stream in [gone, stays] {
        log.writer.append(command(vec![consultation(stream, 1)])).await.unwrap();
        opens(&log, &log.sealer, stream).await.unwrap();
    }
    let keys = keys_of(&log.database, &[gone]).await.unwrap();
    assert_eq!(keys.len(), 1);
    assert!(erase(&log.database, &keys).await.unwrap(), "its master is still there");
    log.sealer.look().await.unwrap();
    for sealer in [&log.sealer, &log.another_process().sealer] {
        let result = opens(&log, sealer, gone).await;
        assert!(matches!(result, Err(LogError::Erased { .. })), "{result:?}");
        opens(&log, sealer, stays).await.unwrap();
    }
    let more = log.writer.append(command(vec![consultation(gone, 2)])).await;
    assert!(matches!(more, Err(tasuki_log::AppendError::Fault(LogError::Erased { .. }))), "{more:?}");
    assert_eq!(lost(&log.database, &log.database).await.unwrap(), None, "erased is not lost");

    let both = log.keyring.with_new_master().unwrap();
    let mut rotating = Rotating::begin(&log.database).await.unwrap();
    rotating.announce(&both).await.unwrap();
    rotating.rewrap(&both, |_, _| ()).await.unwrap();
    assert!(erase(&log.database, &keys).await.unwrap(), "the old master is not retired yet");
    rotating.retire().await.unwrap();
    assert!(!erase(&log.database, &keys).await.unwrap(), "no copy of it can be opened any more");
    log.sql("DELETE FROM key_store.data_keys").await;
    assert_eq!(lost(&log.database, &log.database).await.unwrap().map(|(at, _)| at), Some(2));
}

#[tokio::test]
async fn a_part_of_an_unknown_algorithm_is_refused() {
    let log = Log::fresh().await;
    let stream = Uuid::now_v7();
    log.writer.append(command(vec![consultation(stream, 1)])).await.unwrap();
    let mut record = log.reader.stream(stream, 0).await.unwrap().remove(0);
    record.header.parts[0].algorithm = 2;
    let result = log.reader.open(&log.sealer, &record).await;
    assert!(matches!(result, Err(LogError::UnknownAlgorithm { algorithm: 2, .. })), "{result:?}");
}
