//! The directory of this process, kept fresh from the log.
//!
//! A snapshot may be a moment old: decisions note the versions that they relied on, and the append checks them.

use std::sync::{Arc, PoisonError, RwLock};

use tasuki_domain::directory::Directory;
use tasuki_log::{LogError, Reader};
use tokio::sync::Mutex;

use crate::states::recorded;

/// A directory that follows the log.
#[derive(Debug)]
pub(crate) struct Follower {
    reader: Reader,
    snapshot: RwLock<Arc<Directory>>,
    /// Position up to which the snapshot was folded.
    position: Mutex<u64>,
}

impl Follower {
    pub(crate) fn new(reader: Reader) -> Self {
        Self { reader, snapshot: RwLock::default(), position: Mutex::new(0) }
    }

    pub(crate) fn snapshot(&self) -> Arc<Directory> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Folds what was recorded since the last time.
    pub(crate) async fn refresh(&self) -> Result<(), LogError> {
        let mut position = self.position.lock().await;
        let records = self.reader.directory_after(*position).await?;
        let Some(last) = records.last().map(|r| r.position) else { return Ok(()) };
        let mut directory = Directory::clone(&self.snapshot());
        for record in &records {
            directory.apply(&recorded(record)?);
        }
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(directory);
        *position = last;
        Ok(())
    }
}
