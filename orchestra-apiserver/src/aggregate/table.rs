//! Which group and version is served by whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use orchestra_core::openapi::Part;
use serde_json::Value;

use crate::request::RequestInfo;

/// The groups and versions that other servers serve.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(pub(super) BTreeMap<(String, String), Remote>);

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(super) spec: RemoteSpec,
    pub(super) is_available: bool,
    /// What it serves, as its own discovery said last.
    pub(super) resources: Option<Value>,
    /// Where its OpenAPI document is, relative to it, as its own index said last.
    pub(super) openapi: Option<String>,
    /// What its document of OpenAPI 2.0 said last.
    pub(super) swagger: Option<Swagger>,
}

/// What of a server's document of OpenAPI 2.0 is about its group and version.
#[derive(Clone, Debug)]
pub(super) struct Swagger {
    /// What tells it from the document of another moment.
    pub(super) tag: Option<HeaderValue>,
    pub(super) part: Arc<Part>,
}

/// How it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RemoteSpec {
    /// The name of the object.
    pub(super) name: String,
    pub(super) group: String,
    pub(super) version: String,
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) port: u16,
    /// Who vouches for its certificate, PEM.
    pub(super) authority: Vec<u8>,
    pub(super) is_trusted_blindly: bool,
}

impl RemoteSpec {
    /// Reads an `APIService`; nothing when this server serves it itself.
    pub(super) fn of(object: &Value) -> Option<Self> {
        let text = |at: &str| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        object.pointer("/spec/service")?.as_object()?;
        let port = object.pointer("/spec/service/port").and_then(Value::as_u64).unwrap_or(443);
        Some(Self {
            name: text("/metadata/name"),
            group: text("/spec/group"),
            version: text("/spec/version"),
            namespace: text("/spec/service/namespace"),
            service: text("/spec/service/name"),
            port: u16::try_from(port).unwrap_or_default(),
            authority: STANDARD.decode(text("/spec/caBundle")).unwrap_or_default(),
            is_trusted_blindly: object
                .pointer("/spec/insecureSkipTLSVerify")
                .and_then(Value::as_bool)
                .unwrap_or_default(),
        })
    }

    /// The path below which it serves.
    pub(super) fn path(&self) -> String {
        format!("/apis/{}/{}", self.group, self.version)
    }

    /// The name that its certificate is to have.
    pub(super) fn host(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }
}

impl Table {
    /// Who serves what a request is about, when it is not this server.
    pub(crate) fn find(&self, info: &RequestInfo) -> Option<&Remote> {
        if self.0.is_empty() {
            return None;
        }
        let key = match info {
            RequestInfo::Resource(request) => {
                (request.gv.group.clone().into_owned(), request.gv.version.clone().into_owned())
            }
            RequestInfo::NonResource(path) => match path.as_slice() {
                [apis, group, version, ..] if apis == "apis" => (group.clone(), version.clone()),
                [openapi, v3, apis, group, version]
                    if openapi == "openapi" && v3 == "v3" && apis == "apis" =>
                {
                    (group.clone(), version.clone())
                }
                _ => return None,
            },
        };
        self.0.get(&key)
    }
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::json;

    use super::*;
    use crate::query::Query;

    #[test]
    fn a_request_goes_where_its_group_and_version_are_served() {
        let object = json!({
            "metadata": {"name": "v1.g.test"},
            "spec": {"group": "g.test", "version": "v1", "service": {"namespace": "n", "name": "s"}},
        });
        let spec = RemoteSpec::of(&object).unwrap();
        assert_eq!(
            (spec.path().as_str(), spec.host().as_str(), spec.port),
            ("/apis/g.test/v1", "s.n.svc", 443)
        );
        assert_eq!(RemoteSpec::of(&json!({"spec": {"group": "apps"}})), None);
        let key = (spec.group.clone(), spec.version.clone());
        let remote = Remote { spec, is_available: true, resources: None, openapi: None, swagger: None };
        let table = Table([(key, remote)].into());
        for (path, found) in [
            ("/apis/g.test/v1", true),
            ("/apis/g.test/v1/namespaces/a/things/b/log", true),
            ("/openapi/v3/apis/g.test/v1", true),
            ("/apis/g.test", false),
            ("/apis/g.test/v2/things", false),
            ("/apis/apps/v1/deployments", false),
            ("/api/v1/pods", false),
        ] {
            let info = RequestInfo::parse(&Method::GET, path, &Query::default()).unwrap();
            assert_eq!(table.find(&info).is_some(), found, "{path}");
        }
    }
}
