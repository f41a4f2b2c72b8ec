//! What a request asks for: verb, resource, namespace, name, subresource.
//!
//! The shape of paths is the one of `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`.

use std::borrow::Cow;

use http::Method;
use orchestra_core::gvk::GroupVersion;

use crate::query::{Query, percent_decode};

/// What is done to a resource; the words authorizers and discovery use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Read one object.
    Get,
    /// Read a collection.
    List,
    /// Follow a collection or one object.
    Watch,
    /// Make an object.
    Create,
    /// Replace an object.
    Update,
    /// Change parts of an object.
    Patch,
    /// Remove one object.
    Delete,
    /// Remove what a selector matches.
    DeleteCollection,
    /// A method that means nothing by itself, such as OPTIONS: proxies pass it on. Authorizers know it by the empty word.
    Other,
}

impl Verb {
    const ALL: [Self; 8] = [
        Self::Get,
        Self::List,
        Self::Watch,
        Self::Create,
        Self::Update,
        Self::Patch,
        Self::Delete,
        Self::DeleteCollection,
    ];

    /// The verb of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == word)
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Other => "",
        }
    }
}

/// A request about objects of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceRequest {
    /// What is done.
    pub verb: Verb,
    /// Group and version of the path.
    pub gv: GroupVersion,
    /// The plural.
    pub resource: String,
    /// The namespace of the path, if any.
    pub namespace: Option<String>,
    /// The object's name, if the path names one.
    pub name: Option<String>,
    /// `status`, `log` and the like.
    pub subresource: Option<String>,
    /// What follows the subresource, for proxies.
    pub tail: String,
}

/// What a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestInfo {
    /// Objects.
    Resource(ResourceRequest),
    /// Everything else: discovery, health, version; the segments of the path.
    NonResource(Vec<String>),
}

impl RequestInfo {
    /// Reads method, path and query. `None` when the path is not valid percent-encoded UTF-8.
    pub fn parse(method: &Method, path: &str, query: &Query) -> Option<Self> {
        let mut segments = Vec::new();
        for segment in path.split('/').filter(|s| !s.is_empty()) {
            segments.push(percent_decode(segment)?);
        }
        let rest = match segments.first().map(String::as_str) {
            Some("api") if segments.len() >= 3 => 2,
            Some("apis") if segments.len() >= 4 => 3,
            _ => return Some(Self::NonResource(segments)),
        };
        let gv = if rest == 2 {
            GroupVersion { group: Cow::Borrowed(""), version: Cow::Owned(segments[1].clone()) }
        } else {
            GroupVersion { group: Cow::Owned(segments[1].clone()), version: Cow::Owned(segments[2].clone()) }
        };
        let mut parts = &segments[rest..];
        // The deprecated form /api/v1/watch/pods.
        let watch_path = parts.len() > 1 && parts[0] == "watch";
        if watch_path {
            parts = &parts[1..];
        }
        let mut namespace = None;
        if parts[0] == "namespaces" && parts.len() > 1 {
            namespace = Some(parts[1].clone());
            let of_namespace_itself = parts.len() == 3 && matches!(parts[2].as_str(), "status" | "finalize");
            if parts.len() > 2 && !of_namespace_itself {
                parts = &parts[2..];
            }
        }
        let name = parts.get(1).cloned();
        let watch = watch_path || query.flag("watch");
        let verb = match *method {
            Method::GET | Method::HEAD if parts.len() < 3 && watch => Verb::Watch,
            Method::GET | Method::HEAD if name.is_none() => Verb::List,
            Method::GET | Method::HEAD => Verb::Get,
            Method::POST => Verb::Create,
            Method::PUT => Verb::Update,
            Method::PATCH => Verb::Patch,
            Method::DELETE if name.is_none() => Verb::DeleteCollection,
            Method::DELETE => Verb::Delete,
            _ => Verb::Other,
        };
        Some(Self::Resource(ResourceRequest {
            verb,
            gv,
            resource: parts[0].clone(),
            namespace,
            name,
            subresource: parts.get(2).cloned(),
            tail: parts.get(3..).unwrap_or_default().join("/"),
        }))
    }
}

impl ResourceRequest {
    /// What is wrong with the names in the path, if anything is: none of them may be read as a path of its own.
    pub(crate) fn bad_name(&self) -> Option<String> {
        let said = |what: &str, text: &str| {
            let why = match text {
                "." | ".." => format!("may not be '{text}'"),
                text if text.contains('/') => "may not contain '/'".to_owned(),
                text if text.contains('%') => "may not contain '%'".to_owned(),
                _ => return None,
            };
            Some(format!("{what} parameter invalid: {text:?}: {why}"))
        };
        let namespace = self.namespace.as_deref().and_then(|text| said("Namespace", text));
        namespace.or_else(|| self.name.as_deref().and_then(|text| said("Name", text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, path: &str) -> ResourceRequest {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        match RequestInfo::parse(&method, path, &Query::parse(query)).unwrap() {
            RequestInfo::Resource(request) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_namespaced_object_is_found_in_its_path() {
        let request = parse(Method::GET, "/apis/apps/v1/namespaces/ns/deployments/web/scale");
        assert_eq!(request.gv.to_string(), "apps/v1");
        assert_eq!(request.namespace.as_deref(), Some("ns"));
        assert_eq!(request.resource, "deployments");
        assert_eq!(request.name.as_deref(), Some("web"));
        assert_eq!(request.subresource.as_deref(), Some("scale"));
        assert_eq!(request.verb, Verb::Get);
    }

    #[test]
    fn a_namespace_is_a_resource_of_its_own() {
        let request = parse(Method::PUT, "/api/v1/namespaces/ns/finalize");
        assert_eq!((request.resource.as_str(), request.name.as_deref()), ("namespaces", Some("ns")));
        assert_eq!(request.subresource.as_deref(), Some("finalize"));
        let request = parse(Method::GET, "/api/v1/namespaces/status/pods");
        assert_eq!(request.resource, "pods");
        assert_eq!(parse(Method::GET, "/api/v1/namespaces").verb, Verb::List);
        assert_eq!(parse(Method::GET, "/api/v1/namespaces/ns/pods?watch=1").verb, Verb::Watch);
        assert_eq!(parse(Method::DELETE, "/api/v1/namespaces/ns/pods").verb, Verb::DeleteCollection);
    }

    #[test]
    fn what_is_no_object_is_a_plain_path() {
        for path in ["/", "/api", "/api/v1", "/apis", "/apis/apps/v1", "/healthz", "/openapi/v3"] {
            let info = RequestInfo::parse(&Method::GET, path, &Query::default()).unwrap();
            assert!(matches!(info, RequestInfo::NonResource(_)), "{path}");
        }
        assert_eq!(RequestInfo::parse(&Method::GET, "/api/v1/%ff", &Query::default()), None);
    }
}
