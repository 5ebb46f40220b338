//! Looking for a child: what a request asks for, what the facts of events say, and who is told that a case exists.

use std::collections::HashMap;

use tasuki_contract::identity::v1 as pb;
use tasuki_contract::{DataClass, Event};

use super::person::{Clue, IDENTIFIER_KEYS, Person};
use crate::codes::Table;
use crate::decision::{Decided, Kind};
use crate::ids::{AgencyId, CaseId};
use crate::refusal::{Checks, Reason, Refusal, Violation};
use crate::visibility::{self, DataClass as Class, Level, ReaderGroup, reader_group};
use crate::{days, fields, municipality};

/// The purpose for which one looks for a child.
const PURPOSE: &str = "intake";

/// Whom a caller looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// The clues of the request; personal.
    pub clues: Vec<Clue>,
    /// Key of the number that was given; empty where none was.
    pub identifier_key: String,
}

/// Reads a search. `purpose` is the caller's.
///
/// Errors: malformed fields: neither a name with a birth date nor a number; `PURPOSE_NOT_INTAKE`.
pub fn sought(request: &pb::SearchChildRequest, agency: AgencyId, purpose: &str) -> Result<Sought, Refusal> {
    let mut checks = Checks::default();
    let birth = checks.take(days::from_proto("birth_date", request.birth_date.as_ref())).flatten();
    let max = fields::LABEL_CHARS_MAX;
    fields::at_most(&mut checks, "name_kana", &request.name_kana, max);
    fields::at_most(&mut checks, "identifier", &request.identifier, max);
    let (key, number) = (request.identifier_key.as_str(), request.identifier.trim());
    if !(key.is_empty() && number.is_empty()) {
        fields::listed(&mut checks, "identifier_key", &IDENTIFIER_KEYS, key);
        checks.require(!number.is_empty(), "identifier", Violation::MISSING);
    } else {
        checks.require(!request.name_kana.trim().is_empty(), "name_kana", Violation::MISSING);
        checks.require(request.birth_date.is_some(), "birth_date", Violation::MISSING);
    }
    if !request.sex.is_empty() {
        fields::code(&mut checks, "sex", &[Table::Sex], &request.sex);
    }
    if !request.municipality_code.is_empty() {
        fields::municipality(&mut checks, "municipality_code", &request.municipality_code);
    }
    let issuer = fields::optional_id(&mut checks, "issuer_agency_id", &request.issuer_agency_id);
    checks.done()?;
    if purpose != PURPOSE {
        return Err(Reason::PurposeNotIntake.into());
    }
    let mut person = Person::sought(&request.name_kana, birth, &request.sex, &request.municipality_code);
    let issuer = issuer.map_or(agency, AgencyId);
    person.identify(key, number, &issuer.to_string());
    Ok(Sought { clues: person.clues(), identifier_key: key.to_owned() })
}

/// What the events of one command say of the children of their cases: the place of the event among them, the case, a
/// clue.
///
/// Each event speaks for itself: a name in one and a birth date in another make no clue. Sealed events say nothing.
pub fn clues_of(events: &[Decided], agency: AgencyId) -> Vec<(usize, CaseId, Clue)> {
    let mut places: HashMap<CaseId, &str> = HashMap::new();
    let mut all = Vec::new();
    for (at, decided) in events.iter().enumerate() {
        if decided.stream.kind != Kind::Case || decided.event.rule().class == DataClass::Sealed {
            continue;
        }
        let case = CaseId(decided.stream.id);
        if let Event::CaseOpened(opened) = &decided.event {
            places.insert(case, &opened.municipality_code);
        }
        let facts = decided.event.facts();
        let person = Person::of(&facts, agency, places.get(&case).copied().unwrap_or_default());
        all.extend(person.clues().into_iter().map(|clue| (at, case, clue)));
    }
    all
}

/// Whether a post that has no part in a case is told that it exists, and whom to ask.
///
/// Ward divisions and coordinators, about cases of the municipality in which they work; the prefecture's centre, about
/// its prefecture. The table must show them referrals that are not their own at all.
pub fn existence_shown(agency_kind: &str, works_in: &str, case_municipality: &str) -> bool {
    let Some(group) = reader_group(agency_kind) else { return false };
    let shown =
        !matches!(visibility::class_cell(Class::ReferralState, group).level, Level::None | Level::Own);
    shown
        && match group {
            ReaderGroup::Cd | ReaderGroup::Wel | ReaderGroup::Phn | ReaderGroup::Chi => {
                works_in == case_municipality
            }
            ReaderGroup::Sup => {
                let prefecture = municipality::prefecture(case_municipality);
                prefecture.is_some() && municipality::prefecture(works_in) == prefecture
            }
            _ => false,
        }
}
