//! `CustomResourceDefinition`: a kind that describes kinds.
//!
//! What a definition makes, the kind of its objects, is [`crate::custom`]; names that clash, and the conditions that say
//! so, are the server's business, because they need all definitions at once.

mod spec;
mod version;

use serde_json::{Value, json};

use super::frame::cells::{self, column, text};
use super::frame::{Builtin, Fill, Generation, Object};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{FieldPath, Violation, Violations};

/// The group of definitions.
const GROUP: &str = "apiextensions.k8s.io";

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new(GROUP, "v1"),
        "CustomResourceDefinition",
        "customresourcedefinitions",
        Scope::Cluster,
    )
    .short_names(&["crd", "crds"])
    .category("api-extensions")
    .generation(Generation::Spec)
    .status(|| json!({}))
    .conditional_update()
    .default(default)
    .prepare_create(store_version)
    .prepare_update(|new, _| store_version(new))
    .validate(|crd, out| {
        if let Some(object) = crd.value() {
            spec::validate(object, out);
        }
    })
    .validate_create(|crd, out| {
        let Some(object) = crd.value() else { return };
        let wanted = format!("{}.{}", text(object, "/spec/names/plural"), text(object, "/spec/group"));
        let name = text(object, "/metadata/name");
        if name != wanted && !name.is_empty() {
            let path = FieldPath::new("metadata").child("name");
            let why = "must be spec.names.plural+\".\"+spec.group";
            // With the rules for names, not behind those for the specification.
            out.insert(0, Violation::invalid(&path, name, why));
        }
        approval(object, None, out);
    })
    .validate_change(|new, old, out| {
        if let (Some(new), Some(old)) = (new.value(), old.value()) {
            unchanged(new, old, out);
            approval(new, Some(old), out);
        }
    })
    .validate_status(|new, _, out| {
        if let Some(names) = new.get("status").get("acceptedNames").value() {
            spec::names(names, &FieldPath::new("status").child("acceptedNames"), out);
        }
    })
    .columns(vec![
        cells::name(),
        column("Created At", "date", "When the definition was made.", |crd, _| {
            text(crd, "/metadata/creationTimestamp").into()
        }),
    ])
}

fn default(crd: &mut Object) {
    let spec = crd.object("spec");
    let names = spec.object("names");
    let kind = names.text("kind").to_owned();
    if !kind.is_empty() {
        names.fill_text("singular", &kind.to_lowercase());
        names.fill_text("listKind", &format!("{kind}List"));
    }
    let conversion = spec.object("conversion");
    if conversion.is_empty() {
        conversion.fill("strategy", "None");
    }
    let service = conversion
        .object_if("webhook")
        .and_then(|webhook| webhook.object_if("clientConfig"))
        .and_then(|config| config.object_if("service"));
    if let Some(service) = service {
        service.fill("port", 443);
    }
    if crd.get("status").and_then(|status| status.get("storedVersions")).is_none() {
        store_version(crd);
    }
}

/// What is stored is stored in the storage version; it stays on the list until somebody has migrated it away.
fn store_version(crd: &mut Object) {
    let is_storage = |version: &&Value| version.get("storage") == Some(&Value::Bool(true));
    let versions = crd.get("spec").and_then(|spec| spec.get("versions")).and_then(Value::as_array);
    let Some(name) = versions.into_iter().flatten().find(is_storage).and_then(|version| version.get("name"))
    else {
        return;
    };
    let name = name.clone();
    let stored = crd.object("status").entry("storedVersions").or_insert(Value::Null);
    match stored {
        Value::Array(names) if names.contains(&name) => {}
        Value::Array(names) => names.push(name),
        _ => *stored = Value::Array(vec![name]),
    }
}

/// What names the objects in the store never changes; what clients know them by, not while they are served.
fn unchanged(new: &Value, old: &Value, out: &mut Violations) {
    const IMMUTABLE: &str = "field is immutable";
    let mut same = |pointer: &str| {
        let (now, before) = (text(new, pointer), text(old, pointer));
        if now != before {
            let path = FieldPath::new(&pointer.trim_start_matches('/').replace('/', "."));
            out.push(Violation::invalid(&path, now, IMMUTABLE));
        }
    };
    if is_established(old) {
        same("/spec/scope");
        same("/spec/names/kind");
    }
    same("/spec/group");
    same("/spec/names/plural");
}

fn is_established(crd: &Value) -> bool {
    let conditions = cells::list(crd, "/status/conditions");
    conditions.iter().any(|c| text(c, "/type") == "Established" && text(c, "/status") == "True")
}

/// Groups of the Kubernetes project are only for what the project has agreed to.
fn approval(new: &Value, old: Option<&Value>, out: &mut Violations) {
    const ANNOTATION: &str = "api-approved.kubernetes.io";
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let group = text(new, "/spec/group");
    let is_protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.ends_with(&format!(".{domain}")));
    if !is_protected {
        return;
    }
    let given = |crd: &Value| text(crd, "/metadata/annotations/api-approved.kubernetes.io").to_owned();
    let state = |approval: &str| match approval {
        "" => 0,
        _ if approval.starts_with("unapproved") => 1,
        _ if approval.split_once("://").is_some_and(|(scheme, rest)| {
            !scheme.is_empty() && rest.chars().next().is_some_and(|first| first != '/')
        }) =>
        {
            2
        }
        _ => 3,
    };
    let approval = given(new);
    if old.is_some_and(|old| state(&given(old)) == state(&approval)) {
        return;
    }
    let path = FieldPath::new("metadata").child("annotations").key(ANNOTATION);
    match state(&approval) {
        0 => {
            let why = format!("protected groups must have approval annotation {ANNOTATION:?}, {SEE}");
            out.push(Violation::required(&path, why));
        }
        3 => {
            let why = format!(
                "protected groups must have approval annotation {ANNOTATION:?} with either a URL or a reason \
                 starting with \"unapproved\", {SEE}"
            );
            out.push(Violation::invalid(&path, approval, why));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
