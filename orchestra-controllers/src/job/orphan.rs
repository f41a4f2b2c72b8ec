//! Pods that still wait to be counted by a Job that is gone, or that has finished: nobody will count them.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::Patch;
use serde_json::json;

use super::spec::{FINALIZER, is_finished, is_foreign, is_tracked};
use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::family::{Known, owner_of};
use crate::informer::Index;
use crate::key::Key;
use crate::ownership::controller_of;
use crate::queue::Queue;
use crate::world::{World, patch_params};

pub(crate) struct Orphans {
    world: Arc<World>,
}

/// Connects the controller to the world. A pod is queued only when it may be an orphan.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Orphans>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.pods.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let (Some(world), Some(pod)) = (weak.upgrade(), change.new) else { return };
            if is_tracked(pod) && owner_of::<Job, Pod>(&world, pod).is_none_or(|job| is_finished(&job)) {
                queue.add(pod.key());
            }
        }
    });
    world.jobs.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let (Some(world), Some(job)) = (weak.upgrade(), change.object()) else { return };
            if change.new.is_some_and(|job| !is_finished(job)) {
                return;
            }
            for pod in world.pods.indexed(&Index::Owner(job.uid().to_owned())) {
                if is_tracked(&pod) {
                    queue.add(pod.key());
                }
            }
        }
    });
    (Arc::new(Orphans { world: world.clone() }), queue)
}

impl Reconcile for Orphans {
    type Key = Key;

    fn name(&self) -> &'static str {
        "job-orphan"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(pod) = self.world.pods.get(key).filter(|pod| is_tracked(pod)) else { return Ok(Next::Wait) };
        if let Some(owner) = controller_of(&pod.metadata) {
            if owner.kind != Job::kind(&()) || owner.api_version != Job::api_version(&()) {
                return Ok(Next::Wait);
            }
            // The copy may be behind: only the server knows that a Job is gone.
            let job = Job::api(&self.world, &key.namespace).get_opt(&owner.name).await?;
            let job = job.filter(|job| job.uid() == owner.uid);
            let counts = |job: &Job| !is_finished(job) || job.spec.as_ref().is_some_and(is_foreign);
            if job.as_ref().is_some_and(counts) {
                return Ok(Next::Wait);
            }
        }
        release(&self.world, &pod).await.map(|()| Next::Wait)
    }
}

/// Takes the finalizer off a pod, whatever else has changed of it meanwhile.
pub(super) async fn release(world: &World, pod: &Pod) -> Result<()> {
    if !is_tracked(pod) {
        return Ok(());
    }
    let patch = json!({"metadata": {"uid": pod.uid(), "$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
    let api = Pod::api(world, &pod.key().namespace);
    let released = api.patch(pod.name(), &patch_params(), &Patch::Strategic(patch)).await;
    if let Some(released) = unless_gone(released)? {
        world.pods.observe(released);
    }
    Ok(())
}
