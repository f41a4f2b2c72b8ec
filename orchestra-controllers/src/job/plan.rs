//! What a Job needs done: the pure part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::backoff::finished_at;
use super::indexes::Indexes;
use super::manage::{Staffing, staffing};
use super::policy::{Verdict as Judgement, judge, success};
use super::spec::{
    FAILURES, IGNORED_FAILURES, has_failed, has_succeeded, holds, index, indexed, is_finished, is_foreign,
    is_going, is_suspended, is_tracked, number,
};
use super::track::{count, set_condition};
use crate::events::Mood;
use crate::family::Known;
use crate::pod::{self, unless_zero};

/// What is known when a Job is planned.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The Job.
    pub job: &'a Job,
    /// The pods it controls.
    pub pods: &'a [Arc<Pod>],
    /// Whether everything ordered earlier has arrived.
    pub settled: bool,
    /// Whether an order of pods has just been refused, so that only the status is planned.
    pub refused: bool,
    /// The present moment.
    pub now: Timestamp,
}

/// One thing to do for a Job. They are done in order, and none after one that fails.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create these pods.
    Create(Vec<Pod>),
    /// Take the finalizer off these pods, for they do not count, and delete them.
    Discard(Vec<Arc<Pod>>),
    /// Delete these pods; they are counted.
    Delete(Vec<Arc<Pod>>),
    /// Write this status.
    SetStatus(Box<JobStatus>),
    /// Take the finalizer off these pods.
    Release(Vec<Arc<Pod>>),
    /// Record an event.
    Tell(Fate),
    /// Look again after this long. Comes first: time goes by even if what follows fails.
    LookAgain(Duration),
}

/// What people are told of a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is suspended now.
    Suspended,
    /// It is no longer suspended.
    Resumed,
    /// It has completed.
    Completed,
    /// More pods succeeded than were asked for.
    TooManySucceeded,
    /// It has failed.
    Failed {
        /// The reason of its condition.
        reason: String,
        /// The message of its condition.
        message: String,
    },
}

/// Why a Job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) reason: String,
    pub(super) message: String,
}

/// How a Job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Succeeded(Verdict),
    Failed(Verdict),
}

/// What follows from the Job and its pods, worked out once.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) job: &'a Job,
    pub(super) spec: &'a JobSpec,
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) active: Vec<Arc<Pod>>,
    /// How many have been told to end and have not.
    pub(super) going: usize,
    /// Successes, those not yet counted included; of an indexed Job, indexes.
    pub(super) succeeded: i32,
    /// Failures, those not yet counted included.
    pub(super) failed: i32,
    /// The indexes that the status holds as done.
    pub(super) succeeded_before: Indexes,
    /// Those and the ones done since.
    pub(super) succeeded_indexes: Indexes,
    /// The indexes given up, where each has a limit of its own.
    pub(super) failed_indexes: Option<Indexes>,
    /// The last failed pod of each index that is neither done, given up, nor running again.
    pub(super) awaiting: BTreeMap<u32, Arc<Pod>>,
}

/// What to do for a Job now. Finished or converged, it is nothing.
///
/// When pods are started or stopped, the status waits for them to be seen; this saves a write for each step.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    let &Observed { job, pods, settled, refused, now } = observed;
    let Some(spec) = job.spec.as_ref().filter(|spec| !is_foreign(spec)) else { return Vec::new() };
    if is_finished(job) || !settled && !refused {
        return Vec::new();
    }
    let held = job.status.clone().unwrap_or_default();
    let facts = facts(job, spec, &held, pods);
    let mut status = held.clone();
    // A resumed Job may run as long as a new one.
    let starts = status.start_time.is_none() || holds(&held, "Suspended").is_some();
    if starts && !is_suspended(spec) {
        status.start_time = Some(Time(now));
    }
    let mut end = verdict(&facts, &status, now);
    let (mut doomed, mut tell, mut wait) = (Vec::new(), Vec::new(), None);
    if end.is_some() {
        doomed = facts.active.clone();
    } else {
        wait = deadline(spec, &status, now);
        let is_managed = job.metadata.deletion_timestamp.is_none();
        if is_managed && !refused {
            match staffing(&facts, now) {
                Staffing::Right => {}
                Staffing::Start(pods, _) => return vec![Action::Create(pods)],
                Staffing::Stop(pods) => return vec![Action::Discard(pods)],
                Staffing::Wait(left) => wait = Some(wait.map_or(left, |wait| wait.min(left))),
            }
        }
        if is_complete(&facts) {
            let (reason, message) = ("CompletionsReached", "Reached expected number of succeeded pods");
            end = Some(End::Succeeded(Verdict { reason: reason.into(), message: message.into() }));
        } else if is_managed {
            tell.extend(suspend_or_resume(&mut status, spec, now));
        }
    }
    let staying = facts.active.len() - doomed.len();
    let ready = facts.active.iter().filter(|pod| doomed.is_empty() && pod::is_ready(pod)).count();
    status.active = unless_zero(pod::count(staying));
    status.ready = Some(pod::count(ready));
    status.terminating = Some(pod::count(facts.going + doomed.len()));
    let round = count(&facts, status, end.as_ref(), now);
    tell.extend(closing(spec, &round.after));

    let mut actions = Vec::new();
    if round.before != held {
        actions.push(Action::SetStatus(Box::new(round.before.clone())));
    }
    if !doomed.is_empty() {
        actions.push(Action::Delete(doomed));
    }
    if !round.release.is_empty() {
        actions.push(Action::Release(round.release));
    }
    if round.after != round.before {
        actions.push(Action::SetStatus(Box::new(round.after)));
    }
    actions.extend(tell.into_iter().map(Action::Tell));
    let again = wait.map(Action::LookAgain);
    again.into_iter().chain(actions).collect()
}

fn facts<'a>(job: &'a Job, spec: &'a JobSpec, status: &JobStatus, pods: &'a [Arc<Pod>]) -> Facts<'a> {
    let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let (listed_succeeded, listed_failed) =
        (uncounted.succeeded.unwrap_or_default(), uncounted.failed.unwrap_or_default());
    let completions = indexed(spec);
    let is_new = |pod: &&Arc<Pod>| {
        let uid = |listed: &String| listed == pod.uid();
        let has_place = completions.is_none_or(|completions| index(pod, completions).is_some());
        is_tracked(pod) && has_place && !listed_succeeded.iter().any(uid) && !listed_failed.iter().any(uid)
    };
    let new = || pods.iter().filter(is_new);
    let succeeded = new().filter(|pod| has_succeeded(pod)).count() + listed_succeeded.len();
    let failed =
        new().filter(|pod| has_failed(pod, spec) && judge(spec, pod).counts()).count() + listed_failed.len();
    let mut facts = Facts {
        job,
        spec,
        pods,
        active: pods.iter().filter(|pod| pod::is_active(pod)).cloned().collect(),
        going: pods.iter().filter(|pod| is_going(pod)).count(),
        succeeded: status.succeeded.unwrap_or(0).saturating_add(pod::count(succeeded)),
        failed: status.failed.unwrap_or(0).saturating_add(pod::count(failed)),
        succeeded_before: Indexes::default(),
        succeeded_indexes: Indexes::default(),
        failed_indexes: None,
        awaiting: BTreeMap::new(),
    };
    if let Some(completions) = completions {
        look_at_indexes(&mut facts, status, completions);
    }
    facts
}

fn look_at_indexes(facts: &mut Facts<'_>, status: &JobStatus, completions: u32) {
    let before = Indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), completions);
    let pods = facts.pods;
    let placed = || pods.iter().filter_map(|pod| Some((index(pod, completions)?, pod)));
    let mut done = before.clone();
    let new = placed().filter(|(_, pod)| is_tracked(pod) && has_succeeded(pod));
    done.extend(new.map(|(index, _)| index));
    facts.succeeded = i32::try_from(done.len()).unwrap_or(i32::MAX);
    if let Some(limit) = facts.spec.backoff_limit_per_index {
        let mut failed = Indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), completions);
        let given_up = placed().filter(|(_, pod)| {
            is_tracked(pod)
                && has_failed(pod, facts.spec)
                && match judge(facts.spec, pod) {
                    Judgement::FailIndex => true,
                    Judgement::Ignore => false,
                    Judgement::Count | Judgement::FailJob(_) => number(pod, FAILURES) >= limit,
                }
        });
        failed.extend(given_up.map(|(index, _)| index));
        let running: Indexes = facts.active.iter().filter_map(|pod| index(pod, completions)).collect();
        let is_open =
            |index: u32| !done.contains(index) && !failed.contains(index) && !running.contains(index);
        for (index, pod) in placed() {
            if is_tracked(pod) && has_failed(pod, facts.spec) && is_open(index) {
                let age = |pod: &Pod| {
                    (number(pod, FAILURES).saturating_add(number(pod, IGNORED_FAILURES)), finished_at(pod))
                };
                let last = facts.awaiting.entry(index).or_insert_with(|| pod.clone());
                if age(last) <= age(pod) {
                    *last = pod.clone();
                }
            }
        }
        facts.failed_indexes = Some(failed);
    }
    facts.succeeded_before = before;
    facts.succeeded_indexes = done;
}

/// Whether the Job ends while pods may still run, and why. What was decided once stays decided.
fn verdict(facts: &Facts<'_>, status: &JobStatus, now: Timestamp) -> Option<End> {
    let decided = |type_: &str| {
        holds(status, type_).map(|held| Verdict {
            reason: held.reason.clone().unwrap_or_default(),
            message: held.message.clone().unwrap_or_default(),
        })
    };
    if let Some(verdict) = decided("SuccessCriteriaMet") {
        return Some(End::Succeeded(verdict));
    }
    if let Some(verdict) = decided("FailureTarget") {
        return Some(End::Failed(verdict));
    }
    if let Some((reason, message)) = failure(facts, status, now) {
        return Some(End::Failed(Verdict { reason: reason.into(), message }));
    }
    let completions = indexed(facts.spec)?;
    let message = success(facts.spec, completions, &facts.succeeded_indexes)?;
    Some(End::Succeeded(Verdict { reason: "SuccessPolicy".into(), message }))
}

fn failure(facts: &Facts<'_>, status: &JobStatus, now: Timestamp) -> Option<(&'static str, String)> {
    let spec = facts.spec;
    let failed = || facts.pods.iter().filter(|pod| has_failed(pod, spec));
    let fatal = failed().find_map(|pod| match judge(spec, pod) {
        Judgement::FailJob(message) => Some(message),
        _ => None,
    });
    if let Some(message) = fatal {
        return Some(("PodFailurePolicy", message));
    }
    let limit = spec.backoff_limit.unwrap_or(6);
    if facts.failed > limit || restarts_too_often(facts, limit) {
        return Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit".into()));
    }
    if deadline(spec, status, now).is_some_and(|left| left.is_zero()) {
        return Some(("DeadlineExceeded", "Job was active longer than specified deadline".into()));
    }
    let given_up = facts.failed_indexes.as_ref().map_or(0, Indexes::len);
    let at_most = spec.max_failed_indexes.map(|most| u32::try_from(most).unwrap_or(0));
    if at_most.is_some_and(|most| given_up > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(("MaxFailedIndexesExceeded", message.into()));
    }
    let over = given_up.saturating_add(facts.succeeded_indexes.len());
    if given_up > 0 && indexed(spec).is_some_and(|completions| over >= completions) {
        return Some(("FailedIndexes", "Job has failed indexes".into()));
    }
    None
}

/// Containers that are restarted in place count as failures where pods do not end by them.
fn restarts_too_often(facts: &Facts<'_>, limit: i32) -> bool {
    let policy = facts.spec.template.spec.as_ref().and_then(|pod| pod.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let alive = facts.pods.iter().filter(|pod| matches!(pod::phase(pod), "Running" | "Pending"));
    let containers = alive.filter_map(|pod| pod.status.as_ref()).flat_map(|status| {
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
    });
    let restarts = containers.fold(0_i32, |sum, container| sum.saturating_add(container.restart_count));
    restarts >= limit.max(1)
}

/// How long the Job may still run, if there is a limit; zero if it is over.
fn deadline(spec: &JobSpec, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    let limit = spec.active_deadline_seconds.filter(|_| !is_suspended(spec))?;
    let passed = now.duration_since(status.start_time.as_ref()?.0);
    let left = SignedDuration::from_secs(limit).saturating_sub(passed);
    Some(Duration::try_from(left).unwrap_or(Duration::ZERO))
}

fn is_complete(facts: &Facts<'_>) -> bool {
    let wanted = facts.spec.completions;
    let enough = wanted.map_or(facts.succeeded > 0, |completions| facts.succeeded >= completions);
    enough && facts.active.is_empty()
}

fn suspend_or_resume(status: &mut JobStatus, spec: &JobSpec, now: Timestamp) -> Option<Fate> {
    if is_suspended(spec) {
        let new = set_condition(status, "Suspended", true, "JobSuspended", "Job suspended", now);
        return new.then_some(Fate::Suspended);
    }
    set_condition(status, "Suspended", false, "JobResumed", "Job resumed", now).then_some(Fate::Resumed)
}

/// What is to be told when a status ends the Job.
fn closing(spec: &JobSpec, status: &JobStatus) -> Vec<Fate> {
    if holds(status, "Complete").is_some() {
        let too_many = spec.completions.is_some_and(|wanted| status.succeeded.unwrap_or(0) > wanted);
        let surprise = too_many.then_some(Fate::TooManySucceeded);
        return surprise.into_iter().chain([Fate::Completed]).collect();
    }
    let failed = holds(status, "Failed").map(|held| Fate::Failed {
        reason: held.reason.clone().unwrap_or_default(),
        message: held.message.clone().unwrap_or_default(),
    });
    failed.into_iter().collect()
}

impl Fate {
    /// How an event says it: mood, reason and message.
    pub(super) fn words(self) -> (Mood, String, String) {
        match self {
            Self::Suspended => (Mood::Normal, "Suspended".into(), "Job suspended".into()),
            Self::Resumed => (Mood::Normal, "Resumed".into(), "Job resumed".into()),
            Self::Completed => (Mood::Normal, "Completed".into(), "Job completed".into()),
            Self::TooManySucceeded => (
                Mood::Warning,
                "TooManySucceededPods".into(),
                "Too many succeeded pods running after completion count reached".into(),
            ),
            Self::Failed { reason, message } => (Mood::Warning, reason, message),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
