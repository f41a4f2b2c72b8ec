//! The parameters a binding gives a policy: one object, several that a selector picks, or none.

use std::sync::Arc;

use orchestra_core::gvk::GroupVersion;
use orchestra_core::kind::Scope;
use orchestra_core::selector::LabelSelector;
use serde_json::Value;

use crate::admission::AdmissionRequest;
use crate::catalog::Catalog;
use crate::storage::meta;
use crate::storage::resource::Resource;

/// What expressions are asked with, once for each; `None` stands for no parameters. An error is one of the configuration.
pub(super) async fn collect(
    catalog: &Catalog,
    request: &AdmissionRequest<'_>,
    kind: Option<&Value>,
    reference: Option<&Value>,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(kind), Some(reference)) = (kind, reference) else { return Ok(vec![None]) };
    let text =
        |value: &Value, field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (version, name) = (text(kind, "apiVersion"), text(kind, "kind"));
    let shown = format!("paramKind kind `&ParamKind{{APIVersion:{version},Kind:{name},}}` not known");
    let resource = find(catalog, &version, &name).ok_or(shown)?;
    let given = text(reference, "namespace");
    let namespace = match (resource.description().scope, given.as_str()) {
        (Scope::Namespaced, "") if request.namespace.is_empty() => {
            let why =
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
            return Err(why.to_owned());
        }
        (Scope::Namespaced, "") => request.namespace.to_owned(),
        (_, "") => String::new(),
        (Scope::Namespaced, _) => given,
        _ => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned());
        }
    };
    let gv = &resource.description().gv;
    let plural = &resource.gr.resource;
    let wanted = text(reference, "name");
    let found: Vec<Value> = if wanted.is_empty() {
        let selector = LabelSelector::from_json(reference.get("selector").unwrap_or(&Value::Null));
        let selector = selector.map_err(|error| error.to_string())?;
        let within = (resource.description().scope == Scope::Namespaced).then_some(namespace.as_str());
        let all = request.reader.list(gv, plural, within).await.map_err(|error| error.to_string())?;
        let labels = |object: &Value| {
            meta::metadata(object).and_then(|metadata| metadata.get("labels")?.as_object()).cloned()
        };
        all.into_iter().filter(|object| selector.matches(&labels(object).as_ref())).collect()
    } else {
        let one = request.reader.get(gv, plural, &namespace, &wanted).await;
        one.map_err(|error| error.to_string())?.into_iter().collect()
    };
    if found.is_empty() && text(reference, "parameterNotFoundAction") == "Deny" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".to_owned());
    }
    Ok(found.into_iter().map(Some).collect())
}

fn find(catalog: &Catalog, version: &str, kind: &str) -> Option<Arc<Resource>> {
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let gv = GroupVersion { group: group.to_owned().into(), version: version.to_owned().into() };
    catalog.iter().find(|resource| {
        let description = resource.description();
        description.gv == gv && description.kind == kind
    })
}
