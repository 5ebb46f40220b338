//! What an installation keeps to itself: keys of the log, of the try-out issuer, and of NATS.
//!
//! One directory, files of mode 0600, made on first use by the embedded default. `serve` reads the same directory
//! from `TASUKI_SECRETS_DIR` and makes nothing.

use std::io::Write as _;
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
const ISSUER: &str = "issuer.pk8";
const OPERATOR: &str = "nats-operator.json";

impl Secrets {
    /// Reads the directory; makes what is missing.
    pub fn open_or_create(directory: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(directory)?;
        let keyring = match std::fs::read_to_string(directory.join(KEYRING)) {
            Ok(text) => Keyring::from_text(&text)?,
            Err(_) => {
                let keyring = Keyring::generate()?;
                write(&directory.join(KEYRING), keyring.to_text().as_bytes())?;
                keyring
            }
        };
        let issuer = if directory.join(ISSUER).exists() {
            DevIssuer::read(&directory.join(ISSUER))?
        } else {
            let issuer = DevIssuer::generate()?;
            write(&directory.join(ISSUER), issuer.pkcs8())?;
            issuer
        };
        let operator = match std::fs::read(directory.join(OPERATOR)) {
            Ok(bytes) => Operator::from_keys(&serde_json::from_slice::<OperatorKeys>(&bytes)?)?,
            Err(_) => {
                let operator = Operator::generate();
                write(&directory.join(OPERATOR), &serde_json::to_vec_pretty(&operator.keys()?)?)?;
                operator
            }
        };
        Ok(Self { keyring, issuer: Some(issuer), operator: Some(operator) })
    }

    /// Reads the directory; the keyring must be there, the rest may be.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let path = directory.join(KEYRING);
        let text = std::fs::read_to_string(&path)
            .map_err(|e| format!("the keyring {} cannot be read: {e}", path.display()))?;
        let keyring = Keyring::from_text(&text)?;
        let issuer = directory.join(ISSUER);
        let issuer = if issuer.exists() { Some(DevIssuer::read(&issuer)?) } else { None };
        let operator = match std::fs::read(directory.join(OPERATOR)) {
            Ok(bytes) => Some(Operator::from_keys(&serde_json::from_slice::<OperatorKeys>(&bytes)?)?),
            Err(_) => None,
        };
        Ok(Self { keyring, issuer, operator })
    }
}

/// Writes a file that only its owner can read, whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut unfinished = PathBuf::from(path);
    unfinished.set_extension("new");
    let _ = std::fs::remove_file(&unfinished);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    Ok(())
}
