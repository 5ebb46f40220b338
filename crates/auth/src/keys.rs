//! The public keys of one issuer, from a JWKS document.
//!
//! Each key is bound to exactly one algorithm when it is read, so that the header of a token never chooses how a
//! key is used: that binding is what makes HMAC confusion impossible. Keys for other purposes or algorithms are
//! passed over; symmetric and private keys make the whole document invalid.

use std::{collections::HashMap, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use crate::KeyError;

/// Moduli below this are within reach of well funded factoring.
const RSA_MODULUS_BITS_MIN: usize = 2048;
/// More keys than any issuer publishes; bounds what a reload can cost.
const KEYS_MAX: usize = 64;

/// The keys of one issuer by `kid`; at least one.
#[derive(Clone)]
pub struct KeySet {
    pub(crate) by_kid: HashMap<String, VerifyingKey>,
}

/// A key and the one algorithm that it verifies.
#[derive(Clone)]
pub(crate) struct VerifyingKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
    /// Tells it from another key of the same name.
    pub(crate) digest: [u8; 32],
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Jwk>,
}

/// The members that decide; what else a key holds (certificates, thumbprints) is not trusted here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    /// Private part of an OKP, EC or RSA key.
    d: Option<serde::de::IgnoredAny>,
    /// The secret of a symmetric key.
    k: Option<serde::de::IgnoredAny>,
}

impl KeySet {
    /// The keys of a JWKS document.
    ///
    /// Shape: Ed25519 (`OKP`, EdDSA), P-256 (`EC`, ES256) and RSA of 2048 bits or more (RS256), each with a `kid`.
    /// Errors: [`KeyError`]; a document with one bad signature key is refused as a whole, so that a rotation
    /// never half succeeds.
    pub fn from_jwks(document: &str) -> Result<Self, KeyError> {
        let document: Document = serde_json::from_str(document).map_err(|_| KeyError::NotJwks)?;
        if document.keys.len() > KEYS_MAX {
            return Err(KeyError::NotJwks);
        }
        let mut by_kid = HashMap::new();
        for jwk in &document.keys {
            if jwk.d.is_some() || jwk.k.is_some() {
                return Err(KeyError::Secret(jwk.kid.clone().unwrap_or_default()));
            }
            let Some(algorithm) = jwk.signature_algorithm() else { continue };
            let kid = jwk.kid.clone().ok_or(KeyError::NoKid)?;
            let key =
                jwk.verifying_key(algorithm).map_err(|why| KeyError::BadKey { kid: kid.clone(), why })?;
            if by_kid.insert(kid.clone(), VerifyingKey { algorithm, key, digest: jwk.digest() }).is_some() {
                return Err(KeyError::SameKid(kid));
            }
        }
        if by_kid.is_empty() { Err(KeyError::NoUsableKey) } else { Ok(Self { by_kid }) }
    }

    /// The keys of the JWKS document in the file `path`. Errors: as [`KeySet::from_jwks`], and `KeyError::File`.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let document = std::fs::read_to_string(path)
            .map_err(|source| KeyError::File { path: path.to_owned(), source })?;
        Self::from_jwks(&document)
    }
}

impl Jwk {
    /// The algorithm that this key verifies tokens with; `None` when it is for something else.
    fn signature_algorithm(&self) -> Option<Algorithm> {
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "sig")
            || self.key_ops.as_ref().is_some_and(|ops| !ops.iter().any(|op| op == "verify"))
        {
            return None;
        }
        let (algorithm, name) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, "EdDSA"),
            ("EC", Some("P-256")) => (Algorithm::ES256, "ES256"),
            ("RSA", _) => (Algorithm::RS256, "RS256"),
            _ => return None,
        };
        // An RSA key may be published for PS256 or RSA-OAEP only; using it for RS256 would overrule its owner.
        (self.alg.as_deref().is_none_or(|alg| alg == name)).then_some(algorithm)
    }

    fn digest(&self) -> [u8; 32] {
        let parts = [
            Some(&self.kty),
            self.crv.as_ref(),
            self.x.as_ref(),
            self.y.as_ref(),
            self.n.as_ref(),
            self.e.as_ref(),
        ];
        let text = parts.map(|part| part.map_or("", String::as_str)).join(".");
        let mut out = [0; 32];
        out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref());
        out
    }

    fn verifying_key(&self, algorithm: Algorithm) -> Result<DecodingKey, &'static str> {
        let key = match algorithm {
            Algorithm::EdDSA => {
                // Checked here because the library slices the first 32 bytes and would panic on fewer.
                let x = exactly::<32>(self.x.as_deref())?;
                DecodingKey::from_ed_der(&x)
            }
            Algorithm::ES256 => {
                let (x, y) = (exactly::<32>(self.x.as_deref())?, exactly::<32>(self.y.as_deref())?);
                DecodingKey::from_ec_der(&[&[4_u8][..], &x, &y].concat())
            }
            _ => {
                let (n, e) = (bytes(self.n.as_deref())?, bytes(self.e.as_deref())?);
                let bits = n.iter().skip_while(|byte| **byte == 0).count() * 8;
                if bits < RSA_MODULUS_BITS_MIN {
                    return Err("rsa modulus is shorter than 2048 bits");
                }
                DecodingKey::from_rsa_raw_components(&n, &e)
            }
        };
        // Any signature will do: this finds points off the curve at set-up, not at the first call.
        jsonwebtoken::crypto::verify("", b"", &key, algorithm)
            .map(|_| key)
            .map_err(|_| "key parameters are not of its type")
    }
}

fn bytes(encoded: Option<&str>) -> Result<Vec<u8>, &'static str> {
    let encoded = encoded.ok_or("a key parameter is missing")?;
    URL_SAFE_NO_PAD.decode(encoded).map_err(|_| "a key parameter is no base64url")
}

fn exactly<const N: usize>(encoded: Option<&str>) -> Result<[u8; N], &'static str> {
    bytes(encoded)?.try_into().map_err(|_| "a key parameter has the wrong length")
}
