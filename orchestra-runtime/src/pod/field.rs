//! What `fieldRef` and `resourceFieldRef` point at. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use orchestra_core::quantity::Quantity;

use super::spec::{Spec, member};

/// Addresses the pod's status may not tell yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addresses {
    pub(crate) pod: Vec<String>,
    pub(crate) host: String,
}

/// The value of a field, as text.
pub(crate) fn value(pod: &Pod, path: &str, addresses: &Addresses) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let text = |v: &Option<String>| v.clone().unwrap_or_default();
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return Err(format!("unsupported fieldPath: {path}")),
        };
        return Ok(map.as_ref().and_then(|m| m.get(key)).cloned().unwrap_or_default());
    }
    Ok(match path {
        "metadata.name" => text(&meta.name),
        "metadata.namespace" => text(&meta.namespace),
        "metadata.uid" => text(&meta.uid),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => spec.map(|s| text(&s.node_name)).unwrap_or_default(),
        "spec.serviceAccountName" => spec.map(|s| text(&s.service_account_name)).unwrap_or_default(),
        "status.hostIP" | "status.hostIPs" => addresses.host.clone(),
        "status.podIP" => addresses.pod.first().cloned().unwrap_or_default(),
        "status.podIPs" => addresses.pod.join(","),
        _ => return Err(format!("unsupported fieldPath: {path}")),
    })
}

/// `map['key']`
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, key) = path.strip_suffix("']")?.split_once("['")?;
    Some((map, key))
}

/// One `key="value"` for each entry, as the downward API writes maps.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let mut out = String::new();
    for (key, value) in map.into_iter().flatten() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{key}={value:?}");
    }
    out.trim_end().to_owned()
}

/// The value of a container's resource, in units of the divisor, rounded up.
pub(crate) fn resource(
    pod: &Pod,
    own: Option<&Container>,
    selector: &ResourceFieldSelector,
    allocatable: &BTreeMap<String, String>,
) -> Result<String, String> {
    let named = selector.container_name.as_deref().filter(|n| !n.is_empty());
    let container = match named {
        Some(name) => member(pod, name).map(|m| m.container),
        None => own.map(Spec::Given),
    };
    let container = container.ok_or_else(|| format!("container {} not found", named.unwrap_or_default()))?;
    let (table, resource) = selector
        .resource
        .split_once('.')
        .ok_or_else(|| format!("unsupported container resource : {}", selector.resource))?;
    let resources = container.resources.as_ref();
    let set = match table {
        "limits" => resources.and_then(|r| r.limits.as_ref()?.get(resource)),
        "requests" => resources.and_then(|r| r.requests.as_ref()?.get(resource)),
        _ => return Err(format!("unsupported container resource : {}", selector.resource)),
    };
    let amount = match (set, table) {
        (Some(quantity), _) => quantity.0.clone(),
        (None, "limits") => allocatable.get(resource).cloned().unwrap_or_else(|| "0".to_owned()),
        (None, _) => "0".to_owned(),
    };
    let parse = |text: &str| Quantity::parse(text).map_err(|e| format!("{text}: {e}"));
    let amount = parse(&amount)?;
    let divisor = selector.divisor.as_ref().map_or("1", |d| d.0.as_str());
    let divisor = parse(if divisor.is_empty() || divisor == "0" { "1" } else { divisor })?;
    // Upstream counts processors in thousandths and everything else in whole units.
    let (amount, divisor) = if resource == "cpu" {
        (amount.milli_value(), divisor.milli_value())
    } else {
        (amount.value(), divisor.value())
    };
    let divisor = divisor.max(1);
    Ok((amount / divisor + i64::from(amount % divisor > 0)).to_string())
}
