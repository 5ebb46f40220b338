//! Reading referrals: one with its content as far as the caller may read it, and the list of the caller's post.
//!
//! A single referral is read from the log, so it is never behind; the list comes from the views. Each read is on
//! record before its answer leaves.

use std::collections::HashMap;
use std::pin::pin;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use tasuki_contract::event::v1::ItemKind;
use tasuki_contract::intake::v1 as pb;
use tasuki_contract::{DataClass, Event};
use tasuki_domain::days::epoch_day;
use tasuki_domain::decision::{day_in_tokyo, etag};
use tasuki_domain::ids::{CaseId, PostId, ReferralId};
use tasuki_domain::referral::{ReferralState, Stage};
use tasuki_domain::refusal::Violation;
use tasuki_kit::{Context, Platform, errors, page};
use tasuki_log::reads::ReadOutcome;
use tasuki_log::{LogError, ReadEntry, Record};
use tasuki_privacy::{Access, Level, POLICY_VERSION, Viewer};
use tasuki_views::{ItemFilter, ItemRow, Views};
use tonic::Status;
use uuid::Uuid;

use crate::wait;

/// How often an answer is made anew when what may be disclosed changes under it.
const TRIES_MAX: u32 = 5;
/// Rows of the view that are asked for at once, at least.
const CHUNK_MIN: usize = 50;
/// Cases that are loaded at the same time for one caller, so that one list does not take the whole pool.
const LOADS_MAX: usize = 8;

pub(crate) async fn get(
    platform: &Platform,
    caller: &Context,
    request: &pb::GetReferralRequest,
) -> Result<pb::GetReferralResponse, Status> {
    let id = Uuid::try_parse(&request.referral_id)
        .map_err(|_| errors::invalid_field("referral_id", Violation::NOT_A_UUID))?;
    // Read from the log, which is never behind: there is nothing to wait for.
    wait::named(&request.after_event_id)?;
    let case = platform.case_of(id).await.map_err(|e| errors::fault(&e))?.ok_or_else(errors::not_found)?;
    let viewer = viewer(platform, caller)?;
    for _ in 0..TRIES_MAX {
        let epochs = platform.reader().disclosure_epochs(&[case.0]).await.map_err(|e| errors::fault(&e))?;
        let loaded = platform.case(case).await.map_err(|e| errors::fault(&e))?;
        let state = &loaded.state;
        let referral = state.referrals.get(&ReferralId(id)).ok_or_else(errors::not_found)?;
        let record = submission(platform, referral).await?;
        let access = Access::of_case(&viewer, state, today());
        let lens = access.event_of(&record.header);
        if !lens.is_told() {
            return Err(errors::not_found());
        }
        let content = match platform.reader().open(platform.sealer(), &record).await {
            Ok(opened) => match lens.redact(opened) {
                Some(Event::ReferralSubmitted(content)) => Some(content),
                _ => None,
            },
            // What was erased stays erased: the referral is shown without content.
            Err(LogError::Unopenable { .. }) => None,
            Err(error) => return Err(errors::fault(&error)),
        };
        let entry = ReadEntry {
            agency: caller.actor.agency.0,
            post: caller.actor.post.0,
            purpose: caller.purpose.clone(),
            method: "ReferralService/GetReferral",
            cases: epochs,
            events: vec![referral.submission],
            fact_keys: content.iter().flat_map(|c| &c.facts).map(|f| f.key.clone()).collect(),
            grants: access.grants().into_iter().map(|g| g.0).collect(),
            policy_version: POLICY_VERSION,
        };
        match platform.reads().record(entry).await.map_err(|e| errors::fault(&e))? {
            ReadOutcome::Stale => continue,
            ReadOutcome::Recorded => {}
        }
        let rule = Event::rule_of(&record.header.r#type).ok_or_else(errors::not_found)?;
        let mut shown = summary(ReferralId(id), referral);
        // What became of it is for those whose part it is now, and for those who read of every referral.
        let told_now = referral.parties().any(|party| party == viewer.post)
            || access.class_level(DataClass::ReferralState) > Level::None;
        if !told_now {
            shown = pb::Referral {
                state: String::new(),
                to_post_id: String::new(),
                etag: String::new(),
                ..shown
            };
        }
        shown.content = content;
        shown.withheld_classes = lens.withheld_classes(rule).into_iter().map(|c| c as i32).collect();
        shown.withheld_keys = access.withheld_keys().into_iter().map(str::to_owned).collect();
        return Ok(pb::GetReferralResponse { referral: Some(shown) });
    }
    Err(errors::append_failed(&tasuki_log::AppendError::Conflict))
}

pub(crate) async fn list(
    platform: &Platform,
    views: &Views,
    caller: &Context,
    request: &pb::ListReferralsRequest,
) -> Result<pb::ListReferralsResponse, Status> {
    let size = page::size(request.page_size)?;
    if !request.state.is_empty() && Stage::ALL.iter().all(|stage| stage.code() != request.state) {
        return Err(errors::invalid_field("state", Violation::UNKNOWN_CODE));
    }
    let after = wait::named(&request.after_event_id)?;
    let post = caller.actor.post;
    let bound: [&[u8]; 3] = [b"ListReferrals", post.0.as_bytes(), request.state.as_bytes()];
    let place = page::place(platform.keyring(), &bound, &request.page_token)?;
    if let Some(event) = after {
        wait::until_viewed(platform, views, event).await?;
    }
    // The token holds the last item, never its place in the log.
    let before = match place.and_then(|p| Uuid::from_slice(&p).ok()) {
        Some(last) => {
            let row = views.item(last).await.map_err(|e| unavailable(&e))?;
            row.map(|r| (r.created_position, r.item_id))
        }
        None => None,
    };
    let states = if request.state.is_empty() { Vec::new() } else { vec![request.state.clone()] };
    let filter = ItemFilter { states, before };
    let (shown, more) = listed(platform, views, caller, filter, size).await?;
    let next_page_token = match shown.last().filter(|_| more) {
        Some(last) => page::token(platform.keyring(), &bound, last.id.0.as_bytes()),
        None => String::new(),
    };
    let referrals = shown.into_iter().map(|shown| shown.referral).collect();
    Ok(pb::ListReferralsResponse { referrals, next_page_token })
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

/// A page on record, and whether something that the caller sees follows.
async fn listed(
    platform: &Platform,
    views: &Views,
    caller: &Context,
    filter: ItemFilter,
    size: usize,
) -> Result<(Vec<Shown>, bool), Status> {
    for _ in 0..TRIES_MAX {
        let mut shown = own_parts(platform, views, caller.actor.post, filter.clone(), size + 1).await?;
        let more = shown.len() > size;
        shown.truncate(size);
        let mut cases: Vec<(Uuid, u64)> = shown.iter().map(|shown| (shown.case.0, shown.epoch)).collect();
        cases.sort_unstable();
        cases.dedup();
        let entry = ReadEntry {
            agency: caller.actor.agency.0,
            post: caller.actor.post.0,
            purpose: caller.purpose.clone(),
            method: "ReferralService/ListReferrals",
            cases,
            events: shown.iter().map(|shown| shown.submission).collect(),
            fact_keys: Vec::new(),
            grants: Vec::new(),
            policy_version: POLICY_VERSION,
        };
        if platform.reads().record(entry).await.map_err(|e| errors::fault(&e))? == ReadOutcome::Recorded {
            return Ok((shown, more));
        }
    }
    Err(errors::append_failed(&tasuki_log::AppendError::Conflict))
}

/// The first `wanted` referrals that are the post's own part now, newest first.
///
/// The view keeps what a post once listed, so some rows are its own part no more. Nothing of the answer may depend on
/// them: reading goes on until enough is found that it sees, or until its list ends. Each row is looked at once, in
/// chunks, a few cases at a time, and never more than one chunk is held.
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
        let rows = rows.map_err(|e| unavailable(&e))?;
        let Some(last) = rows.last() else { return Ok(found) };
        filter.before = Some((last.created_position, last.item_id));
        let ends = rows.len() < limit;
        // Epochs before states: a change between the two makes the record stale, never unseen.
        let mut cases: Vec<Uuid> = rows.iter().filter_map(|row| row.case.map(|case| case.0)).collect();
        cases.sort_unstable();
        cases.dedup();
        let epochs = platform.reader().disclosure_epochs(&cases).await.map_err(|e| errors::fault(&e))?;
        let epochs: HashMap<Uuid, u64> = epochs.into_iter().collect();
        let states = &filter.states;
        let look = |row: &ItemRow| {
            let case = row.case?;
            let epoch = epochs.get(&case.0).copied().unwrap_or(0);
            Some(own_part(platform, post, ReferralId(row.item_id), case, epoch, states))
        };
        let looks: Vec<_> = rows.iter().filter_map(look).collect();
        let mut looks = pin!(stream::iter(looks).buffered(LOADS_MAX));
        while let Some(shown) = looks.try_next().await? {
            found.extend(shown);
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
async fn own_part(
    platform: &Platform,
    post: PostId,
    id: ReferralId,
    case: CaseId,
    epoch: u64,
    states: &[String],
) -> Result<Option<Shown>, Status> {
    let loaded = platform.case(case).await.map_err(|e| errors::fault(&e))?;
    let Some(referral) = loaded.state.referrals.get(&id) else { return Ok(None) };
    // The view may be a moment behind the log.
    let in_state = states.is_empty() || states.iter().any(|state| state == referral.stage.code());
    if !in_state || referral.parties().all(|party| party != post) {
        return Ok(None);
    }
    let submission = referral.submission;
    Ok(Some(Shown { id, case, epoch, submission, referral: summary(id, referral) }))
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

fn viewer(platform: &Platform, caller: &Context) -> Result<Viewer, Status> {
    let directory = platform.directory();
    let agency = directory.agency_of(caller.actor.post).ok_or_else(errors::not_found)?;
    Ok(Viewer { post: caller.actor.post, agency: agency.id, kind: agency.kind.clone() })
}

/// Today in Tokyo, as days since 1970-01-01.
fn today() -> i32 {
    epoch_day(day_in_tokyo(Timestamp::now()))
}

pub(crate) fn unavailable(error: &tasuki_views::ViewError) -> Status {
    errors::fault(&tasuki_log::LogError::Database(error.to_string()))
}
