//! The consents of a case, as far as the caller may know them, on record as every read.
//!
//! Who keeps the consents, and the family, see all of each. Anybody else sees those under which it may or could read, and
//! of these its own part: nobody learns from a consent who else is named in it.

use std::ops::Bound;

use tasuki_contract::DataClass;
use tasuki_contract::consent::v1 as pb;
use tasuki_domain::case::CaseState;
use tasuki_domain::circle::Recipient;
use tasuki_domain::consent::{ConsentState, Stage, role};
use tasuki_domain::days;
use tasuki_domain::decision::etag;
use tasuki_domain::ids::{CaseId, GrantId};
use tasuki_domain::refusal::Violation;
use tasuki_kit::reading::{Asking, Disclosed, on_record};
use tasuki_kit::{Context, Platform, errors, page};
use tasuki_privacy::Access;
use tonic::Status;
use uuid::Uuid;

/// A page of them, the oldest id first.
///
/// Errors: `NOT_FOUND` to who stands outside the circle and was never named; malformed fields; faults.
pub(crate) async fn consents(
    platform: &Platform,
    context: Context,
    request: &pb::ListConsentsRequest,
) -> Result<pb::ListConsentsResponse, Status> {
    let asking = Asking::new(context, &platform.directory(), "ConsentService/ListConsents")?;
    let case = CaseId::parse("case_id", &request.case_id).map_err(|refusal| errors::refused(&refusal))?;
    let size = page::size(request.page_size)?;
    let post = asking.post();
    let bound: [&[u8]; 3] = [b"ListConsents", post.0.as_bytes(), case.0.as_bytes()];
    let place = page::place(platform.keyring(), &bound, &request.page_token)?;
    let bad_token = || errors::invalid_field("page_token", Violation::NOT_ALLOWED);
    let after = place.map(|p| Uuid::from_slice(&p).map(GrantId).map_err(|_| bad_token())).transpose()?;
    on_record(platform, &asking, || async {
        let loaded = platform.cases_with_epochs(&[case]).await.map_err(|e| errors::fault(&e))?;
        let (_, epoch, state) = loaded.into_iter().next().ok_or_else(errors::not_found)?;
        let day = platform.today();
        let keeps = role(&state, post).is_ok();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut shown: Vec<pb::Consent> = Vec::new();
        let mut last = None;
        let mut more = false;
        for (id, consent) in state.consents.all.range((from, Bound::Unbounded)) {
            let one = if keeps {
                Some(whole(&state, *id, consent, day))
            } else {
                part(&state, *id, consent, &asking, day)
            };
            let Some(one) = one else { continue };
            more = shown.len() == size;
            if more {
                break;
            }
            shown.push(one);
            last = Some(*id);
        }
        let rules = platform.directory().in_force(&state.municipality_code, asking.viewer.agency);
        let access = Access::of_case(&asking.viewer, &state, rules, day);
        if shown.is_empty() && after.is_none() && !access.in_circle() {
            return Err(errors::not_found());
        }
        let mut disclosed = Disclosed::default();
        disclosed.add(Some((case, epoch)), [], [], access.grants());
        disclosed.by((case, epoch), access.rules());
        let token = |id: GrantId| page::token(platform.keyring(), &bound, id.0.as_bytes());
        let answer = pb::ListConsentsResponse {
            consents: shown,
            next_page_token: last.filter(|_| more).map(token).unwrap_or_default(),
            withheld_classes: if keeps { Vec::new() } else { vec![DataClass::Consent as i32] },
        };
        Ok((answer, disclosed))
    })
    .await
}

/// All of a consent, for who keeps it and for the family.
fn whole(state: &CaseState, id: GrantId, consent: &ConsentState, day: i32) -> pb::Consent {
    let terms = &consent.terms;
    let of_this = state.consents.notices.iter().filter(|(_, notice)| notice.grants.contains(&id));
    let notice =
        |(id, notice): (&tasuki_domain::ids::NoticeId, &tasuki_domain::consent::StopNotice)| pb::StopNotice {
            notice_id: id.to_string(),
            to_post_id: notice.post.to_string(),
            acknowledged: notice.acknowledged,
        };
    let date = |day: i32| days::from_epoch_day(day).map(days::to_proto);
    pb::Consent {
        grant_id: id.to_string(),
        state: consent.on(day).to_owned(),
        version: i32::try_from(consent.version).unwrap_or(i32::MAX),
        by_law: terms.by_law,
        recipients: terms.recipients.iter().map(Recipient::to_proto).collect(),
        classes: terms.classes.iter().map(|class| *class as i32).collect(),
        excluded_keys: terms.excluded_keys.iter().cloned().collect(),
        valid_to: terms.valid_to_day.and_then(date),
        grace_to: terms
            .valid_to_day
            .filter(|_| terms.grace_days > 0)
            .and_then(|d| date(d + terms.grace_days)),
        of_other_subject: consent.of_other_subject,
        stop_notices: of_this.map(notice).collect(),
        etag: if terms.by_law { String::new() } else { etag(id.0, consent.version) },
    }
}

/// What a post that is or was named learns of a consent; `None` for any other one, and before the signature.
fn part(
    state: &CaseState,
    id: GrantId,
    consent: &ConsentState,
    asking: &Asking,
    day: i32,
) -> Option<pb::Consent> {
    let viewer = &asking.viewer;
    let (post, agency, kind) = (viewer.post, viewer.agency, viewer.kind.as_str());
    let told =
        |notice: &tasuki_domain::consent::StopNotice| notice.post == post && notice.grants.contains(&id);
    let was = state.consents.notices.values().any(told);
    // A kind that is named means whoever of it stands in the circle.
    let is = consent.stage == Stage::Active
        && consent.terms.names(post, agency, kind)
        && state.circle.is_member(post);
    if !(is || was) || consent.of_other_subject {
        return None;
    }
    let mut shown = whole(state, id, consent, day);
    let names_me = |r: &tasuki_contract::event::v1::Recipient| {
        Recipient::from_proto(r).is_some_and(|r| r.means(post, agency, kind))
    };
    shown.recipients.retain(names_me);
    let open = is.then_some(&consent.terms.classes).into_iter().flatten();
    let open = open.filter(|class| consent.terms.opens(post, agency, kind, **class));
    shown.classes = open.map(|class| *class as i32).collect();
    shown.stop_notices.retain(|notice| notice.to_post_id == post.to_string());
    if !is {
        // It ended for this post; how it goes on for others is not its to know.
        shown.state = "withdrawn".to_owned();
        (shown.recipients, shown.excluded_keys) = (Vec::new(), Vec::new());
        (shown.valid_to, shown.grace_to, shown.version) = (None, None, 0);
    }
    // The number of changes tells of those that others only saw.
    shown.version = 0;
    shown.etag.clear();
    Some(shown)
}
