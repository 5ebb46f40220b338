//! Why a post sees what it sees of a case: for the post itself, the responsible post and the municipality's intake post.
//!
//! It tells of rules, never of content, and is on record as a read of the case by whoever asks.

use jiff::Timestamp;
use tasuki_contract::event::v1::Relation;
use tasuki_contract::timeline::v1 as pb;
use tasuki_domain::codes::Lang;
use tasuki_domain::dictionary;
use tasuki_domain::ids::{CaseId, PostId};
use tasuki_domain::purpose::{PURPOSES, Purpose};
use tasuki_kit::errors::{not_found, refused, unknown_code};
use tasuki_kit::reading::{Disclosed, on_record};
use tasuki_privacy::{Explained, PERSONAL, Viewer, labels};
use tonic::Status;

use crate::asking::{Asking, day_of};
use crate::desk::Desk;
use crate::redact;
use crate::sight::Sight;

/// The purpose of whoever names none.
const USUAL: &str = "care_coordination";

/// What the post sees, class by class and key by key.
///
/// Errors: malformed ids and codes; `NOT_FOUND` to who stands in no circle of the case, and of another post to who is
/// neither responsible nor the intake post. A post that has nothing to do with the case is explained like any other.
pub(crate) async fn explain(
    desk: &Desk,
    asking: &Asking,
    request: &pb::ExplainAccessRequest,
) -> Result<pb::ExplainAccessResponse, Status> {
    let case = CaseId::parse("case_id", &request.case_id).map_err(|r| refused(&r))?;
    let post = match request.post_id.as_str() {
        "" => asking.post(),
        id => PostId::parse("post_id", id).map_err(|r| refused(&r))?,
    };
    let purpose = if request.purpose.is_empty() { USUAL } else { request.purpose.as_str() };
    if !PURPOSES.contains(&purpose) {
        return Err(unknown_code("purpose", PURPOSES.join(", ")));
    }
    let platform = &desk.platform;
    on_record(platform, asking, || async {
        let sight = Sight::load(platform, case).await?;
        let day = day_of(Timestamp::now());
        let mine = sight.access(&asking.viewer, day);
        let relations = sight.circle().relations.get(&asking.post());
        let of_all =
            relations.is_some_and(|all| all.contains(&Relation::Lead) || all.contains(&Relation::Ward));
        if !mine.in_circle() || post != asking.post() && !of_all {
            return Err(not_found());
        }
        let directory = platform.directory();
        let agency = directory.agency_of(post).ok_or_else(not_found)?;
        let (kind, purpose) = (agency.kind.clone(), Purpose::of(purpose));
        let viewer = Viewer { post, agency: agency.id, kind, purpose };
        let access = sight.access(&viewer, day);
        let policy = &access.rules().of_case;
        let class = |told: Explained| {
            let class = PERSONAL.into_iter().find(|class| class.as_str_name() == told.name);
            let label = |lang| class.and_then(|class| labels(class, lang)).unwrap_or_default();
            explained(&told, label(Lang::Ja), label(Lang::En))
        };
        let key = |told: Explained| {
            let label = |lang| dictionary::field(told.name).map_or("", |field| field.label(lang));
            explained(&told, label(Lang::Ja), label(Lang::En))
        };
        let response = pb::ExplainAccessResponse {
            relations: access.relation_names().into_iter().map(str::to_owned).collect(),
            policy: format!("{} {}", policy.municipality, policy.version),
            classes: access.explain_classes().into_iter().map(class).collect(),
            keys: access.explain_keys().into_iter().map(key).collect(),
        };
        let mut disclosed = Disclosed::default();
        disclosed.by((case, sight.epoch), mine.rules());
        disclosed.add(Some((case, sight.epoch)), [], [], mine.grants());
        Ok((response, disclosed))
    })
    .await
}

fn explained(told: &Explained, label_ja: &str, label_en: &str) -> pb::ExplainedAccess {
    pb::ExplainedAccess {
        name: told.name.to_owned(),
        label_ja: label_ja.to_owned(),
        label_en: label_en.to_owned(),
        level: redact::level(told.level) as i32,
        why_ja: told.why(Lang::Ja),
        why_en: told.why(Lang::En),
        grant_ids: told.grants.iter().map(ToString::to_string).collect(),
        policy_line: i32::try_from(told.line).unwrap_or(i32::MAX),
    }
}
