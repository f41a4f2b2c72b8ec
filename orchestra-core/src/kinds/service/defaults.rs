//! Defaults of a service, and what a change carries over from before.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::kinds::frame::{Fill, Object};

/// After `SetDefaults_Service`, and the address families of a cluster that has IPv4 only.
pub(super) fn default(service: &mut Object) {
    let spec = service.object("spec");
    spec.fill_text("sessionAffinity", "None");
    match spec.text("sessionAffinity") {
        "ClientIP" => {
            spec.object("sessionAffinityConfig").object("clientIP").fill("timeoutSeconds", 10800);
        }
        "None" => {
            spec.remove("sessionAffinityConfig");
        }
        _ => (),
    }
    spec.fill_text("type", "ClusterIP");
    for port in spec.objects("ports") {
        port.fill_text("protocol", "TCP");
        let unset = match port.get("targetPort") {
            None | Some(Value::Null) => true,
            Some(Value::String(name)) => name.is_empty(),
            Some(number) => number.as_i64() == Some(0),
        };
        if unset {
            let number = port.get("port").cloned().unwrap_or(json!(0));
            port.insert("targetPort".to_owned(), number);
        }
    }
    let kind = spec.text("type").to_owned();
    let from_outside = spec.get("externalIPs").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && from_outside) {
        spec.fill_text("externalTrafficPolicy", "Cluster");
    }
    if kind != "ExternalName" {
        spec.fill_text("internalTrafficPolicy", "Cluster");
        addresses(spec);
        families(spec);
    }
    if kind == "LoadBalancer" {
        spec.fill("allocateLoadBalancerNodePorts", true);
    }
    service.object("status").object("loadBalancer");
}

/// The one address and the list of addresses agree.
fn addresses(spec: &mut Object) {
    let ip = spec.text("clusterIP").to_owned();
    let listed = spec.get("clusterIPs").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if !ip.is_empty() && !listed {
        spec.insert("clusterIPs".to_owned(), json!([ip]));
    }
}

fn families(spec: &mut Object) {
    let selects =
        spec.get("selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
    if spec.text("clusterIP") == "None" && !selects {
        // Nothing is known of the addresses behind it, so it may have both families.
        spec.fill_text("ipFamilyPolicy", "RequireDualStack");
        if spec.text("ipFamilyPolicy") == "RequireDualStack" {
            spec.fill("ipFamilies", json!(["IPv4", "IPv6"]));
        }
    }
    spec.fill_text("ipFamilyPolicy", "SingleStack");
    spec.fill("ipFamilies", json!(["IPv4"]));
}

/// What the server handed out stays with the service while its type still needs it, and goes when it does not.
/// After `patchAllocatedValues` and `dropTypeDependentFields` of upstream's service storage.
pub(super) fn carry_over(new: &mut Object, old: &Value) {
    let Some(before) = old.get("spec").and_then(Value::as_object) else { return };
    let spec = new.object("spec");
    let (kind, kind_before) = (spec.text("type").to_owned(), before.text("type").to_owned());
    let has_address = |kind: &str| kind != "ExternalName";
    let has_node_ports = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");

    if has_address(&kind) && has_address(&kind_before) {
        if spec.text("clusterIP").is_empty() && !before.text("clusterIP").is_empty() {
            for field in ["clusterIP", "clusterIPs"] {
                if !spec.has(field) || spec.text(field).is_empty() {
                    keep(spec, before, field);
                }
            }
        }
    } else if !has_address(&kind) && has_address(&kind_before) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
            if spec.get(field) == before.get(field) {
                spec.remove(field);
            }
        }
    }
    if has_node_ports(&kind) && has_node_ports(&kind_before) {
        keep_node_ports(spec, before);
    } else if !has_node_ports(&kind) && has_node_ports(&kind_before) {
        drop_node_ports(spec, before);
        if spec.get("externalTrafficPolicy") == before.get("externalTrafficPolicy") {
            spec.remove("externalTrafficPolicy");
        }
    }
    let local =
        |spec: &Object| spec.text("type") == "LoadBalancer" && spec.text("externalTrafficPolicy") == "Local";
    if local(spec) && local(before) {
        if !spec.has("healthCheckNodePort") {
            keep(spec, before, "healthCheckNodePort");
        }
    } else if local(before) && spec.get("healthCheckNodePort") == before.get("healthCheckNodePort") {
        spec.remove("healthCheckNodePort");
    }
    if kind_before == "LoadBalancer" && kind != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if spec.get(field) == before.get(field) {
                spec.remove(field);
            }
        }
    }
}

fn keep(new: &mut Object, old: &Object, field: &str) {
    if let Some(value) = old.get(field) {
        new.insert(field.to_owned(), value.clone());
    }
}

fn node_port(port: &Object) -> i64 {
    port.get("nodePort").and_then(Value::as_i64).unwrap_or_default()
}

/// Ports of the same number and protocol keep the node port they had, unless another port asks for it.
fn keep_node_ports(spec: &mut Object, before: &Object) {
    let place = |port: &Object| (port.get("port").and_then(Value::as_i64), port.text("protocol").to_owned());
    let mut held = HashMap::new();
    for port in ports(before) {
        held.entry(place(port)).or_insert_with(|| node_port(port));
    }
    let mut taken: HashSet<i64> = ports(spec).map(node_port).collect();
    for port in spec.objects("ports") {
        if node_port(port) != 0 {
            continue;
        }
        let number = held.get(&place(port)).copied().unwrap_or_default();
        if number != 0 && taken.insert(number) {
            port.insert("nodePort".to_owned(), number.into());
        }
    }
}

fn drop_node_ports(spec: &mut Object, before: &Object) {
    let held: HashSet<i64> = ports(before).map(node_port).collect();
    for port in spec.objects("ports") {
        if held.contains(&node_port(port)) {
            port.remove("nodePort");
        }
    }
}

fn ports(spec: &Object) -> impl Iterator<Item = &Object> {
    spec.get("ports").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}
