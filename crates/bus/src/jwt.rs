//! The signed claims by which a NATS server knows operator, accounts and users.
//!
//! Our own few lines instead of a crate: `nats-io-jwt` generates thousands of lines of types with
//! four build dependencies, `nats-jwt-rs` brings four more at run time, `nats-jwt` has no way to name
//! the system account, and all three want a second digest library beside ring. What is needed here is
//! one format, one signature and three bodies; the server itself checks them in the tests.
//!
//! It never reads a token back: the server is the only reader.

use data_encoding::{BASE32_NOPAD, BASE64URL_NOPAD};
use nkeys::KeyPair;
use ring::digest;
use serde::Serialize;
use serde_json::Value;

use crate::BusError;

/// The header of every NATS token; the server accepts no other.
const HEADER: &str = r#"{"typ":"JWT","alg":"ed25519-nkey"}"#;

#[derive(Serialize)]
struct Claims<'a> {
    jti: String,
    iat: i64,
    iss: String,
    name: &'a str,
    sub: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    nats: &'a Value,
}

/// What a token says besides its issuer.
pub(crate) struct Subject<'a> {
    /// The public key that the token is about.
    pub(crate) key: &'a str,
    /// A name for people who read the server's logs; ids only.
    pub(crate) name: &'a str,
    /// Seconds since 1970.
    pub(crate) issued_at_s: i64,
    /// Seconds since 1970; absent: no end.
    pub(crate) expires_at_s: Option<i64>,
}

/// The token that `issuer` signs about `subject`, with `nats` as the body of version 2.
pub(crate) fn sign(issuer: &KeyPair, subject: &Subject<'_>, nats: &Value) -> Result<String, BusError> {
    let mut claims = Claims {
        jti: String::new(),
        iat: subject.issued_at_s,
        iss: issuer.public_key(),
        name: subject.name,
        sub: subject.key,
        exp: subject.expires_at_s,
        nats,
    };
    // The id of a token is the digest of its claims while the id is still empty.
    claims.jti = BASE32_NOPAD.encode(digest::digest(&digest::SHA512_256, &json(&claims)?).as_ref());

    let header = BASE64URL_NOPAD.encode(HEADER.as_bytes());
    let signed = format!("{header}.{}", BASE64URL_NOPAD.encode(&json(&claims)?));
    let signature = issuer.sign(signed.as_bytes()).map_err(|e| BusError::Key(e.to_string()))?;
    Ok(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature)))
}

fn json(claims: &Claims<'_>) -> Result<Vec<u8>, BusError> {
    serde_json::to_vec(claims).map_err(|e| BusError::Key(e.to_string()))
}
