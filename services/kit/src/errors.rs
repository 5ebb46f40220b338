//! Refusals and faults as gRPC statuses with `google.rpc` details.
//!
//! `ErrorInfo.reason` is stable: clients branch on it. `LocalizedMessage` says it in Japanese, the status message in
//! English. Nothing here repeats what a field held.

use std::time::Duration;

use tasuki_auth::AuthError;
use tasuki_domain::refusal::{Kind, Reason, Refusal, Violation};
use tasuki_log::{AppendError, LogError};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// `ErrorInfo.domain` of every error.
pub const DOMAIN: &str = "tasuki";

/// A status travels in headers, of which clients take as little as 8 KiB: more than that would reach nobody.
const VIOLATIONS_MAX: usize = 40;

/// A status with a stable reason and a text in both languages.
pub fn status(code: Code, reason: &str, en: &str, ja: &str) -> Status {
    Status::with_error_details(code, en, details(reason, ja))
}

/// A refusal of the domain.
pub fn refused(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Invalid(violations) => invalid(violations),
        Refusal::Reason(reason) => reasoned(*reason),
    }
}

/// Not found: the one answer for what does not exist and what is not the caller's to know of.
pub fn not_found() -> Status {
    reasoned(Reason::NotFound)
}

/// Malformed fields, each named: the first 40 of them.
pub fn invalid(violations: &[Violation]) -> Status {
    let told = &violations[..violations.len().min(VIOLATIONS_MAX)];
    let fields: Vec<FieldViolation> =
        told.iter().map(|v| FieldViolation::new(v.field.as_str(), v.why)).collect();
    let names: Vec<&str> = told.iter().map(|v| v.field.as_str()).collect();
    let mut text = format!("invalid: {}", names.join(", "));
    if violations.len() > told.len() {
        text.push_str(&format!(" and {} more", violations.len() - told.len()));
    }
    let mut all = details("INVALID_ARGUMENT", "入力に誤りがあります");
    all.set_bad_request(fields);
    Status::with_error_details(Code::InvalidArgument, text, all)
}

/// One malformed field or metadata entry.
pub fn invalid_field(field: &str, why: &'static str) -> Status {
    invalid(&[Violation { field: field.to_owned(), why }])
}

/// A token that does not let the caller in.
pub fn unauthenticated(error: &AuthError) -> Status {
    status(Code::Unauthenticated, error.reason(), &error.to_string(), "認証できません")
}

/// A fault of the infrastructure: worth another try, but for those that the same request meets each time.
pub fn fault(error: &LogError) -> Status {
    match error {
        LogError::OtherSubject => {
            return status(
                Code::Unimplemented,
                "OTHER_SUBJECT_UNSUPPORTED",
                "what concerns another person than the subject cannot be kept yet",
                "本人以外の方に関する情報は、まだ記録できません",
            );
        }
        LogError::Malformed { .. } => {
            tracing::error!(%error, "a command makes an event that the log does not take");
            return status(
                Code::Internal,
                "EVENT_MALFORMED",
                "the request cannot be recorded; trying again will not help",
                "この内容は記録できません。再試行しても解決しません",
            );
        }
        LogError::Keys(_) | LogError::OtherKeyring { .. } => {
            tracing::error!(%error, "keys");
            return status(
                Code::Internal,
                "KEYS_UNUSABLE",
                "this server's keys do not fit; its operator must look",
                "サーバーの鍵に問題があります。管理者にお知らせください",
            );
        }
        _ => {}
    }
    tracing::warn!(%error, "fault");
    let mut all = details("UNAVAILABLE", "一時的に利用できません。もう一度お試しください");
    all.set_retry_info(Some(Duration::from_millis(500)));
    Status::with_error_details(Code::Unavailable, "temporarily unavailable", all)
}

/// A fault of the views, in its own words for the log; the caller reads the same as of any other fault.
pub fn view_fault(error: &dyn std::fmt::Display) -> Status {
    fault(&LogError::Database(format!("views: {error}")))
}

/// A caller without a post, such as an operator, asks for what only a post can see.
pub fn post_required() -> Status {
    status(Code::PermissionDenied, "POST_REQUIRED", "only a post has views", "窓口として呼び出してください")
}

/// The views have not reached the event in the time that a caller may wait.
pub fn view_behind() -> Status {
    let mut all = details("VIEW_BEHIND", "反映が遅れています。もう一度お試しください");
    all.set_retry_info(Some(Duration::from_secs(1)));
    Status::with_error_details(Code::Unavailable, "the view has not reached that event yet", all)
}

/// What an append can end in, other than well.
pub fn append_failed(error: &AppendError) -> Status {
    match error {
        AppendError::Fault(fault_error) => fault(fault_error),
        AppendError::Overloaded => {
            let mut all = details("OVERLOADED", "混み合っています。少し待ってからお試しください");
            all.set_retry_info(Some(Duration::from_secs(1)));
            Status::with_error_details(Code::ResourceExhausted, "overloaded", all)
        }
        AppendError::RequestReused => status(
            Code::AlreadyExists,
            "REQUEST_ID_REUSED",
            "the request id was used with another request",
            "このリクエストIDは別の内容で使われています",
        ),
        AppendError::Conflict => {
            let mut all = details("CONFLICT", "同時に変更されました。もう一度お試しください");
            all.set_retry_info(Some(Duration::from_millis(100)));
            Status::with_error_details(Code::Aborted, "changed at the same time; try again", all)
        }
    }
}

fn reasoned(reason: Reason) -> Status {
    let code = match reason.kind() {
        Kind::Precondition => Code::FailedPrecondition,
        Kind::Denied => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::Aborted => Code::Aborted,
    };
    status(code, reason.code(), reason.en(), reason.ja())
}

fn details(reason: &str, ja: &str) -> ErrorDetails {
    let mut all = ErrorDetails::with_error_info(reason, DOMAIN, []);
    all.set_localized_message("ja", ja);
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_another_try_cannot_mend_invites_none() {
        let cases = [
            (LogError::OtherSubject, Code::Unimplemented, "OTHER_SUBJECT_UNSUPPORTED"),
            (LogError::Malformed { field: "events" }, Code::Internal, "EVENT_MALFORMED"),
            (LogError::Keys("no randomness".into()), Code::Internal, "KEYS_UNUSABLE"),
            (LogError::OtherKeyring { key: "master" }, Code::Internal, "KEYS_UNUSABLE"),
        ];
        for (error, code, reason) in cases {
            let status = append_failed(&AppendError::Fault(error));
            let details = status.get_error_details();
            assert_eq!((status.code(), details.error_info().unwrap().reason.as_str()), (code, reason));
            assert!(details.retry_info().is_none(), "{reason}");
            assert!(details.localized_message().is_some(), "{reason}");
        }
        let status = append_failed(&AppendError::Fault(LogError::Unavailable));
        assert!(status.code() == Code::Unavailable && status.get_error_details().retry_info().is_some());
    }
}
