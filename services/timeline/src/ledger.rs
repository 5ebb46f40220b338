//! The ledger of a case: who read or asked, when, why and what, for those whom it concerns.
//!
//! A viewer learns of a read as far as it may read the same itself: an event that it does not see is left out of the
//! record of its reading, and a record of nothing else is left out whole. So who reads in a sealed circle, or what a
//! guardian was not told, is no more to be seen here than elsewhere. What asks and is shown nothing is listed too.

use std::collections::HashMap;

use jiff::Timestamp;
use tasuki_contract::DataClass;
use tasuki_contract::event::v1::Header;
use tasuki_contract::timeline::v1 as pb;
use tasuki_domain::ids::CaseId;
use tasuki_domain::refusal::Violation;
use tasuki_kit::errors::invalid_field;
use tasuki_kit::page;
use tasuki_kit::reading::{Disclosed, on_record};
use tasuki_log::read::timestamp;
use tasuki_log::{ReadPlace, RecordedRead};
use tasuki_privacy::{Access, Level, PERSONAL};
use tonic::Status;
use uuid::Uuid;

use crate::asking::{Asking, day_of};
use crate::desk::Desk;
use crate::errors;
use crate::ledger_words as words;
use crate::redact;
use crate::sight::Sight;

/// Records that are looked at together at least: a page of one would else ask for each that is hidden.
const ROWS_MIN: usize = 200;

/// The reads of a case that the caller may learn of, the newest first.
pub(crate) async fn reads(
    desk: &Desk,
    asking: &Asking,
    request: &pb::ListReadsRequest,
) -> Result<pb::ListReadsResponse, Status> {
    let case = CaseId::parse("case_id", &request.case_id).map_err(|r| tasuki_kit::errors::refused(&r))?;
    let size = page::size(request.page_size)?;
    let (keyring, post) = (desk.platform.keyring(), asking.post());
    let bound: [&[u8]; 3] = [post.0.as_bytes(), b"ListReads", case.0.as_bytes()];
    let before =
        page::place(keyring, &bound, &request.page_token)?.map(|place| unpack(&place)).transpose()?;
    on_record(&desk.platform, asking, || async {
        let sight = Sight::load(&desk.platform, case).await?;
        let access = sight.access(&asking.viewer, day_of(Timestamp::now()));
        if !access.in_circle() {
            return Err(tasuki_kit::errors::not_found());
        }
        let level = access.class_level(DataClass::ReaderLog);
        let own = level == Level::None && access.has_own_part(DataClass::ReaderLog);
        let mut shown = Vec::new();
        if level > Level::Existence || own {
            let whose = own.then_some(asking.viewer.agency.0);
            let level = if own { Level::Own } else { level };
            // At least one more than the page, so that it is known whether there are more.
            let mut from = before;
            while shown.len() <= size {
                let reader = desk.platform.reader();
                let rows = reader
                    .reads_of_case(case.0, whose, from, (size + 1).max(ROWS_MIN))
                    .await
                    .map_err(errors::log)?;
                let Some(last) = rows.last() else { break };
                from = Some((last.at_us, last.id));
                shown.extend(seen(desk, &access, level, &rows).await?);
            }
        }
        let more = shown.len() > size;
        shown.truncate(size);
        let next =
            shown.last().filter(|_| more).map(|(place, _)| page::token(keyring, &bound, &pack(*place)));
        let mut disclosed = Disclosed::default();
        disclosed.add(Some((case, sight.epoch)), [], [], access.grants());
        disclosed.by((case, sight.epoch), access.rules());
        let reads = shown.into_iter().map(|(_, read)| read).collect();
        Ok((pb::ListReadsResponse { reads, next_page_token: next.unwrap_or_default() }, disclosed))
    })
    .await
}

/// Those of the records that the viewer learns of, each with its place.
async fn seen(
    desk: &Desk,
    access: &Access<'_>,
    level: Level,
    rows: &[RecordedRead],
) -> Result<Vec<(ReadPlace, pb::CaseRead)>, Status> {
    let mut ids: Vec<Uuid> = rows.iter().flat_map(|row| row.events.iter().copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    let headers = desk.platform.reader().headers(&ids).await.map_err(errors::log)?;
    let by_id = |header: Header| Some((Uuid::try_parse(&header.event_id).ok()?, header));
    let headers: HashMap<Uuid, Header> = headers.into_iter().filter_map(by_id).collect();
    let directory = desk.platform.directory();
    let read = |row: &RecordedRead| {
        let what = What::of(access, &headers, row)?;
        let read = words::read(&directory, row, &what.classes, &what.keys, level);
        let read =
            pb::CaseRead { read_at: Some(timestamp(row.at_us)), level: redact::level(level) as i32, ..read };
        Some(((row.at_us, row.id), read))
    };
    Ok(rows.iter().filter_map(read).collect())
}

/// What of a read the viewer may know.
struct What {
    classes: Vec<DataClass>,
    keys: Vec<String>,
}

impl What {
    /// `None`: nothing at all, since it was of events that the viewer does not see.
    fn of(access: &Access<'_>, headers: &HashMap<Uuid, Header>, row: &RecordedRead) -> Option<Self> {
        let lenses: Vec<_> = row
            .events
            .iter()
            .filter_map(|id| headers.get(id))
            .map(|header| (header, access.event_of(header)))
            .filter(|(_, lens)| lens.level() > Level::None)
            .collect();
        let hidden = !row.events.is_empty() && lenses.is_empty();
        let has = |class: &DataClass| {
            lenses.iter().any(|(header, lens)| {
                let holds = header.data_class == *class as i32 || header.classes.contains(&(*class as i32));
                holds && lens.class_level(*class) > Level::None
            })
        };
        let may_know = |key: &&String| {
            access.fact_level(key) > Level::None
                || lenses.iter().any(|(_, lens)| lens.fact_level(key) > Level::None)
        };
        let keys = row.fact_keys.iter().filter(may_know).cloned().collect();
        let classes = PERSONAL.into_iter().filter(has).collect();
        (!hidden).then_some(Self { classes, keys })
    }
}

fn pack((at_us, id): ReadPlace) -> Vec<u8> {
    [at_us.to_be_bytes().as_slice(), id.as_bytes()].concat()
}

fn unpack(place: &[u8]) -> Result<ReadPlace, Status> {
    let bad = || invalid_field("page_token", Violation::NOT_ALLOWED);
    let (at, id) = place.split_first_chunk::<8>().ok_or_else(bad)?;
    Ok((i64::from_be_bytes(*at), Uuid::from_slice(id).map_err(|_| bad())?))
}
