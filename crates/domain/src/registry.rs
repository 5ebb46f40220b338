//! Keeping the directory: agencies, posts, holders, calendars, and each municipality's rules.
//!
//! The state of these decisions is the directory itself, looked at through [`Look`](crate::decision::Look), so that
//! the versions they rest on are noted. Nobody's name is kept here: holders are opaque subjects of the issuer.

use std::collections::BTreeSet;

use tasuki_contract::directory::v1 as pb;
use uuid::Uuid;

use crate::calendar::CalendarPart;
use crate::codes::Table;
use crate::decision::{Decided, Decision, Given, Kind, StreamRef};
use crate::directory::Directory;
use crate::effects::Doing;
use crate::ids::{AgencyId, PostId, credential_stream, municipality_stream};
use crate::policy::Policy;
use crate::refusal::{Checks, Reason, Refusal, Violation};
use crate::{days, fields, visibility};

const HOLDERS_MAX: usize = 50;
const SUBJECT_CHARS_MAX: usize = 200;
const CLOSED_SPANS_MAX: usize = 50;
const KINDS_MAX: usize = 60;

fn operator(given: &Given<'_>) -> Result<(), Refusal> {
    if given.actor.operator { Ok(()) } else { Err(Reason::OperatorOnly.into()) }
}

fn stream(kind: Kind, id: Uuid) -> StreamRef {
    StreamRef { kind, id }
}

fn directory<'a>(given: &Given<'a>, kind: Kind, id: Uuid) -> &'a Directory {
    given.directory.noting(stream(kind, id))
}

fn decided(kind: Kind, id: Uuid, event: impl Into<tasuki_contract::Event>) -> Decided {
    Doing::outside_cases().by(stream(kind, id), event)
}

/// What an event about the thing decides, with its revision: the version that its stream then has.
fn decision<R>(given: &Given<'_>, kind: Kind, id: Uuid, events: Vec<Decided>, reply: R) -> Decision<R> {
    let version = directory(given, kind, id).version(stream(kind, id));
    let revision = version + events.len() as u64;
    Decision { events, reply, item: Some((id, revision)) }
}

/// The id that a caller chose, if any. The nil id stands for an operator without a post, and for nobody.
fn chosen(checks: &mut Checks, field: &str, text: &str) -> Option<Uuid> {
    let id = fields::optional_id(checks, field, text);
    checks.require(!id.is_some_and(|id| id.is_nil()), field, Violation::NOT_ALLOWED);
    id
}

/// Registers an agency under the caller's id or a fresh one. Caller: operator.
///
/// `taken` says whether anything at all stands under the id that the caller chose: whatever it is answers alike.
/// Errors: malformed fields, `OPERATOR_ONLY`, `ALREADY_EXISTS`.
pub fn register_agency(
    request: &pb::RegisterAgencyRequest,
    taken: bool,
    given: &mut Given<'_>,
) -> Result<Decision<AgencyId>, Refusal> {
    operator(given)?;
    let mut checks = Checks::default();
    let chosen = chosen(&mut checks, "agency_id", &request.agency_id);
    fields::code(&mut checks, "kind", &[Table::AgencyKind], &request.kind);
    fields::text(&mut checks, "name_ja", &request.name_ja, fields::LABEL_CHARS_MAX);
    fields::text(&mut checks, "name_en", &request.name_en, fields::LABEL_CHARS_MAX);
    let code = &request.municipality_code;
    fields::municipality(&mut checks, "municipality_code", code);
    fields::telephone(&mut checks, "telephone", &request.telephone);
    let family = request.kind == crate::consent::FAMILY_KIND;
    // The directory is open to every agency; a family's telephone is not.
    checks.require(!family || request.telephone.is_empty(), "telephone", Violation::NOT_ALLOWED);
    checks.done()?;

    let id = AgencyId(chosen.unwrap_or_else(|| given.ids.fresh()));
    // Not noted where it is taken: a stream of another kind has another version than the directory knows.
    if taken || directory(given, Kind::Agency, id.0).agencies.contains_key(&id) {
        return Err(Reason::AlreadyExists.into());
    }
    let event = pb::AgencyRegistered {
        agency_id: id.into(),
        kind: request.kind.clone(),
        name_ja: request.name_ja.clone(),
        name_en: request.name_en.clone(),
        municipality_code: code.clone(),
        telephone: request.telephone.clone(),
    };
    Ok(decision(given, Kind::Agency, id.0, vec![decided(Kind::Agency, id.0, event)], id))
}

/// Sets an agency's calendar. Caller: operator, or a post of the agency.
///
/// Errors: malformed fields, `OPERATOR_ONLY`, `UNKNOWN_AGENCY`, `STALE_ETAG`.
pub fn set_calendar(
    request: &pb::SetCalendarRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let id = fields::id(&mut checks, "agency_id", &request.agency_id).map(AgencyId);
    match &request.calendar {
        None => checks.require(false, "calendar", Violation::MISSING),
        Some(calendar) => check_calendar(&mut checks, calendar),
    }
    checks.done()?;
    let id = id.unwrap_or(AgencyId(Uuid::nil()));
    if given.actor.agency != id {
        operator(given)?;
    }
    let directory = directory(given, Kind::Agency, id.0);
    directory.agencies.get(&id).ok_or(Reason::UnknownAgency)?;
    let version = directory.version(stream(Kind::Agency, id.0));
    crate::decision::check_etag(request.context.as_ref(), id.0, version)?;
    let event = pb::CalendarSet { agency_id: id.into(), calendar: request.calendar.clone() };
    Ok(decision(given, Kind::Agency, id.0, vec![decided(Kind::Agency, id.0, event)], ()))
}

fn check_calendar(checks: &mut Checks, calendar: &pb::Calendar) {
    let path = |part: &str| format!("calendar.{part}");
    checks.require(!calendar.open_weekdays.is_empty(), path("open_weekdays"), Violation::MISSING);
    fields::no_repeats(checks, &path("open_weekdays"), &calendar.open_weekdays, 7);
    for (i, weekday) in calendar.open_weekdays.iter().enumerate().take(7) {
        let known = (1..=7).contains(weekday);
        checks.require(known, format!("calendar.open_weekdays[{i}]"), Violation::OUT_OF_RANGE);
    }
    checks.require(calendar.opens_min >= 0, path("opens_min"), Violation::OUT_OF_RANGE);
    let hours = calendar.opens_min < calendar.closes_min && calendar.closes_min <= 24 * 60;
    checks.require(hours, path("closes_min"), Violation::OUT_OF_RANGE);
    fields::no_repeats(checks, &path("closed_yearly"), &calendar.closed_yearly, CLOSED_SPANS_MAX);
    for (i, span) in calendar.closed_yearly.iter().enumerate().take(CLOSED_SPANS_MAX) {
        // One span at a time with hours that hold, so that the refusal names the span.
        let alone = pb::Calendar {
            open_weekdays: vec![1],
            opens_min: 0,
            closes_min: 60,
            closed_on_national_holidays: false,
            closed_yearly: vec![span.clone()],
        };
        let refused = days::calendar(&alone).is_err_and(|e| e.0 == CalendarPart::ClosedRanges);
        let yearly = span.len() == "12-29/01-03".len();
        checks.require(!refused && yearly, format!("calendar.closed_yearly[{i}]"), Violation::BAD_DATE);
    }
}

/// Creates a post of an agency, with its first holders. Caller: operator.
///
/// `taken` as in [`register_agency`].
/// Errors: malformed fields, `OPERATOR_ONLY`, `UNKNOWN_AGENCY`, `ALREADY_EXISTS`.
pub fn create_post(
    request: &pb::CreatePostRequest,
    taken: bool,
    given: &mut Given<'_>,
) -> Result<Decision<PostId>, Refusal> {
    operator(given)?;
    let mut checks = Checks::default();
    let chosen = chosen(&mut checks, "post_id", &request.post_id);
    let agency = fields::id(&mut checks, "agency_id", &request.agency_id).map(AgencyId);
    fields::text(&mut checks, "label_ja", &request.label_ja, fields::LABEL_CHARS_MAX);
    fields::text(&mut checks, "label_en", &request.label_en, fields::LABEL_CHARS_MAX);
    check_holders(&mut checks, &request.holder_subjects);
    checks.done()?;

    let agency = agency.unwrap_or(AgencyId(Uuid::nil()));
    directory(given, Kind::Agency, agency.0).agencies.get(&agency).ok_or(Reason::UnknownAgency)?;
    let id = PostId(chosen.unwrap_or_else(|| given.ids.fresh()));
    if taken || directory(given, Kind::Post, id.0).posts.contains_key(&id) {
        return Err(Reason::AlreadyExists.into());
    }
    let created = pb::PostCreated {
        post_id: id.into(),
        agency_id: agency.into(),
        label_ja: request.label_ja.clone(),
        label_en: request.label_en.clone(),
    };
    let mut events = vec![decided(Kind::Post, id.0, created)];
    if !request.holder_subjects.is_empty() {
        events.push(decided(Kind::Post, id.0, holders(id, &request.holder_subjects)));
    }
    Ok(decision(given, Kind::Post, id.0, events, id))
}

fn check_holders(checks: &mut Checks, subjects: &[String]) {
    fields::no_repeats(checks, "holder_subjects", subjects, HOLDERS_MAX);
    for (i, subject) in subjects.iter().enumerate().take(HOLDERS_MAX) {
        fields::text(checks, &format!("holder_subjects[{i}]"), subject, SUBJECT_CHARS_MAX);
    }
}

fn holders(id: PostId, subjects: &[String]) -> pb::PostHolderChanged {
    pb::PostHolderChanged { post_id: id.into(), holder_subjects: subjects.to_vec() }
}

/// Says who holds a post from now on; an empty list leaves it vacant. Caller: operator.
///
/// Errors: malformed fields, `OPERATOR_ONLY`, `UNKNOWN_POST`, `POST_RETIRED`, `STALE_ETAG`.
pub fn change_holders(
    request: &pb::ChangeHoldersRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    operator(given)?;
    let mut checks = Checks::default();
    let id = fields::id(&mut checks, "post_id", &request.post_id);
    check_holders(&mut checks, &request.holder_subjects);
    checks.done()?;
    let id = active(given, id, request.context.as_ref())?;
    let event = holders(id, &request.holder_subjects);
    Ok(decision(given, Kind::Post, id.0, vec![decided(Kind::Post, id.0, event)], ()))
}

/// Retires a post that is responsible for no case. Caller: operator.
///
/// `cases_led` is the number of open cases that the post leads, counted by the caller at the versions it relies on.
/// Errors: malformed fields, `OPERATOR_ONLY`, `UNKNOWN_POST`, `POST_RETIRED`, `STALE_ETAG`, `POST_HAS_CASES`;
/// `WRONG_STATE` of a post that is or was the intake post of a municipality: it stays the ward's of the cases that were
/// opened meanwhile, which would be left without one. Its holders may be those of the present intake post.
pub fn retire_post(
    request: &pb::RetirePostRequest,
    cases_led: u64,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    operator(given)?;
    let mut checks = Checks::default();
    let id = fields::id(&mut checks, "post_id", &request.post_id);
    checks.done()?;
    let id = active(given, id, request.context.as_ref())?;
    if cases_led > 0 {
        return Err(Reason::PostHasCases.into());
    }
    // Every municipality is noted, and the one that the post's agency works in before it has rules: one that makes
    // this the intake post at the same time changes a version that this decision relies on.
    let directory = directory(given, Kind::Post, id.0);
    let own = directory.agency_of(id).map(|agency| agency.municipality_code.as_str());
    for code in directory.municipalities.keys().map(String::as_str).chain(own) {
        given.directory.noting(stream(Kind::Municipality, municipality_stream(code)));
    }
    if directory.intake_posts.contains(&id) {
        return Err(Reason::WrongState.into());
    }
    let event = pb::PostRetired { post_id: id.into() };
    Ok(decision(given, Kind::Post, id.0, vec![decided(Kind::Post, id.0, event)], ()))
}

fn active(
    given: &Given<'_>,
    id: Option<Uuid>,
    context: Option<&tasuki_contract::common::v1::CommandContext>,
) -> Result<PostId, Refusal> {
    let id = PostId(id.unwrap_or_default());
    given.directory.active_post(id)?;
    let version = directory(given, Kind::Post, id.0).version(stream(Kind::Post, id.0));
    crate::decision::check_etag(context, id.0, version)?;
    Ok(id)
}

/// Revokes a token, or what was issued to a subject before an instant. Caller: operator.
///
/// Whoever revokes its own credential succeeds, and is out. `iat` has whole seconds: what is issued in the same second
/// is revoked too.
/// Errors: malformed fields, `OPERATOR_ONLY`, `ALREADY_EXISTS` of what is revoked already.
pub fn revoke_credential(
    request: &pb::RevokeCredentialRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    let mut checks = Checks::default();
    let (token_id, subject) = (request.token_id.as_str(), request.subject.as_str());
    // An instant is about a subject.
    let missing = if request.not_before_s == 0 { "token_id" } else { "subject" };
    checks.require(!(token_id.is_empty() && subject.is_empty()), missing, Violation::MISSING);
    for both in ["token_id", "subject"] {
        checks.require(token_id.is_empty() || subject.is_empty(), both, Violation::NOT_ALLOWED);
    }
    for (field, text) in [("token_id", token_id), ("subject", subject)] {
        checks.require(text.chars().count() <= SUBJECT_CHARS_MAX, field, Violation::TOO_LONG);
        checks.require(!text.chars().any(char::is_control), field, Violation::CONTROL_CHARACTER);
    }
    let now_s = given.now.as_second();
    let before_s = if request.not_before_s == 0 { now_s + 1 } else { request.not_before_s };
    checks.require((1..=now_s + 1).contains(&before_s), "not_before_s", Violation::OUT_OF_RANGE);
    checks.require(request.not_before_s == 0 || token_id.is_empty(), "not_before_s", Violation::NOT_ALLOWED);
    checks.done()?;
    operator(given)?;

    let id = credential_stream(token_id, subject);
    let revoked = &directory(given, Kind::Credential, id).revoked;
    let covered = if subject.is_empty() {
        revoked.tokens.contains(token_id)
    } else {
        revoked.subjects.get(subject).is_some_and(|before| before_s <= *before)
    };
    if covered {
        return Err(Reason::AlreadyExists.into());
    }
    let event = pb::CredentialRevoked {
        credential_id: id.to_string(),
        token_id: token_id.to_owned(),
        subject: subject.to_owned(),
        not_before_s: if subject.is_empty() { 0 } else { before_s },
    };
    Ok(decision(given, Kind::Credential, id, vec![decided(Kind::Credential, id, event)], ()))
}

/// Sets a municipality's intake post and the kinds that may lead there. Caller: operator.
///
/// Without kinds, the dictionary's default holds. A kind that may lead once may lead for good: cases may rest on it.
/// Another intake post is for the cases to come: the present ones keep their responsible post and their ward's, which
/// for their sake is not retired.
/// Errors: malformed fields, `OPERATOR_ONLY`, `UNKNOWN_POST`, `POST_RETIRED`, `STALE_ETAG`; `MAY_NOT_LEAD` of the
/// intake post, `WRONG_STATE` when a kind would be taken out.
pub fn configure_municipality(
    request: &pb::ConfigureMunicipalityRequest,
    given: &mut Given<'_>,
) -> Result<Decision<()>, Refusal> {
    operator(given)?;
    let mut checks = Checks::default();
    let code = &request.municipality_code;
    fields::municipality(&mut checks, "municipality_code", code);
    let intake = fields::id(&mut checks, "intake_post_id", &request.intake_post_id).map(PostId);
    fields::no_repeats(&mut checks, "kinds_that_may_lead", &request.kinds_that_may_lead, KINDS_MAX);
    for (i, kind) in request.kinds_that_may_lead.iter().enumerate().take(KINDS_MAX) {
        let path = format!("kinds_that_may_lead[{i}]");
        fields::code(&mut checks, &path, &[Table::AgencyKind], kind);
        // A family is never made responsible for its own case by an office.
        checks.require(kind != crate::consent::FAMILY_KIND, path, Violation::NOT_ALLOWED);
    }
    checks.done()?;

    let intake = intake.unwrap_or(crate::circle::NOBODY);
    let (_, agency) = given.directory.active_post(intake)?;
    let kinds = match request.kinds_that_may_lead.as_slice() {
        [] => visibility::kinds_that_may_lead().to_vec(),
        kinds => kinds.to_vec(),
    };
    if !kinds.contains(&agency.kind) {
        return Err(Reason::MayNotLead.into());
    }
    let id = municipality_stream(code);
    let directory = directory(given, Kind::Municipality, id);
    let version = directory.version(stream(Kind::Municipality, id));
    crate::decision::check_etag(request.context.as_ref(), id, version)?;
    let before = directory.municipalities.get(code).map(|rules| &rules.kinds_that_may_lead);
    let after: BTreeSet<String> = kinds.iter().cloned().collect();
    if before.is_some_and(|before| !before.is_subset(&after)) {
        return Err(Reason::WrongState.into());
    }
    let event = pb::MunicipalityConfigured {
        municipality_id: id.to_string(),
        municipality_code: code.clone(),
        intake_post_id: intake.into(),
        kinds_that_may_lead: kinds,
    };
    let events = vec![decided(Kind::Municipality, id, event)];
    Ok(decision(given, Kind::Municipality, id, events, ()))
}

/// Lines of a policy file that a refusal names at most.
const ISSUES_MAX: usize = 20;

/// Brings a municipality's visibility policy into force. Caller: operator. `sha256` is the digest of the text.
///
/// Answers with the digest. Errors: every wrong line as `text:LINE`, `OPERATOR_ONLY`, `UNKNOWN_MUNICIPALITY` of one that
/// has no rules yet, `STALE_ETAG`.
pub fn adopt_policy(
    request: &pb::AdoptPolicyRequest,
    sha256: &str,
    given: &mut Given<'_>,
) -> Result<Decision<String>, Refusal> {
    operator(given)?;
    let mut checks = Checks::default();
    let policy = match Policy::read(&request.text) {
        Ok(policy) => Some(policy),
        Err(_) if request.text.is_empty() => {
            checks.require(false, "text", Violation::MISSING);
            None
        }
        Err(issues) => {
            checks.require(false, "text", Violation::BAD_POLICY);
            for issue in issues.iter().take(ISSUES_MAX) {
                let told = format!("{} / {}; {}", issue.en, issue.ja, issue.allowed);
                checks.see(format!("text:{}", issue.line), Violation::BAD_POLICY, told);
            }
            None
        }
    };
    // The default belongs to no municipality, so none adopts it by mistake.
    let code = policy.as_ref().map(|policy| policy.municipality.as_str()).unwrap_or_default();
    let named = policy.is_none() || crate::municipality::is_municipality(code);
    checks.require(named, "text", Violation::BAD_MUNICIPALITY);
    checks.done()?;

    given.directory.municipality(code)?;
    let id = municipality_stream(code);
    let version = directory(given, Kind::Municipality, id).version(stream(Kind::Municipality, id));
    crate::decision::check_etag(request.context.as_ref(), id, version)?;
    let event = pb::PolicyAdopted {
        municipality_id: id.to_string(),
        municipality_code: code.to_owned(),
        policy_version: policy.as_ref().map(|policy| policy.version.clone()).unwrap_or_default(),
        text: request.text.clone(),
        sha256: sha256.to_owned(),
    };
    let events = vec![decided(Kind::Municipality, id, event)];
    Ok(decision(given, Kind::Municipality, id, events, sha256.to_owned()))
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
