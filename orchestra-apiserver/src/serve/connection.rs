//! One connection: the handshake, the requests, the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::{BoxError, ServiceBuilder, ServiceExt};

use super::ledger::{Ledger, Verdict};
use super::pace::Paced;
use super::refusal::Worded;
use crate::auth::PeerCertificate;
use crate::server::ApiServer;

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Requests that one HTTP/2 connection may have open, as upstream.
const STREAMS: u32 = 250;
/// Streams that a client may open and reset before the server has looked at them; who resets more is sent away
/// (CVE-2023-44487).
const RESETS: usize = 20;
/// The headers of an HTTP/2 request.
const HEADER_BYTES: u32 = 128 * 1024;
/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(15);

/// What one connection is served with.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) server: ApiServer,
    pub(super) acceptor: Option<TlsAcceptor>,
    /// Ends the connection when what is under way has ended.
    pub(super) shutdown: CancellationToken,
}

impl Host {
    /// Serves a client until one of both has enough.
    pub(super) async fn welcome(self, stream: TcpStream, from: SocketAddr) {
        if let Err(problem) = stream.set_nodelay(true) {
            tracing::debug!(%from, %problem, "could not turn off Nagle's algorithm");
        }
        let stream = Paced::new(stream, self.server.state.limits.stalled);
        let Some(acceptor) = self.acceptor.clone() else { return self.converse(stream, from, None).await };
        match timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                let peer = peer(&stream);
                self.converse(stream, from, peer).await;
            }
            Ok(Err(problem)) => {
                self.server.state.metrics.failed_handshakes.inc();
                tracing::debug!(%from, %problem, "TLS handshake failed");
            }
            Err(_) => {
                self.server.state.metrics.failed_handshakes.inc();
                tracing::debug!(%from, "TLS handshake took too long");
            }
        }
    }

    async fn converse(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        from: SocketAddr,
        peer: Option<PeerCertificate>,
    ) {
        let ledger = Ledger::open();
        let state = Arc::clone(&self.server.state);
        let (limits, stream) = (&state.limits, Worded::new(stream, ledger.clone()));
        let account = ledger.clone();
        let service = ServiceBuilder::new()
            .map_request(move |mut request: http::Request<hyper::body::Incoming>| {
                if let Some(peer) = &peer {
                    request.extensions_mut().insert(peer.clone());
                }
                request.extensions_mut().insert(account.clone());
                request.extensions_mut().insert(Peer(from));
                request
            })
            .service(self.server);
        let mut builder = auto::Builder::new(TokioExecutor::new());
        // hyper's clock for headers runs between requests as well.
        builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.idle);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(RESETS)
            .max_header_list_size(HEADER_BYTES)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .adaptive_window(true);
        let connection = builder.serve_connection_with_upgrades(
            TokioIo::new(stream),
            TowerToHyperService::new(service.boxed_clone()),
        );
        tokio::pin!(connection);
        // They hardly ever have something to say, while the connection is polled for whatever it sends: so they are looked at
        // only when they do.
        let ends = async {
            tokio::select! {
                () = self.shutdown.cancelled() => None,
                verdict = ledger.verdict(limits) => Some(verdict),
            }
        };
        let mut ends: FuturesUnordered<_> = [ends].into_iter().collect();
        let verdict = tokio::select! {
            ended = &mut connection => return broken_off(from, ended),
            Some(verdict) = ends.next() => verdict,
        };
        let Some(verdict) = verdict else {
            connection.as_mut().graceful_shutdown();
            return broken_off(from, connection.await);
        };
        tracing::debug!(%from, ?verdict, "a connection is ended");
        if verdict == Verdict::Idle {
            connection.as_mut().graceful_shutdown();
            if let Ok(ended) = timeout(limits.stalled, connection).await {
                broken_off(from, ended);
            }
        }
    }
}

fn broken_off(from: SocketAddr, ended: Result<(), BoxError>) {
    if let Err(problem) = ended {
        tracing::trace!(%from, %problem, "connection broken off");
    }
}

/// Where a request comes from; its extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Who the client's certificate, which TLS has verified, says it is.
fn peer(stream: &TlsStream<Paced<TcpStream>>) -> Option<PeerCertificate> {
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
