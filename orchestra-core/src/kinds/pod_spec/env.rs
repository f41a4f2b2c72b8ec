//! Environment variables of a container and where their values come from.

use super::resources;
use crate::kinds::frame::View;
use crate::kinds::frame::check::{optional_name, refuse_all, required, required_name};
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// Fields of the pod that a variable may show.
const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of the pod that a file of a downward API volume may show.
const FILE_FIELDS: [&str; 5] =
    ["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

/// `env`.
pub(super) fn variables(out: &mut Violations, env: &View) {
    for variable in env.items() {
        required_name(out, &variable.get("name"), name::is_env_var_name);
        if variable.get("valueFrom").is_set() {
            value_from(out, &variable);
        }
    }
}

fn value_from(out: &mut Violations, variable: &View) {
    let from = variable.get("valueFrom");
    let mut sources = 0;
    let mut each = |field: &'static str, check: fn(&mut Violations, &View)| {
        let source = from.get(field);
        if source.is_set() {
            sources += 1;
            check(out, &source);
        }
    };
    each("fieldRef", |out, source| field_ref(out, source, &FIELDS));
    each("resourceFieldRef", |out, source| resource_field_ref(out, source, false));
    each("configMapKeyRef", key_ref);
    each("secretKeyRef", key_ref);
    each("fileKeyRef", file_key_ref);
    let detail = match sources {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        _ if !variable.get("value").is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    out.push(Violation::invalid(from.path(), "", detail));
}

fn key_ref(out: &mut Violations, source: &View) {
    required(out, &source.get("name"));
    required_name(out, &source.get("key"), name::is_config_map_key);
}

fn file_key_ref(out: &mut Violations, source: &View) {
    required(out, &source.get("volumeName"));
    required(out, &source.get("path"));
    required_name(out, &source.get("key"), name::is_env_var_name);
}

/// A reference to a field of the pod, in a file of a volume.
pub(super) fn file_field_ref(out: &mut Violations, source: &View) {
    field_ref(out, source, &FILE_FIELDS);
}

fn field_ref(out: &mut Violations, source: &View, allowed: &[&str]) {
    if !required(out, &source.get("apiVersion")) || !required(out, &source.get("fieldPath")) {
        return;
    }
    let path = source.get("fieldPath");
    if let Some((map, key)) = subscript(path.text()) {
        match map {
            "metadata.annotations" => refuse_all(out, &path, name::is_qualified_name(&key.to_lowercase())),
            "metadata.labels" => refuse_all(out, &path, name::is_qualified_name(key)),
            _ => {
                let detail = format!("does not support subscript: {}", path.text());
                out.push(Violation::invalid(path.path(), map, detail));
            }
        }
    } else if !known(path.text()) {
        let detail = format!("error converting fieldPath: field label not supported: {}", path.text());
        out.push(Violation::invalid(path.path(), path.text(), detail));
    } else if !allowed.contains(&path.text()) {
        out.push(Violation::not_supported(path.path(), path.text(), allowed));
    }
}

fn known(path: &str) -> bool {
    FIELDS.contains(&path)
        || FILE_FIELDS.contains(&path)
        || matches!(
            path,
            "spec.restartPolicy"
                | "spec.schedulerName"
                | "spec.hostNetwork"
                | "status.phase"
                | "status.nominatedNodeName"
        )
}

/// Splits `metadata.labels['app']` into the map and the key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    rest.strip_suffix("']").map(|key| (map, key))
}

/// A reference to a request or limit of a container.
pub(super) fn resource_field_ref(out: &mut Violations, source: &View, in_volume: bool) {
    if in_volume {
        required(out, &source.get("containerName"));
    }
    let resource = source.get("resource");
    if !required(out, &resource) {
        return;
    }
    const ALLOWED: [&str; 6] = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let text = resource.text();
    let pages = text.starts_with("limits.hugepages-") || text.starts_with("requests.hugepages-");
    if !ALLOWED.contains(&text) && !pages {
        out.push(Violation::not_supported(resource.path(), text, &ALLOWED));
        return;
    }
    resources::divisor(out, &source.get("divisor"), text);
}

/// `envFrom`.
pub(super) fn sources(out: &mut Violations, sources: &View) {
    for source in sources.items() {
        optional_name(out, &source.get("prefix"), name::is_env_var_name);
        let mut count = 0;
        for field in ["configMapRef", "secretRef"] {
            let reference = source.get(field);
            if reference.is_set() {
                count += 1;
                required(out, &reference.get("name"));
            }
        }
        let detail = match count {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        out.push(Violation::invalid(source.path(), "", detail));
    }
}
