//! Every class × agency kind × relation × grant × part × purpose has an outcome that is written down in `coverage.txt`.
//!
//! A row that is missing fails, and so does one that comes out otherwise: who changes a policy, a class, a kind, a
//! relation or a purpose says there what it means. `TASUKI_BLESS=1` writes the file anew, for a reviewer to read.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tasuki_domain::purpose::PURPOSES;
use tasuki_domain::visibility::Level;

use super::*;
use crate::Access;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/coverage.txt");
const TABLE: &str = include_str!("coverage.txt");
const ABOUT: &str = "\
How much of an event of a class its viewer learns: F full, S summary, O own (open fields only), E existence, - nothing.
Written by TASUKI_BLESS=1, read by the test `every_class_kind_relation_and_purpose_has_its_outcome`.

A block holds for each line under `for`: relation, grant of every class (none, to the kind of agency, to the post by
name), whether the event names the post as party, and purposes. `kept_away` is a guardian from whom the address is kept,
`outside` who has no relation. A row holds for each of its classes; its columns are the groups of agency kinds, and last
the kinds that belong to none.
";

/// Relations by name; the last two are no relation of their own.
const RELATIONS: [(&str, &[Relation]); 10] = [
    ("lead", &[Relation::Lead]),
    ("ward", &[Relation::Ward]),
    ("sender", &[Relation::Sender]),
    ("receiver", &[Relation::Receiver]),
    ("accompanying", &[Relation::Accompanying]),
    ("named", &[Relation::Named]),
    ("family", &[Relation::Family]),
    ("asked", &[Relation::Asked]),
    ("kept_away", &[Relation::Family, Relation::KeptAway]),
    ("outside", &[]),
];
const GRANTS: [&str; 3] = ["none", "kind", "named"];
const PARTS: [&str; 2] = ["apart", "party"];

/// Relation, grant, part, purpose.
type Stand = (&'static str, &'static str, &'static str, &'static str);

fn columns() -> Vec<&'static str> {
    ReaderGroup::ALL.iter().map(|group| group.name()).chain(["other"]).collect()
}

/// The column of an agency kind.
fn column(kind: &str) -> usize {
    reader_group(kind).map_or(ReaderGroup::ALL.len(), |group| group as usize)
}

fn kinds() -> Vec<&'static str> {
    rows(Table::AgencyKind).iter().map(|row| row.code.as_str()).chain(["no_such_kind"]).collect()
}

fn stands() -> Vec<Stand> {
    let mut all = Vec::new();
    for (relation, _) in RELATIONS {
        for grant in GRANTS {
            for part in PARTS {
                all.extend(PURPOSES.iter().map(|purpose| (relation, grant, part, *purpose)));
            }
        }
    }
    all
}

/// What every class comes to for a kind of agency.
fn outcome((relation, held, part, purpose): Stand, kind: &str) -> Vec<Level> {
    let me = Viewer { purpose: Purpose::of(purpose), ..viewer(kind) };
    let relations = RELATIONS.iter().find(|(name, _)| *name == relation).unwrap().1;
    let recipient = match held {
        "none" => None,
        "kind" => Some(Recipient::Kind(kind.to_owned())),
        _ => Some(Recipient::Post(ME)),
    };
    let circle = circle(relations, recipient.map(|who| grant(who, PERSONAL)));
    let access = Access::new(&me, &circle, rules(), TODAY);
    let level = |class| {
        let event = access.event(class, part == "party", false);
        // Inside the event the class reads as the event itself does.
        assert_eq!(event.class_level(class), event.level());
        event.level()
    };
    PERSONAL.into_iter().map(level).collect()
}

fn letter(level: Level) -> char {
    match level {
        Level::Full => 'F',
        Level::Summary => 'S',
        Level::Own => 'O',
        Level::Existence => 'E',
        Level::None => '-',
    }
}

/// One table as text: rows that are alike stand in one line.
fn table(stand: Stand) -> String {
    let mut cells = vec![vec!['?'; columns().len()]; PERSONAL.len()];
    for kind in kinds() {
        for (row, level) in outcome(stand, kind).into_iter().enumerate() {
            let cell = &mut cells[row][column(kind)];
            assert!([letter(level), '?'].contains(cell), "{kind} reads like its group");
            *cell = letter(level);
        }
    }
    let mut alike: Vec<(&[char], Vec<&str>)> = Vec::new();
    for (class, row) in PERSONAL.iter().zip(&cells) {
        match alike.iter_mut().find(|(cells, _)| *cells == row.as_slice()) {
            Some((_, classes)) => classes.push(class.as_str_name()),
            None => alike.push((row, vec![class.as_str_name()])),
        }
    }
    let mut text = String::new();
    for (row, classes) in alike {
        for (cell, name) in row.iter().zip(columns()) {
            let _ = write!(text, "{cell:<width$} ", width = name.len());
        }
        let _ = writeln!(text, "{}", classes.join(" "));
    }
    text
}

fn written_anew() -> String {
    let mut alike: Vec<(String, Vec<Stand>)> = Vec::new();
    for stand in stands() {
        let table = table(stand);
        match alike.iter_mut().find(|(other, _)| *other == table) {
            Some((_, stands)) => stands.push(stand),
            None => alike.push((table, vec![stand])),
        }
    }
    let mut text = ABOUT.to_owned();
    for (table, stands) in alike {
        // Relations with the same grant, part and purposes share a line.
        let mut purposes: BTreeMap<(&str, &str, &str), Vec<&str>> = BTreeMap::new();
        for (relation, grant, part, purpose) in &stands {
            purposes.entry((grant, part, relation)).or_default().push(purpose);
        }
        let mut lines: Vec<(Vec<&str>, &str, &str, Vec<&str>)> = Vec::new();
        for ((grant, part, relation), purposes) in purposes {
            match lines.iter_mut().find(|(_, g, p, same)| (*g, *p) == (grant, part) && *same == purposes) {
                Some((relations, ..)) => relations.push(relation),
                None => lines.push((vec![relation], grant, part, purposes)),
            }
        }
        text.push('\n');
        for (relations, grant, part, purposes) in lines {
            let _ = writeln!(text, "for {} | {grant} | {part} | {}", relations.join(" "), purposes.join(" "));
        }
        let _ = writeln!(text, "{}", columns().join(" "));
        text.push_str(&table);
    }
    text
}

/// What is written down, cell by cell: stand, class, column.
fn written(text: &str) -> BTreeMap<(String, String, usize), char> {
    let mut cells = BTreeMap::new();
    for block in text.split("\n\n").filter(|block| block.starts_with("for ")) {
        let mut stands = Vec::new();
        for line in block.lines() {
            if let Some(line) = line.strip_prefix("for ") {
                let parts: Vec<Vec<&str>> =
                    line.split('|').map(|part| part.split_whitespace().collect()).collect();
                for relation in &parts[0] {
                    stands.extend(
                        parts[3]
                            .iter()
                            .map(|purpose| format!("{relation} {} {} {purpose}", parts[1][0], parts[2][0])),
                    );
                }
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            if words[..columns().len()] == columns() {
                continue;
            }
            let (row, classes) = words.split_at(columns().len());
            for stand in &stands {
                for class in classes {
                    for (column, cell) in row.iter().enumerate() {
                        let key = (stand.clone(), (*class).to_owned(), column);
                        let earlier = cells.insert(key.clone(), cell.chars().next().unwrap());
                        assert!(earlier.is_none(), "{key:?} is written down twice");
                    }
                }
            }
        }
    }
    cells
}

fn personal_classes_of_the_contract() -> Vec<DataClass> {
    let classes = super::fill::pool().get_enum_by_name("tasuki.privacy.v1.DataClass").unwrap();
    let all = classes.values().filter_map(|v| DataClass::try_from(v.number()).ok());
    all.filter(|c| (*c as i32) > 1 && (*c as i32) < DataClass::ByContent as i32).collect()
}

#[test]
fn the_list_of_personal_classes_is_that_of_the_contract_and_of_the_tables() {
    assert_eq!(PERSONAL.to_vec(), personal_classes_of_the_contract());
    for class in PERSONAL {
        let in_tables = crate::class::in_tables(class).unwrap();
        assert_eq!(crate::class::in_contract(in_tables), class);
    }
    assert_eq!(tasuki_domain::visibility::DataClass::ALL.len(), PERSONAL.len() + 1);
}

#[test]
fn every_relation_of_the_contract_is_in_the_matrix() {
    let all = super::fill::pool().get_enum_by_name("tasuki.event.v1.Relation").unwrap();
    let numbers = all.values().map(|v| v.number()).filter(|number| *number != 0);
    for relation in numbers.map(|number| Relation::try_from(number).unwrap()) {
        assert!(RELATIONS.iter().any(|(_, relations)| relations.contains(&relation)), "{relation:?}");
    }
}

#[test]
fn every_class_kind_relation_and_purpose_has_its_outcome() {
    if std::env::var_os("TASUKI_BLESS").is_some() {
        std::fs::write(FILE, written_anew()).unwrap();
        return;
    }
    let mut cells = written(TABLE);
    let mut wrong = Vec::new();
    for stand in stands() {
        let name = format!("{} {} {} {}", stand.0, stand.1, stand.2, stand.3);
        for kind in kinds() {
            for (class, level) in PERSONAL.iter().zip(outcome(stand, kind)) {
                let key = (name.clone(), class.as_str_name().to_owned(), column(kind));
                match cells.get(&key) {
                    Some(cell) if *cell == letter(level) => {}
                    Some(cell) => wrong.push(format!("{key:?} {kind}: {} instead of {cell}", letter(level))),
                    None => wrong.push(format!("{key:?} {kind} is not written down")),
                }
            }
        }
    }
    let known = |(stand, class, _): &(String, String, usize)| {
        stands().iter().any(|s| *stand == format!("{} {} {} {}", s.0, s.1, s.2, s.3))
            && PERSONAL.iter().any(|c| c.as_str_name() == class)
    };
    if wrong.is_empty() {
        let mut unknown: Vec<_> = cells.keys().filter(|key| key.2 == 0 && !known(key)).collect();
        unknown.dedup();
        assert!(unknown.is_empty(), "written down, but not known: {unknown:?}");
        cells.clear();
    }
    wrong.truncate(20);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_row_that_is_missing_is_noticed() {
    let row =
        TABLE.lines().find(|line| line.ends_with(" RESTRICTED SEALED") || line.ends_with(" SEALED")).unwrap();
    let without = TABLE.replacen(&format!("{row}\n"), "", 1);
    assert!(written(&without).len() < written(TABLE).len());
}
