//! Runs the dispatcher against a Kubernetes API: the only asynchronous part of this crate.
//!
//! One task owns the dispatcher. It takes in what watches deliver, as it comes and without polling, carries out
//! steps in tasks of their own, and decides on no further pod while too many writes are under way.

mod act;
mod claim;
mod event;
mod feed;
mod report;

use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use kube::Client;
use tokio::task::{JoinError, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::dispatcher::{Dispatcher, Eviction, Step};
use crate::effect::Effect;
use crate::metrics::SchedulerMetrics;
use crate::queue::Moment;
use crate::scheduler::Clock;
use crate::view::{NamespacedName, PodUid, PodView};

use self::act::Hands;
use self::feed::{Fact, Feeds};
use self::report::{Herald, News, Reporter};

/// At most this many facts are taken in, and this many steps taken, before the other side has its turn.
const TURN: usize = 128;

/// Writes under way, and how they went.
type Jobs = JoinSet<Done>;

/// What came of effects: with the claims that were made, if all went well.
enum Done {
    /// The effects for a pod.
    Performed(PodUid, Result<Vec<NamespacedName>, String>),
    /// What may help a pod.
    Repaired(Arc<PodView>, Result<Vec<NamespacedName>, String>),
    /// An eviction for a pod.
    Evicted(PodUid, Result<Vec<NamespacedName>, String>),
}

/// Schedules until `shutdown`.
pub(crate) async fn run(
    mut dispatcher: Dispatcher,
    client: Client,
    parallel: usize,
    clock: Clock,
    metrics: SchedulerMetrics,
    shutdown: CancellationToken,
) {
    dispatcher.count_into(metrics.clone());
    let (news, incoming) = report::channels(clock.clone());
    let reporter = Reporter::new(client.clone(), clock.clone());
    let (jobs, start) = (Jobs::new(), Instant::now());
    let extenders = dispatcher.extenders().into();
    let hands = Hands { client, clock, extenders, metrics: metrics.clone() };
    let driver = Driver { dispatcher, hands, metrics, parallel, jobs, news, start };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = futures::future::join(driver.run(), reporter.run(incoming)).map(drop) => {}
    }
}

struct Driver {
    dispatcher: Dispatcher,
    hands: Hands,
    metrics: SchedulerMetrics,
    parallel: usize,
    jobs: Jobs,
    news: Herald,
    start: Instant,
}

impl Driver {
    async fn run(mut self) {
        let gangs = self.dispatcher.has_plugin("GangScheduling") || self.dispatcher.has_strategy();
        let mut feeds = Feeds::open(&self.hands, gangs);
        // Nothing is decided before everything that exists is known.
        while !feeds.listed() {
            let Some(fact) = feeds.facts.next().await else { return };
            self.take_in(fact, &mut feeds);
        }
        tracing::info!(nodes = self.dispatcher.cluster().node_count(), "scheduling");
        loop {
            for _ in 0..TURN {
                let Some(Some(fact)) = feeds.facts.next().now_or_never() else { break };
                self.take_in(fact, &mut feeds);
            }
            let Some(busy) = self.take_steps().await else { return };
            self.metrics.look(&self.dispatcher, self.jobs.len());
            // What waits for news alone is due at the end of time, which no clock can say.
            let due = self.dispatcher.next_due().and_then(|due| self.start.checked_add(due.0));
            tokio::select! {
                biased;
                // Results first: there are never more than writes under way, while facts may come without end.
                Some(done) = self.jobs.join_next() => self.take_result(done),
                fact = feeds.facts.next() => match fact {
                    Some(fact) => self.take_in(fact, &mut feeds),
                    None => return,
                },
                () = sleep_until(due.unwrap_or(self.start)), if due.is_some() && self.jobs.len() < self.parallel => {}
                () = tokio::task::yield_now(), if busy => {}
            }
        }
    }

    fn now(&self) -> Moment {
        Moment(self.start.elapsed())
    }

    fn take_in(&mut self, fact: Fact, feeds: &mut Feeds) {
        let now = self.now();
        if let Some(refused) = fact.tell(&mut self.dispatcher, feeds, now) {
            self.tell(News::Refused(refused));
        }
        if let Some(event) = self.dispatcher.take_meaning() {
            self.metrics.handled(event, now, self.now());
        }
    }

    /// What is to be done next. Extenders are waited for on a thread that may wait. An error is the end.
    async fn next_step(&mut self, now: Moment) -> Result<Option<Step>, JoinError> {
        if self.hands.extenders.is_empty() {
            return Ok(self.dispatcher.next(now));
        }
        let mut dispatcher = std::mem::replace(&mut self.dispatcher, Dispatcher::idle());
        let (dispatcher, step) = spawn_blocking(move || {
            let step = dispatcher.next(now);
            (dispatcher, step)
        })
        .await?;
        self.dispatcher = dispatcher;
        Ok(step)
    }

    /// Takes steps until there are none, too much is under way, or the turn is over; true in the last case, and `None`
    /// if it cannot go on.
    async fn take_steps(&mut self) -> Option<bool> {
        for _ in 0..TURN {
            if self.jobs.len() >= self.parallel {
                return Some(false);
            }
            let begun = self.now();
            let step = match self.next_step(begun).await {
                Ok(step) => step,
                Err(error) => {
                    tracing::error!(%error, "a decision ended unexpectedly");
                    return None;
                }
            };
            match step {
                None => return Some(false),
                Some(Step::Perform(job)) => {
                    self.metrics.decided(&job.pod.uid, begun, self.now());
                    let (hands, metrics) = (self.hands.clone(), self.metrics.clone());
                    self.jobs.spawn(async move {
                        let binds = job
                            .effects
                            .iter()
                            .any(|effect| matches!(effect, Effect::Bind { .. } | Effect::BindThrough { .. }));
                        let point = if binds { "Bind" } else { "PreBind" };
                        let begun = Instant::now();
                        if !binds {
                            act::expect(&hands, &job).await;
                        }
                        let result = act::guarded(&hands, job.effects).await;
                        metrics.performed(point, &job.pod.scheduler, result.is_ok(), begun.elapsed());
                        Done::Performed(job.pod.uid.clone(), result)
                    });
                }
                Some(Step::Repair { pod, effects }) => {
                    let hands = self.hands.clone();
                    self.jobs.spawn(async move { Done::Repaired(pod, act::guarded(&hands, effects).await) });
                }
                Some(Step::Evict(eviction)) => self.evict(eviction),
                Some(Step::Bound { pod, node }) => {
                    tracing::debug!(pod = %pod.key, %node, "bound");
                    self.metrics.bound(&pod.uid, &pod.scheduler, self.now());
                    self.tell(News::Bound { pod, node });
                }
                Some(Step::Announce { pod, notice }) => self.tell(News::Announced { pod, notice }),
                Some(Step::Report(report)) => {
                    tracing::debug!(pod = %report.pod.key, reason = ?report.reason, report.message, "not bound");
                    self.metrics.reported(&report, begun, self.now());
                    self.tell(News::Failed(report));
                }
            }
        }
        Some(true)
    }

    fn evict(&mut self, eviction: Eviction) {
        let Eviction { victim, preemptor, in_memory, .. } = &eviction;
        tracing::info!(victim = %victim.key, preemptor = %preemptor.key, node = %eviction.node, "preempting");
        if !in_memory {
            let effect = Effect::Evict {
                pod: victim.key.clone(),
                uid: victim.uid.clone(),
                message: format!("{}: preempting to accommodate a higher priority pod", preemptor.scheduler),
                generation: victim.generation,
            };
            let (hands, uid) = (self.hands.clone(), preemptor.uid.clone());
            self.jobs.spawn(async move { Done::Evicted(uid, act::guarded(&hands, vec![effect]).await) });
        }
        self.tell(News::Preempted(eviction));
    }

    fn take_result(&mut self, done: Result<Done, JoinError>) {
        let now = self.now();
        match done {
            Ok(Done::Performed(uid, result)) => {
                let made = result.map(|made| made.iter().for_each(|claim| self.dispatcher.made(&uid, claim)));
                self.dispatcher.performed(&uid, made, now);
            }
            Ok(Done::Repaired(_, Ok(_))) => {}
            // It is tried again with the pod.
            Ok(Done::Repaired(pod, Err(error))) => tracing::debug!(pod = %pod.key, error, "not repaired"),
            Ok(Done::Evicted(uid, result)) => self.dispatcher.evicted(&uid, result.map(drop), now),
            // Tasks catch their panics and are not aborted before the driver ends.
            Err(error) => tracing::error!(%error, "a write ended unexpectedly"),
        }
    }

    fn tell(&self, news: News) {
        self.news.tell(news);
    }
}
