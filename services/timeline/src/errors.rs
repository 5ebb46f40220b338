//! The statuses that only this service gives, and faults of the views.
//!
//! Reasons are stable. Nothing here says more about an unknown thing than about a foreign one.

use std::time::Duration;

use tasuki_kit::errors::{self, DOMAIN};
use tasuki_log::{AppendError, LogError};
use tasuki_views::ViewError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// A fault of the views.
pub(crate) fn views(error: &ViewError) -> Status {
    errors::view_fault(error)
}

/// A fault of the log.
pub(crate) fn log(error: LogError) -> Status {
    errors::fault(&error)
}

/// What may be read changed again and again while the answer was made.
pub(crate) fn changing() -> Status {
    errors::append_failed(&AppendError::Conflict)
}

/// What is wrong with a cursor, described as every malformed field is.
const CURSOR: &str =
    "CURSOR_INVALID: is not one that was given to this post / この窓口に渡されたカーソルではありません";

/// The cursor was not given by this installation to this post.
pub(crate) fn cursor_invalid() -> Status {
    let mut all = details("CURSOR_INVALID", "カーソルが正しくありません。空のカーソルから読み直してください");
    all.set_bad_request(vec![FieldViolation::new("cursor", CURSOR)]);
    Status::with_error_details(
        Code::InvalidArgument,
        "the cursor is not one that was given to this post",
        all,
    )
}

/// The log was restored or promoted since the cursor was given.
pub(crate) fn cursor_reset() -> Status {
    errors::status(
        Code::FailedPrecondition,
        "CURSOR_RESET",
        "the log was resumed since this cursor was given; read from the beginning",
        "記録が復旧されたため、このカーソルは使えません。最初から読み直してください",
    )
}

/// This process is going away: open the stream again with the last cursor.
pub(crate) fn draining() -> Status {
    let mut all = details("DRAINING", "サーバーが停止します。最後のカーソルから再接続してください");
    all.set_retry_info(Some(Duration::from_millis(200)));
    Status::with_error_details(Code::Unavailable, "this server is stopping; subscribe again", all)
}

/// The post, or this process, has as many streams and polls open as it may.
pub(crate) fn too_many_streams() -> Status {
    let mut all = details("TOO_MANY_STREAMS", "受信中の接続が多すぎます。使っていない接続を閉じてください");
    all.set_retry_info(Some(Duration::from_secs(5)));
    let message = "too many streams and polls are open; close those that are not used";
    Status::with_error_details(Code::ResourceExhausted, message, all)
}

/// The token of an open stream has ended.
pub(crate) fn token_expired() -> Status {
    errors::unauthenticated(&tasuki_auth::AuthError::Expired)
}

fn details(reason: &str, ja: &str) -> ErrorDetails {
    let mut all = ErrorDetails::with_error_info(reason, DOMAIN, []);
    all.set_localized_message("ja", ja);
    all
}
