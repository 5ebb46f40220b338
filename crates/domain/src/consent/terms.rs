//! Reading the terms of a consent from a request: who, what, until when; every malformed field is named.

use std::collections::BTreeSet;

use jiff::civil::Date;
use tasuki_contract::DataClass;
use tasuki_contract::common::v1 as common;
use tasuki_contract::event::v1::{Recipient as PbRecipient, Relation, recipient::Who};
use tasuki_contract::intake::v1::ConsentAtSource;

use super::{DATA_SUBJECTS, FAMILY_KIND, GRACE_DAYS, METHODS, SIGNER_RELATIONS};
use crate::circle::{Grant, Recipient};
use crate::codes::{self, Table};
use crate::decision::{Given, Kind, StreamRef};
use crate::effects::Doing;
use crate::ids::{AgencyId, PostId};
use crate::refusal::{Checks, Reason, Refusal, Violation};
use crate::{days, dictionary, fields};

const RECIPIENTS_MAX: usize = 50;
const KEYS_MAX: usize = 300;
const CLASSES_MAX: usize = 20;

/// The terms as a request spells them.
pub(super) struct Asked<'a> {
    pub recipients: &'a [PbRecipient],
    pub classes: &'a [i32],
    pub excluded_keys: &'a [String],
    pub valid_to: Option<&'a common::Date>,
    pub grace: bool,
}

impl Asked<'_> {
    /// Notes what is malformed; the grant that the terms make.
    pub(super) fn check(&self, checks: &mut Checks) -> Grant {
        checks.require(!self.recipients.is_empty(), "recipients", Violation::MISSING);
        let recipients = check_recipients(checks, self.recipients);
        checks.require(!self.classes.is_empty(), "classes", Violation::MISSING);
        let classes = check_classes(checks, self.classes);
        let posts_only = self.recipients.iter().all(|r| matches!(r.who, Some(Who::PostId(_))));
        check_ceilings(checks, self.classes, posts_only);
        let last = check_valid_to(checks, self.valid_to);
        Grant {
            recipients,
            classes,
            excluded_keys: check_keys(checks, self.excluded_keys),
            valid_to_day: last.map(days::epoch_day),
            grace_days: if self.grace { GRACE_DAYS } else { 0 },
            ..Grant::default()
        }
    }
}

/// Notes a last day that is none, or that a header would take for none.
pub(super) fn check_valid_to(checks: &mut Checks, day: Option<&common::Date>) -> Option<Date> {
    let last = checks.take(days::from_proto("valid_to", day)).flatten()?;
    checks.require(days::epoch_day(last) > 0, "valid_to", Violation::OUT_OF_RANGE);
    Some(last)
}

/// Notes recipients that are none, unknown or given twice.
pub(super) fn check_recipients(checks: &mut Checks, recipients: &[PbRecipient]) -> Vec<Recipient> {
    fields::no_repeats(checks, "recipients", recipients, RECIPIENTS_MAX);
    for (i, recipient) in recipients.iter().enumerate().take(RECIPIENTS_MAX) {
        let path = |part: &str| format!("recipients[{i}].{part}");
        match recipient.who.as_ref() {
            None => checks.require(false, format!("recipients[{i}]"), Violation::MISSING),
            Some(Who::PostId(text)) => {
                fields::id(checks, &path("post_id"), text);
            }
            Some(Who::AgencyId(text)) => {
                fields::id(checks, &path("agency_id"), text);
            }
            Some(Who::AgencyKind(kind)) => {
                let known = codes::lookup(Table::AgencyKind, kind).is_some();
                checks.require(known, path("agency_kind"), Violation::UNKNOWN_CODE);
                checks.require(kind != FAMILY_KIND, path("agency_kind"), Violation::NOT_ALLOWED);
            }
        }
    }
    recipients.iter().filter_map(Recipient::from_proto).collect()
}

/// Notes classes that are none of a person's, or given twice.
pub(super) fn check_classes(checks: &mut Checks, classes: &[i32]) -> BTreeSet<DataClass> {
    fields::no_repeats(checks, "classes", classes, CLASSES_MAX);
    let personal: BTreeSet<i32> = (DataClass::Lead as i32..=DataClass::Sealed as i32).collect();
    for (i, number) in classes.iter().enumerate().take(CLASSES_MAX) {
        checks.require(personal.contains(number), format!("classes[{i}]"), Violation::UNKNOWN_CODE);
    }
    classes.iter().filter_map(|number| DataClass::try_from(*number).ok()).collect()
}

/// What is restricted goes to posts by name only; what is sealed has a circle of its own.
pub(super) fn check_ceilings(checks: &mut Checks, classes: &[i32], posts_only: bool) {
    for (i, number) in classes.iter().enumerate().take(CLASSES_MAX) {
        let refused =
            *number == DataClass::Sealed as i32 || (*number == DataClass::Restricted as i32 && !posts_only);
        checks.require(!refused, format!("classes[{i}]"), Violation::NOT_ALLOWED);
    }
}

/// Notes keys that the dictionary does not have, or given twice.
pub(super) fn check_keys(checks: &mut Checks, keys: &[String]) -> BTreeSet<String> {
    fields::no_repeats(checks, "excluded_keys", keys, KEYS_MAX);
    for (i, key) in keys.iter().enumerate().take(KEYS_MAX) {
        let known = dictionary::field(key).is_some();
        checks.require(known, format!("excluded_keys[{i}]"), Violation::UNKNOWN_KEY);
    }
    keys.iter().cloned().collect()
}

/// Notes what is malformed in a signature.
pub(super) fn check_signature(
    checks: &mut Checks,
    signer_relation: &str,
    consent_method: &str,
    signed_on: Option<&common::Date>,
    given: &Given<'_>,
) -> Option<Date> {
    fields::listed(checks, "signer_relation", &SIGNER_RELATIONS, signer_relation);
    fields::listed(checks, "consent_method", &METHODS, consent_method);
    check_signed_on(checks, "signed_on", signed_on, given)
}

/// Notes what is malformed in what the family was told; all of it may be left out.
pub(super) fn check_told(checks: &mut Checks, told: [(&str, &str); 3], childs_view: &str) {
    for (field, text) in told {
        fields::at_most(checks, field, text, fields::LABEL_CHARS_MAX);
    }
    fields::at_most(checks, "childs_view", childs_view, fields::TEXT_CHARS_MAX);
}

/// Notes a data subject that is none; whether it is somebody else than the child.
pub(super) fn check_data_subject(checks: &mut Checks, subject: &str) -> bool {
    if !subject.is_empty() {
        fields::listed(checks, "data_subject", &DATA_SUBJECTS, subject);
    }
    !(subject.is_empty() || subject == "child")
}

/// Notes what is malformed in a consent held at source: one that names nobody needs no signer.
pub fn check_at_source(checks: &mut Checks, field: &str, consent: &ConsentAtSource, given: &Given<'_>) {
    let (signer, signed) = (format!("{field}.signer_relation"), format!("{field}.signed_on"));
    if consent.anonymous {
        checks.require(consent.signer_relation.is_empty(), signer, Violation::NOT_ALLOWED);
        checks.require(consent.signed_on.is_none(), signed, Violation::NOT_ALLOWED);
        return;
    }
    fields::listed(checks, &signer, &SIGNER_RELATIONS, &consent.signer_relation);
    check_signed_on(checks, &signed, consent.signed_on.as_ref(), given);
}

fn check_signed_on(
    checks: &mut Checks,
    field: &str,
    day: Option<&common::Date>,
    given: &Given<'_>,
) -> Option<Date> {
    let day = fields::day(checks, field, day)?;
    checks.require(day <= given.today(), field, Violation::OUT_OF_RANGE);
    Some(day)
}

/// Looks the recipients up; posts by name join the circle, a guardian's as family.
///
/// Errors: `UNKNOWN_POST`, `POST_RETIRED`, `UNKNOWN_AGENCY`.
pub(super) fn recipients_join(mut doing: Doing, terms: &Grant, given: &Given<'_>) -> Result<Doing, Refusal> {
    for recipient in &terms.recipients {
        match recipient {
            Recipient::Post(post) => {
                let relation = relation_of(*post, given)?;
                doing = doing.joins(*post, relation);
            }
            Recipient::Agency(id) => require_agency(*id, given)?,
            Recipient::Kind(_) => {}
        }
    }
    Ok(doing)
}

/// Errors: `UNKNOWN_POST`, `POST_RETIRED`, `UNKNOWN_AGENCY`.
pub(super) fn require_recipients(terms: &Grant, given: &Given<'_>) -> Result<(), Refusal> {
    recipients_join(Doing::outside_cases(), terms, given).map(|_| ())
}

fn relation_of(post: PostId, given: &Given<'_>) -> Result<Relation, Refusal> {
    let (_, agency) = given.directory.active_post(post)?;
    Ok(if agency.kind == FAMILY_KIND { Relation::Family } else { Relation::Named })
}

fn require_agency(id: AgencyId, given: &Given<'_>) -> Result<(), Refusal> {
    let directory = given.directory.noting(StreamRef { kind: Kind::Agency, id: id.0 });
    directory.agencies.get(&id).map(|_| ()).ok_or_else(|| Reason::UnknownAgency.into())
}
