//! `/metrics`: everything the cluster's registry holds, as Prometheus reads it.
//!
//! Not public: the authorizer is asked about the path like about any other, so nobody without a name reads it.

mod classic;
mod storage;

use std::sync::Arc;

use http::{HeaderMap, Method, Response, StatusCode, header};
use orchestra_store::{Key, Store};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

use crate::body::{self, Body};
use crate::state::State;
use crate::status::StatusError;
use storage::StorageMetrics;

/// What upstream answers with.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry of a cluster, and what is looked up when it is read.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    storage: StorageMetrics,
    /// The store without its meter: what is looked up here is nobody's request.
    store: Arc<dyn Store>,
}

impl Metrics {
    /// Adds the server's own to `registry`.
    pub(crate) fn new(mut registry: Registry, store: Arc<dyn Store>) -> Self {
        let storage = StorageMetrics::default();
        storage.register(&mut registry);
        Self { registry, storage, store }
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
    let Metrics { registry, storage, store } = &state.metrics;
    storage.look(&**store, &state.catalog).await;
    let mut open = String::new();
    text::encode(&mut open, registry).map_err(StatusError::internal)?;
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepted.into_iter().any(|accepted| accepted.contains("application/openmetrics-text")) {
        return Ok(body::typed(StatusCode::OK, OPEN, open));
    }
    Ok(body::typed(StatusCode::OK, CLASSIC, classic::of_open(&open)))
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
