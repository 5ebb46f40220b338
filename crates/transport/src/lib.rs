//! Who is at the other end: TLS for every connection that leaves the machine, and no plain text there.
//!
//! One rule for callers, PostgreSQL, NATS and the issuer's keys: plain text only on loopback addresses and Unix
//! sockets ([`stays_here`]); everywhere else the other end shows a certificate, which is checked against a named file
//! of authorities or the system's own, name included. There is no switch that turns the check off. All of it is
//! rustls with ring.
//!
//! What it never does: decide who may do what, write a file, or log a name from a certificate.

use std::net::IpAddr;
use std::path::PathBuf;

pub mod https;
pub mod pem;
pub mod postgres;
pub mod server;

/// Why a connection cannot be made safe. All of it needs a person; none of it holds key material.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// A file that was named cannot be used.
    #[error("{} cannot be used: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system holds no authorities of its own and none were named.
    #[error("the system has no certificate authorities of its own; name a file of them")]
    NoAuthorities,
    /// Plain text would leave the machine.
    #[error("{0}: plain text is for loopback addresses only; use TLS")]
    Plain(&'static str),
    /// A connection string or URL does not parse. It may hold a password, so nothing of it is repeated.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// rustls does not take what it is given.
    #[error("tls: {0}")]
    Tls(#[from] tokio_rustls::rustls::Error),
}

/// Whether what is sent to `host` stays on this machine: `localhost` or a loopback address, in brackets or not.
pub fn stays_here(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost")
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::stays_here;

    #[test]
    fn only_loopback_stays_on_the_machine() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "::1", "[::1]", "::ffff:127.0.0.1"] {
            assert!(stays_here(host), "{host}");
        }
        for host in [
            "",
            "0.0.0.0",
            "::",
            "10.0.0.1",
            "localhost.example",
            "127.0.0.1.example",
            "example",
            "192.0.2.1",
        ] {
            assert!(!stays_here(host), "{host}");
        }
    }
}
