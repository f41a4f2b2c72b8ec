//! By what requests are told apart: the labels of upstream's request metrics, worked out as it does.
//!
//! Every value is out of a list: of verbs, of subresources, of the resources that are served. What a client makes up is not
//! counted here, as upstream counts only what reaches a handler.

use std::borrow::Cow;

use http::request::Parts;
use http::{Method, header};
use orchestra_core::kind::Description;
use orchestra_metrics::write::Label;

use crate::query::Query;
use crate::request::{ResourceRequest, Verb};

/// Names below an object that have a handler.
const SUBRESOURCES: &[&str] = &[
    "approval",
    "attach",
    "binding",
    "ephemeralcontainers",
    "eviction",
    "exec",
    "finalize",
    "log",
    "portforward",
    "proxy",
    "resize",
    "scale",
    "status",
    "token",
];

/// Plain paths that upstream counts, with the component that it names.
const PATHS: &[(&str, &str)] =
    &[("/api", SERVER), ("/apis", SERVER), ("/healthz", ""), ("/livez", ""), ("/readyz", "")];

const SERVER: &str = "apiserver";

/// What a request is counted as.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Route {
    pub(super) group: Cow<'static, str>,
    pub(super) version: Cow<'static, str>,
    pub(super) resource: Cow<'static, str>,
    pub(super) subresource: &'static str,
    pub(super) scope: &'static str,
    pub(super) verb: &'static str,
    pub(super) dry_run: &'static str,
    pub(super) component: &'static str,
}

impl Route {
    /// Requests beyond the limit of series.
    pub(super) fn rest() -> Self {
        Self { verb: "other", component: SERVER, ..Self::default() }
    }

    /// A request about objects of a resource that is served. `None` when nothing answers to it.
    pub(super) fn of_object(
        parts: &Parts,
        query: &Query,
        request: &ResourceRequest,
        description: &Description,
    ) -> Option<Self> {
        let route = Self::of_resource(parts, query, request)?;
        Some(Self {
            group: description.gv.group.clone(),
            version: description.gv.version.clone(),
            resource: description.plural.clone(),
            ..route
        })
    }

    /// A question that is answered and not stored; `resource` is its name.
    pub(super) fn of_review(parts: &Parts, request: &ResourceRequest, resource: String) -> Option<Self> {
        let route = Self::of_resource(parts, &Query::default(), request)?;
        let (group, version) = (request.gv.group.clone(), request.gv.version.clone());
        Some(Self { group, version, resource: resource.into(), ..route })
    }

    /// A plain path that upstream counts.
    pub(super) fn of_path(method: &Method, path: &str) -> Option<Self> {
        let path = path.trim_end_matches('/');
        let (subresource, component) = PATHS.iter().find(|(known, _)| *known == path)?;
        Some(Self { verb: verb(method, ""), subresource, component, ..Self::default() })
    }

    fn of_resource(parts: &Parts, query: &Query, request: &ResourceRequest) -> Option<Self> {
        let subresource = match request.subresource.as_deref() {
            Some(wanted) => SUBRESOURCES.iter().find(|known| **known == wanted)?,
            None => "",
        };
        let scope = scope(request);
        let verb = match verb(&parts.method, scope) {
            _ if is_connection(subresource) || subresource == "log" => "CONNECT",
            _ if request.verb == Verb::Watch => "WATCH",
            "PATCH" if is_apply(parts) => "APPLY",
            verb => verb,
        };
        let dry_run = dry_run(query);
        Some(Self { subresource, scope, verb, dry_run, component: SERVER, ..Self::default() })
    }

    /// Whether such requests stay open: they are counted while they do, and not among those under way.
    pub(super) fn is_long(&self) -> bool {
        matches!(self.verb, "WATCH" | "CONNECT")
    }

    /// Whether such requests only read.
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self.verb, "GET" | "LIST" | "WATCH")
    }

    /// Whether the size of the answer is counted: of what is read from a resource.
    pub(super) fn is_sized(&self) -> bool {
        self.is_read_only() || self.subresource == "log"
    }

    /// All labels but `dry_run` and `component`, as most metrics have them.
    pub(super) fn labels(&self) -> [Label<'_>; 7] {
        [
            ("component", self.component),
            ("group", &self.group),
            ("resource", &self.resource),
            ("scope", self.scope),
            ("subresource", self.subresource),
            ("verb", self.verb),
            ("version", &self.version),
        ]
    }

    /// All labels.
    pub(super) fn labels_with_dry_run(&self) -> [Label<'_>; 8] {
        let [component, group, resource, scope, subresource, verb, version] = self.labels();
        [component, ("dry_run", self.dry_run), group, resource, scope, subresource, verb, version]
    }
}

fn scope(request: &ResourceRequest) -> &'static str {
    if request.name.is_some() || request.verb == Verb::Create {
        "resource"
    } else if request.namespace.is_some() {
        "namespace"
    } else {
        "cluster"
    }
}

fn verb(method: &Method, scope: &str) -> &'static str {
    match *method {
        Method::GET | Method::HEAD if matches!(scope, "" | "resource") => "GET",
        Method::GET | Method::HEAD => "LIST",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn is_connection(subresource: &str) -> bool {
    matches!(subresource, "attach" | "exec" | "portforward" | "proxy")
}

fn is_apply(parts: &Parts) -> bool {
    parts.headers.get(header::CONTENT_TYPE).is_some_and(|media| media == "application/apply-patch+yaml")
}

fn dry_run(query: &Query) -> &'static str {
    let mut wishes =
        query.pairs().iter().filter(|(key, _)| key == "dryRun").map(|(_, value)| value).peekable();
    if wishes.peek().is_none() {
        ""
    } else if wishes.all(|value| value == "All") {
        "All"
    } else {
        "invalid"
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use orchestra_core::kinds::Registry;

    use super::*;
    use crate::request::RequestInfo;

    fn route(method: &str, path: &str, media: &str) -> Option<Route> {
        let request = Request::builder().method(method).uri(path).header("content-type", media);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let Some(RequestInfo::Resource(request)) =
            RequestInfo::parse(&parts.method, parts.uri.path(), &query)
        else {
            return Route::of_path(&parts.method, parts.uri.path());
        };
        let registry = Registry::builtin();
        let kind = registry.iter().find(|kind| {
            let description = kind.description();
            description.gv == request.gv && description.plural == request.resource
        })?;
        Route::of_object(&parts, &query, &request, kind.description())
    }

    #[test]
    fn verbs_and_scopes_are_those_of_upstream() {
        let pods = "/api/v1/namespaces/default/pods";
        for (method, path, media, expected) in [
            ("GET", format!("{pods}/web"), "", "GET pods / resource/"),
            ("HEAD", format!("{pods}/web"), "", "GET pods / resource/"),
            ("GET", pods.to_owned(), "", "LIST pods / namespace/"),
            ("GET", "/api/v1/pods".to_owned(), "", "LIST pods / cluster/"),
            ("GET", "/api/v1/pods?watch=true".to_owned(), "", "WATCH pods / cluster/"),
            ("GET", "/api/v1/watch/pods".to_owned(), "", "WATCH pods / cluster/"),
            ("POST", format!("{pods}?dryRun=All"), "", "POST pods / resource/All"),
            ("POST", format!("{pods}?dryRun=All&dryRun=some"), "", "POST pods / resource/invalid"),
            ("PUT", format!("{pods}/web/status"), "", "PUT pods /status resource/"),
            ("PATCH", format!("{pods}/web"), "application/json-patch+json", "PATCH pods / resource/"),
            ("PATCH", format!("{pods}/web"), "application/apply-patch+yaml", "APPLY pods / resource/"),
            ("DELETE", pods.to_owned(), "", "DELETE pods / namespace/"),
            ("GET", format!("{pods}/web/log"), "", "CONNECT pods /log resource/"),
            ("POST", format!("{pods}/web/exec"), "", "CONNECT pods /exec resource/"),
            ("GET", "/readyz".to_owned(), "", "GET  //readyz /"),
            ("GET", "/apis".to_owned(), "", "GET  //apis /"),
        ] {
            let route = route(method, &path, media).unwrap_or_else(|| panic!("{method} {path} counts"));
            let Route { verb, resource, subresource, scope, dry_run, .. } = &route;
            assert_eq!(format!("{verb} {resource} /{subresource} {scope}/{dry_run}"), expected, "{path}");
        }
    }

    #[test]
    fn what_a_client_makes_up_is_no_label() {
        for (method, path) in [
            ("GET", "/api/v1/namespaces/default/inventions"),
            ("GET", "/api/v1/namespaces/default/pods/web/invention"),
            ("GET", "/apis/made.up/v1/things"),
            ("GET", "/healthz/anything"),
            ("GET", "/what/ever"),
        ] {
            assert_eq!(route(method, path, ""), None, "{path}");
        }
        assert_eq!(route("BREW", "/readyz", "").map(|route| route.verb), Some("other"));
    }
}
