//! From a claim to the directory behind its volume.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{Api, Client};

use super::host_path;

/// The directory of the volume bound to a claim.
pub(super) async fn resolve(client: &Client, namespace: &str, name: &str) -> Result<PathBuf, String> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let claim = claims.get_opt(name).await.map_err(|e| e.to_string())?;
    let claim = claim.ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
    let bound = claim.status.and_then(|s| s.phase).as_deref() == Some("Bound");
    let volume = claim.spec.and_then(|s| s.volume_name).filter(|v| bound && !v.is_empty());
    let volume = volume.ok_or_else(|| format!("PVC {namespace}/{name} is not bound"))?;
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let found = volumes.get_opt(&volume).await.map_err(|e| e.to_string())?;
    let spec = found.and_then(|v| v.spec).ok_or_else(|| format!("persistentvolume {volume:?} not found"))?;
    if let Some(source) = spec.host_path {
        return host_path::prepare(&source.path, source.type_.as_deref());
    }
    if let Some(source) = spec.local {
        return host_path::prepare(&source.path, Some("Directory"));
    }
    Err(format!("the source of persistent volume {volume:?} is not supported by this node"))
}
