//! Makes claims of extended resources, and takes them away again.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::ResourceClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Error};
use serde_json::{Value, json};

use super::act::{Hands, consumers, or_gone, words};
use crate::effect::NewClaim;
use crate::view::{CLAIM_GUARD, ClaimUser, DeviceClaimView, MADE_OF_RESOURCES, NamespacedName, PodUid};

/// Makes a claim, gives it its devices and its user, and tells the pod how it is called.
///
/// # Errors
/// What the server said. What was begun is taken back then; where that fails, too, the next attempt finds it.
pub(super) async fn make(hands: &Hands, new: &NewClaim) -> Result<NamespacedName, String> {
    let claims: Api<ResourceClaim> = Api::namespaced(hands.client.clone(), &new.pod.namespace);
    let object = serde_json::from_value(written(new)).map_err(|error| error.to_string())?;
    let created = claims.create(&PostParams::default(), &object).await;
    hands.metrics.claim_made(created.is_ok());
    let created =
        created.map_err(|error| format!("create claim for extended resources: {}", words(&error)))?;
    let name = NamespacedName::of(&created.metadata);
    let finished = finish(hands, new, &created).await;
    if let Err(error) = &finished
        && let Err(problem) = take_away(&hands.client, &name, &new.uid).await
    {
        tracing::warn!(claim = %name, error = words(error), problem = words(&problem), "a claim is left over");
    }
    finished.map_err(|error| words(&error))?;
    Ok(name)
}

/// The claim as it is created. It is kept from vanishing from the beginning: it gets its devices at once.
fn written(new: &NewClaim) -> Value {
    json!({
        "apiVersion": "resource.k8s.io/v1",
        "kind": "ResourceClaim",
        "metadata": {
            "namespace": &*new.pod.namespace,
            "generateName": format!("{}-extended-resources-", new.pod.name),
            "annotations": {(MADE_OF_RESOURCES): "true"},
            "finalizers": [CLAIM_GUARD],
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": &*new.pod.name, "uid": &*new.uid, "controller": true},
            ],
        },
        "spec": {"devices": {"requests": new.wanted.requests}},
    })
}

async fn finish(hands: &Hands, new: &NewClaim, created: &ResourceClaim) -> Result<(), Error> {
    let claims: Api<ResourceClaim> = Api::namespaced(hands.client.clone(), &new.pod.namespace);
    let (name, meta) = (created.metadata.name.as_deref().unwrap_or_default(), &created.metadata);
    let mut result = new.allocation.result.clone();
    result.allocation_timestamp = Some(Time(hands.clock.now()));
    let user = ClaimUser {
        group: "".into(),
        resource: "pods".into(),
        name: (&*new.pod.name).into(),
        uid: new.uid.clone(),
    };
    let patch = Patch::Merge(json!({"metadata": {"resourceVersion": meta.resource_version},
        "status": {"allocation": result, "reservedFor": consumers(&[user])}}));
    claims.patch_status(name, &PatchParams::default(), &patch).await?;
    // The uid keeps this from a namesake made meanwhile.
    let patch =
        Patch::Strategic(json!({"metadata": {"uid": &*new.uid}, "status": {"extendedResourceClaimStatus": {
        "resourceClaimName": name, "requestMappings": new.wanted.mappings}}}));
    let pods: Api<Pod> = Api::namespaced(hands.client.clone(), &new.pod.namespace);
    pods.patch_status(&new.pod.name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Takes a claim away that was made for a pod: first what keeps it from vanishing, then itself. Others stay.
pub(super) async fn take_away(client: &Client, name: &NamespacedName, pod: &PodUid) -> Result<(), Error> {
    let claims: Api<ResourceClaim> = Api::namespaced(client.clone(), &name.namespace);
    let Some(found) = claims.get_opt(&name.name).await? else { return Ok(()) };
    let view = DeviceClaimView::from_api(&found);
    if view.made_for.as_ref() != Some(pod) {
        return Ok(());
    }
    if view.guarded {
        let patch = Patch::Strategic(json!({"metadata": {
            "uid": found.metadata.uid, "$deleteFromPrimitiveList/finalizers": [CLAIM_GUARD]}}));
        or_gone(claims.patch(&name.name, &PatchParams::default(), &patch).await.map(drop))?;
    }
    let params = DeleteParams::default()
        .preconditions(Preconditions { uid: found.metadata.uid, resource_version: None });
    or_gone(claims.delete(&name.name, &params).await.map(drop))
}
