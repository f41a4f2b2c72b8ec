//! The kinds that storms make, and how they are reached.

use http::{Method, Request};
use kube::Client;
use serde_json::Value;

/// A kind that storms make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `apps/v1`
    Deployment,
    /// `apps/v1`
    StatefulSet,
    /// `apps/v1`
    DaemonSet,
    /// `batch/v1`
    Job,
    /// `batch/v1`
    CronJob,
    /// `policy/v1`
    PodDisruptionBudget,
    /// `autoscaling/v2`
    HorizontalPodAutoscaler,
    /// `v1`
    Service,
    /// `v1`
    ResourceQuota,
    /// `storage.k8s.io/v1`
    StorageClass,
    /// `v1`
    Namespace,
    /// `v1`
    Node,
    /// `v1`
    Pod,
}

impl Kind {
    /// Group and version, and the plural name.
    fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Deployment => ("apis/apps/v1", "deployments"),
            Self::StatefulSet => ("apis/apps/v1", "statefulsets"),
            Self::DaemonSet => ("apis/apps/v1", "daemonsets"),
            Self::Job => ("apis/batch/v1", "jobs"),
            Self::CronJob => ("apis/batch/v1", "cronjobs"),
            Self::PodDisruptionBudget => ("apis/policy/v1", "poddisruptionbudgets"),
            Self::HorizontalPodAutoscaler => ("apis/autoscaling/v2", "horizontalpodautoscalers"),
            Self::Service => ("api/v1", "services"),
            Self::ResourceQuota => ("api/v1", "resourcequotas"),
            Self::StorageClass => ("apis/storage.k8s.io/v1", "storageclasses"),
            Self::Namespace => ("api/v1", "namespaces"),
            Self::Node => ("api/v1", "nodes"),
            Self::Pod => ("api/v1", "pods"),
        }
    }

    fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node | Self::StorageClass)
    }

    fn path(self, namespace: &str, name: &str) -> String {
        let (group, plural) = self.place();
        let within = if self.is_namespaced() { format!("namespaces/{namespace}/") } else { String::new() };
        format!("/{group}/{within}{plural}/{name}").trim_end_matches('/').to_owned()
    }

    /// Creates `object`. Whatever the server answers to a user is no failure of the world.
    pub(super) async fn create(self, client: &Client, namespace: &str, object: &Value) {
        ask(client, Method::POST, self.path(namespace, ""), "application/json", object).await;
    }

    pub(super) async fn patch(self, client: &Client, namespace: &str, name: &str, patch: &Value) {
        let path = self.path(namespace, name);
        ask(client, Method::PATCH, path, "application/strategic-merge-patch+json", patch).await;
    }

    pub(super) async fn delete(self, client: &Client, namespace: &str, name: &str, policy: &str) {
        let options = serde_json::json!({
            "kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy,
        });
        ask(client, Method::DELETE, self.path(namespace, name), "application/json", &options).await;
    }

    pub(super) async fn evict(client: &Client, namespace: &str, name: &str) {
        let eviction = serde_json::json!({
            "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace},
        });
        let path = format!("{}/eviction", Self::Pod.path(namespace, name));
        ask(client, Method::POST, path, "application/json", &eviction).await;
    }
}

async fn ask(client: &Client, method: Method, path: String, media_type: &str, body: &Value) {
    let request = Request::builder().method(method).uri(path).header("content-type", media_type);
    let request = match request.body(body.to_string().into_bytes()) {
        Ok(request) => request,
        Err(problem) => return tracing::warn!(%problem, "a storm asks for something that is no request"),
    };
    if let Err(problem) = client.request_text(request).await {
        // A user is told no, now and then.
        tracing::debug!(%problem, "refused");
    }
}
