//! One case, as a card and as a timeline.
//!
//! A case that does not exist and one that is none of the caller's answer alike.

use prost::Message as _;
use tasuki_contract::Event;
use tasuki_contract::timeline::v1 as pb;
use tasuki_domain::ids::{CaseId, PostId};
use tasuki_kit::reading::{Disclosed, on_record};
use tasuki_kit::{Platform, page};
use tasuki_log::{LogError, Record};
use tasuki_views::FeedRow;
use tonic::Status;
use uuid::Uuid;

use crate::asking::Asking;
use crate::card;
use crate::desk::Desk;
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
    on_record(platform, asking, || async {
        let sight = Sight::load(platform, case).await?;
        let access = sight.access(&asking.viewer, platform.today());
        if !access.in_circle() {
            return Err(tasuki_kit::errors::not_found());
        }
        let erased = sight.state.erasure.is_confirmed();
        let events = if erased { Vec::new() } else { events_on_facts(platform, case).await? };
        let lead = sight.circle().lead.map(|post| (post, telephone_of(platform, post)));
        let mut made = card::card(case, &access, lead, &events);
        made.response.erased = erased;
        let mut disclosed = Disclosed::default();
        disclosed.by((case, sight.epoch), access.rules());
        disclosed.add(Some((case, sight.epoch)), made.events, made.fact_keys, access.grants());
        let etag = etag(platform, &made.response);
        Ok((pb::GetCaseCardResponse { etag, ..made.response }, disclosed))
    })
    .await
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
    let (items, more) = visible(desk, asking, case, after, size).await?;
    let next = more.then(|| items.last().map(|item| item.number)).flatten();
    Ok(pb::GetTimelineResponse {
        items,
        next_page_token: next.map(|n| page::token(keyring, &bound, &n.to_be_bytes())).unwrap_or_default(),
    })
}

/// A page of what can be seen of a case, on record, and whether something that can be seen follows; what is hidden
/// does not count.
///
/// Errors: `NOT_FOUND` to who sees nothing of the case and does not stand in its circle.
async fn visible(
    desk: &Desk,
    asking: &Asking,
    case: CaseId,
    after: Option<u64>,
    size: usize,
) -> Result<(Vec<pb::TimelineItem>, bool), Status> {
    let platform = &desk.platform;
    on_record(platform, asking, || async {
        let sight = Sight::load(platform, case).await?;
        let access = sight.access(&asking.viewer, platform.today());
        let mut found: Vec<Disclosure> = Vec::new();
        let mut at = after.unwrap_or(0);
        let on_page = |found: &[Disclosure]| size.min(page::fitting(lengths(found)));
        while found.len() == on_page(&found) {
            let rows = desk.views.feed_of_case(asking.post(), case, at, size + 1).await;
            let rows = rows.map_err(|e| errors::views(&e))?;
            let Some(last) = rows.last().map(|row| row.number) else { break };
            at = last;
            // The same look at the circle for every chunk, so that one record holds for all of them.
            found.extend(chunk(platform, asking, &rows, &sight).await?);
        }
        let fitting = on_page(&found);
        let more = found.len() > fitting;
        found.truncate(fitting);
        if found.is_empty() && after.is_none() && !access.in_circle() {
            return Err(tasuki_kit::errors::not_found());
        }
        let mut disclosed = Disclosed::default();
        if !found.is_empty() || access.in_circle() {
            disclosed.by((case, sight.epoch), access.rules());
            disclosed.add(Some((case, sight.epoch)), [], [], access.grants());
        }
        for Disclosure { item, fact_keys } in &found {
            let event = Uuid::try_parse(&item.event_id).ok();
            disclosed.add(Some((case, sight.epoch)), event, fact_keys.iter().cloned(), []);
        }
        Ok(((found.into_iter().map(|d| d.item).collect(), more), disclosed))
    })
    .await
}

fn lengths(found: &[Disclosure]) -> impl Iterator<Item = usize> {
    found.iter().map(|found| found.item.encoded_len())
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

async fn events_on_facts(platform: &Platform, case: CaseId) -> Result<Vec<(Record, Event)>, Status> {
    let records = platform.reader().stream(case.0, 0).await.map_err(errors::log)?;
    let records: Vec<Record> = records.into_iter().filter(card::bears_on_facts).collect();
    let keys: Vec<Uuid> = records.iter().flat_map(Record::key_ids).collect();
    platform.sealer().warm(&keys).await.map_err(errors::log)?;
    let mut events = Vec::with_capacity(records.len());
    for record in records {
        match platform.reader().open(platform.sealer(), &record).await {
            Ok(event) => events.push((record, event)),
            // A part of the case that nobody knows any more.
            Err(LogError::Erased { .. }) => {}
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
