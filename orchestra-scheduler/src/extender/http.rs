//! An extender over HTTP.
//!
//! Called from threads that may wait: inside a task of a runtime it would stop the thread that runs tasks, and the call fails.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use kube::{Client, Config};
use serde::Serialize;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::wire::{self, Nodes};
use super::{Extender, ExtenderOptions, Originals, Passed, Proposal};
use crate::view::{NodeName, NodeView, PodKey, PodUid, PodView};

/// The largest answer that is read, in bytes: 5,000 whole nodes of 24 KiB, as many as upstream supports, or a million names of
/// 128 bytes for extenders that know nodes by name. What an extender sends is held in memory until it is read.
const LARGEST: usize = 128 << 20;
/// How long an answer may take where nothing is said.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where an extender is, and how it is spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpOptions {
    /// Where it is; the verbs are added after a slash.
    pub url: String,
    /// What it is asked for with which verb; empty is not at all.
    pub filter: String,
    /// The verb to ask for points.
    pub prioritize: String,
    /// The verb to ask about victims.
    pub preempt: String,
    /// The verb to have pods bound.
    pub bind: String,
    /// How long an answer may take; zero is five seconds.
    pub timeout: Duration,
    /// Whether it knows nodes by name.
    pub knows_nodes: bool,
    /// Whether it is trusted without an authority.
    pub https: bool,
    /// How it is trusted, and how it can trust.
    pub tls: Option<TlsOptions>,
}

/// Certificates; files have been read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// Trust anybody.
    pub insecure: bool,
    /// The name to ask for, if it is not the one of the URL.
    pub server_name: Option<String>,
    /// The authorities to trust, PEM.
    pub authorities: Option<Vec<u8>>,
    /// Our certificate and its key, PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// An extender over HTTP.
pub struct HttpExtender {
    http: HttpOptions,
    options: ExtenderOptions,
    config: Config,
    client: Mutex<Option<Client>>,
    originals: Originals,
}

impl std::fmt::Debug for HttpExtender {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("HttpExtender").field("url", &self.http.url).field("options", &self.options).finish()
    }
}

impl HttpExtender {
    /// An extender that is not spoken to yet. What it does follows from its verbs; of `options` the rest counts.
    ///
    /// # Errors
    /// When the address or a certificate is none; in words.
    pub fn new(http: HttpOptions, options: ExtenderOptions) -> Result<Self, String> {
        let url: Uri =
            http.url.trim_end_matches('/').parse().map_err(|error| format!("not a URL: {error}"))?;
        if url.scheme().is_none() || url.authority().is_none() {
            return Err("not a URL: scheme and host are needed".to_owned());
        }
        let mut config = Config::new(url);
        config.default_retry = false;
        let waits = if http.timeout.is_zero() { PATIENCE } else { http.timeout };
        (config.connect_timeout, config.read_timeout, config.write_timeout) =
            (Some(waits), Some(waits), Some(waits));
        let tls = http.tls.clone().unwrap_or_default();
        config.accept_invalid_certs = tls.insecure || (http.https && tls.authorities.is_none());
        config.tls_server_name = tls.server_name;
        if let Some(pem) = &tls.authorities {
            config.root_cert = Some(certificates(pem)?);
        }
        if let Some((certificate, key)) = &tls.identity {
            config.auth_info.client_certificate_data = Some(base64(certificate));
            config.auth_info.client_key_data = Some(base64(key).into());
        }
        let options = ExtenderOptions {
            filters: !http.filter.is_empty(),
            weight: if http.prioritize.is_empty() { 0 } else { options.weight },
            preempts: !http.preempt.is_empty(),
            binds: !http.bind.is_empty(),
            ..options
        };
        let http = HttpOptions { timeout: waits, ..http };
        Ok(Self { http, options, config, client: Mutex::default(), originals: Originals::default() })
    }

    fn client(&self) -> Result<Client, String> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made = Client::try_from(self.config.clone()).map_err(|error| error.to_string())?;
        Ok(client.insert(made).clone())
    }

    /// Asks; the answer is JSON.
    fn send(&self, verb: &str, question: &Value) -> Result<Value, String> {
        let handle = Handle::try_current().map_err(|error| error.to_string())?;
        let url = format!("{}/{verb}", self.http.url.trim_end_matches('/'));
        let body = serde_json::to_vec(question).map_err(|error| error.to_string())?;
        let call = async {
            let request = Request::builder()
                .method(Method::POST)
                .uri(format!("/{}", verb.trim_start_matches('/')))
                .header("Content-Type", "application/json")
                .body(Body::from(body))
                .map_err(|error| error.to_string())?;
            let response = self.client()?.send(request).await.map_err(|error| format!("{url}: {error}"))?;
            let code = response.status();
            if code != http::StatusCode::OK {
                return Err(format!("failed {verb} with extender at URL {url}, code {}", code.as_u16()));
            }
            let body = Limited::new(response.into_body(), LARGEST).collect().await;
            Ok(body.map_err(|error| format!("{url}: {error}"))?.to_bytes())
        };
        let patience = self.http.timeout;
        let answer = handle.block_on(async { timeout(patience, call).await });
        let answer = answer.map_err(|_| format!("{url}: no answer within {patience:?}"))??;
        serde_json::from_slice(&answer).map_err(|error| format!("{url}: {error}"))
    }

    fn pod(&self, uid: &PodUid) -> Value {
        json_of(self.originals.pod(uid).as_deref())
    }

    fn nodes(&self, nodes: &[&NodeView]) -> Nodes {
        match self.http.knows_nodes {
            true => Nodes::Named(nodes.iter().map(|node| node.name().to_string()).collect()),
            false => Nodes::Whole(
                nodes.iter().map(|node| json_of(self.originals.node(node.name()).as_deref())).collect(),
            ),
        }
    }
}

fn json_of<T: Serialize>(object: Option<&T>) -> Value {
    object.and_then(|object| serde_json::to_value(object).ok()).unwrap_or(Value::Null)
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The certificates of a PEM file.
fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject;
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .map(|one| one.map(|one| one.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|error| format!("not a certificate: {error}"))?;
    if found.is_empty() { Err("no certificate in it".to_owned()) } else { Ok(found) }
}

impl Extender for HttpExtender {
    fn name(&self) -> &str {
        &self.http.url
    }

    fn options(&self) -> &ExtenderOptions {
        &self.options
    }

    fn originals(&self) -> Option<&Originals> {
        Some(&self.originals)
    }

    fn filter(&self, pod: &PodView, nodes: &[&NodeView]) -> Result<Passed, String> {
        let question = wire::args(self.pod(&pod.uid), self.nodes(nodes));
        wire::passed(&self.send(&self.http.filter, &question)?, self.http.knows_nodes)
    }

    fn prioritize(&self, pod: &PodView, nodes: &[&NodeView]) -> Result<Vec<(String, i64)>, String> {
        let question = wire::args(self.pod(&pod.uid), self.nodes(nodes));
        wire::points(&self.send(&self.http.prioritize, &question)?)
    }

    fn preempt(
        &self,
        pod: &PodView,
        proposals: &[Proposal],
    ) -> Result<Vec<(NodeName, Vec<PodUid>, usize)>, String> {
        let whole = |uid: &PodUid| self.pod(uid);
        let whole: Option<&dyn Fn(&PodUid) -> Value> =
            if self.http.knows_nodes { None } else { Some(&whole) };
        let question = wire::preemption(self.pod(&pod.uid), proposals, whole);
        wire::victims(&self.send(&self.http.preempt, &question)?)
    }

    fn bind(&self, pod: &PodKey, uid: &PodUid, node: &NodeName) -> Result<(), String> {
        wire::bound(&self.send(&self.http.bind, &wire::binding(pod, uid, node))?)
    }
}
