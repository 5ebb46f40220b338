//! NATS: subjects, publishing, consuming, notices, credentials.
//!
//! The only crate that knows the broker. It carries envelopes from the relay to the projector
//! ([`Publisher`], [`LogConsumer`]), tells posts that their feed has grown ([`Notice`]), wakes
//! readers up ([`Ping`]) and issues the credentials with which a post may listen ([`Operator`]).
//!
//! It never decides what is true: PostgreSQL holds the log, and whatever the broker loses, doubles
//! or reorders is reported to the caller or left for the caller's cursor to catch. It never looks
//! into an envelope, and nothing that it writes on its own (subjects, notices, spans) holds more
//! than opaque ids and numbers.
//!
//! To add a kind of message: give it a function in [`subjects`], a file beside `notice.rs`, and,
//! when posts may see it, its subject in [`Operator::post_creds`].

mod connect;
mod consumer;
mod error;
mod jwt;
mod log_stream;
mod notice;
mod operator;
mod ping;
mod point;
mod publisher;
pub mod subjects;

pub use connect::{Bus, BusEvent, BusOptions};
pub use consumer::{Delivery, InMessage, LogConsumer, LostReason, StartFrom};
pub use error::BusError;
pub use log_stream::{LogStream, LogStreamSettings, STREAM_NAME, StreamState};
pub use notice::{Notice, NoticeStream, ReceivedNotice, publish_notice, subscribe_notices};
pub use operator::{Operator, OperatorKeys, PostUser};
pub use ping::{
    Grown, Ping, PingStream, ViewsMoved, ViewsMovedStream, publish_ping, publish_views_moved,
    subscribe_pings, subscribe_views_moved,
};
pub use point::LogPoint;
pub use publisher::{OutMessage, PublishOutcome, Publisher, PublisherSettings};
