//! A service's row.

use serde_json::Value;

use crate::kinds::frame::cells::{self, Show, column, list, number, or_none, text};
use crate::kinds::labels;

pub(super) fn columns() -> Vec<Show> {
    vec![
        cells::name(),
        column("Type", "string", "How the service is reached.", |service, _| {
            text(service, "/spec/type").into()
        }),
        column("Cluster-IP", "string", "The address inside the cluster.", |service, _| {
            let ip = match text(service, "/spec/clusterIPs/0") {
                "" => text(service, "/spec/clusterIP"),
                ip => ip,
            };
            or_none(ip).into()
        }),
        column("External-IP", "string", "The addresses outside the cluster.", |service, _| {
            external(service).into()
        }),
        column("Port(s)", "string", "Ports and protocols.", |service, _| ports(service).into()),
        cells::age(),
        column("Selector", "string", "The labels of the pods behind it.", |service, _| {
            labels::show(service.pointer("/spec/selector")).into()
        })
        .wide(),
    ]
}

fn external(service: &Value) -> String {
    let own: Vec<&str> = list(service, "/spec/externalIPs").iter().filter_map(Value::as_str).collect();
    match text(service, "/spec/type") {
        "ExternalName" => text(service, "/spec/externalName").to_owned(),
        "LoadBalancer" => {
            let mut all: Vec<&str> = points(service);
            all.extend(own);
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ClusterIP" | "NodePort" => or_none(&own.join(",")),
        _ => "<unknown>".to_owned(),
    }
}

/// Addresses or names that a load balancer listens on; services and ingresses report them alike.
pub(crate) fn points(object: &Value) -> Vec<&str> {
    list(object, "/status/loadBalancer/ingress")
        .iter()
        .map(|point| match text(point, "/ip") {
            "" => text(point, "/hostname"),
            ip => ip,
        })
        .filter(|point| !point.is_empty())
        .collect()
}

fn ports(service: &Value) -> String {
    let each = list(service, "/spec/ports").iter().map(|port| {
        let (own, protocol) = (number(port, "/port"), text(port, "/protocol"));
        match number(port, "/nodePort") {
            0 => format!("{own}/{protocol}"),
            node => format!("{own}:{node}/{protocol}"),
        }
    });
    or_none(&each.collect::<Vec<_>>().join(","))
}
