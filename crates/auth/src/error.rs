//! Why a token or a key document was refused, in closed reasons.
//!
//! An [`AuthError`] goes to the caller of a service, so it carries no value at all from the token. A [`KeyError`]
//! goes to the operator: it names the file and the key id, never key material.

use std::path::PathBuf;

/// Why a token was not accepted. Every one of them is `UNAUTHENTICATED` at the service edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The call carries no `authorization`, or an empty one.
    #[error("no bearer token in the call")]
    Missing,
    /// The token is no JWT of the expected shape; the text says which part, from a closed list.
    #[error("token is malformed: {0}")]
    Malformed(&'static str),
    /// The algorithm of the header is not the one of the issuer's key (`none` and every HMAC included).
    #[error("token is signed with an algorithm that is not accepted")]
    UnsupportedAlgorithm,
    /// The issuer is not trusted here.
    #[error("token is from an issuer that is not trusted here")]
    UnknownIssuer,
    /// The issuer has no key of that id; it may have rotated, so the keys may need a reload.
    #[error("token is signed with a key that its issuer does not publish")]
    UnknownKey,
    /// The signature does not belong to this content and this key.
    #[error("token signature does not verify")]
    BadSignature,
    /// The token is for another audience.
    #[error("token is for another audience")]
    WrongAudience,
    /// The token's end has come.
    #[error("token has expired")]
    Expired,
    /// The token, or everything issued to its subject before an instant, was revoked.
    #[error("token was revoked")]
    Revoked,
    /// The token's beginning has not come.
    #[error("token is not yet valid")]
    NotYetValid,
}

impl AuthError {
    /// The stable reason for `google.rpc.ErrorInfo`; clients may branch on it, so it never changes.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "TOKEN_MISSING",
            Self::Malformed(_) => "TOKEN_MALFORMED",
            Self::UnsupportedAlgorithm => "TOKEN_UNSUPPORTED_ALGORITHM",
            Self::UnknownIssuer => "TOKEN_UNKNOWN_ISSUER",
            Self::UnknownKey => "TOKEN_UNKNOWN_KEY",
            Self::BadSignature => "TOKEN_BAD_SIGNATURE",
            Self::WrongAudience => "TOKEN_WRONG_AUDIENCE",
            Self::Expired => "TOKEN_EXPIRED",
            Self::Revoked => "TOKEN_REVOKED",
            Self::NotYetValid => "TOKEN_NOT_YET_VALID",
        }
    }
}

/// Why keys or issuers were not accepted at set-up or at a reload.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("key file {path} cannot be read: {source}")]
    File {
        /// The file that the operator named.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The document is no JWKS.
    #[error("key document is no json web key set")]
    NotJwks,
    /// Nothing in the document can verify a token.
    #[error("key document holds no Ed25519, P-256 or RSA signature key")]
    NoUsableKey,
    /// A usable key has no id, so no token could name it.
    #[error("a signature key has no kid")]
    NoKid,
    /// Two usable keys share an id.
    #[error("two keys share the kid {0}")]
    SameKid(String),
    /// A secret stands in a document that is meant to be public: treat it as disclosed.
    #[error("key {0} holds private or symmetric key material, which must not be in a public key document")]
    Secret(String),
    /// A key that cannot be used as what it says it is, or is too weak.
    #[error("key {kid} is unusable: {why}")]
    BadKey {
        /// The key's id.
        kid: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No issuer at all, so no token could ever be accepted.
    #[error("no issuer is configured")]
    NoIssuer,
    /// An issuer is given twice.
    #[error("issuer {0} is configured twice")]
    SameIssuer(String),
    /// New keys came for an issuer that is not trusted.
    #[error("issuer {0} is not configured")]
    UnknownIssuer(String),
    /// The private key of the try-out issuer is no Ed25519 key in PKCS#8, or cannot be made or used.
    #[error("private key of the try-out issuer is unusable: {0}")]
    DevKey(&'static str),
}
