//! Carries out effects.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::dispatcher::Job;
use crate::effect::Effect;

/// A write without an answer for this long is given up; if it went through after all, the watch will tell.
const PATIENCE: Duration = Duration::from_secs(30);

/// Carries out a job's effects; whatever happens, there is a result, and not too late.
pub(super) async fn guarded(client: &Client, job: Job) -> Result<(), String> {
    let work = AssertUnwindSafe(perform(client, job)).catch_unwind();
    match timeout(PATIENCE, work).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => Err("the client panicked".to_owned()),
        Err(_) => Err(format!("no answer for {} s", PATIENCE.as_secs())),
    }
}

/// Carries out a job's effects, one after the other; the first error ends it.
async fn perform(client: &Client, job: Job) -> Result<(), String> {
    for effect in job.effects {
        one(client, effect).await.map_err(|error| words(&error))?;
    }
    Ok(())
}

/// What the server said, without what the client puts around it.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

async fn one(client: &Client, effect: Effect) -> Result<(), Error> {
    match effect {
        Effect::Bind { pod, uid, node } => {
            let binding = json!({
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"namespace": &*pod.namespace, "name": &*pod.name, "uid": &*uid},
                "target": {"kind": "Node", "name": &*node},
            });
            let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace);
            pods.create_subresource::<Value, Value>("binding", &pod.name, &PostParams::default(), &binding)
                .await?;
        }
        Effect::AnnotateClaim { claim, key, value } => {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {(key): value}}}));
            let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &claim.namespace);
            claims.patch(&claim.name, &PatchParams::default(), &patch).await?;
        }
    }
    Ok(())
}
