//! Finished Jobs that are to go by themselves go when their time is over.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kube::api::PropagationPolicy;

use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::family::Known;
use crate::job::finished_condition;
use crate::key::Key;
use crate::queue::Queue;
use crate::world::{World, exactly};

/// How long a Job may still stay, if it is finished and has a time to live; zero if that is over.
pub fn plan(job: &Job, now: Timestamp) -> Option<Duration> {
    let limit = job.spec.as_ref()?.ttl_seconds_after_finished?;
    if job.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let finished = finished_condition(job)?.last_transition_time.as_ref()?.0;
    let left = SignedDuration::from_secs(limit.into()).saturating_sub(now.duration_since(finished));
    Some(Duration::try_from(left).unwrap_or(Duration::ZERO))
}

pub(crate) struct Expiry {
    world: Arc<World>,
}

/// Connects the controller to the world. A Job is queued only when it has a time to live.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Expiry>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    world.jobs.on_change({
        let (weak, queue) = (Arc::downgrade(world), queue.clone());
        move |change| {
            let (Some(world), Some(job)) = (weak.upgrade(), change.new) else { return };
            if let Some(left) = plan(job, world.clock.now()) {
                queue.add_after(job.key(), left);
            }
        }
    });
    (Arc::new(Expiry { world: world.clone() }), queue)
}

impl Reconcile for Expiry {
    type Key = Key;

    fn name(&self) -> &'static str {
        "ttl-after-finished"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let now = self.world.clock.now();
        let left = |job: &Job| plan(job, now);
        match self.world.jobs.get(key).and_then(|job| left(&job)) {
            None => return Ok(Next::Wait),
            Some(Duration::ZERO) => {}
            Some(left) => return Ok(Next::After(left)),
        }
        // Its time may have been prolonged a moment ago: the server's own word counts.
        let api = Job::api(&self.world, &key.namespace);
        let Some(job) = api.get_opt(&key.name).await? else { return Ok(Next::Wait) };
        match left(&job) {
            None => Ok(Next::Wait),
            Some(Duration::ZERO) => {
                let mut params = exactly(job.uid());
                params.propagation_policy = Some(PropagationPolicy::Foreground);
                unless_gone(api.delete(&key.name, &params).await).map(|_| Next::Wait)
            }
            Some(left) => Ok(Next::After(left)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_job_stays_for_its_time() {
        let job = |ttl: Option<i32>, condition: &str| -> Job {
            serde_json::from_value(serde_json::json!({"spec": {"ttlSecondsAfterFinished": ttl, "template": {}},
                "status": {"conditions": [{"type": condition, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}))
            .unwrap()
        };
        let now: Timestamp = "2026-01-01T00:00:40Z".parse().unwrap();
        assert_eq!(plan(&job(Some(60), "Complete"), now), Some(Duration::from_secs(20)));
        assert_eq!(plan(&job(Some(0), "Failed"), now), Some(Duration::ZERO));
        assert_eq!(plan(&job(None, "Complete"), now), None);
        assert_eq!(plan(&job(Some(60), "Suspended"), now), None);
    }
}
