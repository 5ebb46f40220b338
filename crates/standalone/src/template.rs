//! Fresh PostgreSQL data directories. `initdb` takes seconds, so throw-away ones are copies of a template.
//!
//! One template per machine, user and PostgreSQL build, in a cache; built under a lock beside it and renamed
//! into place, so that whoever sees it sees it whole. All copies share the template's generated password, which
//! only its owner can read. Kept state never comes from the template: it has an `initdb` and a password of its
//! own.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use uuid::Uuid;

use crate::Error;
use crate::postgres::USER;
use crate::programs::Programs;
use crate::user::Identity;

/// In the name of a template, and raised whenever `initdb` is called otherwise.
const FORMAT: u32 = 1;
/// What a home and a template hold.
pub(crate) const DATA: &str = "data";
pub(crate) const PASSWORD: &str = "password";

/// Fills an empty home with a data directory and a password of its own, by `initdb`.
/// A crash on the way leaves no `data`, and the next start begins again.
pub(crate) fn create(programs: &Programs, identity: Identity, home: &Path) -> Result<(), Error> {
    initdb(programs, identity, home, true)
}

/// Fills a throw-away home from the template, which is built first where it is missing.
pub(crate) fn copy(programs: &Programs, identity: Identity, home: &Path) -> Result<(), Error> {
    let template = template(programs, identity)?;
    let copied = |name: &str| {
        let (from, to) = (template.join(name), home.join(name));
        let args =
            ["-a".as_ref(), "--reflink=auto".as_ref(), "--".as_ref(), from.as_os_str(), to.as_os_str()];
        identity.run(Path::new("cp"), args).map(drop)
    };
    copied(PASSWORD)?;
    copied(DATA)
}

/// The template's directory.
fn template(programs: &Programs, identity: Identity) -> Result<PathBuf, Error> {
    let cache = cache(identity)?;
    let build = fs::metadata(programs.path("postgres")).map_err(Error::io(programs.bin.display()))?;
    // The binary's time of change: an upgrade within a major version may change what initdb writes.
    let template = cache.join(format!("postgres-{}-{FORMAT}-{}", programs.major, build.mtime()));
    if template.exists() {
        return Ok(template);
    }
    let path = cache.join("lock");
    let file = File::options().create(true).append(true).open(&path).map_err(Error::io(path.display()))?;
    let _lock = Flock::lock(file, FlockArg::LockExclusive)
        .map_err(|(_, errno)| Error::io(path.display())(errno.into()))?;
    if template.exists() {
        return Ok(template);
    }
    for left in fs::read_dir(&cache).map_err(Error::io(cache.display()))?.flatten() {
        if left.file_name().to_str().is_some_and(|name| name.starts_with("building-")) {
            drop(fs::remove_dir_all(left.path()));
        }
    }
    let building = cache.join(format!("building-{}", Uuid::new_v4().simple()));
    identity.create_dir(&building)?;
    initdb(programs, identity, &building, false)?;
    fs::rename(&building, &template).map_err(Error::io(template.display()))?;
    Ok(template)
}

fn initdb(programs: &Programs, identity: Identity, home: &Path, durable: bool) -> Result<(), Error> {
    let password_file = home.join(PASSWORD);
    // Two random UUIDs: 244 bits from the operating system.
    let password = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    identity.write(&password_file, &password)?;
    let building = home.join("data.building");
    if building.exists() {
        fs::remove_dir_all(&building).map_err(Error::io(building.display()))?;
    }
    let mut args = vec![
        format!("--pgdata={}", building.display()),
        format!("--username={USER}"),
        format!("--pwfile={}", password_file.display()),
        "--auth=scram-sha-256".into(),
        "--encoding=UTF8".into(),
        // Byte order: the same on every machine, whatever its libc sorts by. People's order is a view's matter.
        "--locale=C".into(),
        "--data-checksums".into(),
    ];
    if !durable {
        args.push("--no-sync".into());
    }
    identity.run(&programs.path("initdb"), args)?;
    fs::rename(&building, home.join(DATA)).map_err(Error::io(home.display()))
}

/// A directory that this user alone may write to and that the server's user can enter.
fn cache(identity: Identity) -> Result<PathBuf, Error> {
    let me = Identity::current();
    let mut candidates = Vec::new();
    if me.is_root() {
        candidates.push(PathBuf::from("/var/cache/tasuki"));
    } else {
        let home = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        let caches = home("XDG_CACHE_HOME").or_else(|| Some(home("HOME")?.join(".cache")));
        candidates.extend(caches.map(|dir| dir.join("tasuki")));
    }
    candidates.extend(
        ["/var/tmp", "/tmp"]
            .map(|dir| Path::new(dir).join(format!("tasuki-cache-{}", nix::unistd::geteuid()))),
    );
    let usable = |dir: &&PathBuf| {
        let created = fs::DirBuilder::new().recursive(true).mode(0o755).create(dir);
        // A directory that somebody else laid in wait under a shared one is passed over.
        let ours = fs::symlink_metadata(dir)
            .is_ok_and(|meta| meta.is_dir() && meta.uid() == nix::unistd::geteuid().as_raw());
        created.is_ok()
            && ours
            && fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).is_ok()
            && identity.reaches(dir)
    };
    candidates.iter().find(usable).cloned().ok_or_else(|| Error::NotOurs { dir: candidates[0].clone() })
}
