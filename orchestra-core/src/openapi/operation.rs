//! Operations of paths, and their parameters.

use serde_json::{Value, json};

use super::resource::{ResourcePaths, Verb};
use super::{field, schemas};
use crate::gvk::GroupVersion;
use crate::schema;

/// The extension that names the kind an operation or a schema is about.
pub(super) const GVK: &str = "x-kubernetes-group-version-kind";

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
// What custom kinds come in; built-in ones have the others, too.
const TEXT_TYPES: [&str; 2] = ["application/json", "application/yaml"];
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const WATCH_TYPES: [&str; 2] =
    ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];
const PATCH_TYPES: [&str; 4] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
];
const LIST_PARAMETERS: [(&str, &str); 11] = [
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("shardSelector", "string"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE_PARAMETERS: [(&str, &str); 3] =
    [("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const DELETE_PARAMETERS: [(&str, &str); 5] = [
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

/// The value of [`GVK`].
pub(super) fn gvk(gv: &GroupVersion, kind: &str) -> Value {
    json!({"group": gv.group, "version": gv.version, "kind": kind})
}

/// The HTTP method of a verb, as the key of a path item.
pub(super) fn method(verb: Verb) -> &'static str {
    match verb {
        Verb::Get | Verb::List => "get",
        Verb::Create => "post",
        Verb::Update => "put",
        Verb::Patch => "patch",
        Verb::Delete | Verb::DeleteCollection => "delete",
    }
}

/// The operation of `verb` on `resource`, without its name.
pub(super) fn operation(resource: &ResourcePaths, verb: Verb) -> Value {
    if is_connection(resource) {
        return connection(resource);
    }
    let is_builtin = schema::of_kind(&resource.gv, &resource.kind).is_some();
    let action = match verb {
        Verb::List => "list",
        Verb::DeleteCollection => "deletecollection",
        other => method(other),
    };
    if resource.subresource.as_deref() == Some("log") {
        return log(resource);
    }
    let object = schemas::component_name(resource);
    let status = format!("{META}.Status");
    // Deleting a whole collection always answers with a status; so does deleting one object, for most kinds.
    let (result, accepted) = match verb {
        Verb::List => (schemas::list_name(resource), None),
        Verb::Delete => (status, Some("202")),
        Verb::DeleteCollection => (status, None),
        Verb::Create => (object.clone(), Some("202")),
        _ => (object.clone(), None),
    };
    let mut operation = json!({
        "parameters": parameters(verb),
        "responses": responses(verb, &media_types(verb, is_builtin), &result, accepted),
        "x-kubernetes-action": action,
        GVK: gvk(&resource.gv, &resource.kind),
    });
    let body = match verb {
        Verb::Create | Verb::Update if is_builtin => {
            Some(json!({"content": {"*/*": media(&object)}, "required": true}))
        }
        Verb::Create | Verb::Update => {
            Some(json!({"content": contents(&TEXT_TYPES, &object), "required": true}))
        }
        Verb::Patch => {
            // Clients choose by this list; strategic merge needs a built-in type.
            let types = PATCH_TYPES.iter().filter(|ty| is_builtin || !ty.contains("strategic"));
            let content = contents(&types.copied().collect::<Vec<_>>(), &format!("{META}.Patch"));
            Some(json!({"content": content, "required": true}))
        }
        Verb::Delete | Verb::DeleteCollection => {
            Some(json!({"content": {"*/*": media(&format!("{META}.DeleteOptions"))}}))
        }
        Verb::Get | Verb::List => None,
    };
    if let (Some(body), Value::Object(operation)) = (body, &mut operation) {
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}

/// The parameters all operations of a path share.
pub(super) fn path_parameters(namespaced: bool, named: bool) -> Vec<Value> {
    let mut all = Vec::new();
    if named {
        all.push(path_parameter("name"));
    }
    if namespaced {
        all.push(path_parameter("namespace"));
    }
    all.push(query_parameter("pretty", "string"));
    all
}

/// The operation that lists what a group and version serves, without its name.
pub(super) fn available_resources() -> Value {
    json!({"responses": responses(Verb::Get, &media_types(Verb::Get, true), &format!("{META}.APIResourceList"), None)})
}

/// Whether operations open a connection to something behind the server. Their kinds are never sent.
pub(super) fn is_connection(resource: &ResourcePaths) -> bool {
    resource.subresource.is_some() && resource.kind.ends_with("Options")
}

/// Whatever goes through, nothing is said of it.
fn connection(resource: &ResourcePaths) -> Value {
    texts(resource, "connect", &["*/*"])
}

fn log(resource: &ResourcePaths) -> Value {
    texts(resource, "get", &["text/plain", TEXT_TYPES[0], TEXT_TYPES[1], PROTOBUF])
}

fn texts(resource: &ResourcePaths, action: &str, types: &[&str]) -> Value {
    let content: Value =
        types.iter().map(|ty| ((*ty).to_owned(), json!({"schema": {"type": "string"}}))).collect();
    json!({
        "responses": {
            "200": {"description": "OK", "content": content}, "401": {"description": "Unauthorized"},
        },
        "x-kubernetes-action": action,
        GVK: gvk(&resource.gv, &resource.kind),
    })
}

fn media_types(verb: Verb, is_builtin: bool) -> Vec<&'static str> {
    let mut types = TEXT_TYPES.to_vec();
    if is_builtin {
        types.push(PROTOBUF);
    }
    if is_builtin && verb == Verb::List {
        types.extend(WATCH_TYPES);
    }
    types
}

fn parameters(verb: Verb) -> Value {
    let query =
        |list: &[(&str, &str)]| list.iter().map(|(name, ty)| query_parameter(name, ty)).collect::<Vec<_>>();
    let mut all = match verb {
        Verb::Get => Vec::new(),
        Verb::List => query(&LIST_PARAMETERS),
        Verb::Create | Verb::Update | Verb::Patch => query(&WRITE_PARAMETERS),
        Verb::Delete => query(&DELETE_PARAMETERS),
        Verb::DeleteCollection => {
            let mut both = query(&DELETE_PARAMETERS);
            let listing =
                LIST_PARAMETERS.iter().filter(|(name, _)| !matches!(*name, "allowWatchBookmarks" | "watch"));
            both.extend(listing.map(|(name, ty)| query_parameter(name, ty)));
            both
        }
    };
    if verb == Verb::Patch {
        all.push(query_parameter("force", "boolean"));
    }
    all.into()
}

fn query_parameter(name: &str, ty: &str) -> Value {
    json!({"name": name, "in": "query", "schema": {"type": ty, "uniqueItems": true}})
}

fn path_parameter(name: &str) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "uniqueItems": true}})
}

fn responses(verb: Verb, types: &[&str], result: &str, accepted: Option<&str>) -> Value {
    let content = contents(types, result);
    let answer = |description: &str| json!({"description": description, "content": content});
    let mut all = serde_json::Map::new();
    all.insert("200".to_owned(), answer("OK"));
    if matches!(verb, Verb::Create | Verb::Update | Verb::Patch) {
        all.insert("201".to_owned(), answer("Created"));
    }
    if let Some(code) = accepted {
        all.insert(code.to_owned(), answer("Accepted"));
    }
    all.insert("401".to_owned(), json!({"description": "Unauthorized"}));
    all.into()
}

fn contents(types: &[&str], name: &str) -> Value {
    types.iter().map(|ty| ((*ty).to_owned(), media(name))).collect()
}

fn media(name: &str) -> Value {
    json!({"schema": field::reference(name)})
}
