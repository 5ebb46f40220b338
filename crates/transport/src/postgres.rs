//! Connection strings of PostgreSQL with the words that libpq uses for TLS.
//!
//! `sslrootcert=FILE` names the authorities (`system` or nothing: the system's own). Beyond the machine the server's
//! certificate and name are always checked, as `sslmode=verify-full` says: `prefer` and `require` mean that too, and
//! `disable` is refused. On loopback and Unix sockets plain text is the default; `require`, `verify-ca`,
//! `verify-full` or `sslrootcert` ask for TLS there as well.
//!
//! Our own adapter instead of tokio-postgres-rustls: that one parses certificates with a library more, for channel
//! binding, which a checked certificate does not need.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::{TransportError, pem, stays_here};

/// Reads a connection string; what goes to another machine goes over TLS.
///
/// Errors: [`TransportError::Malformed`], [`TransportError::Plain`], a file of authorities that cannot be used.
pub fn read(text: &str) -> Result<(Config, Connector), TransportError> {
    let asked = Asked::of(text)?;
    let mut config =
        Config::from_str(&asked.rest).map_err(|_| TransportError::Malformed("connection string"))?;
    let here = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => stays_here(name),
        #[cfg(unix)]
        Host::Unix(_) => true,
    }) && config.get_hostaddrs().iter().all(|ip| ip.is_loopback());
    let wants = asked.verify || asked.authorities.is_some() || config.get_ssl_mode() == SslMode::Require;
    if here && !wants {
        config.ssl_mode(SslMode::Disable);
        return Ok((config, Connector(None)));
    }
    if config.get_ssl_mode() == SslMode::Disable {
        return Err(TransportError::Plain("the database is on another machine and sslmode is disable"));
    }
    config.ssl_mode(SslMode::Require);
    let file = asked.authorities.filter(|path| path != Path::new("system"));
    Ok((config, Connector(Some(pem::client(pem::authorities(file.as_deref())?)?))))
}

/// What the string says about TLS in words that the driver does not know, and the string without them.
#[derive(Debug, Default, PartialEq)]
struct Asked {
    rest: String,
    authorities: Option<PathBuf>,
    verify: bool,
}

impl Asked {
    fn of(text: &str) -> Result<Self, TransportError> {
        let mut asked = Self::default();
        if let Some((base, query)) = text
            .split_once('?')
            .filter(|_| text.starts_with("postgres://") || text.starts_with("postgresql://"))
        {
            let mut kept = Vec::new();
            for pair in query.split('&') {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                if !asked.takes(key, || decoded(value))? {
                    kept.push(pair);
                }
            }
            asked.rest = format!("{base}?{}", kept.join("&"));
        } else if text.contains("://") {
            text.clone_into(&mut asked.rest);
        } else {
            let mut kept = Vec::new();
            for pair in words(text) {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                let bare = || Ok(value.trim().trim_matches('\'').to_owned());
                if !asked.takes(key.trim(), bare)? {
                    kept.push(pair);
                }
            }
            asked.rest = kept.join(" ");
        }
        Ok(asked)
    }

    /// Whether it was one of ours.
    fn takes(
        &mut self,
        key: &str,
        value: impl FnOnce() -> Result<String, TransportError>,
    ) -> Result<bool, TransportError> {
        match key {
            "sslrootcert" => self.authorities = Some(PathBuf::from(value()?)),
            "sslmode" => match value()?.as_str() {
                "verify-ca" | "verify-full" => self.verify = true,
                _ => return Ok(false),
            },
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Splits at blanks outside of quotes.
fn words(text: &str) -> Vec<&str> {
    let (mut words, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                words.push(&text[start..i]);
                start = i + c.len_utf8();
            }
            _ => {}
        }
    }
    words.push(&text[start..]);
    words.retain(|word| !word.is_empty());
    words
}

fn decoded(value: &str) -> Result<String, TransportError> {
    let malformed = || TransportError::Malformed("connection string");
    let mut out = Vec::new();
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(malformed);
        out.push((digit()? * 16 + digit()?) as u8);
    }
    String::from_utf8(out).map_err(|_| malformed())
}

/// Makes TLS of a connection to PostgreSQL, or leaves it as it is where it stays on the machine.
#[derive(Clone, Debug)]
pub struct Connector(Option<Arc<ClientConfig>>);

/// One connection's handshake, before it begins.
#[derive(Debug)]
pub struct Handshake {
    config: Option<Arc<ClientConfig>>,
    domain: String,
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Stream<S>(tokio_rustls::client::TlsStream<S>);

impl<S> MakeTlsConnect<S> for Connector
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, io::Error> {
        Ok(Handshake { config: self.0.clone(), domain: domain.to_owned() })
    }
}

impl<S> TlsConnect<S> for Handshake
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Stream<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let config = self.config.ok_or_else(|| io::Error::other("no tls was asked for"))?;
            let name =
                ServerName::try_from(self.domain).map_err(|_| io::Error::other("the host is no name"))?;
            TlsConnector::from(config).connect(name, stream).await.map(Stream)
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for Stream<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A file with an authority, gone when dropped.
    struct Authority(PathBuf);

    impl Authority {
        fn new() -> Self {
            use base64::Engine as _;
            let made = rcgen::generate_simple_self_signed(vec!["db.example".to_owned()]).unwrap();
            let path = std::env::temp_dir().join(format!("tasuki-ca-{}.pem", uuid::Uuid::now_v7()));
            let body = base64::engine::general_purpose::STANDARD.encode(made.cert.der());
            let text = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
            std::fs::write(&path, text).unwrap();
            Self(path)
        }
    }

    impl Drop for Authority {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn beyond_the_machine_there_is_tls_or_nothing() {
        let authority = Authority::new();
        let ca = authority.0.display();
        for here in [
            "postgres://tasuki@127.0.0.1:5432/tasuki",
            "host=localhost user=tasuki",
            "host=/run/postgresql user=tasuki",
            "postgres://tasuki@localhost/tasuki?sslmode=disable",
        ] {
            let (config, connector) = read(here).unwrap();
            assert!(connector.0.is_none() && config.get_ssl_mode() == SslMode::Disable, "{here}");
        }
        for safe in [
            format!("postgres://tasuki@db.example/tasuki?sslrootcert={ca}"),
            format!(
                "postgres://tasuki@db.example/tasuki?sslmode=verify-full&sslrootcert={ca}&connect_timeout=3"
            ),
            format!("postgres://tasuki@127.0.0.1,db.example/tasuki?sslmode=prefer&sslrootcert={ca}"),
            format!("host=localhost hostaddr=192.0.2.1 user=tasuki sslrootcert='{ca}'"),
            format!("postgres://tasuki@127.0.0.1/tasuki?sslmode=verify-full&sslrootcert={ca}"),
        ] {
            let (config, connector) = read(&safe).unwrap();
            assert!(connector.0.is_some() && config.get_ssl_mode() == SslMode::Require, "{safe}");
        }
        for plain in ["postgres://tasuki@db.example/tasuki?sslmode=disable", "host=192.0.2.1 sslmode=disable"]
        {
            assert!(matches!(read(plain).unwrap_err(), TransportError::Plain(_)), "{plain}");
        }
        let missing = read("postgres://tasuki@db.example/tasuki?sslrootcert=/nowhere/ca.pem").unwrap_err();
        assert!(missing.to_string().contains("/nowhere/ca.pem"), "{missing}");
    }

    #[test]
    fn what_is_not_about_tls_is_left_as_it_is() {
        let asked = Asked::of("host=a password='s p' sslrootcert='/x' sslmode=verify-ca user=b").unwrap();
        assert_eq!(asked.rest, "host=a password='s p' user=b");
        assert_eq!((asked.authorities, asked.verify), (Some(PathBuf::from("/x")), true));
        let asked =
            Asked::of("postgres://u:p%3D@h/d?sslrootcert=%2Fa%20b&application_name=x&sslmode=require")
                .unwrap();
        assert_eq!(asked.rest, "postgres://u:p%3D@h/d?application_name=x&sslmode=require");
        assert_eq!((asked.authorities, asked.verify), (Some(PathBuf::from("/a b")), false));
        let error = read("postgres://u:secret@h:port/d").unwrap_err().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
