//! Reading referrals: one with its content as far as the caller may read it, and the list of the caller's post.
//!
//! A single referral is read from the log, so it is never behind; the list comes from the views. Each read is on
//! record before its answer leaves.

use jiff::Timestamp;
use tasuki_contract::event::v1::ItemKind;
use tasuki_contract::intake::v1 as pb;
use tasuki_contract::{DataClass, Event};
use tasuki_domain::days::epoch_day;
use tasuki_domain::decision::{day_in_tokyo, etag};
use tasuki_domain::ids::{CaseId, ReferralId};
use tasuki_domain::referral::{ReferralState, Stage};
use tasuki_domain::refusal::Violation;
use tasuki_kit::{Context, Platform, errors, page};
use tasuki_log::reads::ReadOutcome;
use tasuki_log::{LogError, ReadEntry, Record};
use tasuki_privacy::{Access, EventAccess, Level, POLICY_VERSION, Viewer};
use tasuki_views::{ItemFilter, ItemRow, Views};
use tonic::Status;
use uuid::Uuid;

use crate::wait;

/// How often an answer is made anew when what may be disclosed changes under it.
const TRIES_MAX: u32 = 5;

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
        let record = submitted(platform, case, id).await?;
        let access = Access::new(&viewer, &state.circle, today());
        let lens = lens(&access, &viewer, referral, &record);
        let level = lens.level();
        if level == Level::None {
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
            events: vec![Uuid::try_parse(&record.header.event_id).unwrap_or_default()],
            fact_keys: content.iter().flat_map(|c| &c.facts).map(|f| f.key.clone()).collect(),
            grants: access.grants().into_iter().map(|g| g.0).collect(),
            policy_version: POLICY_VERSION,
        };
        match platform.reads().record(entry).await.map_err(|e| errors::fault(&e))? {
            ReadOutcome::Stale => continue,
            ReadOutcome::Recorded => {}
        }
        let rule = Event::rule_of(&record.header.r#type).ok_or_else(errors::not_found)?;
        let mut shown = summary(ReferralId(id), referral, &record);
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
        let states = Stage::ALL.map(Stage::code).join(", ");
        return Err(errors::unknown_code("state", states));
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
    let mut rows =
        views.items(post, ItemKind::ItemReferral, &filter, size + 1).await.map_err(|e| unavailable(&e))?;
    let more = rows.len() > size;
    rows.truncate(size);
    let mut cases: Vec<Uuid> = rows.iter().filter_map(|row| row.case.map(|case| case.0)).collect();
    cases.sort_unstable();
    cases.dedup();
    let referrals = listed(platform, caller, &rows, &cases).await?;
    let next_page_token = match rows.last().filter(|_| more) {
        Some(last) => page::token(platform.keyring(), &bound, last.item_id.as_bytes()),
        None => String::new(),
    };
    Ok(pb::ListReferralsResponse { referrals, next_page_token })
}

/// The rows that are the caller's own part now, on record.
///
/// The disclosure epochs are read before the states: a change between the two makes the record stale, never unseen.
async fn listed(
    platform: &Platform,
    caller: &Context,
    rows: &[ItemRow],
    cases: &[Uuid],
) -> Result<Vec<pb::Referral>, Status> {
    let post = caller.actor.post;
    for _ in 0..TRIES_MAX {
        let epochs = platform.reader().disclosure_epochs(cases).await.map_err(|e| errors::fault(&e))?;
        let mut referrals = Vec::with_capacity(rows.len());
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            let Some(case) = row.case else { continue };
            let loaded = platform.case(case).await.map_err(|e| errors::fault(&e))?;
            let Some(referral) = loaded.state.referrals.get(&ReferralId(row.item_id)) else { continue };
            // A post that declined keeps its own answer, and learns nothing of what became of the referral.
            if referral.parties().any(|p| p == post) {
                let record = submitted(platform, case, row.item_id).await?;
                referrals.push(summary(ReferralId(row.item_id), referral, &record));
                events.push(Uuid::try_parse(&record.header.event_id).unwrap_or_default());
            }
        }
        let shown = |case: &Uuid| referrals.iter().any(|r| r.case_id == case.to_string());
        let entry = ReadEntry {
            agency: caller.actor.agency.0,
            post: post.0,
            purpose: caller.purpose.clone(),
            method: "ReferralService/ListReferrals",
            cases: epochs.into_iter().filter(|(case, _)| shown(case)).collect(),
            events,
            fact_keys: Vec::new(),
            grants: Vec::new(),
            policy_version: POLICY_VERSION,
        };
        if platform.reads().record(entry).await.map_err(|e| errors::fault(&e))? == ReadOutcome::Recorded {
            return Ok(referrals);
        }
    }
    Err(errors::append_failed(&tasuki_log::AppendError::Conflict))
}

/// The lens of a referral: whoever it stands before now is party to it, also after it was sent on.
fn lens<'a>(
    access: &'a Access<'a>,
    viewer: &Viewer,
    referral: &ReferralState,
    record: &Record,
) -> EventAccess<'a> {
    let is_party = referral.parties().any(|p| p == viewer.post);
    let is_author = record.header.agency_id == viewer.agency.to_string();
    access.event(DataClass::ReferralState, is_party, is_author)
}

async fn submitted(platform: &Platform, case: CaseId, referral: Uuid) -> Result<Record, Status> {
    let records = platform.reader().stream(case.0, 0).await.map_err(|e| errors::fault(&e))?;
    let wanted = referral.to_string();
    let found = records
        .into_iter()
        .find(|r| matches!(r.open_event(), Ok(Event::ReferralSubmitted(e)) if e.referral_id == wanted));
    found.ok_or_else(errors::not_found)
}

fn summary(id: ReferralId, referral: &ReferralState, record: &Record) -> pb::Referral {
    pb::Referral {
        referral_id: id.to_string(),
        case_id: referral.case.to_string(),
        state: referral.stage.code().to_owned(),
        from_post_id: referral.sender.to_string(),
        to_post_id: referral.receiver.to_string(),
        submitted_at: Some(tasuki_log::read::timestamp(record.recorded_at_us)),
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
