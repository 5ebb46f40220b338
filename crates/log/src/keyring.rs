//! The master keys, the signing key and the digest key: what a process brings, never what a database holds.
//!
//! One file of 0600 holds them; a keyring that was read from a file can be read again, since a rotation changes it.
//! There is one master key, and two while a rotation is under way: the newest wraps what is new, the older one is
//! destroyed once nothing is wrapped by it any more. The signing key is apart from both, with an id of its own, and
//! the public keys of former ones stay, so that the heads that they signed can be checked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use ring::{digest, hmac};
use zeroize::Zeroizing;

use crate::error::LogError;
use crate::fit::Fingerprints;

/// Key material of one installation.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    /// By version, ascending; never empty.
    masters: BTreeMap<i32, Zeroizing<[u8; 32]>>,
    signing: Arc<Ed25519KeyPair>,
    signing_pkcs8: Zeroizing<Vec<u8>>,
    signing_id: String,
    /// Public keys that signed heads before, 32 bytes each.
    former: Vec<Vec<u8>>,
    digest: hmac::Key,
    digest_seed: Zeroizing<[u8; 32]>,
    /// Where it was read from.
    path: Option<PathBuf>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring")
            .field("signing_id", &self.0.signing_id)
            .field("masters", &self.versions())
            .finish_non_exhaustive()
    }
}

impl Keyring {
    /// Fresh keys from the system's random source.
    pub fn generate() -> Result<Self, LogError> {
        let masters = BTreeMap::from([(1, random()?)]);
        Self::build(masters, new_pkcs8()?, Vec::new(), random()?)
    }

    /// Reads the text form that [`to_text`](Self::to_text) writes; a line `master` without a number is version 1.
    ///
    /// Errors: [`LogError::Keys`] naming the line that is missing or malformed, never its content.
    pub fn from_text(text: &str) -> Result<Self, LogError> {
        let bad = |name: &str| LogError::Keys(format!("{name} is missing or malformed"));
        let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let bytes = |name: &str, hex: &str| unhex(hex.trim()).map(Zeroizing::new).ok_or_else(|| bad(name));
        let key = |name: &str, hex: &str| {
            <[u8; 32]>::try_from(bytes(name, hex)?.as_slice())
                .map(Zeroizing::new)
                .map_err(|_| LogError::Keys(format!("{name} is not 32 bytes")))
        };
        let field =
            |name: &str| lines.iter().find(|(n, _)| *n == name).map(|(_, hex)| *hex).ok_or_else(|| bad(name));
        let mut masters = BTreeMap::new();
        for (name, hex) in &lines {
            let version = match name.strip_prefix("master") {
                Some("") => Some(1),
                Some(rest) => rest.strip_prefix('.').and_then(|v| v.parse().ok()).filter(|v| *v > 0),
                None => continue,
            };
            masters.insert(version.ok_or_else(|| bad("master"))?, key("master", hex)?);
        }
        if masters.is_empty() {
            return Err(bad("master"));
        }
        let former = lines.iter().filter(|(name, _)| *name == "former_signing");
        let former =
            former.map(|(name, hex)| Ok(bytes(name, hex)?.to_vec())).collect::<Result<_, LogError>>()?;
        let signing = bytes("signing_pkcs8", field("signing_pkcs8")?)?;
        Self::build(masters, signing, former, key("digest", field("digest")?)?)
    }

    /// Reads a keyring from its file, from which it can be [read again](Self::reload).
    pub fn read(path: &Path) -> Result<Self, LogError> {
        let bytes = Zeroizing::new(std::fs::read(path).map_err(|e| LogError::Keys(e.kind().to_string()))?);
        // The error of a text that is none must not carry its bytes.
        let text = std::str::from_utf8(&bytes).map_err(|_| LogError::Keys("it is not text".into()))?;
        Ok(Self::from_text(text)?.kept_at(path))
    }

    /// The same keyring, which is kept in that file.
    #[must_use]
    pub fn kept_at(&self, path: &Path) -> Self {
        Self(Arc::new(Inner { path: Some(path.to_owned()), ..Inner::clone(&self.0) }))
    }

    /// As its file says now; itself where it was not read from a file.
    pub fn reload(&self) -> Result<Self, LogError> {
        self.0.path.as_deref().map_or_else(|| Ok(self.clone()), Self::read)
    }

    /// The keys as text, to be kept where only the program can read it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(1_024));
        for (version, master) in &self.0.masters {
            text.push_str(&format!("master.{version}={}\n", *hex(&**master)));
        }
        text.push_str(&format!("signing_pkcs8={}\n", *hex(&self.0.signing_pkcs8)));
        for public in &self.0.former {
            text.push_str(&format!("former_signing={}\n", *hex(public)));
        }
        text.push_str(&format!("digest={}\n", *hex(&*self.0.digest_seed)));
        text
    }

    fn build(
        masters: BTreeMap<i32, Zeroizing<[u8; 32]>>,
        signing_pkcs8: Zeroizing<Vec<u8>>,
        former: Vec<Vec<u8>>,
        digest_seed: Zeroizing<[u8; 32]>,
    ) -> Result<Self, LogError> {
        let signing = Ed25519KeyPair::from_pkcs8(&signing_pkcs8)
            .map_err(|_| LogError::Keys("signing_pkcs8 is no Ed25519 key".into()))?;
        let signing_id = signing_id(signing.public_key().as_ref());
        let digest = hmac::Key::new(hmac::HMAC_SHA256, &*digest_seed);
        let signing = Arc::new(signing);
        let path = None;
        Ok(Self(Arc::new(Inner {
            masters,
            signing,
            signing_pkcs8,
            signing_id,
            former,
            digest,
            digest_seed,
            path,
        })))
    }

    /// A master key; `None` for a version that this keyring does not hold.
    pub(crate) fn master(&self, version: i32) -> Option<&[u8; 32]> {
        self.0.masters.get(&version).map(|key| &**key)
    }

    /// The versions of the master key that it holds, ascending; two while a rotation is under way.
    pub fn versions(&self) -> Vec<i32> {
        self.0.masters.keys().copied().collect()
    }

    /// The newest of them.
    pub fn newest(&self) -> i32 {
        self.0.masters.keys().next_back().copied().unwrap_or(1)
    }

    /// With one more master key, of the version after the newest.
    pub fn with_new_master(&self) -> Result<Self, LogError> {
        let mut inner = Inner::clone(&self.0);
        inner.masters.insert(self.newest() + 1, random()?);
        Ok(Self(Arc::new(inner)))
    }

    /// With those master keys only whose version is to be kept.
    ///
    /// Errors: [`LogError::Keys`] when none would be left.
    pub fn keeping(&self, keep: impl Fn(i32) -> bool) -> Result<Self, LogError> {
        let mut inner = Inner::clone(&self.0);
        inner.masters.retain(|version, _| keep(*version));
        if inner.masters.is_empty() {
            return Err(LogError::Keys("no master key would be left".into()));
        }
        Ok(Self(Arc::new(inner)))
    }

    /// With a fresh signing key; what the present one signed can still be checked.
    pub fn with_new_signing(&self) -> Result<Self, LogError> {
        let mut former = self.0.former.clone();
        former.push(self.public_key().to_vec());
        let built = Self::build(self.0.masters.clone(), new_pkcs8()?, former, self.0.digest_seed.clone())?;
        Ok(Self(Arc::new(Inner { path: self.0.path.clone(), ..Inner::clone(&built.0) })))
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

    /// Every public key whose signatures count: the present one and the former ones.
    pub fn signers(&self) -> Signers {
        let all = self.0.former.iter().map(Vec::as_slice).chain([self.public_key()]);
        Signers(all.map(|key| (signing_id(key), key.to_vec())).collect())
    }

    /// What a database may know of a master key, to tell it from others.
    pub(crate) fn master_print(&self, version: i32) -> Option<[u8; digest::SHA256_OUTPUT_LEN]> {
        self.master(version).map(|master| print(&hmac::Key::new(hmac::HMAC_SHA256, master)))
    }

    /// What a database may know of the other keys.
    pub(crate) fn fingerprints(&self) -> Fingerprints {
        Fingerprints { signing: self.0.signing_id.clone(), digest: print(&self.0.digest) }
    }

    /// A keyed digest, so that a stored digest tells nothing of a guessed value. For cursors, tokens and etags: it
    /// outlives rotations of the master key.
    pub fn digest(&self, pieces: &[&[u8]]) -> Vec<u8> {
        tagged(&self.0.digest, pieces)
    }

    /// A keyed digest of a request, to be stored in the log. Its key follows from the newest master key and goes with
    /// it, so that nobody can test guesses on what a case's requests said after the case was erased.
    ///
    /// Shape: 4 bytes of the master's version, 32 of the digest.
    pub fn request_digest(&self, pieces: &[&[u8]]) -> Vec<u8> {
        let version = self.newest();
        let master = self.master(version).map_or(&[][..], |key| &key[..]);
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, master), b"tasuki request digests 1");
        let mut all = version.to_be_bytes().to_vec();
        all.extend(tagged(&hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()), pieces));
        all
    }
}

/// Public keys whose signatures of heads count.
#[derive(Clone, Debug)]
pub struct Signers(Vec<(String, Vec<u8>)>);

impl Signers {
    /// Whether the key of that id, if it is one of these, signed the message.
    pub(crate) fn signed(&self, key_id: &str, message: &[u8], signature: &[u8]) -> bool {
        let verifies = |key: &[u8]| UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok();
        self.0.iter().any(|(id, key)| id == key_id && verifies(key))
    }

    /// Whether one of these keys signed the message, where no id says which.
    pub(crate) fn any_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verifies = |key: &[u8]| UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok();
        self.0.iter().any(|(_, key)| verifies(key))
    }
}

impl From<&[u8]> for Signers {
    /// One public key. Shape: 32 bytes.
    fn from(key: &[u8]) -> Self {
        Self(vec![(signing_id(key), key.to_vec())])
    }
}

/// Whether two stored digests may be of the same request. Where they are keyed by different masters nobody can tell
/// any more, and the request id alone counts; of an erased one nothing counts.
pub(crate) fn same_request(stored: &[u8], given: &[u8]) -> bool {
    let keyed_otherwise = || stored.len() == given.len() && stored.len() == 36 && stored[..4] != given[..4];
    !stored.is_empty() && (stored == given || keyed_otherwise())
}

fn signing_id(public_key: &[u8]) -> String {
    hex(&digest::digest(&digest::SHA256, public_key).as_ref()[..8]).to_string()
}

fn print(key: &hmac::Key) -> [u8; digest::SHA256_OUTPUT_LEN] {
    let mut print = [0; digest::SHA256_OUTPUT_LEN];
    print.copy_from_slice(hmac::sign(key, b"tasuki keyring fingerprint 1").as_ref());
    print
}

fn tagged(key: &hmac::Key, pieces: &[&[u8]]) -> Vec<u8> {
    let mut context = hmac::Context::with_key(key);
    for piece in pieces {
        context.update(&(piece.len() as u64).to_be_bytes());
        context.update(piece);
    }
    context.sign().as_ref().to_vec()
}

fn random() -> Result<Zeroizing<[u8; 32]>, LogError> {
    let mut bytes = Zeroizing::new([0; 32]);
    SystemRandom::new().fill(&mut *bytes).map_err(|_| LogError::Keys("no randomness".into()))?;
    Ok(bytes)
}

fn new_pkcs8() -> Result<Zeroizing<Vec<u8>>, LogError> {
    let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
    let made = made.map_err(|_| LogError::Keys("no randomness".into()))?;
    Ok(Zeroizing::new(made.as_ref().to_vec()))
}

pub(crate) fn hex(bytes: &[u8]) -> Zeroizing<String> {
    // Of its final size from the start: a text that grows leaves copies behind.
    bytes.iter().fold(Zeroizing::new(String::with_capacity(bytes.len() * 2)), |mut s, b| {
        let _ = std::fmt::Write::write_fmt(&mut *s, format_args!("{b:02x}"));
        s
    })
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
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
        let keys = Keyring::generate().unwrap().with_new_master().unwrap().with_new_signing().unwrap();
        let again = Keyring::from_text(&keys.to_text()).unwrap();
        assert_eq!((keys.versions(), again.versions()), (vec![1, 2], vec![1, 2]));
        assert!([1, 2].iter().all(|v| keys.master(*v) == again.master(*v)));
        assert_eq!(keys.digest(&[b"a"]), again.digest(&[b"a"]));
        assert_eq!(keys.public_key(), again.public_key());
        assert_eq!(keys.to_text(), again.to_text());
    }

    #[test]
    fn a_keyring_of_the_first_form_holds_version_one() {
        let keys = Keyring::generate().unwrap();
        let first = keys.to_text().replace("master.1=", "master=");
        assert_eq!(Keyring::from_text(&first).unwrap().to_text(), keys.to_text());
    }

    #[test]
    fn a_malformed_key_file_names_the_line_and_not_its_content() {
        for text in ["master=zz\n", "master.x=00\n", "master.0=00\n", ""] {
            let error = Keyring::from_text(text).unwrap_err().to_string();
            assert_eq!(error, "keys: master is missing or malformed");
        }
    }

    #[test]
    fn a_digest_keeps_its_pieces_apart() {
        let keys = Keyring::generate().unwrap();
        assert_ne!(keys.digest(&[b"ab", b"c"]), keys.digest(&[b"a", b"bc"]));
    }

    #[test]
    fn what_a_former_key_signed_counts_and_what_a_foreign_one_signed_does_not() {
        let (old, foreign) = (Keyring::generate().unwrap(), Keyring::generate().unwrap());
        let new = old.with_new_signing().unwrap();
        let signers = new.signers();
        assert_ne!(old.signing_id(), new.signing_id());
        for (by, counts) in [(&old, true), (&new, true), (&foreign, false)] {
            assert_eq!(signers.signed(by.signing_id(), b"head", &by.sign(b"head")), counts);
        }
        assert!(!signers.signed(old.signing_id(), b"head", &new.sign(b"head")), "under another's id");
    }

    #[test]
    fn another_body_under_the_same_request_id_is_told_apart_for_as_long_as_its_master_lives() {
        let keys = Keyring::generate().unwrap();
        let (a, b) = (keys.request_digest(&[b"a"]), keys.request_digest(&[b"b"]));
        let later = keys.with_new_master().unwrap().request_digest(&[b"a"]);
        assert!(same_request(&a, &a) && !same_request(&a, &b));
        assert!(same_request(&a, &later), "only the request id is left to go by");
        assert!(!same_request(&[], &a), "an erased one");
    }
}
