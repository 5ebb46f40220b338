//! Makes tokens as real issuers do, and as attackers do.
#![allow(dead_code)]

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use rsa::{RsaPrivateKey, pkcs1::EncodeRsaPrivateKey as _, traits::PublicKeyParts as _};
use serde_json::{Value, json};
use tasuki_auth::{DevGrant, KeySet, TrustedIssuer};
use uuid::Uuid;

pub(crate) const NOW_S: i64 = 1_800_000_000;
pub(crate) const AUDIENCE: &str = "tasuki-test";

pub(crate) fn grant() -> DevGrant {
    DevGrant {
        subject: "kita_A".into(),
        audience: AUDIENCE.into(),
        agency: Uuid::from_u128(7),
        posts: vec![Uuid::from_u128(1)],
        operator: false,
        issued_at_s: NOW_S,
        lifetime_s: 600,
    }
}

pub(crate) fn claims(issuer: &str) -> Value {
    json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "kita_A", "agency": Uuid::from_u128(7),
        "posts": [Uuid::from_u128(1)], "iat": NOW_S, "exp": NOW_S + 600,
    })
}

/// One signing key of an issuer.
pub(crate) trait Forge {
    fn kid(&self) -> &str;
    fn alg(&self) -> &'static str;
    fn jwk(&self) -> Value;
    fn sign(&self, message: &[u8]) -> String;

    fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({"alg": self.alg(), "kid": self.kid(), "typ": "JWT"}), claims)
    }
    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{signature}")
    }
}

pub(crate) struct Es256 {
    kid: String,
    pair: EcdsaKeyPair,
}

impl Es256 {
    pub(crate) fn new(kid: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { kid: kid.into(), pair }
    }
}

impl Forge for Es256 {
    fn kid(&self) -> &str {
        &self.kid
    }
    fn alg(&self) -> &'static str {
        "ES256"
    }
    fn jwk(&self) -> Value {
        let point = self.pair.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "use": "sig",
               "x": encode_bytes(&point[1..33]), "y": encode_bytes(&point[33..])})
    }
    fn sign(&self, message: &[u8]) -> String {
        encode_bytes(self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref())
    }
}

pub(crate) struct Rs256 {
    kid: String,
    key: RsaPrivateKey,
}

impl Rs256 {
    pub(crate) fn new(kid: &str) -> Self {
        Self::with_bits(kid, 2048)
    }
    pub(crate) fn with_bits(kid: &str, bits: usize) -> Self {
        Self { kid: kid.into(), key: RsaPrivateKey::new(&mut rsa::rand_core::OsRng, bits).unwrap() }
    }
}

impl Forge for Rs256 {
    fn kid(&self) -> &str {
        &self.kid
    }
    fn alg(&self) -> &'static str {
        "RS256"
    }
    fn jwk(&self) -> Value {
        json!({"kty": "RSA", "kid": self.kid, "alg": "RS256",
               "n": encode_bytes(&self.key.n().to_bytes_be()), "e": encode_bytes(&self.key.e().to_bytes_be())})
    }
    fn sign(&self, message: &[u8]) -> String {
        let der = self.key.to_pkcs1_der().unwrap();
        let key = jsonwebtoken::EncodingKey::from_rsa_der(der.as_bytes());
        jsonwebtoken::crypto::sign(message, &key, jsonwebtoken::Algorithm::RS256).unwrap()
    }
}

pub(crate) fn hmac_token(secret: &[u8], kid: &str, claims: &Value) -> String {
    let message = format!("{}.{}", encode(&json!({"alg": "HS256", "kid": kid})), encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", encode_bytes(tag.as_ref()))
}

pub(crate) fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

pub(crate) fn trusted(issuer: &str, key: &impl Forge) -> TrustedIssuer {
    let keys = KeySet::from_jwks(&jwks(&[key.jwk()])).unwrap();
    TrustedIssuer { issuer: issuer.into(), audience: AUDIENCE.into(), keys }
}

pub(crate) fn encode(value: &Value) -> String {
    encode_bytes(value.to_string().as_bytes())
}

pub(crate) fn encode_bytes(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}
