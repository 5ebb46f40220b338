//! Reading one's own write in a list: it waits until the views hold the event that its caller names.
//!
//! By looking again: a list is asked for rarely, and this service hears of no signal.

use std::time::Duration;

use tasuki_domain::refusal::Violation;
use tasuki_kit::{Platform, errors};
use tasuki_views::Views;
use tokio::time::Instant;
use tonic::Status;
use uuid::Uuid;

/// Longer than this a caller is not kept waiting; its own deadline may end the wait earlier.
const WAIT_MAX: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The event that a request names; `None` where it names none.
///
/// Errors: `after_event_id` NOT_A_UUID.
pub(crate) fn named(after_event_id: &str) -> Result<Option<Uuid>, Status> {
    if after_event_id.is_empty() {
        return Ok(None);
    }
    let event = Uuid::try_parse(after_event_id);
    event.map(Some).map_err(|_| errors::invalid_field("after_event_id", Violation::NOT_A_UUID))
}

/// Waits until the views hold the event; an unknown one is not waited for.
///
/// Errors: `VIEW_BEHIND` after ten seconds; faults.
pub(crate) async fn until_viewed(platform: &Platform, views: &Views, event: Uuid) -> Result<(), Status> {
    let Some(position) = platform.reader().position_of(event).await.map_err(|e| errors::fault(&e))? else {
        return Ok(());
    };
    let end = Instant::now() + WAIT_MAX;
    while views.position().await.map_err(|e| errors::view_fault(&e))?.position < position {
        if Instant::now() >= end {
            return Err(errors::view_behind());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
