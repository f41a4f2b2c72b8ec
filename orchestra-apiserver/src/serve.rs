//! The server on a socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{ServiceBuilder, ServiceExt};

use crate::auth::PeerCertificate;
use crate::server::ApiServer;

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take to send the headers of a request.
const HEADERS: Duration = Duration::from_secs(30);
/// Requests that one HTTP/2 connection may have open, as upstream.
const STREAMS: u32 = 250;
/// How long requests that are under way get when the server ends.
const FAREWELL: Duration = Duration::from_secs(5);
/// A pause after an accept that failed for want of something, so that it does not spin.
const BREATHER: Duration = Duration::from_millis(50);

impl ApiServer {
    /// Answers on `listener` until `shutdown`: over TLS, where client certificates tell who asks, or in the clear, where
    /// nobody is known. Then ends watches and lets other requests that are under way end.
    ///
    /// # Errors
    /// When the socket does not know its own address. Failures of single connections are logged.
    pub async fn serve(
        &self,
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        tracing::info!(address = %listener.local_addr()?, "the API server listens");
        let acceptor = tls.map(TlsAcceptor::from);
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    let (server, acceptor, shutdown) = (self.clone(), acceptor.clone(), shutdown.clone());
                    connections.spawn(async move { server.welcome(stream, from, acceptor, shutdown).await });
                }
                Err(problem) => {
                    tracing::warn!(%problem, "could not accept a connection");
                    sleep(BREATHER).await;
                }
            }
        }
        drop(listener);
        self.stop_watches();
        connections.close();
        if timeout(FAREWELL, connections.wait()).await.is_err() {
            tracing::warn!(open = connections.len(), "some requests did not end in time");
        }
        Ok(())
    }

    async fn welcome(
        self,
        stream: TcpStream,
        from: SocketAddr,
        acceptor: Option<TlsAcceptor>,
        shutdown: CancellationToken,
    ) {
        if let Err(problem) = stream.set_nodelay(true) {
            tracing::debug!(%from, %problem, "could not turn off Nagle's algorithm");
        }
        let Some(acceptor) = acceptor else { return self.converse(stream, from, None, shutdown).await };
        match timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let peer = peer(&stream);
                self.converse(stream, from, peer, shutdown).await;
            }
            Ok(Err(problem)) => {
                self.state.metrics.failed_handshakes.inc();
                tracing::debug!(%from, %problem, "TLS handshake failed");
            }
            Err(_) => {
                self.state.metrics.failed_handshakes.inc();
                tracing::debug!(%from, "TLS handshake took too long");
            }
        }
    }

    async fn converse(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        from: SocketAddr,
        peer: Option<PeerCertificate>,
        shutdown: CancellationToken,
    ) {
        let service = ServiceBuilder::new()
            .map_request(move |mut request: http::Request<hyper::body::Incoming>| {
                if let Some(peer) = &peer {
                    request.extensions_mut().insert(peer.clone());
                }
                request
            })
            .service(self);
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS);
        builder.http2().timer(TokioTimer::new()).max_concurrent_streams(STREAMS).adaptive_window(true);
        let connection = builder.serve_connection_with_upgrades(
            TokioIo::new(stream),
            TowerToHyperService::new(service.boxed_clone()),
        );
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(problem) = ended {
            tracing::trace!(%from, %problem, "connection broken off");
        }
    }
}

/// Who the client's certificate, which TLS has verified, says it is.
fn peer(stream: &TlsStream<TcpStream>) -> Option<PeerCertificate> {
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates()?.first()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = certificate.subject();
    let text =
        |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().map(str::to_owned).ok();
    Some(PeerCertificate {
        // The last, if there are several, as upstream reads it.
        common_name: subject.iter_common_name().last().and_then(text)?,
        organizations: subject.iter_organization().filter_map(text).collect(),
    })
}
