//! One connection to the broker, kept for ever.
//!
//! [`Bus`] is cheap to clone and shared by everything in a process. It reconnects by itself; those who
//! must look again after a reconnection watch [`Bus::generation`]. It never hides what the server says:
//! permission violations and the like arrive through [`Bus::events`], in the server's own words.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::{
    ConnectErrorKind, ConnectOptions, Event, RequestErrorKind, ServerAddr, ServerError, jetstream,
};
use futures::FutureExt;
use tokio::sync::{broadcast, watch};

use crate::{BusError, subjects};

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// A reply that takes longer is as good as none: every caller asks again.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a message without acknowledgement may wait for room in the client's queue.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
/// Events that a listener may lag behind before it loses the oldest.
const EVENTS_MAX: usize = 256;

/// Where the broker is and who we are to it.
#[derive(Clone, Default)]
pub struct BusOptions {
    /// One address or several with commas between, such as `tls://nats.example:4222`; plain `nats://` is for loopback
    /// addresses.
    pub url: String,
    /// File with the authorities of the server's certificate, PEM; absent: those of the system.
    pub authorities: Option<PathBuf>,
    /// The text of a `.creds` file; absent: the server asks for none.
    pub creds: Option<String>,
    /// What the server's own lists call this connection, such as `tasuki-relay`.
    pub name: String,
    /// The prefix of reply subjects, without the closing dot; absent: `_INBOX`.
    pub inbox_prefix: Option<String>,
}

impl BusOptions {
    /// The options of one of our own processes.
    pub fn service(url: impl Into<String>, creds: Option<String>, name: impl Into<String>) -> Self {
        Self { url: url.into(), creds, name: name.into(), ..Self::default() }
    }

    /// The options of a post that listens to its notices with credentials of its own.
    ///
    /// Errors: [`BusError::InvalidToken`].
    pub fn post(url: impl Into<String>, creds: String, post: &str) -> Result<Self, BusError> {
        let inbox_prefix = Some(subjects::inbox_prefix(post)?);
        let name = format!("post {post}");
        Ok(Self { url: url.into(), creds: Some(creds), name, inbox_prefix, ..Self::default() })
    }

    /// The same, with the authorities in the file in the place of the system's.
    pub fn trusting(self, authorities: Option<PathBuf>) -> Self {
        Self { authorities, ..self }
    }

    /// The addresses, and whether all of it goes over TLS: as soon as one of them says so.
    ///
    /// Errors: [`BusError::InvalidAddress`]; [`BusError::Plain`] when one of them would be plain text beyond the machine.
    fn addresses(&self) -> Result<(Vec<ServerAddr>, bool), BusError> {
        let parsed = self.url.split(',').map(|one| one.trim().parse().map_err(|_| BusError::InvalidAddress));
        let addresses = parsed.collect::<Result<Vec<ServerAddr>, _>>()?;
        let plain = |one: &&ServerAddr| !one.tls_required();
        if addresses.iter().filter(plain).any(|one| !tasuki_transport::stays_here(one.host())) {
            return Err(BusError::Plain);
        }
        let tls = self.authorities.is_some() || addresses.iter().any(|one| !plain(&one));
        Ok((addresses, tls))
    }
}

/// Shows neither credentials nor the address, which may hold a password.
impl fmt::Debug for BusOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BusOptions").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What happened to the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusEvent {
    /// Connected, for the first time or again.
    Connected,
    /// The connection is gone; the client is trying to get it back.
    Disconnected,
    /// The server complains, in its own words: a permission violation, expired credentials.
    ServerError(String),
    /// The client complains: an attempt to reconnect failed, a subscription is too slow.
    ClientError(String),
}

/// A connection to the broker.
#[derive(Clone)]
pub struct Bus {
    client: async_nats::Client,
    jetstream: jetstream::Context,
    generation: watch::Receiver<u64>,
    events: broadcast::Sender<BusEvent>,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("state", &self.client.connection_state()).finish_non_exhaustive()
    }
}

impl Bus {
    /// Connects, trying for as long as the broker cannot be reached.
    ///
    /// Errors: [`BusError::InvalidAddress`], [`BusError::Plain`], [`BusError::InvalidCredentials`], and
    /// [`BusError::Refused`] when the broker is there and does not want us: all four need a person.
    #[tracing::instrument(level = "debug", skip_all, fields(name = options.name))]
    pub async fn connect(options: &BusOptions) -> Result<Self, BusError> {
        let (addresses, tls) = options.addresses()?;
        let (generation_tx, mut generation) = watch::channel(0);
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let mut wait = RETRY_FIRST;
        loop {
            let connect = connect_options(options, tls, generation_tx.clone(), events.clone())?;
            match connect.connect(addresses.clone()).await {
                Ok(client) => {
                    let jetstream = jetstream::context::ContextBuilder::new()
                        .timeout(REQUEST_TIMEOUT)
                        .ack_timeout(REQUEST_TIMEOUT)
                        .build(client.clone());
                    // The client tells of the first connection a moment after it is made; without this
                    // wait the news would look like a reconnection.
                    let first = generation.wait_for(|made| *made > 0);
                    let _ = tokio::time::timeout(REQUEST_TIMEOUT, first).await;
                    return Ok(Self { client, jetstream, generation, events });
                }
                Err(error) => match error.kind() {
                    ConnectErrorKind::ServerParse => return Err(BusError::InvalidAddress),
                    ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                        return Err(BusError::Refused);
                    }
                    kind => {
                        tracing::warn!(%kind, retry_ms = wait.as_millis() as u64, "broker not reached");
                        tokio::time::sleep(wait).await;
                        wait = (wait * 2).min(RETRY_MAX);
                    }
                },
            }
        }
    }

    /// How often the connection has been made. It changes at every reconnection.
    pub fn generation(&self) -> watch::Receiver<u64> {
        self.generation.clone()
    }

    /// What happens to the connection from now on. A listener that lags loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<BusEvent> {
        self.events.subscribe()
    }

    /// Whether the connection is up at this moment.
    pub fn is_connected(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Waits until everything sent so far is written to the connection. The server may still have to
    /// read it: [`Bus::sync`] waits for that too.
    ///
    /// Errors: [`BusError::Disconnected`] when that takes longer than five seconds.
    pub async fn flush(&self) -> Result<(), BusError> {
        match tokio::time::timeout(REQUEST_TIMEOUT, self.client.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(BusError::Client(error.to_string())),
            Err(_) => Err(BusError::Disconnected),
        }
    }

    /// Waits until the server has read everything sent so far, subscriptions included.
    ///
    /// For our own processes only: it asks a question, which a post may not.
    /// Errors: [`BusError::Disconnected`] when that takes longer than five seconds, [`BusError::Client`].
    pub async fn sync(&self) -> Result<(), BusError> {
        // Nobody listens there, and the server says so at once; any answer will do.
        match self.client.request("tasuki.sync", bytes::Bytes::new()).await {
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                RequestErrorKind::NoResponders => Ok(()),
                RequestErrorKind::TimedOut => Err(BusError::Disconnected),
                _ => Err(BusError::Client(crate::error::chain(&error))),
            },
        }
    }

    pub(crate) fn client(&self) -> &async_nats::Client {
        &self.client
    }

    pub(crate) fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// Sends a message that nobody acknowledges. While the connection is down it waits in the client's
    /// bounded queue; when that is full it is dropped, and the caller is not held up.
    pub(crate) async fn send(
        &self,
        subject: String,
        headers: Option<async_nats::HeaderMap>,
        payload: bytes::Bytes,
    ) -> Result<(), BusError> {
        let sent = async {
            match headers {
                Some(headers) => self.client.publish_with_headers(subject, headers, payload).await,
                None => self.client.publish(subject, payload).await,
            }
        };
        let sent = if self.is_connected() {
            tokio::time::timeout(SEND_TIMEOUT, sent).await.ok()
        } else {
            sent.now_or_never()
        };
        match sent {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(BusError::Client(error.to_string())),
            None => Err(BusError::Disconnected),
        }
    }
}

fn connect_options(
    options: &BusOptions,
    tls: bool,
    generation: watch::Sender<u64>,
    events: broadcast::Sender<BusEvent>,
) -> Result<ConnectOptions, BusError> {
    let mut connect = ConnectOptions::new()
        .name(&options.name)
        .request_timeout(Some(REQUEST_TIMEOUT))
        .reconnect_delay_callback(|attempt| {
            let doubled = RETRY_FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(6));
            if attempt <= 1 { Duration::ZERO } else { doubled.min(RETRY_MAX) }
        })
        .event_callback(move |event| {
            let event = translate(event);
            match &event {
                Some(BusEvent::Connected) => generation.send_modify(|n| *n += 1),
                Some(BusEvent::ServerError(text)) => tracing::warn!(text, "the broker complains"),
                Some(BusEvent::Disconnected | BusEvent::ClientError(_)) | None => {}
            }
            tracing::debug!(?event, "broker connection");
            if let Some(event) = event {
                // Nobody listening is the usual case.
                let _ = events.send(event);
            }
            std::future::ready(())
        });
    if tls {
        connect = connect.require_tls(true);
    } else {
        // Servers that tell of others could lead plain text away from the machine.
        connect = connect.ignore_discovered_servers();
    }
    if let Some(authorities) = &options.authorities {
        connect = connect.add_root_certificates(authorities.clone());
    }
    if let Some(prefix) = &options.inbox_prefix {
        connect = connect.custom_inbox_prefix(prefix);
    }
    if let Some(creds) = &options.creds {
        connect = connect.credentials(creds).map_err(|_| BusError::InvalidCredentials)?;
    }
    Ok(connect)
}

fn translate(event: Event) -> Option<BusEvent> {
    match event {
        Event::Connected => Some(BusEvent::Connected),
        Event::Disconnected => Some(BusEvent::Disconnected),
        Event::ServerError(ServerError::Other(text)) => Some(BusEvent::ServerError(text)),
        Event::ServerError(error) => Some(BusEvent::ServerError(error.to_string())),
        Event::ClientError(error) => Some(BusEvent::ClientError(error.to_string())),
        Event::SlowConsumer(id) => Some(BusEvent::ClientError(format!("subscription {id} is too slow"))),
        Event::LameDuckMode | Event::Draining | Event::Closed => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_person_must_repair_is_reported_at_once() {
        let bad = BusOptions::service("nats://[", None, "test");
        assert_eq!(Bus::connect(&bad).await.unwrap_err(), BusError::InvalidAddress);
        for plain in ["nats://192.0.2.1", "nats.example", "tls://nats.example,nats://nats2.example"] {
            let bad = BusOptions::service(plain, None, "test");
            assert_eq!(Bus::connect(&bad).await.unwrap_err(), BusError::Plain, "{plain}");
        }
        let bad = BusOptions::service("nats://127.0.0.1:1", Some("no creds".into()), "test");
        assert_eq!(Bus::connect(&bad).await.unwrap_err(), BusError::InvalidCredentials);
    }

    #[test]
    fn a_debug_print_shows_no_secret() {
        let options = BusOptions::service("nats://user:secret@127.0.0.1", Some("secret".into()), "test");
        assert!(!format!("{options:?}").contains("secret"));
    }
}
