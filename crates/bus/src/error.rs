//! What can go wrong between this process and the broker.
//!
//! Every variant is a fault of the infrastructure or of its configuration, never a refusal of a
//! command. Texts of the broker are passed on because they name subjects and codes; payloads, header
//! values and secrets are never in them.

use std::time::Duration;

/// A fault between this process and the broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The address does not parse; trying again cannot help.
    #[error("the broker's address is malformed")]
    InvalidAddress,
    /// The address would send plain text to another machine.
    #[error("the broker is on another machine; its address must begin with tls://")]
    Plain,
    /// The credentials text does not parse; trying again cannot help.
    #[error("the broker credentials are malformed")]
    InvalidCredentials,
    /// The broker answered and refused these credentials (wrong, expired or missing).
    #[error("the broker refused the credentials")]
    Refused,
    /// There is no connection now; the client keeps trying by itself.
    #[error("not connected to the broker")]
    Disconnected,
    /// A part of a subject holds a character that would change the subject's meaning.
    #[error("{what} is not a subject token of 1 to 64 letters, digits, '-' or '_'")]
    InvalidToken {
        /// Which part of the subject.
        what: &'static str,
    },
    /// A header of an outgoing message is not one line of text.
    #[error("header {name:?} is malformed")]
    InvalidHeader {
        /// The header's name; its value is not repeated.
        name: String,
    },
    /// The stream of the log does not exist: make it again and feed it.
    #[error("the stream of the log is missing")]
    StreamMissing,
    /// The stream exists and cannot store: [`crate::LogStream::repair`].
    #[error("the stream of the log cannot store")]
    StreamBroken,
    /// A message is larger than the stream or the server takes; trying again cannot help.
    #[error("the message at position {position} is too large for the broker")]
    TooLarge {
        /// The log position of that message.
        position: u64,
    },
    /// The broker did not acknowledge in time; the message may have been stored all the same.
    #[error("no acknowledgement within {0:?}")]
    AckTimeout(Duration),
    /// JetStream answered with an error, or not at all.
    #[error("jetstream: {0}")]
    JetStream(String),
    /// The client refused or failed.
    #[error("broker client: {0}")]
    Client(String),
    /// A key of the operator file is unusable.
    #[error("operator key: {0}")]
    Key(String),
    /// A message arrived that this crate cannot have sent.
    #[error("malformed {0}")]
    Malformed(&'static str),
}

/// An error with what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        // The client's errors often repeat their source in their own text.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        source = inner.source();
    }
    text
}
