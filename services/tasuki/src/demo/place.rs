//! The state directory of a demonstration: its own, and new each time.
//!
//! Removes nothing but what an earlier demonstration made, and nothing that is in use.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Error;

/// Tells a demonstration's directory from any other.
const MARK: &str = "demonstration";
const MADE: &str = "made by `tasuki demo`; removed and made anew by the next one\n";
/// How long the servers of a killed demonstration may take to end.
const ENDING: Duration = Duration::from_secs(20);

/// Makes the directory anew.
///
/// Errors: it holds something else than a demonstration's state, or another demonstration is running in it.
pub async fn fresh(state: &Path) -> Result<(), Error> {
    let occupied = fs::read_dir(state).is_ok_and(|mut entries| entries.next().is_some());
    if occupied && !state.join(MARK).exists() {
        return Err(format!(
            "{} is not a demonstration's directory; name another with --state-dir",
            state.display()
        )
        .into());
    }
    if occupied {
        let deadline = Instant::now() + ENDING;
        while in_use(state)? || !removed(state)? {
            if Instant::now() > deadline {
                return Err(format!("another demonstration is running in {}", state.display()).into());
            }
            // The keepers of a killed one stop its servers within moments; there is nothing to be woken by.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    fs::create_dir_all(state)?;
    fs::write(state.join(MARK), MADE)?;
    Ok(())
}

/// Whether a program holds the directory, or a server still works in it.
fn in_use(state: &Path) -> Result<bool, Error> {
    for service in ["postgres", "nats"] {
        let Ok(file) = File::options().append(true).open(state.join(format!("{service}.lock"))) else {
            continue;
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    let homes: Vec<PathBuf> = [Some(state.to_owned()), outside(state)]
        .into_iter()
        .flatten()
        .filter_map(|d| fs::canonicalize(d).ok())
        .collect();
    // A server works in a directory of its own below; one that is still being made has no number on file yet.
    let processes =
        fs::read_dir("/proc")?.flatten().filter_map(|entry| fs::read_link(entry.path().join("cwd")).ok());
    Ok(processes.into_iter().any(|cwd| homes.iter().any(|home| cwd.starts_with(home) && cwd != *home)))
}

/// Removes the directory and PostgreSQL's part of it; false while somebody still puts files into it.
fn removed(state: &Path) -> Result<bool, Error> {
    for dir in [outside(state), Some(state.to_owned())].into_iter().flatten() {
        match fs::remove_dir_all(&dir) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
                // Whoever tries next must still see whose directory it is.
                fs::write(state.join(MARK), MADE)?;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// Where PostgreSQL's part lies, if outside the directory and really this directory's.
fn outside(state: &Path) -> Option<PathBuf> {
    let remembered = fs::read_to_string(state.join("postgres.location")).ok()?;
    let outside = PathBuf::from(remembered.trim_end());
    let project = fs::read_to_string(outside.join("project")).ok()?;
    (fs::canonicalize(state).ok()? == Path::new(project.trim_end())).then_some(outside)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn somewhere() -> PathBuf {
        std::env::temp_dir().join(format!("tasuki-demo-{}", uuid::Uuid::now_v7()))
    }

    #[tokio::test]
    async fn a_directory_that_no_demonstration_made_is_left_alone() {
        let state = somewhere();
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join("letter"), "keep me").unwrap();
        assert!(fresh(&state).await.is_err());
        assert_eq!(fs::read_to_string(state.join("letter")).unwrap(), "keep me");
        fs::remove_dir_all(state).unwrap();
    }

    #[tokio::test]
    async fn what_an_earlier_demonstration_left_is_gone() {
        let state = somewhere();
        fresh(&state).await.unwrap();
        fs::write(state.join("running.json"), "{}").unwrap();
        fresh(&state).await.unwrap();
        assert!(!state.join("running.json").exists() && state.join(MARK).exists());
        fs::remove_dir_all(state).unwrap();
    }
}
