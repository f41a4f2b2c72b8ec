//! What volumes and claims get before they are stored.

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use serde_json::Value;

use super::{Admission, AdmissionRequest, Operation, Phases};
use crate::status::StatusError;
use crate::storage::meta;

const STORAGE: GroupVersion = GroupVersion::new("storage.k8s.io", "v1");
const IS_DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// `StorageObjectInUseProtection`: a finalizer keeps what is in use.
#[derive(Debug)]
pub(super) struct StorageObjectInUseProtection;

#[async_trait]
impl Admission for StorageObjectInUseProtection {
    fn name(&self) -> &str {
        "StorageObjectInUseProtection"
    }

    fn phases(&self) -> Phases {
        Phases::Mutation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create && finalizer(request).is_some()
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let Some(finalizer) = finalizer(request) else { return Ok(()) };
        let mut finalizers: Vec<String> = meta::finalizers(object).map(str::to_owned).collect();
        if !finalizers.iter().any(|f| f == finalizer) {
            finalizers.push(finalizer.to_owned());
            meta::set_finalizers(object, finalizers);
        }
        Ok(())
    }
}

/// What keeps an object of this kind.
fn finalizer(request: &AdmissionRequest<'_>) -> Option<&'static str> {
    if request.is("", "persistentvolumeclaims") {
        Some("kubernetes.io/pvc-protection")
    } else if request.is("", "persistentvolumes") {
        Some("kubernetes.io/pv-protection")
    } else {
        None
    }
}

/// `DefaultStorageClass`: a claim that names no class gets the default one.
#[derive(Debug)]
pub(super) struct DefaultStorageClass;

#[async_trait]
impl Admission for DefaultStorageClass {
    fn name(&self) -> &str {
        "DefaultStorageClass"
    }

    fn phases(&self) -> Phases {
        Phases::Mutation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create && request.is("", "persistentvolumeclaims")
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let annotated =
            object.pointer("/metadata/annotations/volume.beta.kubernetes.io~1storage-class").is_some();
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        // An empty name is an answer of its own: no class.
        if annotated || spec.get("storageClassName").is_some_and(|name| !name.is_null()) {
            return Ok(());
        }
        let mut classes = request.reader.list(&STORAGE, "storageclasses", None).await?;
        classes.retain(is_default);
        // The youngest default wins, then the first by name.
        classes.sort_by(|a, b| {
            let age = |class| meta::text(class, "creationTimestamp");
            age(b).cmp(age(a)).then_with(|| meta::name(a).cmp(meta::name(b)))
        });
        if let Some(class) = classes.first() {
            spec.insert("storageClassName".into(), meta::name(class).into());
        }
        Ok(())
    }
}

fn is_default(class: &Value) -> bool {
    let annotations = class.pointer("/metadata/annotations");
    IS_DEFAULT.iter().any(|key| annotations.and_then(|a| a.get(key)).and_then(Value::as_str) == Some("true"))
}
