//! The listening end: a certificate, its key, and optionally whose certificates callers must show.
//!
//! Files are read again every few seconds and a changed set takes effect for new connections, so that a renewal needs
//! no restart. A set that cannot be used (half written, say) is told once and the one before stays.
//!
//! A client's certificate may name the agencies for whose tokens it is good: a URI `urn:tasuki:agency:UUID` among its
//! alternative names, one for each. One without such a name is good for all of them (a gateway in front of several).

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{TransportError, pem};

/// How often the files are looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a caller may take for its handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Handshakes at once; more wait in the system's own queue, which is bounded too.
const HANDSHAKES_MAX: usize = 256;
/// What the name of an agency in a client's certificate begins with.
pub const AGENCY_URI: &str = "urn:tasuki:agency:";

/// Where certificate and key lie, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The server's certificate, then those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of the callers' certificates; with them, who shows none is not let in.
    pub clients: Option<PathBuf>,
}

/// What a connection's certificate says. Without client certificates: that it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// The agencies that the certificate names; empty: it names none, and is good for all.
    pub agencies: Arc<[Uuid]>,
}

impl Peer {
    /// Whether a token of the agency may be used over this connection.
    pub fn may_speak_for(&self, agency: Uuid) -> bool {
        self.agencies.is_empty() || self.agencies.contains(&agency)
    }
}

/// A connection after its handshake.
pub type Secured = (tokio_rustls::server::TlsStream<TcpStream>, Peer);

impl ServerFiles {
    /// Reads them.
    ///
    /// Errors: a file that cannot be used, a key that is not the certificate's.
    pub fn load(&self) -> Result<Arc<ServerConfig>, TransportError> {
        let provider = Arc::new(default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = pem::authorities(Some(path))?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|e| TransportError::File { path: path.clone(), why: e.to_string() })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config =
            builder.with_single_cert(pem::certificates(&self.certificate)?, pem::private_key(&self.key)?)?;
        config.alpn_protocols.push(b"h2".to_vec());
        Ok(Arc::new(config))
    }

    /// The bytes of all of them; unreadable ones count as empty.
    fn bytes(&self) -> Vec<Vec<u8>> {
        let files = [Some(&self.certificate), Some(&self.key), self.clients.as_ref()];
        files.into_iter().flatten().map(|path| std::fs::read(path).unwrap_or_default()).collect()
    }
}

/// Looks at the files `every` so often until cancelled, and passes a changed set on.
pub async fn follow(
    files: ServerFiles,
    every: Duration,
    to: watch::Sender<Arc<ServerConfig>>,
    cancel: CancellationToken,
) {
    let mut seen = files.bytes();
    while cancel.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
        let now = files.bytes();
        if now == seen {
            continue;
        }
        match files.load() {
            Ok(config) => {
                to.send_replace(config);
                tracing::info!("the certificate was read again");
            }
            Err(error) => tracing::warn!(%error, "the new certificate cannot be used; the one before stays"),
        }
        seen = now;
    }
}

/// Takes connections until cancelled, and passes those on whose handshake succeeds. A caller that stalls, or shows
/// nothing of use, holds up nobody else.
pub async fn accept(
    listener: TcpListener,
    config: watch::Receiver<Arc<ServerConfig>>,
    to: mpsc::Sender<io::Result<Secured>>,
    cancel: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let Some((Ok(place), accepted)) = cancel.run_until_cancelled(next).await else { return };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Such as too many open files: they close again.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (config, to) = (config.borrow().clone(), to.clone());
        tokio::spawn(async move {
            let _place = place;
            match tokio::time::timeout(HANDSHAKE_MAX, handshake(stream, config)).await {
                Ok(Ok(secured)) => drop(to.send(Ok(secured)).await),
                Ok(Err(error)) => tracing::debug!(kind = ?error.kind(), "a handshake failed"),
                Err(_) => tracing::debug!("a handshake took too long"),
            }
        });
    }
}

async fn handshake(stream: TcpStream, config: Arc<ServerConfig>) -> io::Result<Secured> {
    stream.set_nodelay(true)?;
    let stream = TlsAcceptor::from(config).accept(stream).await?;
    let peer = match stream.get_ref().1.peer_certificates().and_then(<[_]>::first) {
        Some(certificate) => peer(certificate.as_ref())?,
        None => Peer::default(),
    };
    Ok((stream, peer))
}

/// What a certificate says that has been found valid. A malformed name is no name: it would else be good for all.
fn peer(certificate: &[u8]) -> io::Result<Peer> {
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    let der = certificate.into();
    let certificate = webpki::EndEntityCert::try_from(&der).map_err(|_| malformed())?;
    let named = certificate.valid_uri_names().filter_map(|uri| uri.strip_prefix(AGENCY_URI));
    let agencies = named.map(|id| Uuid::try_parse(id).map_err(|_| malformed())).collect::<io::Result<_>>()?;
    Ok(Peer { agencies })
}
