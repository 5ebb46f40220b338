//! What can go wrong, as the three kinds that callers treat differently.

/// A fault of the infrastructure. Never personal data, never a statement's parameters.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// PostgreSQL did not do it.
    #[error("database: {0}")]
    Database(String),
    /// No connection within the time allowed.
    #[error("database unavailable")]
    Unavailable,
    /// The server does not promise durability.
    #[error("{setting} is {value}, but a durable log needs it on")]
    NotDurable {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: String,
    },
    /// A header or envelope that this binary cannot read.
    #[error("unreadable header at position {position}")]
    UnreadableHeader {
        /// Where.
        position: u64,
    },
    /// A sealed part does not open: another key, or altered bytes.
    #[error("sealed part of event {event_id} does not open")]
    Unopenable {
        /// Which event.
        event_id: String,
    },
    /// The key of a sealed part was erased: nobody reads it any more.
    #[error("the content of event {event_id} was erased")]
    Erased {
        /// Which event; empty where there was something to seal.
        event_id: String,
    },
    /// A sealed part of an algorithm that this binary does not know.
    #[error("sealed part of event {event_id} has the unknown algorithm {algorithm}")]
    UnknownAlgorithm {
        /// Which event.
        event_id: String,
        /// The number in its header.
        algorithm: u32,
    },
    /// There is no database for the keys, and none could be made.
    #[error(
        "there is no database {name} for the keys, and it cannot be created: create it, or set TASUKI_KEYS_URL"
    )]
    NoKeyStore {
        /// Its name.
        name: String,
    },
    /// The keys were wrapped anew, and the keyring of this process does not hold the master key that wraps them now.
    #[error(
        "the keyring does not hold version {version} of the master key, by which the keys are wrapped now; copy the \
         keyring from where it was rotated"
    )]
    MasterMissing {
        /// Which version.
        version: i32,
    },
    /// An append that says too little: a bug of the caller, and nothing was written.
    #[error("append is malformed: {field}")]
    Malformed {
        /// What is missing or unreadable.
        field: &'static str,
    },
    /// The event says something about somebody other than its subject in a sealed part: nobody can say yet whose data
    /// that is, so it is better refused than lost. Nothing was written.
    #[error("a sealed part about another subject cannot be kept yet")]
    OtherSubject,
    /// Key material is missing or malformed.
    #[error("keys: {0}")]
    Keys(String),
    /// What is on record was altered: nothing is signed over it.
    #[error("the reads on record do not verify")]
    Tampered,
    /// The keyring is not the one that the log was begun with.
    #[error(
        "the keyring does not fit this log: its {key} key is another one; start with the keyring that the log was \
         begun with, from its copy if need be"
    )]
    OtherKeyring {
        /// Which key: `master`, `signing` or `digest`.
        key: &'static str,
    },
}

impl From<tokio_postgres::Error> for LogError {
    fn from(e: tokio_postgres::Error) -> Self {
        // The server's own message can quote values; its code and the constraint cannot.
        match e.as_db_error() {
            Some(db) => Self::Database(format!("{} {}", db.code().code(), db.constraint().unwrap_or("-"))),
            None if e.is_closed() => Self::Unavailable,
            None => Self::Database(e.to_string()),
        }
    }
}

impl From<deadpool_postgres::PoolError> for LogError {
    fn from(e: deadpool_postgres::PoolError) -> Self {
        match e {
            deadpool_postgres::PoolError::Backend(e) => e.into(),
            _ => Self::Unavailable,
        }
    }
}

/// Why an append did not happen.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// A stream moved on since it was read: load it again and decide again.
    #[error("conflict")]
    Conflict,
    /// The request id was used with another request.
    #[error("request id was used with another request")]
    RequestReused,
    /// The queue is full.
    #[error("overloaded")]
    Overloaded,
    /// A fault; whether it was appended can be learned by trying again with the same request id.
    #[error(transparent)]
    Fault(#[from] LogError),
}
