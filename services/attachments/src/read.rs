//! Reading documents: what is known of one, of all of a case, and the bytes, each on record before it leaves.
//!
//! A document is read exactly as an event of its class: told, in part or in full, or not at all. Of what a caller is
//! not told it gets the answer of what does not exist.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tasuki_contract::attachments::v1 as pb;
use tasuki_contract::{DataClass, Event};
use tasuki_domain::attachment::{self, AttachmentState};
use tasuki_domain::case::CaseState;
use tasuki_domain::ids::{AttachmentId, CaseId};
use tasuki_domain::refusal::Violation;
use tasuki_kit::reading::{Asking, Disclosed, day_of, on_record};
use tasuki_kit::{Platform, errors, page};
use tasuki_log::read::timestamp;
use tasuki_log::{LogError, Record};
use tasuki_privacy::{Access, Level};
use tonic::{Code, Status};
use uuid::Uuid;

pub(crate) async fn get(
    platform: &Platform,
    asking: &Asking,
    request: &pb::GetAttachmentRequest,
) -> Result<pb::GetAttachmentResponse, Status> {
    let id = parse("attachment_id", &request.attachment_id)?;
    on_record(platform, asking, || async {
        let sight = Sight::of_attachment(platform, id).await?;
        let (known, record) = sight.record(platform, id).await?;
        let access = sight.access(platform, asking);
        let shown = shown(platform, &sight, &access, id, &record).await?.ok_or_else(errors::not_found)?;
        let mut disclosed = Disclosed::default();
        disclosed.add(Some((sight.case, sight.epoch)), [known.event], [], access.grants());
        disclosed.by((sight.case, sight.epoch), access.rules());
        Ok((pb::GetAttachmentResponse { attachment: Some(shown) }, disclosed))
    })
    .await
}

pub(crate) async fn chunk(
    platform: &Platform,
    asking: &Asking,
    request: &pb::ReadChunkRequest,
) -> Result<pb::ReadChunkResponse, Status> {
    let id = parse("attachment_id", &request.attachment_id)?;
    let last = attachment::chunks(attachment::SIZE_BYTES_MAX) - 1;
    if !(0..=last).contains(&request.index) {
        return Err(errors::invalid_field("index", Violation::OUT_OF_RANGE));
    }
    on_record(platform, asking, || async {
        let sight = Sight::of_attachment(platform, id).await?;
        let (known, record) = sight.record(platform, id).await?;
        let access = sight.access(platform, asking);
        let then = access.of_what_was_recorded_on(recorded_on(&record));
        let lens = then.event_of(&record.header);
        if !lens.is_told() {
            return Err(errors::not_found());
        }
        if lens.level() < Level::Full {
            return Err(withheld());
        }
        if attachment::chunk_bytes(known.size_bytes, request.index).is_none() {
            return Err(errors::invalid_field("index", Violation::OUT_OF_RANGE));
        }
        let added = opened(platform, &sight, &record).await?.ok_or_else(gone)?;
        let data = match platform.attachments().chunk(id, &added.sha256, request.index).await {
            Ok(data) => data.ok_or_else(gone)?,
            Err(LogError::Unopenable { .. } | LogError::Erased { .. }) => return Err(gone()),
            Err(error) => return Err(errors::fault(&error)),
        };
        let mut disclosed = Disclosed::default();
        disclosed.add(Some((sight.case, sight.epoch)), [known.event], [], access.grants());
        disclosed.by((sight.case, sight.epoch), access.rules());
        Ok((pb::ReadChunkResponse { data }, disclosed))
    })
    .await
}

pub(crate) async fn list(
    platform: &Platform,
    asking: &Asking,
    request: &pb::ListAttachmentsRequest,
) -> Result<pb::ListAttachmentsResponse, Status> {
    let case = CaseId(parse("case_id", &request.case_id)?);
    let size = page::size(request.page_size)?;
    let post = asking.post();
    let bound: [&[u8]; 3] = [b"ListAttachments", post.0.as_bytes(), case.0.as_bytes()];
    let place = page::place(platform.keyring(), &bound, &request.page_token)?;
    let after = place.and_then(|place| Uuid::from_slice(&place).ok()).unwrap_or_default();
    on_record(platform, asking, || async {
        let sight = Sight::of_case(platform, case).await?;
        let access = sight.access(platform, asking);
        let events: Vec<Uuid> = sight.state.attachments.values().map(|known| known.event).collect();
        let records = platform.reader().events(&events).await.map_err(|e| errors::fault(&e))?;
        let told = told(&sight, &access, &records);
        // Who is no part of it must not tell a case from none; its own documents stay its own.
        if !access.in_circle() && told.is_empty() {
            return Err(errors::not_found());
        }
        let begins = told.partition_point(|(id, _)| *id <= after);
        let here = &told[begins..told.len().min(begins + size)];
        let mut attachments = Vec::with_capacity(here.len());
        let mut disclosed = Disclosed::default();
        for (id, record) in here {
            let Some(shown) = shown(platform, &sight, &access, *id, record).await? else { continue };
            let event = Uuid::try_parse(&record.header.event_id).unwrap_or_default();
            disclosed.add(Some((case, sight.epoch)), [event], [], access.grants());
            attachments.push(shown);
        }
        disclosed.by((case, sight.epoch), access.rules());
        let next_page_token = match here.last() {
            Some((last, _)) if begins + here.len() < told.len() => {
                page::token(platform.keyring(), &bound, last.as_bytes())
            }
            _ => String::new(),
        };
        let withheld = |class: &DataClass| access.class_level(*class) < Level::Full;
        let withheld_classes =
            attachment::CLASSES.into_iter().filter(withheld).map(|class| class as i32).collect();
        Ok((pb::ListAttachmentsResponse { attachments, next_page_token, withheld_classes }, disclosed))
    })
    .await
}

/// The documents of the case of which the viewer is told, in the order of their ids.
fn told<'r>(sight: &Sight, access: &Access<'_>, records: &'r [Record]) -> Vec<(Uuid, &'r Record)> {
    let by_event: HashMap<Uuid, &Record> = records
        .iter()
        .filter_map(|record| Some((Uuid::try_parse(&record.header.event_id).ok()?, record)))
        .collect();
    let one = |(id, known): (&AttachmentId, &AttachmentState)| {
        let record: &'r Record = by_event.get(&known.event)?;
        let then = access.of_what_was_recorded_on(recorded_on(record));
        then.event_of(&record.header).is_told().then_some((id.0, record))
    };
    sight.state.attachments.iter().filter_map(one).collect()
}

/// A case with its disclosure epoch, both of the same instant.
struct Sight {
    case: CaseId,
    epoch: u64,
    state: Arc<CaseState>,
}

impl Sight {
    async fn of_case(platform: &Platform, case: CaseId) -> Result<Self, Status> {
        let loaded = platform.cases_with_epochs(&[case]).await.map_err(|e| errors::fault(&e))?;
        let (case, epoch, state) = loaded.into_iter().next().ok_or_else(errors::not_found)?;
        Ok(Self { case, epoch, state })
    }

    async fn of_attachment(platform: &Platform, id: Uuid) -> Result<Self, Status> {
        let case =
            platform.case_of(id).await.map_err(|e| errors::fault(&e))?.ok_or_else(errors::not_found)?;
        Self::of_case(platform, case).await
    }

    fn access<'a>(&'a self, platform: &Platform, asking: &'a Asking) -> Access<'a> {
        let rules = platform.directory().in_force(&self.state.municipality_code, asking.viewer.agency);
        Access::of_case(&asking.viewer, &self.state, rules, platform.today())
    }

    /// The document with the row of its event; an id of something else is that of no document.
    async fn record(&self, platform: &Platform, id: Uuid) -> Result<(&AttachmentState, Record), Status> {
        let known = self.state.attachments.get(&AttachmentId(id)).ok_or_else(errors::not_found)?;
        let found = platform.reader().events(&[known.event]).await.map_err(|e| errors::fault(&e))?;
        Ok((known, found.into_iter().next().ok_or_else(errors::not_found)?))
    }
}

/// A document as far as the viewer may know of it; `None` where it may not.
async fn shown(
    platform: &Platform,
    sight: &Sight,
    access: &Access<'_>,
    id: Uuid,
    record: &Record,
) -> Result<Option<pb::Attachment>, Status> {
    let header = &record.header;
    let then = access.of_what_was_recorded_on(recorded_on(record));
    let lens = then.event_of(header);
    let rule = Event::rule_of(&header.r#type).ok_or_else(errors::not_found)?;
    if !lens.is_told() {
        return Ok(None);
    }
    let content = match opened(platform, sight, record).await? {
        Some(added) if lens.level() > Level::Existence => match lens.redact(added.into()) {
            Some(Event::AttachmentAdded(content)) => Some(content),
            _ => None,
        },
        _ => None,
    };
    Ok(Some(pb::Attachment {
        attachment_id: id.to_string(),
        case_id: sight.case.to_string(),
        event_id: header.event_id.clone(),
        agency_id: header.agency_id.clone(),
        post_id: header.post_id.clone(),
        recorded_at: Some(timestamp(record.recorded_at_us)),
        data_class: header.data_class,
        readable: lens.level() == Level::Full && content.is_some(),
        content,
        withheld_classes: lens.withheld_classes(rule).into_iter().map(|class| class as i32).collect(),
    }))
}

/// The day of recording in Asia/Tokyo, as days since 1970-01-01.
fn recorded_on(record: &Record) -> i32 {
    day_of(Timestamp::from_microsecond(record.recorded_at_us).unwrap_or_default())
}

/// The event with everything in it; `None` where its key is gone.
async fn opened(
    platform: &Platform,
    sight: &Sight,
    record: &Record,
) -> Result<Option<pb::AttachmentAdded>, Status> {
    // What is to be erased is served to nobody from its confirmation on.
    if sight.state.erasure.is_confirmed() {
        return Ok(None);
    }
    match platform.reader().open(platform.sealer(), record).await {
        Ok(Event::AttachmentAdded(added)) => Ok(Some(added)),
        Ok(_) | Err(LogError::Unopenable { .. } | LogError::Erased { .. }) => Ok(None),
        Err(error) => Err(errors::fault(&error)),
    }
}

fn parse(field: &'static str, text: &str) -> Result<Uuid, Status> {
    let why = if text.is_empty() { Violation::MISSING } else { Violation::NOT_A_UUID };
    Uuid::try_parse(text).map_err(|_| errors::invalid_field(field, why))
}

/// The caller knows that it is there, and may not read it: never the answer of what is absent.
fn withheld() -> Status {
    errors::status(
        Code::PermissionDenied,
        "CONTENT_WITHHELD",
        "the bytes are withheld from you; who added the document may tell you more",
        "この書類の内容は閲覧できません。詳しくは添付した窓口にお尋ねください",
    )
}

/// The key of the case is gone, and the bytes with it; or they were altered.
pub(crate) fn gone() -> Status {
    errors::status(
        Code::FailedPrecondition,
        "CONTENT_GONE",
        "the content has been erased or can no longer be opened",
        "内容は消去されたか、開けない状態です",
    )
}
