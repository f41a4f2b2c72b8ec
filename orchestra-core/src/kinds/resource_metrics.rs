//! `metrics.k8s.io/v1beta1`: what nodes and pods use, made when somebody asks, and written as metrics-server writes it.
//!
//! The kinds are not among [`Registry::builtin`](super::Registry::builtin): upstream's API server has them only where a
//! server behind it brings them.

use std::sync::Arc;

use serde_json::Value;

use super::frame::Builtin;
use super::frame::cells::{Show, column, list, text};
use crate::gvk::GroupVersion;
use crate::kind::{Kind, Scope};
use crate::quantity::Quantity;

/// The group and version of both.
pub const GROUP_VERSION: GroupVersion = GroupVersion::new("metrics.k8s.io", "v1beta1");

/// `NodeMetrics`: what a node uses.
pub fn nodes() -> Arc<dyn Kind> {
    let cpu = |node: &Value, _| amount(node, "cpu").unwrap_or_default().to_string().into();
    let memory = |node: &Value, _| amount(node, "memory").unwrap_or_default().to_string().into();
    Arc::new(kind("NodeMetrics", "nodes", Scope::Cluster, cpu, memory))
}

/// `PodMetrics`: what the containers of a pod use. A row of its table shows their sum.
pub fn pods() -> Arc<dyn Kind> {
    let cpu = |pod: &Value, _| sum(pod, "cpu").to_string().into();
    let memory = |pod: &Value, _| sum(pod, "memory").to_string().into();
    Arc::new(kind("PodMetrics", "pods", Scope::Namespaced, cpu, memory))
}

fn kind(
    name: &'static str,
    plural: &'static str,
    scope: Scope,
    cpu: fn(&Value, i64) -> Value,
    memory: fn(&Value, i64) -> Value,
) -> Builtin {
    let formatted = |mut show: Show, format: &'static str| {
        show.column.format = format;
        show
    };
    let name_column =
        column("Name", "string", "Name of the resource", |object, _| text(object, "/metadata/name").into());
    Builtin::new(GROUP_VERSION, name, plural, scope).only(&["get", "list"]).columns(vec![
        formatted(name_column, "name"),
        formatted(column("cpu", "string", "", cpu), "quantity"),
        formatted(column("memory", "string", "", memory), "quantity"),
        formatted(column("Window", "string", "", |object, _| text(object, "/window").into()), "duration"),
    ])
}

fn amount(holder: &Value, resource: &str) -> Option<Quantity> {
    Quantity::from_json(holder.get("usage")?.get(resource)?)?.ok()
}

fn sum(pod: &Value, resource: &str) -> Quantity {
    let amounts = list(pod, "/containers").iter().filter_map(|container| amount(container, resource));
    amounts.reduce(|sum, more| sum + more).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_row_shows_what_all_containers_of_a_pod_use() {
        let used = |cpu: &str, memory: &str| json!({"name": "c", "usage": {"cpu": cpu, "memory": memory}});
        let pod = json!({
            "metadata": {"name": "web"}, "window": "10.1s",
            "containers": [used("250m", "1Mi"), used("1500000n", "512Ki")],
        });
        assert_eq!(pods().row(&pod, 0), [json!("web"), json!("251500u"), json!("1536Ki"), json!("10.1s")]);
        let node = json!({"metadata": {"name": "n"}, "window": "9s", "usage": {"cpu": "2", "memory": "3Gi"}});
        assert_eq!(nodes().row(&node, 0), [json!("n"), json!("2"), json!("3Gi"), json!("9s")]);
        assert_eq!((nodes().description().singular.as_ref(), pods().columns().len()), ("nodemetrics", 4));
    }
}
