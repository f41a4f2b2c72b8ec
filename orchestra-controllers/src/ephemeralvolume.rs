//! Claims that pods bring with them: a volume of a pod with a template of a claim gets that claim, which goes with the pod, as upstream's
//! `ephemeral-volume` controller makes it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Api;

use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result};
use crate::events::Mood;
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, post_params};

const COMPONENT: &str = "ephemeral_volume";

/// The claim of a volume, if the volume brings one.
pub fn claim(pod: &Pod, volume: &Volume) -> Option<PersistentVolumeClaim> {
    let template = volume.ephemeral.as_ref()?.volume_claim_template.as_ref()?;
    let name = pod.metadata.name.as_deref()?;
    let kept = template.metadata.clone().unwrap_or_default();
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        name: name.to_owned(),
        uid: pod.metadata.uid.clone()?,
        controller: Some(true),
        block_owner_deletion: Some(true),
    };
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{}", volume.name)),
            labels: kept.labels,
            annotations: kept.annotations,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.clone()),
        ..PersistentVolumeClaim::default()
    })
}

/// The claims of a pod that is to stay.
fn claims(pod: &Pod) -> Vec<PersistentVolumeClaim> {
    if pod.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    volumes.iter().filter_map(|volume| claim(pod, volume)).collect()
}

fn is_owned_by(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    let mut owners = claim.metadata.owner_references.iter().flatten();
    owners.any(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref())
}

pub(crate) struct Claims {
    world: Arc<World>,
}

/// Connects the controller to the world. Keys are pods.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Claims>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.pods.on_change({
        let queue = queue.clone();
        move |change| {
            if let Some(pod) = change.new.filter(|pod| change.old.is_none() && !claims(pod).is_empty()) {
                queue.add(Key::of(&pod.metadata));
            }
        }
    });
    world.claims.on_change({
        let queue = queue.clone();
        move |change| {
            let (Some(gone), None) = (change.old, change.new) else { return };
            let namespace = gone.metadata.namespace.clone().unwrap_or_default();
            let owners = gone.metadata.owner_references.iter().flatten();
            for owner in owners.filter(|owner| owner.kind == "Pod" && owner.controller == Some(true)) {
                queue.add(Key::new(namespace.clone(), &owner.name));
            }
        }
    });
    (Arc::new(Claims { world: world.clone() }), queue)
}

impl Reconcile for Claims {
    type Key = Key;

    fn name(&self) -> &'static str {
        "ephemeral_volume"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(pod) = self.world.pods.get(key) else { return Ok(Next::Wait) };
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.world.client.clone(), &key.namespace);
        for claim in claims(&pod) {
            let name = claim.metadata.name.clone().unwrap_or_default();
            let held = self.world.claims.get(&Key::new(&key.namespace, &name));
            let held = match held {
                Some(held) => held,
                None => match api.create(&post_params(), &claim).await.map_err(Error::from) {
                    Ok(made) => {
                        self.world.claims.observe(made);
                        continue;
                    }
                    // It is there and was not seen yet: whose it is will be seen.
                    Err(Error::AlreadyExists(_)) => {
                        return Err(Error::Malformed(format!("claim {name} is not seen yet")));
                    }
                    Err(problem) if problem.is_namespace_terminating() => return Ok(Next::Wait),
                    Err(problem) => {
                        let text =
                            format!("ephemeral volume controller: creating claim {name}: {}", problem.said());
                        self.world.recorder.record(COMPONENT, &*pod, Mood::Warning, "FailedCreate", text);
                        return Err(problem);
                    }
                },
            };
            if !is_owned_by(&held, &pod) {
                let uid = held.metadata.uid.as_deref().unwrap_or_default();
                return Err(Error::Malformed(format!(
                    "PVC \"{}/{name}\" (uid {uid:?}) was not created for pod {:?} (pod is not owner)",
                    key.namespace, key.name
                )));
            }
        }
        Ok(Next::Wait)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_has_what_its_template_says_and_belongs_to_the_pod() {
        let pod = |more| -> Pod {
            let mut pod = json!({
                "metadata": {"name": "web", "namespace": "default", "uid": "u"},
                "spec": {"containers": [], "volumes": [
                    {"name": "plain", "emptyDir": {}},
                    {"name": "scratch", "ephemeral": {"volumeClaimTemplate": {
                        "metadata": {"labels": {"a": "b"}},
                        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast"},
                    }}},
                ]},
            });
            pod["metadata"]["deletionTimestamp"] = more;
            serde_json::from_value(pod).unwrap()
        };
        let living = pod(json!(null));
        let made = claims(&living);
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].metadata.name.as_deref(), Some("web-scratch"));
        assert_eq!(made[0].metadata.labels.as_ref().unwrap()["a"], "b");
        assert_eq!(made[0].spec.as_ref().unwrap().storage_class_name.as_deref(), Some("fast"));
        assert!(is_owned_by(&made[0], &living));
        assert!(claims(&pod(json!("2026-01-01T00:00:00Z"))).is_empty());
    }
}
