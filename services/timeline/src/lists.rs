//! The caseload and the duties of a post.
//!
//! Both come from views that hold ids and codes; the policy is asked for the responsible post only. What a post owes
//! and where it stands is its own part.

use tasuki_contract::DataClass;
use tasuki_contract::common::v1::Date;
use tasuki_contract::timeline::v1 as pb;
use tasuki_domain::ids::CaseId;
use tasuki_domain::refusal::Violation;
use tasuki_kit::errors::invalid_field;
use tasuki_kit::page;
use tasuki_kit::reading::{Disclosed, on_record};
use tasuki_log::read::timestamp;
use tasuki_privacy::Level;
use tasuki_views::{CaseloadRow, DutyRow};
use tonic::Status;
use uuid::Uuid;

use crate::asking::Asking;
use crate::desk::Desk;
use crate::errors;
use crate::sight;
use crate::wait;

/// The cases in whose circle the caller's post stands, in the order of their ids.
pub(crate) async fn caseload(
    desk: &Desk,
    asking: &Asking,
    request: &pb::ListCaseloadRequest,
) -> Result<pb::ListCaseloadResponse, Status> {
    let size = page::size(request.page_size)?;
    let keyring = desk.platform.keyring();
    let post = asking.post();
    let bound: [&[u8]; 2] = [post.0.as_bytes(), b"ListCaseload"];
    let place = page::place(keyring, &bound, &request.page_token)?;
    let after = place.map(|p| Uuid::from_slice(&p).map(CaseId).map_err(|_| bad_token())).transpose()?;
    wait::until_viewed(desk, &request.after_event_id).await?;
    on_record(&desk.platform, asking, || async {
        let rows = desk.views.caseload(post, after, size + 1).await;
        let mut rows = rows.map_err(|e| errors::views(&e))?;
        let more = rows.len() > size;
        rows.truncate(size);
        let next = more.then(|| rows.last().map(|row| page::token(keyring, &bound, row.case.0.as_bytes())));
        let next_page_token = next.flatten().unwrap_or_default();
        let (cases, disclosed) = entries(desk, asking, &rows).await?;
        Ok((pb::ListCaseloadResponse { cases, next_page_token }, disclosed))
    })
    .await
}

/// The entries, with what they disclose.
async fn entries(
    desk: &Desk,
    asking: &Asking,
    rows: &[CaseloadRow],
) -> Result<(Vec<pb::CaseloadEntry>, Disclosed), Status> {
    let platform = &desk.platform;
    let last: Vec<Uuid> = rows.iter().filter_map(|row| row.last_event_id).collect();
    let (sights, records) =
        futures::try_join!(sight::load_all(platform, rows.iter().map(|row| row.case)), async {
            platform.reader().events(&last).await.map_err(errors::log)
        })?;
    let recorded_at = |event: Uuid| {
        let text = event.to_string();
        records.iter().find(|r| r.header.event_id == text).map(|r| timestamp(r.recorded_at_us))
    };
    let day = desk.platform.today();
    let mut disclosed = Disclosed::default();
    let mut cases = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(sight) = sights.get(&row.case) else { continue };
        let access = sight.access(&asking.viewer, day);
        // The view may be a moment behind the log: who has left the circle since is not told of it again.
        if !access.in_circle() {
            continue;
        }
        let lead = row.lead.filter(|_| access.class_level(DataClass::Lead) == Level::Full);
        disclosed.by((row.case, sight.epoch), access.rules());
        disclosed.add(Some((row.case, sight.epoch)), [], [], access.grants());
        cases.push(pb::CaseloadEntry {
            case_id: row.case.to_string(),
            relations: row.relations.iter().map(|r| *r as i32).collect(),
            lead_post_id: lead.map(String::from).unwrap_or_default(),
            open_duties: i32::try_from(row.open_duties).unwrap_or(i32::MAX),
            last_item_at: row.last_event_id.and_then(recorded_at),
        });
    }
    Ok((cases, disclosed))
}

/// What the caller's post owes, the earliest due first, those without a date last.
pub(crate) async fn duties(
    desk: &Desk,
    asking: &Asking,
    request: &pb::ListDutiesRequest,
) -> Result<pb::ListDutiesResponse, Status> {
    let size = page::size(request.page_size)?;
    let keyring = desk.platform.keyring();
    let post = asking.post();
    let bound: [&[u8]; 2] = [post.0.as_bytes(), b"ListDuties"];
    let place = page::place(keyring, &bound, &request.page_token)?;
    let after = place.map(|p| duty_place(&p).ok_or_else(bad_token)).transpose()?;
    wait::until_viewed(desk, &request.after_event_id).await?;
    on_record(&desk.platform, asking, || async {
        let rows = desk.views.duties(post, after, size + 1).await;
        let mut rows = rows.map_err(|e| errors::views(&e))?;
        let more = rows.len() > size;
        rows.truncate(size);
        let next =
            more.then(|| rows.last().map(|row| page::token(keyring, &bound, &place_of(row)))).flatten();
        let mut cases: Vec<Uuid> = rows.iter().filter_map(|row| row.case.map(|case| case.0)).collect();
        cases.sort_unstable();
        cases.dedup();
        let epochs = desk.platform.reader().disclosure_epochs(&cases).await.map_err(errors::log)?;
        let mut disclosed = Disclosed::default();
        for (id, epoch) in epochs {
            disclosed.add(Some((CaseId(id), epoch)), [], [], []);
        }
        if rows.iter().any(|row| row.case.is_none()) {
            disclosed.add(None, [], [], []);
        }
        let duties = rows.iter().map(duty).collect();
        Ok((pb::ListDutiesResponse { duties, next_page_token: next.unwrap_or_default() }, disclosed))
    })
    .await
}

fn duty(row: &DutyRow) -> pb::Duty {
    pb::Duty {
        duty_id: row.duty_id.to_string(),
        kind: row.kind as i32,
        case_id: row.case.map(String::from).unwrap_or_default(),
        subject_id: row.subject_id.to_string(),
        due_on: row.due_day.and_then(date),
    }
}

fn date(day: i32) -> Option<Date> {
    let date = jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(day)).ok()?;
    Some(Date { year: date.year().into(), month: date.month().into(), day: date.day().into() })
}

/// Due day and id of the last duty of a page; the day is left out where there is none.
fn place_of(row: &DutyRow) -> Vec<u8> {
    let mut place = row.duty_id.as_bytes().to_vec();
    place.extend(row.due_day.iter().flat_map(|day| day.to_be_bytes()));
    place
}

fn duty_place(place: &[u8]) -> Option<(Option<i32>, Uuid)> {
    let (id, day) = place.split_first_chunk::<16>()?;
    let day = match day {
        [] => None,
        day => Some(i32::from_be_bytes(day.try_into().ok()?)),
    };
    Some((day, Uuid::from_bytes(*id)))
}

fn bad_token() -> Status {
    invalid_field("page_token", Violation::NOT_ALLOWED)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tasuki_contract::event::v1::DutyKind;

    use super::*;

    fn row(due_day: Option<i32>) -> DutyRow {
        let (duty_id, subject_id) = (Uuid::from_u128(1), Uuid::from_u128(2));
        DutyRow { duty_id, kind: DutyKind::DutyAnswer, case: None, subject_id, due_day }
    }

    #[test]
    fn a_place_among_duties_comes_back_with_and_without_a_date() {
        for day in [None, Some(0), Some(20_000), Some(-1)] {
            assert_eq!(duty_place(&place_of(&row(day))), Some((day, Uuid::from_u128(1))));
        }
        assert_eq!(duty_place(&[0; 15]), None);
        assert_eq!(duty_place(&[0; 18]), None);
    }

    #[test]
    fn a_due_day_is_a_calendar_date() {
        assert_eq!(duty(&row(Some(20_000))).due_on, Some(Date { year: 2024, month: 10, day: 4 }));
        assert_eq!(duty(&row(None)).due_on, None);
    }
}
