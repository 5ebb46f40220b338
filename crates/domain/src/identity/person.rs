//! What tells one child from another in the facts of a request, as clues that can be compared without being read.
//!
//! A clue is a short text that two statements about one child have in common, however they were written. It is never
//! stored: the log keeps a keyed token of it. All but numbers are bound to the birth date, so that a token of a name
//! alone does not exist.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use tasuki_contract::common::v1::{Fact, fact::Value};
use unicode_normalization::UnicodeNormalization;

use crate::ids::AgencyId;
use crate::{facts, kana};

/// Keys of the dictionary whose values are numbers that somebody gave to one child.
pub const IDENTIFIER_KEYS: [&str; 3] = ["insurance_member_id", "patient_id", "welfare_recipient_no"];

/// Readings that stand for a name which the child has not yet got.
const NOT_NAMED_YET: [&str; 4] = ["ベビー", "ベイビー", "アカチャン", "シンセイジ"];
/// Separates the pieces of a clue; no value holds it.
const BETWEEN: &str = "\u{1f}";

/// What two statements have in common. The numbers are stored with the tokens: never renumber.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ClueKind {
    /// The whole reading of the name, and the birth date.
    NameBirth = 1,
    /// The reading of the surname, and the birth date.
    SurnameBirth = 2,
    /// The reading of the given name, and the birth date: it stays where a surname changes.
    GivenBirth = 3,
    /// The birth date and the order among twins or more.
    OrderBirth = 4,
    /// The birth date, the sex and the municipality.
    Place = 5,
    /// A number of one person, with who gave it out.
    Identifier = 6,
    /// An insurance number that a household shares, and the birth date.
    Household = 7,
}

impl ClueKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::NameBirth,
        Self::SurnameBirth,
        Self::GivenBirth,
        Self::OrderBirth,
        Self::Place,
        Self::Identifier,
        Self::Household,
    ];

    /// The number under which its tokens are stored.
    pub fn number(self) -> i16 {
        self as i16
    }

    /// Whether a case is looked for by it. Without one of these in common no two statements are likely one child's, and
    /// whole wards share the others: a look-up by them would be full of children of one day.
    pub fn finds(self) -> bool {
        matches!(self, Self::NameBirth | Self::SurnameBirth | Self::GivenBirth | Self::Identifier)
    }

    /// The kind with this number; `None` for one that this binary does not know.
    pub fn from_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// One clue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clue {
    /// What it is made of.
    pub kind: ClueKind,
    /// The pieces in their form for comparison. Personal: it leaves the process as a keyed token only.
    pub text: String,
}

/// The values of a statement by kind: clues as they are, or their tokens.
pub type Values<T> = BTreeMap<ClueKind, BTreeSet<T>>;

/// The clues by kind.
pub fn by_kind(clues: impl IntoIterator<Item = Clue>) -> Values<String> {
    let mut all = Values::new();
    for clue in clues {
        all.entry(clue.kind).or_insert_with(BTreeSet::new).insert(clue.text);
    }
    all
}

/// What is said about one child, in the form for comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The whole reading; empty where none is known.
    name: String,
    surname: String,
    given: String,
    birth: Option<Date>,
    sex: String,
    municipality: String,
    order: Option<i64>,
    /// Key, who gave it out, number.
    identifiers: Vec<(String, String, String)>,
}

impl Person {
    /// What the facts of one statement say.
    ///
    /// `agency`: who says so, which stands for who gave out a patient number that does not say it by itself.
    /// `municipality`: where the child lives, unless a fact says otherwise; may be empty.
    pub fn of(facts: &[Fact], agency: AgencyId, municipality: &str) -> Self {
        let value = |key: &str| facts.iter().find(|fact| fact.key == key).and_then(|f| f.value.as_ref());
        let text = |key: &str| match value(key) {
            Some(Value::Text(text) | Value::Code(text)) => text.as_str(),
            _ => "",
        };
        let unregistered = matches!(value("name_registered_yet"), Some(Value::Flag(true)));
        let at = text("municipality_code");
        let municipality = if at.is_empty() { municipality } else { at };
        let mut person = Self {
            birth: facts::birth_date(facts),
            sex: text("sex").to_owned(),
            municipality: municipality.to_owned(),
            order: match value("multiple_birth_order") {
                Some(Value::Number(order)) => Some(*order),
                _ => None,
            },
            ..Self::default()
        };
        person.read_name(text("name_kana"), unregistered);
        for key in IDENTIFIER_KEYS {
            person.identify(key, text(key), &agency.to_string());
        }
        person
    }

    /// What somebody who looks for a child says of it.
    pub fn sought(kana: &str, birth: Option<Date>, sex: &str, municipality: &str) -> Self {
        let mut person =
            Self { birth, sex: sex.to_owned(), municipality: municipality.to_owned(), ..Self::default() };
        person.read_name(kana, false);
        person
    }

    /// Adds a number. `key` is one of [`IDENTIFIER_KEYS`]; `issuer` gave out a patient number.
    pub fn identify(&mut self, key: &str, number: &str, issuer: &str) {
        let number = plain(number);
        if number.is_empty() {
            return;
        }
        // A number that names its system says itself who gave it out; an insurer's number is part of the member's.
        let says_so = key == "insurance_member_id" || number.contains("URN:OID:");
        let issuer = match key {
            _ if says_so => String::new(),
            "welfare_recipient_no" if !self.municipality.is_empty() => self.municipality.clone(),
            _ => issuer.to_owned(),
        };
        self.identifiers.push((key.to_owned(), issuer, number));
    }

    /// Reads `surname given`. A given name that nobody has given yet is none.
    fn read_name(&mut self, kana: &str, unregistered: bool) {
        let spaced: String = kana.nfkc().collect();
        let (surname, given) = spaced.trim().split_once(char::is_whitespace).unwrap_or_default();
        let (surname, given) = (kana::comparable(surname), kana::comparable(given));
        let nameless = unregistered || NOT_NAMED_YET.iter().any(|n| given.starts_with(&kana::comparable(n)));
        self.surname = surname;
        if !nameless {
            self.name = kana::comparable(kana);
            self.given = given;
        } else if self.surname.is_empty() {
            // Before the notification of birth a reading without a space is the mother's surname.
            self.surname = kana::comparable(kana);
        }
    }

    /// Its clues, each once.
    ///
    /// Without a birth date there are only numbers: a name alone is no clue.
    pub fn clues(&self) -> Vec<Clue> {
        let mut all = BTreeSet::new();
        let mut add = |kind, pieces: &[&str]| {
            if pieces.iter().all(|piece| !piece.is_empty()) {
                all.insert(Clue { kind, text: pieces.join(BETWEEN) });
            }
        };
        if let Some(birth) = self.birth {
            let birth = birth.to_string();
            add(ClueKind::NameBirth, &[&self.name, &birth]);
            add(ClueKind::SurnameBirth, &[&self.surname, &birth]);
            add(ClueKind::GivenBirth, &[&self.given, &birth]);
            add(ClueKind::Place, &[&birth, &self.sex, &self.municipality]);
            if let Some(order) = self.order {
                add(ClueKind::OrderBirth, &[&birth, &order.to_string()]);
            }
        }
        for (key, issuer, number) in &self.identifiers {
            if key == "insurance_member_id" && !names_a_person(number) {
                let birth = self.birth.map(|birth| birth.to_string()).unwrap_or_default();
                add(ClueKind::Household, &[number, &birth]);
                continue;
            }
            // An issuer may be unsaid, and counts all the same.
            let issued = format!("by {issuer}");
            add(ClueKind::Identifier, &[key, &issued, number]);
        }
        all.into_iter().collect()
    }
}

/// A number as everybody writes it: full-width forms unified, large letters, no spaces and no hyphens.
fn plain(number: &str) -> String {
    let dropped = |c: &char| c.is_whitespace() || matches!(c, '-' | '‐' | '‑' | '–' | '−' | 'ー');
    number.nfkc().filter(|c| !dropped(c)).flat_map(char::to_uppercase).collect()
}

/// Whether a member's number ends in a branch number: insurer, symbol, number, branch. Without one it is the
/// household's.
fn names_a_person(number: &str) -> bool {
    let parts: Vec<&str> = number.split(':').collect();
    parts.len() == 4 && parts.iter().all(|part| !part.is_empty())
}
