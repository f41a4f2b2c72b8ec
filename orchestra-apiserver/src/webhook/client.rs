//! Posts to webhooks over HTTP/1.1 and TLS.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio::time::Duration;
use tokio_rustls::TlsConnector;

use super::Endpoint;
use super::answer;
use super::target::{Finder, WebhookTargets};
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::clock::Chance;
use crate::metrics::ConversionMetrics;

/// No answer is longer. Upstream reads any; an object is at most 3 MiB, and a patch of it in base64 fits.
const MAX_ANSWER: usize = 16 << 20;

/// Asks webhooks.
pub(crate) struct Client {
    finder: Finder,
    chance: Arc<Chance>,
    /// The authorities the machine trusts, for endpoints that name none.
    machine: OnceLock<Arc<RootCertStore>>,
    /// How those that convert objects answer.
    pub(crate) conversions: ConversionMetrics,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    pub(crate) fn new(
        feed: &Arc<Feed>,
        catalog: &Catalog,
        chance: &Arc<Chance>,
        allowed: WebhookTargets,
    ) -> Self {
        let finder = Finder::new(feed, catalog, allowed);
        let conversions = ConversionMetrics::default();
        Self { finder, chance: chance.clone(), machine: OnceLock::new(), conversions }
    }

    /// Who trusts `ca_bundle`, in base64, or what the machine trusts.
    pub(super) fn tls(&self, ca_bundle: Option<&str>) -> Result<Arc<ClientConfig>, String> {
        let roots = match ca_bundle.filter(|bundle| !bundle.is_empty()) {
            Some(bundle) => Arc::new(roots(bundle)?),
            None => self.machine.get_or_init(|| Arc::new(machine_roots())).clone(),
        };
        let provider = crate::tls::provider();
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Posts JSON and returns the answer's body, which came with success. An error reads as that of Go's client.
    pub(crate) async fn post(
        &self,
        endpoint: &Endpoint,
        body: Bytes,
        patience: Duration,
    ) -> Result<Bytes, String> {
        let query = format!("?timeout={}s", patience.as_secs());
        let asked = self.exchange(endpoint, &query, body);
        let outcome = match tokio::time::timeout(patience, asked).await {
            Ok(outcome) => outcome,
            Err(_) => Err("context deadline exceeded".to_owned()),
        };
        let (code, media, body) =
            outcome.map_err(|error| format!("Post \"{}{query}\": {error}", endpoint.shown))?;
        if !(200..=206).contains(&code.as_u16()) {
            return Err(answer::refusal(code, &body));
        }
        if body.is_empty() {
            return Err(format!(
                "0-length response with status code: {} and content type: {media}",
                code.as_u16()
            ));
        }
        Ok(body)
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        query: &str,
        body: Bytes,
    ) -> Result<(http::StatusCode, String, Bytes), String> {
        let request = Request::post(format!("{}{query}", endpoint.path))
            .header(header::HOST, &endpoint.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, concat!("orchestra-apiserver/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let mut addresses = self.finder.find(&endpoint.place).await?;
        // Whoever is behind a service is asked in turn.
        if addresses.len() > 1 {
            let by = usize::try_from(self.chance.below(addresses.len() as u64)).unwrap_or_default();
            addresses.rotate_left(by);
        }
        let (response, sender, address) = send(endpoint, request, &addresses).await?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
        endpoint.keep(sender, address);
        let media = head.headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok());
        Ok((head.status, media.unwrap_or_default().to_owned(), body.to_bytes()))
    }
}

type Sent = (Response<Incoming>, SendRequest<Full<Bytes>>, SocketAddr);

/// Sends over a connection that waits, or over a new one when the waiting one turns out to be closed.
async fn send(
    endpoint: &Endpoint,
    mut request: Request<Full<Bytes>>,
    addresses: &[SocketAddr],
) -> Result<Sent, String> {
    while let Some((mut sender, address)) = endpoint.take(addresses) {
        if sender.ready().await.is_err() {
            continue;
        }
        match sender.try_send_request(request).await {
            Ok(response) => return Ok((response, sender, address)),
            Err(mut failed) => match failed.take_message() {
                // It never went out.
                Some(unsent) => request = unsent,
                None => return Err(go_words(&failed.into_error())),
            },
        }
    }
    let (mut sender, address) = connect(endpoint, addresses).await?;
    match sender.send_request(request).await {
        Ok(response) => Ok((response, sender, address)),
        Err(error) => Err(go_words(&error)),
    }
}

fn go_words(error: &hyper::Error) -> String {
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    match io.map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => "EOF".to_owned(),
        Some(io::ErrorKind::ConnectionReset) => "read: connection reset by peer".to_owned(),
        _ if error.is_incomplete_message() || error.is_closed() => "EOF".to_owned(),
        _ => error.to_string(),
    }
}

async fn connect(
    endpoint: &Endpoint,
    addresses: &[SocketAddr],
) -> Result<(SendRequest<Full<Bytes>>, SocketAddr), String> {
    let mut last = "dial tcp: no addresses".to_owned();
    for address in addresses {
        let tcp = match TcpStream::connect(address).await {
            Ok(tcp) => tcp,
            Err(error) => {
                last = format!("dial tcp {address}: connect: {}", io_words(&error));
                continue;
            }
        };
        let connector = TlsConnector::from(endpoint.tls.clone());
        let tls = connector.connect(endpoint.server_name.clone(), tcp).await;
        let tls = tls.map_err(|error| tls_words(&error))?;
        let handshake = http1::handshake::<_, Full<Bytes>>(TokioIo::new(tls)).await;
        let (sender, connection) = handshake.map_err(|error| error.to_string())?;
        // Ends with the sender, or with the other side.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a webhook ended");
            }
        });
        return Ok((sender, *address));
    }
    Err(last)
}

fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        _ => error.to_string(),
    }
}

fn tls_words(error: &io::Error) -> String {
    use rustls::{CertificateError, Error};
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        // Another authority of the same name is unknown, too.
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "tls: failed to verify certificate: x509: certificate signed by unknown authority".to_owned()
        }
        Some(Error::InvalidCertificate(wrong)) => {
            format!("tls: failed to verify certificate: x509: {wrong}")
        }
        _ if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        _ => format!("tls: {error}"),
    }
}

fn roots(bundle: &str) -> Result<RootCertStore, String> {
    let pem =
        STANDARD.decode(bundle).map_err(|error| format!("unable to load root certificates: {error}"))?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate =
            certificate.map_err(|error| format!("unable to load root certificates: {error}"))?;
        store.add(certificate).map_err(|error| format!("unable to load root certificates: {error}"))?;
    }
    if store.is_empty() {
        return Err("unable to load root certificates: unable to parse bytes as PEM block".to_owned());
    }
    Ok(store)
}

fn machine_roots() -> RootCertStore {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "some of the machine's authorities cannot be read");
    }
    let (_, ignored) = store.add_parsable_certificates(found.certs);
    if ignored > 0 {
        tracing::debug!(ignored, "some of the machine's authorities are not understood");
    }
    store
}
