//! A small document by HTTPS: one GET, bounded in time and size, without following where else it points.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::TransportError;

/// How long the whole may take.
pub const TIME_MAX: Duration = Duration::from_secs(10);
/// The largest document, bytes.
pub const BYTES_MAX: usize = 256 * 1024;

/// Where a document lies, and whom to believe that it lies there.
#[derive(Clone, Debug)]
pub struct Source {
    host: String,
    port: u16,
    path: String,
    tls: Arc<ClientConfig>,
}

/// Why a document was not got. Nothing of its content is in it.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, or no valid certificate.
    #[error("no connection: {0}")]
    Connection(#[from] std::io::Error),
    /// HTTP itself.
    #[error("http: {0}")]
    Http(#[from] hyper::Error),
    /// Another answer than 200.
    #[error("answered with status {0}")]
    Status(u16),
    /// Larger than [`BYTES_MAX`], broken off, or no text.
    #[error("the document is too large, broken off or no text")]
    Body,
    /// Not within [`TIME_MAX`].
    #[error("not within {TIME_MAX:?}")]
    Late,
}

impl Source {
    /// The document at `url`, which begins with `https://`.
    ///
    /// Errors: [`TransportError::Plain`] for another scheme, [`TransportError::Malformed`].
    pub fn new(url: &str, tls: Arc<ClientConfig>) -> Result<Self, TransportError> {
        let malformed = || TransportError::Malformed("url");
        let uri: http::Uri = url.parse().map_err(|_| malformed())?;
        if uri.scheme_str() != Some("https") {
            return Err(TransportError::Plain("the issuer's keys are fetched over https only"));
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(malformed)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(malformed());
        }
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(443), path, tls })
    }

    /// The document as it is now.
    pub async fn fetch(&self) -> Result<String, FetchError> {
        tokio::time::timeout(TIME_MAX, self.get()).await.map_err(|_| FetchError::Late)?
    }

    async fn get(&self) -> Result<String, FetchError> {
        let name = ServerName::try_from(self.host.clone()).map_err(std::io::Error::other)?;
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let stream = TlsConnector::from(self.tls.clone()).connect(name, stream).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let request = http::Request::get(&self.path)
            .header(http::header::HOST, format!("{host}:{}", self.port))
            .header(http::header::ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|_| FetchError::Body)?;
        let answer = async move {
            let response = sender.send_request(request).await?;
            if response.status() != http::StatusCode::OK {
                return Err(FetchError::Status(response.status().as_u16()));
            }
            let body = Limited::new(response.into_body(), BYTES_MAX).collect().await;
            let bytes = body.map_err(|_| FetchError::Body)?.to_bytes();
            String::from_utf8(bytes.into()).map_err(|_| FetchError::Body)
        };
        // The connection moves the bytes while the answer is awaited, and goes with this call.
        tokio::pin!(answer);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            answer = &mut answer => answer,
            ended = &mut connection => match ended {
                // What has arrived by then is still to be read.
                Ok(()) => answer.await,
                Err(error) => Err(error.into()),
            },
        }
    }
}
