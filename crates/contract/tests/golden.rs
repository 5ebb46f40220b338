//! What is in the log stays readable: each event type, and the header and envelope around it, has a golden file with its
//! bytes as they were written, piece by piece, and with the class of every field in it.
//!
//! A file that changes, comes or goes fails the test, which names it and shows the lines. `TASUKI_BLESS=1` writes the
//! files anew: then the change is seen by whoever looks at the commit.
#![allow(clippy::unwrap_used, missing_docs)]

mod filled;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};
use tasuki_contract::{DataClass, Event, SealedPart};

const LINE_BYTES: usize = 48;
/// What is stored around events.
const AROUND: [&str; 3] = ["tasuki.event.v1.Header", "tasuki.event.v1.Envelope", "tasuki.event.v1.Page"];
const PIECES: [(&str, Option<SealedPart>); 4] = [
    ("open", None),
    ("stream", Some(SealedPart::Stream)),
    ("other_subject", Some(SealedPart::OtherSubject)),
    ("own_agency", Some(SealedPart::OwnAgency)),
];

#[test]
fn what_was_written_once_is_read_the_same_today() {
    let (now, folder) = (current(), folder());
    if std::env::var_os("TASUKI_BLESS").is_some() {
        let file = |name: &String| folder.join(format!("{name}.txt"));
        for (name, text) in &now {
            std::fs::write(file(name), text).unwrap();
        }
        for name in kept().keys().filter(|name| !now.contains_key(*name)) {
            std::fs::remove_file(file(name)).unwrap();
        }
    }
    let (kept, now) = (kept(), now);
    let mut report = String::new();
    for name in kept.keys().chain(now.keys()).collect::<BTreeSet<_>>() {
        let (before, after) = (kept.get(name), now.get(name));
        if before != after {
            let _ = writeln!(report, "{name}");
            changes(&mut report, before.map_or("", |t| t), after.map_or("", |t| t));
        }
    }
    assert!(report.is_empty(), "golden files differ; look at each, then TASUKI_BLESS=1\n{report}");
}

#[test]
fn golden_bytes_decode_and_encode_to_themselves() {
    for (name, text) in kept() {
        if AROUND.contains(&name.as_str()) {
            let bytes = piece(&text, "open");
            let descriptor = filled::pool().get_message_by_name(&name).unwrap();
            let message = DynamicMessage::decode(descriptor, bytes.as_slice()).unwrap();
            assert_eq!(message.encode_to_vec(), bytes, "{name}");
            continue;
        }
        let pieces = PIECES.map(|(piece_name, _)| piece(&text, piece_name));
        let event = Event::decode(&name, &pieces.each_ref().map(Vec::as_slice)).unwrap();
        for (n, (_, part)) in PIECES.into_iter().enumerate() {
            assert_eq!(in_piece(&event, part), pieces[n], "{name}");
        }
    }
}

fn in_piece(event: &Event, part: Option<SealedPart>) -> Vec<u8> {
    part.map_or_else(|| event.open_payload(), |part| event.sealed_payload(part))
}

/// The golden files as the contract makes them now, by full name of the message.
fn current() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for event in filled::every_event() {
        let rule = event.rule();
        let mut text = format!("schema {}\nclass {}\n", rule.schema, rule.class.as_str_name());
        for (name, part) in PIECES {
            lay_down(&mut text, name, &in_piece(&event, part));
        }
        fields(&mut text, rule.type_name, &event.encode_to_vec());
        all.insert(rule.type_name.to_owned(), text);
    }
    for name in AROUND {
        let bytes = filled::filled(&filled::pool().get_message_by_name(name).unwrap()).encode_to_vec();
        let mut text = String::new();
        lay_down(&mut text, "open", &bytes);
        fields(&mut text, name, &bytes);
        all.insert(name.to_owned(), text);
    }
    all
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn kept() -> BTreeMap<String, String> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.file_stem().unwrap().to_str().unwrap().to_owned(), text)
    };
    files.map(named).collect()
}

/// Each line begins with the piece's name.
fn lay_down(text: &mut String, name: &str, bytes: &[u8]) {
    for line in bytes.chunks(LINE_BYTES) {
        let hex = line.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
        let _ = writeln!(text, "{name} {hex}");
    }
}

fn piece(text: &str, name: &str) -> Vec<u8> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let hex: String = lines.collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// One line for each field that the message holds anywhere: numbers and names on the way to it, and its class.
fn fields(text: &mut String, name: &str, bytes: &[u8]) {
    let descriptor = filled::pool().get_message_by_name(name).unwrap();
    let mut found = BTreeSet::new();
    walk(&DynamicMessage::decode(descriptor, bytes).unwrap(), (&[], ""), &mut found);
    for (numbers, line) in found {
        let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
        let _ = writeln!(text, "field {} {line}", numbers.join("."));
    }
}

fn walk(message: &DynamicMessage, way: (&[u32], &str), found: &mut BTreeSet<(Vec<u32>, String)>) {
    let class =
        message.descriptor().parent_pool().get_extension_by_name("tasuki.privacy.v1.data_class").unwrap();
    for (field, value) in message.fields() {
        let numbers: Vec<u32> = way.0.iter().copied().chain([field.number()]).collect();
        let names = [way.1, field.name()].join(if way.1.is_empty() { "" } else { "." });
        let options = field.options();
        let class = match options.get_extension(&class).as_enum_number() {
            Some(number) if options.has_extension(&class) => {
                DataClass::try_from(number).unwrap().as_str_name()
            }
            _ => "-",
        };
        found.insert((numbers.clone(), format!("{names} {class}")));
        let values = value.as_list().map_or_else(|| vec![value.clone()], <[Value]>::to_vec);
        for inner in values.iter().filter_map(Value::as_message) {
            walk(inner, (&numbers, &names), found);
        }
    }
}

/// The lines that only one of them has.
fn changes(report: &mut String, before: &str, after: &str) {
    let (old, new): (BTreeSet<&str>, BTreeSet<&str>) = (before.lines().collect(), after.lines().collect());
    for line in before.lines().filter(|line| !new.contains(line)) {
        let _ = writeln!(report, "  - {line}");
    }
    for line in after.lines().filter(|line| !old.contains(line)) {
        let _ = writeln!(report, "  + {line}");
    }
}
