//! What is served: `/api`, `/apis` and below, in the old form and the aggregated one.
//!
//! All documents are made together, when a client first asks for one after something served has changed; most programs
//! that embed a server never do.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use orchestra_core::kind::{Scope, Subresource};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::aggregate::RemoteVersion;
use crate::body::{self, Body};
use crate::catalog::Catalog;
use crate::negotiate::accept::{self, MEDIA_TYPES};
use crate::reviews::Review;
use crate::status::StatusError;
use crate::storage::resource::Resource;

const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const AGGREGATED: [(&str, &str); 2] = [
    ("v2", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
    ("v2beta1", "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"),
];

#[derive(Debug)]
struct Document {
    bytes: Bytes,
    etag: HeaderValue,
}

impl Document {
    fn new(value: &Value) -> Self {
        let bytes = Bytes::from(value.to_string());
        let hash: String = Sha512::digest(&bytes).iter().map(|byte| format!("{byte:02X}")).collect();
        // Hexadecimal digits in quotes are always a valid header.
        let etag = HeaderValue::from_str(&format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static("\"\""));
        Self { bytes, etag }
    }
}

/// All documents, by path and form.
#[derive(Debug)]
pub(crate) struct Discovery {
    legacy: HashMap<String, Bytes>,
    core: [Document; 2],
    groups: [Document; 2],
}

/// A subresource as discovery shows it.
pub(crate) struct Below {
    pub(crate) name: &'static str,
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: String,
    pub(crate) verbs: &'static [&'static str],
}

pub(crate) fn below(resource: &Resource) -> Vec<Below> {
    let own =
        |name, verbs| Below { name, group: "", version: "", kind: resource.kind_name().to_owned(), verbs };
    let mut out = Vec::new();
    for subresource in &resource.description().subresources {
        out.push(match subresource {
            Subresource::Status => own("status", &["get", "patch", "update"][..]),
            Subresource::Part(part) => own(part.name(), &["get", "patch", "update"]),
            Subresource::Scale(_) => Below {
                name: "scale",
                group: "autoscaling",
                version: "v1",
                kind: "Scale".into(),
                verbs: &["get", "patch", "update"],
            },
        });
    }
    if resource.is("", "pods") {
        out.push(Below {
            name: "binding",
            group: "",
            version: "v1",
            kind: "Binding".into(),
            verbs: &["create"],
        });
        out.push(Below {
            name: "eviction",
            group: "policy",
            version: "v1",
            kind: "Eviction".into(),
            verbs: &["create"],
        });
        out.push(own("log", &["get"]));
        for (name, kind) in [
            ("attach", "PodAttachOptions"),
            ("exec", "PodExecOptions"),
            ("portforward", "PodPortForwardOptions"),
        ] {
            out.push(Below { kind: kind.into(), ..own(name, &["create", "get"]) });
        }
    }
    for (plural, kind) in
        [("pods", "PodProxyOptions"), ("services", "ServiceProxyOptions"), ("nodes", "NodeProxyOptions")]
    {
        if resource.is("", plural) {
            let verbs = &["create", "delete", "get", "patch", "update"];
            out.push(Below { kind: kind.into(), ..own("proxy", verbs) });
        }
    }
    if resource.is("", "serviceaccounts") {
        out.push(Below {
            name: "token",
            group: "authentication.k8s.io",
            version: "v1",
            kind: "TokenRequest".into(),
            verbs: &["create"],
        });
    }
    if resource.is("", "namespaces") {
        out.push(own("finalize", &["update"]));
    }
    out.sort_by_key(|b| b.name);
    out
}

pub(crate) fn verbs(resource: &Resource) -> Vec<&'static str> {
    if let Some(only) = resource.description().only {
        return only.to_vec();
    }
    let no_collection = resource.is("", "namespaces");
    let verbs = VERBS.iter().copied();
    verbs.filter(|verb| !(no_collection && *verb == "deletecollection")).collect()
}

impl Discovery {
    pub(crate) fn new(catalog: &Catalog, remote: &[RemoteVersion]) -> Self {
        let mut versions: Vec<(String, String, Vec<Arc<Resource>>)> = Vec::new();
        for resource in catalog.iter() {
            let gv = resource.description().gv.clone();
            match versions.iter_mut().find(|(g, v, _)| *g == gv.group && *v == gv.version) {
                Some((_, _, list)) => list.push(resource),
                None => {
                    let (group, version) = (gv.group.to_string(), gv.version.to_string());
                    versions.push((group, version, vec![resource]));
                }
            }
        }
        for review in Review::ALL {
            if !versions.iter().any(|(group, _, _)| group == review.group()) {
                versions.push((review.group().to_owned(), "v1".to_owned(), Vec::new()));
            }
        }
        // A version that another server serves is its own, whatever is defined here.
        versions.retain(|(group, version, _)| {
            !remote.iter().any(|other| other.group == *group && other.version == *version)
        });
        for (_, _, list) in &mut versions {
            list.sort_by(|a, b| a.gr.resource.cmp(&b.gr.resource));
        }
        let mut legacy = HashMap::new();
        let mut groups: Vec<(String, Vec<String>)> = Vec::new();
        for (group, version, list) in &versions {
            let path =
                if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            legacy.insert(path, document(&resource_list(group, version, list)));
            match groups.iter_mut().find(|(g, _)| g == group) {
                Some((_, versions)) => versions.push(version.clone()),
                None => groups.push((group.clone(), vec![version.clone()])),
            }
        }
        for other in remote {
            match groups.iter_mut().find(|(g, _)| *g == other.group) {
                Some((_, versions)) => versions.push(other.version.clone()),
                None => groups.push((other.group.clone(), vec![other.version.clone()])),
            }
        }
        let named: Vec<Value> =
            groups.iter().filter(|(g, _)| !g.is_empty()).map(|(g, v)| api_group(g, v)).collect();
        for (group, list) in groups.iter().filter(|(g, _)| !g.is_empty()) {
            let mut own = api_group(group, list);
            own["kind"] = "APIGroup".into();
            own["apiVersion"] = "v1".into();
            legacy.insert(format!("apis/{group}"), document(&own));
        }
        legacy.insert(
            "apis".into(),
            document(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": named})),
        );
        legacy.insert(
            "api".into(),
            document(&json!({
                "kind": "APIVersions", "versions": ["v1"],
                "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}],
            })),
        );
        let aggregate = |core: bool| {
            AGGREGATED.map(|(form, _)| {
                let of_form = groups.iter().filter(|(g, _)| g.is_empty() == core);
                let items: Vec<Value> =
                    of_form.map(|(group, _)| aggregated_group(group, &versions, remote)).collect();
                Document::new(&json!({
                    "kind": "APIGroupDiscoveryList",
                    "apiVersion": format!("apidiscovery.k8s.io/{form}"),
                    "metadata": {},
                    "items": items,
                }))
            })
        };
        Self { legacy, core: aggregate(true), groups: aggregate(false) }
    }

    /// The document at a path, if there is one.
    pub(crate) fn serve(
        &self,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Result<Response<Body>, StatusError>> {
        let aggregated = match path {
            "api" => Some(&self.core),
            "apis" => Some(&self.groups),
            _ => None,
        };
        let plain = self.legacy.get(path)?;
        let ranges = accept::ranges(headers);
        for range in &ranges {
            match (range.media, range.param("as"), aggregated) {
                (media, None, _) if media == "*/*" || MEDIA_TYPES.contains(&media) => {
                    return Some(Ok(vary(body::object(StatusCode::OK, plain.clone()))));
                }
                ("application/json", Some("APIGroupDiscoveryList"), Some(documents))
                    if range.param("g") == Some("apidiscovery.k8s.io") =>
                {
                    let known = AGGREGATED.iter().position(|(form, _)| range.param("v") == Some(form));
                    let found = known.and_then(|at| Some((documents.get(at)?, AGGREGATED.get(at)?.1)));
                    if let Some((document, media)) = found {
                        return Some(Ok(conditional(document, media, headers)));
                    }
                }
                _ => {}
            }
        }
        if ranges.is_empty() {
            return Some(Ok(vary(body::object(StatusCode::OK, plain.clone()))));
        }
        Some(Err(StatusError::not_acceptable(MEDIA_TYPES)))
    }
}

fn conditional(document: &Document, media: &'static str, headers: &HeaderMap) -> Response<Body> {
    let unchanged = headers.get(header::IF_NONE_MATCH).is_some_and(|tag| *tag == document.etag);
    let (code, bytes) = if unchanged {
        (StatusCode::NOT_MODIFIED, Bytes::new())
    } else {
        (StatusCode::OK, document.bytes.clone())
    };
    let mut response = vary(body::typed(code, media, bytes));
    response.headers_mut().insert(header::ETAG, document.etag.clone());
    response
}

fn vary(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn document(value: &Value) -> Bytes {
    value.to_string().into()
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn api_group(group: &str, versions: &[String]) -> Value {
    let entry = |version: &String| json!({"groupVersion": group_version(group, version), "version": version});
    let entries: Vec<Value> = versions.iter().map(entry).collect();
    json!({"name": group, "versions": entries, "preferredVersion": entries.first()})
}

fn resource_list(group: &str, version: &str, list: &[Arc<Resource>]) -> Value {
    let mut resources = Vec::new();
    for resource in list {
        let d = resource.description();
        let namespaced = d.scope == Scope::Namespaced;
        let mut entry = json!({
            "name": d.plural, "singularName": d.singular, "namespaced": namespaced, "kind": d.kind,
            "verbs": verbs(resource),
        });
        if !d.short_names.is_empty() {
            entry["shortNames"] = d.short_names.iter().map(AsRef::as_ref).collect::<Vec<&str>>().into();
        }
        if !d.categories.is_empty() {
            entry["categories"] = d.categories.iter().map(AsRef::as_ref).collect::<Vec<&str>>().into();
        }
        resources.push(entry);
        for sub in below(resource) {
            let mut entry = json!({
                "name": format!("{}/{}", d.plural, sub.name), "singularName": "", "namespaced": namespaced,
                "kind": sub.kind, "verbs": sub.verbs,
            });
            if !sub.version.is_empty() && !sub.group.is_empty() {
                entry["group"] = sub.group.into();
                entry["version"] = sub.version.into();
            }
            resources.push(entry);
        }
    }
    for review in reviews_of(group, version) {
        resources.push(json!({
            "name": review.plural(), "singularName": review.singular(), "namespaced": review.namespaced(),
            "kind": review.kind(), "verbs": ["create"],
        }));
    }
    json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version(group, version), "resources": resources,
    })
}

fn aggregated_group(
    group: &str,
    versions: &[(String, String, Vec<Arc<Resource>>)],
    remote: &[RemoteVersion],
) -> Value {
    let of_group = versions.iter().filter(|(g, _, _)| g == group);
    let mut versions: Vec<Value> = of_group
        .map(|(_, version, list)| {
            let mut resources: Vec<Value> =
                list.iter().map(|resource| aggregated_resource(resource)).collect();
            resources.extend(reviews_of(group, version).map(aggregated_review));
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    versions.extend(remote.iter().filter(|other| other.group == group).map(|other| {
        let freshness = if other.is_fresh { "Current" } else { "Stale" };
        json!({"version": other.version, "resources": other.resources, "freshness": freshness})
    }));
    let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
    json!({"metadata": metadata, "versions": versions})
}

fn reviews_of(group: &str, version: &str) -> impl Iterator<Item = Review> {
    Review::ALL.into_iter().filter(move |review| review.group() == group && version == "v1")
}

fn aggregated_review(review: Review) -> Value {
    json!({
        "resource": review.plural(),
        "responseKind": {"group": review.group(), "version": "v1", "kind": review.kind()},
        "scope": if review.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": review.singular(), "verbs": ["create"],
    })
}

fn aggregated_resource(resource: &Resource) -> Value {
    let d = resource.description();
    let kind =
        |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let scope = if d.scope == Scope::Namespaced { "Namespaced" } else { "Cluster" };
    let subresources: Vec<Value> = below(resource)
        .into_iter()
        .map(|sub| {
            let (group, version) = if sub.version.is_empty() {
                (d.gv.group.as_ref(), d.gv.version.as_ref())
            } else {
                (sub.group, sub.version)
            };
            json!({
                "subresource": sub.name, "responseKind": kind(group, version, &sub.kind), "verbs": sub.verbs,
            })
        })
        .collect();
    let mut entry = json!({
        "resource": d.plural, "responseKind": kind(&d.gv.group, &d.gv.version, &d.kind), "scope": scope,
        "singularResource": d.singular, "verbs": verbs(resource),
    });
    if !d.short_names.is_empty() {
        entry["shortNames"] = d.short_names.iter().map(AsRef::as_ref).collect::<Vec<&str>>().into();
    }
    if !d.categories.is_empty() {
        entry["categories"] = d.categories.iter().map(AsRef::as_ref).collect::<Vec<&str>>().into();
    }
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}
