//! What can go wrong with a private server, in words that say what to do.
//!
//! Never carries a password: messages hold paths, ports, and the last lines of a server's own log.

use std::path::PathBuf;
use std::time::Duration;

/// A fault of the machine or of a private server; none of them is worth a retry without a change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A server is not installed, or too old.
    #[error(
        "{what} not found: run `apt-get install postgresql nats-server`, or set {variable} / \
         {what} が見つかりません: `apt-get install postgresql nats-server` を実行するか、{variable} を設定してください"
    )]
    Missing {
        /// The program and its least version.
        what: String,
        /// The environment variable that names another binary.
        variable: &'static str,
    },
    /// Kept data were written by another major version than any that is installed.
    #[error(
        "the data in {dir} belong to PostgreSQL {wanted}: run `apt-get install postgresql-{wanted}` / \
         {dir} のデータは PostgreSQL {wanted} のものです: `apt-get install postgresql-{wanted}` を実行してください"
    )]
    OtherVersion {
        /// The data directory.
        dir: PathBuf,
        /// Its major version.
        wanted: u32,
    },
    /// Another live process uses the same kept state.
    #[error(
        "{lock} is held: another tasuki runs on this state / 別の tasuki がこの状態を使用中です ({lock})"
    )]
    AlreadyRunning {
        /// The lock file.
        lock: PathBuf,
    },
    /// The kept state belongs to another user, or cannot be reached by the one who must run the server.
    #[error(
        "{dir} belongs to or is reachable only by another user: run as that user, or move it away / \
         {dir} は別の利用者のものです: その利用者で実行するか、別の場所へ移してください"
    )]
    NotOurs {
        /// The directory.
        dir: PathBuf,
    },
    /// The state was copied: two projects would share one database.
    #[error(
        "{dir} is the database of {project}: remove {remembered} to begin a new one / \
         {dir} は {project} のデータベースです: 新しく始めるには {remembered} を削除してください"
    )]
    OtherProject {
        /// The data directory outside the project.
        dir: PathBuf,
        /// The project that it belongs to.
        project: PathBuf,
        /// The file that remembers the place.
        remembered: PathBuf,
    },
    /// No user to run PostgreSQL as: it refuses to run as root.
    #[error("postgresql cannot run as root and neither user `postgres` nor `nobody` exists")]
    NoUnprivilegedUser,
    /// A setting that would make acknowledgements untrue, or that the file format cannot hold.
    #[error("setting {0} is not allowed here")]
    Setting(String),
    /// A database name outside `[a-z_][a-z0-9_]*`, 63 bytes at most.
    #[error("database name {0:?} is not allowed")]
    DatabaseName(String),
    /// A helper program (initdb, cp, psql) failed.
    #[error("{program} failed: {message}")]
    Helper {
        /// The program.
        program: String,
        /// The end of what it said.
        message: String,
    },
    /// The server ended while it was starting, or was found dead.
    #[error("{server} ended: {log}")]
    Ended {
        /// `postgresql` or `nats-server`.
        server: &'static str,
        /// The last lines of its log.
        log: String,
    },
    /// Something else listens on the port that the server must have.
    #[error("{server}: port {port} is taken")]
    PortTaken {
        /// `postgresql` or `nats-server`.
        server: &'static str,
        /// The port on 127.0.0.1.
        port: u16,
    },
    /// A time limit passed.
    #[error("{server} was not {what} within {} s: {log}", limit.as_secs())]
    TooSlow {
        /// `postgresql` or `nats-server`.
        server: &'static str,
        /// What was waited for.
        what: &'static str,
        /// The limit.
        limit: Duration,
        /// The last lines of its log.
        log: String,
    },
    /// A restart of a server that still runs.
    #[error("{0} still runs")]
    StillRuns(&'static str),
    /// A file or a process could not be handled.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}

impl Error {
    /// Names what was attempted, for `map_err`.
    pub(crate) fn io(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.to_string();
        move |source| Self::Io { what, source }
    }
}
