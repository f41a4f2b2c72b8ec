//! Accepting HTTP requests and carrying them to pods.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::plan::Routes;
use crate::metrics::NetworkMetrics;

type Body = BoxBody<Bytes, hyper::Error>;

/// How long a pod may take to accept before the next one is tried.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a client may take to send its headers.
const HEADERS: Duration = Duration::from_secs(30);
/// Headers that concern one connection only and are not passed on (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The HTTP entrance of a cluster.
#[derive(Debug)]
pub struct IngressServer {
    listener: TcpListener,
    table: Arc<Table>,
    metrics: NetworkMetrics,
}

/// The routes in force, replaced as a whole.
#[derive(Debug, Default)]
pub struct Table {
    routes: RwLock<Arc<Routes>>,
    turn: AtomicUsize,
}

impl Table {
    /// Puts `routes` in force; requests that are under way keep theirs.
    pub fn replace(&self, routes: Routes) {
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes);
    }

    fn current(&self) -> Arc<Routes> {
        self.routes.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl IngressServer {
    /// Listens on the first of `addresses` that can be had.
    ///
    /// # Errors
    /// What the system said of the last one.
    pub async fn bind(addresses: &[SocketAddr]) -> io::Result<Self> {
        let listener = TcpListener::bind(addresses).await?;
        Ok(Self { listener, table: Arc::default(), metrics: NetworkMetrics::default() })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not know the socket any more.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The table of routes, to be filled by who watches the cluster.
    pub fn table(&self) -> Arc<Table> {
        self.table.clone()
    }

    pub(crate) fn counted_by(mut self, metrics: NetworkMetrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Serves until `shutdown`, then lets requests that are under way end.
    pub async fn run(self, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    let (table, metrics) = (self.table.clone(), self.metrics.clone());
                    connections.spawn(serve(stream, from, table, metrics, shutdown.clone()));
                }
                Err(problem) => {
                    tracing::debug!(%problem, "could not accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        connections.close();
        connections.wait().await;
    }
}

async fn serve(
    stream: TcpStream,
    from: SocketAddr,
    table: Arc<Table>,
    metrics: NetworkMetrics,
    shutdown: CancellationToken,
) {
    let service = service_fn(move |request| {
        let (table, metrics) = (table.clone(), metrics.clone());
        async move {
            let response = answer(request, from, &table).await;
            metrics.answered(response.status().as_u16());
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
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

async fn answer(request: Request<Incoming>, from: SocketAddr, table: &Table) -> Response<Body> {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| request.uri().host())
        .unwrap_or_default();
    let Some(backends) = table.current().find(host, request.uri().path()).cloned() else {
        return plain(StatusCode::NOT_FOUND, "no ingress rule matches this host and path\n");
    };
    let Some(stream) = connect(&backends, table.turn.fetch_add(1, Ordering::Relaxed)).await else {
        return plain(StatusCode::SERVICE_UNAVAILABLE, "no pod of the service takes connections\n");
    };
    match forward(request, from, stream).await {
        Ok(response) => response,
        Err(problem) => {
            tracing::debug!(%problem, "pod broke off");
            plain(StatusCode::BAD_GATEWAY, "the pod broke off the connection\n")
        }
    }
}

async fn connect(backends: &[SocketAddr], turn: usize) -> Option<TcpStream> {
    for step in 0..backends.len() {
        let backend = backends[(turn + step) % backends.len()];
        match timeout(CONNECT, TcpStream::connect(backend)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(problem)) => tracing::debug!(%backend, %problem, "pod did not take the connection"),
            Err(_) => tracing::debug!(%backend, "pod did not answer in time"),
        }
    }
    None
}

async fn forward(
    mut request: Request<Incoming>,
    from: SocketAddr,
    stream: TcpStream,
) -> hyper::Result<Response<Body>> {
    strip_hop_by_hop(request.headers_mut());
    mark_forwarded(request.headers_mut(), from);
    // A pod is asked for a path, not for a whole address.
    *request.uri_mut() = request
        .uri()
        .path_and_query()
        .map(|path| http::Uri::from(path.clone()))
        .unwrap_or_else(|| http::Uri::from_static("/"));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(problem) = connection.await {
            tracing::trace!(%problem, "connection to a pod broken off");
        }
    });
    let mut response = sender.send_request(request).await?;
    strip_hop_by_hop(response.headers_mut());
    Ok(response.map(BodyExt::boxed))
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // What `Connection` names concerns this connection only, too.
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn mark_forwarded(headers: &mut HeaderMap, from: SocketAddr) {
    let earlier = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let chain = earlier.map_or_else(|| from.ip().to_string(), |earlier| format!("{earlier}, {}", from.ip()));
    if let Ok(chain) = HeaderValue::from_str(&chain) {
        headers.insert("x-forwarded-for", chain);
    }
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert("x-forwarded-host", host);
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static("http"));
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let body = Full::new(Bytes::from_static(text.as_bytes())).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn headers_of_one_connection_are_not_passed_on() {
        let mut sent =
            headers(&[("connection", "keep-alive, x-secret"), ("x-secret", "1"), ("accept", "*/*")]);
        strip_hop_by_hop(&mut sent);
        assert_eq!(sent, headers(&[("accept", "*/*")]));
    }

    #[test]
    fn a_pod_learns_who_asked_and_for_which_host() {
        let mut sent = headers(&[("host", "shop.example"), ("x-forwarded-for", "192.0.2.1")]);
        mark_forwarded(&mut sent, SocketAddr::from(([192, 0, 2, 9], 1)));
        assert_eq!(sent["x-forwarded-for"], "192.0.2.1, 192.0.2.9");
        assert_eq!(sent["x-forwarded-host"], "shop.example");
    }
}
