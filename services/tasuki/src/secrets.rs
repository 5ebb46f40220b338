//! What an installation keeps to itself: keys of the log, of the try-out issuer, and of NATS.
//!
//! One directory, files of mode 0600, made on first use by the embedded default. `serve` reads the same directory
//! from `TASUKI_SECRETS_DIR` and makes nothing. A file that is there is never replaced, whatever is wrong with it:
//! with the keyring would go everything that was ever sealed.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tasuki_auth::DevIssuer;
use tasuki_bus::{Operator, OperatorKeys};
use tasuki_log::Keyring;

use crate::Error;

/// The secrets of one installation.
pub struct Secrets {
    /// Keys of the log.
    pub keyring: Keyring,
    /// The try-out issuer, where there is one.
    pub issuer: Option<DevIssuer>,
    /// Who signs NATS credentials, where this installation does.
    pub operator: Option<Operator>,
}

const KEYRING: &str = "keyring";
const KEYRING_OLD: &str = "keyring.old";
const ISSUER: &str = "issuer.pk8";
const OPERATOR: &str = "nats-operator.json";

impl Secrets {
    /// Reads the directory; makes what is missing.
    ///
    /// Errors: a file that is there and cannot be read or understood, by its path; it is left as it is.
    pub fn open_or_create(directory: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join(KEYRING);
        let keyring =
            read_or_make(&path, keyring, || Ok(Keyring::generate()?.to_text().as_bytes().to_vec()))?;
        let keyring = keyring.kept_at(&path);
        let issuer =
            read_or_make(&directory.join(ISSUER), issuer, || Ok(DevIssuer::generate()?.pkcs8().to_vec()))?;
        let operator = read_or_make(&directory.join(OPERATOR), operator, || {
            Ok(serde_json::to_vec_pretty(&Operator::generate().keys()?)?)
        })?;
        Ok(Self { keyring, issuer: Some(issuer), operator: Some(operator) })
    }

    /// Reads the directory; the keyring must be there, the rest may be.
    ///
    /// Errors: as [`open_or_create`](Self::open_or_create), and a keyring that is missing.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(KEYRING);
        let keyring = read(&path, keyring)?.ok_or_else(|| {
            format!(
                "there is no keyring {}: start ./dev up, make one with `tasuki keys init`, or restore it from its copy",
                path.display()
            )
        })?;
        let keyring = keyring.kept_at(&path);
        let issuer = read(&directory.join(ISSUER), issuer)?;
        let operator = read(&directory.join(OPERATOR), operator)?;
        Ok(Self { keyring, issuer, operator })
    }
}

/// Makes the directory, and in it a keyring for a new installation.
///
/// Errors: a keyring that is there already is left as it is.
pub fn make_keyring(directory: &Path, keyring: &Keyring) -> Result<PathBuf, Error> {
    std::fs::create_dir_all(directory)?;
    let path = directory.join(KEYRING);
    if path.exists() {
        return Err(format!("{} is there already; it was left as it is", path.display()).into());
    }
    write_new(&path, keyring.to_text().as_bytes())?;
    Ok(path)
}

/// Where the keyring lies.
pub fn keyring_path(directory: &Path) -> PathBuf {
    directory.join(KEYRING)
}

/// Replaces the keyring durably, then destroys what it was before.
pub fn replace_keyring(directory: &Path, keyring: &Keyring) -> Result<(), Error> {
    let path = directory.join(KEYRING);
    destroy_leftovers(directory)?;
    std::fs::hard_link(&path, directory.join(KEYRING_OLD))?;
    std::fs::rename(unfinished(&path, keyring.to_text().as_bytes())?, &path)?;
    sync_directory(&path)?;
    destroy_leftovers(directory)
}

/// Destroys what a replacement that was cut off has left of former keyrings.
pub fn destroy_leftovers(directory: &Path) -> Result<(), Error> {
    let path = directory.join(KEYRING);
    let of_keyring =
        |name: &str| name == KEYRING_OLD || (name.starts_with("keyring.") && name.ends_with(".new"));
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(of_keyring) {
            destroy(&entry.path(), &path)?;
        }
    }
    sync_directory(&path)
}

/// Overwrites a file and removes it. What a file system or a disk keeps of it beside, only they can say.
fn destroy(file: &Path, but_not: &Path) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt as _;
    let inode = |path: &Path| std::fs::metadata(path).map(|m| (m.dev(), m.ino()));
    // Cut off before the new one took its place, both names are the same file.
    if inode(file)? != inode(but_not)? {
        let mut open = std::fs::OpenOptions::new().write(true).open(file)?;
        let bytes = open.metadata()?.len();
        open.write_all(&vec![0; usize::try_from(bytes)?])?;
        open.sync_all()?;
    }
    std::fs::remove_file(file)?;
    Ok(())
}

fn keyring(bytes: &[u8]) -> Result<Keyring, Error> {
    // The error of a text that is none must not carry its bytes.
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    Ok(Keyring::from_text(text)?)
}

fn issuer(bytes: &[u8]) -> Result<DevIssuer, Error> {
    Ok(DevIssuer::from_pkcs8(bytes)?)
}

fn operator(bytes: &[u8]) -> Result<Operator, Error> {
    let keys: OperatorKeys = serde_json::from_slice(bytes).map_err(|_| "it is not the JSON of its keys")?;
    Ok(Operator::from_keys(&keys)?)
}

/// What the file holds; `None` only where there is no such file.
fn read<T>(path: &Path, parse: fn(&[u8]) -> Result<T, Error>) -> Result<Option<T>, Error> {
    let held = match std::fs::read(path) {
        Ok(bytes) => parse(&bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error.into()),
    };
    let told = |error| {
        format!(
            "the secret {} cannot be used: {error}; it was left as it is: make it readable, or restore it from its \
             copy",
            path.display()
        )
    };
    Ok(Some(held.map_err(told)?))
}

/// What the file holds, or what is made for it where there is none.
fn read_or_make<T>(
    path: &Path,
    parse: fn(&[u8]) -> Result<T, Error>,
    make: impl FnOnce() -> Result<Vec<u8>, Error>,
) -> Result<T, Error> {
    if let Some(held) = read(path, parse)? {
        return Ok(held);
    }
    write_new(path, &make()?)?;
    // What counts is what lies there: another process may have been the one that made it.
    read(path, parse)?.ok_or_else(|| format!("{} went away as soon as it was made", path.display()).into())
}

/// Writes a file that only its owner can read, whole or not at all; what is there already stays.
fn write_new(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let unfinished = unfinished(path, bytes)?;
    let linked = std::fs::hard_link(&unfinished, path);
    let _ = std::fs::remove_file(&unfinished);
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(format!("{} cannot be made: {error}", path.display()).into())
        }
        _ => sync_directory(path),
    }
}

/// Writes a file that only its owner can read, whole or not at all, over what was there.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    std::fs::rename(unfinished(path, bytes)?, path)?;
    Ok(())
}

/// The bytes in a file beside `path`, of a name that no other process takes.
fn unfinished(path: &Path, bytes: &[u8]) -> Result<PathBuf, Error> {
    let mut unfinished = PathBuf::from(path);
    unfinished.set_extension(format!("{}.new", std::process::id()));
    let _ = std::fs::remove_file(&unfinished);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok(unfinished)
}

/// The name must outlive a loss of power as well as what it names: events will be sealed with it.
fn sync_directory(path: &Path) -> Result<(), Error> {
    if let Some(directory) = path.parent() {
        std::fs::File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("tasuki-secrets-{}", uuid::Uuid::now_v7())))
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn secrets_are_made_once_and_then_read() {
        let directory = Directory::new();
        let made = Secrets::open_or_create(&directory.0).unwrap();
        for again in [Secrets::open_or_create(&directory.0).unwrap(), Secrets::open(&directory.0).unwrap()] {
            assert_eq!(again.keyring.to_text(), made.keyring.to_text());
            assert_eq!(again.issuer.unwrap().jwks(), made.issuer.as_ref().unwrap().jwks());
            assert_eq!(again.operator.unwrap().account_id(), made.operator.as_ref().unwrap().account_id());
        }
        assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 3, "nothing unfinished is left");
    }

    #[test]
    fn a_secret_that_cannot_be_understood_is_named_and_left_as_it_is() {
        for name in [KEYRING, ISSUER, OPERATOR] {
            for bytes in [&b"master=zz\n"[..], b"\xff\xfe\x00", b""] {
                let directory = Directory::new();
                Secrets::open_or_create(&directory.0).unwrap();
                let path = directory.0.join(name);
                std::fs::write(&path, bytes).unwrap();
                for refused in [Secrets::open_or_create(&directory.0), Secrets::open(&directory.0)] {
                    let error = refused.err().expect("a refusal").to_string();
                    assert!(error.contains(&path.display().to_string()) && error.contains("copy"), "{error}");
                }
                assert_eq!(std::fs::read(&path).unwrap(), bytes, "{name} was replaced");
            }
        }
    }

    #[test]
    fn a_secret_that_cannot_be_read_is_not_made_anew() {
        for name in [KEYRING, ISSUER, OPERATOR] {
            let directory = Directory::new();
            // Reading a directory fails for root as well.
            std::fs::create_dir_all(directory.0.join(name)).unwrap();
            let error = Secrets::open_or_create(&directory.0).err().expect("a refusal").to_string();
            assert!(error.contains(name), "{error}");
            assert!(directory.0.join(name).is_dir());
        }
    }

    #[test]
    fn a_keyring_that_is_replaced_leaves_nothing_of_what_it_was_wherever_it_is_cut_off() {
        for cut_off in [None, Some("linked"), Some("renamed"), Some("unfinished")] {
            let directory = Directory::new();
            let old = Secrets::open_or_create(&directory.0).unwrap().keyring;
            let both = old.with_new_master().unwrap();
            let (path, link) = (keyring_path(&directory.0), directory.0.join(KEYRING_OLD));
            match cut_off {
                Some("linked") => std::fs::hard_link(&path, &link).unwrap(),
                Some("renamed") => std::fs::copy(&path, &link).map(drop).unwrap(),
                Some(_) => {
                    std::fs::write(directory.0.join("keyring.1.new"), old.to_text().as_bytes()).unwrap()
                }
                None => {}
            }
            let watched = std::fs::File::open(&path).unwrap();
            replace_keyring(&directory.0, &both).unwrap();
            assert_eq!(Secrets::open(&directory.0).unwrap().keyring.to_text(), both.to_text());
            assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 3, "{cut_off:?}: something is left");
            let was = std::io::read_to_string(watched).unwrap();
            assert!(!was.is_empty() && was.bytes().all(|b| b == 0), "{cut_off:?}: it was not overwritten");
        }
    }

    #[test]
    fn what_another_process_made_meanwhile_counts() {
        let directory = Directory::new();
        std::fs::create_dir_all(&directory.0).unwrap();
        let path = directory.0.join(KEYRING);
        let other = Keyring::generate().unwrap().to_text();
        let held = read_or_make(&path, keyring, || {
            std::fs::write(&path, other.as_bytes())?;
            Ok(Keyring::generate()?.to_text().as_bytes().to_vec())
        });
        assert_eq!(held.unwrap().to_text(), other);
        assert_eq!(std::fs::read(&path).unwrap(), other.as_bytes());
    }
}
