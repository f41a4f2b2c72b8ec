//! The ports of a service.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::kinds::frame::View;
use crate::kinds::frame::check::{
    optional_name, port_number, port_number_or_name, refuse, refuse_all, required, required_one_of,
};
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// All ports, after `validateServicePort` and its caller.
pub(super) fn validate(out: &mut Violations, spec: &View) {
    let (ports, kind) = (spec.get("ports"), spec.get("type").text());
    let headless = spec.get("clusterIP").text() == "None";
    if ports.is_empty() && !headless && kind != "ExternalName" {
        out.push(Violation::required(ports.path(), ""));
    }
    let mut names = HashSet::new();
    for port in ports.items() {
        one(out, &port, ports.len() > 1, &mut names);
        let node_port = port.get("nodePort");
        if matches!(kind, "ClusterIP" | "ExternalName") && node_port.int().unwrap_or_default() != 0 {
            let detail = format!("may not be used when `type` is '{kind}'");
            out.push(Violation::forbidden(node_port.path(), detail));
        }
        if kind == "LoadBalancer" && port.get("port").int() == Some(10250) {
            refuse(
                out,
                &port.get("port"),
                "may not expose port 10250 externally since it is used by kubelet",
            );
        }
    }
    unique(out, &ports);
}

fn one<'a>(out: &mut Violations, port: &View<'a>, named: bool, names: &mut HashSet<&'a str>) {
    let own = port.get("name");
    if own.is_empty() {
        if named {
            out.push(Violation::required(own.path(), ""));
        }
    } else {
        refuse_all(out, &own, name::is_dns1123_label(own.text()));
        if !names.insert(own.text()) {
            out.push(Violation::duplicate(own.path(), own.text()));
        }
    }
    port_number(out, &View::at(Some(&number(port)), port.get("port").path().clone()));
    required_one_of(out, &port.get("protocol"), &["SCTP", "TCP", "UDP"]);
    if required(out, &port.get("targetPort")) {
        port_number_or_name(out, &port.get("targetPort"));
    }
    optional_name(out, &port.get("appProtocol"), name::is_qualified_name);
}

fn number(port: &View) -> Value {
    port.get("port").int().unwrap_or_default().into()
}

/// No two ports are the same, and no two ask for the same port of the nodes.
fn unique(out: &mut Violations, ports: &View) {
    let (mut own, mut on_nodes) = (HashSet::new(), HashSet::new());
    for port in ports.items() {
        let (protocol, number) = (port.get("protocol").text(), port.get("port").int().unwrap_or_default());
        let node_port = port.get("nodePort").int().unwrap_or_default();
        if !own.insert((protocol, number)) {
            out.push(Violation::duplicate(port.path(), key(protocol, number, 0)));
        }
        if node_port != 0 && !on_nodes.insert((protocol, node_port)) {
            out.push(Violation::duplicate(port.get("nodePort").path(), key(protocol, 0, node_port)));
        }
    }
}

/// Upstream shows the port as its own type without JSON names.
fn key(protocol: &str, number: i64, node_port: i64) -> Value {
    json!({
        "Name": "", "Protocol": protocol, "AppProtocol": null, "Port": number, "TargetPort": 0,
        "NodePort": node_port,
    })
}
