//! The document of OpenAPI 2.0: that of 3.0 about all groups and versions, in the older form.
//!
//! Custom kinds are not converted but published anew, as upstream does: kubectl of old took much that 3.0 can say
//! wrongly, so less is said of them.

use serde_json::{Value, json};

use super::document::{self, Served};
use super::downgrade::downgraded;
use super::operation::{GVK, gvk};
use super::resource::ResourcePaths;
use super::schemas;
use crate::structural::publish::{self, Dialect};

/// What `/openapi/v2` answers: one document about all `groups`. `version` is that of the server.
pub fn v2_document<'a>(groups: impl IntoIterator<Item = Served<'a>>, version: &str) -> Value {
    let groups: Vec<Served<'_>> = groups.into_iter().collect();
    let mut document = downgraded(document::whole(&groups));
    document["info"]["version"] = version.into();
    let all = groups.iter().flat_map(|(_, resources)| *resources);
    for resource in all.filter(|resource| resource.subresource.is_none()) {
        if let Some(source) = &resource.schema {
            document["definitions"][schemas::component_name(resource)] = custom(resource, source);
        }
    }
    document
}

fn custom(resource: &ResourcePaths, source: &str) -> Value {
    let source = serde_json::from_str(source).unwrap_or_default();
    let reference = |name: &str| json!({"$ref": format!("#/definitions/{name}")});
    let mut schema = publish::component(&source, Dialect::V2, reference);
    schema.insert(GVK.to_owned(), json!([gvk(&resource.gv, &resource.kind)]));
    schema.into()
}

#[cfg(test)]
pub(super) mod tests;
