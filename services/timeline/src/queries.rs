//! One case, as a card and as a timeline.
//!
//! A case that does not exist and one that is none of the caller's answer alike.

use jiff::Timestamp;
use prost::Message as _;
use tasuki_contract::Event;
use tasuki_contract::timeline::v1 as pb;
use tasuki_domain::ids::{CaseId, PostId};
use tasuki_kit::{Platform, page};
use tasuki_log::reads::ReadOutcome;
use tasuki_log::{LogError, Record};
use tasuki_views::FeedRow;
use tonic::Status;
use uuid::Uuid;

use crate::asking::{Asking, day_of};
use crate::card;
use crate::desk::{Desk, STALE_TRIES_MAX};
use crate::errors;
use crate::feed::Page;
use crate::redact::Disclosure;
use crate::sight::Sight;
use crate::wait;

/// Hex characters of an etag.
const ETAG_CHARS: usize = 16;

/// What is known about the child, as far as the caller may read it.
pub(crate) async fn card(
    desk: &Desk,
    asking: &Asking,
    request: &pb::GetCaseCardRequest,
) -> Result<pb::GetCaseCardResponse, Status> {
    let case = CaseId::parse("case_id", &request.case_id).map_err(|r| tasuki_kit::errors::refused(&r))?;
    wait::until_viewed(desk, &request.after_event_id).await?;
    let platform = &desk.platform;
    for _ in 0..STALE_TRIES_MAX {
        let sight = Sight::load(platform, case).await?;
        let access = sight.access(&asking.viewer, day_of(Timestamp::now()));
        if !access.in_circle() {
            return Err(tasuki_kit::errors::not_found());
        }
        let events = events_with_facts(platform, case).await?;
        let lead = sight.circle().lead.map(|post| (post, telephone_of(platform, post)));
        let made = card::card(case, &access, lead, &events);
        let entry = asking.entry(vec![(case, sight.epoch)], made.events, made.fact_keys, access.grants());
        if platform.reads().record(entry).await.map_err(errors::log)? == ReadOutcome::Recorded {
            let etag = etag(platform, &made.response);
            return Ok(pb::GetCaseCardResponse { etag, ..made.response });
        }
    }
    Err(errors::changing())
}

/// The events of a case that the caller's post may see, oldest first.
pub(crate) async fn timeline(
    desk: &Desk,
    asking: &Asking,
    request: &pb::GetTimelineRequest,
) -> Result<pb::GetTimelineResponse, Status> {
    let case = CaseId::parse("case_id", &request.case_id).map_err(|r| tasuki_kit::errors::refused(&r))?;
    let size = page::size(request.page_size)?;
    let keyring = desk.platform.keyring();
    let post = asking.post();
    let bound: [&[u8]; 3] = [post.0.as_bytes(), b"GetTimeline", case.0.as_bytes()];
    let after = page::place(keyring, &bound, &request.page_token)?.map(|place| number(&place)).transpose()?;
    wait::until_viewed(desk, &request.after_event_id).await?;
    let made = visible(desk, asking, case, after.unwrap_or(0), size).await?;
    if made.disclosures.is_empty() && after.is_none() && !made.in_circle {
        return Err(tasuki_kit::errors::not_found());
    }
    let next = made.more.then(|| made.disclosures.last().map(|d| d.item.number)).flatten();
    Ok(pb::GetTimelineResponse {
        items: made.disclosures.into_iter().map(|d| d.item).collect(),
        next_page_token: next.map(|n| page::token(keyring, &bound, &n.to_be_bytes())).unwrap_or_default(),
    })
}

/// A page of what can be seen of a case.
struct Visible {
    disclosures: Vec<Disclosure>,
    /// Something that can be seen follows; what is hidden does not count.
    more: bool,
    in_circle: bool,
}

async fn visible(
    desk: &Desk,
    asking: &Asking,
    case: CaseId,
    after: u64,
    size: usize,
) -> Result<Visible, Status> {
    let platform = &desk.platform;
    for _ in 0..STALE_TRIES_MAX {
        let sight = Sight::load(platform, case).await?;
        let epoch = sight.epoch;
        let access = sight.access(&asking.viewer, day_of(Timestamp::now()));
        let (in_circle, grants) = (access.in_circle(), access.grants());
        let mut found: Vec<Disclosure> = Vec::new();
        let mut at = after;
        while found.len() <= size {
            let rows = desk.views.feed_of_case(asking.post(), case, at, size + 1).await;
            let rows = rows.map_err(|e| errors::views(&e))?;
            let Some(last) = rows.last().map(|row| row.number) else { break };
            at = last;
            // The same look at the circle for every chunk, so that one record holds for all of them.
            found.extend(chunk(platform, asking, &rows, &sight).await?);
        }
        let more = found.len() > size;
        found.truncate(size);
        if found.is_empty() && !in_circle {
            return Ok(Visible { disclosures: found, more, in_circle });
        }
        let events = found.iter().filter_map(|d| Uuid::try_parse(&d.item.event_id).ok()).collect();
        let mut keys: Vec<String> = found.iter().flat_map(|d| d.fact_keys.iter().cloned()).collect();
        keys.sort_unstable();
        keys.dedup();
        let entry = asking.entry(vec![(case, epoch)], events, keys, grants);
        if platform.reads().record(entry).await.map_err(errors::log)? == ReadOutcome::Recorded {
            return Ok(Visible { disclosures: found, more, in_circle });
        }
    }
    Err(errors::changing())
}

async fn chunk(
    platform: &Platform,
    asking: &Asking,
    rows: &[FeedRow],
    sight: &Sight,
) -> Result<Vec<Disclosure>, Status> {
    let page = Page::of_case(platform, rows, sight).await?;
    let mut found = Vec::new();
    for index in 0..page.rows.len() {
        let (disclosure, _) = page.disclose(platform, asking, index).await?;
        found.extend(Some(disclosure).filter(Disclosure::tells));
    }
    Ok(found)
}

fn number(place: &[u8]) -> Result<u64, Status> {
    // The tag was ours, so only a token of another version gets here.
    let bytes = place.try_into().map_err(|_| {
        tasuki_kit::errors::invalid_field("page_token", tasuki_domain::refusal::Violation::NOT_ALLOWED)
    })?;
    Ok(u64::from_be_bytes(bytes))
}

async fn events_with_facts(platform: &Platform, case: CaseId) -> Result<Vec<(Record, Event)>, Status> {
    let records = platform.reader().stream(case.0, 0).await.map_err(errors::log)?;
    let records: Vec<Record> = records.into_iter().filter(card::has_facts).collect();
    let keys: Vec<Uuid> = records.iter().flat_map(Record::key_ids).collect();
    platform.sealer().warm(&keys).await.map_err(errors::log)?;
    let mut events = Vec::with_capacity(records.len());
    for record in records {
        match platform.reader().open(platform.sealer(), &record).await {
            Ok(event) => events.push((record, event)),
            // Erased: nobody knows it any more.
            Err(LogError::Unopenable { event_id }) => {
                tracing::warn!(event_id, "content of an event does not open");
            }
            Err(error) => return Err(errors::log(error)),
        }
    }
    Ok(events)
}

fn telephone_of(platform: &Platform, post: PostId) -> String {
    platform.directory().agency_of(post).map(|agency| agency.telephone.clone()).unwrap_or_default()
}

/// A keyed digest of what is shown, so that it changes with nothing else and tells nothing of it.
fn etag(platform: &Platform, shown: &pb::GetCaseCardResponse) -> String {
    let digest = platform.keyring().digest(&[b"card", &shown.encode_to_vec()]);
    let mut text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(ETAG_CHARS);
    text
}
