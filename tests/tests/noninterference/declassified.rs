//! The exceptions, read from the page that lists them: commands whose outcome may depend on what their caller does not
//! see, each with its reason.

use std::path::Path;

use prost_reflect::MethodDescriptor;

/// Commands and reasons of `docs/declassified.md`.
pub struct Declassified(Vec<(String, String)>);

impl Declassified {
    /// Reads the table: names in backticks of its first two columns. A row for any command has none in the first.
    pub fn read() -> Self {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/declassified.md");
        let text = std::fs::read_to_string(page).unwrap();
        let mut all = Vec::new();
        for line in text.lines().filter(|line| line.starts_with('|')).skip(2) {
            let columns: Vec<&str> = line.trim_matches('|').split('|').collect();
            let (commands, reasons) = (quoted(columns[0]), quoted(columns[1]));
            for reason in reasons {
                match commands.as_slice() {
                    [] => all.push((String::new(), reason)),
                    some => all.extend(some.iter().map(|command| (command.clone(), reason.clone()))),
                }
            }
        }
        assert!(!all.is_empty(), "the page lists no exceptions");
        Self(all)
    }

    /// Whether the page says that the command may answer so in one world and otherwise in the other.
    pub fn allows(&self, method: &MethodDescriptor, reasons: [String; 2]) -> bool {
        let listed = |reason: &str| {
            self.0
                .iter()
                .any(|(command, known)| known == reason && (command.is_empty() || command == method.name()))
        };
        reasons.iter().any(|reason| listed(reason))
    }
}

fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
