//! The cluster's certificates: an authority of its own, the server's certificate, the administrator's.
//!
//! The authority and the administrator's certificate are kept on disk, so that kubeconfigs stay valid. The server's own
//! certificate is made anew at each start, because the addresses it is for may have changed; its key is never written.

mod files;
mod issue;
pub(crate) mod proof;
mod sign;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rcgen::{Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Error, Result};
use files::Kept;

use crate::auth::TokenKey;

/// The user of the administrator's certificate.
const ADMIN: &str = "kubernetes-admin";

pub use sign::{CertificateRefused, Signer};

/// A cluster's certificates.
pub struct Pki {
    authority: Kept,
    admin: Kept,
    server: Kept,
    front_proxy: FrontProxy,
}

/// The base of the names of the front proxy's files, as kubeadm has it.
const FRONT_AUTHORITY: &str = "front-proxy-ca";

/// Who an API server is to those behind it: a client certificate of an authority that certifies nobody else, so that they may believe what
/// it says of who asks.
#[derive(Clone)]
pub struct FrontProxy {
    pub(crate) authority: String,
    /// By which clients of this server are known.
    pub(crate) client_authority: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl FrontProxy {
    /// The name in the certificate.
    pub const NAME: &str = "front-proxy-client";
}

impl std::fmt::Debug for FrontProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrontProxy").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Keys are nobody's business.
        f.debug_struct("Pki").finish_non_exhaustive()
    }
}

impl Pki {
    /// Reads the certificates in `dir`, and makes those that are missing or about to expire. Keys get mode 0600.
    ///
    /// The server's certificate is for `addresses` and the names under which a cluster knows its API server.
    ///
    /// # Errors
    /// When a file cannot be read or written, or is not what it should be; the message names it.
    pub fn load_or_create(dir: &Path, addresses: &[IpAddr], now: Timestamp) -> Result<Self> {
        files::make_dir(dir)?;
        let authority = match files::load(dir, "ca")? {
            Some(kept) => kept,
            None => files::save(
                dir,
                "ca",
                issue::authority("kubernetes", now).map_err(made("the cluster's authority"))?,
            )?,
        };
        let cluster = issuer(dir, "ca", &authority)?;
        let admin =
            match files::load(dir, "admin")?.filter(|kept| !issue::expires_soon(&kept.certificate, now)) {
                Some(kept) => kept,
                None => {
                    let admin = issue::client(&cluster, ADMIN, &[crate::auth::MASTERS], now);
                    files::save(dir, "admin", admin.map_err(made("the administrator's certificate"))?)?
                }
            };
        let server = issue::server(&cluster, addresses, now).map_err(made("the server's certificate"))?;
        let front_authority = match files::load(dir, FRONT_AUTHORITY)? {
            Some(kept) => kept,
            None => {
                let made_now = issue::authority(FRONT_AUTHORITY, now);
                files::save(dir, FRONT_AUTHORITY, made_now.map_err(made("the front proxy's authority"))?)?
            }
        };
        let front_issuer = issuer(dir, FRONT_AUTHORITY, &front_authority)?;
        let front = issue::client(&front_issuer, FrontProxy::NAME, &[], now)
            .map_err(made("the front proxy's certificate"))?;
        let front_proxy = FrontProxy {
            authority: front_authority.certificate,
            client_authority: authority.certificate.clone(),
            certificate: front.certificate,
            key: front.key,
        };
        Ok(Self { authority, admin, server, front_proxy })
    }

    /// The authority's certificate, PEM.
    pub fn ca_certificate(&self) -> &str {
        &self.authority.certificate
    }

    /// Signs requests for certificates with the cluster's authority.
    ///
    /// # Errors
    /// When the authority is not what it should be.
    pub fn signer(&self) -> Result<Signer> {
        Signer::new(&self.authority.certificate, &self.authority.key).map_err(made("the cluster's authority"))
    }

    /// Who the server is to servers behind it.
    pub fn front_proxy(&self) -> FrontProxy {
        self.front_proxy.clone()
    }

    /// The administrator's kubeconfig for the server at `url`; it holds the administrator's key.
    pub fn kubeconfig(&self, url: &str) -> String {
        let encode = |text: &str| STANDARD.encode(text);
        format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: orchestra\n  \
               cluster:\n    \
                 server: {url}\n    \
                 certificate-authority-data: {ca}\n\
             users:\n\
             - name: {ADMIN}\n  \
               user:\n    \
                 client-certificate-data: {certificate}\n    \
                 client-key-data: {key}\n\
             contexts:\n\
             - name: {ADMIN}@orchestra\n  \
               context:\n    \
                 cluster: orchestra\n    \
                 user: {ADMIN}\n\
             current-context: {ADMIN}@orchestra\n",
            ca = encode(&self.authority.certificate),
            certificate = encode(&self.admin.certificate),
            key = encode(&self.admin.key),
        )
    }

    /// What the server's socket needs. A client may come without a certificate; one that comes with a certificate of
    /// another authority is turned away.
    ///
    /// # Errors
    /// When the certificates are not what they should be.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>> {
        let provider = crate::tls::provider();
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.authority.certificate)?).map_err(made("the cluster's authority"))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(made("the check of client certificates"))?;
        let key =
            PrivateKeyDer::from_pem_slice(self.server.key.as_bytes()).map_err(made("the server's key"))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(made("TLS"))?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate(&self.server.certificate)?], key)
            .map_err(made("the server's certificate"))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// The key that signs the tokens of service accounts, from `sa.key` in `dir`; made, with mode 0600, when it is not there.
///
/// # Errors
/// When the file cannot be read or written, or holds no key of the curve P-256; the message names it.
pub fn token_key(dir: &Path) -> Result<TokenKey> {
    files::make_dir(dir)?;
    if let Some(pem) = files::load_key(dir, "sa")? {
        return TokenKey::from_pem(&pem).map_err(|problem| {
            Error::pki(format!("{} holds no key", dir.join("sa.key").display()), problem)
        });
    }
    let key = TokenKey::generate()?;
    files::save_key(dir, "sa", key.to_pem())?;
    Ok(key)
}

fn certificate(pem: &str) -> Result<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(made("a certificate"))
}

fn issuer(dir: &Path, base: &str, authority: &Kept) -> Result<Issuer<'static, KeyPair>> {
    let file = |end: &str| -> PathBuf { dir.join(format!("{base}.{end}")) };
    let key = KeyPair::from_pem(&authority.key)
        .map_err(|problem| Error::pki(format!("{} holds no key", file("key").display()), problem))?;
    Issuer::from_ca_cert_pem(&authority.certificate, key)
        .map_err(|problem| Error::pki(format!("{} holds no certificate", file("crt").display()), problem))
}

fn made<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl Fn(E) -> Error {
    move |problem| Error::pki(format!("{what} cannot be made"), problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn now() -> Timestamp {
        "2026-05-01T00:00:00Z".parse().unwrap()
    }

    fn load(dir: &Path, now: Timestamp) -> Pki {
        Pki::load_or_create(dir, &[IpAddr::from([127, 0, 0, 1])], now).unwrap()
    }

    #[test]
    fn the_authority_and_the_administrator_stay_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (load(dir.path(), now()), load(dir.path(), now()));
        assert_eq!(first.kubeconfig("https://a"), second.kubeconfig("https://a"));
        assert_ne!(first.server.certificate, second.server.certificate);
        assert!(second.server_config().is_ok());
    }

    #[test]
    fn keys_are_readable_by_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path(), now());
        for name in ["ca.key", "admin.key"] {
            let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn the_key_of_service_accounts_stays_the_same_and_is_secret() {
        let dir = tempfile::tempdir().unwrap();
        let first = token_key(dir.path()).unwrap();
        assert_eq!(first.to_pem(), token_key(dir.path()).unwrap().to_pem());
        let file = dir.path().join("sa.key");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&file, "nonsense").unwrap();
        let refused = token_key(dir.path()).unwrap_err();
        assert!(refused.to_string().contains("sa.key"), "{refused}");
    }

    #[test]
    fn the_administrators_certificate_is_renewed_before_it_expires() {
        let dir = tempfile::tempdir().unwrap();
        let first = load(dir.path(), now());
        let later = load(dir.path(), "2027-04-20T00:00:00Z".parse().unwrap());
        assert_ne!(first.admin.certificate, later.admin.certificate);
        assert_eq!(first.authority.certificate, later.authority.certificate);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        load(dir.path(), now());
        std::fs::write(dir.path().join("ca.key"), "nonsense").unwrap();
        let refused = Pki::load_or_create(dir.path(), &[], now()).unwrap_err();
        assert!(refused.to_string().contains("ca.key"), "{refused}");
        std::fs::remove_file(dir.path().join("ca.key")).unwrap();
        let refused = Pki::load_or_create(dir.path(), &[], now()).unwrap_err();
        assert!(refused.to_string().contains("ca.key"), "{refused}");
    }
}
