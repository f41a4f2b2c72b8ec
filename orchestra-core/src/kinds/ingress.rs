//! `Ingress`.

use serde_json::{Value, json};

use super::frame::cells::{self, column, list, or_none, text};
use super::frame::check::{optional_name, port_number, refuse, refuse_all, required_because};
use super::frame::{Builtin, Fill, Generation, View};
use super::service::show::points;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// The old way to name a class.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// Parts that a path may not have, so that it means the same to every program that reads it.
const BAD_PARTS: [&str; 4] = ["//", "/./", "/../", "%2f"];

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("networking.k8s.io", "v1"), "Ingress", "ingresses", Scope::Namespaced)
        .short_names(&["ing"])
        .generation(Generation::Spec)
        .status(|| json!({"loadBalancer": {}}))
        .default(|ingress| {
            ingress.object("spec");
            ingress.object("status").object("loadBalancer");
        })
        .validate(|ingress, out| validate(out, &ingress.get("spec")))
        .validate_create(|ingress, out| {
            let annotations = ingress.get("metadata").get("annotations");
            let old = annotations.value().and_then(|all| all.get(CLASS_ANNOTATION)).cloned();
            if let Some(old) = old.filter(|_| ingress.get("spec").get("ingressClassName").is_set()) {
                let detail = "can not be set when the class field is also set";
                out.push(Violation::invalid(&annotations.path().child(CLASS_ANNOTATION), old, detail));
            }
        })
        .columns(vec![
            cells::name(),
            column("Class", "string", "Which controller serves it.", |ingress, _| {
                let old = ingress.pointer("/metadata/annotations").and_then(|all| all.get(CLASS_ANNOTATION));
                let class = match text(ingress, "/spec/ingressClassName") {
                    "" => old.and_then(Value::as_str).unwrap_or_default(),
                    class => class,
                };
                or_none(class).into()
            }),
            column("Hosts", "string", "The names that are routed.", |ingress, _| hosts(ingress).into()),
            column("Address", "string", "Where it is reached.", |ingress, _| {
                points(ingress).join(",").into()
            }),
            column("Ports", "string", "The ports that are open.", |ingress, _| {
                if list(ingress, "/spec/tls").is_empty() { "80".into() } else { "80, 443".into() }
            }),
            cells::age(),
        ])
}

fn hosts(ingress: &Value) -> String {
    const SHOWN: usize = 3;
    let rules = list(ingress, "/spec/rules");
    let hosts: Vec<&str> =
        rules.iter().map(|rule| text(rule, "/host")).filter(|host| !host.is_empty()).collect();
    match hosts.len() {
        0 => "*".to_owned(),
        count if count > SHOWN => {
            let shown: Vec<&str> = hosts.into_iter().take(SHOWN).collect();
            format!("{} + {} more...", shown.join(","), count - SHOWN)
        }
        _ => hosts.join(","),
    }
}

/// After `ValidateIngressSpec`.
fn validate(out: &mut Violations, spec: &View) {
    let (rules, fallback) = (spec.get("rules"), spec.get("defaultBackend"));
    if rules.is_empty() && !fallback.is_set() {
        let detail = "either `defaultBackend` or `rules` must be specified";
        out.push(Violation::invalid(spec.path(), json!([]), detail));
    }
    if fallback.is_set() {
        backend(out, &fallback);
    }
    for rule in rules.items() {
        host(out, &rule.get("host"), "*.");
        let http = rule.get("http");
        if !http.is_set() {
            continue;
        }
        let paths = http.get("paths");
        if required_because(out, &paths, "") {
            for route in paths.items() {
                path(out, &route);
            }
        }
    }
    for tls in spec.get("tls").items() {
        for name in tls.get("hosts").items() {
            host(out, &name, "*");
        }
        optional_name(out, &tls.get("secretName"), name::is_dns1123_subdomain);
    }
    optional_name(out, &spec.get("ingressClassName"), name::is_dns1123_subdomain);
}

/// A name of a host; one that begins with `wild` stands for all names below.
fn host(out: &mut Violations, host: &View, wild: &str) {
    if host.is_empty() {
        return;
    }
    if host.text().parse::<std::net::IpAddr>().is_ok() {
        refuse(out, host, "must be a DNS name, not an IP address");
        return;
    }
    if host.text().starts_with(wild) || host.text().contains('*') {
        refuse_all(out, host, name::is_wildcard_dns1123_subdomain(host.text()));
    } else {
        refuse_all(out, host, name::is_dns1123_subdomain(host.text()));
    }
}

fn path(out: &mut Violations, route: &View) {
    let (kind, path) = (route.get("pathType"), route.get("path"));
    match kind.text() {
        "" => out.push(Violation::required(kind.path(), "pathType must be specified")),
        "Exact" | "Prefix" => {
            if !path.text().starts_with('/') {
                out.push(Violation::invalid(path.path(), path.text(), "must be an absolute path"));
            }
            let lower = path.text().to_lowercase();
            for part in BAD_PARTS {
                if lower.contains(part) {
                    let shown = if part == "%2f" { "'%2f'".to_owned() } else { format!("'{part}'") };
                    refuse(out, &path, format!("must not contain {shown}"));
                }
            }
            for end in ["/..", "/."] {
                if path.text().ends_with(end) {
                    refuse(out, &path, format!("cannot end with '{end}'"));
                }
            }
        }
        "ImplementationSpecific" => {
            if !path.is_empty() && !path.text().starts_with('/') {
                refuse(out, &path, "must be an absolute path");
            }
        }
        _ => {
            let allowed = ["Exact", "ImplementationSpecific", "Prefix"];
            out.push(Violation::not_supported(kind.path(), kind.text(), &allowed));
        }
    }
    backend(out, &route.get("backend"));
}

/// Where requests go: a service's port, or an object of a kind that the controller knows.
fn backend(out: &mut Violations, backend: &View) {
    let (service, resource) = (backend.get("service"), backend.get("resource"));
    match (service.is_set(), resource.is_set()) {
        (true, true) => {
            out.push(Violation::invalid(backend.path(), "", "cannot set both resource and service backends"));
        }
        (false, false) => {
            out.push(Violation::invalid(backend.path(), "", "resource or service backend is required"));
        }
        (false, true) => {
            for field in ["kind", "name"] {
                required_because(out, &resource.get(field), "");
            }
        }
        (true, false) => {
            if required_because(out, &service.get("name"), "") {
                refuse_all(out, &service.get("name"), name::is_dns1035_label(service.get("name").text()));
            }
            let port = service.get("port");
            let (named, numbered) = (port.get("name"), port.get("number"));
            let has_number = numbered.int().unwrap_or_default() != 0;
            if !named.is_empty() && has_number {
                let detail = "cannot set both port name & port number";
                out.push(Violation::invalid(backend.path(), "", detail));
            } else if has_number {
                port_number(out, &numbered);
            } else if !named.is_empty() {
                refuse_all(out, &named, name::is_port_name(named.text()));
            } else {
                out.push(Violation::required(backend.path(), "port name or number is required"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    fn ingress(path: Value) -> Value {
        let spec = json!({"rules": [{"host": "a.example", "http": {"paths": [path]}}]});
        json!({"metadata": {"name": "i", "namespace": "n"}, "spec": spec})
    }

    #[test]
    fn a_path_needs_a_type_and_a_backend() {
        let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
        assert_eq!(
            said(kind(), ingress(json!({"path": "/", "pathType": "Prefix", "backend": backend}))),
            [""; 0]
        );
        let at = "spec.rules[0].http.paths[0]";
        assert_eq!(
            said(kind(), ingress(json!({"path": "/", "backend": backend}))),
            [format!("{at}.pathType: Required value: pathType must be specified")]
        );
        assert_eq!(
            said(kind(), ingress(json!({"path": "a//b", "pathType": "Exact", "backend": {}}))),
            [
                format!(r#"{at}.path: Invalid value: "a//b": must be an absolute path"#),
                format!(r#"{at}.path: Invalid value: "a//b": must not contain '//'"#),
                format!(r#"{at}.backend: Invalid value: "": resource or service backend is required"#),
            ]
        );
        let unported = json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s"}}});
        assert_eq!(
            said(kind(), ingress(unported)),
            [format!("{at}.backend: Required value: port name or number is required")]
        );
    }

    #[test]
    fn an_ingress_without_routes_is_refused() {
        let said = said(kind(), json!({"metadata": {"name": "i", "namespace": "n"}}));
        assert_eq!(said, ["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"]);
    }

    #[test]
    fn a_row_shows_hosts_and_ports() {
        let object = defaulted(kind(), ingress(json!({})));
        let row = served(kind()).row(&object, 0);
        assert_eq!(row[1..5], ["<none>", "a.example", "", "80"].map(Value::from));
    }
}
