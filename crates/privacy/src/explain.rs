//! Why a viewer sees what it sees: the same rules once more, told step by step.
//!
//! It says what may be seen, never whether there is anything, and looks at no content. The level that it tells is that of
//! [`Access`] itself; the steps beside it name what decided: relation, grant, line of the policy, purpose.

use tasuki_contract::DataClass;
use tasuki_domain::codes::Lang;
use tasuki_domain::dictionary::{self, Field};
use tasuki_domain::ids::GrantId;
use tasuki_domain::policy::{Place, RELATIONS};
use tasuki_domain::visibility::{self, Level};

use crate::access::Access;
use crate::class::{self, PERSONAL};

/// What is seen of one class or key, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The class as the contract spells it, or the key.
    pub name: &'static str,
    /// What is seen, own parts aside.
    pub level: Level,
    /// Grants that allow it.
    pub grants: Vec<GrantId>,
    /// The line of the policy of the case's municipality that decides; 0: none.
    pub line: usize,
    steps: Vec<(String, String)>,
}

impl Explained {
    /// Why, in that language.
    pub fn why(&self, lang: Lang) -> String {
        let step = |(ja, en): &(String, String)| match lang {
            Lang::Ja => ja.clone(),
            Lang::En => en.clone(),
        };
        let separator = if lang == Lang::Ja { "。" } else { "; " };
        self.steps.iter().map(step).collect::<Vec<_>>().join(separator)
    }
}

/// The word of a level in that language.
pub fn level_word(level: Level, lang: Lang) -> &'static str {
    let (ja, en) = match level {
        Level::Full => ("全部", "full"),
        Level::Summary => ("要約", "summary"),
        Level::Own => ("自分の分", "own part"),
        Level::Existence => ("あることだけ", "existence"),
        Level::None => ("なし", "nothing"),
    };
    if lang == Lang::Ja { ja } else { en }
}

fn both(ja: impl Into<String>, en: impl Into<String>) -> (String, String) {
    (ja.into(), en.into())
}

fn words(level: Level) -> (&'static str, &'static str) {
    (level_word(level, Lang::Ja), level_word(level, Lang::En))
}

impl Access<'_> {
    /// Why the viewer stands in the circle, as policy files call it.
    pub fn relation_names(&self) -> Vec<&'static str> {
        let name = |relation| RELATIONS.iter().find(|(r, _)| *r == relation).map(|(_, name)| *name);
        self.relations().filter_map(name).collect()
    }

    /// Every personal class, in the order of the contract.
    pub fn explain_classes(&self) -> Vec<Explained> {
        PERSONAL.into_iter().map(|class| self.explain_class(class)).collect()
    }

    /// Every key of the field dictionary, in its order.
    pub fn explain_keys(&self) -> Vec<Explained> {
        dictionary::all().iter().map(|field| self.explain_key(field)).collect()
    }

    fn explain_class(&self, class: DataClass) -> Explained {
        let mut told = Explained {
            name: class.as_str_name(),
            level: self.class_level(class),
            grants: self.grants_of(class, None),
            line: 0,
            steps: Vec::new(),
        };
        let (Some(in_tables), true) = (class::in_tables(class), self.stands(&mut told)) else { return told };
        if !self.member {
            told.steps.push(both(
                "打診を受けただけで、自分の分のほかは見えません",
                "only asked: nothing but its own part",
            ));
            return told;
        }
        if class == DataClass::Sealed {
            told.steps.push(both("封緘情報は誰にも見えません", "sealed: nobody sees it"));
            return told;
        }
        if !self.consent(&mut told, class) {
            return told;
        }
        self.cell(&mut told, class, in_tables);
        self.narrowing(&mut told, in_tables, None);
        told
    }

    fn explain_key(&self, field: &'static Field) -> Explained {
        let class = class::in_contract(field.class);
        let level = if self.in_circle() { self.facts().level(&field.key) } else { Level::None };
        let grants = self.grants_of(class, Some(&field.key));
        let mut told = Explained { name: &field.key, level, grants, line: 0, steps: Vec::new() };
        if !self.stands(&mut told) {
            return told;
        }
        if class == DataClass::Sealed {
            told.steps.push(both("封緘情報は誰にも見えません", "sealed: nobody sees it"));
            return told;
        }
        if !self.consent(&mut told, class) {
            return told;
        }
        let Some(group) = self.group else { return told };
        let by = field.level(group);
        let (ja, en) = words(by);
        told.steps.push(both(format!("項目辞書: {ja}"), format!("field dictionary: {en}")));
        if field.is_by_grant(group) {
            let named = self.covering().any(|(_, grant)| self.names_post(grant));
            let (ja, en) = if named { ("あり", "is") } else { ("なし", "is not") };
            told.steps.push(both(
                format!("同意書に名前のある窓口には全部(名前{ja})"),
                format!("full to a post that a grant names, which this one {en}"),
            ));
        }
        let place = dictionary::place(&field.key).unwrap_or_default();
        if let Some(line) = self.rules.of_case.line(&Place::Key(place, group)) {
            told.line = line;
            told.steps.push(both(
                format!("決まり{line}行目でこの項目を狭めています"),
                format!("policy line {line} narrows this key"),
            ));
        } else if let Some(line) = self.rules.of_case.line(&Place::Cell(field.class, group)) {
            told.line = line;
        }
        self.narrowing(&mut told, field.class, Some(place));
        if self.only_asked && self.rules.all().any(|policy| policy.before_acceptance(group).is_some()) {
            told.steps.push(both(
                "引き受ける前はわずかな項目の要約だけ",
                "before acceptance a summary of few keys",
            ));
        }
        if level > Level::None && self.hides_untold(&field.key) {
            told.steps.push(both(
                "家族に未告知の印がある記録では見えません",
                "not where a record says that the family has not been told",
            ));
        }
        told
    }

    fn stands(&self, told: &mut Explained) -> bool {
        if self.group.is_none() {
            told.steps.push(both(
                "この種別の機関は自分の分のほかは見えません",
                "a kind of agency that reads its own part only",
            ));
            return false;
        }
        let names = self.relation_names();
        if names.is_empty() {
            told.steps.push(both("支援の輪の中にいません", "not in the circle of the case"));
            return false;
        }
        told.steps
            .push(both(format!("関わり: {}", names.join(", ")), format!("relation: {}", names.join(", "))));
        true
    }

    fn consent(&self, told: &mut Explained, class: DataClass) -> bool {
        let restricted = class == DataClass::Restricted;
        if self.family && !restricted {
            told.steps.push(both("家族には同意は要りません", "a family needs no grant"));
            return true;
        }
        let step = match (told.grants.is_empty(), restricted) {
            (true, true) => both("窓口を名指しする同意がありません", "no grant names the post"),
            (true, false) => both("有効な同意がありません", "no grant in force covers it"),
            (false, _) => {
                both(format!("同意{}件", told.grants.len()), format!("{} grant(s)", told.grants.len()))
            }
        };
        told.steps.push(step);
        !told.grants.is_empty()
    }

    fn cell(&self, told: &mut Explained, class: DataClass, in_tables: visibility::DataClass) {
        let Some(group) = self.group else { return };
        let cell = self.rules.of_case.cell(in_tables, group);
        let Some(line) = self.rules.of_case.line(&Place::Cell(in_tables, group)) else {
            told.steps.push(both("決まりに書かれていません", "the policy does not name it"));
            return;
        };
        told.line = line;
        let (ja, en) = words(self.by_table(&self.rules.of_case, class));
        let (mut when_ja, mut when_en) = (String::new(), String::new());
        if let Some(condition) = cell.condition {
            let holds = self.holds(condition, class);
            when_ja = format!("(条件{condition}{})", if holds { "を満たす" } else { "を満たさない" });
            when_en = format!(" ({condition} {})", if holds { "holds" } else { "does not hold" });
        }
        told.steps.push(both(
            format!("決まり{line}行目: {ja}{when_ja}"),
            format!("policy line {line}: {en}{when_en}"),
        ));
        if self
            .rules
            .elsewhere
            .as_deref()
            .is_some_and(|p| self.by_table(p, class) < self.by_table(&self.rules.of_case, class))
        {
            told.steps
                .push(both("窓口の自治体の決まりがより厳しい", "the post's own municipality is stricter"));
        }
    }

    /// What relation, purpose and a kept address take away.
    fn narrowing(&self, told: &mut Explained, class: visibility::DataClass, key: Option<usize>) {
        let policy = &self.rules.of_case;
        let in_relation = self.relations().map(|relation| policy.in_relation(relation).level(class)).max();
        if in_relation.unwrap_or(Level::None) < Level::Full {
            let (ja, en) = words(in_relation.unwrap_or(Level::None));
            told.steps
                .push(both(format!("この関わりでは{ja}まで"), format!("at most {en} in this relation")));
        }
        if let Some(caps) = policy.for_purpose(self.viewer.purpose) {
            let by_form = key.is_some_and(|place| !caps.full.has(place)) && caps.level(class) == Level::Full;
            if caps.level(class) < Level::Full || by_form {
                let purpose = self.viewer.purpose.code();
                let line = policy.line(&Place::Purpose(purpose)).unwrap_or_default();
                let (ja, en) = if by_form { words(Level::None) } else { words(caps.level(class)) };
                told.line = if line > 0 { line } else { told.line };
                told.steps.push(both(
                    format!("目的{purpose}(決まり{line}行目)では{ja}まで"),
                    format!("at most {en} for {purpose} (policy line {line})"),
                ));
            }
        }
        let hidden = match key {
            Some(place) => policy.hidden_by_address().has(place),
            None => policy.closed_by_address(class),
        };
        if self.kept_away && hidden {
            told.line = policy.line(&Place::ProtectedAddress).unwrap_or(told.line);
            told.steps.push(both("住所の秘匿により見えません", "hidden, as the address is kept"));
        }
    }

    fn grants_of(&self, class: DataClass, key: Option<&str>) -> Vec<GrantId> {
        let restricted = class == DataClass::Restricted;
        let allows = |grant: &tasuki_domain::circle::Grant| {
            grant.classes.contains(&class)
                && !key.is_some_and(|key| grant.excluded_keys.contains(key))
                && (!restricted || self.names_post(grant))
        };
        self.covering().filter(|(_, grant)| allows(grant)).map(|(id, _)| *id).collect()
    }
}
