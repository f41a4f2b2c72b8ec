//! Which backend a request belongs to. Pure.
//!
//! Precedence follows the Ingress API: an exact host wins over a wildcard, a wildcard over no host; within a host an exact
//! path wins over a prefix and a longer prefix over a shorter one; a host whose paths do not match falls through to the
//! rules without host, and at last to a default backend.

use std::net::SocketAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{Ingress, IngressBackend};

use crate::proxy::plan::{SlicesByService, backends};

/// The class of the ingresses served here; also the name of the IngressClass object.
pub const CLASS: &str = "orchestra";
/// The `controller` of that class.
pub const CONTROLLER: &str = "orchestra.dev/ingress";
/// Where classes were named before `spec.ingressClassName`.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// Every route of a cluster, best match first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Route {
    host: Host,
    path: Path,
    backends: Arc<[SocketAddr]>,
}

// The order of variants is the order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    Exact(String),
    /// What stands behind `*`, with its dot: `.example.com`.
    Wildcard(String),
    Any,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Path {
    Exact(String),
    Prefix(Vec<String>),
    Default,
}

impl Routes {
    /// The routes of all ingresses of our class, or of no class.
    pub fn new<'a>(
        ingresses: impl IntoIterator<Item = &'a Ingress>,
        services: impl Fn(&str, &str) -> Option<&'a Service>,
        slices: &SlicesByService<'_>,
    ) -> Self {
        let mut ingresses: Vec<&Ingress> = ingresses.into_iter().filter(|ingress| is_ours(ingress)).collect();
        // Of two routes that say the same the older ingress wins, as most controllers have it.
        ingresses.sort_by_key(|ingress| {
            let meta = &ingress.metadata;
            (meta.creation_timestamp.as_ref().map(|time| time.0), meta.namespace.clone(), meta.name.clone())
        });
        let mut routes = Vec::new();
        for ingress in ingresses {
            let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
            let Some(spec) = &ingress.spec else { continue };
            let resolve = |backend: &IngressBackend| -> Arc<[SocketAddr]> {
                resolve(namespace, backend, &services, slices).into()
            };
            for rule in spec.rules.iter().flatten() {
                let host = Host::parse(rule.host.as_deref().unwrap_or_default());
                for path in rule.http.iter().flat_map(|http| &http.paths) {
                    let backends = resolve(&path.backend);
                    let path = Path::parse(&path.path_type, path.path.as_deref().unwrap_or("/"));
                    routes.push(Route { host: host.clone(), path, backends });
                }
            }
            if let Some(backend) = &spec.default_backend {
                routes.push(Route { host: Host::Any, path: Path::Default, backends: resolve(backend) });
            }
        }
        // Stable: of equals the older ingress stays first.
        routes.sort_by(|a, b| a.host.cmp(&b.host).then_with(|| a.path.rank().cmp(&b.path.rank())));
        Self { routes }
    }

    /// The backends of the best route for a request; `None` when no route matches.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<[SocketAddr]>> {
        let host = without_port(host).to_ascii_lowercase();
        self.routes
            .iter()
            .find(|route| route.host.matches(&host) && route.path.matches(path))
            .map(|route| &route.backends)
    }
}

/// Whether `ingress` is served here: of our class or of none.
pub fn is_ours(ingress: &Ingress) -> bool {
    let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    let annotated = ingress.metadata.annotations.as_ref().and_then(|all| all.get(CLASS_ANNOTATION));
    named.or(annotated.map(String::as_str)).is_none_or(|class| class == CLASS)
}

fn resolve<'a>(
    namespace: &str,
    backend: &IngressBackend,
    services: &impl Fn(&str, &str) -> Option<&'a Service>,
    slices: &SlicesByService<'_>,
) -> Vec<SocketAddr> {
    let Some(wanted) = &backend.service else { return Vec::new() };
    let service = services(namespace, &wanted.name);
    let ports = service.and_then(|service| service.spec.as_ref()?.ports.as_ref());
    let port = ports.into_iter().flatten().find(|port| match &wanted.port {
        Some(by) if by.name.is_some() => by.name == port.name,
        Some(by) => by.number == Some(port.port),
        None => false,
    });
    let Some(port) = port else { return Vec::new() };
    let slices = slices.get(&(namespace, wanted.name.as_str())).map_or(&[][..], Vec::as_slice);
    backends(slices, port.name.as_deref())
}

impl Host {
    fn parse(host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        match host.strip_prefix('*') {
            _ if host.is_empty() => Self::Any,
            Some(rest) => Self::Wildcard(rest.to_owned()),
            None => Self::Exact(host),
        }
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            // A wildcard stands for exactly one label.
            Self::Wildcard(rest) => host
                .strip_suffix(rest.as_str())
                .is_some_and(|label| !label.is_empty() && !label.contains('.')),
            Self::Any => true,
        }
    }
}

impl Path {
    fn parse(path_type: &str, path: &str) -> Self {
        match path_type {
            "Exact" => Self::Exact(path.to_owned()),
            // ImplementationSpecific is a prefix here.
            _ => Self::Prefix(elements(path).map(str::to_owned).collect()),
        }
    }

    /// Lower is tried first.
    fn rank(&self) -> (u8, usize) {
        match self {
            Self::Exact(_) => (0, 0),
            Self::Prefix(elements) => (1, usize::MAX - elements.len()),
            Self::Default => (2, 0),
        }
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            Self::Prefix(prefix) => {
                let mut asked = elements(path);
                prefix.iter().all(|element| asked.next() == Some(element))
            }
            Self::Default => true,
        }
    }
}

/// Prefixes are compared element by element: `/foo` matches `/foo/bar` and not `/foobar`; trailing slashes do not count.
fn elements(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|element| !element.is_empty())
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::plan::by_service;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use serde_json::{Value, json};

    /// A service `name` whose one endpoint has the port `number`, so that routes can be told apart by port.
    fn world(names: &[(&str, u16)]) -> (Vec<Service>, Vec<EndpointSlice>) {
        names
            .iter()
            .map(|(name, number)| {
                let service: Service = serde_json::from_value(json!({
                    "metadata": {"name": name, "namespace": "shop"}, "spec": {"ports": [{"port": 80}]}}))
                .unwrap();
                let slice: EndpointSlice = serde_json::from_value(json!({
                    "metadata": {"name": name, "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
                    "addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}], "ports": [{"port": number}]}))
                .unwrap();
                (service, slice)
            })
            .unzip()
    }

    fn path(path: &str, kind: &str, service: &str) -> Value {
        json!({"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": {"number": 80}}}})
    }

    fn routes(spec: Value) -> Routes {
        let ingress: Ingress =
            serde_json::from_value(json!({"metadata": {"name": "i", "namespace": "shop"}, "spec": spec}))
                .unwrap();
        let (services, slices) = world(&[("one", 1), ("two", 2), ("three", 3)]);
        Routes::new(
            [&ingress],
            |_, name| services.iter().find(|service| service.metadata.name.as_deref() == Some(name)),
            &by_service(&slices),
        )
    }

    fn taken(routes: &Routes, host: &str, path: &str) -> Option<u16> {
        routes.find(host, path).map(|backends| backends[0].port())
    }

    #[test]
    fn prefixes_match_whole_path_elements_and_the_longest_wins() {
        let routes = routes(json!({"rules": [{"http": {"paths": [
            path("/", "Prefix", "one"), path("/foo/", "Prefix", "two"), path("/foo", "Exact", "three")]}}]}));
        assert_eq!(taken(&routes, "any", "/foo"), Some(3), "exact before prefix");
        assert_eq!(taken(&routes, "any", "/foo/"), Some(2));
        assert_eq!(taken(&routes, "any", "/foo/bar"), Some(2));
        assert_eq!(taken(&routes, "any", "/foobar"), Some(1));
    }

    #[test]
    fn an_exact_host_wins_over_a_wildcard_and_a_wildcard_stands_for_one_label() {
        let routes = routes(json!({"rules": [
            {"host": "*.example.com", "http": {"paths": [path("/", "Prefix", "one")]}},
            {"host": "a.example.com", "http": {"paths": [path("/", "Prefix", "two")]}},
        ]}));
        assert_eq!(taken(&routes, "A.example.com:8080", "/"), Some(2));
        assert_eq!(taken(&routes, "b.example.com", "/"), Some(1));
        assert_eq!(taken(&routes, "b.c.example.com", "/"), None);
        assert_eq!(taken(&routes, "example.com", "/"), None);
    }

    #[test]
    fn what_no_rule_matches_goes_to_the_default_backend() {
        let routes = routes(json!({
            "defaultBackend": {"service": {"name": "three", "port": {"number": 80}}},
            "rules": [{"host": "a.com", "http": {"paths": [path("/x", "Prefix", "one")]}}]}));
        assert_eq!(taken(&routes, "a.com", "/x/1"), Some(1));
        assert_eq!(taken(&routes, "a.com", "/y"), Some(3));
        assert_eq!(taken(&routes, "b.com", "/"), Some(3));
    }

    #[test]
    fn a_route_to_a_missing_service_is_there_without_backends() {
        let routes = routes(json!({"rules": [{"http": {"paths": [path("/", "Prefix", "nobody")]}}]}));
        assert!(routes.find("any", "/").is_some_and(|backends| backends.is_empty()));
    }

    #[test]
    fn ingresses_of_another_class_are_left_alone() {
        let of = |class: &str| -> Ingress {
            serde_json::from_value(json!({"metadata": {"name": "i"}, "spec": {"ingressClassName": class}}))
                .unwrap()
        };
        assert!(is_ours(&of(CLASS)));
        assert!(!is_ours(&of("nginx")));
        assert!(is_ours(&Ingress::default()));
    }
}
