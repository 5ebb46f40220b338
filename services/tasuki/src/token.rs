//! Tokens of the try-out issuer: for the embedded default and for tests, never for real data.

use tasuki_auth::{DevGrant, DevIssuer};
use tasuki_domain::ids::{AgencyId, PostId};
use uuid::Uuid;

use crate::Error;
use crate::region::holder_of;

/// What tokens for this program are meant for.
pub const AUDIENCE: &str = "tasuki";

/// A token for whoever holds the post.
pub fn for_post(
    issuer: &DevIssuer,
    agency: AgencyId,
    post: PostId,
    lifetime_s: i64,
) -> Result<String, Error> {
    let grant = DevGrant {
        subject: holder_of(post),
        audience: AUDIENCE.to_owned(),
        agency: agency.0,
        posts: vec![post.0],
        operator: false,
        issued_at_s: jiff::Timestamp::now().as_second(),
        lifetime_s,
    };
    Ok(issuer.issue(&grant)?)
}

/// A token of an operator without a post.
pub fn for_operator(issuer: &DevIssuer, lifetime_s: i64) -> Result<String, Error> {
    let grant = DevGrant {
        subject: "operator:bootstrap".to_owned(),
        audience: AUDIENCE.to_owned(),
        agency: Uuid::nil(),
        posts: Vec::new(),
        operator: true,
        issued_at_s: jiff::Timestamp::now().as_second(),
        lifetime_s,
    };
    Ok(issuer.issue(&grant)?)
}
