//! What a token claims, and the caller that a verified token becomes.
//!
//! It never checks anything about signatures or time (`verify.rs` does). `Debug` leaves the subject out: it names
//! a member of staff at the issuer.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use uuid::Uuid;

/// The claims of a token, as they travel.
///
/// Shape: a JWT claim set. Unknown claims are ignored, a claim given twice is refused.
/// Units: `iat`, `nbf` and `exp` are whole Unix seconds, UTC.
#[derive(Clone, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer, compared byte for byte with the trusted names.
    pub iss: String,
    /// Audiences; one of them must be ours. On the wire one string or a list of strings.
    #[serde(deserialize_with = "one_or_many", serialize_with = "one_if_single")]
    pub aud: Vec<String>,
    /// Subject: the issuer's own name of the caller, opaque here.
    pub sub: String,
    /// The agency that the caller works for. Only an operator may come without one, since it registers the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<Uuid>,
    /// The posts that the caller claims to hold.
    #[serde(default)]
    pub posts: Vec<Uuid>,
    /// Whether the caller operates the installation (registers agencies, reads health of the log).
    #[serde(default)]
    pub operator: bool,
    /// The token's own id, by which it can be revoked alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Issued at.
    pub iat: i64,
    /// Not valid before, when the issuer says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    /// The first second at which the token is no longer valid.
    pub exp: i64,
}

/// Who calls, as a trusted issuer has signed it.
///
/// Source: a token that [`crate::Verifier::verify`] has accepted; nothing else makes one in production.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    /// The issuer's own name of the caller; unique only together with `issuer`. Never logged, never shown.
    pub subject: String,
    /// The caller's agency; the nil id for an operator that belongs to none.
    pub agency: Uuid,
    /// Claimed posts, ascending, each once. Effective posts are those of them that are held now.
    pub posts: Vec<Uuid>,
    /// Whether the caller operates the installation.
    pub operator: bool,
    /// Unix second from which on this caller is nobody: a stream opened on the token ends here.
    pub expires_at_s: i64,
    /// The issuer that signed.
    pub issuer: String,
    /// The token's own id, opaque; `None` where the issuer gives none. Never logged.
    pub token_id: Option<String>,
    /// When the token was issued, Unix seconds.
    pub issued_at_s: i64,
    /// Digest of the key that signed.
    pub(crate) key: [u8; 32],
}

impl Caller {
    /// Whether the token claims `post`. Says nothing about the post being held now.
    pub fn claims_post(&self, post: Uuid) -> bool {
        self.posts.binary_search(&post).is_ok()
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("agency", &self.agency)
            .field("posts", &self.posts)
            .field("operator", &self.operator)
            .field("expires_at_s", &self.expires_at_s)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    // The error of an untagged enum would be fixed text; this keeps it so whatever serde does later.
    match OneOrMany::deserialize(from)
        .map_err(|_| D::Error::custom("aud is no string and no list of strings"))?
    {
        OneOrMany::One(audience) => Ok(vec![audience]),
        OneOrMany::Many(audiences) => Ok(audiences),
    }
}

fn one_if_single<S: Serializer>(audiences: &[String], to: S) -> Result<S::Ok, S::Error> {
    match audiences {
        [one] => one.serialize(to),
        many => many.serialize(to),
    }
}
