//! Tokens of accounts: for pods that the node runs, and for whom those pods say.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/node/#service-account-token-audience-restriction>

use std::borrow::Cow;
use std::sync::Arc;

use orchestra_core::gvk::GroupVersion;
use serde_json::Value;

use super::{CORE, STORAGE, missing, text};
use crate::admission::AdmissionRequest;
use crate::auth::{AccessRequest, Authorizer, Decision};
use crate::request::{RequestInfo, ResourceRequest, Verb};
use crate::status::StatusError;
use crate::storage::meta;

/// The right to tokens for an audience that no pod names; the audience stands as the resource, the account as its name.
const RIGHT: &str = "request-serviceaccounts-token-audience";
/// Volumes of upstream's own plugins, and the drivers that have taken their place.
const MIGRATED: [(&str, &str); 7] = [
    ("awsElasticBlockStore", "ebs.csi.aws.com"),
    ("azureDisk", "disk.csi.azure.com"),
    ("azureFile", "file.csi.azure.com"),
    ("cinder", "cinder.csi.openstack.org"),
    ("gcePersistentDisk", "pd.csi.storage.gke.io"),
    ("portworxVolume", "pxd.portworx.com"),
    ("vsphereVolume", "csi.vsphere.vmware.com"),
];

/// Whether the node may have the token.
pub(super) async fn asked(
    node: &str,
    authorizer: &Arc<dyn Authorizer>,
    request: &AdmissionRequest<'_>,
    object: &Value,
) -> Result<(), StatusError> {
    let text = |at: &str| text(object, at);
    let (kind, name, uid) = (
        text("/spec/boundObjectRef/kind"),
        text("/spec/boundObjectRef/name"),
        text("/spec/boundObjectRef/uid"),
    );
    if kind != "Pod" || text("/spec/boundObjectRef/apiVersion") != "v1" || name.is_empty() {
        return Err(request.refuse("node requested token not bound to a pod"));
    }
    if uid.is_empty() {
        return Err(request.refuse("node requested token with a pod binding without a uid"));
    }
    let Some(pod) = request.reader.get(&CORE, "pods", request.namespace, name).await? else {
        return Err(missing("", "pod", name));
    };
    if meta::text(&pod, "uid") != uid {
        return Err(request.refuse(format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have \
             been deleted and then recreated"
        )));
    }
    if super::text(&pod, "/spec/nodeName") != node {
        return Err(request.refuse("node requested token bound to a pod scheduled on a different node"));
    }
    let audiences = object.pointer("/spec/audiences").and_then(Value::as_array);
    let audience = match audiences.map(Vec::as_slice).unwrap_or_default() {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return Err(request.refuse("node may only request 0 or 1 audiences")),
    };
    match names_audience(request, &pod, audience).await {
        Ok(true) => Ok(()),
        Ok(false) => has_right(authorizer, request, audience).await,
        Err(why) => Err(request.refuse(format!("error validating audience {audience:?}: {why}"))),
    }
}

/// Whether a volume of the pod is for the audience: a projected token, or one that a storage driver asks for.
///
/// # Errors
/// What could not be looked at, where no other volume is for the audience.
async fn names_audience(request: &AdmissionRequest<'_>, pod: &Value, audience: &str) -> Result<bool, String> {
    let mut problems = Vec::new();
    for volume in pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten() {
        let sources = volume.pointer("/projected/sources").and_then(Value::as_array);
        let mut tokens = sources.into_iter().flatten().filter_map(|source| source.get("serviceAccountToken"));
        if tokens.any(|token| !token.is_null() && text(token, "/audience") == audience) {
            return Ok(true);
        }
        match driver_asks(request, pod, volume, audience).await {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(problem) => problems.push(problem.to_string()),
        }
    }
    match problems.as_slice() {
        [] => Ok(false),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

/// Whether the driver of a volume wants tokens for the audience.
async fn driver_asks(
    request: &AdmissionRequest<'_>,
    pod: &Value,
    volume: &Value,
    audience: &str,
) -> Result<bool, StatusError> {
    let claim = if volume.pointer("/ephemeral/volumeClaimTemplate").is_some_and(Value::is_object) {
        format!("{}-{}", meta::name(pod), text(volume, "/name"))
    } else {
        text(volume, "/persistentVolumeClaim/claimName").to_owned()
    };
    let driver = match claim.as_str() {
        "" => driver_of(volume),
        claim => driver_of_claim(request, claim).await?,
    };
    if driver.is_empty() {
        return Ok(false);
    }
    let Some(object) = request.reader.get(&STORAGE, "csidrivers", "", &driver).await? else {
        return Err(missing("storage.k8s.io", "csidriver", &driver));
    };
    let asked = object.pointer("/spec/tokenRequests").and_then(Value::as_array);
    Ok(asked.into_iter().flatten().any(|asked| text(asked, "/audience") == audience))
}

/// The driver of what a volume or a persistent volume has its data from; empty when there is none.
fn driver_of(source: &Value) -> String {
    let own = text(source, "/csi/driver");
    let is_there = |field: &str| source.get(field).is_some_and(Value::is_object);
    let migrated = MIGRATED.iter().find(|(field, _)| is_there(field)).map(|(_, driver)| *driver);
    if own.is_empty() { migrated.unwrap_or_default().to_owned() } else { own.to_owned() }
}

async fn driver_of_claim(request: &AdmissionRequest<'_>, name: &str) -> Result<String, StatusError> {
    let reader = request.reader;
    let Some(claim) = reader.get(&CORE, "persistentvolumeclaims", request.namespace, name).await? else {
        return Err(missing("", "persistentvolumeclaim", name));
    };
    let volume = text(&claim, "/spec/volumeName");
    let found = match volume {
        "" => None,
        volume => reader.get(&CORE, "persistentvolumes", "", volume).await?,
    };
    match found {
        Some(found) => Ok(found.get("spec").map(driver_of).unwrap_or_default()),
        None => Err(missing("", "persistentvolume", volume)),
    }
}

/// Whether somebody gave the node the right to tokens of the account for the audience, whatever its pods are for.
async fn has_right(
    authorizer: &Arc<dyn Authorizer>,
    request: &AdmissionRequest<'_>,
    audience: &str,
) -> Result<(), StatusError> {
    let info = RequestInfo::Resource(ResourceRequest {
        // Authorizers go by the word beside this.
        verb: Verb::Get,
        gv: GroupVersion { group: Cow::Borrowed(""), version: Cow::Borrowed("v1") },
        resource: audience.to_owned(),
        namespace: Some(request.namespace.to_owned()),
        name: Some(request.name.to_owned()),
        subresource: None,
        tail: String::new(),
    });
    let asked = AccessRequest::new(request.user, RIGHT, &info, "");
    if matches!(authorizer.authorize(asked).await?, Decision::Allow(_)) {
        return Ok(());
    }
    Err(request.refuse(format!(
        "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
        request.user.name
    )))
}
