//! Claims about policy files: what reads, what does not and where, and that nothing opens by a slip.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::dictionary;
use crate::visibility::Condition;

/// Broken files, each a change to the default: name, the text to find, the text instead, and what is said of it.
const BROKEN: &str = include_str!("broken.txt");
const NARROW: &str = include_str!("../../../../deploy/policies/example-narrow.toml");

struct Broken<'t> {
    name: &'t str,
    from: &'t str,
    to: &'t str,
    said: Vec<&'t str>,
}

fn broken() -> Vec<Broken<'static>> {
    let block = |block: &'static str| {
        let mut lines = block.lines().filter(|line| !line.starts_with('#'));
        let mut next = |mark: &str| {
            lines
                .next()
                .and_then(|line| line.strip_prefix(mark))
                .unwrap_or_else(|| panic!("{mark} in {block}"))
        };
        let (name, from, to) = (next("== "), next("- "), next("+ "));
        Broken { name, from, to, said: lines.collect() }
    };
    BROKEN.split("\n\n").filter(|b| b.contains("== ")).map(block).collect()
}

#[test]
fn a_broken_file_is_told_line_by_line_what_is_wrong_and_what_is_allowed() {
    let all = broken();
    assert!(all.len() >= 16, "{}", all.len());
    let mut wrong = Vec::new();
    for Broken { name, from, to, said } in all {
        assert_eq!(DEFAULT.matches(from).count(), 1, "{name}: the line to break stands once");
        let text = DEFAULT.replacen(from, &to.replace("\\n", "\n"), 1);
        let issues: Vec<String> = match Policy::read(&text) {
            Ok(_) => Vec::new(),
            Err(issues) => issues.iter().map(ToString::to_string).collect(),
        };
        // What is allowed may be a long list: its beginning is enough.
        let alike = issues.len() == said.len() && issues.iter().zip(&said).all(|(i, s)| i.starts_with(s));
        // The line is that of the slip, not of the section.
        let slip = text.lines().zip(DEFAULT.lines()).position(|(a, b)| a != b).map_or(0, |at| at + 1);
        let near = issues.iter().all(|issue| {
            let line: usize = issue.split(':').next().and_then(|n| n.parse().ok()).unwrap();
            said.len() > 1 || (slip..=slip + 2).contains(&line) || line == 1
        });
        if !alike || !near {
            wrong.push(format!("{name} (slip in {slip}):\n{}\n", issues.join("\n")));
        }
        assert!(matches!(Policy::adopted(&text), policy if policy.lines.is_empty()), "{name} opens nothing");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_default_names_every_class_group_relation_and_purpose() {
    assert_eq!(Policy::standard().unnamed(), Vec::<String>::new());
    assert!(Policy::read(DEFAULT).is_ok(), "and stays within its own ceilings");
    assert!(DEFAULT.len() < BYTES_MAX && NARROW.len() < BYTES_MAX);
}

#[test]
fn what_a_file_does_not_name_reads_nothing() {
    let bare = Policy::read("form = 1\nmunicipality = \"131172\"\nversion = \"bare\"\n").unwrap();
    for group in ReaderGroup::ALL {
        for class in DataClass::ALL {
            assert_eq!(bare.cell(*class, *group), NOTHING);
        }
        assert!(
            bare.keys(*group).summary.is_empty() && bare.keys(*group).named_summary.is_empty(),
            "{group}"
        );
    }
    for purpose in [Purpose::of("care_coordination"), Purpose::Unknown] {
        assert!(bare.for_purpose(purpose).unwrap().summary.is_empty());
    }
    assert!(bare.in_relation(Relation::Lead).full.is_empty());
    assert!(bare.unnamed().len() > 20);
    let closed = Policy::adopted("form = 99");
    assert!(closed.keys(ReaderGroup::Cd).full.is_empty() && closed.hidden_when_untold(None) == KeySet::all());
}

#[test]
fn the_municipality_that_narrows_reads_less_and_nowhere_more() {
    let (narrow, standard) = (Policy::read(NARROW).unwrap(), Policy::standard());
    let mut differ = 0;
    for group in ReaderGroup::ALL {
        for class in DataClass::ALL {
            let (here, there) = (narrow.cell(*class, *group), standard.cell(*class, *group));
            assert!(here.level <= there.level && here.ceiling <= there.ceiling, "{class} {group}");
            differ += usize::from(here != there);
        }
        let (here, there) = (narrow.keys(*group), standard.keys(*group));
        assert!(here.full.without(there.full).is_empty() && here.summary.without(there.summary).is_empty());
        assert!(here.named_summary.without(there.named_summary).is_empty(), "{group}");
    }
    assert!(differ > 0 && narrow.municipality == "131172");
    let place = |key| dictionary::place(key).unwrap();
    assert!(standard.keys(ReaderGroup::Edu).full.has(place("address_text")));
    assert!(!narrow.keys(ReaderGroup::Edu).summary.has(place("address_text")));
}

#[test]
fn a_class_that_is_narrowed_narrows_its_keys_and_a_ceiling_opens_under_its_condition_only() {
    let nurseries =
        DEFAULT.replacen(r#""NUR", "EDU", "SCH", "PROV", "EMS"]"#, r#""EDU", "SCH", "PROV", "EMS"]"#, 1);
    let policy = Policy::read(&nurseries).unwrap();
    let diagnosis =
        |policy: &Policy| policy.keys(ReaderGroup::Nur).summary.has(dictionary::place("growth").unwrap());
    assert!(diagnosis(Policy::standard()) && !diagnosis(&policy));
    let support = Policy::standard().cell(DataClass::Identity, ReaderGroup::Sup);
    assert_eq!(
        support,
        Cell { level: Level::None, condition: Some(Condition::Consented), ceiling: Level::Full }
    );
}

#[test]
fn a_form_leaves_the_keys_that_it_asks_for_and_restricted_needs_a_purpose_that_names_it() {
    let keys = |code| Policy::standard().for_purpose(Purpose::of(code)).unwrap();
    let place = |key| dictionary::place(key).unwrap();
    assert!(keys("care_coordination").full.has(place("patient_id")));
    assert!(
        !keys("nursery_entry").summary.has(place("patient_id"))
            && keys("nursery_entry").full.has(place("allergies"))
    );
    for (code, reads) in [
        ("care_coordination", true),
        ("service_decision", true),
        ("nursery_entry", false),
        ("disaster", false),
    ] {
        assert_eq!(keys(code).full.has(place("parent_health")), reads, "{code}");
    }
    assert!(
        keys("administration")
            .summary
            .keys()
            .all(|key| dictionary::field(key).unwrap().class == DataClass::Lead)
    );
    assert!(Policy::standard().for_purpose(Purpose::Any).is_none());
}

#[test]
fn the_page_for_people_is_written_from_the_policy() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/visibility.md");
    let page = document::page(Policy::standard());
    if std::env::var_os("TASUKI_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written == page, "docs/visibility.md is not that of the policy: TASUKI_BLESS=1");
}

#[test]
fn what_is_sealed_is_in_no_set() {
    let sealed = dictionary::place("safeguarding_concern").unwrap();
    for group in ReaderGroup::ALL {
        let keys = Policy::standard().keys(*group);
        assert!(!keys.named_summary.has(sealed) && !keys.summary.has(sealed), "{group}");
    }
    assert!(!Policy::standard().summary.has(sealed));
}

#[test]
fn who_may_not_read_the_flag_of_an_untold_diagnosis_does_not_read_what_it_flags() {
    let hidden = |group| Policy::standard().hidden_when_untold(group);
    assert!(hidden(Some(ReaderGroup::Hosp)).is_empty() && hidden(Some(ReaderGroup::Hvm)).is_empty());
    for group in ReaderGroup::ALL.iter().filter(|g| !matches!(g, ReaderGroup::Hosp | ReaderGroup::Hvm)) {
        assert!(hidden(Some(*group)).has(dictionary::place("primary_diagnosis").unwrap()), "{group}");
    }
    assert!(!hidden(None).is_empty());
}
