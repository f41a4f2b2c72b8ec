//! What other servers serve, in the form of this server's own discovery.

use std::sync::Arc;

use orchestra_core::openapi::Part;
use serde_json::{Value, json};

use super::table::{Remote, Table};

/// A version of a group that another server serves.
#[derive(Clone, Debug)]
pub(crate) struct RemoteVersion {
    pub(crate) group: String,
    pub(crate) version: String,
    /// Its resources as aggregated discovery shows them.
    pub(crate) resources: Vec<Value>,
    /// Whether that is as of now.
    pub(crate) is_fresh: bool,
}

impl Table {
    /// All of them.
    pub(crate) fn versions(&self) -> Vec<RemoteVersion> {
        self.0.values().map(RemoteVersion::of).collect()
    }

    /// Paths of OpenAPI documents of other servers, and a text that changes with each.
    pub(crate) fn openapi(&self) -> impl Iterator<Item = (String, &str)> {
        let known = self.0.values().filter_map(|remote| Some((remote, remote.openapi.as_deref()?)));
        known.map(|(remote, place)| {
            let hash = place.split_once("hash=").map_or("", |(_, hash)| hash);
            (format!("apis/{}/{}", remote.spec.group, remote.spec.version), hash)
        })
    }

    /// What documents of OpenAPI 2.0 of other servers say.
    pub(crate) fn swagger(&self) -> impl Iterator<Item = Arc<Part>> {
        self.0.values().filter_map(|remote| Some(remote.swagger.as_ref()?.part.clone()))
    }
}

impl RemoteVersion {
    fn of(remote: &Remote) -> Self {
        let list = remote.resources.as_ref().and_then(|list| list.get("resources")?.as_array());
        Self {
            group: remote.spec.group.clone(),
            version: remote.spec.version.clone(),
            resources: list.map(|list| aggregated(list, remote)).unwrap_or_default(),
            is_fresh: remote.is_available,
        }
    }
}

/// The old form's flat list, in which subresources are named `things/status`, as the new one has it.
fn aggregated(list: &[Value], remote: &Remote) -> Vec<Value> {
    let text =
        |entry: &Value, field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = |entry: &Value| {
        let or = |field: &str, own: &str| match text(entry, field) {
            said if said.is_empty() => own.to_owned(),
            said => said,
        };
        json!({
            "group": or("group", &remote.spec.group), "version": or("version", &remote.spec.version),
            "kind": text(entry, "kind"),
        })
    };
    let mut out: Vec<Value> = Vec::new();
    for entry in list {
        let name = text(entry, "name");
        match name.split_once('/') {
            None => {
                let namespaced = entry.get("namespaced").and_then(Value::as_bool).unwrap_or_default();
                let mut made = json!({
                    "resource": name, "responseKind": kind(entry), "singularResource": text(entry, "singularName"),
                    "scope": if namespaced { "Namespaced" } else { "Cluster" }, "verbs": entry.get("verbs"),
                });
                for field in ["shortNames", "categories"] {
                    if let Some(said) = entry.get(field) {
                        made[field] = said.clone();
                    }
                }
                out.push(made);
            }
            Some((of, below)) => {
                let Some(main) = out.iter_mut().find(|made| made["resource"] == *of) else { continue };
                let made =
                    json!({"subresource": below, "responseKind": kind(entry), "verbs": entry.get("verbs")});
                match main.get_mut("subresources").and_then(Value::as_array_mut) {
                    Some(list) => list.push(made),
                    None => main["subresources"] = json!([made]),
                }
            }
        }
    }
    out
}
