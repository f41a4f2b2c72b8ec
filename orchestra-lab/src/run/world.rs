//! The world around the scheduler: pods that come and end, nodes that come, fail and go.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use jiff::Timestamp;
use orchestra_scheduler::effect::Effect;
use orchestra_scheduler::view::{NodeName, PodUid};
use orchestra_scheduler::{Eviction, Job, Report, ReportReason, Step};

use super::core::Core;
use super::gauge::Gauge;
use super::{Decision, Outcome, Refusals, RunError, RunOptions, Sink, Verb};
use crate::gpu::Account;
use crate::time::SimTime;
use crate::workload::{PodPlan, Stay, Workload, named};

/// With nothing to come but repeated attempts, the simulation goes on this long: longer than any pause of the queue.
const PATIENCE: SimTime = SimTime::from_secs(5 * 60 + 20);
/// Every so many moments it is told how far the run is.
const ROUND: u64 = 128;

/// What will happen at a time; at one moment, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// A pod ends, or is deleted; unless it was made anew meanwhile.
    PodEnds {
        pod: usize,
        made: u32,
    },
    NodeGoes {
        node: usize,
        failed: Failed,
    },
    NodeComes {
        node: usize,
        failed: Failed,
    },
}

/// Whether a node goes for good or because it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Failed {
    No,
    Yes,
}

/// A pod of the workload, as it is now.
#[derive(Clone, Debug, Default)]
struct Pod {
    /// How often it was made; it is made anew when it is lost or evicted.
    made: u32,
    state: State,
    since: SimTime,
    attempts: u32,
    refused: bool,
    /// The reason it was last given.
    reason: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Not there, or there no more.
    #[default]
    Absent,
    Waiting,
    On {
        node: usize,
        evicted: bool,
    },
}

#[derive(Clone, Debug, Default)]
struct Node {
    planned: bool,
    failures: u32,
    pods: BTreeSet<usize>,
}

impl Node {
    fn is_there(&self) -> bool {
        self.planned && self.failures == 0
    }
}

pub(super) struct World<'a> {
    workload: &'a Workload,
    options: &'a RunOptions,
    sink: &'a mut dyn Sink,
    core: Core,
    now: SimTime,
    agenda: BinaryHeap<Reverse<(SimTime, Happening)>>,
    /// The pods by the time they come, and how many of them have.
    arrivals: Vec<usize>,
    arrived: usize,
    pods: Vec<Pod>,
    nodes: Vec<Node>,
    places: std::collections::HashMap<NodeName, usize>,
    gauge: Gauge,
    outcome: Outcome,
    /// When the cluster last changed.
    changed: SimTime,
}

impl<'a> World<'a> {
    pub(super) fn new(
        workload: &'a Workload,
        core: Core,
        devices: Arc<Account>,
        options: &'a RunOptions,
        sink: &'a mut dyn Sink,
    ) -> Self {
        let mut agenda = BinaryHeap::new();
        for (node, plan) in workload.nodes.iter().enumerate() {
            agenda.push(Reverse((plan.from, Happening::NodeComes { node, failed: Failed::No })));
            agenda.extend(
                plan.until.map(|until| Reverse((until, Happening::NodeGoes { node, failed: Failed::No }))),
            );
        }
        for outage in &workload.outages {
            let (node, failed) = (outage.node, Failed::Yes);
            agenda.push(Reverse((outage.at, Happening::NodeGoes { node, failed })));
            agenda.push(Reverse((outage.at.plus(outage.lasts), Happening::NodeComes { node, failed })));
        }
        let mut arrivals: Vec<usize> = (0..workload.pods.len()).collect();
        arrivals.sort_by_key(|pod| workload.pods.get(*pod).map(|plan| plan.at));
        let places =
            workload.nodes.iter().enumerate().map(|(at, plan)| (plan.facts.name.clone(), at)).collect();
        Self {
            workload,
            options,
            sink,
            core,
            now: SimTime::ZERO,
            agenda,
            arrivals,
            arrived: 0,
            pods: vec![Pod::default(); workload.pods.len()],
            nodes: vec![Node::default(); workload.nodes.len()],
            places,
            gauge: Gauge::new(workload, devices),
            outcome: Outcome::default(),
            changed: SimTime::ZERO,
        }
    }

    pub(super) fn live(mut self) -> Result<Outcome, RunError> {
        let mut moments = 0_u64;
        while let Some(now) = self.next_moment() {
            moments += 1;
            if moments.is_multiple_of(ROUND) {
                self.sink.progress(self.arrived);
            }
            self.gauge.advance(now, self.core.cluster());
            self.now = now;
            while self.happen()? {}
            // Asked here, because where nodes are many one decision may take long.
            while let Some(step) = self.going(now)? {
                self.outcome.events += 1;
                self.take(step)?;
            }
            self.gauge.settled();
        }
        self.end()
    }

    /// The next step at this moment, unless the run was told to end.
    fn going(&mut self, now: SimTime) -> Result<Option<Step>, RunError> {
        if self.options.stop.is_stopped() {
            return Err(RunError::Stopped);
        }
        self.core.next(now)
    }

    /// When something happens next; `None` when all is over.
    fn next_moment(&self) -> Option<SimTime> {
        let coming = self.agenda.peek().map(|Reverse((time, _))| *time);
        let arrival = self.next_arrival().map(|plan| plan.at);
        let planned = [coming, arrival].into_iter().flatten().min();
        let due = self.core.next_due().map(|due| due.max(self.now));
        match (planned, due) {
            (Some(planned), due) => Some(due.map_or(planned, |due| due.min(planned))),
            (None, Some(due)) if self.core.has_undone() || due <= self.changed.plus(PATIENCE) => Some(due),
            (None, _) => None,
        }
    }

    fn next_arrival(&self) -> Option<&'a PodPlan> {
        self.workload.pods.get(*self.arrivals.get(self.arrived)?)
    }

    /// Has the next thing of this moment happen; false if there is none.
    fn happen(&mut self) -> Result<bool, RunError> {
        if let Some(Reverse((time, happening))) = self.agenda.peek().copied()
            && time <= self.now
        {
            self.agenda.pop();
            self.outcome.events += 1;
            match happening {
                Happening::PodEnds { pod, made } => self.pod_ends(pod, made),
                Happening::NodeGoes { node, failed } => self.node_goes(node, failed)?,
                Happening::NodeComes { node, failed } => self.node_comes(node, failed),
            }
            return Ok(true);
        }
        if let Some(plan) = self.next_arrival()
            && plan.at <= self.now
            && let Some(pod) = self.arrivals.get(self.arrived).copied()
        {
            self.arrived += 1;
            self.outcome.events += 1;
            self.make(pod);
            return Ok(true);
        }
        Ok(false)
    }

    /// A pod is made, for the first time or anew.
    fn make(&mut self, index: usize) {
        let Some((plan, pod)) = self.workload.pods.get(index).zip(self.pods.get_mut(index)) else { return };
        let Some(class) = self.workload.classes.get(plan.class) else { return };
        let mut view = named(class, &plan.name);
        pod.made += 1;
        view.uid = PodUid::from(format!("{index}.{}", pod.made).as_str());
        *pod = Pod { made: pod.made, state: State::Waiting, since: self.now, ..Pod::default() };
        if let Stay::Until(until) = plan.stay {
            self.agenda
                .push(Reverse((until.max(self.now), Happening::PodEnds { pod: index, made: pod.made })));
        }
        self.outcome.pods += 1;
        self.changed = self.now;
        self.gauge.pod_came();
        self.core.pod_applied(view, self.now);
    }

    fn pod_ends(&mut self, index: usize, made: u32) {
        let Some(pod) = self.pods.get(index).filter(|pod| pod.made == made) else { return };
        let evicted = matches!(pod.state, State::On { evicted: true, .. });
        if self.remove(index) && evicted {
            self.make_anew(index);
        }
    }

    /// Takes a pod away; false if it was not there.
    fn remove(&mut self, index: usize) -> bool {
        let Some((plan, pod)) = self.workload.pods.get(index).zip(self.pods.get_mut(index)) else {
            return false;
        };
        let Some(class) = self.workload.classes.get(plan.class) else { return false };
        let state = std::mem::take(&mut pod.state);
        match state {
            State::Absent => return false,
            State::Waiting => self.gauge.pod_gave_up(),
            State::On { node, .. } => {
                self.gauge.pod_left(class);
                if let Some(node) = self.nodes.get_mut(node) {
                    node.pods.remove(&index);
                }
            }
        }
        let uid = PodUid::from(format!("{index}.{}", pod.made).as_str());
        let key = named(class, &plan.name).key;
        self.changed = self.now;
        self.core.pod_deleted(&key, &uid, self.now);
        true
    }

    /// Whoever made a pod that was lost or evicted makes it anew, unless its time is over.
    fn make_anew(&mut self, index: usize) {
        let over = self.workload.pods.get(index).is_none_or(|plan| match plan.stay {
            Stay::Until(until) => until <= self.now,
            Stay::Forever | Stay::For(_) => false,
        });
        if !over {
            self.make(index);
        }
    }

    fn node_comes(&mut self, index: usize, failed: Failed) {
        let Some((plan, node)) = self.workload.nodes.get(index).zip(self.nodes.get_mut(index)) else {
            return;
        };
        let before = node.is_there();
        match failed {
            Failed::No => node.planned = true,
            Failed::Yes => node.failures = node.failures.saturating_sub(1),
        }
        if !before && node.is_there() {
            self.changed = self.now;
            self.gauge.node_came(&plan.facts);
            self.core.node_applied((*plan.facts).clone(), self.now);
        }
    }

    fn node_goes(&mut self, index: usize, failed: Failed) -> Result<(), RunError> {
        let Some((plan, node)) = self.workload.nodes.get(index).zip(self.nodes.get_mut(index)) else {
            return Ok(());
        };
        let before = node.is_there();
        match failed {
            Failed::No => node.planned = false,
            Failed::Yes => node.failures += 1,
        }
        if !before || node.is_there() {
            return Ok(());
        }
        let lost: Vec<usize> = node.pods.iter().copied().collect();
        self.changed = self.now;
        self.gauge.node_went(&plan.facts);
        self.core.node_deleted(&plan.facts.name, self.now);
        for pod in lost {
            self.outcome.lost += 1;
            self.record(pod, Verb::Lost, Some(&plan.facts.name), "the node was lost")?;
            self.remove(pod);
            self.make_anew(pod);
        }
        Ok(())
    }

    fn take(&mut self, step: Step) -> Result<(), RunError> {
        match step {
            Step::Perform(job) => self.perform(job),
            Step::Report(report) => self.report(report),
            Step::Evict(eviction) => self.evict(eviction),
            // What a binding changes was done when it was performed.
            _ => Ok(()),
        }
    }

    fn perform(&mut self, job: Job) -> Result<(), RunError> {
        let Job { pod, node, effects } = job;
        let binds = matches!(effects.as_slice(), [Effect::Bind { .. }]);
        let place = self.places.get(&node).copied();
        let (Some(index), Some(place), true) = (index_of(&pod.uid), place, binds) else {
            // Claims and volumes are not simulated.
            self.core.performed(&pod.uid, Err("only bindings are simulated".to_owned()), self.now);
            return Ok(());
        };
        let Some(state) = self.pods.get_mut(index) else { return Ok(()) };
        state.state = State::On { node: place, evicted: false };
        state.attempts = state.attempts.saturating_add(1);
        let (made, delay) = (state.made, self.now.since(state.since));
        if let Some(node) = self.nodes.get_mut(place) {
            node.pods.insert(index);
        }
        let mut bound = (*pod).clone();
        bound.node = Some(node.clone());
        bound.nominated = None;
        bound.rules = Arc::default();
        bound.reported = None;
        bound.started = started(self.now);
        self.core.performed(&pod.uid, Ok(()), self.now);
        self.core.pod_applied(bound, self.now);
        self.gauge.pod_bound(&pod);
        self.outcome.bound += 1;
        self.outcome.delays.push(delay);
        self.changed = self.now;
        if let Some(PodPlan { stay: Stay::For(time), .. }) = self.workload.pods.get(index) {
            self.agenda.push(Reverse((self.now.plus(*time), Happening::PodEnds { pod: index, made })));
        }
        self.record(index, Verb::Bound, Some(&node), "")
    }

    fn report(&mut self, report: Report) -> Result<(), RunError> {
        let Some(index) = index_of(&report.pod.uid) else { return Ok(()) };
        if report.nominated != report.pod.nominated {
            // The status of a waiting pod says where it was promised room.
            let mut told = (*report.pod).clone();
            told.nominated.clone_from(&report.nominated);
            self.core.pod_applied(told, self.now);
        }
        let verb = match report.reason {
            ReportReason::Unschedulable => Verb::Refused,
            ReportReason::SchedulerError => Verb::Failed,
            ReportReason::Deleting | ReportReason::Displaced => return Ok(()),
        };
        let Some(pod) = self.pods.get_mut(index) else { return Ok(()) };
        pod.attempts = pod.attempts.saturating_add(1);
        match verb {
            Verb::Refused => self.outcome.refused += 1,
            _ => self.outcome.failed += 1,
        }
        let first = !std::mem::replace(&mut pod.refused, true);
        if pod.reason.as_deref() != Some(&*report.message) {
            pod.reason = Some(report.message.as_str().into());
        }
        if first || verb == Verb::Failed || self.options.refusals == Refusals::All {
            return self.record(index, verb, None, &report.message);
        }
        Ok(())
    }

    fn evict(&mut self, eviction: Eviction) -> Result<(), RunError> {
        let Eviction { victim, preemptor, node, in_memory } = eviction;
        let Some(index) = index_of(&victim.uid).filter(|_| !in_memory) else { return Ok(()) };
        let Some(pod) = self.pods.get_mut(index) else { return Ok(()) };
        if let State::On { evicted, .. } = &mut pod.state
            && !std::mem::replace(evicted, true)
        {
            let ends = Happening::PodEnds { pod: index, made: pod.made };
            self.agenda.push(Reverse((self.now.plus(self.options.grace), ends)));
            self.outcome.evicted += 1;
            let mut going = (*victim).clone();
            (going.terminating, going.preempted) = (true, true);
            self.core.pod_applied(going, self.now);
            self.record(index, Verb::Evicted, Some(&node), &format!("preempted by {}", preemptor.key))?;
        }
        self.core.evicted(&preemptor.uid, self.now);
        Ok(())
    }

    fn record(&mut self, index: usize, verb: Verb, node: Option<&str>, reason: &str) -> Result<(), RunError> {
        let Some((plan, pod)) = self.workload.pods.get(index).zip(self.pods.get(index)) else {
            return Ok(());
        };
        let Some(class) = self.workload.classes.get(plan.class) else { return Ok(()) };
        let decision = Decision {
            time: self.now,
            namespace: &class.key.namespace,
            pod: &plan.name,
            verb,
            node,
            queued: self.now.since(pod.since),
            attempts: pod.attempts,
            reason,
        };
        Ok(self.sink.decided(&decision)?)
    }

    fn end(mut self) -> Result<Outcome, RunError> {
        for index in 0..self.pods.len() {
            let Some(pod) = self.pods.get(index).filter(|pod| pod.state == State::Waiting) else { continue };
            let reason = pod.reason.clone();
            self.outcome.pending += 1;
            self.record(index, Verb::Pending, None, reason.as_deref().unwrap_or("never tried"))?;
        }
        self.sink.progress(self.arrived);
        self.outcome.end = self.now;
        let (usage, samples) = self.gauge.end(self.now, self.core.cluster());
        Ok(Outcome { usage, samples, ..self.outcome })
    }
}

/// The place in the workload of a pod that was made here.
fn index_of(uid: &PodUid) -> Option<usize> {
    uid.split_once('.')?.0.parse().ok()
}

/// When a node took a pod on, as its status says: in whole seconds.
fn started(now: SimTime) -> Option<Timestamp> {
    Timestamp::from_second(i64::try_from(now.as_micros() / 1_000_000).ok()?).ok()
}
