//! A policy as a page for people: class × group, what relations and purposes narrow, and each key of the dictionary.

use std::fmt::Write as _;

use super::{CLASSES, Policy, RELATIONS};
use crate::codes::Lang;
use crate::dictionary;
use crate::purpose::PURPOSES;
use crate::visibility::{Cell, DataClass, Level, ReaderGroup, kinds_of};

const ABOUT: &str = "\
F full 全部, S summary 要約, O own part 自分の分, E existence あることだけ, – nothing なし. `S→F` is S, and F once the
condition beside it holds; a single level with a condition holds only under it. A post reads as its group inside a child's circle and
under a grant in force; its own part it always keeps. Relation and purpose narrow further.
";

fn letter(level: Level) -> &'static str {
    match level {
        Level::Full => "F",
        Level::Summary => "S",
        Level::Own => "O",
        Level::Existence => "E",
        Level::None => "–",
    }
}

fn cell(cell: Cell) -> String {
    match cell.condition {
        None => letter(cell.level).to_owned(),
        Some(when) if cell.ceiling > cell.level => {
            format!("{}→{} <sub>{when}</sub>", letter(cell.level), letter(cell.ceiling))
        }
        Some(when) => format!("{} <sub>{when}</sub>", letter(cell.level)),
    }
}

fn row(text: &mut String, cells: impl IntoIterator<Item = String>) {
    for cell in cells {
        let _ = write!(text, "| {cell} ");
    }
    text.push_str("|\n");
}

fn header(text: &mut String, first: &str) {
    row(text, [first.to_owned()].into_iter().chain(ReaderGroup::ALL.iter().map(|g| g.name().to_owned())));
    row(text, std::iter::repeat_n("-".to_owned(), ReaderGroup::ALL.len() + 1));
}

/// The page of a policy. The same policy gives the same bytes.
pub fn page(policy: &Policy) -> String {
    let mut text = format!("# 閲覧の決まり / Who sees what: {} {}\n\n", policy.municipality, policy.version);
    text.push_str("Written from the policy by `TASUKI_BLESS=1 cargo nextest run -p tasuki-domain`.\n\n");
    text.push_str(ABOUT);
    text.push_str("\n## Groups\n\n| | 区分 | Group | Kinds of agency |\n|-|-|-|-|\n");
    for group in ReaderGroup::ALL {
        let kinds: Vec<&str> = kinds_of(*group).collect();
        let (ja, en) = (group.label(Lang::Ja), group.label(Lang::En));
        row(&mut text, [group.name().into(), ja.into(), en.into(), kinds.join(", ")]);
    }
    text.push_str("\n## Classes\n\n");
    header(&mut text, "");
    for class in &DataClass::ALL[1..] {
        let label = format!("{} {}", class.label(Lang::Ja), class.label(Lang::En));
        let cells = ReaderGroup::ALL.iter().map(|group| cell(policy.cell(*class, *group)));
        row(&mut text, [label].into_iter().chain(cells));
    }
    text.push_str("\n## Relations and purposes: the most that is read\n\n| |");
    for class in &DataClass::ALL[1..CLASSES] {
        let _ = write!(text, " {class} |");
    }
    text.push('\n');
    row(&mut text, std::iter::repeat_n("-".to_owned(), CLASSES));
    let relations = RELATIONS.iter().map(|(relation, name)| (*name, policy.in_relation(*relation)));
    let purposes = PURPOSES.iter().enumerate().map(|(at, name)| (*name, &policy.purposes[at]));
    for (name, caps) in relations.chain(purposes) {
        let levels = DataClass::ALL[1..].iter().map(|class| letter(caps.level(*class)).to_owned());
        row(&mut text, [format!("`{name}`")].into_iter().chain(levels));
    }
    text.push_str("\n## Keys\n\nWhat a group reads of each key; `*` only of a post that a grant names. ");
    text.push_str("`=` a summary shows the value.\n\n");
    header(&mut text, "");
    for (place, field) in dictionary::all().iter().enumerate() {
        let level = |group: &ReaderGroup| {
            let keys = policy.keys(*group);
            let of = |full: bool, summary: bool| {
                if full {
                    "F"
                } else if summary {
                    "S"
                } else {
                    "–"
                }
            };
            let plain = of(keys.full.has(place), keys.summary.has(place));
            let named = of(keys.named_full.has(place), keys.named_summary.has(place));
            if plain == named && field.class != DataClass::Restricted {
                plain.to_owned()
            } else {
                format!("{named}{}", if named == "–" { "" } else { "*" })
            }
        };
        let shown = if policy.summary.has(place) { " =" } else { "" };
        let first = format!("`{}`{shown} {}", field.key, field.ja);
        row(&mut text, [first].into_iter().chain(ReaderGroup::ALL.iter().map(level)));
    }
    text
}
