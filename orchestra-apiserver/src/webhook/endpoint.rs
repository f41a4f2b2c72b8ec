//! A `clientConfig`, made ready.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::time::{Duration, Instant};

use super::Client;

/// A connection that nobody used for so long is not used again.
const IDLE: Duration = Duration::from_secs(90);
/// How many connections wait for the next call.
const MOST_IDLE: usize = 16;

/// Where a webhook is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At a host that is looked up, or an address.
    Host(String, u16),
    /// Behind a service.
    Service { namespace: String, name: String, port: u16 },
}

/// A webhook to post to, and the connections to it.
pub(crate) struct Endpoint {
    pub(super) place: Place,
    /// What comes before the query, `https://host:port/path`.
    pub(super) shown: String,
    pub(super) authority: String,
    pub(super) path: String,
    pub(super) server_name: ServerName<'static>,
    pub(super) tls: Arc<ClientConfig>,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
    since: Instant,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({})", self.shown)
    }
}

impl Endpoint {
    /// Reads a `clientConfig`; an error is what is wrong with it.
    pub(crate) fn read(config: &Value, client: &Client) -> Result<Self, String> {
        let tls = client.tls(config.get("caBundle").and_then(Value::as_str))?;
        let (place, shown, authority, path, host) = match config.get("service").filter(|s| s.is_object()) {
            Some(service) => of_service(service),
            None => of_url(config.get("url").and_then(Value::as_str).unwrap_or_default())?,
        };
        let server_name =
            ServerName::try_from(host.clone()).map_err(|_| format!("{host:?} is no name of a server"))?;
        Ok(Self { place, shown, authority, path, server_name, tls, idle: Mutex::default() })
    }

    /// A connection that waits, to one of `addresses`.
    pub(super) fn take(&self, addresses: &[SocketAddr]) -> Option<(SendRequest<Full<Bytes>>, SocketAddr)> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|one| !one.sender.is_closed() && one.since.elapsed() < IDLE);
        let at = idle.iter().rposition(|one| addresses.contains(&one.address))?;
        let one = idle.swap_remove(at);
        Some((one.sender, one.address))
    }

    /// Keeps a connection for the next call.
    pub(super) fn keep(&self, sender: SendRequest<Full<Bytes>>, address: SocketAddr) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(Idle { sender, address, since: Instant::now() });
        }
    }
}

type Parts = (Place, String, String, String, String);

fn of_service(service: &Value) -> Parts {
    let text = |field: &str| service.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let port = service.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
    let (namespace, name, port) = (text("namespace"), text("name"), port.unwrap_or(443));
    let host = format!("{name}.{namespace}.svc");
    let path = match text("path") {
        path if path.is_empty() => "/".to_owned(),
        path => path,
    };
    let authority = format!("{host}:{port}");
    let shown = format!("https://{authority}{path}");
    (Place::Service { namespace, name, port }, shown, authority, path, host)
}

fn of_url(text: &str) -> Result<Parts, String> {
    let url: Uri = text.parse().map_err(|error| format!("Unparsable URL: {error}"))?;
    if url.scheme_str() != Some("https") {
        return Err("webhook configuration must have either service or URL".to_owned());
    }
    let authority = url.authority().map(ToString::to_string).unwrap_or_default();
    let host = url.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = url.port_u16().unwrap_or(443);
    let path = url.path().to_owned();
    let shown = format!("https://{authority}{path}");
    Ok((Place::Host(host.clone(), port), shown, authority, path, host))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_place_is_read_from_urls_and_services() {
        let (place, shown, authority, path, host) = of_url("https://[::1]:8443/a").unwrap();
        assert_eq!(place, Place::Host("::1".into(), 8443));
        assert_eq!((shown.as_str(), path.as_str()), ("https://[::1]:8443/a", "/a"));
        assert_eq!((authority.as_str(), host.as_str()), ("[::1]:8443", "::1"));
        let (place, shown, ..) = of_service(&json!({"namespace": "n", "name": "s", "path": "/p"}));
        assert_eq!(place, Place::Service { namespace: "n".into(), name: "s".into(), port: 443 });
        assert_eq!(shown, "https://s.n.svc:443/p");
        assert!(of_url("http://a/b").is_err() && of_url("").is_err());
    }
}
