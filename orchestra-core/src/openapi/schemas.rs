//! `components.schemas`: the types a document needs, and all they lead to.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::field;
use super::operation::is_connection;
use super::resource::ResourcePaths;
use crate::gvk::GroupVersion;
use crate::schema::{self, Item, ObjectType};
use crate::structural::publish::{self, Dialect};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Collects schemas by name, each with everything it refers to.
#[derive(Default)]
pub(super) struct Schemas {
    found: BTreeMap<String, Value>,
}

impl Schemas {
    /// The schemas that the paths of `resources` refer to, and those of the kinds every group has.
    pub(super) fn collect<'a>(resources: impl IntoIterator<Item = &'a ResourcePaths>) -> Self {
        let mut schemas = Self::default();
        for kind in ["DeleteOptions", "Status", "WatchEvent", "APIResourceList"] {
            schemas.add_named(&format!("{META}.{kind}"));
        }
        schemas.found.insert(format!("{META}.Patch"), json!({"type": "object"}));
        for resource in resources.into_iter().filter(|resource| !is_connection(resource)) {
            if let Some(source) = &resource.schema {
                schemas.add_custom(resource, source);
                continue;
            }
            let Some(ty) = schema::of_kind(&resource.gv, &resource.kind) else {
                schemas.found.insert(component_name(resource), free_form(resource));
                continue;
            };
            schemas.add(ty);
            schemas.add_named(&format!("{}List", ty.name));
        }
        schemas
    }

    /// A custom kind and its list.
    fn add_custom(&mut self, resource: &ResourcePaths, source: &str) {
        let name = component_name(resource);
        if self.found.contains_key(&name) {
            return;
        }
        self.add_named(&format!("{META}.ObjectMeta"));
        self.add_named(&format!("{META}.ListMeta"));
        let source = serde_json::from_str(source).unwrap_or_default();
        let mut schema = publish::component(&source, Dialect::V3, field::reference);
        let gvk = |kind: &str| json!([super::operation::gvk(&resource.gv, kind)]);
        schema.insert(super::operation::GVK.to_owned(), gvk(&resource.kind));
        let list = json!({
            "type": "object", "required": ["items"], super::operation::GVK: gvk(&format!("{}List", resource.kind)),
            "properties": {
                "apiVersion": {"type": "string"}, "kind": {"type": "string"},
                "metadata": {"allOf": [field::reference(&format!("{META}.ListMeta"))]},
                "items": {"type": "array", "items": field::reference(&name)},
            },
        });
        self.found.insert(list_name(resource), list);
        self.found.insert(name, schema.into());
    }

    pub(super) fn into_map(self) -> Map<String, Value> {
        self.found.into_iter().collect()
    }

    fn add_named(&mut self, name: &str) {
        if let Some(ty) = schema::by_name(name) {
            self.add(ty);
        }
    }

    fn add(&mut self, root: &'static ObjectType) {
        let mut todo = vec![root];
        while let Some(ty) = todo.pop() {
            if self.found.contains_key(ty.name) {
                continue;
            }
            self.found.insert(ty.name.to_owned(), object(ty));
            for field in &ty.fields {
                todo.extend(field.object());
                if let Item::Scalar(scalar) = field.item
                    && let Some(name) = field::scalar_name(scalar)
                {
                    self.found.entry(name.to_owned()).or_insert_with(|| field::scalar_component(scalar));
                }
            }
        }
    }
}

/// The name of the schema of a resource's kind.
pub(super) fn component_name(resource: &ResourcePaths) -> String {
    match schema::of_kind(&resource.gv, &resource.kind) {
        Some(ty) => ty.name.to_owned(),
        None => {
            // Groups of custom resources are turned round, as upstream does.
            let group: Vec<&str> = resource.gv.group.rsplit('.').filter(|part| !part.is_empty()).collect();
            let parts = group.into_iter().chain([&*resource.gv.version, &*resource.kind]);
            parts.collect::<Vec<_>>().join(".")
        }
    }
}

/// The name of the schema of lists of a resource's kind.
pub(super) fn list_name(resource: &ResourcePaths) -> String {
    component_name(resource) + "List"
}

fn object(ty: &'static ObjectType) -> Value {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), "object".into());
    let properties: Map<String, Value> =
        ty.fields.iter().map(|field| (field.name.to_owned(), field::schema(field))).collect();
    if !properties.is_empty() {
        schema.insert("properties".to_owned(), properties.into());
    }
    let required: Vec<&str> =
        ty.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    if !required.is_empty() {
        schema.insert("required".to_owned(), required.into());
    }
    if ty.is_atomic {
        schema.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    if let Some(gv) = ty.group_version() {
        schema.insert(super::operation::GVK.to_owned(), json!([super::operation::gvk(&gv, ty.short_name())]));
    }
    Value::Object(schema)
}

/// A kind of which nothing but its name is known here.
fn free_form(resource: &ResourcePaths) -> Value {
    let gv: &GroupVersion = &resource.gv;
    json!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        super::operation::GVK: [super::operation::gvk(gv, &resource.kind)],
    })
}
