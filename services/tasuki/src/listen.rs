//! Where callers come in: plain text on loopback addresses, TLS everywhere else.
//!
//! What a connection's certificate says travels with each of its calls as [`Peer`], which `layer.rs` looks at.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tasuki_transport::server::{LOOK_EVERY, Peer, Secured, ServerFiles, accept, follow};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::server::Connected;

use crate::Error;

/// Connections that have shaken hands and wait to be served.
const WAITING_MAX: usize = 64;

/// Refuses an address that plain text would leave the machine by.
///
/// Errors: the address is no loopback address and there is no certificate.
pub fn allowed(listen: SocketAddr, tls: Option<&ServerFiles>) -> Result<(), Error> {
    if tls.is_some() || listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(format!(
        "{listen} is no loopback address: give TASUKI_TLS_CERT and TASUKI_TLS_KEY (--tls-cert, --tls-key), or listen on 127.0.0.1 / \
         {listen} はループバックアドレスではありません。TASUKI_TLS_CERT と TASUKI_TLS_KEY を指定するか、127.0.0.1 で待ち受けてください"
    )
    .into())
}

/// The connections that come in over TLS, until cancelled.
///
/// Errors: files that cannot be used.
pub fn secured(
    listener: TcpListener,
    files: ServerFiles,
    tasks: &TaskTracker,
    cancel: &CancellationToken,
) -> Result<ReceiverStream<io::Result<Connection>>, Error> {
    let (to, config) = watch::channel(files.load()?);
    let (sender, mut accepted) = mpsc::channel::<io::Result<Secured>>(WAITING_MAX);
    let (wrapped, connections) = mpsc::channel(1);
    tasks.spawn(follow(files, LOOK_EVERY, to, cancel.clone()));
    tasks.spawn(accept(listener, config, sender, cancel.clone()));
    tasks.spawn(async move {
        while let Some(next) = accepted.recv().await {
            if wrapped.send(next.map(|(stream, peer)| Connection { stream, peer })).await.is_err() {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(connections))
}

/// A connection over TLS, and what its certificate says.
pub struct Connection {
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    peer: Peer,
}

impl Connected for Connection {
    type ConnectInfo = Arc<Peer>;
    fn connect_info(&self) -> Arc<Peer> {
        Arc::new(self.peer.clone())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_for_loopback_alone() {
        let files = ServerFiles { certificate: "a".into(), key: "b".into(), clients: None };
        for (listen, plain) in [
            ("127.0.0.1:0", true),
            ("[::1]:0", true),
            ("0.0.0.0:0", false),
            ("[::]:0", false),
            ("192.0.2.1:1", false),
        ] {
            let listen = listen.parse().unwrap();
            assert_eq!(allowed(listen, None).is_ok(), plain, "{listen}");
            assert!(allowed(listen, Some(&files)).is_ok(), "{listen}");
        }
        let said = allowed("0.0.0.0:7443".parse().unwrap(), None).unwrap_err().to_string();
        assert!(said.contains("TASUKI_TLS_CERT") && said.contains("ループバック"), "{said}");
    }
}
