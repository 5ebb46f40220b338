//! From the text of a policy file to a policy, or to everything that is wrong with it, line by line.
//!
//! Nothing is guessed: a name that is not known is an error that says which names there are. A text with an error is
//! no policy at all, so that a slip never opens anything.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::{BYTES_MAX, CLASSES, Caps, GROUPS, GroupKeys, Issue, KeySet, Levels, Place, Policy, RELATIONS};
use crate::dictionary::{self, Context, Kind};
use crate::municipality;
use crate::purpose::PURPOSES;
use crate::visibility::{Cell, Condition, DataClass, Level, NOTHING, ReaderGroup};

/// The flag of a diagnosis that the family has not been told.
pub(super) const UNTOLD: &str = "diagnosis_not_disclosed";
/// A municipality that is none: the policy that comes along.
const DEFAULT: &str = "default";
/// Every class but the two that are named on their own.
const ALL: &str = "all";
const VERSION_CHARS_MAX: usize = 40;
const SECTIONS: [&str; 10] = [
    "form",
    "municipality",
    "version",
    "classes",
    "relations",
    "before_acceptance",
    "purposes",
    "summary",
    "keys",
    "uninformed",
];
/// The levels by the words of a file.
const LEVELS: [(&str, Level); 5] = [
    ("full", Level::Full),
    ("summary", Level::Summary),
    ("own", Level::Own),
    ("existence", Level::Existence),
    ("nothing", Level::None),
];

type Table<'i> = DeTable<'i>;
type Value<'i> = Spanned<DeValue<'i>>;

/// Reads a policy; `limit` is the policy that may not be exceeded.
pub(super) fn policy(text: &str, limit: Option<&Policy>) -> Result<Policy, Vec<Issue>> {
    if text.len() > BYTES_MAX {
        let bytes = format!("at most {BYTES_MAX} bytes");
        return Err(vec![Issue::new(1, "the file is too large", "ファイルが大きすぎます", &[&bytes])]);
    }
    let mut reading =
        Reading { text, limit, issues: Vec::new(), policy: Policy::closed(), narrowed: BTreeMap::new() };
    match DeTable::parse(text) {
        Ok(table) => reading.file(table.get_ref()),
        Err(error) => {
            let line = error.span().map_or(1, |span| reading.line(span.start));
            reading.issues.push(Issue::new(
                line,
                format!("this is no TOML: {}", error.message()),
                "TOMLとして読めません",
                &["name = value, or [section]"],
            ));
        }
    }
    let Reading { mut issues, policy, .. } = reading;
    issues.sort_by(|a, b| (a.line, &a.en).cmp(&(b.line, &b.en)));
    if issues.is_empty() { Ok(policy) } else { Err(issues) }
}

struct Reading<'t> {
    text: &'t str,
    limit: Option<&'t Policy>,
    issues: Vec<Issue>,
    policy: Policy,
    narrowed: BTreeMap<(usize, ReaderGroup), Level>,
}

impl Reading<'_> {
    fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    fn issue(&mut self, offset: usize, en: String, ja: String, allowed: &[&str]) {
        let line = self.line(offset);
        self.issues.push(Issue::new(line, en, ja, allowed));
    }

    fn unknown(&mut self, offset: usize, what: (&str, &str), name: &str, allowed: &[&str]) {
        let (en, ja) = what;
        self.issue(
            offset,
            format!("there is no {en} \"{name}\""),
            format!("「{name}」という{ja}はありません"),
            allowed,
        );
    }

    fn file(&mut self, file: &Table<'_>) {
        self.known(file, &[&SECTIONS[..], &["protected_address"]].concat(), ("section", "項目"));
        match file.get("form").and_then(|v| v.get_ref().as_integer()).map(|i| i.as_str() == "1") {
            Some(true) => {}
            _ => {
                let at = file.get("form").map_or(0, |v| v.span().start);
                self.issue(
                    at,
                    "the form of the file is not known".into(),
                    "ファイルの形式番号がありません".into(),
                    &["form = 1"],
                );
            }
        }
        self.policy.municipality = self.word(
            file,
            "municipality",
            |code| code == DEFAULT || municipality::is_municipality(code),
            "\"default\" or the six digits of a municipality's code",
        );
        let version = |text: &str| !text.is_empty() && text.chars().count() <= VERSION_CHARS_MAX;
        self.policy.version = self.word(file, "version", version, "1 to 40 characters");
        for (name, table) in self.tables(file, "classes") {
            let classes: Vec<&str> = DataClass::ALL[1..].iter().map(|class| class.name()).collect();
            match DataClass::parse(name.get_ref()).filter(|class| *class != DataClass::NotPersonal) {
                Some(class) => self.class(class, table),
                None => self.unknown(name.span().start, ("class", "分類"), name.get_ref(), &classes),
            }
        }
        self.relations(file);
        self.purposes(file);
        self.narrowed_keys(file);
        if let Some(summary) = self.table(file, "summary") {
            self.known(summary, &["values"], ("line", "行"));
            let (keys, at) = self.keys(summary, "values");
            self.words_in_summary(&keys);
            self.policy.summary = keys.iter().fold(KeySet::EMPTY, with);
            self.note(Place::Summary, at);
        }
        if let Some(before) = self.table(file, "before_acceptance") {
            self.known(before, &["groups", "summary"], ("line", "行"));
            let groups: Vec<ReaderGroup> = self
                .list(before, "groups")
                .into_iter()
                .filter_map(|(name, at)| self.group(&name, at))
                .collect();
            let (keys, at) = self.keys(before, "summary");
            self.policy.before_acceptance = (groups, keys.iter().fold(KeySet::EMPTY, with));
            self.note(Place::BeforeAcceptance, at);
        }
        self.hidden(file);
        let Self { policy, narrowed, limit, .. } = self;
        let key = |field: &dictionary::Field, group| {
            narrowed.get(&(dictionary::place(&field.key)?, group)).copied()
        };
        let cell = |class, group| {
            policy.line(&Place::Cell(class, group))?;
            Some(policy.cell(class, group))
        };
        let keys = |group: &ReaderGroup| {
            GroupKeys::new(*group, |class| cell(class, *group), *limit, |field| key(field, *group))
        };
        policy.groups = ReaderGroup::ALL.iter().map(keys).collect();
    }

    fn class(&mut self, class: DataClass, table: &Table<'_>) {
        let levels: Vec<&str> = LEVELS.iter().map(|(word, _)| *word).collect();
        self.known(table, &levels, ("level", "見え方"));
        for (word, level) in LEVELS {
            for (text, at) in self.list(table, word) {
                let Some((group, cell)) = self.cell(level, &text, at) else { continue };
                if let Some(first) = self.policy.line(&Place::Cell(class, group)) {
                    let en = format!("{group} stands in {class} twice, first in line {first}");
                    let ja = format!("{group}が{class}に二度あります(最初は{first}行目)");
                    self.issue(at, en, ja, &["each group once in a class"]);
                }
                self.ceiling(class, group, cell, at);
                self.policy.cells[class as usize][group as usize] = cell;
                self.note(Place::Cell(class, group), at);
            }
        }
    }

    /// `NUR`, `NUR when after_submit` or `SUP, full when consented`.
    fn cell(&mut self, level: Level, text: &str, at: usize) -> Option<(ReaderGroup, Cell)> {
        let (first, raised) = match text.split_once(',') {
            Some((first, raised)) => (first.trim(), Some(raised.trim())),
            None => (text.trim(), None),
        };
        let (name, condition) = self.condition(first, at)?;
        let group = self.group(name, at)?;
        let Some(raised) = raised else { return Some((group, Cell { level, condition, ceiling: level })) };
        let (word, raised_when) = self.condition(raised, at)?;
        let ceiling = LEVELS.iter().find(|(name, _)| *name == word).map(|(_, level)| *level);
        match (ceiling, raised_when, condition) {
            (Some(ceiling), Some(when), None) if ceiling > level => {
                Some((group, Cell { level, condition: Some(when), ceiling }))
            }
            _ => {
                let en = format!("\"{text}\" does not say more under a condition");
                let ja = format!("「{text}」は、条件つきで広がる書き方になっていません");
                self.issue(
                    at,
                    en,
                    ja,
                    &["GROUP", "GROUP when CONDITION", "GROUP, WIDER LEVEL when CONDITION"],
                );
                None
            }
        }
    }

    fn condition<'x>(&mut self, text: &'x str, at: usize) -> Option<(&'x str, Option<Condition>)> {
        let Some((name, when)) = text.split_once(" when ") else { return Some((text, None)) };
        let found = Condition::parse(when.trim());
        if found.is_none() {
            let allowed: Vec<&str> = Condition::ALL.iter().map(|c| c.name()).collect();
            self.unknown(at, ("condition", "条件"), when.trim(), &allowed);
        }
        found.map(|condition| (name.trim(), Some(condition)))
    }

    /// A municipality may widen up to the ceiling of the policy that comes along, and no further.
    fn ceiling(&mut self, class: DataClass, group: ReaderGroup, cell: Cell, at: usize) {
        let Some(most) = self.limit.map(|limit| limit.cell(class, group)) else { return };
        let conditional = most.condition.is_some() && most.ceiling > most.level;
        let unconditional =
            if conditional && cell.condition != most.condition { most.level } else { most.ceiling };
        if cell.ceiling > unconditional || cell.level > most.level && conditional {
            let word = |level| LEVELS.iter().find(|(_, l)| *l == level).map_or("nothing", |(word, _)| *word);
            let allowed = match most.condition.filter(|_| conditional) {
                Some(when) => format!("at most {}, {} when {when}", word(most.level), word(most.ceiling)),
                None => format!("at most {}", word(most.ceiling)),
            };
            let en = format!("{class} for {group} is wider than its ceiling");
            let ja = format!("{group}の{class}が上限を超えています");
            self.issue(at, en, ja, &[&allowed]);
        }
    }

    fn relations(&mut self, file: &Table<'_>) {
        for (name, table) in self.tables(file, "relations") {
            let Some((relation, code)) = RELATIONS.iter().find(|(_, code)| code == name.get_ref()) else {
                let allowed: Vec<&str> = RELATIONS.iter().map(|(_, code)| *code).collect();
                self.unknown(name.span().start, ("relation", "関わり方"), name.get_ref(), &allowed);
                continue;
            };
            let levels = self.levels(table, &[]);
            self.policy.relations.insert(*relation, Caps::new(levels, None));
            self.note(Place::Relation(code), name.span().start);
        }
    }

    fn purposes(&mut self, file: &Table<'_>) {
        for (name, table) in self.tables(file, "purposes") {
            let Some(place) = PURPOSES.iter().position(|code| code == name.get_ref()) else {
                self.unknown(name.span().start, ("purpose", "目的"), name.get_ref(), PURPOSES);
                continue;
            };
            let levels = self.levels(table, &["form"]);
            let form = table.get("form").and_then(|value| {
                let text = value.get_ref().as_str().unwrap_or_default();
                let form = Context::parse(text);
                if form.is_none() {
                    let allowed: Vec<&str> = Context::ALL.iter().map(|form| form.name()).collect();
                    self.unknown(value.span().start, ("form", "様式"), text, &allowed);
                }
                form
            });
            self.policy.purposes[place] = Caps::new(levels, form);
            self.note(Place::Purpose(PURPOSES[place]), name.span().start);
        }
    }

    /// Lists of classes by level; a class that stands in none is not read.
    fn levels(&mut self, table: &Table<'_>, besides: &[&str]) -> Levels {
        let words: Vec<&str> = LEVELS.iter().map(|(word, _)| *word).chain(besides.iter().copied()).collect();
        self.known(table, &words, ("line", "行"));
        let mut levels = [None; CLASSES];
        for (word, level) in LEVELS {
            for (name, at) in self.list(table, word) {
                let named: Vec<DataClass> = match DataClass::parse(&name) {
                    Some(class) if !matches!(class, DataClass::NotPersonal | DataClass::Sealed) => {
                        vec![class]
                    }
                    _ if name == ALL => DataClass::ALL[1..]
                        .iter()
                        .copied()
                        .filter(|class| !matches!(class, DataClass::Restricted | DataClass::Sealed))
                        .collect(),
                    _ => {
                        let classes = DataClass::ALL[1..CLASSES - 1].iter().map(|class| class.name());
                        let allowed: Vec<&str> = [ALL].into_iter().chain(classes).collect();
                        self.unknown(at, ("class", "分類"), &name, &allowed);
                        continue;
                    }
                };
                for class in named {
                    if levels[class as usize].replace(level).is_some() {
                        let (en, ja) = (format!("{class} is named twice"), format!("{class}が二度あります"));
                        self.issue(at, en, ja, &["each class once"]);
                    }
                }
            }
        }
        levels.map(|level| level.unwrap_or(Level::None))
    }

    fn narrowed_keys(&mut self, file: &Table<'_>) {
        for (name, table) in self.tables(file, "keys") {
            let at = name.span().start;
            let Some(place) = self.key(name.get_ref(), at) else { continue };
            let field = &dictionary::all()[place];
            self.known(table, &["summary", "nothing"], ("level", "見え方"));
            for (word, level) in [("summary", Level::Summary), ("nothing", Level::None)] {
                for (text, at) in self.list(table, word) {
                    let Some(group) = self.group(&text, at) else { continue };
                    let most = if field.is_by_grant(group) { Level::Full } else { field.level(group) };
                    if most < level {
                        let en = format!("{} for {group} is wider than the field dictionary", field.key);
                        let ja = format!("{group}の{}が項目辞書より広くなっています", field.key);
                        self.issue(at, en, ja, &["nothing"]);
                    }
                    self.narrowed.insert((place, group), level);
                    self.note(Place::Key(place, group), at);
                }
            }
        }
    }

    fn words_in_summary(&mut self, keys: &[(usize, usize)]) {
        for (place, at) in keys {
            let field = &dictionary::all()[*place];
            if matches!(field.kind, Kind::Text | Kind::TextList | Kind::Document) {
                let en = format!("{} is free text, which no summary shows", field.key);
                let ja = format!("{}は自由記述のため、要約には出せません", field.key);
                self.issue(*at, en, ja, &["keys of codes, dates, numbers, yes or no"]);
            }
        }
    }

    fn hidden(&mut self, file: &Table<'_>) {
        if let Some(table) = self.table(file, "uninformed") {
            self.known(table, &["flag", "hides"], ("line", "行"));
            self.word(table, "flag", |key| key == UNTOLD, UNTOLD);
            let (keys, at) = self.keys(table, "hides");
            self.policy.uninformed = keys.iter().fold(KeySet::EMPTY, with);
            self.note(Place::Uninformed, at);
        }
        if let Some(table) = self.table(file, "protected_address") {
            self.known(table, &["classes", "keys"], ("line", "行"));
            let (keys, at) = self.keys(table, "keys");
            let classes: Vec<&str> = DataClass::ALL[1..].iter().map(|class| class.name()).collect();
            let mut closed = Vec::new();
            for (name, at) in self.list(table, "classes") {
                match DataClass::parse(&name) {
                    Some(class) => closed.push(class),
                    None => self.unknown(at, ("class", "分類"), &name, &classes),
                }
            }
            let of_class = KeySet::of(|field| closed.contains(&field.class));
            self.policy.protected = (keys.iter().fold(KeySet::EMPTY, with).or(of_class), closed);
            self.note(Place::ProtectedAddress, at);
        }
    }

    fn note(&mut self, place: Place, at: usize) {
        let line = self.line(at);
        self.policy.lines.insert(place, line);
    }

    fn known(&mut self, table: &Table<'_>, names: &[&str], what: (&str, &str)) {
        for (name, _) in table.iter() {
            if !names.contains(&name.get_ref().as_ref()) {
                self.unknown(name.span().start, what, name.get_ref(), names);
            }
        }
    }

    fn word(&mut self, table: &Table<'_>, name: &str, good: impl Fn(&str) -> bool, allowed: &str) -> String {
        let value = table.get(name);
        let text = value.and_then(|value| value.get_ref().as_str()).filter(|text| good(text));
        if text.is_none() {
            let at = value.map_or(0, |value| value.span().start);
            let (en, ja) = (format!("{name} is missing or wrong"), format!("{name}がないか、誤っています"));
            self.issue(at, en, ja, &[allowed]);
        }
        text.unwrap_or_default().to_owned()
    }

    fn table<'v, 'i>(&mut self, file: &'v Table<'i>, name: &str) -> Option<&'v Table<'i>> {
        let value = file.get(name)?;
        self.as_table(name, value)
    }

    fn tables<'v, 'i>(
        &mut self,
        file: &'v Table<'i>,
        name: &str,
    ) -> Vec<(&'v Spanned<DeString<'i>>, &'v Table<'i>)> {
        let Some(table) = self.table(file, name) else { return Vec::new() };
        let one = |(name, value): (&'v Spanned<DeString<'i>>, &'v Value<'i>)| {
            Some((name, self.as_table(name.get_ref(), value)?))
        };
        table.iter().filter_map(one).collect()
    }

    fn as_table<'v, 'i>(&mut self, name: &str, value: &'v Value<'i>) -> Option<&'v Table<'i>> {
        let table = value.get_ref().as_table();
        if table.is_none() {
            let (en, ja) = (format!("{name} is no section"), format!("{name}は見出しではありません"));
            self.issue(value.span().start, en, ja, &["[section] and lines under it"]);
        }
        table
    }

    /// The texts of a list, each with its place in the file.
    fn list(&mut self, table: &Table<'_>, name: &str) -> Vec<(String, usize)> {
        let Some(value) = table.get(name) else { return Vec::new() };
        let Some(list) = value.get_ref().as_array() else {
            let (en, ja) = (format!("{name} is no list"), format!("{name}が一覧になっていません"));
            self.issue(value.span().start, en, ja, &["[\"NAME\", \"NAME\"]"]);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for value in list.iter() {
            let at = value.span().start;
            match value.get_ref().as_str() {
                Some(text) => texts.push((text.to_owned(), at)),
                None => {
                    self.issue(at, "this is no text".into(), "文字列ではありません".into(), &["\"NAME\""])
                }
            }
        }
        texts
    }

    /// The keys of a list, each with its place in the file, and where the list stands.
    fn keys(&mut self, table: &Table<'_>, name: &str) -> (Vec<(usize, usize)>, usize) {
        let at = table.get(name).map_or(0, |value| value.span().start);
        let texts = self.list(table, name);
        (texts.into_iter().filter_map(|(key, at)| Some((self.key(&key, at)?, at))).collect(), at)
    }

    fn key(&mut self, key: &str, at: usize) -> Option<usize> {
        let place = dictionary::place(key);
        if place.is_none() {
            // The whole dictionary would fill a screen: the keys that begin alike help with a slip.
            let start: String = key.chars().take(3).collect();
            let alike =
                dictionary::all().iter().map(|field| field.key.as_str()).filter(|k| k.starts_with(&start));
            let alike: Vec<&str> = alike.chain(["a key of the field dictionary"]).collect();
            self.unknown(at, ("key", "項目"), key, &alike);
        }
        place
    }

    fn group(&mut self, name: &str, at: usize) -> Option<ReaderGroup> {
        let group = ReaderGroup::parse(name);
        if group.is_none() {
            let allowed: Vec<&str> = ReaderGroup::ALL.iter().map(|group| group.name()).collect();
            self.unknown(at, ("group", "機関の区分"), name, &allowed);
        }
        group
    }
}

fn with(mut set: KeySet, (place, _): &(usize, usize)) -> KeySet {
    set.insert(*place);
    set
}

const _: () = assert!(GROUPS <= 32 && NOTHING.level as usize == 0);
