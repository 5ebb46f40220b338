//! Tokens in, caller out: turns the bearer token of a call into the [`Caller`] that the services decide by.
//!
//! What it never does: read a clock (the instant is an argument), know tonic, open a network connection, or write
//! a file. It reads key files that the caller names, and nothing else. No error, no `Debug` output and no log line
//! of this crate holds a token or a subject.
//!
//! Where the data comes from: the `authorization` metadata of a call, and the JWKS documents of the issuers that
//! the operator trusts. Where it goes: the service edge, which intersects [`Caller::posts`] with the posts that
//! the directory says are held now; a claimed post alone permits nothing.
//!
//! ```
//! use tasuki_auth::{DevGrant, DevIssuer, Verifier};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let issuer = DevIssuer::generate()?;
//! let verifier = Verifier::new(vec![issuer.trust("tasuki")?])?;
//! let agency = uuid::Uuid::from_u128(7);
//! let token = issuer.issue(&DevGrant {
//!     subject: "kita_A".into(), audience: "tasuki".into(), agency, posts: vec![],
//!     operator: false, issued_at_s: 1_000, lifetime_s: 3_600,
//! })?;
//! assert_eq!(verifier.verify(&token, 1_500)?.agency, agency);
//! # Ok(()) }
//! ```

mod caller;
mod dev;
mod error;
mod keys;
mod verify;

pub use caller::{Caller, Claims};
pub use dev::{DEV_ISSUER, DevGrant, DevIssuer, DevIssuerRefused, refuse_dev_issuer};
pub use error::{AuthError, KeyError};
pub use keys::KeySet;
pub use verify::{CACHED_TOKENS_MAX, CLOCK_SKEW_S, TOKEN_BYTES_MAX, TrustedIssuer, Verifier, bearer};
