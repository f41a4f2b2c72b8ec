//! What pods seem to use, for autoscalers: the resource metrics API, answered on the way.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use kube::client::Body;
use serde_json::json;

use super::super::chance::Chance;
use super::super::log::WriteLog;
use super::super::wire::{Tamper, Tampered};

/// For how long a load stays as it is.
const SPELL_SECONDS: u64 = 20;

/// Loads that come and go by the seed.
#[derive(Debug)]
pub(super) struct Load {
    seed: u64,
    last: Duration,
}

impl Load {
    /// What the seed says, which stays as it is from `last` on.
    pub(super) fn of(seed: u64, last: Duration) -> Self {
        Self { seed, last }
    }
}

impl Tamper for Load {
    fn request(&self, _: &str, request: Request<Body>, log: &WriteLog) -> Tampered {
        let path = request.uri().path();
        let Some(rest) = path.strip_prefix("/apis/metrics.k8s.io/v1beta1/namespaces/") else {
            return Tampered::Pass(request);
        };
        let (Some((namespace, "pods")), &Method::GET) = (rest.split_once('/'), request.method()) else {
            return Tampered::Pass(request);
        };
        let at = log.writes().last().map_or(Duration::ZERO, |write| write.at);
        let spell = at.min(self.last).as_secs() / SPELL_SECONDS;
        let at = at.as_secs();
        let mut milli = Chance::of(self.seed ^ spell, namespace);
        let used = format!("{}m", milli.between(10, 120));
        let timestamp = jiff::Timestamp::from_second(1_767_225_600 + i64::try_from(at).unwrap_or(0));
        let timestamp = timestamp.map(|at| at.to_string()).unwrap_or_default();
        let pods = log.of("pods").filter(|pod| &*pod.namespace == namespace);
        let items: Vec<_> = pods
            .map(|pod| {
                json!({
                    "metadata": {"name": &*pod.name, "namespace": namespace}, "timestamp": timestamp,
                    "window": "15s", "containers": [{"name": "c", "usage": {"cpu": used}}],
                })
            })
            .collect();
        let list = json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items});
        Tampered::json(StatusCode::OK, &list)
    }

    fn said(&self, _: &str, _: &str, piece: Bytes) -> Bytes {
        piece
    }
}
