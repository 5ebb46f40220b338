//! A copy of the keyring under a passphrase, to be kept elsewhere for the day on which the keyring is lost.
//!
//! The passphrase is stretched with PBKDF2-HMAC-SHA256, so that a stolen copy is not opened by trying words. A copy
//! holds the master key of its time: after a rotation it opens nothing new, and with an old backup it still opens what
//! was erased since, so it is to be destroyed then.

use std::num::NonZeroU32;

use ring::pbkdf2;
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::error::LogError;
use crate::keyring::{Keyring, hex, unhex};
use crate::seal::{aead_key, open_with, seal_with};

const TITLE: &str = "tasuki keyring copy 1";
const ITERATIONS: u32 = 600_000;
/// Shorter passphrases are refused, characters.
pub const PASSPHRASE_MIN: usize = 16;

/// The keyring, sealed under a passphrase, as text.
///
/// Errors: [`LogError::Keys`] for a passphrase that is too short.
pub fn seal(keyring: &Keyring, passphrase: &str) -> Result<String, LogError> {
    if passphrase.chars().count() < PASSPHRASE_MIN {
        return Err(LogError::Keys(format!("the passphrase needs {PASSPHRASE_MIN} characters at least")));
    }
    let random = SystemRandom::new();
    let mut salt = [0; 16];
    random.fill(&mut salt).map_err(|_| LogError::Keys("no randomness".into()))?;
    let key = aead_key(&*stretched(passphrase, &salt, ITERATIONS)?)?;
    let sealed = seal_with(&key, TITLE.as_bytes(), keyring.to_text().as_bytes(), &random)?;
    Ok(format!("{TITLE}\niterations={ITERATIONS}\nsalt={}\nsealed={}\n", *hex(&salt), *hex(&sealed)))
}

/// Opens what [`seal`] made.
///
/// Errors: [`LogError::Keys`]: it is no such copy, or the passphrase is another one.
pub fn open(copy: &str, passphrase: &str) -> Result<Keyring, LogError> {
    let bad = || LogError::Keys("this is no copy of a keyring, or it is damaged".into());
    let field = |name: &str| copy.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    if copy.lines().next() != Some(TITLE) {
        return Err(bad());
    }
    let iterations = field("iterations").and_then(|n| n.parse().ok()).filter(|n| *n <= 10 * ITERATIONS);
    let (iterations, salt) = (iterations.ok_or_else(bad)?, field("salt").and_then(unhex).ok_or_else(bad)?);
    let sealed = field("sealed").and_then(unhex).ok_or_else(bad)?;
    let key = aead_key(&*stretched(passphrase, &salt, iterations)?)?;
    let text = open_with(&key, TITLE.as_bytes(), &sealed).map(Zeroizing::new);
    let text = text.ok_or_else(|| LogError::Keys("the passphrase does not open this copy".into()))?;
    Keyring::from_text(std::str::from_utf8(&text).map_err(|_| bad())?)
}

fn stretched(passphrase: &str, salt: &[u8], iterations: u32) -> Result<Zeroizing<[u8; 32]>, LogError> {
    let iterations = NonZeroU32::new(iterations).ok_or_else(|| LogError::Keys("no iterations".into()))?;
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, passphrase.as_bytes(), &mut *key);
    Ok(key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_opens_with_its_passphrase_alone() {
        let keyring = Keyring::generate().unwrap();
        let copy = seal(&keyring, "correct horse battery").unwrap();
        assert_eq!(open(&copy, "correct horse battery").unwrap().to_text(), keyring.to_text());
        let wrong = open(&copy, "correct horse batterx").unwrap_err().to_string();
        assert!(wrong.contains("passphrase"), "{wrong}");
        assert!(!copy.contains("master"), "nothing stands there in plain");
        for damaged in ["", "tasuki keyring copy 1\n", &copy.replace("salt", "sald")] {
            assert!(open(damaged, "correct horse battery").is_err());
        }
        assert!(seal(&keyring, "too short").is_err());
    }
}
