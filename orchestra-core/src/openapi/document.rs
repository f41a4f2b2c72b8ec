//! Whole documents, and the index of them.

use std::hash::Hash;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::naming::{Extent, Naming};
use super::operation::{available_resources, method, operation, path_parameters};
use super::resource::{ResourcePaths, Verb};
use super::schemas::Schemas;
use crate::gvk::GroupVersion;

/// A group and version, and the resources it serves.
pub(super) type Served<'a> = (&'a GroupVersion, &'a [ResourcePaths]);

/// What `/openapi/v3` answers: where the document of each group and version is, with a hash so that clients can keep it.
pub fn v3_index<'a>(groups: impl IntoIterator<Item = Served<'a>>) -> Value {
    let paths: Map<String, Value> = groups
        .into_iter()
        .map(|(gv, resources)| {
            let path = root(gv);
            let url = format!("/openapi/v3/{path}?hash={}", document_hash(gv, resources));
            (path, json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// Changes whenever the document of `gv` does. Costs next to nothing: the document is not built.
pub fn document_hash(gv: &GroupVersion, resources: &[ResourcePaths]) -> String {
    let mut feed = Feed(Sha256::new());
    (env!("CARGO_PKG_VERSION"), cfg!(feature = "descriptions"), gv, resources).hash(&mut feed);
    feed.0.finalize().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The document of a group and version that serves `resources`.
pub fn v3_document(gv: &GroupVersion, resources: &[ResourcePaths]) -> Value {
    whole(&[(gv, resources)])
}

/// One document of several groups and versions.
pub(super) fn whole(groups: &[Served<'_>]) -> Value {
    let mut paths = Map::new();
    for (gv, resources) in groups {
        // Of groups of custom kinds upstream describes the kinds alone.
        if resources.iter().any(|resource| resource.schema.is_none() && resource.subresource.is_none()) {
            let of = Naming { gv, kind: "APIResources" };
            paths.insert(
                format!("/{}/", root(gv)),
                json!({"get": of.named(available_resources(), of.getter())}),
            );
        }
        for resource in *resources {
            let main =
                resources.iter().find(|main| main.plural == resource.plural && main.subresource.is_none());
            let of = Naming { gv, kind: &main.unwrap_or(resource).kind };
            add_paths(&mut paths, of, resource);
        }
    }
    let all = groups.iter().flat_map(|(_, resources)| *resources);
    let mut schemas = Schemas::collect(all).into_map();
    describe(groups, &mut schemas);
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": concat!("orchestra-", env!("CARGO_PKG_VERSION"))},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"BearerToken": {
                "description": "Bearer Token authentication", "type": "apiKey", "name": "authorization", "in": "header",
            }},
        },
    })
}

#[cfg(feature = "descriptions")]
fn describe(groups: &[Served<'_>], schemas: &mut Map<String, Value>) {
    super::descriptions::fill(groups.iter().map(|(gv, _)| *gv), schemas);
}

#[cfg(not(feature = "descriptions"))]
fn describe(_: &[Served<'_>], _: &mut Map<String, Value>) {}

/// `api/v1`, `apis/apps/v1`.
fn root(gv: &GroupVersion) -> String {
    if gv.group.is_empty() {
        format!("api/{}", gv.version)
    } else {
        format!("apis/{}/{}", gv.group, gv.version)
    }
}

fn add_paths(paths: &mut Map<String, Value>, of: Naming<'_>, resource: &ResourcePaths) {
    let base = root(of.gv);
    let plural = &resource.plural;
    let collection = if resource.namespaced {
        format!("/{base}/namespaces/{{namespace}}/{plural}")
    } else {
        format!("/{base}/{plural}")
    };
    if let Some(below) = &resource.subresource {
        let path = format!("{collection}/{{name}}/{below}");
        add(
            paths,
            path,
            of,
            resource,
            &[Verb::Get, Verb::Create, Verb::Update, Verb::Patch, Verb::Delete],
            Extent::One,
        );
        return;
    }
    add(
        paths,
        format!("{collection}/{{name}}"),
        of,
        resource,
        &[Verb::Get, Verb::Update, Verb::Patch, Verb::Delete],
        Extent::One,
    );
    add(
        paths,
        collection,
        of,
        resource,
        &[Verb::List, Verb::Create, Verb::DeleteCollection],
        Extent::Collection,
    );
    if resource.namespaced {
        add(paths, format!("/{base}/{plural}"), of, resource, &[Verb::List], Extent::AllNamespaces);
    }
}

fn add(
    paths: &mut Map<String, Value>,
    path: String,
    of: Naming<'_>,
    resource: &ResourcePaths,
    verbs: &[Verb],
    extent: Extent,
) {
    let mut item = Map::new();
    for verb in verbs.iter().filter(|verb| resource.verbs.contains(verb)) {
        let id = of.operation_id(resource, *verb, extent);
        item.insert(method(*verb).to_owned(), of.named(operation(resource, *verb), id));
    }
    if !item.is_empty() {
        let in_one_namespace = resource.namespaced && extent != Extent::AllNamespaces;
        let mut parameters = path_parameters(in_one_namespace, extent == Extent::One);
        parameters.extend(taken_in_common(&mut item));
        item.insert("parameters".to_owned(), parameters.into());
        paths.insert(path, item.into());
    }
}

/// Takes the parameters that all operations of a path have out of them; see `findCommonParameters` in
/// `pkg/builder/openapi.go` of kube-openapi.
fn taken_in_common(item: &mut Map<String, Value>) -> Vec<Value> {
    let all = |operation: &Value| {
        operation.get("parameters").and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let mut lists = item.values().map(all);
    let mut common = lists.next().unwrap_or_default();
    lists.for_each(|list| common.retain(|parameter| list.contains(parameter)));
    for operation in item.values_mut() {
        if let Some(Value::Array(own)) = operation.get_mut("parameters") {
            own.retain(|parameter| !common.contains(parameter));
        }
    }
    common
}

/// Feeds a digest with whatever can be hashed.
struct Feed(Sha256);

impl std::hash::Hasher for Feed {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests;
