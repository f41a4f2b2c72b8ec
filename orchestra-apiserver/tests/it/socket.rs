//! A server on a socket of its own, without TLS: who asks says so in a header.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::request::Parts;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use orchestra_apiserver::{ApiServer, ApiServerBuilder, Authenticator, Limits, StatusError, User};
use orchestra_store::MemoryStore;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Believes what a header says.
#[derive(Debug)]
struct ByHeader;

#[async_trait]
impl Authenticator for ByHeader {
    async fn authenticate(&self, request: &Parts) -> Result<Option<User>, StatusError> {
        let name = request.headers.get("x-test-user").and_then(|name| name.to_str().ok());
        Ok(name.map(|name| match name {
            "admin" => User::admin(),
            "jane" => User::new("jane", ["testers".to_owned()]),
            name => User::new(name, []),
        }))
    }
}

/// A rule that lets a ConfigMap named `held` through only when it is told to, and says when one has come.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) open: Arc<Semaphore>,
    came: mpsc::UnboundedSender<()>,
}

impl Gate {
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<()>) {
        let (came, coming) = mpsc::unbounded_channel();
        (Self { open: Arc::new(Semaphore::new(0)), came }, coming)
    }
}

#[async_trait]
impl orchestra_apiserver::Admission for Gate {
    fn name(&self) -> &str {
        "Gate"
    }

    async fn mutate(
        &self,
        request: &orchestra_apiserver::AdmissionRequest<'_>,
        _object: &mut Value,
    ) -> Result<(), StatusError> {
        if request.name == "held" {
            self.came.send(()).unwrap();
            self.open.acquire().await.unwrap().forget();
        }
        Ok(())
    }

    async fn validate(
        &self,
        _request: &orchestra_apiserver::AdmissionRequest<'_>,
        _object: &Value,
    ) -> Result<(), StatusError> {
        Ok(())
    }
}

/// A server that listens.
pub(crate) struct Listening {
    pub(crate) server: ApiServer,
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<std::io::Result<()>>,
    _stop: DropGuard,
}

pub(crate) async fn listen(
    limits: Limits,
    more: impl FnOnce(ApiServerBuilder) -> ApiServerBuilder,
) -> Listening {
    let builder = ApiServer::builder(Arc::new(MemoryStore::new())).authenticator(ByHeader).limits(limits);
    serve(more(builder).build().await.unwrap()).await
}

pub(crate) async fn serve(server: ApiServer) -> Listening {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let (serves, token) = (server.clone(), shutdown.clone());
    let serving = tokio::spawn(async move { serves.serve(listener, None, token).await });
    Listening { server, address, shutdown: shutdown.clone(), serving, _stop: shutdown.drop_guard() }
}

impl Listening {
    pub(crate) async fn connect(&self) -> http1::SendRequest<Full<bytes::Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// One request over a connection of its own.
    pub(crate) async fn ask(
        &self,
        user: &str,
        request: http::request::Builder,
        body: impl Into<bytes::Bytes>,
    ) -> (http::response::Parts, Value) {
        let request = request
            .header("host", "test")
            .header("content-type", "application/json")
            .header("x-test-user", user)
            .body(Full::new(body.into()))
            .unwrap();
        let answer = self.connect().await.send_request(request).await.unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (parts, serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into()))
    }

    /// Bytes as they are; what comes back until the server closes.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        // The server may have seen enough before all is sent.
        let sent = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        let text = String::from_utf8_lossy(&answer).into_owned();
        assert!(!text.is_empty() || (sent.is_ok() && read.is_ok()), "broken off: {sent:?} {read:?}");
        text
    }
}
