//! Carries out effects.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Error};
use serde_json::{Value, json};

use crate::dispatcher::Job;
use crate::effect::Effect;

/// Carries out a job's effects, one after the other; the first error ends it.
pub(super) async fn perform(client: &Client, job: Job) -> Result<(), String> {
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
