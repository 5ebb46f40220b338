//! Who calls, for which post, for which purpose: the first argument of everything behind the edge.
//!
//! Effective posts are those that the token claims and that its subject holds now.

use std::sync::Arc;

use jiff::Timestamp;
use tasuki_domain::decision::Actor;
use tasuki_domain::directory::Directory;
use tasuki_domain::ids::{AgencyId, PostId};
pub use tasuki_domain::purpose::PURPOSES;
use tasuki_domain::purpose::may_serve;
use tasuki_domain::refusal::Violation;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::errors;

/// The caller of one request.
#[derive(Clone, Debug)]
pub struct Context {
    /// Agency, post and whether an operator's token.
    pub actor: Actor,
    /// Subject of the token: an opaque id of the issuer.
    pub subject: String,
    /// Purpose code, one of [`PURPOSES`].
    pub purpose: String,
    /// The request id that the caller gave; empty where it gave none.
    pub request_id: String,
    /// What the token says of itself.
    pub token: Arc<tasuki_auth::Caller>,
    /// When the token ends, seconds since 1970-01-01 UTC.
    pub expires_at_s: i64,
    /// W3C trace context of the call.
    pub traceparent: Option<String>,
}

impl Context {
    /// Reads the caller from verified claims and the request's metadata.
    ///
    /// Errors: `POST_NOT_HELD` when no claimed post is held now, `POST_AMBIGUOUS` when several are and `x-post` does
    /// not choose one, `PURPOSE_NOT_YOURS` when the agency's kind does not act for the purpose, and malformed `x-purpose`, `x-post` or `x-request-id`.
    pub(crate) fn read(
        caller: &Arc<tasuki_auth::Caller>,
        metadata: &MetadataMap,
        directory: &Directory,
    ) -> Result<Self, Status> {
        let purpose = text(metadata, "x-purpose")?.unwrap_or_default();
        if !PURPOSES.contains(&purpose) {
            let why = if purpose.is_empty() { Violation::MISSING } else { Violation::UNKNOWN_CODE };
            let see = PURPOSES.join(", ");
            return Err(errors::invalid(&[Violation { see, ..Violation::new("x-purpose", why) }]));
        }
        let request_id = text(metadata, "x-request-id")?.unwrap_or_default();
        if request_id.len() > 128 {
            return Err(errors::invalid_field("x-request-id", Violation::TOO_LONG));
        }
        let agency = AgencyId(caller.agency);
        let post = match text(metadata, "x-post")? {
            Some(wanted) => {
                let wanted = Uuid::try_parse(wanted)
                    .map_err(|_| errors::invalid_field("x-post", Violation::NOT_A_UUID))?;
                if !effective(caller, directory, agency).any(|p| p.0 == wanted) {
                    return Err(not_held());
                }
                PostId(wanted)
            }
            None => {
                let mut posts = effective(caller, directory, agency);
                match (posts.next(), posts.next()) {
                    (Some(only), None) => only,
                    (None, _) if caller.operator => PostId(Uuid::nil()),
                    (None, _) => return Err(not_held()),
                    (Some(_), Some(_)) => {
                        return Err(errors::status(
                            Code::InvalidArgument,
                            "POST_AMBIGUOUS",
                            "the token holds several posts; choose one in x-post",
                            "複数の窓口を持っています。x-post で選んでください",
                        ));
                    }
                }
            }
        };
        if !may_serve(purpose, directory.agency_of(post).map(|agency| agency.kind.as_str())) {
            return Err(errors::status(
                Code::PermissionDenied,
                "PURPOSE_NOT_YOURS",
                "an agency of this kind does not act for that purpose; give the one for which you act in x-purpose",
                "この種別の機関が使える目的ではありません。x-purpose に実際の目的を指定してください",
            ));
        }
        Ok(Self {
            actor: Actor { agency, post, operator: caller.operator },
            subject: caller.subject.clone(),
            purpose: purpose.to_owned(),
            request_id: request_id.to_owned(),
            token: caller.clone(),
            expires_at_s: caller.expires_at_s,
            traceparent: tasuki_telemetry::traceparent_of_current(),
        })
    }

    /// Whether the token is still valid and its subject still holds the post: what a stream asks again and again.
    pub fn still_holds(&self, directory: &Directory, now: Timestamp) -> bool {
        now.as_second() < self.expires_at_s
            && directory
                .posts
                .get(&self.actor.post)
                .is_some_and(|p| p.active && p.holders.contains(&self.subject))
    }
}

fn effective<'a>(
    caller: &'a tasuki_auth::Caller,
    directory: &'a Directory,
    agency: AgencyId,
) -> impl Iterator<Item = PostId> + 'a {
    caller.posts.iter().map(|p| PostId(*p)).filter(move |p| {
        directory.posts.get(p).is_some_and(|post| {
            post.active && post.agency == agency && post.holders.contains(&caller.subject)
        })
    })
}

fn text<'a>(metadata: &'a MetadataMap, name: &'static str) -> Result<Option<&'a str>, Status> {
    let mut values = metadata.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(errors::invalid_field(name, Violation::DUPLICATE));
    }
    match first {
        None => Ok(None),
        Some(value) => {
            let value = value.to_str().map_err(|_| errors::invalid_field(name, Violation::NOT_ALLOWED))?;
            if value.bytes().all(|b| b.is_ascii_graphic()) {
                Ok((!value.is_empty()).then_some(value))
            } else {
                Err(errors::invalid_field(name, Violation::NOT_ALLOWED))
            }
        }
    }
}

pub(crate) fn not_held() -> Status {
    errors::status(
        Code::PermissionDenied,
        "POST_NOT_HELD",
        "the token's subject does not hold that post now",
        "その窓口の担当者として登録されていません",
    )
}
