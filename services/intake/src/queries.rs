//! Reading referrals: one with its content as far as the caller may read it, and the list of the caller's post.
//!
//! A single referral is read from the log, so it is never behind; the list comes from the views. Each read is on
//! record before its answer leaves.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tasuki_contract::event::v1::ItemKind;
use tasuki_contract::intake::v1 as pb;
use tasuki_contract::{DataClass, Event};
use tasuki_domain::case::CaseState;
use tasuki_domain::decision::etag;
use tasuki_domain::ids::{CaseId, PostId, ReferralId};
use tasuki_domain::referral::{ReferralState, Stage};
use tasuki_domain::refusal::Violation;
use tasuki_kit::reading::{Asking, Disclosed, day_of, on_record};
use tasuki_kit::{Platform, errors, page};
use tasuki_log::{LogError, Record};
use tasuki_privacy::{Access, Level};
use tasuki_views::{ItemFilter, Views};
use tonic::Status;
use uuid::Uuid;

use crate::wait;

/// Rows of the view that are asked for at once, at least.
const CHUNK_MIN: usize = 50;

pub(crate) async fn get(
    platform: &Platform,
    asking: &Asking,
    request: &pb::GetReferralRequest,
) -> Result<pb::GetReferralResponse, Status> {
    let id = Uuid::try_parse(&request.referral_id)
        .map_err(|_| errors::invalid_field("referral_id", Violation::NOT_A_UUID))?;
    // Read from the log, which is never behind: there is nothing to wait for.
    wait::named(&request.after_event_id)?;
    let case = platform.case_of(id).await.map_err(|e| errors::fault(&e))?.ok_or_else(errors::not_found)?;
    on_record(platform, asking, || async {
        let (referral, disclosed) = one(platform, asking, case, ReferralId(id)).await?;
        Ok((pb::GetReferralResponse { referral: Some(referral) }, disclosed))
    })
    .await
}

/// A referral as the caller may see it now, with what that discloses.
///
/// Errors: `NOT_FOUND`, for an unknown one and for one that the caller is not told of alike.
async fn one(
    platform: &Platform,
    asking: &Asking,
    case: CaseId,
    id: ReferralId,
) -> Result<(pb::Referral, Disclosed), Status> {
    let loaded = platform.cases_with_epochs(&[case]).await.map_err(|e| errors::fault(&e))?;
    let (_, epoch, state) = loaded.into_iter().next().ok_or_else(errors::not_found)?;
    let referral = state.referrals.get(&id).ok_or_else(errors::not_found)?;
    let record = submission(platform, referral).await?;
    let rules = platform.directory().in_force(&state.municipality_code, asking.viewer.agency);
    let access = Access::of_case(&asking.viewer, &state, rules, platform.today());
    let recorded = day_of(Timestamp::from_microsecond(record.recorded_at_us).unwrap_or_default());
    let then = access.of_what_was_recorded_on(recorded);
    let lens = then.event_of(&record.header);
    let rule = Event::rule_of(&record.header.r#type).ok_or_else(errors::not_found)?;
    if !lens.is_told() {
        return Err(errors::not_found());
    }
    let erased = state.erasure.is_confirmed();
    let content = match platform.reader().open(platform.sealer(), &record).await {
        _ if erased => None,
        Ok(opened) => match lens.redact(opened) {
            Some(Event::ReferralSubmitted(content)) => Some(content),
            _ => None,
        },
        Err(LogError::Erased { .. } | LogError::Unopenable { .. }) => None,
        Err(error) => return Err(errors::fault(&error)),
    };
    let mut disclosed = Disclosed::default();
    let keys: Vec<String> = content.iter().flat_map(|c| &c.facts).map(|fact| fact.key.clone()).collect();
    disclosed.by((case, epoch), access.rules());
    disclosed.add(Some((case, epoch)), [referral.submission], keys, access.grants());
    // What became of it is for those whose part it is now, and for those who read of every referral.
    let told_now = referral.parties().any(|party| party == asking.post())
        || access.class_level(DataClass::ReferralState) > Level::None;
    let mut shown = summary(id, referral);
    if !told_now {
        shown.state.clear();
        shown.to_post_id.clear();
        shown.etag.clear();
    }
    shown.content = content;
    shown.erased = erased;
    shown.withheld_classes = lens.withheld_classes(rule).into_iter().map(|class| class as i32).collect();
    shown.withheld_keys = access.withheld_keys().into_iter().map(str::to_owned).collect();
    Ok((shown, disclosed))
}

pub(crate) async fn list(
    platform: &Platform,
    views: &Views,
    asking: &Asking,
    request: &pb::ListReferralsRequest,
) -> Result<pb::ListReferralsResponse, Status> {
    let size = page::size(request.page_size)?;
    if !request.state.is_empty() && Stage::ALL.iter().all(|stage| stage.code() != request.state) {
        let states = Stage::ALL.map(Stage::code).join(", ");
        return Err(errors::unknown_code("state", states));
    }
    let after = wait::named(&request.after_event_id)?;
    let post = asking.post();
    let bound: [&[u8]; 3] = [b"ListReferrals", post.0.as_bytes(), request.state.as_bytes()];
    let place = page::place(platform.keyring(), &bound, &request.page_token)?;
    if let Some(event) = after {
        wait::until_viewed(platform, views, event).await?;
    }
    // The token holds the last item, never its place in the log.
    let before = match place.and_then(|p| Uuid::from_slice(&p).ok()) {
        Some(last) => {
            let row = views.item(last).await.map_err(|e| errors::view_fault(&e))?;
            row.map(|r| (r.created_position, r.item_id))
        }
        None => None,
    };
    let states = if request.state.is_empty() { Vec::new() } else { vec![request.state.clone()] };
    let filter = ItemFilter { states, before };
    on_record(platform, asking, || async {
        let mut shown = own_parts(platform, views, post, filter.clone(), size + 1).await?;
        let more = shown.len() > size;
        shown.truncate(size);
        let mut disclosed = Disclosed::default();
        for shown in &shown {
            disclosed.add(Some((shown.case, shown.epoch)), [shown.submission], [], []);
        }
        let next_page_token = match shown.last().filter(|_| more) {
            Some(last) => page::token(platform.keyring(), &bound, last.id.0.as_bytes()),
            None => String::new(),
        };
        let referrals = shown.into_iter().map(|shown| shown.referral).collect();
        Ok((pb::ListReferralsResponse { referrals, next_page_token }, disclosed))
    })
    .await
}

/// A referral of a list, with what goes on record for it.
struct Shown {
    id: ReferralId,
    case: CaseId,
    /// The epoch under which the case was looked at.
    epoch: u64,
    submission: Uuid,
    referral: pb::Referral,
}

/// The first `wanted` referrals that are the post's own part now, newest first.
///
/// The view keeps what a post once listed, so some rows are its own part no more. Nothing of the answer may depend on
/// them: reading goes on until enough is found that it sees, or until its list ends. Each row is looked at once, in
/// chunks whose cases are loaded in one statement, and never more than one chunk is held.
async fn own_parts(
    platform: &Platform,
    views: &Views,
    post: PostId,
    mut filter: ItemFilter,
    wanted: usize,
) -> Result<Vec<Shown>, Status> {
    let limit = wanted.max(CHUNK_MIN);
    let mut found = Vec::with_capacity(wanted);
    loop {
        let rows = views.items(post, ItemKind::ItemReferral, &filter, limit).await;
        let rows = rows.map_err(|e| errors::view_fault(&e))?;
        let Some(last) = rows.last() else { return Ok(found) };
        filter.before = Some((last.created_position, last.item_id));
        let ends = rows.len() < limit;
        let mut cases: Vec<CaseId> = rows.iter().filter_map(|row| row.case).collect();
        cases.sort_unstable();
        cases.dedup();
        let loaded = platform.cases_with_epochs(&cases).await.map_err(|e| errors::fault(&e))?;
        let cases: HashMap<CaseId, (u64, Arc<CaseState>)> =
            loaded.into_iter().map(|(case, epoch, state)| (case, (epoch, state))).collect();
        for row in &rows {
            let Some((case, (epoch, state))) = row.case.and_then(|case| cases.get_key_value(&case)) else {
                continue;
            };
            let id = ReferralId(row.item_id);
            let Some(referral) = own_part(state, post, id, &filter.states) else { continue };
            let submission = referral.submission;
            found.push(Shown { id, case: *case, epoch: *epoch, submission, referral: summary(id, referral) });
            if found.len() == wanted {
                return Ok(found);
            }
        }
        if ends {
            return Ok(found);
        }
    }
}

/// One referral, if it is the post's own part now and in one of the states; none: in any.
///
/// A post that declined keeps its own answer, and learns nothing of what became of the referral.
fn own_part<'s>(
    case: &'s CaseState,
    post: PostId,
    id: ReferralId,
    states: &[String],
) -> Option<&'s ReferralState> {
    let referral = case.referrals.get(&id)?;
    // The view may be a moment behind the log.
    let in_state = states.is_empty() || states.iter().any(|state| state == referral.stage.code());
    (in_state && referral.parties().any(|party| party == post)).then_some(referral)
}

/// What was sent, as it stands in the log: one row, however long the case is.
async fn submission(platform: &Platform, referral: &ReferralState) -> Result<Record, Status> {
    let found = platform.reader().events(&[referral.submission]).await.map_err(|e| errors::fault(&e))?;
    found.into_iter().next().ok_or_else(errors::not_found)
}

fn summary(id: ReferralId, referral: &ReferralState) -> pb::Referral {
    pb::Referral {
        referral_id: id.to_string(),
        case_id: referral.case.to_string(),
        state: referral.stage.code().to_owned(),
        from_post_id: referral.sender.to_string(),
        to_post_id: referral.receiver.to_string(),
        submitted_at: Some(tasuki_log::read::timestamp(referral.submitted_at.as_microsecond())),
        etag: etag(id.0, referral.revision),
        ..pb::Referral::default()
    }
}
