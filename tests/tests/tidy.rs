//! What no compiler checks: licences, duplicate versions, which crate may know what, and the length of files.
//!
//! Reads `cargo metadata`, `cargo tree` and the sources, without the network. Changes nothing. The lists at
//! the top are the rules; an exception in them needs its reason beside it and goes when it is needed no more.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Permissive, and compatible with our own Apache-2.0.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// The crates that come in more than one version, and why that cannot be helped today.
const DUPLICATES: &[(&str, &str)] = &[
    ("block-buffer", RUST_CRYPTO),
    ("const-oid", RUST_CRYPTO),
    ("cpufeatures", RUST_CRYPTO),
    ("crypto-common", RUST_CRYPTO),
    ("digest", RUST_CRYPTO),
    ("hmac", RUST_CRYPTO),
    ("sha2", RUST_CRYPTO),
    ("getrandom", RANDOM),
    ("rand", RANDOM),
    ("rand_chacha", RANDOM),
    ("rand_core", RANDOM),
    ("hashbrown", "petgraph, by way of prost-build, trails indexmap; only at build time"),
    (
        "synstructure",
        "x509-parser, an option of rcgen that the tests do not take, trails; it is only resolved",
    ),
    ("syn", "derives move to 3 one by one; only at build time"),
    ("unicode-width", "miette, by way of protox, trails; only at build time"),
];
const RUST_CRYPTO: &str = "jsonwebtoken and nkeys are on digest 0.10, postgres-protocol is on 0.11";
const RANDOM: &str = "jsonwebtoken and nkeys are on rand 0.8, opentelemetry_sdk on 0.9, the rest on 0.10";

/// Decide without input or output: what they use must not do any either.
const PURE: &[&str] = &["tasuki-domain", "tasuki-privacy"];
/// Runtimes, sockets, databases, brokers, transports, logs.
const IO: &[&str] = &[
    "async-nats",
    "deadpool-postgres",
    "hyper",
    "mio",
    "nix",
    "opentelemetry",
    "refinery",
    "reqwest",
    "socket2",
    "tokio",
    "tokio-postgres",
    "tonic",
    "tower",
    "tracing-subscriber",
];

/// A name in the sources, and the folders whose code may say it. Tests may everywhere.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("tokio_postgres", &["crates/log", "crates/views", "crates/transport"]),
    ("deadpool_postgres", &["crates/log", "crates/views"]),
    ("refinery", &["crates/log", "crates/views"]),
    ("async_nats", &["crates/bus"]),
    // Answers to callers are made at the edge; the generated services in `contract` are outside the sources.
    ("tonic::Status", EDGES),
    ("Status::internal", EDGES),
    ("Status::new", EDGES),
];
const EDGES: &[&str] = &[
    "services/kit",
    "services/attachments",
    "services/intake",
    "services/handoff",
    "services/minutes",
    "services/directory",
    "services/timeline",
    "services/tasuki",
];

const LINES_MAX: usize = 600;

#[test]
fn every_licence_is_on_the_list() {
    let metadata = metadata();
    let linked = linked_packages(&metadata);
    assert!(linked.len() > 100, "cargo metadata names the dependencies");
    let refused = linked.iter().filter(|package| {
        let licence = package["license"].as_str().unwrap_or_default();
        !is_allowed(licence)
    });
    let refused: Vec<_> =
        refused.map(|package| format!("{} {}", package["id"], package["license"])).collect();
    assert!(refused.is_empty(), "licences not on the list: {refused:#?}");
}

#[test]
fn a_licence_expression_is_judged_as_it_is_meant() {
    for allowed in [
        "MIT",
        "MIT/Apache-2.0",
        "GPL-3.0 OR MIT",
        "(MIT OR GPL-3.0) AND ISC",
        "Unlicense / MIT",
        "ISC AND MIT",
    ] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT AND GPL-3.0) OR AGPL-3.0", "Apache-2.0 WITH X"] {
        assert!(!is_allowed(refused), "{refused}");
    }
}

#[test]
fn a_second_version_of_a_crate_has_a_reason() {
    let metadata = metadata();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in linked_packages(&metadata) {
        let (name, version) = (package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
        versions.entry(name).or_default().insert(version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let listed: BTreeSet<_> = DUPLICATES.iter().map(|(name, _)| *name).collect();
    let unexplained: Vec<_> = versions.iter().filter(|(name, _)| !listed.contains(*name)).collect();
    assert!(unexplained.is_empty(), "more than one version: {unexplained:?}; see `cargo tree -d`");
    let outlived: Vec<_> = listed.iter().filter(|name| !versions.contains_key(*name)).collect();
    assert!(outlived.is_empty(), "only one version by now, drop the exception: {outlived:?}");
}

#[test]
fn what_decides_depends_on_nothing_that_does_input_or_output() {
    for pure in PURE {
        // `cargo tree` resolves features for this crate alone; metadata unites those of the whole workspace.
        let tree =
            cargo(&["tree", "-p", pure, "-e", "normal", "--prefix", "none", "--format", "{p}", "--locked"]);
        let used: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(used.contains(pure) && used.contains("tasuki-contract"), "{pure}: {used:?}");
        let found: Vec<_> = IO.iter().filter(|io| used.contains(*io)).collect();
        assert!(found.is_empty(), "{pure} depends on {found:?}; see `cargo tree -p {pure} -i …`");
    }
}

#[test]
fn each_dependency_takes_its_version_from_the_workspace() {
    let mut wrong = Vec::new();
    for manifest in files("toml").into_iter().filter(|(name, _)| name.ends_with("/Cargo.toml")) {
        let mut in_dependencies = false;
        for line in manifest.1.lines().map(str::trim) {
            if line.starts_with('[') {
                in_dependencies = line.ends_with("dependencies]");
            } else if in_dependencies && line.contains('=') && !line.starts_with('#') {
                let inherits = line.contains(".workspace = true") || line.contains("workspace = true,");
                if !inherits && !line.contains("workspace = true }") {
                    wrong.push(format!("{}: {line}", manifest.0));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "versions are pinned in the root alone: {wrong:#?}");
}

#[test]
fn only_its_owner_names_a_technology() {
    let mut wrong = Vec::new();
    for (name, text) in files("rs").into_iter().filter(|(name, _)| !is_test(name)) {
        for (word, owners) in MAY_NAME {
            let is_owner = owners.iter().any(|owner| name.starts_with(&format!("{owner}/")));
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            if !is_owner && code.into_iter().any(|line| line.contains(word)) {
                wrong.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(wrong.is_empty(), "named outside its crate (DESIGN, Layout): {wrong:#?}");
}

#[test]
fn no_source_file_is_too_long_to_read_and_each_says_what_it_is_for() {
    let mut wrong = Vec::new();
    for (name, text) in files("rs") {
        let lines = text.lines().count();
        if lines > LINES_MAX && !is_test(&name) {
            wrong.push(format!("{name}: {lines} lines, {LINES_MAX} at most"));
        }
        if !text.starts_with("//!") {
            wrong.push(format!("{name}: does not open with `//!`"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A file of tests alone, by its folder or its name.
fn is_test(name: &str) -> bool {
    name.starts_with("tests/")
        || name.contains("/tests/")
        || name.ends_with("_tests.rs")
        || name.ends_with("/tests.rs")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Our own files of that kind: path below the root, and text.
fn files(extension: &str) -> Vec<(String, String)> {
    let root = root();
    let mut found = Vec::new();
    let mut folders: Vec<_> = ["crates", "services", "tests"].map(|folder| root.join(folder)).into();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == extension) {
                let name = path.strip_prefix(&root).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 15, "the sources are found");
    found
}

fn cargo(args: &[&str]) -> String {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(program).current_dir(root()).args(args).output().unwrap();
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn metadata() -> Value {
    // This platform's packages alone: those of the others need not have been fetched.
    let version = Command::new(std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into())).arg("-vV").output();
    let version = String::from_utf8(version.unwrap().stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    let args = ["metadata", "--locked", "--format-version", "1", "--filter-platform", host];
    serde_json::from_str(&cargo(&args)).unwrap()
}

/// Every package that a build of the workspace on this platform uses, ours included.
fn linked_packages(metadata: &Value) -> Vec<&Value> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let used: BTreeSet<_> = nodes.iter().map(|node| node["id"].as_str().unwrap()).collect();
    let packages = metadata["packages"].as_array().unwrap();
    packages.iter().filter(|package| used.contains(package["id"].as_str().unwrap())).collect()
}

/// Whether an SPDX expression can be met with the listed licences; the old `A/B` means `A OR B`.
fn is_allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let allowed = any_of(&mut rest);
    allowed && rest.is_empty()
}

fn any_of(rest: &mut &[&str]) -> bool {
    let mut allowed = all_of(rest);
    while let ["OR", tail @ ..] = *rest {
        *rest = tail;
        allowed |= all_of(rest);
    }
    allowed
}

fn all_of(rest: &mut &[&str]) -> bool {
    let mut allowed = one(rest);
    while let ["AND", tail @ ..] = *rest {
        *rest = tail;
        allowed &= one(rest);
    }
    allowed
}

fn one(rest: &mut &[&str]) -> bool {
    match *rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let allowed = any_of(rest);
            let closed = matches!(*rest, [")", ..]);
            *rest = rest.get(1..).unwrap_or_default();
            allowed && closed
        }
        [licence, "WITH", exception, tail @ ..] => {
            *rest = tail;
            LICENCES.contains(&format!("{licence} WITH {exception}").as_str())
        }
        [licence, tail @ ..] => {
            *rest = tail;
            LICENCES.contains(licence)
        }
        [] => false,
    }
}
