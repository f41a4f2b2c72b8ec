//! Whole documents, and the index of them.

use std::hash::Hash;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::operation::{method, operation, path_parameters};
use super::resource::{ResourcePaths, Verb};
use super::schemas::Schemas;
use crate::gvk::GroupVersion;

/// What `/openapi/v3` answers: where the document of each group and version is, with a hash so that clients can keep it.
pub fn v3_index<'a>(groups: impl IntoIterator<Item = (&'a GroupVersion, &'a [ResourcePaths])>) -> Value {
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
    let mut paths = Map::new();
    for resource in resources {
        add_paths(&mut paths, gv, resource);
    }
    let mut schemas = Schemas::collect(resources).into_map();
    describe(gv, &mut schemas);
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": concat!("orchestra-", env!("CARGO_PKG_VERSION"))},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"BearerToken": {"type": "apiKey", "name": "authorization", "in": "header"}},
        },
    })
}

#[cfg(feature = "descriptions")]
fn describe(gv: &GroupVersion, schemas: &mut Map<String, Value>) {
    super::descriptions::fill(gv, schemas);
}

#[cfg(not(feature = "descriptions"))]
fn describe(_: &GroupVersion, _: &mut Map<String, Value>) {}

/// `api/v1`, `apis/apps/v1`.
fn root(gv: &GroupVersion) -> String {
    if gv.group.is_empty() {
        format!("api/{}", gv.version)
    } else {
        format!("apis/{}/{}", gv.group, gv.version)
    }
}

fn add_paths(paths: &mut Map<String, Value>, gv: &GroupVersion, resource: &ResourcePaths) {
    let base = root(gv);
    let plural = &resource.plural;
    let collection = if resource.namespaced {
        format!("/{base}/namespaces/{{namespace}}/{plural}")
    } else {
        format!("/{base}/{plural}")
    };
    if let Some(below) = &resource.subresource {
        let path = format!("{collection}/{{name}}/{below}");
        add(paths, path, resource, &[Verb::Get, Verb::Create, Verb::Update, Verb::Patch, Verb::Delete], true);
        return;
    }
    add(
        paths,
        format!("{collection}/{{name}}"),
        resource,
        &[Verb::Get, Verb::Update, Verb::Patch, Verb::Delete],
        true,
    );
    add(paths, collection, resource, &[Verb::List, Verb::Create, Verb::DeleteCollection], false);
    if resource.namespaced {
        let everywhere = ResourcePaths { namespaced: false, ..resource.clone() };
        add(paths, format!("/{base}/{plural}"), &everywhere, &[Verb::List], false);
    }
}

fn add(paths: &mut Map<String, Value>, path: String, resource: &ResourcePaths, verbs: &[Verb], named: bool) {
    let mut item = Map::new();
    for verb in verbs.iter().filter(|verb| resource.verbs.contains(verb)) {
        let id = operation_id(method(*verb), &path);
        item.insert(method(*verb).to_owned(), operation(resource, *verb, &id));
    }
    if !item.is_empty() {
        item.insert("parameters".to_owned(), path_parameters(resource.namespaced, named));
        paths.insert(path, item.into());
    }
}

/// Unique within the document; upstream's have another form.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(['/', '.', '{', '}']).filter(|word| !word.is_empty());
    words.fold(method.to_owned(), |id, word| id + "_" + word)
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
