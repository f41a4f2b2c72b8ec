//! `Node`.

use std::collections::{BTreeSet, HashSet};

use serde_json::{Value, json};

use super::frame::cells::{self, column, list, or, or_none, text};
use super::frame::{Builtin, Fill, Object, View};
use super::pod_spec::{resources, taint};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

/// What a status tells of the machine; empty until the agent speaks.
const INFO: [&str; 10] = [
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
];

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "Node", "nodes", Scope::Cluster)
        .short_names(&["no"])
        .status(|| json!({}))
        .default(default)
        // Agents register themselves with what they know, so a new node keeps its status.
        .keeps_status_on_create()
        .validate(|node, out| validate(out, node))
        .validate_change(|new, old, out| change(out, &new.get("spec"), &old.get("spec")))
        .fields(&["spec.unschedulable"])
        .field_value(|node, _| {
            let closed = node.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or_default();
            Some(if closed { "true" } else { "false" }.into())
        })
        .columns(columns())
}

fn columns() -> Vec<super::frame::Show> {
    vec![
        cells::name(),
        column("Status", "string", "Whether pods can run there.", |node, _| status(node).into()),
        column("Roles", "string", "What the node is for.", |node, _| roles(node).into()),
        cells::age(),
        column("Version", "string", "The version of the node agent.", |node, _| {
            text(node, "/status/nodeInfo/kubeletVersion").into()
        }),
        column("Internal-IP", "string", "The address inside the cluster.", |node, _| {
            address(node, "InternalIP").into()
        })
        .wide(),
        column("External-IP", "string", "The address outside.", |node, _| address(node, "ExternalIP").into())
            .wide(),
        column("OS-Image", "string", "The operating system.", |node, _| {
            or(text(node, "/status/nodeInfo/osImage"), "<unknown>").into()
        })
        .wide(),
        column("Kernel-Version", "string", "The kernel.", |node, _| {
            or(text(node, "/status/nodeInfo/kernelVersion"), "<unknown>").into()
        })
        .wide(),
        column("Container-Runtime", "string", "What runs the containers.", |node, _| {
            or(text(node, "/status/nodeInfo/containerRuntimeVersion"), "<unknown>").into()
        })
        .wide(),
    ]
}

fn status(node: &Value) -> String {
    let ready = list(node, "/status/conditions").iter().find(|condition| text(condition, "/type") == "Ready");
    let word = match ready.map(|condition| text(condition, "/status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let closed = node.pointer("/spec/unschedulable").and_then(Value::as_bool).unwrap_or_default();
    format!("{word}{}", if closed { ",SchedulingDisabled" } else { "" })
}

fn roles(node: &Value) -> String {
    let labels = node.pointer("/metadata/labels").and_then(Value::as_object);
    let roles: BTreeSet<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            None if key == "kubernetes.io/role" => value.as_str(),
            role => role,
        })
        .filter(|role| !role.is_empty())
        .collect();
    or_none(&roles.into_iter().collect::<Vec<_>>().join(","))
}

fn address(node: &Value, kind: &str) -> String {
    let found = list(node, "/status/addresses").iter().find(|address| text(address, "/type") == kind);
    or_none(found.map(|address| text(address, "/address")).unwrap_or_default())
}

fn default(node: &mut Object) {
    let spec = node.object("spec");
    let range = spec.text("podCIDR").to_owned();
    if !range.is_empty() && !spec.has("podCIDRs") {
        spec.insert("podCIDRs".to_owned(), json!([range]));
    }
    let status = node.object("status");
    status.object("daemonEndpoints").object("kubeletEndpoint").fill("Port", 0);
    let info = status.object("nodeInfo");
    for field in INFO {
        info.fill(field, "");
    }
    if let Some(capacity) = status.object_if("capacity") {
        resources::canonical(capacity);
        let capacity = capacity.clone();
        status.fill("allocatable", capacity);
    }
    if let Some(allocatable) = status.object_if("allocatable") {
        resources::canonical(allocatable);
    }
}

/// After `ValidateNode`.
fn validate(out: &mut Violations, node: &View) {
    let mut seen = HashSet::new();
    for item in node.get("spec").get("taints").items() {
        taint(out, &item);
        if !seen.insert((item.get("key").text(), item.get("effect").text())) {
            out.push(Violation::duplicate(item.path(), item.json()));
        }
    }
}

/// After `ValidateNodeUpdate`.
fn change(out: &mut Violations, new: &View, old: &View) {
    let provider = new.get("providerID");
    if !old.get("providerID").is_empty() && provider != old.get("providerID") {
        let detail = "node updates may not change providerID except from \"\" to valid";
        out.push(Violation::forbidden(provider.path(), detail));
    }
    let ranges = new.get("podCIDRs");
    if !old.get("podCIDRs").is_empty() && ranges != old.get("podCIDRs") {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        out.push(Violation::forbidden(ranges.path(), detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    #[test]
    fn what_a_node_can_give_is_all_it_has() {
        let node =
            defaulted(kind(), json!({"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "4.0"}}}));
        assert_eq!(node["status"]["allocatable"], json!({"cpu": "4"}));
        assert_eq!(node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"], 0);
    }

    #[test]
    fn an_agent_registers_with_its_status() {
        let mut node = json!({"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "4"}}});
        served(kind()).prepare_create(&mut node);
        assert_eq!(node["status"]["capacity"]["cpu"], "4");
    }

    #[test]
    fn taints_are_unique_and_well_formed() {
        let taint = json!({"key": "a", "effect": "NoSchedule"});
        let node = json!({"metadata": {"name": "n"}, "spec": {"taints": [taint, taint]}});
        assert_eq!(
            said(kind(), node),
            [r#"spec.taints[1]: Duplicate value: {"effect":"NoSchedule","key":"a"}"#]
        );
    }

    #[test]
    fn a_row_tells_status_and_roles() {
        let node = json!({
            "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.36.0"},
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            },
        });
        let row = served(kind()).row(&node, 0);
        let expected = [
            "n",
            "Ready,SchedulingDisabled",
            "control-plane,worker",
            "<unknown>",
            "v1.36.0",
            "10.0.0.1",
            "<none>",
        ];
        assert_eq!(row[..7], expected.map(Value::from));
    }
}
