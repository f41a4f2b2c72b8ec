//! Where etcd is, and how to talk to it.

use std::fmt;

use crate::limits::WatchBound;
use crate::store::{Error, Result};

/// Where a store lies when nobody says otherwise.
const DEFAULT_ROOT: &str = "/orchestra";
/// The port of etcd's clients.
const DEFAULT_PORT: u16 = 2379;
/// What etcd takes in one request unless it was started with another `--max-request-bytes`.
const DEFAULT_REQUEST_BYTES: usize = 1536 * 1024;
/// Longest root in bytes.
const MAX_ROOT_BYTES: usize = 256;

/// Where etcd is, and how to talk to it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EtcdOptions {
    pub(super) endpoints: Vec<String>,
    pub(super) root: String,
    pub(super) authority: Option<Vec<u8>>,
    pub(super) identity: Option<EtcdIdentity>,
    pub(super) login: Option<Login>,
    pub(super) max_request_bytes: usize,
    pub(super) watch_bound: WatchBound,
}

/// A certificate for this side, with its key; both in PEM.
#[derive(Clone)]
#[non_exhaustive]
pub struct EtcdIdentity {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Vec<u8>,
}

impl EtcdIdentity {
    /// The certificate (with those between it and the authority) and its key, in PEM.
    pub fn from_pem(certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        Self { certificate: certificate.into(), key: key.into() }
    }
}

impl fmt::Debug for EtcdIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdIdentity").finish_non_exhaustive()
    }
}

/// A user of etcd.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

impl EtcdOptions {
    /// From a URL: `etcd://HOST:PORT,HOST:PORT/ROOT`, or `etcds://` for TLS; `http://` and `https://` mean the same. The port is
    /// 2379 and the root `/orchestra` unless given.
    ///
    /// ```
    /// # use orchestra_store::EtcdOptions;
    /// let options = EtcdOptions::parse("etcds://etcd-0.example,etcd-1.example:2379/team-a")?;
    /// assert!(options.wants_tls());
    /// assert!(EtcdOptions::parse("etcd://user:secret@host").is_err());
    /// # Ok::<(), orchestra_store::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Invalid`], which says what is wrong with it.
    pub fn parse(url: &str) -> Result<Self> {
        let (scheme, rest) =
            url.split_once("://").ok_or(Error::Invalid("an etcd URL begins with etcd:// or etcds://"))?;
        let scheme = match scheme {
            "etcd" | "http" => "http",
            "etcds" | "https" => "https",
            _ => return Err(Error::Invalid("an etcd URL begins with etcd:// or etcds://")),
        };
        let (hosts, root) = rest.split_once('/').unwrap_or((rest, ""));
        let endpoints = hosts.split(',').map(|host| endpoint(scheme, host)).collect::<Result<_>>()?;
        let root = root.trim_matches('/');
        let root = if root.is_empty() { DEFAULT_ROOT.to_owned() } else { format!("/{root}") };
        if root.len() > MAX_ROOT_BYTES {
            return Err(Error::TooLarge {
                what: "root in etcd in bytes",
                actual: root.len(),
                limit: MAX_ROOT_BYTES,
            });
        }
        if root.contains(['?', '#']) || root.contains(char::is_whitespace) {
            return Err(Error::Invalid(
                "the path of an etcd URL is the root of its keys, without ?, # or spaces",
            ));
        }
        Ok(Self {
            endpoints,
            root,
            authority: None,
            identity: None,
            login: None,
            max_request_bytes: DEFAULT_REQUEST_BYTES,
            watch_bound: WatchBound::new(),
        })
    }

    /// The authorities, in PEM, one of which signed etcd's certificate. TLS needs it.
    #[must_use]
    pub fn authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authority = Some(pem.into());
        self
    }

    /// Shows etcd this certificate.
    #[must_use]
    pub fn identity(mut self, identity: EtcdIdentity) -> Self {
        self.identity = Some(identity);
        self
    }

    /// Logs in as a user of etcd.
    #[must_use]
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some(Login { user: user.into(), password: password.into() });
        self
    }

    /// What etcd was started with as `--max-request-bytes`; its default is 1.5 MiB. A transaction that would be larger is
    /// refused before it is sent.
    #[must_use]
    pub fn max_request_bytes(mut self, bytes: usize) -> Self {
        self.max_request_bytes = bytes;
        self
    }

    /// Lets a watcher fall so far behind.
    #[must_use]
    pub fn watch_bound(mut self, bound: WatchBound) -> Self {
        self.watch_bound = bound;
        self
    }

    /// Whether the URL asks for TLS.
    pub fn wants_tls(&self) -> bool {
        self.endpoints.iter().any(|endpoint| endpoint.starts_with("https://"))
    }
}

fn endpoint(scheme: &str, host: &str) -> Result<String> {
    if host.contains('@') {
        return Err(Error::Invalid("an etcd URL holds no user or password: those are given apart from it"));
    }
    let authority: http::uri::Authority = host
        .parse()
        .map_err(|_| Error::Invalid("an etcd URL names hosts as HOST or HOST:PORT, with commas between"))?;
    // A port that is no number parses as one that is not there.
    let port = match host.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => authority
            .port_u16()
            .filter(|_| port.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or(Error::Invalid("the port in an etcd URL is no port"))?,
        _ => DEFAULT_PORT,
    };
    Ok(format!("{scheme}://{}:{port}", authority.host()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (Vec<String>, String) {
        let options = EtcdOptions::parse(url).unwrap();
        (options.endpoints, options.root)
    }

    #[test]
    fn a_url_names_hosts_ports_and_a_root() {
        let one = |endpoint: &str, root: &str| (vec![endpoint.to_owned()], root.to_owned());
        assert_eq!(parsed("etcd://h"), one("http://h:2379", "/orchestra"));
        assert_eq!(parsed("etcds://h:1/"), one("https://h:1", "/orchestra"));
        assert_eq!(parsed("https://[::1]:5/a/b/"), one("https://[::1]:5", "/a/b"));
        assert_eq!(parsed("http://[::1]"), one("http://[::1]:2379", "/orchestra"));
        assert_eq!(parsed("etcd://a,b:7").0, ["http://a:2379", "http://b:7"]);
    }

    #[test]
    fn a_bad_url_is_refused_with_the_reason() {
        for url in [
            "",
            "etcd",
            "etcd://",
            "mysql://h",
            "etcd://a,,b",
            "etcd://h:port",
            "etcd://h:70000",
            "etcd://h:",
            "etcd://u:p@h",
            "etcd://h/a?b=c",
            "etcd://h/a b",
            "etcd:// h",
            "etcd://h:1:2",
            "etcd://[::1",
        ] {
            assert!(matches!(EtcdOptions::parse(url), Err(Error::Invalid(_))), "{url}");
        }
        let long = format!("etcd://h/{}", "x".repeat(300));
        assert!(matches!(EtcdOptions::parse(&long), Err(Error::TooLarge { .. })));
    }

    #[test]
    fn secrets_are_not_shown() {
        let options = EtcdOptions::parse("etcds://h").unwrap().login("ann", "s3cret");
        let options = options.identity(EtcdIdentity::from_pem("cert", "s3cret"));
        assert!(!format!("{options:?}").contains("s3cret"));
    }
}
