//! A pod's volumes as directories of the node.
//!
//! Each volume is below `<data dir>/pods/<uid>/volumes/<plugin>/<name>`, laid out as upstream's kubelet does. What comes
//! from the API (configMap, secret, downwardAPI, projected) is a [`payload`]: worked out purely, and written so that
//! readers see either all old or all new files ([`atomic`]). hostPath and claims point at the host's own directories.

mod atomic;
mod claim;
mod host_path;
mod payload;
mod sub_path;
mod token;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Pod, Volume};
use kube::Client;

use crate::pod::field::Addresses;
use crate::source::{Kind, Objects, Reference};

pub(crate) use sub_path::resolve as resolve_sub_path;
pub(crate) use token::{PodTokens, Tokens};

/// A volume that is ready to be mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) path: PathBuf,
    /// Whether containers may only read, whatever their mounts say.
    pub(crate) read_only: bool,
}

/// What payloads are made of beside the pod.
#[derive(Debug, Default)]
pub(crate) struct Material {
    pub(crate) objects: Objects,
    pub(crate) tokens: PodTokens,
    pub(crate) allocatable: BTreeMap<String, String>,
    pub(crate) addresses: Addresses,
}

/// The directory of a pod on this node.
pub(crate) fn pod_dir(data: &Path, uid: &str) -> PathBuf {
    data.join("pods").join(uid)
}

/// The ConfigMaps and Secrets that the pod's volumes show.
pub(crate) fn references(pod: &Pod) -> BTreeSet<Reference> {
    let mut found = BTreeSet::new();
    for volume in volumes(pod) {
        let config_map = volume.config_map.as_ref().map(|v| &v.name);
        found.extend(config_map.map(|name| Reference::new(Kind::ConfigMap, name)));
        let secret = volume.secret.as_ref().and_then(|v| v.secret_name.as_ref());
        found.extend(secret.map(|name| Reference::new(Kind::Secret, name)));
        for source in volume.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            found.extend(source.config_map.as_ref().map(|s| Reference::new(Kind::ConfigMap, &s.name)));
            found.extend(source.secret.as_ref().map(|s| Reference::new(Kind::Secret, &s.name)));
        }
    }
    found
}

/// Makes every volume of the pod ready. The error is the message of a `FailedMount` event.
pub(crate) async fn set_up(
    client: &Client,
    data: &Path,
    pod: &Pod,
    material: &Material,
) -> Result<BTreeMap<String, Ready>, String> {
    let mut ready = BTreeMap::new();
    for volume in volumes(pod) {
        let made = set_up_one(client, data, pod, volume, material).await;
        let made =
            made.map_err(|why| format!("MountVolume.SetUp failed for volume {:?} : {why}", volume.name))?;
        ready.insert(volume.name.clone(), made);
    }
    Ok(ready)
}

/// Writes what changed in the objects into the volumes that show them.
pub(crate) fn refresh(data: &Path, pod: &Pod, material: &Material) -> Result<(), String> {
    for volume in volumes(pod) {
        if let Some(files) = payload::of(pod, volume, material)? {
            let dir = place(data, pod, volume);
            atomic::write(&dir, &files).map_err(|e| format!("writing {}: {e}", dir.display()))?;
        }
    }
    Ok(())
}

/// Removes everything the pod had on the node, but not what is the host's.
pub(crate) fn tear_down(data: &Path, uid: &str) -> std::io::Result<()> {
    if uid.is_empty() || uid.contains('/') || uid.contains("..") {
        return Ok(());
    }
    match fs::remove_dir_all(pod_dir(data, uid)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec.iter().flat_map(|s| s.volumes.iter().flatten())
}

fn place(data: &Path, pod: &Pod, volume: &Volume) -> PathBuf {
    let plugin = if volume.config_map.is_some() {
        "kubernetes.io~configmap"
    } else if volume.secret.is_some() {
        "kubernetes.io~secret"
    } else if volume.projected.is_some() {
        "kubernetes.io~projected"
    } else if volume.downward_api.is_some() {
        "kubernetes.io~downward-api"
    } else {
        "kubernetes.io~empty-dir"
    };
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    pod_dir(data, uid).join("volumes").join(plugin).join(&volume.name)
}

async fn set_up_one(
    client: &Client,
    data: &Path,
    pod: &Pod,
    volume: &Volume,
    material: &Material,
) -> Result<Ready, String> {
    let dir = place(data, pod, volume);
    let failed = |e: std::io::Error| format!("{}: {e}", dir.display());
    if let Some(files) = payload::of(pod, volume, material)? {
        atomic::write(&dir, &files).map_err(failed)?;
        return Ok(Ready { path: dir, read_only: true });
    }
    if volume.empty_dir.is_some() {
        fs::create_dir_all(&dir).map_err(failed)?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).map_err(failed)?;
        return Ok(Ready { path: dir, read_only: false });
    }
    if let Some(source) = &volume.host_path {
        let path = host_path::prepare(&source.path, source.type_.as_deref())?;
        return Ok(Ready { path, read_only: false });
    }
    if let Some(source) = &volume.persistent_volume_claim {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let path = claim::resolve(client, namespace, &source.claim_name).await?;
        return Ok(Ready { path, read_only: source.read_only.unwrap_or(false) });
    }
    Err("this kind of volume is not supported by this node".to_owned())
}
