//! How the contract is written, so that every compiler of protobuf reads it: protoc takes less than ours does.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// Inside the message that an option uses, protoc does not find the option by its short name.
#[test]
fn every_option_is_named_with_its_package() {
    let mut short = Vec::new();
    let mut options = 0;
    for file in protos(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().starts_with("//")) {
            let names =
                line.split('(').skip(1).filter_map(|rest| rest.split_once(") =")).map(|(name, _)| name);
            for name in names {
                options += 1;
                if !name.starts_with("tasuki.") {
                    short.push(format!("{}:{}: {name}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(options > 100, "{options}");
    assert!(short.is_empty(), "{}", short.join("\n"));
}

fn protos(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(protos(&path));
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            found.push(path);
        }
    }
    found
}
