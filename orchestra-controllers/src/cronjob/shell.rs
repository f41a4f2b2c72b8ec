//! CronJobs: reads, asks the plan, writes.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::{CronJob, CronJobStatus, Job};
use kube::api::PropagationPolicy;

use super::plan::{Action, Observed, plan, reference};
use crate::controller::{Next, Reconcile};
use crate::error::{Error, Result, unless_gone};
use crate::events::Mood;
use crate::expectations::Expectations;
use crate::family::{Known, watch_members, watch_owners};
use crate::informer::Index;
use crate::key::Key;
use crate::ownership::is_controlled_by;
use crate::queue::Queue;
use crate::world::{World, exactly, post_params};

const COMPONENT: &str = "cronjob-controller";

pub(crate) struct CronJobs {
    world: Arc<World>,
    queue: Arc<Queue<Key>>,
}

/// Connects the controller to the world: which change concerns which CronJob.
pub(crate) fn setup(world: &Arc<World>) -> (Arc<CronJobs>, Arc<Queue<Key>>) {
    let queue = Arc::new(Queue::new());
    // Nothing is ordered: the names of the Jobs alone prevent doubles.
    let orders = Arc::new(Expectations::default());
    watch_owners::<CronJob>(world, &queue, &orders);
    watch_members::<CronJob, Job>(world, &queue, &orders);
    (Arc::new(CronJobs { world: world.clone(), queue: queue.clone() }), queue)
}

impl Reconcile for CronJobs {
    type Key = Key;

    fn name(&self) -> &'static str {
        "cronjob"
    }

    async fn reconcile(&self, key: &Key) -> Result<Next> {
        let Some(cron) = self.world.cron_jobs.get(key) else { return Ok(Next::Wait) };
        let jobs = self.world.jobs.indexed(&Index::Owner(cron.uid().to_owned()));
        let gone = self.gone(&cron, &jobs).await?;
        let observed = Observed { cron: &cron, jobs: &jobs, gone: &gone, now: self.world.clock.now() };
        for action in plan(&observed) {
            match action {
                Action::Tell(news) => {
                    let (mood, reason, message) = news.words();
                    self.note(&cron, mood, reason, message);
                }
                Action::Delete(job) => self.delete(&cron, &job).await?,
                Action::SetStatus(status) => self.set_status(&cron, *status).await?,
                Action::Start(job, status) => self.start(&cron, &job, *status).await?,
                Action::LookAgain(delay) => self.queue.add_after(key.clone(), delay),
            }
        }
        Ok(Next::Wait)
    }
}

impl CronJobs {
    /// Which active Jobs are really gone: the copy alone may be behind.
    async fn gone(&self, cron: &CronJob, jobs: &[Arc<Job>]) -> Result<BTreeSet<String>> {
        let api = Job::api(&self.world, &cron.key().namespace);
        let mut gone = BTreeSet::new();
        for reference in cron.status.iter().flat_map(|status| status.active.iter().flatten()) {
            let uid = reference.uid.clone().unwrap_or_default();
            if jobs.iter().any(|job| job.uid() == uid) {
                continue;
            }
            let live = api.get_opt(reference.name.as_deref().unwrap_or_default()).await?;
            if live.is_none_or(|live| live.uid() != uid) {
                gone.insert(uid);
            }
        }
        Ok(gone)
    }

    async fn delete(&self, cron: &CronJob, job: &Job) -> Result<()> {
        let mut params = exactly(job.uid());
        params.propagation_policy = Some(PropagationPolicy::Background);
        match Job::api(&self.world, &cron.key().namespace)
            .delete(job.name(), &params)
            .await
            .map_err(Error::from)
        {
            Ok(_) => {
                self.note(cron, Mood::Normal, "SuccessfulDelete", format!("Deleted job {}", job.name()));
                Ok(())
            }
            Err(Error::NotFound(_) | Error::Conflict(_)) => Ok(()),
            Err(error) => {
                self.note(cron, Mood::Warning, "FailedDelete", format!("Deleted job: {}", error.said()));
                Err(error)
            }
        }
    }

    async fn start(&self, cron: &CronJob, job: &Job, mut status: CronJobStatus) -> Result<()> {
        let api = Job::api(&self.world, &cron.key().namespace);
        let started = match api.create(&post_params(), job).await.map_err(Error::from) {
            Ok(created) => {
                self.note(cron, Mood::Normal, "SuccessfulCreate", format!("Created job {}", created.name()));
                created
            }
            Err(Error::AlreadyExists(_)) => {
                let held = api.get(job.name()).await?;
                // Somebody else's Job of the same name: there is nothing to be done for this time.
                if !is_controlled_by(&held.metadata, &cron.metadata) {
                    return Ok(());
                }
                held
            }
            Err(error) if error.is_namespace_terminating() => return Ok(()),
            Err(error) => {
                self.note(
                    cron,
                    Mood::Warning,
                    "FailedCreate",
                    format!("Error creating job: {}", error.said()),
                );
                return Err(error);
            }
        };
        status.active.get_or_insert_default().push(reference(&started));
        self.set_status(cron, status).await
    }

    async fn set_status(&self, cron: &CronJob, status: CronJobStatus) -> Result<()> {
        let key = cron.key();
        let new = CronJob { status: Some(status), ..cron.clone() };
        let api = CronJob::api(&self.world, &key.namespace);
        if let Some(written) = unless_gone(api.replace_status(&key.name, &post_params(), &new).await)? {
            self.world.cron_jobs.observe(written);
        }
        Ok(())
    }

    fn note(&self, cron: &CronJob, mood: Mood, reason: &'static str, message: String) {
        self.world.recorder.record(COMPONENT, cron, mood, reason, message);
    }
}
