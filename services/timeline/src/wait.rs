//! Reading one's own write: a query waits until the views hold the event that its caller names.

use std::time::Duration;

use tasuki_domain::refusal::Violation;
use tasuki_kit::errors::{invalid_field, view_behind};
use tokio::time::Instant;
use tonic::Status;
use uuid::Uuid;

use crate::desk::Desk;
use crate::errors;

/// Longer than this a caller is not kept waiting; its own deadline may end the wait earlier.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// A signal that is lost costs no more than this.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Waits until the views hold the event; an empty text and an unknown event do not wait.
///
/// Errors: `after_event_id` NOT_A_UUID; `VIEW_BEHIND` after ten seconds; `DRAINING`.
pub(crate) async fn until_viewed(desk: &Desk, after_event_id: &str) -> Result<(), Status> {
    if after_event_id.is_empty() {
        return Ok(());
    }
    let event = Uuid::try_parse(after_event_id)
        .map_err(|_| invalid_field("after_event_id", Violation::NOT_A_UUID))?;
    let Some(position) = desk.platform.reader().position_of(event).await.map_err(errors::log)? else {
        return Ok(());
    };
    let mut reach = desk.options.signals.reach();
    let end = Instant::now() + WAIT_MAX;
    loop {
        reach.mark();
        let reached = desk.views.position().await.map_err(|e| errors::views(&e))?;
        if reached.position >= position {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(view_behind());
        }
        tokio::select! {
            () = desk.options.drain.cancelled() => return Err(errors::draining()),
            () = reach.reaches(position) => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
