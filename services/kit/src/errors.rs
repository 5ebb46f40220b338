//! Refusals and faults as gRPC statuses with `google.rpc` details.
//!
//! `ErrorInfo.reason` is stable: clients branch on it. `LocalizedMessage` says it in Japanese, the status message in
//! English. Nothing here repeats what a field held.

use std::time::Duration;

use tasuki_auth::AuthError;
use tasuki_domain::ids::CaseId;
use tasuki_domain::refusal::{Kind, Reason, Refusal, Violation, state_ja};
use tasuki_log::{AppendError, LogError};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// `ErrorInfo.domain` of every error.
pub const DOMAIN: &str = "tasuki";

/// A status travels in headers, of which clients take as little as 8 KiB: more than that would reach nobody. The
/// details go there in base64, which takes a third more, beside a message with the names.
const VIOLATIONS_BYTES_MAX: usize = 4_400;
/// What a violation takes beside its texts.
const VIOLATION_BYTES: usize = 12;

/// A status with a stable reason and a text in both languages.
pub fn status(code: Code, reason: &str, en: &str, ja: &str) -> Status {
    Status::with_error_details(code, en, details(reason, ja))
}

/// A refusal of the domain.
pub fn refused(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Invalid(violations) => invalid(violations),
        Refusal::Reason(reason) => reasoned(*reason),
        Refusal::State(code) => in_state(code),
        Refusal::Merged(into) => merged(*into),
    }
}

/// `WRONG_STATE`, with the present state in both texts and as `state` in the metadata of `ErrorInfo`.
fn in_state(code: &str) -> Status {
    let reason = Reason::WrongState;
    let mut all =
        ErrorDetails::with_error_info(reason.code(), DOMAIN, [("state".to_owned(), code.to_owned())]);
    all.set_localized_message("ja", format!("{}(現在: {})", reason.ja(), state_ja(code)));
    Status::with_error_details(Code::FailedPrecondition, format!("{} (now: {code})", reason.en()), all)
}

/// `CASE_MERGED`, with the case that goes on as `survivor_case_id` in the metadata of `ErrorInfo`.
fn merged(into: CaseId) -> Status {
    let reason = Reason::CaseMerged;
    let survivor = [("survivor_case_id".to_owned(), into.to_string())];
    let mut all = ErrorDetails::with_error_info(reason.code(), DOMAIN, survivor);
    all.set_localized_message("ja", reason.ja());
    Status::with_error_details(Code::FailedPrecondition, reason.en(), all)
}

/// A post has searched for more children than it may in an hour.
pub fn search_limit() -> Status {
    let ja = "この窓口の検索回数の上限に達しました。しばらくしてからお試しください";
    let mut all = details("SEARCH_LIMIT", ja);
    all.set_retry_info(Some(Duration::from_secs(120)));
    let en = "the post has searched as often as it may for now; try again later";
    Status::with_error_details(Code::ResourceExhausted, en, all)
}

/// Not found: the one answer for what does not exist and what is not the caller's to know of.
pub fn not_found() -> Status {
    reasoned(Reason::NotFound)
}

/// Malformed fields, each named with its stable reason, a colon, and what that means in both languages: as many of
/// the first ones as fit.
pub fn invalid(violations: &[Violation]) -> Status {
    let mut fields: Vec<FieldViolation> = Vec::new();
    let mut bytes = 0;
    for violation in violations {
        let description = violation.describe();
        bytes += 2 * violation.field.len() + description.len() + VIOLATION_BYTES;
        if bytes > VIOLATIONS_BYTES_MAX && !fields.is_empty() {
            break;
        }
        fields.push(FieldViolation::new(violation.field.as_str(), description));
    }
    let told = &violations[..fields.len()];
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
    invalid(&[Violation::new(field, why)])
}

/// One field or metadata entry with a code that is none, and where the codes stand.
pub fn unknown_code(field: &str, see: String) -> Status {
    invalid(&[Violation { see, ..Violation::new(field, Violation::UNKNOWN_CODE) }])
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
        LogError::Erased { .. } => return reasoned(Reason::CaseErased),
        LogError::UnknownAlgorithm { .. } => {
            tracing::error!(%error, "a part that this binary cannot open");
            return status(
                Code::Unimplemented,
                "SEALED_OTHERWISE",
                "this server is too old to open it; its operator must look",
                "このサーバーでは開けない形式です。管理者にお知らせください",
            );
        }
        LogError::Keys(_)
        | LogError::OtherKeyring { .. }
        | LogError::MasterMissing { .. }
        | LogError::NoKeyStore { .. } => {
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

    #[test]
    fn however_many_fields_are_malformed_their_description_fits_into_the_headers() {
        let see = "decline_reason in crates/domain/data/codes.json";
        let one = |i: usize| Violation {
            see: see.to_owned(),
            ..Violation::new(format!("facts[{i}].value"), Violation::UNKNOWN_CODE)
        };
        let status = invalid(&(0..1_000).map(one).collect::<Vec<_>>());
        let headers = status.details().len() * 4 / 3 + status.message().len();
        assert!(headers < 7_500, "{headers} bytes");
        let told = status.get_error_details();
        let told = told.bad_request().map_or(0, |bad| bad.field_violations.len());
        assert!(told > 20 && status.message().ends_with(&format!(" and {} more", 1_000 - told)), "{told}");
    }

    #[test]
    fn a_state_that_may_be_known_is_named_in_both_languages_and_for_programs() {
        let status = refused(&Refusal::State("needs_routing"));
        assert!(status.message().ends_with("(now: needs_routing)"));
        let details = status.get_error_details();
        assert_eq!(details.error_info().map(|info| info.reason.as_str()), Some("WRONG_STATE"));
        let state = details.error_info().and_then(|info| info.metadata.get("state"));
        assert_eq!(state.map(String::as_str), Some("needs_routing"));
        assert!(details.localized_message().is_some_and(|text| text.message.contains("次の依頼先")));
    }
}
