//! An issuer as a test needs it: it signs whatever it is told, and so do those who are none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use tasuki::region::holder_of;
use tasuki_domain::ids::{AgencyId, PostId};

use crate::Error;

/// One Ed25519 key under a name.
pub struct Issuer {
    /// The key's id.
    pub kid: String,
    pair: Ed25519KeyPair,
}

impl Issuer {
    /// A new key.
    pub fn new(kid: &str) -> Result<Self, Error> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| "no randomness")?;
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|_| "no key")?;
        Ok(Self { kid: kid.to_owned(), pair })
    }

    /// The public key alone, 32 bytes.
    pub fn public(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": "EdDSA", "kid": self.kid, "typ": "JWT"}), claims)
    }

    /// The same with a header of one's own.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }
}

/// The first two parts of a token.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// The public keys of these as a JWKS document.
pub fn jwks(issuers: &[&Issuer]) -> String {
    let key = |issuer: &&Issuer| {
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": issuer.kid,
               "x": URL_SAFE_NO_PAD.encode(issuer.public())})
    };
    json!({"keys": issuers.iter().map(key).collect::<Vec<_>>()}).to_string()
}

/// What a token of whoever holds the post claims, for ten minutes from now.
pub fn claims(issuer: &str, agency: AgencyId, post: PostId) -> Value {
    let now = jiff::Timestamp::now().as_second();
    json!({"iss": issuer, "aud": "tasuki", "sub": holder_of(post), "agency": agency.0, "posts": [post.0],
           "iat": now, "exp": now + 600})
}
