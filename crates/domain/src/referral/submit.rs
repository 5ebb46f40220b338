//! Sending a referral: into a case that exists, or opening one with the municipality's intake post as lead.

use std::collections::BTreeSet;

use jiff::ToSpan;
use jiff::civil::Date;
use tasuki_contract::cases::v1::CaseOpened;
use tasuki_contract::common::v1::{Fact, fact::Value};
use tasuki_contract::event::v1::{DutyKind, Relation};
use tasuki_contract::intake::v1 as pb;

use super::{ACKNOWLEDGE_BUSINESS_DAYS, ANSWER_BUSINESS_DAYS, Stage, listed, receiver, revision, wards};
use crate::case::CaseState;
use crate::codes::Table;
use crate::consent::{self, SOURCE_CLASSES};
use crate::decision::{Decided, Decision, Given};
use crate::dictionary::{self, Context};
use crate::facts::{self, Carrier};
use crate::fields;
use crate::ids::{CaseId, GrantId, PostId, ReferralId, derived};
use crate::refusal::{Checks, Reason, Refusal, Violation};
use crate::visibility::DataClass;
use crate::{age, days, fiscal};

/// Calendar days before the discharge by which the sender supplies what it left for later.
const SUPPLY_DAYS_BEFORE_DISCHARGE: i32 = 14;
/// Keys that the form requires and the request carries in fields of its own, or that are not a sender's to owe.
const CARRIED_BY_FIELDS: [&str; 5] = [
    "municipality_code",
    "planned_discharge_date",
    "referral_purpose",
    "urgency_and_due",
    "name_registered_yet",
];
const NAME_KEYS: [&str; 3] = ["name_kana", "name_kanji", "name_used"];

/// What a submission answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The referral.
    pub referral: ReferralId,
    /// The case that it belongs to, or that it opened.
    pub case: CaseId,
}

/// Sends a referral. `state` is that of the case named, or the default where the referral opens one.
///
/// Seven items open a case: name or label, birth date, municipality, care, expected discharge, the sender's telephone
/// and the consent held at source; an enquiry that names nobody leaves name and birth date out. Everything else that
/// the discharge form requires becomes the sender's duty.
///
/// Into a case that exists, a signed consent comes from the responsible post or the municipality's intake post alone,
/// who may record one anyway: from others it is refused as `NOT_ALLOWED`. It then reaches the post asked, never the
/// sender, and leaves out every key that a signer took out of another grant of the case.
/// Errors: malformed fields, among them a receiver that is a family; `CONSENT_REQUIRED`, `NOT_FOUND`, `UNKNOWN_POST`, `POST_RETIRED`, `UNKNOWN_MUNICIPALITY`,
/// `MAY_NOT_LEAD` when the municipality's intake post may not.
pub fn submit(
    state: &CaseState,
    request: &pb::SubmitReferralRequest,
    given: &mut Given<'_>,
) -> Result<Decision<Submitted>, Refusal> {
    submit_beside(state, request, false, given)
}

/// The same, where `alike` says that an open case of the municipality's intake post looks like the one to be opened.
///
/// The case is then opened in doubt: the referral waits, its receiver is neither asked nor told, and sender and intake
/// post alone stand in the circle until the latter has decided. Into a case that exists `alike` changes nothing.
/// Errors: those of [`submit`].
pub fn submit_beside(
    state: &CaseState,
    request: &pb::SubmitReferralRequest,
    alike: bool,
    given: &mut Given<'_>,
) -> Result<Decision<Submitted>, Refusal> {
    let sender = given.actor.post;
    let opens = request.case_id.is_empty();
    let (to, case) = check(request, opens, given)?;
    if opens && request.consent_at_source.is_none() {
        return Err(Reason::ConsentRequired.into());
    }
    let signed = request.consent_at_source.as_ref().is_some_and(|consent| !consent.anonymous);
    let may_refer_into = state.exists() && state.circle.is_member(sender);
    if !(opens || may_refer_into) {
        return Err(Reason::NotFound.into());
    }
    if to == sender {
        return Err(Refusal::invalid("to_post_id", Violation::NOT_ALLOWED));
    }
    if signed && !opens && state.circle.lead != Some(sender) && !wards(state).any(|ward| ward == sender) {
        return Err(Refusal::invalid("consent_at_source", Violation::NOT_ALLOWED));
    }
    given.directory.active_post(sender)?;
    receiver(to, given)?;

    let referral = ReferralId(given.ids.fresh());
    let case = case.unwrap_or_else(|| CaseId(given.ids.fresh()));
    let acknowledge_by = days::due(given, to, ACKNOWLEDGE_BUSINESS_DAYS)?;
    let mut events = Vec::new();
    let mut intake = None;
    if opens {
        let rules = given.directory.municipality(&request.municipality_code)?;
        given.directory.may_lead(rules.intake_post, &request.municipality_code)?;
        intake = Some(rules.intake_post);
        events.push(opened(request, case, referral, rules.intake_post, alike, given));
    }
    let waits = opens && alike;
    let stage = if waits { Stage::OnHold } else { Stage::Submitted };
    let asked = (!waits).then_some(to);

    let not_yet_keys = owed_keys(request, opens);
    let mut doing = listed(case, referral, stage, [sender].into_iter().chain(asked))
        .parties([sender].into_iter().chain(asked).chain(intake))
        .joins(sender, Relation::Sender);
    if let Some(to) = asked {
        let by = days::epoch_day(acknowledge_by);
        doing = doing.joins(to, Relation::Asked).owes(DutyKind::DutyAcknowledge, referral.0, to, by);
    }
    if !not_yet_keys.is_empty() {
        doing = doing.owes(DutyKind::DutySupply, referral.0, sender, supply_day(request, given)?);
    }
    if signed {
        let grant = GrantId(derived(&["source", &referral.to_string()]));
        let posts: Vec<PostId> =
            if opens { [sender].into_iter().chain(asked).chain(intake).collect() } else { vec![to] };
        doing = doing.grants(grant, &posts, SOURCE_CLASSES, taken_out(state));
    }
    // Counted from the last day on which the receiver acknowledges in time: the sender reads when an answer is due
    // at the latest.
    let answer_by = days::due(given, to, ACKNOWLEDGE_BUSINESS_DAYS + ANSWER_BUSINESS_DAYS)?;
    let event = pb::ReferralSubmitted {
        referral_id: referral.into(),
        case_id: case.into(),
        from_post_id: sender.into(),
        to_post_id: to.into(),
        referral_purpose: request.referral_purpose.clone(),
        urgency: match request.urgency() {
            pb::Urgency::Unspecified => pb::Urgency::Routine.into(),
            urgency => urgency.into(),
        },
        answer_due_on: Some(days::to_proto(answer_by)),
        expected_discharge_on: request.expected_discharge_on,
        age_class: facts::birth_date(&request.facts)
            .map(|birth| age_class(birth, given.occurred_on()))
            .unwrap_or_default(),
        weekdays: request.weekdays.clone(),
        sender_telephone: request.sender_telephone.clone(),
        message: request.message.clone(),
        facts: told(request),
        not_yet_keys,
        consent_at_source: request.consent_at_source.clone(),
    };
    events.push(doing.by(CaseState::stream(case), event));
    if let Some(ward) = intake.filter(|_| waits) {
        events.push(crate::identity::doubt(case, [sender], ward, given)?);
    }
    Ok(Decision {
        events,
        reply: Submitted { referral, case },
        item: Some((referral.0, revision(to, stage))),
    })
}

/// What a signer took out of some grant of the case: a consent that cannot say what it leaves out gives none of it.
fn taken_out(state: &CaseState) -> BTreeSet<String> {
    state.circle.grants.values().flat_map(|grant| grant.excluded_keys.iter().cloned()).collect()
}

/// Its header lists the referral, which is how the fold knows what opened the case.
fn opened(
    request: &pb::SubmitReferralRequest,
    case: CaseId,
    referral: ReferralId,
    intake: PostId,
    waits: bool,
    given: &Given<'_>,
) -> Decided {
    let sender = given.actor.post;
    let to = (!waits).then(|| PostId::trusted(&request.to_post_id));
    let stage = if waits { Stage::OnHold } else { Stage::Submitted };
    let event = CaseOpened {
        case_id: case.into(),
        municipality_code: request.municipality_code.clone(),
        lead_post_id: intake.into(),
        label: request.label.clone(),
        facts: Vec::new(),
    };
    listed(case, referral, stage, [sender].into_iter().chain(to))
        .parties([intake, sender])
        .joins(intake, Relation::Ward)
        .leads(intake)
        .by(CaseState::stream(case), event)
}

fn check(
    request: &pb::SubmitReferralRequest,
    opens: bool,
    given: &Given<'_>,
) -> Result<(PostId, Option<CaseId>), Refusal> {
    let mut checks = Checks::default();
    let case = fields::optional_id(&mut checks, "case_id", &request.case_id).map(CaseId);
    let to = fields::id(&mut checks, "to_post_id", &request.to_post_id).map(PostId);
    if request.referral_purpose != "other" {
        let tables = [Table::Transition, Table::ServiceKind];
        fields::code(&mut checks, "referral_purpose", &tables, &request.referral_purpose);
    }
    checks.require(pb::Urgency::try_from(request.urgency).is_ok(), "urgency", Violation::UNKNOWN_CODE);
    let discharge = days::from_proto("expected_discharge_on", request.expected_discharge_on.as_ref());
    checks.take(discharge);
    fields::no_repeats(&mut checks, "weekdays", &request.weekdays, 7);
    for (i, weekday) in request.weekdays.iter().enumerate() {
        checks.require((1..=7).contains(weekday), format!("weekdays[{i}]"), Violation::OUT_OF_RANGE);
    }
    fields::telephone(&mut checks, "sender_telephone", &request.sender_telephone);
    fields::at_most(&mut checks, "message", &request.message, fields::TEXT_CHARS_MAX);
    fields::at_most(&mut checks, "label", &request.label, fields::LABEL_CHARS_MAX);
    let anonymous = request.consent_at_source.as_ref().is_some_and(|consent| consent.anonymous);
    facts::check_all(&mut checks, "facts", &request.facts, Carrier::Referral { anonymous }, given);
    check_not_yet(&mut checks, request);
    if let Some(consent) = &request.consent_at_source {
        consent::check_at_source(&mut checks, "consent_at_source", consent, given);
    }
    if opens {
        check_seven_items(&mut checks, request, anonymous);
    } else if !request.municipality_code.is_empty() {
        fields::municipality(&mut checks, "municipality_code", &request.municipality_code);
    }
    checks.done()?;
    Ok((to.unwrap_or(crate::circle::NOBODY), case))
}

/// The seventh, the consent, is the caller's to check: without any, the refusal has a reason of its own.
fn check_seven_items(checks: &mut Checks, request: &pb::SubmitReferralRequest, anonymous: bool) {
    let facts = &request.facts;
    let unregistered = request.birth_unregistered;
    let named = unregistered || !request.label.trim().is_empty() || facts::has(facts, &NAME_KEYS);
    checks.require(named, "label", Violation::MISSING);
    let born = unregistered || anonymous || facts::has(facts, &["birth_date"]);
    checks.require(born, "facts.birth_date", Violation::MISSING);
    fields::municipality(checks, "municipality_code", &request.municipality_code);
    checks.require(facts::has(facts, &["care_procedures"]), "facts.care_procedures", Violation::MISSING);
    checks.require(request.expected_discharge_on.is_some(), "expected_discharge_on", Violation::MISSING);
    checks.require(!request.sender_telephone.trim().is_empty(), "sender_telephone", Violation::MISSING);
}

fn check_not_yet(checks: &mut Checks, request: &pb::SubmitReferralRequest) {
    let keys = &request.not_yet_keys;
    fields::no_repeats(checks, "not_yet_keys", keys, facts::FACTS_MAX);
    for (i, key) in keys.iter().enumerate().take(facts::FACTS_MAX) {
        let path = format!("not_yet_keys[{i}]");
        match dictionary::field(key) {
            None => checks.require(false, path, Violation::UNKNOWN_KEY),
            Some(field) if field.computed => checks.require(false, path, Violation::NOT_ALLOWED),
            // What is given is not owed.
            Some(_) => checks.require(!facts::has(&request.facts, &[key]), path, Violation::DUPLICATE),
        }
    }
}

/// What the sender names as owed and, of a referral that opens a case, what the form requires beyond that.
fn owed_keys(request: &pb::SubmitReferralRequest, opens: bool) -> Vec<String> {
    let mut keys = request.not_yet_keys.clone();
    if opens {
        let anonymous = request.consent_at_source.as_ref().is_some_and(|consent| consent.anonymous);
        let owed = dictionary::required(Context::Discharge).filter(|field| {
            let settled = CARRIED_BY_FIELDS.contains(&field.key.as_str())
                || facts::has(&request.facts, &[&field.key])
                || request.not_yet_keys.contains(&field.key);
            let names_somebody = field.class == DataClass::Identity;
            !(settled || anonymous && names_somebody)
        });
        keys.extend(owed.map(|field| field.key.clone()));
    }
    keys
}

/// The facts as given, and that the birth is not registered, which the form keeps as a fact.
pub fn told(request: &pb::SubmitReferralRequest) -> Vec<Fact> {
    let mut facts = request.facts.clone();
    let anonymous = request.consent_at_source.as_ref().is_some_and(|consent| consent.anonymous);
    if request.birth_unregistered && !anonymous && !facts::has(&facts, &["name_registered_yet"]) {
        let value = Some(Value::Flag(true));
        facts.push(Fact { key: "name_registered_yet".to_owned(), value, ..Fact::default() });
    }
    facts
}

/// Fourteen days before the discharge, never before today, moved to the next day on which the sender's office is open;
/// 0 where no discharge is expected.
///
/// Errors: those of [`days::open_from`].
fn supply_day(request: &pb::SubmitReferralRequest, given: &Given<'_>) -> Result<i32, Refusal> {
    let discharge = days::from_proto("", request.expected_discharge_on.as_ref()).ok().flatten();
    let day = discharge.and_then(|day| day.checked_sub(SUPPLY_DAYS_BEFORE_DISCHARGE.days()).ok());
    let Some(day) = day.map(|day| day.max(given.today())) else { return Ok(0) };
    Ok(days::epoch_day(days::open_from(given, given.actor.post, day)?))
}

/// The class or school year of a child on a day, all that an office outside the circle learns of the age:
/// `before_class` for a baby born in the running fiscal year, `class_age_0` to `class_age_5`, `school_year_1` to
/// `school_year_12`, `after_school`.
fn age_class(birth: Date, on: Date) -> String {
    match age::class_age(birth, fiscal::fiscal_year(on)) {
        ..0 => "before_class".to_owned(),
        class @ 0..6 => format!("class_age_{class}"),
        class @ 6..18 => format!("school_year_{}", class - 5),
        _ => "after_school".to_owned(),
    }
}
