//! Who controls what: owner references, and the plan of adoption and release that all workload controllers share.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::Resource;
use kube::core::{Selector, SelectorExt};
use serde_json::{Value, json};

use crate::error::{Error, Result};

/// The owner reference that has `controller: true`.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_deref()?.iter().find(|owner| owner.controller == Some(true))
}

/// Whether `owner` controls the object.
pub(crate) fn is_controlled_by(meta: &ObjectMeta, owner: &ObjectMeta) -> bool {
    controller_of(meta).is_some_and(|reference| Some(&reference.uid) == owner.uid.as_ref())
}

/// A controlling reference to `owner`.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Compiles a selector. An absent or invalid one is the user's mistake, which the API server should have refused.
pub(crate) fn selector(selector: &LabelSelector) -> Result<Selector> {
    Selector::try_from(selector.clone()).map_err(|error| Error::Malformed(error.to_string()))
}

/// Whether labels satisfy a selector.
pub(crate) fn selects(selector: &Selector, meta: &ObjectMeta) -> bool {
    static NONE: std::collections::BTreeMap<String, String> = std::collections::BTreeMap::new();
    selector.matches(meta.labels.as_ref().unwrap_or(&NONE))
}

/// Which objects an owner has, should take, and should let go.
#[derive(Debug)]
pub(crate) struct Claims<K> {
    /// Controlled by the owner, and selected.
    pub(crate) held: Vec<Arc<K>>,
    /// Selected, and controlled by nobody.
    pub(crate) adopt: Vec<Arc<K>>,
    /// Controlled by the owner, and not selected (any more).
    pub(crate) release: Vec<Arc<K>>,
}

/// Sorts `candidates` by what `owner` has to do with them. An owner or object that is being deleted changes hands no
/// more.
pub(crate) fn claim<K: Resource>(
    owner: &ObjectMeta,
    selector: &Selector,
    candidates: Vec<Arc<K>>,
) -> Claims<K> {
    let mut claims = Claims { held: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for object in candidates {
        let meta = object.meta();
        match controller_of(meta) {
            Some(reference) if Some(&reference.uid) != owner.uid.as_ref() => {}
            Some(_) if selects(selector, meta) => claims.held.push(object),
            Some(_) if owner.deletion_timestamp.is_none() => claims.release.push(object),
            Some(_) => {}
            None => {
                let free = owner.deletion_timestamp.is_none() && meta.deletion_timestamp.is_none();
                if free && selects(selector, meta) {
                    claims.adopt.push(object);
                }
            }
        }
    }
    claims
}

/// The merge patch that makes `owner` the controller of an object, which gets `finalizer`; it fails if the object
/// changed meanwhile.
pub(crate) fn adoption_patch(object: &ObjectMeta, owner: OwnerReference, finalizer: Option<&str>) -> Value {
    let mut owners = object.owner_references.clone().unwrap_or_default();
    owners.retain(|held| held.uid != owner.uid);
    owners.push(owner);
    patch(object, owners, finalizer, |held, finalizer| {
        if !held.iter().any(|held| held == finalizer) {
            held.push(finalizer.to_owned());
        }
    })
}

/// The merge patch by which the owner of `uid` lets an object go, without the `finalizer`.
pub(crate) fn release_patch(object: &ObjectMeta, uid: &str, finalizer: Option<&str>) -> Value {
    let mut owners = object.owner_references.clone().unwrap_or_default();
    owners.retain(|held| held.uid != uid);
    patch(object, owners, finalizer, |held, finalizer| held.retain(|held| held != finalizer))
}

fn patch(
    object: &ObjectMeta,
    owners: Vec<OwnerReference>,
    finalizer: Option<&str>,
    change: fn(&mut Vec<String>, &str),
) -> Value {
    let owners = if owners.is_empty() { Value::Null } else { json!(owners) };
    let mut patch = json!({"metadata": {
        "uid": object.uid, "resourceVersion": object.resource_version, "ownerReferences": owners,
    }});
    if let Some(finalizer) = finalizer {
        let mut finalizers = object.finalizers.clone().unwrap_or_default();
        change(&mut finalizers, finalizer);
        patch["metadata"]["finalizers"] = if finalizers.is_empty() { Value::Null } else { json!(finalizers) };
    }
    patch
}
