//! The try-out issuer of the embedded default: makes tokens for whoever asks, so it protects nothing.
//!
//! It is known by its name, [`DEV_ISSUER`]; `serve` calls [`refuse_dev_issuer`] and stops unless it was told
//! `--insecure-dev-issuer`. It never writes its key: the caller stores [`DevIssuer::pkcs8`] where it sees fit
//! (readable by its own user alone).

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use ring::{
    rand::{SecureRandom as _, SystemRandom},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use uuid::Uuid;

use crate::{Claims, KeyError, KeySet, TrustedIssuer, Verifier};

/// The name in `iss` of every token of the try-out issuer. A real issuer's name is a URL, so none can be equal.
pub const DEV_ISSUER: &str = "tasuki-dev-issuer";

/// PKCS#8 version 1 around an Ed25519 seed (RFC 8410). Made here, because the version 2 form that ring writes
/// carries the public key in an encoding that the signing library does not read.
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
const SEED_BYTES: usize = 32;

/// The try-out issuer: one Ed25519 key.
pub struct DevIssuer {
    pkcs8: Vec<u8>,
    signing: EncodingKey,
    public: String,
    kid: String,
}

/// What a token of the try-out issuer shall say.
#[derive(Clone)]
pub struct DevGrant {
    /// An opaque name of the caller.
    pub subject: String,
    /// What the verifying installation calls itself.
    pub audience: String,
    /// The caller's agency; the nil id leaves the claim out, which only an operator's token may do.
    pub agency: Uuid,
    /// The posts to claim.
    pub posts: Vec<Uuid>,
    /// Whether the caller operates the installation.
    pub operator: bool,
    /// The instant of issue, Unix seconds.
    pub issued_at_s: i64,
    /// How long the token holds, seconds.
    pub lifetime_s: i64,
}

/// The try-out issuer is trusted by a process that was not told to accept it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the try-out issuer {DEV_ISSUER} is trusted, which gives anyone with its key any post; serve needs --insecure-dev-issuer for that"
)]
pub struct DevIssuerRefused;

/// Refuses a `verifier` that trusts the try-out issuer, unless `insecure_dev_issuer` allows it.
pub fn refuse_dev_issuer(verifier: &Verifier, insecure_dev_issuer: bool) -> Result<(), DevIssuerRefused> {
    if verifier.trusts_dev_issuer() && !insecure_dev_issuer { Err(DevIssuerRefused) } else { Ok(()) }
}

impl DevIssuer {
    /// An issuer with a new random key. Errors: `KeyError::DevKey` when the system gives no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let mut pkcs8 = PKCS8_PREFIX.to_vec();
        pkcs8.resize(PKCS8_PREFIX.len() + SEED_BYTES, 0);
        SystemRandom::new()
            .fill(&mut pkcs8[PKCS8_PREFIX.len()..])
            .map_err(|_| KeyError::DevKey("no randomness from the system"))?;
        Self::from_pkcs8(&pkcs8)
    }

    /// An issuer with the Ed25519 key in `pkcs8` (DER, version 1 or 2).
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
            .map_err(|_| KeyError::DevKey("no Ed25519 key in pkcs#8"))?;
        // In both versions the seed follows a prefix of this length; ring has just checked the structure.
        let seed = pkcs8
            .get(PKCS8_PREFIX.len()..PKCS8_PREFIX.len() + SEED_BYTES)
            .ok_or(KeyError::DevKey("no Ed25519 key in pkcs#8"))?;
        let pkcs8 = [&PKCS8_PREFIX[..], seed].concat();
        let public = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        // The thumbprint of RFC 7638, whose member order and spelling are fixed.
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{public}"}}"#);
        let digest = ring::digest::digest(&ring::digest::SHA256, canonical.as_bytes());
        let kid = URL_SAFE_NO_PAD.encode(digest.as_ref());
        Ok(Self { signing: EncodingKey::from_ed_der(&pkcs8), pkcs8, public, kid })
    }

    /// An issuer with the key in the file `path`, as [`DevIssuer::pkcs8`] gave it.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let pkcs8 = std::fs::read(path).map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        Self::from_pkcs8(&pkcs8)
    }

    /// The private key, DER in PKCS#8: 48 bytes, secret.
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public key as a JWKS document.
    pub fn jwks(&self) -> String {
        let Self { public, kid, .. } = self;
        format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"{kid}","x":"{public}"}}]}}"#
        )
    }

    /// This issuer as a [`Verifier`] trusts it, for tokens to `audience`.
    pub fn trust(&self, audience: &str) -> Result<TrustedIssuer, KeyError> {
        let keys = KeySet::from_jwks(&self.jwks())?;
        Ok(TrustedIssuer { issuer: DEV_ISSUER.to_owned(), audience: audience.to_owned(), keys })
    }

    /// A token that says what `grant` says. Errors: `KeyError::DevKey` when signing fails.
    pub fn issue(&self, grant: &DevGrant) -> Result<String, KeyError> {
        let claims = Claims {
            iss: DEV_ISSUER.to_owned(),
            aud: vec![grant.audience.clone()],
            sub: grant.subject.clone(),
            agency: (!grant.agency.is_nil()).then_some(grant.agency),
            posts: grant.posts.clone(),
            operator: grant.operator,
            jti: Some(Uuid::now_v7().to_string()),
            iat: grant.issued_at_s,
            nbf: None,
            exp: grant.issued_at_s.saturating_add(grant.lifetime_s),
        };
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::EdDSA) };
        jsonwebtoken::encode(&header, &claims, &self.signing).map_err(|_| KeyError::DevKey("signing failed"))
    }
}
