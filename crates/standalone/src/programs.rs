//! Finds the installed servers. Never installs any: that is `./dev setup`.
//!
//! Looks at `TASUKI_PG_BIN` and `TASUKI_NATS_SERVER`, then `PATH`, then where Debian puts them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

/// The least major version of PostgreSQL.
const POSTGRES_MIN: u32 = 15;

/// One installed PostgreSQL: its directory of binaries and its major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// Holds `postgres`, `initdb`, `psql`, `pgbench`, `pg_test_fsync`.
    pub bin: PathBuf,
    /// The major version, 15 or later.
    pub major: u32,
}

impl Programs {
    /// The path of one program.
    pub fn path(&self, program: &str) -> PathBuf {
        self.bin.join(program)
    }
}

/// The PostgreSQL to use: the highest version of at least 15, or exactly `major` where data exist already.
///
/// Source: `TASUKI_PG_BIN` alone if set; else `PATH` and `/usr/lib/postgresql/*/bin`.
/// Errors: [`Error::Missing`].
pub fn find_postgres(major: Option<u32>) -> Result<Programs, Error> {
    let candidates = match std::env::var_os("TASUKI_PG_BIN") {
        Some(bin) => vec![PathBuf::from(bin)],
        None => path_dirs().into_iter().chain(debian_dirs()).collect(),
    };
    candidates
        .into_iter()
        .filter_map(programs_in)
        .filter(|found| found.major >= POSTGRES_MIN && major.is_none_or(|major| major == found.major))
        .max_by_key(|found| found.major)
        .ok_or_else(|| Error::Missing {
            what: format!("postgresql >= {POSTGRES_MIN}"),
            variable: "TASUKI_PG_BIN",
        })
}

/// The nats-server to use.
///
/// Source: `TASUKI_NATS_SERVER` alone if set; else `PATH`, `/usr/sbin`, `/usr/local/bin`.
/// Errors: [`Error::Missing`].
pub fn find_nats_server() -> Result<PathBuf, Error> {
    let candidates = match std::env::var_os("TASUKI_NATS_SERVER") {
        Some(program) => vec![PathBuf::from(program)],
        None => {
            let usual = ["/usr/sbin", "/usr/local/bin"].map(PathBuf::from);
            path_dirs().into_iter().chain(usual).map(|dir| dir.join("nats-server")).collect()
        }
    };
    candidates
        .into_iter()
        .find(|program| is_program(program))
        .ok_or_else(|| Error::Missing { what: "nats-server >= 2.9".into(), variable: "TASUKI_NATS_SERVER" })
}

fn path_dirs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).filter(|dir| dir.is_absolute()).collect()
}

fn debian_dirs() -> Vec<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin")).collect()
}

/// Both programs are asked for: a client-only package brings neither.
fn programs_in(bin: PathBuf) -> Option<Programs> {
    if !is_program(&bin.join("postgres")) || !is_program(&bin.join("initdb")) {
        return None;
    }
    let said = Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let major = major_of(&String::from_utf8_lossy(&said.stdout))?;
    Some(Programs { bin, major })
}

/// From `postgres (PostgreSQL) 15.14 (…)`; a development build says `16devel`.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_once("(PostgreSQL) ")?.1;
    let digits = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..digits].parse().ok()
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_line_gives_the_major_version() {
        assert_eq!(major_of("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major_of("postgres (PostgreSQL) 18devel"), Some(18));
        assert_eq!(major_of("something else"), None);
    }

    #[test]
    fn a_missing_server_names_the_packages_in_both_languages() {
        let error = Error::Missing { what: "nats-server".into(), variable: "TASUKI_NATS_SERVER" }.to_string();
        let (english, japanese) = error.split_once(" / ").expect("two languages");
        assert!(english.contains("apt-get install postgresql nats-server"), "{english}");
        assert!(japanese.contains("apt-get install postgresql nats-server"), "{japanese}");
        assert!(japanese.contains("見つかりません"), "{japanese}");
    }
}
