//! The volumes this crate makes: directories of this machine.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    HostPathVolumeSource, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use orchestra_core::meta::labels::DEFAULT_STORAGE_CLASS;

use super::binding::reference;
use super::fit::default_class;
use super::{PROVISIONED_BY, PROVISIONER};

const CLASS: &str = "standard";

/// The class whose claims are served from the base directory; the default one, unless there is another default.
pub(super) fn class(others: &[Arc<StorageClass>]) -> StorageClass {
    let annotations = default_class(others)
        .is_none()
        .then(|| BTreeMap::from([(DEFAULT_STORAGE_CLASS.to_owned(), "true".to_owned())]));
    StorageClass {
        metadata: ObjectMeta { name: Some(CLASS.into()), annotations, ..ObjectMeta::default() },
        provisioner: PROVISIONER.into(),
        reclaim_policy: Some("Delete".into()),
        volume_binding_mode: Some("Immediate".into()),
        ..StorageClass::default()
    }
}

/// The volume for a claim, or why there cannot be one. The node agent makes the directory when a pod first uses it.
pub(super) fn volume(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    base: Option<&Path>,
) -> Result<PersistentVolume, String> {
    let base = base.ok_or("no directory for volumes is configured")?;
    let uid = claim.metadata.uid.as_deref().ok_or("the claim has no uid")?;
    let spec = claim.spec.as_ref().ok_or("the claim has no spec")?;
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err("directories cannot serve as block devices".into());
    }
    if spec.selector.is_some() {
        return Err("claim.Spec.Selector is not supported".into());
    }
    if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        return Err("volumes cannot be made from a data source".into());
    }
    let name = format!("pvc-{uid}");
    let path = base.join(&name);
    let path = path.to_str().ok_or("the directory for volumes is not UTF-8")?.to_owned();
    Ok(PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name),
            annotations: Some(BTreeMap::from([(PROVISIONED_BY.to_owned(), PROVISIONER.to_owned())])),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes.clone(),
            capacity: spec.resources.as_ref().and_then(|resources| resources.requests.clone()),
            claim_ref: Some(reference(claim)),
            host_path: Some(HostPathVolumeSource { path, type_: Some("DirectoryOrCreate".into()) }),
            mount_options: class.mount_options.clone(),
            persistent_volume_reclaim_policy: Some(
                class.reclaim_policy.clone().unwrap_or_else(|| "Delete".into()),
            ),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: Some("Filesystem".into()),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    })
}
