//! The state directory of a demonstration: its own, and new each time.
//!
//! Removes nothing but what an earlier demonstration made, and nothing that is in use.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Error;

/// Tells a demonstration's directory from any other.
const MARK: &str = "demonstration";
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
        while in_use(state)? {
            if Instant::now() > deadline {
                return Err(format!("another demonstration is running in {}", state.display()).into());
            }
            // The keepers of a killed one stop its servers within moments; there is nothing to be woken by.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        if let Some(outside) = outside(state) {
            fs::remove_dir_all(outside)?;
        }
        fs::remove_dir_all(state)?;
    }
    fs::create_dir_all(state)?;
    fs::write(state.join(MARK), "made by `tasuki demo`; removed and made anew by the next one\n")?;
    Ok(())
}

/// Whether a program holds the directory, or a PostgreSQL still runs on it.
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
    let data = outside(state).unwrap_or_else(|| state.join("postgres")).join("data");
    let pid = fs::read_to_string(data.join("postmaster.pid")).ok();
    let pid = pid.and_then(|text| text.lines().next().and_then(|line| line.trim().parse::<u32>().ok()));
    // Its working directory is its data directory: a number that another process has by now does not count.
    Ok(pid.is_some_and(|pid| {
        let cwd = fs::read_link(format!("/proc/{pid}/cwd"));
        cwd.is_ok_and(|cwd| fs::canonicalize(&data).is_ok_and(|data| data == cwd))
    }))
}

/// Where PostgreSQL's part lies, if outside the directory and really this directory's.
fn outside(state: &Path) -> Option<PathBuf> {
    let remembered = fs::read_to_string(state.join("postgres.location")).ok()?;
    let outside = PathBuf::from(remembered.trim_end());
    let project = fs::read_to_string(outside.join("project")).ok()?;
    (PathBuf::from(project.trim_end()) == fs::canonicalize(state).ok()?).then_some(outside)
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
