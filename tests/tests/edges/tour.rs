//! The tour of the README, word for word: its blocks marked `tour` are run by a shell, in their order.

use std::os::unix::fs::PermissionsExt as _;

use tokio::process::Command;

use crate::PROGRAM;
use crate::up::{Directory, LIMIT, up};

/// The text of every block of this page that is marked `tour`.
fn blocks(page: &str) -> Vec<&str> {
    let mut blocks = Vec::new();
    let mut rest = page;
    while let Some((_, tail)) = rest.split_once("```sh tour\n") {
        let (block, tail) = tail.split_once("```").expect("a block ends");
        blocks.push(block);
        rest = tail;
    }
    blocks
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tour_of_the_readme_works_as_it_is_written() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let blocks = blocks(&page);
    assert!(blocks.len() >= 5, "the README has a tour");
    let directory = Directory::new();
    let mut running = up(&directory.state()).await;
    // Where the reader types ./dev, the script builds and runs the program; here it is built already.
    let dev = directory.0.join("dev");
    std::fs::write(&dev, format!("#!/bin/sh\nexec '{PROGRAM}' \"$@\"\n")).unwrap();
    std::fs::set_permissions(&dev, std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = format!("set -eu\n{}", blocks.concat());
    let mut shell = Command::new("bash");
    shell.arg("-c").arg(&script).current_dir(&directory.0).env("TASUKI_STATE_DIR", directory.state());
    let output =
        tokio::time::timeout(LIMIT, shell.kill_on_drop(true).output()).await.expect("an end").unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{error}");
    for told in ["tasuki.intake.v1.ReferralSubmitted", "RELATION_LEAD", "verify ok", "rebuild ok"] {
        assert!(out.contains(told), "the tour does not show {told}:\n{out}\n{error}");
    }
    assert!(error.contains("NOT_FOUND"), "the nursery's question is refused: {error}");
    running.signal("INT").await;
    assert!(running.ended(LIMIT).await.success());
}
