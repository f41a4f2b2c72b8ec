//! Carries out effects.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::{Binding, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::resource::v1::ResourceClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions};
use kube::{Client, Error};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::claim;
use crate::dispatcher::Job;
use crate::effect::Effect;
use crate::extender::Extender;
use crate::metrics::SchedulerMetrics;
use crate::scheduler::Clock;
use crate::view::{CLAIM_GUARD, ClaimUser, NamespacedName};

/// A write without an answer for this long is given up; if it went through after all, the watch will tell.
const PATIENCE: Duration = Duration::from_secs(30);

/// What effects are carried out with.
#[derive(Clone)]
pub(super) struct Hands {
    pub(super) client: Client,
    pub(super) clock: Clock,
    pub(super) extenders: Arc<[Arc<dyn Extender>]>,
    pub(super) metrics: SchedulerMetrics,
}

/// Carries out effects; whatever happens, there is a result, and not too late. Returned are the claims that were made.
pub(super) async fn guarded(hands: &Hands, effects: Vec<Effect>) -> Result<Vec<NamespacedName>, String> {
    // Boxed, because it is handed on twice, and then copied as a whole with the task that it is most of.
    let work = AssertUnwindSafe(perform(hands, effects).boxed()).catch_unwind();
    match timeout(PATIENCE, work).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err("the client panicked".to_owned()),
        Err(_) => Err(format!("no answer for {} s", PATIENCE.as_secs())),
    }
}

/// Carries out effects, one after the other; the first error ends it.
async fn perform(hands: &Hands, effects: Vec<Effect>) -> Result<Vec<NamespacedName>, String> {
    let mut made = Vec::new();
    for effect in effects {
        match effect {
            Effect::BindThrough { extender, pod, uid, node } => {
                let named = hands.extenders.iter().find(|one| one.name() == &*extender).cloned();
                let binder = named.ok_or_else(|| format!("no extender {extender:?}"))?;
                // It may wait, and must not do so where tasks run.
                let bound = tokio::task::spawn_blocking(move || binder.bind(&pod, &uid, &node)).await;
                bound.map_err(|error| format!("extender {extender:?}: {error}"))??;
            }
            Effect::MakeClaim(new) => made.push(claim::make(hands, &new).await?),
            effect => one(&hands.client, &hands.clock, effect).await.map_err(|error| words(&error))?,
        }
    }
    Ok(made)
}

/// Says in the pod's status where it is going, while that takes its time. It is a hint for others, and not needed.
pub(super) async fn expect(hands: &Hands, job: &Job) {
    let pod = &job.pod;
    if pod.nominated.as_ref() == Some(&job.node) {
        return;
    }
    let patch = Patch::Strategic(
        json!({"metadata": {"uid": &*pod.uid}, "status": {"nominatedNodeName": &*job.node}}),
    );
    let pods: Api<Pod> = Api::namespaced(hands.client.clone(), &pod.key.namespace);
    let params = PatchParams::default();
    let written = timeout(PATIENCE, pods.patch_status(&pod.key.name, &params, &patch)).await;
    if !matches!(written, Ok(Ok(_))) {
        tracing::debug!(pod = %pod.key, "expectation not written");
    }
}

/// What the server said, without what the client puts around it.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// What is gone already need not go.
pub(super) fn or_gone(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Api(status)) if status.code == 404 => Ok(()),
        other => other,
    }
}

async fn one(client: &Client, clock: &Clock, effect: Effect) -> Result<(), Error> {
    match effect {
        Effect::Bind { pod, uid, node } => {
            let binding = Binding {
                metadata: ObjectMeta {
                    namespace: Some(pod.namespace.to_string()),
                    name: Some(pod.name.to_string()),
                    uid: Some(uid.to_string()),
                    ..ObjectMeta::default()
                },
                target: ObjectReference {
                    kind: Some("Node".to_owned()),
                    name: Some(node.to_string()),
                    ..ObjectReference::default()
                },
            };
            let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
            let params = PostParams::default();
            pods.create_subresource::<_, IgnoredAny>("binding", &pod.name, &params, &binding).await?;
        }
        // More than one thing, or not a matter of the API; done by the caller.
        Effect::BindThrough { .. } | Effect::MakeClaim(_) => {}
        Effect::DropClaim { claim, pod } => claim::take_away(client, &claim, &pod).await?,
        Effect::Evict { pod, uid, message, generation } => {
            let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
            let mut condition = json!({
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "PreemptionByScheduler",
                "message": message,
                "lastProbeTime": null,
                "lastTransitionTime": clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            });
            if let Some(generation) = generation {
                condition["observedGeneration"] = generation.into();
            }
            let patch =
                Patch::Strategic(json!({"metadata": {"uid": &*uid}, "status": {"conditions": [condition]}}));
            or_gone(pods.patch_status(&pod.name, &PatchParams::default(), &patch).await.map(drop))?;
            let params = DeleteParams::default()
                .preconditions(Preconditions { uid: Some(uid.to_string()), resource_version: None });
            or_gone(pods.delete(&pod.name, &params).await.map(drop))?;
        }
        Effect::BindVolume { volume, version, claim, uid } => {
            let patch = Patch::Merge(json!({
                "metadata": {
                    "resourceVersion": version,
                    "annotations": {"pv.kubernetes.io/bound-by-controller": "yes"},
                },
                "spec": {"claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": &*claim.namespace,
                    "name": &*claim.name,
                    "uid": uid,
                }},
            }));
            let volumes: Api<PersistentVolume> = Api::all(client.clone());
            volumes.patch(&volume, &PatchParams::default(), &patch).await?;
        }
        Effect::ReserveClaim { claim, version, users } => {
            let patch = Patch::Merge(
                json!({"metadata": {"resourceVersion": version}, "status": {"reservedFor": consumers(&users)}}),
            );
            let claims: Api<ResourceClaim> = Api::namespaced(client.clone(), &claim.namespace);
            claims.patch_status(&claim.name, &PatchParams::default(), &patch).await?;
        }
        Effect::AllocateClaim { claim, version, guarded, allocation, users } => {
            let claims: Api<ResourceClaim> = Api::namespaced(client.clone(), &claim.namespace);
            let mut version = version.into_string();
            if !guarded {
                let patch = Patch::Strategic(
                    json!({"metadata": {"resourceVersion": version, "finalizers": [CLAIM_GUARD]}}),
                );
                let guarded = claims.patch(&claim.name, &PatchParams::default(), &patch).await?;
                version = guarded.metadata.resource_version.unwrap_or_default();
            }
            let mut result = allocation.result.clone();
            result.allocation_timestamp = Some(Time(clock.now()));
            let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version},
                "status": {"allocation": result, "reservedFor": consumers(&users)}}));
            claims.patch_status(&claim.name, &PatchParams::default(), &patch).await?;
        }
        Effect::FreeClaim { claim, version } => {
            let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version},
                "status": {"allocation": null, "reservedFor": null, "devices": null}}));
            let claims: Api<ResourceClaim> = Api::namespaced(client.clone(), &claim.namespace);
            claims.patch_status(&claim.name, &PatchParams::default(), &patch).await?;
        }
        Effect::AnnotateClaim { claim, key, value } => {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {(key): value}}}));
            let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &claim.namespace);
            claims.patch(&claim.name, &PatchParams::default(), &patch).await?;
        }
    }
    Ok(())
}

pub(super) fn consumers(users: &[ClaimUser]) -> Vec<Value> {
    let consumer = |user: &ClaimUser| json!({"apiGroup": user.group, "resource": user.resource, "name": user.name, "uid": &*user.uid});
    users.iter().map(consumer).collect()
}
