//! The field dictionary: under which keys facts about a child are kept, and what goes with each key.
//!
//! Never holds a value. A key decides the class of a fact, who reads it by default, where it naturally comes from,
//! when it has to be confirmed again, and which forms require it. Data: `data/dictionary.json`, compiled in.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::codes::{Lang, Table};
use crate::names::named_enum;
use crate::visibility::{self, DataClass, Level, ReaderGroup};

/// The facts with which a referral may be submitted: of each group one key suffices.
///
/// The other items of a submission are no facts: the case label instead of a name, the sender's telephone, and the
/// consent held at source. A true `name_registered_yet` stands for the date of birth of a child who is not registered.
pub const SUBMIT_FACTS: [&[&str]; 5] = [
    &["name_kana", "name_kanji", "name_used"],
    &["birth_date", "name_registered_yet"],
    &["municipality_code"],
    &["care_procedures"],
    &["planned_discharge_date"],
];

named_enum! {
    /// A purpose for which facts are sent, each with its form.
    pub enum Context {
        /// Referral at discharge.
        Discharge = "D",
        /// Entry into a nursery or kindergarten.
        Nursery = "N",
        /// School entry.
        School = "S",
        /// Decision on welfare services.
        Welfare = "W",
        /// The coordinator's own case work.
        Coordination = "C",
        /// Emergency and disaster.
        Emergency = "E",
    }
}

/// What a form says about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requirement {
    /// Asked for; may follow later where the form says so.
    Required,
    /// Sent when it is held.
    Optional,
    /// Not sent, as nobody needs it.
    NotNeeded,
    /// Not sent unless the family decides otherwise.
    MustNot,
}

/// What a value of a key looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Free text.
    Text,
    /// An ISO date; see [`Field::month_ok`].
    Date,
    /// Yes or no.
    Boolean,
    /// A whole number.
    Integer,
    /// One code of a table.
    Code(Table),
    /// A set of codes of a table.
    Codes(Table),
    /// Lines of free text, in order.
    TextList,
    /// A reference to a document kept elsewhere.
    Document,
}

named_enum! {
    /// Sensitivity of a field, from public to sealed.
    pub enum Sensitivity {
        /// No person.
        S0 = "s0",
        /// Basic personal.
        S1 = "s1",
        /// Service and administration.
        S2 = "s2",
        /// Health, disability, treatment.
        S3 = "s3",
        /// Restricted: explicit purpose, named recipients.
        S4 = "s4",
        /// Sealed: the safeguarding circle only.
        S5 = "s5",
    }
}

named_enum! {
    /// A rule of value beyond the kind.
    pub enum Rule {
        /// A person's name: no ideographic space.
        Name = "name",
        /// A name in full-width katakana.
        Kana = "kana",
        /// A municipality's code with its check digit.
        Municipality = "municipality",
        /// 1 to 9.
        BirthOrder = "birth_order",
        /// 0 to 150 points; the whole sheet has fewer.
        Score = "score",
    }
}

/// What the dictionary says about one key.
#[derive(Debug, Clone)]
pub struct Field {
    /// The key: stable, lower case ASCII with underscores.
    pub key: String,
    /// Chapter of the dictionary, `F1` to `F10`.
    pub group: String,
    /// Japanese label.
    pub ja: String,
    /// English label.
    pub en: String,
    /// Shape of a value.
    pub kind: Kind,
    /// Rule beyond the shape.
    pub rule: Option<Rule>,
    /// Class of data.
    pub class: DataClass,
    /// Sensitivity.
    pub sensitivity: Sensitivity,
    /// Who naturally knows it; empty if the system or any sender does.
    pub sources: Vec<ReaderGroup>,
    /// A change must be acknowledged by whoever relies on it before having the child again.
    pub safety: bool,
    /// The system fills it: no form asks for it.
    pub computed: bool,
    /// A month (`2024-07`) will do where the day is not known.
    pub month_ok: bool,
    /// Days after which it is to be confirmed; `None` if it does not age. A design default.
    pub fresh_days: Option<u16>,
    contexts: [Requirement; 6],
    levels: BTreeMap<ReaderGroup, Level>,
    by_grant: Vec<ReaderGroup>,
}

impl Field {
    /// The label in that language.
    pub fn label(&self, lang: Lang) -> &str {
        match lang {
            Lang::Ja => &self.ja,
            Lang::En => &self.en,
        }
    }

    /// What the form of that context says about this key.
    pub fn requirement(&self, context: Context) -> Requirement {
        self.contexts[context as usize]
    }

    /// What a group reads by default, inside a live circle.
    pub fn level(&self, group: ReaderGroup) -> Level {
        self.levels.get(&group).copied().unwrap_or(Level::None)
    }

    /// Whether the dictionary keeps the key for posts of the group that a grant names.
    pub fn is_by_grant(&self, group: ReaderGroup) -> bool {
        self.by_grant.contains(&group)
    }

    /// The most that a signed grant may give to posts of a group.
    ///
    /// The highest of the default, of what the dictionary keeps for named posts, and of the class's ceiling. A key that
    /// some form must not carry, and what a guardian reads, stay at the dictionary's own word.
    pub fn ceiling(&self, group: ReaderGroup) -> Level {
        let named = if self.by_grant.contains(&group) { Level::Full } else { Level::None };
        let own_word = self.level(group).max(named);
        if group == ReaderGroup::Fam || self.contexts.contains(&Requirement::MustNot) {
            return own_word;
        }
        own_word.max(visibility::class_cell(self.class, group).ceiling)
    }
}

#[derive(Deserialize)]
struct File {
    forms: BTreeMap<Context, Vec<ReaderGroup>>,
    fields: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    key: String,
    group: String,
    ja: String,
    en: String,
    kind: String,
    table: Option<Table>,
    class: DataClass,
    sensitivity: Sensitivity,
    contexts: String,
    sources: Vec<ReaderGroup>,
    circle: Option<Level>,
    readers: BTreeMap<String, Vec<ReaderGroup>>,
    #[serde(default)]
    safety: bool,
    #[serde(default)]
    computed: bool,
    #[serde(default)]
    month_ok: bool,
    fresh_days: Option<u16>,
    rule: Option<Rule>,
}

impl Row {
    fn kind(&self) -> Option<Kind> {
        Some(match (self.kind.as_str(), self.table) {
            ("text", None) => Kind::Text,
            ("date", None) => Kind::Date,
            ("boolean", None) => Kind::Boolean,
            ("integer", None) => Kind::Integer,
            ("code", Some(table)) => Kind::Code(table),
            ("codes", Some(table)) => Kind::Codes(table),
            ("text_list", None) => Kind::TextList,
            ("document", None) => Kind::Document,
            _ => return None,
        })
    }

    fn contexts(&self) -> Option<[Requirement; 6]> {
        let letter = |c| match c {
            'R' => Some(Requirement::Required),
            'O' => Some(Requirement::Optional),
            '-' => Some(Requirement::NotNeeded),
            'X' => Some(Requirement::MustNot),
            _ => None,
        };
        self.contexts.chars().map(letter).collect::<Option<Vec<_>>>()?.try_into().ok()
    }

    /// `None` if the row is malformed.
    fn into_field(self) -> Option<Field> {
        let mut levels = BTreeMap::new();
        if let Some(level) = self.circle {
            levels.extend(ReaderGroup::ALL.iter().map(|group| (*group, level)));
        }
        let mut by_grant = Vec::new();
        for (name, groups) in &self.readers {
            match Level::parse(name) {
                Some(level) => levels.extend(groups.iter().map(|group| (*group, level))),
                None if name == "by_grant" => by_grant.clone_from(groups),
                None => return None,
            }
        }
        let (kind, contexts) = (self.kind()?, self.contexts()?);
        Some(Field {
            key: self.key,
            group: self.group,
            ja: self.ja,
            en: self.en,
            kind,
            rule: self.rule,
            class: self.class,
            sensitivity: self.sensitivity,
            sources: self.sources,
            safety: self.safety,
            computed: self.computed,
            month_ok: self.month_ok,
            fresh_days: self.fresh_days,
            contexts,
            levels,
            by_grant,
        })
    }
}

struct Dictionary {
    fields: Vec<Field>,
    by_key: BTreeMap<String, usize>,
    forms: BTreeMap<Context, Vec<ReaderGroup>>,
}

static DICTIONARY: LazyLock<Dictionary> = LazyLock::new(|| {
    let file: File = serde_json::from_str(include_str!("../data/dictionary.json"))
        .expect("invariant: dictionary.json parses");
    let fields: Vec<Field> = file
        .fields
        .into_iter()
        .map(|r| r.into_field().expect("invariant: every row is well formed"))
        .collect();
    let by_key = fields.iter().enumerate().map(|(i, field)| (field.key.clone(), i)).collect();
    Dictionary { fields, by_key, forms: file.forms }
});

/// Every field, in the order of the dictionary.
pub fn all() -> &'static [Field] {
    &DICTIONARY.fields
}

/// The field of a key, `None` if the dictionary has no such key.
pub fn field(key: &str) -> Option<&'static Field> {
    DICTIONARY.by_key.get(key).map(|i| &DICTIONARY.fields[*i])
}

/// Place of a key in the dictionary's order, `None` if the dictionary has no such key.
pub fn place(key: &str) -> Option<usize> {
    DICTIONARY.by_key.get(key).copied()
}

/// What a group reads of a key by default. An unknown key gives nothing.
pub fn readers(key: &str, group: ReaderGroup) -> Level {
    field(key).map_or(Level::None, |field| field.level(group))
}

/// The groups to which a form of that context goes.
pub fn addressees(context: Context) -> &'static [ReaderGroup] {
    DICTIONARY.forms.get(&context).map_or(&[], Vec::as_slice)
}

/// The fields that a form of that context asks for, without what the system fills itself.
pub fn required(context: Context) -> impl Iterator<Item = &'static Field> {
    all().iter().filter(move |f| !f.computed && f.requirement(context) == Requirement::Required)
}

#[cfg(test)]
#[path = "dictionary_tests.rs"]
mod tests;
