//! The directory of one server: where it lies, who owns it, and that nobody else uses it.
//!
//! Kept state lies in the project's state directory (`.tasuki/postgres`, `.tasuki/nats`). Where root runs the
//! program and the unprivileged user cannot enter the project, PostgreSQL's part lies in `/var/lib/tasuki`
//! under a hash of the state directory's path, and `.tasuki/postgres.location` remembers it; the other part
//! names its project in turn, so that a copied project does not end up sharing a database.
//! A throw-away directory lies in the temporary directory and is removed by its server's keeper.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use uuid::Uuid;

use crate::Error;
use crate::user::Identity;

/// Where a server's state lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this state directory, usually `.tasuki`; created if missing, there again at the next start.
    Kept(PathBuf),
    /// In a directory of its own that goes when the server's owner goes, by `stop`, drop or kill -9.
    ThrowAway,
}

/// What kept state outside the project is called inside and outside.
const LOCATION: &str = "postgres.location";
const PROJECT: &str = "project";
/// Leftovers younger than this may still be in the hands of their keeper.
const SWEEP_AGE: Duration = Duration::from_secs(600);

/// A directory that this process has for itself.
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
    pub(crate) identity: Identity,
    throw_away: bool,
    /// Whether a keeper sees to the removal from now on.
    handed_over: AtomicBool,
    /// Released by the kernel when this process ends.
    _lock: Flock<File>,
}

impl Home {
    /// For nats-server, which runs as whoever runs this process.
    pub(crate) fn for_nats(place: &Place) -> Result<Self, Error> {
        let identity = Identity::current();
        match place {
            Place::ThrowAway => Self::throw_away("nats", identity),
            Place::Kept(state) => {
                let (state, lock) = claim(state, "nats")?;
                let dir = state.join("nats");
                if !dir.exists() {
                    identity.create_dir(&dir)?;
                }
                Ok(Self::kept(dir, identity, lock))
            }
        }
    }

    /// For PostgreSQL, which never runs as root.
    pub(crate) fn for_postgres(place: &Place) -> Result<Self, Error> {
        match place {
            Place::ThrowAway => Self::throw_away("postgres", Identity::unprivileged()?),
            Place::Kept(state) => {
                let (state, lock) = claim(state, "postgres")?;
                let (dir, identity) = postgres_dir(&state)?;
                Ok(Self::kept(dir, identity, lock))
            }
        }
    }

    /// What keepers are to remove, if anything; from here on they are responsible.
    pub(crate) fn hand_over(&self) -> Option<PathBuf> {
        self.handed_over.store(true, Ordering::Relaxed);
        self.throw_away.then(|| self.dir.clone())
    }

    pub(crate) fn is_throw_away(&self) -> bool {
        self.throw_away
    }

    fn kept(dir: PathBuf, identity: Identity, lock: Flock<File>) -> Self {
        Self { dir, identity, throw_away: false, handed_over: AtomicBool::new(false), _lock: lock }
    }

    fn throw_away(service: &str, identity: Identity) -> Result<Self, Error> {
        let prefix = format!("tasuki-{service}-");
        let bases = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
        let base = bases.iter().find(|base| identity.reaches(base) && can_create_in(base));
        let base = base.ok_or_else(|| Error::NotOurs { dir: std::env::temp_dir() })?;
        let base = fs::canonicalize(base).map_err(Error::io(base.display()))?;
        sweep(&base, &prefix);
        let dir = base.join(format!("{prefix}{}", Uuid::new_v4().simple()));
        identity.create_dir(&dir)?;
        let lock = lock(&dir.join("owner.lock"))?;
        Ok(Self { dir, identity, throw_away: true, handed_over: AtomicBool::new(false), _lock: lock })
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.throw_away && !self.handed_over.load(Ordering::Relaxed) {
            drop(fs::remove_dir_all(&self.dir));
        }
    }
}

/// A state directory that is this process's alone, until dropped.
///
/// To be had before anything is made in it: whoever comes second is told, and nothing has been touched.
#[derive(Debug)]
pub struct StateLock {
    _lock: Flock<File>,
}

impl StateLock {
    /// Creates the directory where it is missing.
    ///
    /// Errors: [`Error::AlreadyRunning`], [`Error::NotOurs`], [`Error::Io`].
    pub fn take(state: &Path) -> Result<Self, Error> {
        Ok(Self { _lock: claim(state, "tasuki")?.1 })
    }
}

/// Creates the state directory and takes the lock of one service in it.
fn claim(state: &Path, service: &str) -> Result<(PathBuf, Flock<File>), Error> {
    fs::create_dir_all(state).map_err(Error::io(state.display()))?;
    let state = fs::canonicalize(state).map_err(Error::io(state.display()))?;
    let lock = lock(&state.join(format!("{service}.lock")))?;
    Ok((state, lock))
}

fn lock(path: &Path) -> Result<Flock<File>, Error> {
    let file =
        File::options().create(true).append(true).open(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::PermissionDenied => Error::NotOurs { dir: path.into() },
            _ => Error::Io { what: path.display().to_string(), source },
        })?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
        nix::errno::Errno::EWOULDBLOCK => Error::AlreadyRunning { lock: path.into() },
        other => Error::Io { what: path.display().to_string(), source: other.into() },
    })
}

/// The directory of kept PostgreSQL state and the user that runs the server on it.
fn postgres_dir(state: &Path) -> Result<(PathBuf, Identity), Error> {
    let remembered = state.join(LOCATION);
    let dir = match fs::read_to_string(&remembered) {
        Ok(outside) => {
            let dir = PathBuf::from(outside.trim_end());
            adopt(&dir, state, &remembered)?;
            dir
        }
        Err(_) => state.join("postgres"),
    };
    if dir.exists() {
        let identity = Identity::owner_of(&dir)?;
        let ours = identity == Identity::current() || Identity::current().is_root();
        if !ours || identity.is_root() || !identity.reaches(&dir) {
            return Err(Error::NotOurs { dir });
        }
        return Ok((dir, identity));
    }
    let identity = Identity::unprivileged()?;
    if identity.reaches(state) {
        identity.create_dir(&dir)?;
        return Ok((dir, identity));
    }
    let outside = create_outside(state, identity)?;
    // Only now: a place that is remembered exists.
    Identity::current().write(&remembered, &format!("{}\n", outside.display()))?;
    Ok((outside, identity))
}

/// Whether the part outside belongs to this project; one whose project moved away follows it.
fn adopt(dir: &Path, state: &Path, remembered: &Path) -> Result<(), Error> {
    let label = dir.join(PROJECT);
    let project = fs::read_to_string(&label).map_err(Error::io(label.display()))?;
    let project = PathBuf::from(project.trim_end());
    if project == state {
        return Ok(());
    }
    let elsewhere = fs::read_to_string(project.join(LOCATION));
    if elsewhere.is_ok_and(|other| Path::new(other.trim_end()) == dir) {
        return Err(Error::OtherProject { dir: dir.into(), project, remembered: remembered.into() });
    }
    Identity::owner_of(dir)?.write(&label, &format!("{}\n", state.display()))
}

fn create_outside(state: &Path, identity: Identity) -> Result<PathBuf, Error> {
    let bases = [PathBuf::from("/var/lib/tasuki"), PathBuf::from("/var/tmp/tasuki-root")];
    let usable = |base: &&PathBuf| {
        let created = fs::DirBuilder::new().recursive(true).mode(0o755).create(base);
        // Under a strict umask the mode above does not hold.
        created.is_ok()
            && fs::set_permissions(base, fs::Permissions::from_mode(0o755)).is_ok()
            && Identity::owner_of(base).is_ok_and(|owner| owner == Identity::current())
            && identity.reaches(base)
    };
    let base = bases.iter().find(usable).ok_or_else(|| Error::NotOurs { dir: bases[0].clone() })?;
    let dir = base.join(format!("{:016x}", hash(state)));
    if dir.exists() {
        // Its project's `.tasuki` was removed: that is a wish to begin anew, but not ours to destroy data on.
        let aside = base.join(format!("{:016x}-left-{}", hash(state), Uuid::new_v4().simple()));
        fs::rename(&dir, &aside).map_err(Error::io(dir.display()))?;
        tracing::warn!(aside = %aside.display(), "an earlier database of this project was set aside");
    }
    identity.create_dir(&dir)?;
    identity.write(&dir.join(PROJECT), &format!("{}\n", state.display()))?;
    Ok(dir)
}

/// FNV-1a: stable across versions of Rust, which the standard library's hasher is not.
fn hash(path: &Path) -> u64 {
    use std::os::unix::ffi::OsStrExt;
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    path.as_os_str().as_bytes().iter().fold(0xcbf2_9ce4_8422_2325, step)
}

fn can_create_in(base: &Path) -> bool {
    nix::unistd::access(base, nix::unistd::AccessFlags::W_OK).is_ok()
}

/// Removes what is left where a keeper too was killed: old, ours to remove, and its lock is free.
fn sweep(base: &Path, prefix: &str) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix));
        let age = entry.metadata().and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
        if !is_ours || age.is_none_or(|age| age < SWEEP_AGE) {
            continue;
        }
        let path = entry.path();
        let in_use = !crate::proc::working_in(&path.join("data")).is_empty();
        if !in_use && lock(&path.join("owner.lock")).is_ok() {
            drop(fs::remove_dir_all(path));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_kept_place_is_refused_while_another_holds_it_and_free_afterwards() {
        let state = std::env::temp_dir().join(format!("tasuki-home-{}", Uuid::new_v4().simple()));
        let place = Place::Kept(state.join(".tasuki"));
        let first = Home::for_nats(&place).unwrap();
        assert!(matches!(Home::for_nats(&place), Err(Error::AlreadyRunning { .. })));
        drop(first);
        assert!(Home::for_nats(&place).is_ok());
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn a_throw_away_place_that_no_server_took_over_is_gone_with_its_owner() {
        let home = Home::for_postgres(&Place::ThrowAway).unwrap();
        let dir = home.dir.clone();
        assert!(dir.is_dir() && !Identity::owner_of(&dir).unwrap().is_root());
        drop(home);
        assert!(!dir.exists());
    }
}
