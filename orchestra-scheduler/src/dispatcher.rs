//! The scheduler without an API: facts go in, steps to take come out.
//!
//! Everything the scheduler remembers is here: the cluster with its assumed pods, the queue, and the pods between
//! decision and binding. It does nothing by itself and reads no clock, so the live driver and a simulator on
//! virtual time run the same code.

mod batch;
mod facts;
mod flight;
mod preempt;
mod step;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::effect::Effect;
use crate::engine::{Engine, EngineKind};
use crate::event::{ClusterEvent, Hint};
use crate::extender::Extender;
use crate::guard::guarded;
use crate::metrics::SchedulerMetrics;
use crate::outcome::{Choice, Diagnosis, Failure, Outcome};
use crate::plugin::Cycle;
use crate::profile::Profile;
use crate::queue::{BackoffOptions, Moment, Queue, QueueCounts, Tally};
use crate::verdict::{Admission, Reservation};
use crate::view::{ClusterView, NodeName, PodKey, PodUid, PodView, Promise};

use self::batch::Asked;
use self::flight::Flight;
use self::preempt::Preempting;

pub use step::{Eviction, Job, Report, ReportReason, Step};

/// Stands for a rejector while there are no nodes at all; only a new node helps then.
const NO_NODES: &str = "";

/// The scheduler's state and the transitions between its steps.
#[derive(Debug)]
pub struct Dispatcher {
    profiles: Vec<Profile>,
    engine: Box<dyn Engine>,
    cluster: ClusterView,
    queue: Queue,
    by_key: HashMap<PodKey, PodUid>,
    flights: HashMap<PodUid, Flight>,
    /// Pods for which others are being evicted; they are held back until the last eviction begins.
    preempting: HashMap<PodUid, Preempting>,
    steps: VecDeque<Step>,
    /// When the strategy of each profile was last asked.
    batches: Vec<Asked>,
    /// Counts changes of the cluster; waiting pods are asked again when it moved.
    epoch: u64,
    asked: u64,
    /// Where is counted what only the dispatcher sees.
    metrics: Option<SchedulerMetrics>,
    /// What the last fact meant, in upstream's words.
    meant: Option<&'static str>,
}

impl Dispatcher {
    /// A scheduler of these profiles (the first decides the order of the queue) and this engine.
    #[must_use]
    pub fn new(profiles: Vec<Profile>, engine: Box<dyn Engine>, backoff: BackoffOptions) -> Self {
        let sort = profiles.first().and_then(|profile| profile.queue_sort.clone());
        Self {
            batches: vec![Asked::default(); profiles.len()],
            profiles,
            engine,
            cluster: ClusterView::default(),
            queue: Queue::new(sort, backoff),
            by_key: HashMap::new(),
            flights: HashMap::new(),
            preempting: HashMap::new(),
            steps: VecDeque::new(),
            epoch: 0,
            asked: 0,
            metrics: None,
            meant: None,
        }
    }

    /// Counts into `metrics` what only the dispatcher sees.
    pub(crate) fn count_into(&mut self, metrics: SchedulerMetrics) {
        self.metrics = Some(metrics);
    }

    /// What the facts since the last call meant, the last of them, in upstream's words.
    pub(crate) fn take_meaning(&mut self) -> Option<&'static str> {
        self.meant.take()
    }

    /// What the queue has counted.
    pub(crate) fn tally(&self) -> &Tally {
        self.queue.tally()
    }

    /// One that has nothing to do, to stand in for another for a while.
    pub(crate) fn idle() -> Self {
        Self::new(Vec::new(), EngineKind::Reference.seeded(0), BackoffOptions::default())
    }

    /// The cluster as the scheduler sees it, assumed pods included.
    #[must_use]
    pub fn cluster(&self) -> &ClusterView {
        &self.cluster
    }

    /// Whether some profile has a plugin of this name that waits for pods to be woken.
    pub(crate) fn has_plugin(&self, name: &str) -> bool {
        self.profiles.iter().any(|profile| profile.requeue.iter().any(|plugin| plugin.name() == name))
    }

    /// The extenders of all profiles, each once.
    pub(crate) fn extenders(&self) -> Vec<Arc<dyn Extender>> {
        let mut all: Vec<Arc<dyn Extender>> = Vec::new();
        for extender in self.profiles.iter().flat_map(|profile| &profile.extenders) {
            if !all.iter().any(|other| Arc::ptr_eq(other, extender)) {
                all.push(extender.clone());
            }
        }
        all
    }

    /// How many pods wait where.
    #[must_use]
    pub fn counts(&self) -> QueueCounts {
        self.queue.counts()
    }

    /// Whether the pod is in the queue or in flight.
    pub(crate) fn is_waiting(&self, uid: &PodUid) -> bool {
        self.queue.pod(uid).is_some()
    }

    /// The next thing to do, deciding on one more pod if nothing else is pending. `None`: nothing until a fact or
    /// [`Dispatcher::next_due`] comes.
    pub fn next(&mut self, now: Moment) -> Option<Step> {
        self.ask_waiting(now);
        loop {
            if let Some(step) = self.steps.pop_front() {
                return Some(step);
            }
            if self.ask_strategies(now) {
                continue;
            }
            let uid = self.queue.pop(now)?.pod.uid.clone();
            self.attempt(&uid, now);
        }
    }

    /// When something becomes ready by time alone.
    #[must_use]
    pub fn next_due(&self) -> Option<Moment> {
        let deadline = self.flights.values().filter_map(Flight::deadline).min();
        [self.queue.next_due(), deadline, self.next_batch()].into_iter().flatten().min()
    }

    fn attempt(&mut self, uid: &PodUid, now: Moment) {
        let Some(pod) = self.queue.pod(uid).cloned() else { return };
        if self.cluster.node_of(uid).is_some() {
            self.queue.remove(uid);
            return;
        }
        let Some(index) = self.profile_of(&pod) else {
            self.queue.remove(uid);
            return;
        };
        if pod.terminating {
            self.queue.remove(uid);
            self.report_deleting(pod);
            return;
        }
        let Some(profile) = self.profiles.get(index) else { return };
        let mut cycle = Cycle::new(&self.cluster);
        match self.engine.place(profile, &mut cycle, &pod) {
            Outcome::Chosen(Choice { node, .. }) => {
                let reserved = reserve(profile, &mut cycle, &pod, &node);
                let notes = cycle.into_notes();
                match reserved {
                    Ok(promises) => {
                        promises.iter().cloned().for_each(|promise| self.cluster.promise(promise));
                        self.assume(Flight::new(pod, node, index, notes, promises, now), now);
                    }
                    Err(NotReserved::Rejected(diagnosis)) => self.rejected(pod, *diagnosis, None, now),
                    Err(NotReserved::Failed(failure)) => self.failed(pod, failure, now),
                }
            }
            Outcome::Rejected(diagnosis) => {
                let looked = !profile.post_filter.is_empty();
                let victims = looked.then_some(diagnosis.victims.len());
                self.rejected(pod, diagnosis, victims, now);
            }
            Outcome::NoNodes => self.without_nodes(pod, now),
            Outcome::Failed(failure) => self.failed(pod, failure, now),
        }
    }

    fn assume(&mut self, mut flight: Flight, now: Moment) {
        let uid = flight.pod.uid.clone();
        flight.flushed = self.queue.is_flushed(&uid);
        self.cluster.withdraw(&flight.pod);
        self.cluster.place(flight.pod.clone(), &flight.node);
        self.flights.insert(uid.clone(), flight);
        // Pods that wait for permission may have waited for this one.
        self.epoch += 1;
        self.advance(&uid, now);
    }

    fn rejected(&mut self, pod: Arc<PodView>, diagnosis: Diagnosis, victims: Option<usize>, now: Moment) {
        let message = diagnosis.message();
        if diagnosis.withdrawn {
            self.cluster.withdraw(&pod);
        }
        if let Some(node) = &diagnosis.nominated {
            self.make_room(&pod, node, diagnosis.victims, now);
        }
        if !diagnosis.repairs.is_empty() {
            self.steps.push_back(Step::Repair { pod: pod.clone(), effects: diagnosis.repairs });
        }
        self.queue.reject(
            &pod.uid,
            diagnosis.plugins,
            now,
            &helps(&self.cluster, &self.profiles, &self.preempting),
        );
        self.report_with(pod, ReportReason::Unschedulable, message, victims);
    }

    fn without_nodes(&mut self, pod: Arc<PodView>, now: Moment) {
        let by = BTreeSet::from([NO_NODES.to_owned()]);
        self.cluster.withdraw(&pod);
        self.queue.park(&pod.uid, by, now, &helps(&self.cluster, &self.profiles, &self.preempting));
        let message = "no nodes available to schedule pods".to_owned();
        self.report(pod, ReportReason::Unschedulable, message);
    }

    fn failed(&mut self, pod: Arc<PodView>, failure: Failure, now: Moment) {
        self.queue.fail(&pod.uid, now);
        self.cluster.withdraw(&pod);
        self.report(pod, ReportReason::SchedulerError, failure.message);
    }

    fn report_deleting(&mut self, pod: Arc<PodView>) {
        let message = format!("skip schedule deleting pod: {}", pod.key);
        self.report(pod, ReportReason::Deleting, message);
    }

    fn report(&mut self, pod: Arc<PodView>, reason: ReportReason, message: String) {
        self.report_with(pod, reason, message, None);
    }

    fn report_with(
        &mut self,
        pod: Arc<PodView>,
        reason: ReportReason,
        message: String,
        victims: Option<usize>,
    ) {
        let nominated = self.cluster.promised(&pod.uid).cloned();
        self.steps.push_back(Step::Report(Report { pod, reason, message, nominated, victims }));
    }

    fn happened(&mut self, event: &ClusterEvent, now: Moment) {
        self.epoch += 1;
        self.meant = Some(event.label());
        self.queue.happened(event, now, &helps(&self.cluster, &self.profiles, &self.preempting));
    }

    fn profile_of(&self, pod: &PodView) -> Option<usize> {
        self.profiles.iter().position(|profile| **profile.name() == *pod.scheduler)
    }

    /// The plugin that holds the pod back from the queue, if one does.
    fn gate(&self, pod: &PodView) -> Option<String> {
        let profile = self.profiles.get(self.profile_of(pod)?)?;
        let holds = |plugin: &Arc<dyn crate::plugin::PreEnqueue>| {
            let name = plugin.name();
            match guarded(name, "PreEnqueue", || plugin.pre_enqueue(pod)) {
                Ok(Admission::Admit) => None,
                Ok(Admission::Hold(reasons)) => {
                    tracing::debug!(pod = %pod.key, plugin = name, reason = reasons.join(", "), "pod is held");
                    Some(name.to_owned())
                }
                Err(failure) => {
                    tracing::warn!(pod = %pod.key, error = %failure, "pod is held");
                    Some(name.to_owned())
                }
            }
        };
        profile.pre_enqueue.iter().find_map(holds)
    }
}

/// Why a node could not be reserved.
pub(crate) enum NotReserved {
    Rejected(Box<Diagnosis>),
    Failed(Failure),
}

/// Runs the `Reserve` plugins; when one refuses, all are undone, last first.
pub(crate) fn reserve(
    profile: &Profile,
    cycle: &mut Cycle<'_>,
    pod: &PodView,
    node: &NodeName,
) -> Result<Vec<Promise>, NotReserved> {
    let mut promises = Vec::new();
    for plugin in &profile.reserve {
        let name = plugin.name();
        let problem = match guarded(name, "Reserve", || plugin.reserve(cycle, pod, node)) {
            Ok(Reservation::Made) => continue,
            Ok(Reservation::Promise(more)) => {
                promises.extend(more);
                continue;
            }
            Ok(Reservation::Reject(rejection)) => {
                NotReserved::Rejected(Box::new(Diagnosis::after_choice(node.clone(), name, rejection)))
            }
            Ok(Reservation::Fail(error)) => NotReserved::Failed(Failure {
                plugin: Some(name.to_owned()),
                message: format!("running Reserve plugin {name:?}: {error}"),
            }),
            Err(failure) => NotReserved::Failed(failure),
        };
        // Nothing can have been written yet.
        unreserve(profile, cycle, pod, node);
        return Err(problem);
    }
    Ok(promises)
}

/// Undoes reservations, last first; returned is what has to be taken back by writing.
fn unreserve(profile: &Profile, cycle: &mut Cycle<'_>, pod: &PodView, node: &NodeName) -> Vec<Effect> {
    let mut effects = Vec::new();
    for plugin in profile.reserve.iter().rev() {
        match guarded(plugin.name(), "Unreserve", || plugin.unreserve(cycle, pod, node)) {
            Ok(more) => effects.extend(more),
            Err(failure) => {
                tracing::error!(pod = %pod.key, error = %failure, "a reservation was not undone");
            }
        }
    }
    effects
}

/// Tells whether an event may change what some plugins said about a pod. A plugin that does not say is asked again on
/// everything, and one that fails to answer too. A pod for which others are being evicted waits for that.
fn helps<'a>(
    cluster: &'a ClusterView,
    profiles: &'a [Profile],
    preempting: &'a HashMap<PodUid, Preempting>,
) -> impl Fn(&PodView, &BTreeSet<String>, &ClusterEvent) -> bool + 'a {
    move |pod, plugins, event| {
        if preempting.contains_key(&pod.uid) {
            return false;
        }
        let profile = profiles.iter().find(|profile| **profile.name() == *pod.scheduler);
        plugins.iter().any(|name| {
            if name == NO_NODES {
                return matches!(event, ClusterEvent::NodeAdded(_));
            }
            let requeue =
                profile.and_then(|profile| profile.requeue.iter().find(|plugin| plugin.name() == name));
            requeue.is_none_or(|plugin| {
                !matches!(guarded(name, "QueueingHint", || plugin.hint(cluster, pod, event)), Ok(Hint::Skip))
            })
        })
    }
}

#[cfg(test)]
mod tests;
