//! Which requests somebody wants to be asked about: rules, and selectors of namespaces and objects.

use std::sync::Arc;

use orchestra_core::gvk::GroupVersion;
use orchestra_core::selector::LabelSelector;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{AdmissionRequest, Operation};
use crate::status::{GroupResource, StatusError};
use crate::storage::meta;

const CORE: GroupVersion = GroupVersion::new("", "v1");

/// `RuleWithOperations`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Rule {
    operations: Vec<String>,
    api_groups: Vec<String>,
    api_versions: Vec<String>,
    resources: Vec<String>,
    scope: Option<String>,
}

/// A resource that a request is about, or one that is the same in another version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) gv: GroupVersion,
    pub(crate) resource: String,
}

impl Target {
    /// The resource that a request names.
    pub(crate) fn own(request: &AdmissionRequest<'_>) -> Self {
        Self { gv: request.request.gv.clone(), resource: request.request.resource.clone() }
    }
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl Rule {
    /// Whether the rule is about a request, taken as one about `target`.
    pub(crate) fn matches(&self, request: &AdmissionRequest<'_>, target: &Target) -> bool {
        has(&self.operations, request.operation.as_str())
            && has(&self.api_groups, &target.gv.group)
            && has(&self.api_versions, &target.gv.version)
            && self.has_resource(&target.resource, request.request.subresource.as_deref().unwrap_or_default())
            && match self.scope.as_deref() {
                Some("Cluster") => request.namespace.is_empty(),
                Some("Namespaced") => !request.namespace.is_empty(),
                _ => true,
            }
    }

    fn has_resource(&self, resource: &str, below: &str) -> bool {
        self.resources.iter().any(|item| {
            let (of, sub) = item.split_once('/').unwrap_or((item, ""));
            (of == "*" || of == resource) && (sub == "*" || sub == below)
        })
    }
}

/// `namespaceSelector` and `objectSelector`.
#[derive(Clone, Debug)]
pub(crate) struct Selectors {
    namespace: Option<Arc<LabelSelector>>,
    object: Option<Arc<LabelSelector>>,
    /// What cannot be read selects nothing that could be let through.
    broken: Option<String>,
}

impl Selectors {
    /// Reads both from whatever holds them.
    pub(crate) fn read(holder: &Value) -> Self {
        let mut broken = None;
        let mut selector = |field: &str| {
            let value = holder.get(field).filter(|value| !value.is_null())?;
            match LabelSelector::from_json(value) {
                Ok(selector) if selector.is_everything() => None,
                Ok(selector) => Some(Arc::new(selector)),
                Err(error) => {
                    broken = Some(error.to_string());
                    None
                }
            }
        };
        let (namespace, object) = (selector("namespaceSelector"), selector("objectSelector"));
        Self { namespace, object, broken }
    }

    /// Whether both select a request; `object` is `None` when something is removed.
    pub(crate) async fn matches(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
    ) -> Result<bool, StatusError> {
        if let Some(error) = &self.broken {
            return Err(StatusError::internal(error));
        }
        if let Some(selector) = &self.object {
            let selects = |object: Option<&Value>| object.is_some_and(|o| selector.matches(&labels(o)));
            if !selects(object) && !selects(request.old) {
                return Ok(false);
            }
        }
        let Some(selector) = &self.namespace else { return Ok(true) };
        if request.request.gv.group.is_empty() && request.request.resource == "namespaces" {
            // Of one that is made or changed, the labels that it will have.
            let will_have = request.is("", "namespaces") && request.operation != Operation::Delete;
            let of = object.filter(|_| will_have).or(request.old);
            return Ok(of.is_some_and(|namespace| selector.matches(&labels(namespace))));
        }
        if request.namespace.is_empty() {
            return Ok(true);
        }
        let found = request.reader.get(&CORE, "namespaces", "", request.namespace).await?;
        let namespaces = GroupResource::new("", "namespaces");
        let namespace = found.ok_or_else(|| StatusError::not_found(&namespaces, request.namespace))?;
        Ok(selector.matches(&labels(&namespace)))
    }
}

fn labels(object: &Value) -> Option<&Map<String, Value>> {
    meta::metadata(object)?.get("labels")?.as_object()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stars_stand_for_all_resources_or_all_subresources() {
        let matches = |item: &str, resource: &str, below: &str| {
            let rule: Rule = serde_json::from_value(json!({"resources": [item]})).unwrap();
            rule.has_resource(resource, below)
        };
        assert!(matches("pods", "pods", "") && !matches("pods", "pods", "exec"));
        assert!(matches("pods/*", "pods", "exec") && matches("pods/*", "pods", ""));
        assert!(matches("*", "pods", "") && !matches("*", "pods", "status"));
        assert!(matches("*/*", "pods", "status") && matches("*/scale", "deployments", "scale"));
        assert!(!matches("*/scale", "deployments", ""));
    }
}
