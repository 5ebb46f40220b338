//! A free port on 127.0.0.1. Never a fixed one, and never one that the kernel hands to outgoing connections.
//!
//! A server that is killed and restarted must get its port back. In the ephemeral range any client on the
//! machine may have it meanwhile as its own end of a connection, so ports come from below that range.
//! Between the choice and the server's own bind another process may be faster; then the caller tries another.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;

/// Below Linux's default `ip_local_port_range` (32768 and up), above most registered services.
const PORTS: Range<u16> = 18_000..32_000;
const TRIES: usize = 200;

/// `preferred` if it is free, else a free port at random; `None` when the whole machine seems taken.
pub(crate) fn choose(preferred: Option<u16>) -> Option<u16> {
    preferred.into_iter().chain((0..TRIES).map(|_| random())).find(|&port| is_free(port))
}

/// Whether a server could listen there at this moment.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn random() -> u16 {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    PORTS.start + u16::from_le_bytes([bytes[0], bytes[1]]) % (PORTS.end - PORTS.start)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_taken_port_is_passed_over_and_a_free_one_kept() {
        let port = choose(None).unwrap();
        assert!(PORTS.contains(&port));
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_ne!(choose(Some(port)), Some(port));
        drop(taken);
        assert_eq!(choose(Some(port)), Some(port));
    }
}
