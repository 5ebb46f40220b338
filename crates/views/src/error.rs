//! What can go wrong, as callers treat it: try again, take the lead again, rebuild, call a person.

/// A fault of the views. Never personal data, never a statement's parameters.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// PostgreSQL did not do it.
    #[error("database: {0}")]
    Database(String),
    /// No connection within the time allowed.
    #[error("database unavailable")]
    Unavailable,
    /// There are no views yet: nobody has called [`crate::migrate`].
    #[error("the views are not set up")]
    NotReady,
    /// Somebody else writes the views now, or they were rebuilt: take the lead again.
    #[error("fenced off from the views")]
    Fenced,
    /// The views were made by an older binary with other tables: rebuild.
    #[error("the views have the older layout {found}, this binary reads and writes {wanted}")]
    OtherLayout {
        /// Layout of the views.
        found: i32,
        /// Layout of this binary.
        wanted: i32,
    },
    /// The views were made by a newer binary with other tables. It would rebuild them in its turn, so this one does not:
    /// a person chooses.
    #[error(
        "the views have layout {found} of a newer binary, this one reads and writes {wanted}; run the newer one, or \
         stop it everywhere and go back by `tasuki rebuild`"
    )]
    NewerLayout {
        /// Layout of the views.
        found: i32,
        /// Layout of this binary.
        wanted: i32,
    },
    /// The views hold more than the log does, as after a restore of the log: rebuild.
    #[error("the views are at position {views}, the log ends at {log}")]
    AheadOfLog {
        /// Cursor of the views.
        views: u64,
        /// Last position of the log.
        log: u64,
    },
    /// A rebuild is under way.
    #[error("another rebuild is running")]
    RebuildRunning,
    /// A header that this binary cannot read: never skipped.
    #[error("unreadable header at position {position}: {why}")]
    Unreadable {
        /// Where.
        position: u64,
        /// What is wrong, in closed words.
        why: &'static str,
    },
    /// Envelopes with a hole between them and the cursor.
    #[error("expected position {expected}, found {found}")]
    Hole {
        /// The position behind the cursor.
        expected: u64,
        /// What came.
        found: u64,
    },
}

impl ViewError {
    /// Whether the schema or table does not exist: it was replaced and dropped, or never made.
    pub(crate) fn is_missing_table(&self) -> bool {
        matches!(self, Self::Database(why) if why.starts_with("42P01") || why.starts_with("3F000"))
    }
}

impl From<tokio_postgres::Error> for ViewError {
    fn from(e: tokio_postgres::Error) -> Self {
        // The server's own message can quote values; its code and the constraint cannot.
        match e.as_db_error() {
            Some(db) => Self::Database(format!("{} {}", db.code().code(), db.constraint().unwrap_or("-"))),
            None if e.is_closed() => Self::Unavailable,
            None => Self::Database(e.to_string()),
        }
    }
}

impl From<deadpool_postgres::PoolError> for ViewError {
    fn from(e: deadpool_postgres::PoolError) -> Self {
        match e {
            deadpool_postgres::PoolError::Backend(e) => e.into(),
            _ => Self::Unavailable,
        }
    }
}
