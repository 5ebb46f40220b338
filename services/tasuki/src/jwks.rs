//! An issuer's public keys, from a file or by HTTPS, read again while the program runs.
//!
//! They are read every five minutes, and soon when a token names a key that is not among them, at most once in five
//! seconds whoever sends such tokens. What cannot be read leaves the keys as they were: the last good set holds, and a
//! metric tells its age. A key that has left the set signs nothing any more, and streams that were opened on it end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tasuki_auth::{KeySet, Verifier};
use tasuki_transport::https;
use tasuki_transport::pem;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Error;

/// How often the keys are read when nobody asks.
const READ_EVERY: Duration = Duration::from_secs(300);
/// How soon after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// How soon they are read again at the earliest.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How often their age is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Where one issuer's keys are published.
#[derive(Clone, Debug)]
pub struct KeySource {
    issuer: String,
    place: Place,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Url(Box<https::Source>),
}

impl KeySource {
    /// The keys of `issuer` at `place`: an `https://` URL, or a file. `authorities` are those of the URL's certificate.
    ///
    /// Errors: another scheme, a malformed URL, authorities that cannot be used.
    pub fn new(issuer: &str, place: &str, authorities: Option<PathBuf>) -> Result<Self, Error> {
        let place = if place.contains("://") {
            let tls = pem::client(pem::authorities(authorities.as_deref())?)?;
            Place::Url(Box::new(https::Source::new(place, tls)?))
        } else {
            Place::File(place.into())
        };
        Ok(Self { issuer: issuer.to_owned(), place })
    }

    /// The keys as they are now.
    ///
    /// Errors: they cannot be got, or are no keys.
    pub async fn read(&self) -> Result<KeySet, Error> {
        match &self.place {
            Place::File(path) => Ok(KeySet::read(path)?),
            Place::Url(source) => Ok(KeySet::from_jwks(&source.fetch().await?)?),
        }
    }
}

/// Reads the keys again until cancelled.
pub async fn follow(verifier: Arc<Verifier>, source: KeySource, cancel: CancellationToken) {
    let asked = Arc::new(Notify::new());
    let (issuer, asks) = (source.issuer.clone(), asked.clone());
    verifier.when_key_unknown(move |name| {
        if name == issuer {
            asks.notify_one();
        }
    });
    let (mut tried, mut read) = (Instant::now(), Instant::now());
    let (mut next, mut pending) = (tried + READ_EVERY, false);
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            () = asked.notified(), if !pending => {
                pending = true;
                next = next.min(tried + AGAIN_AFTER);
            }
            () = tokio::time::sleep_until(next.min(Instant::now() + TELL_EVERY)) => {}
        }
        if Instant::now() >= next {
            let Some(got) = cancel.run_until_cancelled(source.read()).await else { return };
            pending = false;
            tried = Instant::now();
            next = tried + if got.is_ok() { READ_EVERY } else { RETRY_AFTER };
            match got {
                Ok(keys) => {
                    read = tried;
                    // The issuer is one of the verifier's own.
                    let _ = verifier.replace_keys(&source.issuer, keys);
                }
                Err(error) => {
                    let age_s = read.elapsed().as_secs();
                    tracing::warn!(%error, age_s, "the issuer's keys cannot be read; the last good ones hold");
                }
            }
        }
        tasuki_telemetry::metrics().issuer_keys_are(read.elapsed());
    }
}
