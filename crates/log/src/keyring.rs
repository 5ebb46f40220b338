//! The master key, the signing key and the digest key: what a process brings, never what a database holds.
//!
//! One file of 0600 holds them for the embedded default; `serve` reads the same form from where it is told.

use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use ring::{digest, hmac};
use zeroize::Zeroizing;

use crate::error::LogError;
use crate::fit::Fingerprints;

/// Key material of one installation.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    master: Zeroizing<[u8; 32]>,
    master_version: i32,
    signing: Ed25519KeyPair,
    signing_pkcs8: Zeroizing<Vec<u8>>,
    signing_id: String,
    digest: hmac::Key,
    digest_seed: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("signing_id", &self.0.signing_id).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Fresh keys from the system's random source.
    pub fn generate() -> Result<Self, LogError> {
        let random = SystemRandom::new();
        let bad = |_| LogError::Keys("no randomness".into());
        let mut master = Zeroizing::new([0; 32]);
        random.fill(&mut *master).map_err(bad)?;
        let mut digest_seed = Zeroizing::new([0; 32]);
        random.fill(&mut *digest_seed).map_err(bad)?;
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).map_err(bad)?;
        Self::build(master, 1, Zeroizing::new(pkcs8.as_ref().to_vec()), digest_seed)
    }

    /// Reads the text form that [`to_text`](Self::to_text) writes.
    ///
    /// Errors: [`LogError::Keys`] naming the line that is missing or malformed, never its content.
    pub fn from_text(text: &str) -> Result<Self, LogError> {
        let field = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='));
            let bytes = line.and_then(|hex| unhex(hex.trim()));
            bytes.map(Zeroizing::new).ok_or_else(|| LogError::Keys(format!("{name} is missing or malformed")))
        };
        let key = |name: &str| {
            let bytes = field(name)?;
            <[u8; 32]>::try_from(bytes.as_slice())
                .map(Zeroizing::new)
                .map_err(|_| LogError::Keys(format!("{name} is not 32 bytes")))
        };
        Self::build(key("master")?, 1, field("signing_pkcs8")?, key("digest")?)
    }

    /// The keys as text, to be kept where only the program can read it.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!(
            "master={}\nsigning_pkcs8={}\ndigest={}\n",
            hex(&*self.0.master),
            hex(&self.0.signing_pkcs8),
            hex(&*self.0.digest_seed)
        ))
    }

    fn build(
        master: Zeroizing<[u8; 32]>,
        master_version: i32,
        signing_pkcs8: Zeroizing<Vec<u8>>,
        digest_seed: Zeroizing<[u8; 32]>,
    ) -> Result<Self, LogError> {
        let signing = Ed25519KeyPair::from_pkcs8(&signing_pkcs8)
            .map_err(|_| LogError::Keys("signing_pkcs8 is no Ed25519 key".into()))?;
        let signing_id = hex(&digest::digest(&digest::SHA256, signing.public_key().as_ref()).as_ref()[..8]);
        let digest = hmac::Key::new(hmac::HMAC_SHA256, &*digest_seed);
        Ok(Self(Arc::new(Inner {
            master,
            master_version,
            signing,
            signing_pkcs8,
            signing_id,
            digest,
            digest_seed,
        })))
    }

    pub(crate) fn master(&self) -> &[u8; 32] {
        &self.0.master
    }

    pub(crate) fn master_version(&self) -> i32 {
        self.0.master_version
    }

    /// Signs a head of a chain. Shape: 64 bytes, Ed25519.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.signing.sign(message).as_ref().to_vec()
    }

    /// The id of the signing key: the first 8 bytes of the SHA-256 of its public key, in hex.
    pub fn signing_id(&self) -> &str {
        &self.0.signing_id
    }

    /// The public key that checks signed heads. Shape: 32 bytes.
    pub fn public_key(&self) -> &[u8] {
        self.0.signing.public_key().as_ref()
    }

    /// What a database may know of the keys, to tell them from others.
    pub(crate) fn fingerprints(&self) -> Fingerprints {
        let of = |key: &hmac::Key| {
            let mut print = [0; digest::SHA256_OUTPUT_LEN];
            print.copy_from_slice(hmac::sign(key, b"tasuki keyring fingerprint 1").as_ref());
            print
        };
        Fingerprints {
            master: of(&hmac::Key::new(hmac::HMAC_SHA256, self.master())),
            signing: self.0.signing_id.clone(),
            digest: of(&self.0.digest),
        }
    }

    /// A keyed digest, so that a stored digest tells nothing of a guessed request.
    pub fn digest(&self, pieces: &[&[u8]]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.0.digest);
        for piece in pieces {
            context.update(&(piece.len() as u64).to_be_bytes());
            context.update(piece);
        }
        context.sign().as_ref().to_vec()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut s, b| {
        let _ = std::fmt::Write::write_fmt(&mut s, format_args!("{b:02x}"));
        s
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_their_text_form() {
        let keys = Keyring::generate().unwrap();
        let again = Keyring::from_text(&keys.to_text()).unwrap();
        assert_eq!(keys.master(), again.master());
        assert_eq!(keys.digest(&[b"a"]), again.digest(&[b"a"]));
        assert_eq!(keys.public_key(), again.public_key());
    }

    #[test]
    fn a_malformed_key_file_names_the_line_and_not_its_content() {
        let error = Keyring::from_text("master=zz\n").unwrap_err().to_string();
        assert_eq!(error, "keys: master is missing or malformed");
    }

    #[test]
    fn a_digest_keeps_its_pieces_apart() {
        let keys = Keyring::generate().unwrap();
        assert_ne!(keys.digest(&[b"ab", b"c"]), keys.digest(&[b"a", b"bc"]));
    }
}
