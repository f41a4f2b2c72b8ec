//! The way to another server: TLS, with its own authority's certificate there and this server's certificate here.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower::BoxError;

use super::table::RemoteSpec;
use crate::body::Body;
use crate::pki::FrontProxy;
use crate::stream;

/// How long a connection may take to come up, TLS included.
const DIAL: Duration = Duration::from_secs(30);

/// Sends a request over a connection of its own.
pub(super) async fn send(
    spec: &RemoteSpec,
    front: Option<&FrontProxy>,
    (ip, port): (IpAddr, u16),
    mut request: Request<Body>,
) -> Result<Response<Body>, BoxError> {
    let address = SocketAddr::new(ip, port);
    let host = spec.host();
    request.headers_mut().insert(header::HOST, HeaderValue::try_from(&host)?);
    let connector = TlsConnector::from(Arc::new(config(spec, front)?));
    let name = ServerName::try_from(host)?;
    let dial = async {
        let stream = TcpStream::connect(address).await?;
        connector.connect(name, stream).await
    };
    let stream = timeout(DIAL, dial).await.map_err(|_| format!("dial tcp {address}: i/o timeout"))?;
    let stream = stream.map_err(|problem| format!("dial tcp {address}: {problem}"))?;
    stream::exchange(stream, request).await
}

fn config(spec: &RemoteSpec, front: Option<&FrontProxy>) -> Result<ClientConfig, BoxError> {
    let provider = crate::tls::provider();
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = if spec.is_trusted_blindly {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&spec.authority) {
            roots.add(certificate?)?;
        }
        builder.with_root_certificates(roots)
    };
    let mut config = match front {
        Some(front) => {
            let chain = CertificateDer::pem_slice_iter(front.certificate.as_bytes());
            let chain = chain.collect::<Result<Vec<_>, _>>()?;
            builder.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(front.key.as_bytes())?)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// For `insecureSkipTLSVerify`: whoever answers is taken for the server. That it holds the key of its certificate is still checked.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
