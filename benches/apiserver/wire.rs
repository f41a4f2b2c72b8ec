//! A connection to the server: TLS, HTTP/1.1, the administrator's certificate.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::BufReader;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// What is taken from the kernel at once. By itself, rustls asks for 4 KiB each time, and the load would cost more than the server.
pub(crate) const READ_BYTES: usize = 128 << 10;

/// Where the server listens and how to be let in.
pub(crate) struct Wire {
    tls: Arc<ClientConfig>,
    host: String,
    port: u16,
}

/// What goes over it is not heard by others.
pub(crate) type Secured = TlsStream<BufReader<TcpStream>>;

/// One connection, used for one request after another.
pub(crate) struct Connection(SendRequest<Full<Bytes>>);

impl Wire {
    pub(crate) async fn of(kubeconfig: &Path) -> Self {
        let file = Kubeconfig::read_from(kubeconfig).expect("a kubeconfig");
        let config =
            kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.expect("whole");
        let tls = config.rustls_client_config().expect("certificates");
        let url = &config.cluster_url;
        let (host, port) = (url.host().expect("a host").to_owned(), url.port_u16().expect("a port"));
        Self::new(tls, host, port)
    }

    pub(crate) fn new(mut tls: ClientConfig, host: String, port: u16) -> Self {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { tls: Arc::new(tls), host, port }
    }

    pub(crate) async fn connect(&self) -> Connection {
        let (sender, connection) = http1::handshake(TokioIo::new(self.open().await)).await.expect("HTTP");
        tokio::spawn(connection);
        Connection(sender)
    }

    /// A connection that nothing has been sent over.
    pub(crate) async fn open(&self) -> Secured {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let stream = BufReader::with_capacity(READ_BYTES, stream);
        let name = ServerName::try_from(self.host.clone()).expect("a name");
        TlsConnector::from(self.tls.clone()).connect(name, stream).await.expect("a handshake")
    }
}

impl Connection {
    /// Makes a namespace pods can be in: with its `default` account, which the controllers would make.
    pub(crate) async fn prepare(&mut self, namespace: &str) {
        if namespace != "default" {
            let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
            self.create("/api/v1/namespaces", &object).await;
        }
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}});
        self.create(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &account).await;
    }

    async fn create(&mut self, path: &str, object: &Value) {
        let answer = self.send(Method::POST, path, object.to_string().into_bytes()).await;
        answer.into_body().collect().await.expect("a whole answer");
    }

    /// Sends a request and waits for the head of its answer, which must be a success.
    pub(crate) async fn send(&mut self, method: Method, path: &str, body: Vec<u8>) -> Response<Incoming> {
        let media = match method {
            Method::PATCH => "application/strategic-merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "orchestra")
            .header(header::CONTENT_TYPE, media)
            .header(header::ACCEPT, "application/json")
            .body(Full::new(body.into()))
            .expect("a request");
        self.0.ready().await.expect("the connection stands");
        let response = self.0.send_request(request).await.expect("an answer");
        assert!(response.status().is_success(), "{path}: {}", response.status());
        response
    }
}
