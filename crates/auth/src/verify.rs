//! Checks a token against the trusted issuers, and remembers the ones that passed.
//!
//! The order is: size, shape, issuer, key, algorithm, signature, audience, time. Nothing of the payload but the
//! issuer's name is believed before the signature holds. The instant is an argument, also for remembered tokens.
//!
//! Why a cache: a signature check costs tens of microseconds, a SHA-256 of the token about one, and thousands of
//! calls per second come with the same few tokens. Keys and cache are one value that is swapped as a whole, so
//! a verification that is under way while keys are replaced can only fill a cache that nobody reads any more.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, Validation, errors::ErrorKind};
use moka::sync::Cache;
use serde::{Deserialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::{AuthError, Caller, Claims, DEV_ISSUER, KeyError, KeySet};

/// Longest token that is looked at, bytes. Room for some 300 posts, below gRPC's usual limit for metadata.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// Most remembered tokens; the least used go first.
pub const CACHED_TOKENS_MAX: u64 = 10_000;
/// How far the clocks of issuer and server may differ for `iat` and `nbf`, seconds. `exp` gets no such grace.
pub const CLOCK_SKEW_S: i64 = 30;
/// Longest subject, bytes: OpenID Connect allows 255.
const SUBJECT_BYTES_MAX: usize = 255;
/// Longest id of a token, bytes.
const TOKEN_ID_BYTES_MAX: usize = 255;

/// An issuer whose tokens are accepted.
#[derive(Clone)]
pub struct TrustedIssuer {
    /// Its name, as in `iss`.
    pub issuer: String,
    /// What its tokens for this installation carry in `aud`.
    pub audience: String,
    /// Its public keys.
    pub keys: KeySet,
}

/// Turns tokens into callers. Shared by all calls of a process; never blocks on anything but memory.
pub struct Verifier {
    trust: RwLock<Arc<Trust>>,
    missed: OnceLock<Missed>,
}

/// Is told the name of a trusted issuer whose keys lack the one that a token names.
type Missed = Box<dyn Fn(&str) + Send + Sync>;

struct Trust {
    issuers: HashMap<String, Arc<TrustedIssuer>>,
    seen: Cache<Digest, Arc<Verified>>,
}

type Digest = [u8; 32];

struct Verified {
    caller: Arc<Caller>,
    valid_from_s: i64,
}

/// The header members that matter; `alg` is text so that an unknown one gets its own reason.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct IssuerOnly {
    iss: String,
}

impl Verifier {
    /// Trusts `issuers`, at least one. Errors: `KeyError::NoIssuer`, `KeyError::SameIssuer`.
    pub fn new(issuers: Vec<TrustedIssuer>) -> Result<Self, KeyError> {
        let mut by_name = HashMap::new();
        for issuer in issuers {
            let name = issuer.issuer.clone();
            if by_name.insert(name.clone(), Arc::new(issuer)).is_some() {
                return Err(KeyError::SameIssuer(name));
            }
        }
        if by_name.is_empty() {
            return Err(KeyError::NoIssuer);
        }
        Ok(Self { trust: RwLock::new(Arc::new(Trust::new(by_name))), missed: OnceLock::new() })
    }

    /// The caller that `token` stands for at the instant `now_s`.
    ///
    /// Units: `now_s` is Unix seconds. Errors: [`AuthError`], whose text holds nothing of the token.
    /// Source: `token` is the text after `Bearer ` (see [`bearer`]).
    pub fn verify(&self, token: &str, now_s: i64) -> Result<Arc<Caller>, AuthError> {
        if token.is_empty() {
            return Err(AuthError::Missing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::Malformed("longer than 16384 bytes"));
        }
        let trust = self.trust();
        let digest = digest(token);
        if let Some(verified) = trust.seen.get(&digest) {
            return verified.at(now_s).inspect_err(|error| {
                if *error == AuthError::Expired {
                    trust.seen.invalidate(&digest);
                }
            });
        }
        let verified = Arc::new(trust.check(token, self.missed.get())?);
        let caller = verified.at(now_s)?;
        trust.seen.insert(digest, verified);
        Ok(caller)
    }

    /// Puts `keys` in the place of all keys of `issuer` and forgets every remembered token.
    ///
    /// Errors: `KeyError::UnknownIssuer`; then nothing has changed.
    pub fn replace_keys(&self, issuer: &str, keys: KeySet) -> Result<(), KeyError> {
        let mut trust = self.trust.write().unwrap_or_else(PoisonError::into_inner);
        let mut issuers = trust.issuers.clone();
        let entry = issuers.get_mut(issuer).ok_or_else(|| KeyError::UnknownIssuer(issuer.to_owned()))?;
        *entry = Arc::new(TrustedIssuer { keys, ..TrustedIssuer::clone(entry) });
        *trust = Arc::new(Trust::new(issuers));
        Ok(())
    }

    /// Calls `missed` with the issuer's name whenever a token of a trusted issuer names a key that is not among its keys:
    /// they may have been rotated. It is called in the midst of a call, for whoever sends such a token: it must be quick,
    /// and bound what it sets off. Only the first that is given counts.
    pub fn when_key_unknown(&self, missed: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.missed.set(Box::new(missed));
    }

    /// Whether the key that signed a verified token is still among its issuer's: what a stream asks again and again.
    pub fn still_trusts(&self, caller: &Caller) -> bool {
        let trust = self.trust();
        let issuer = trust.issuers.get(&caller.issuer);
        issuer.is_some_and(|issuer| issuer.keys.by_kid.values().any(|key| key.digest == caller.key))
    }

    /// Whether tokens of the try-out issuer are accepted; `serve` refuses to start then, unless told otherwise.
    pub fn trusts_dev_issuer(&self) -> bool {
        self.trust().issuers.contains_key(DEV_ISSUER)
    }

    fn trust(&self) -> Arc<Trust> {
        // The value is swapped whole, so a panic of another thread cannot have left it half written.
        Arc::clone(&self.trust.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Trust {
    fn new(issuers: HashMap<String, Arc<TrustedIssuer>>) -> Self {
        Self { issuers, seen: Cache::new(CACHED_TOKENS_MAX) }
    }

    /// Everything but time.
    fn check(&self, token: &str, missed: Option<&Missed>) -> Result<Verified, AuthError> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(_signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(AuthError::Malformed("not three parts"));
        };
        let header: Header = part(header).ok_or(AuthError::Malformed("header"))?;
        let named: IssuerOnly = part(claims).ok_or(AuthError::Malformed("claims"))?;
        if header.crit.is_some() {
            // RFC 7515: an extension that must be understood and is not refuses the token.
            return Err(AuthError::Malformed("critical header extension"));
        }
        // Before the issuer: `none` and HMAC are never accepted, whoever claims to have sent them.
        let algorithm = accepted(&header.alg).ok_or(AuthError::UnsupportedAlgorithm)?;
        let issuer = self.issuers.get(&named.iss).ok_or(AuthError::UnknownIssuer)?;
        let kid = header.kid.ok_or(AuthError::Malformed("no kid"))?;
        let Some(key) = issuer.keys.by_kid.get(&kid) else {
            if let Some(missed) = missed {
                missed(&issuer.issuer);
            }
            return Err(AuthError::UnknownKey);
        };
        if key.algorithm != algorithm {
            return Err(AuthError::UnsupportedAlgorithm);
        }

        let mut validation = Validation::new(key.algorithm);
        validation.validate_exp = false; // by `Verified::at`, with the caller's clock
        validation.set_required_spec_claims(&["iss", "aud", "sub", "exp"]);
        validation.set_issuer(&[&issuer.issuer]);
        validation.set_audience(&[&issuer.audience]);
        let data = jsonwebtoken::decode::<Claims>(token, &key.key, &validation)
            .map_err(|error| reason(error.kind()))?;
        caller_of(data.claims, key.digest)
    }
}

impl Verified {
    fn at(&self, now_s: i64) -> Result<Arc<Caller>, AuthError> {
        if now_s >= self.caller.expires_at_s {
            Err(AuthError::Expired)
        } else if now_s < self.valid_from_s {
            Err(AuthError::NotYetValid)
        } else {
            Ok(Arc::clone(&self.caller))
        }
    }
}

/// The token in the value of an `authorization` header; the scheme's letter case does not matter.
///
/// Errors: `Missing` for no header, an empty one or an empty token, `Malformed` for another scheme.
pub fn bearer(authorization: Option<&str>) -> Result<&str, AuthError> {
    let value = authorization.map(str::trim).filter(|value| !value.is_empty()).ok_or(AuthError::Missing)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Malformed("not a bearer token"));
    }
    let token = token.trim_start();
    if token.is_empty() { Err(AuthError::Missing) } else { Ok(token) }
}

fn caller_of(claims: Claims, key: Digest) -> Result<Verified, AuthError> {
    if claims.sub.is_empty() || claims.sub.len() > SUBJECT_BYTES_MAX {
        return Err(AuthError::Malformed("subject"));
    }
    if claims.jti.as_ref().is_some_and(|id| id.is_empty() || id.len() > TOKEN_ID_BYTES_MAX) {
        return Err(AuthError::Malformed("token id"));
    }
    let agency = match claims.agency {
        Some(agency) if !agency.is_nil() => agency,
        // Before the first agency is registered there is nobody but the operator.
        None if claims.operator => Uuid::nil(),
        _ => return Err(AuthError::Malformed("agency")),
    };
    let mut posts = claims.posts;
    posts.sort_unstable();
    posts.dedup();
    let begins_s = claims.nbf.map_or(claims.iat, |nbf| nbf.max(claims.iat));
    Ok(Verified {
        caller: Arc::new(Caller {
            subject: claims.sub,
            agency,
            posts,
            operator: claims.operator,
            expires_at_s: claims.exp,
            issuer: claims.iss,
            token_id: claims.jti,
            issued_at_s: claims.iat,
            key,
        }),
        valid_from_s: begins_s.saturating_sub(CLOCK_SKEW_S),
    })
}

fn accepted(name: &str) -> Option<Algorithm> {
    match name {
        "EdDSA" => Some(Algorithm::EdDSA),
        "ES256" => Some(Algorithm::ES256),
        "RS256" => Some(Algorithm::RS256),
        _ => None,
    }
}

fn reason(kind: &ErrorKind) -> AuthError {
    match kind {
        ErrorKind::InvalidSignature => AuthError::BadSignature,
        ErrorKind::InvalidAudience => AuthError::WrongAudience,
        ErrorKind::InvalidIssuer => AuthError::UnknownIssuer,
        ErrorKind::InvalidAlgorithm => AuthError::UnsupportedAlgorithm,
        ErrorKind::MissingRequiredClaim(_) => AuthError::Malformed("a claim is missing"),
        ErrorKind::Base64(_) => AuthError::Malformed("base64url"),
        _ => AuthError::Malformed("claims"),
    }
}

fn part<T: DeserializeOwned>(encoded: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

fn digest(token: &str) -> Digest {
    let mut out = Digest::default();
    out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, token.as_bytes()).as_ref());
    out
}
