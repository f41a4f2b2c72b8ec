//! Jobs: reads, asks the plan, writes.

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use super::orphan::release;
use super::plan::{Action, Fate, Observed, plan};
use super::spec::{is_finished, is_foreign};
use crate::batch::slow_start;
use crate::controller::{Next, Reconcile};
use crate::error::{Result, unless_gone};
use crate::expectations::Expectations;
use crate::family::{Known, members, watch_members, watch_owners};
use crate::key::Key;
use crate::metrics::{Mode, Sync};
use crate::pod_control::PodControl;
use crate::queue::Queue;
use crate::world::{World, post_params};

const COMPONENT: &str = "job-controller";

pub(crate) struct Jobs {
    world: Arc<World>,
    expectations: Arc<Expectations>,
    control: PodControl,
    queue: Arc<Queue<Key>>,
}

/// Connects the controller to the world: which change concerns which Job.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<Jobs>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    let expectations = Arc::new(Expectations::default());
    watch_owners::<Job>(world, &queue, &expectations);
    watch_members::<Job, Pod>(world, &queue, &expectations);
    let control =
        PodControl { world: world.clone(), expectations: expectations.clone(), component: COMPONENT };
    (Arc::new(Jobs { world: world.clone(), expectations, control, queue: queue.clone() }), queue)
}

impl Reconcile for Jobs {
    type Key = Key;

    fn name(&self) -> &'static str {
        "job"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(job) = self.world.jobs.get(key) else {
            self.expectations.forget(key);
            return Ok(Next::Wait);
        };
        if is_finished(&job) || job.spec.as_ref().is_none_or(is_foreign) {
            return Ok(Next::Wait);
        }
        let settled = self.expectations.are_met(key);
        let pods = members::<Job, Pod>(&self.world, &job).await?;
        let now = self.world.clock.now();
        let observed = Observed { job: &job, pods: &pods, settled, refused: false, now };
        let (begun, mode) = (Instant::now(), Mode::of(&job));
        let actions = plan(&observed);
        let sync = sync_of(&actions);
        let orders = |action: &Action| matches!(action, Action::Create(_) | Action::Discard(_));
        let is_order = actions.iter().any(orders);
        let outcome = self.perform(key, &job, actions).await;
        self.world.metrics.jobs.synced(sync, mode, &outcome, begun.elapsed());
        match outcome {
            // What the status can tell without these pods, it tells before they are ordered again.
            Err(refusal) if is_order => {
                self.perform(key, &job, plan(&Observed { refused: true, ..observed })).await?;
                Err(refusal)
            }
            outcome => outcome.map(|()| self.expectations.lapse(key)),
        }
    }
}

/// What metrics call this: the first deed that upstream would name it after.
fn sync_of(actions: &[Action]) -> Sync {
    let named = actions.iter().find_map(|action| match action {
        Action::Create(_) => Some(Sync::PodsCreated),
        Action::Discard(_) | Action::Delete(_) => Some(Sync::PodsDeleted),
        _ => None,
    });
    let tracks = actions.iter().any(|action| matches!(action, Action::Release(_)));
    named.unwrap_or(if tracks { Sync::Tracking } else { Sync::Reconciling })
}

impl Jobs {
    async fn perform(&self, key: &Key, job: &Arc<Job>, actions: Vec<Action>) -> Result<()> {
        let mut job = job.clone();
        for action in actions {
            match action {
                Action::Create(pods) => {
                    self.control.create(&*job, pods.len(), |number| pods.get(number)).await?;
                }
                Action::Discard(pods) => {
                    self.release(&pods).await?;
                    self.control.delete(&*job, &pods).await?;
                }
                Action::Delete(pods) => self.control.delete(&*job, &pods).await?,
                Action::Release(pods) => self.release(&pods).await?,
                Action::SetStatus(status) => match self.set_status(&job, *status).await? {
                    Some(written) => job = Arc::new(written),
                    None => return Ok(()),
                },
                Action::Tell(fate) => {
                    match &fate {
                        Fate::Completed => self.world.metrics.jobs.completed(Mode::of(&job)),
                        Fate::Failed { reason, .. } => {
                            self.world.metrics.jobs.failed(Mode::of(&job), reason);
                        }
                        Fate::Suspended | Fate::Resumed | Fate::TooManySucceeded => {}
                    }
                    let (mood, reason, message) = fate.words();
                    self.world.recorder.record(COMPONENT, &*job, mood, reason, message);
                }
                Action::LookAgain(delay) => self.queue.add_after(key.clone(), delay),
            }
        }
        Ok(())
    }

    async fn release(&self, pods: &[Arc<Pod>]) -> Result<()> {
        let outcome = slow_start(pods.len(), 1, |number| async move {
            match pods.get(number) {
                Some(pod) => release(&self.world, pod).await,
                None => Ok(()),
            }
        });
        outcome.await.failure.map_or(Ok(()), Err)
    }

    async fn set_status(&self, job: &Job, status: JobStatus) -> Result<Option<Job>> {
        let key = job.key();
        let new = Job { status: Some(status), ..job.clone() };
        let api = Job::api(&self.world, &key.namespace);
        let written = unless_gone(api.replace_status(&key.name, &post_params(), &new).await)?;
        if let Some(written) = &written {
            self.world.jobs.observe(written.clone());
        }
        Ok(written)
    }
}
