//! What a running scheduler counts, under upstream's names.
//!
//! All of it is counted by the driver, from the steps that it takes anyway; deciding is not slower by it, and a dispatcher
//! without a driver counts nothing. What upstream measures around each plugin is not there: the fast engine does not run
//! plugins one after the other. Of the extension points those are timed that write to the API. What the queue counts it adds up
//! by itself, as numbers that are copied when they have changed.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use orchestra_metrics::{Family, Histogram, exponential, write};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::dispatcher::{Dispatcher, Report, ReportReason};
use crate::queue::{Moment, Tally};
use crate::view::PodUid;

const ATTEMPT_SECONDS: &[f64] = &exponential::<15>(0.001, 2.0);
const WAIT_SECONDS: &[f64] = &exponential::<20>(0.01, 2.0);
const POINT_SECONDS: &[f64] = &exponential::<12>(0.0001, 2.0);
const VICTIMS: &[f64] = &exponential::<7>(1.0, 2.0);
const ATTEMPTS: &[f64] = &exponential::<5>(1.0, 2.0);

/// From this number of attempts on they are not told apart, as upstream does.
const MANY_ATTEMPTS: u32 = 15;
/// More results of more profiles than anybody has.
const MOST_SERIES: usize = 300;

/// Profile and result.
type Tried = (String, &'static str);

/// What a scheduler counts. Clones count the same; a cluster has one, given to [`crate::Scheduler::metrics`] and shown by
/// the registry it is registered with.
#[derive(Clone, Debug)]
pub struct SchedulerMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    tried: Family<Tried, Histogram>,
    /// By how many attempts it took.
    waited: Family<u32, Histogram>,
    attempts: Histogram,
    decided: Histogram,
    points: Family<(&'static str, String, &'static str), Histogram>,
    preemptions: Counter,
    victims: Histogram,
    queues: [Gauge; QUEUES.len()],
    permits: Family<&'static str, Histogram>,
    handled: Family<&'static str, Histogram>,
    after_flush: Counter,
    claims: [Counter; CLAIMS.len()],
    binding: Gauge,
    tally: Mutex<Tally>,
    nodes: Gauge,
    assumed: Gauge,
    pods: Gauge,
    pending: Mutex<Pending>,
}

/// How the making of a claim may end.
const CLAIMS: [&str; 2] = ["success", "failure"];

const QUEUES: [&str; 4] = ["active", "backoff", "gated", "unschedulable"];

/// Pods that were tried and have no node yet.
#[derive(Debug, Default)]
struct Pending {
    pods: HashMap<PodUid, Attempts>,
    /// Pods that are gone are looked for when there are more than this.
    look_above: usize,
}

#[derive(Debug)]
struct Attempts {
    first: Moment,
    last: Moment,
    number: u32,
    /// Whether the last attempt found a node, and what follows is still under way.
    is_under_way: bool,
}

impl Attempts {
    fn since(first: Moment) -> Self {
        Self { first, last: first, number: 0, is_under_way: false }
    }

    fn begin(&mut self, at: Moment) {
        self.last = at;
        self.number = self.number.saturating_add(1);
    }
}

fn took(begun: Moment, now: Moment) -> Duration {
    now.0.saturating_sub(begun.0)
}

impl Default for SchedulerMetrics {
    fn default() -> Self {
        Self(Arc::new(Inner {
            tried: Family::new(MOST_SERIES, (String::new(), "error"), || Histogram::new(ATTEMPT_SECONDS)),
            waited: Family::new(MOST_SERIES, MANY_ATTEMPTS, || Histogram::new(WAIT_SECONDS)),
            attempts: Histogram::new(ATTEMPTS),
            decided: Histogram::new(ATTEMPT_SECONDS),
            points: Family::new(MOST_SERIES, ("Bind", String::new(), "Error"), || {
                Histogram::new(POINT_SECONDS)
            }),
            preemptions: Counter::default(),
            victims: Histogram::new(VICTIMS),
            queues: Default::default(),
            permits: Family::new(MOST_SERIES, "Error", || Histogram::new(ATTEMPT_SECONDS)),
            handled: Family::new(MOST_SERIES, "", || Histogram::new(POINT_SECONDS)),
            after_flush: Counter::default(),
            claims: Default::default(),
            binding: Gauge::default(),
            tally: Mutex::default(),
            nodes: Gauge::default(),
            assumed: Gauge::default(),
            pods: Gauge::default(),
            pending: Mutex::default(),
        }))
    }
}

impl SchedulerMetrics {
    /// Shows them in `registry`, under upstream's names.
    pub fn register(&self, registry: &mut Registry) {
        registry.register_collector(Box::new(self.clone()));
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Effects are to be carried out for a pod; the step was asked for at `begun`. The first of them mean that a node was
    /// decided on.
    pub(crate) fn decided(&self, uid: &PodUid, begun: Moment, now: Moment) {
        let mut pending = self.pending();
        let attempts = pending.pods.entry(uid.clone()).or_insert_with(|| Attempts::since(begun));
        if !attempts.is_under_way {
            attempts.begin(begun);
            attempts.is_under_way = true;
            self.0.decided.observe_duration(took(begun, now));
        }
    }

    /// A pod is bound.
    pub(crate) fn bound(&self, uid: &PodUid, profile: &str, now: Moment) {
        let Some(Attempts { first, last, number, .. }) = self.pending().pods.remove(uid) else { return };
        self.0.tried.of(&(profile.to_owned(), "scheduled")).observe_duration(took(last, now));
        self.0.waited.of(&number.min(MANY_ATTEMPTS)).observe_duration(took(first, now));
        self.0.attempts.observe(number.into());
    }

    /// A pod has no node, which the step told that was asked for at `begun`.
    pub(crate) fn reported(&self, report: &Report, begun: Moment, now: Moment) {
        let result = match report.reason {
            ReportReason::Unschedulable => "unschedulable",
            ReportReason::SchedulerError => "error",
            ReportReason::Deleting | ReportReason::Displaced => return,
        };
        if let Some(victims) = report.victims {
            self.0.preemptions.inc();
            if victims > 0 {
                self.0.victims.observe(u64::try_from(victims).unwrap_or(u64::MAX));
            }
        }
        let mut pending = self.pending();
        let attempts = pending.pods.entry(report.pod.uid.clone()).or_insert_with(|| Attempts::since(begun));
        if !std::mem::take(&mut attempts.is_under_way) {
            attempts.begin(begun);
        }
        let profile = report.pod.scheduler.to_string();
        self.0.tried.of(&(profile, result)).observe_duration(took(attempts.last, now));
    }

    /// The effects of an extension point for a pod went well or not.
    pub(crate) fn performed(&self, point: &'static str, profile: &str, is_well: bool, took: Duration) {
        let status = if is_well { "Success" } else { "Error" };
        self.0.points.of(&(point, profile.to_owned(), status)).observe_duration(took);
    }

    /// A pod waited for permission, and has it or not.
    pub(crate) fn permitted(&self, result: &'static str, since: Moment, now: Moment) {
        self.0.permits.of(&result).observe_duration(took(since, now));
    }

    /// A pod was bound that was tried only because it had waited for too long.
    pub(crate) fn bound_after_flush(&self) {
        self.0.after_flush.inc();
    }

    /// A claim of extended resources was to be made, and is or is not.
    pub(crate) fn claim_made(&self, is_made: bool) {
        let [success, failure] = &self.0.claims;
        if is_made { success } else { failure }.inc();
    }

    /// A fact was taken in.
    pub(crate) fn handled(&self, event: &'static str, begun: Moment, now: Moment) {
        self.0.handled.of(&event).observe_duration(took(begun, now));
    }

    /// What the dispatcher knows now, and how many writes are under way.
    pub(crate) fn look(&self, dispatcher: &Dispatcher, under_way: usize) {
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        let counts = dispatcher.counts();
        let figures = [counts.active, counts.backoff, counts.gated, counts.unschedulable];
        for (gauge, figure) in self.0.queues.iter().zip(figures) {
            gauge.set(whole(figure));
        }
        self.0.nodes.set(whole(dispatcher.cluster().node_count()));
        self.0.pods.set(whole(dispatcher.cluster().pod_count()));
        self.0.assumed.set(whole(counts.in_flight));
        self.0.binding.set(whole(under_way));
        {
            let mut tally = self.0.tally.lock().unwrap_or_else(PoisonError::into_inner);
            if *tally != *dispatcher.tally() {
                tally.clone_from(dispatcher.tally());
            }
        }
        let mut pending = self.pending();
        if pending.pods.len() > pending.look_above {
            pending.pods.retain(|uid, _| dispatcher.is_waiting(uid));
            pending.look_above = (2 * pending.pods.len()).max(1_000);
        }
    }
}

impl Collector for SchedulerMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let tried = self.0.tried.all();
        let each = || {
            let labels = |profile, result| [("profile", profile), ("result", result)];
            tried.iter().map(move |((profile, result), took)| (labels(profile.as_str(), *result), &**took))
        };
        let help = "[STABLE] Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while 'error' means an internal scheduler problem.";
        let counts = each().map(|(labels, took)| (labels, took.count()));
        write::counter(out, "scheduler_schedule_attempts_total", help, counts)?;
        let help = "[STABLE] Scheduling attempt latency in seconds (scheduling algorithm + binding)";
        write::histogram(out, "scheduler_scheduling_attempt_duration_seconds", help, each())?;
        let help = "[ALPHA] Scheduling algorithm latency in seconds";
        let name = "scheduler_scheduling_algorithm_duration_seconds";
        write::histogram(out, name, help, [([], &self.0.decided)])?;
        let waited = self.0.waited.all();
        let waited: Vec<_> = waited
            .iter()
            .map(|(number, waited)| {
                let many = if *number < MANY_ATTEMPTS { "" } else { "+" };
                (format!("{number}{many}"), waited)
            })
            .collect();
        let help = "[BETA] E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve multiple scheduling attempts.";
        let samples = waited.iter().map(|(number, waited)| ([("attempts", number.as_str())], &***waited));
        write::histogram(out, "scheduler_pod_scheduling_sli_duration_seconds", help, samples)?;
        let help = "[STABLE] Number of attempts to successfully schedule a pod.";
        write::histogram(out, "scheduler_pod_scheduling_attempts", help, [([], &self.0.attempts)])?;
        let points = self.0.points.all();
        let help = "[STABLE] Latency for running all plugins of a specific extension point.";
        let samples = points.iter().map(|((point, profile, status), took)| {
            let labels = [("extension_point", *point), ("profile", profile.as_str()), ("status", *status)];
            (labels, &**took)
        });
        write::histogram(out, "scheduler_framework_extension_point_duration_seconds", help, samples)?;
        let help = "[STABLE] Total preemption attempts in the cluster till now";
        let preemptions = [([], self.0.preemptions.get())];
        write::counter(out, "scheduler_preemption_attempts_total", help, preemptions)?;
        let help = "[STABLE] Number of selected preemption victims";
        write::histogram(out, "scheduler_preemption_victims", help, [([], &self.0.victims)])?;
        let help = "[STABLE] Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' means number of pods in backoffQ; 'unschedulable' means number of pods in unschedulablePods that the scheduler attempted to schedule and failed; 'gated' is the number of unschedulable pods that the scheduler never attempted to schedule because they are gated.";
        let pending = QUEUES.into_iter().zip(&self.0.queues);
        let pending = pending.map(|(queue, gauge)| ([("queue", queue)], gauge.get()));
        write::gauge(out, "scheduler_pending_pods", help, pending)?;
        let help = "[ALPHA] Number of nodes, pods, and assumed (bound) pods in the scheduler cache.";
        let sizes = [("assumed_pods", &self.0.assumed), ("nodes", &self.0.nodes), ("pods", &self.0.pods)];
        let sizes = sizes.map(|(sort, gauge)| ([("type", sort)], gauge.get()));
        write::gauge(out, "scheduler_cache_size", help, sizes)?;
        self.encode_queue(out)
    }
}

impl SchedulerMetrics {
    /// What is counted around the queue.
    fn encode_queue(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let tally = self.0.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let help = "[STABLE] Number of pods added to scheduling queues by event and queue type.";
        let incoming = tally.incoming.iter();
        let incoming =
            incoming.map(|((queue, event), count)| ([("event", *event), ("queue", *queue)], *count));
        write::counter(out, "scheduler_queue_incoming_pods_total", help, incoming)?;
        let help = "[BETA] The number of unschedulable pods broken down by plugin name. A pod will increment the gauge for all plugins that caused it to not schedule and so this metric have meaning only when broken down by plugin.";
        let rejected = tally.rejected.iter().map(|((plugin, profile), count)| {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            ([("plugin", plugin.as_str()), ("profile", &**profile)], count)
        });
        write::gauge(out, "scheduler_unschedulable_pods", help, rejected)?;
        let help = "[BETA] Duration of waiting on permit.";
        let permits = self.0.permits.all();
        let samples = permits.iter().map(|(result, waited)| ([("result", *result)], &**waited));
        write::histogram(out, "scheduler_permit_wait_duration_seconds", help, samples)?;
        let help = "[ALPHA] Event handling latency in seconds.";
        let handled = self.0.handled.all();
        let samples = handled.iter().map(|(event, took)| ([("event", *event)], &**took));
        write::histogram(out, "scheduler_event_handling_duration_seconds", help, samples)?;
        let help = "[ALPHA] Number of pods that were successfully scheduled after being flushed from unschedulablePods due to timeout. This metric helps detect potential queueing hint misconfigurations or event handling issues.";
        let flushed = [([], self.0.after_flush.get())];
        write::counter(out, "scheduler_pod_scheduled_after_flush_total", help, flushed)?;
        let help = "[ALPHA] Number of ResourceClaims creation requests within scheduler";
        let claims = CLAIMS.into_iter().zip(&self.0.claims).filter(|(_, count)| count.get() > 0);
        let claims = claims.map(|(status, count)| ([("status", status)], count.get()));
        write::counter(out, "scheduler_resourceclaim_creates_total", help, claims)?;
        let help = "[BETA] Number of running goroutines split by the work they do such as binding.";
        let binding = [([("operation", "binding")], self.0.binding.get())];
        write::gauge(out, "scheduler_goroutines", help, binding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_buckets_are_upstreams() {
        let (mut registry, metrics) = (Registry::default(), SchedulerMetrics::default());
        metrics.register(&mut registry);
        let uid = PodUid::from("p");
        metrics.decided(&uid, Moment(Duration::ZERO), Moment(Duration::from_millis(3)));
        metrics.performed("Bind", "default-scheduler", true, Duration::from_millis(1));
        metrics.bound(&uid, "default-scheduler", Moment(Duration::from_millis(9)));
        metrics.permitted("Success", Moment(Duration::ZERO), Moment(Duration::from_millis(2)));
        metrics.handled("NodeAdd", Moment(Duration::ZERO), Moment(Duration::from_micros(150)));
        metrics.bound_after_flush();
        metrics.claim_made(true);
        metrics.claim_made(false);
        metrics.claim_made(false);
        {
            let mut tally = metrics.0.tally.lock().unwrap();
            tally.incoming.insert(("active", "UnschedulablePodAdd"), 3);
            tally.rejected.insert(("NodePorts".to_owned(), "default-scheduler".into()), 2);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"scheduled\"} 1",
            "scheduler_scheduling_attempt_duration_seconds_bucket{le=\"0.001\",",
            "scheduler_scheduling_attempt_duration_seconds_bucket{le=\"16.384\",",
            "scheduler_scheduling_algorithm_duration_seconds_count 1",
            "scheduler_pod_scheduling_sli_duration_seconds_bucket{",
            "scheduler_pod_scheduling_attempts_count 1",
            "scheduler_framework_extension_point_duration_seconds_bucket{",
            "scheduler_pending_pods{queue=\"active\"} 0",
            "scheduler_preemption_attempts_total 0",
            "scheduler_preemption_victims_count 0",
            "scheduler_cache_size{type=\"nodes\"} 0",
            "scheduler_queue_incoming_pods_total{queue=\"active\",event=\"UnschedulablePodAdd\"} 3",
            "scheduler_unschedulable_pods{plugin=\"NodePorts\",profile=\"default-scheduler\"} 2",
            "scheduler_permit_wait_duration_seconds_count{result=\"Success\"} 1",
            "scheduler_event_handling_duration_seconds_bucket{le=\"0.0002\",event=\"NodeAdd\"} 1",
            "scheduler_pod_scheduled_after_flush_total 1",
            "scheduler_resourceclaim_creates_total{status=\"success\"} 1",
            "scheduler_resourceclaim_creates_total{status=\"failure\"} 2",
            "scheduler_goroutines{operation=\"binding\"} 0",
        ] {
            let sorted = |line: &str| line.split(['{', ',', '}']).map(str::to_owned).collect::<Vec<_>>();
            let parts = sorted(line);
            let is_it = |other: &str| {
                parts.iter().filter(|part| !part.is_empty()).all(|part| other.contains(&**part))
            };
            assert!(text.lines().any(is_it), "{line}\n{text}");
        }
    }
}
