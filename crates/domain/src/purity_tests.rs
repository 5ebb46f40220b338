//! Claims about what this crate may not do: its own manifest and sources are the data.
#![allow(clippy::unwrap_used)]

use std::path::Path;

/// Crates that compute and do nothing else.
const ALLOWED: [&str; 8] =
    ["tasuki-contract", "jiff", "serde", "serde_json", "thiserror", "toml", "uuid", "unicode-normalization"];

/// What would read a clock, a file, the network, a time-zone database or a source of randomness.
const FORBIDDEN: [&str; 12] = [
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "::now()",
    "TimeZone::get",
    "TimeZone::system",
    ".in_tz(",
    "Uuid::now_",
];

#[test]
fn the_crate_depends_on_nothing_that_does_io() {
    let manifest = include_str!("../Cargo.toml");
    let (_, rest) = manifest.split_once("[dependencies]\n").unwrap();
    let lines = rest.lines().take_while(|line| !line.starts_with('['));
    let names: Vec<_> =
        lines.filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|n| !n.is_empty()).collect();
    assert!(names.contains(&"jiff"), "the section was not read");
    for name in names {
        assert!(ALLOWED.contains(&name), "{name} is not on the list of pure dependencies");
    }
}

#[test]
fn no_source_reads_a_clock_a_file_the_network_or_randomness() {
    let mut read = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if !name.ends_with(".rs") || name.ends_with("_tests.rs") {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        let found = FORBIDDEN.iter().find(|needle| source.contains(**needle));
        assert_eq!(found, None, "{name}");
        read += 1;
    }
    assert!(read > 10, "the sources were not read");
}
