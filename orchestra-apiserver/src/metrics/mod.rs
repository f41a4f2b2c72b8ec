//! `/metrics`: everything the cluster's registry holds, as Prometheus reads it.
//!
//! Not public: the authorizer is asked about the path like about any other, so nobody without a name reads it.

mod access;
mod admission;
mod audit;
mod build;
mod conversions;
mod decisions;
mod inflight;
mod measured;
mod pod_security;
mod policies;
mod requests;
mod route;
mod storage;
mod watches;
mod webhooks;

use std::sync::Arc;

use http::{HeaderMap, Method, Response, StatusCode, header};
use orchestra_metrics::{ProcessMetrics, text};
use orchestra_store::{Key, Store};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use crate::body::{self, Body};
use crate::state::State;
use crate::status::StatusError;
use access::AccessMetrics;
use build::BuildInfo;
use requests::RequestMetrics;
use storage::StorageMetrics;
use watches::WatchMetrics;

pub(crate) use admission::{AdmissionMetrics, Phase};
pub(crate) use audit::AuditMetrics;
pub(crate) use conversions::{ConversionMetrics, Failure, Route};
pub(crate) use decisions::DecisionMetrics;
pub(crate) use pod_security::{PodSecurityMetrics, Subject};
pub(crate) use policies::{Enforcement, PolicyMetrics};
pub(crate) use requests::Run;
pub(crate) use watches::{CacheCounts, CacheMetrics};
pub(crate) use webhooks::{Asked, WebhookMetrics};

/// The registry of a cluster, what the server counts, and what is looked up when the registry is read.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    storage: StorageMetrics,
    /// The store without its meter: what is looked up here is nobody's request.
    store: Arc<dyn Store>,
    pub(crate) requests: RequestMetrics,
    pub(crate) access: AccessMetrics,
    pub(crate) watches: WatchMetrics,
    pub(crate) audit: AuditMetrics,
    pub(crate) failed_handshakes: Counter,
}

impl Metrics {
    /// Adds the server's own to `registry`.
    pub(crate) fn new(
        mut registry: Registry,
        store: Arc<dyn Store>,
        cache: CacheMetrics,
        admission: &AdmissionMetrics,
        (policies, webhooks): (PolicyMetrics, WebhookMetrics),
        conversions: ConversionMetrics,
    ) -> Self {
        let (storage, requests, access) =
            (StorageMetrics::default(), RequestMetrics::default(), AccessMetrics::default());
        let (watches, audit, failed_handshakes) =
            (WatchMetrics::default(), AuditMetrics::default(), Counter::default());
        storage.register(&mut registry);
        registry.register_collector(Box::new(requests.clone()));
        registry.register_collector(Box::new(access.clone()));
        registry.register_collector(Box::new(admission.clone()));
        registry.register_collector(Box::new(policies));
        registry.register_collector(Box::new(webhooks));
        registry.register_collector(Box::new(conversions));
        registry.register_collector(Box::new(watches.clone()));
        registry.register_collector(Box::new(audit.clone()));
        registry.register_collector(Box::new(cache));
        registry.register_collector(Box::new(BuildInfo { failed_handshakes: failed_handshakes.clone() }));
        ProcessMetrics::register(&mut registry);
        Self { registry, storage, store, requests, access, watches, audit, failed_handshakes }
    }
}

/// Group and resource of a key, for the store's request metrics.
pub(crate) fn classify(key: &Key) -> Option<(&str, &str)> {
    let path = std::str::from_utf8(key.as_bytes()).ok()?.strip_prefix("/registry/")?;
    let (group, rest) = path.split_once('/')?;
    let resource = rest.split('/').next().unwrap_or_default();
    Some((if group == "core" { "" } else { group }, resource))
}

/// Whether the path is that of the metrics.
pub(crate) fn is_at(path: &str) -> bool {
    path == "metrics"
}

/// The answer to a reading.
pub(crate) async fn metrics(
    state: &State,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response<Body>, StatusError> {
    if *method != Method::GET {
        return Err(StatusError::method_not_supported());
    }
    let Metrics { registry, storage, store, .. } = &state.metrics;
    storage.look(&**store, &state.catalog).await;
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (media, text) = text::answer(registry, accepted).map_err(StatusError::internal)?;
    Ok(body::typed(StatusCode::OK, media, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_counted_by_what_they_hold() {
        for (key, subject) in [
            ("/registry/core/pods/default/web-0", Some(("", "pods"))),
            ("/registry/apps/deployments/", Some(("apps", "deployments"))),
            ("/registry/core/nodes/n", Some(("", "nodes"))),
            ("/orchestra/claims/node-port/30000", None),
            ("/registry/core", None),
            ("", None),
        ] {
            assert_eq!(classify(&key.into()), subject, "{key}");
        }
    }
}
