//! What a CronJob needs done: the pure part.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use orchestra_core::cron::{Schedule, zone};

use super::times::{Missed, Times};
use crate::events::Mood;
use crate::family::Known;
use crate::job::{ending, finished_condition};
use crate::ownership::controller_reference;

/// Tells a Job the time it is for.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// What is known when a CronJob is planned.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The CronJob.
    pub cron: &'a CronJob,
    /// The Jobs it controls.
    pub jobs: &'a [Arc<Job>],
    /// The uids in its list of active Jobs that the server does not know any more.
    pub gone: &'a BTreeSet<String>,
    /// The present moment.
    pub now: Timestamp,
}

/// One thing to do for a CronJob. They are done in order, and none after one that fails.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Record an event.
    Tell(News),
    /// Delete this Job and its pods.
    Delete(Arc<Job>),
    /// Write this status.
    SetStatus(Box<CronJobStatus>),
    /// Create this Job, unless it exists, then write this status with it among the active ones.
    Start(Box<Job>, Box<CronJobStatus>),
    /// Look again after this long. Comes first: time goes by even if what follows fails.
    LookAgain(Duration),
}

/// What people are told of a CronJob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A Job ended, by this condition.
    Completed(String, String),
    /// An active Job is not there any more.
    Missing(String),
    /// A Job runs that the CronJob has not started.
    Unexpected(String),
    /// Nobody knows the time zone.
    UnknownZone(String),
    /// The schedule cannot be read, and why.
    Unreadable(String, String),
    /// The schedule never comes round, and why.
    Invalid(String, String),
    /// The time for this start is over.
    TooLate(Timestamp),
    /// So many starts were missed that something must be wrong.
    TooManyMissed,
    /// An earlier Job still runs, and there may be only one.
    AlreadyActive,
}

/// What to do for a CronJob now. Between two times of its schedule it is nothing but the next look.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    let cron = observed.cron;
    let spec = &cron.spec;
    let held = cron.status.clone().unwrap_or_default();
    let mut status = held.clone();
    let mut actions = Vec::new();
    actions.extend(account(observed, &mut status).into_iter().map(Action::Tell));
    for job in outlived(spec, observed.jobs) {
        forget(&mut status, job.uid());
        actions.push(Action::Delete(job));
    }
    let start = due(observed, spec, &status);
    let wait = start.wait;
    match start.decide(observed, spec, &status) {
        Decision::Rest(news) => {
            if status != held {
                actions.push(Action::SetStatus(Box::new(status)));
            }
            actions.extend(news.map(Action::Tell));
        }
        Decision::Start { at, zone, replace, missed } => {
            for job in replace {
                forget(&mut status, job.uid());
                actions.push(Action::Delete(job));
            }
            let complaint = missed == Missed::Many;
            actions.extend(complaint.then_some(Action::Tell(News::TooManyMissed)));
            status.last_schedule_time = Some(Time(at));
            actions.push(Action::Start(Box::new(job_for(cron, spec, at, &zone)), Box::new(status)));
        }
    }
    let again = wait.map(Action::LookAgain);
    again.into_iter().chain(actions).collect()
}

/// The finished Jobs that are more than the history keeps, oldest first.
fn outlived(spec: &CronJobSpec, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let surplus = |type_: &str, limit: Option<i32>| {
        let Some(limit) = limit else { return Vec::new() };
        let mut ended: Vec<_> = jobs
            .iter()
            .filter(|job| finished_condition(job).is_some_and(|c| c.type_ == type_))
            .cloned()
            .collect();
        let started =
            |job: &Job| job.status.as_ref().and_then(|status| status.start_time.as_ref().map(|time| time.0));
        ended.sort_by_key(|job| (started(job).is_none(), started(job), job.name().to_owned()));
        ended.truncate(ended.len().saturating_sub(usize::try_from(limit).unwrap_or(0)));
        ended
    };
    let mut all = surplus("Complete", spec.successful_jobs_history_limit);
    all.extend(surplus("Failed", spec.failed_jobs_history_limit));
    all.retain(|job| job.metadata.deletion_timestamp.is_none());
    all
}

/// Brings the list of active Jobs up to date. A Job made by a life that died before it could say so is taken in.
fn account(observed: &Observed<'_>, status: &mut CronJobStatus) -> Vec<News> {
    let mut news = Vec::new();
    for job in observed.jobs {
        let is_listed = lists(status, job.uid());
        let last = status.last_schedule_time.as_ref().map(|time| time.0);
        let is_unsaid = scheduled(observed.cron, job).filter(|at| Some(*at) > last);
        if let Some(at) = is_unsaid {
            status.last_schedule_time = Some(Time(at));
        }
        match finished_condition(job) {
            None if is_listed => {}
            None if is_unsaid.is_some() => {
                status.active.get_or_insert_default().push(reference(job));
            }
            None if job.metadata.deletion_timestamp.is_none() => {
                news.push(News::Unexpected(job.name().to_owned()));
            }
            None => {}
            Some(condition) => {
                if is_listed {
                    forget(status, job.uid());
                    news.push(News::Completed(job.name().to_owned(), condition.type_.clone()));
                }
                let completed = ending(job).filter(|_| condition.type_ == "Complete");
                let last = status.last_successful_time.as_ref().map(|time| time.0);
                if completed.is_some() && completed > last {
                    status.last_successful_time = completed.map(Time);
                }
            }
        }
    }
    for reference in status.active.clone().into_iter().flatten() {
        let uid = reference.uid.unwrap_or_default();
        if observed.gone.contains(&uid) {
            forget(status, &uid);
            news.push(News::Missing(reference.name.unwrap_or_default()));
        }
    }
    news
}

/// The time for which this controller made a Job, if it did.
fn scheduled(cron: &CronJob, job: &Job) -> Option<Timestamp> {
    let at: Timestamp = job.metadata.annotations.as_ref()?.get(SCHEDULED)?.parse().ok()?;
    (job.name() == job_name(cron, at)).then_some(at)
}

/// How the list of active Jobs names one.
pub(super) fn reference(job: &Job) -> ObjectReference {
    let meta = job.metadata.clone();
    ObjectReference {
        api_version: Some(Job::api_version(&()).into_owned()),
        kind: Some(Job::kind(&()).into_owned()),
        namespace: meta.namespace,
        name: meta.name,
        uid: meta.uid,
        resource_version: meta.resource_version,
        field_path: None,
    }
}

fn lists(status: &CronJobStatus, uid: &str) -> bool {
    status.active.iter().flatten().any(|reference| reference.uid.as_deref() == Some(uid))
}

fn forget(status: &mut CronJobStatus, uid: &str) {
    let Some(active) = &mut status.active else { return };
    active.retain(|reference| reference.uid.as_deref() != Some(uid));
    if active.is_empty() {
        status.active = None;
    }
}

/// What the schedule says.
struct Due<'a> {
    cron: &'a CronJob,
    /// The time that is due, by the clocks of which zone, and how many were missed.
    time: Option<(Timestamp, TimeZone, Missed)>,
    news: Option<News>,
    wait: Option<Duration>,
}

enum Decision {
    Rest(Option<News>),
    Start { at: Timestamp, zone: TimeZone, replace: Vec<Arc<Job>>, missed: Missed },
}

fn due<'a>(observed: &Observed<'a>, spec: &CronJobSpec, status: &CronJobStatus) -> Due<'a> {
    let (cron, now) = (observed.cron, observed.now);
    let nothing = |news| Due { cron, time: None, news, wait: None };
    if cron.metadata.deletion_timestamp.is_some() {
        return nothing(None);
    }
    let name = spec.time_zone.as_deref().unwrap_or_default();
    let Some(zone) = zone(name) else { return nothing(Some(News::UnknownZone(name.to_owned()))) };
    if spec.suspend == Some(true) {
        return nothing(None);
    }
    let schedule = match Schedule::parse(&spec.schedule) {
        Ok(schedule) => schedule,
        Err(why) => return nothing(Some(News::Unreadable(spec.schedule.clone(), why))),
    };
    let times = Times { schedule, zone };
    let created = cron.metadata.creation_timestamp.as_ref();
    let since = status.last_schedule_time.as_ref().or(created).map_or(now, |time| time.0);
    let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    // What is too late to start need not be looked at.
    let earliest =
        deadline.and_then(|deadline| now.checked_sub(deadline).ok()).map_or(since, |at| at.max(since));
    let wait = times.wait(since, now);
    match times.latest(earliest, now) {
        Err(why) => nothing(Some(News::Invalid(spec.schedule.clone(), why))),
        Ok((None, _)) => Due { cron, time: None, news: None, wait },
        Ok((Some(at), missed)) => {
            let over =
                deadline.and_then(|deadline| at.checked_add(deadline).ok()).is_some_and(|end| end < now);
            let news = over.then_some(News::TooLate(at));
            Due { cron, time: Some((at, times.zone, missed)).filter(|_| !over), news, wait }
        }
    }
}

impl Due<'_> {
    /// The name of the Job that is due.
    fn name(&self) -> Option<String> {
        self.time.as_ref().map(|(at, ..)| job_name(self.cron, *at))
    }

    fn decide(self, observed: &Observed<'_>, spec: &CronJobSpec, status: &CronJobStatus) -> Decision {
        let name = self.name();
        let Some((at, zone, missed)) = self.time else { return Decision::Rest(self.news) };
        let active = || status.active.iter().flatten();
        let is_started = active().any(|reference| reference.name == name)
            || status.last_schedule_time.as_ref().is_some_and(|last| last.0 == at);
        if is_started {
            return Decision::Rest(None);
        }
        if spec.concurrency_policy.as_deref() == Some("Forbid") && active().next().is_some() {
            return Decision::Rest(Some(News::AlreadyActive));
        }
        let replaces = spec.concurrency_policy.as_deref() == Some("Replace");
        let is_replaced = |job: &&Arc<Job>| replaces && lists(status, job.uid());
        let replace = observed.jobs.iter().filter(is_replaced).cloned().collect();
        Decision::Start { at, zone, replace, missed }
    }
}

fn job_name(cron: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", cron.name(), at.as_second().div_euclid(60))
}

fn job_for(cron: &CronJob, spec: &CronJobSpec, at: Timestamp, zone: &TimeZone) -> Job {
    let meta = spec.job_template.metadata.clone().unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    let local = at.to_zoned(zone.clone());
    let format = if local.offset().is_zero() { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S%:z" };
    annotations.insert(SCHEDULED.into(), local.strftime(format).to_string());
    Job {
        metadata: ObjectMeta {
            name: Some(job_name(cron, at)),
            namespace: cron.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron)]),
            ..ObjectMeta::default()
        },
        spec: spec.job_template.spec.clone(),
        status: None,
    }
}

impl News {
    /// How an event says it: mood, reason and message.
    pub(super) fn words(self) -> (Mood, &'static str, String) {
        use Mood::{Normal, Warning};
        match self {
            Self::Completed(name, condition) => {
                (Normal, "SawCompletedJob", format!("Saw completed job: {name}, condition: {condition}"))
            }
            Self::Missing(name) => (Normal, "MissingJob", format!("Active job went missing: {name}")),
            Self::Unexpected(name) => (
                Warning,
                "UnexpectedJob",
                format!("Saw a job that the controller did not create or forgot: {name}"),
            ),
            Self::UnknownZone(name) => {
                (Warning, "UnknownTimeZone", format!("invalid timeZone: {name:?}: unknown time zone {name}"))
            }
            Self::Unreadable(schedule, why) => {
                (Warning, "UnparseableSchedule", format!("unparseable schedule: {schedule:?} : {why}"))
            }
            Self::Invalid(schedule, why) => {
                (Warning, "InvalidSchedule", format!("invalid schedule: {schedule} : {why}"))
            }
            Self::TooLate(at) => (
                Warning,
                "MissSchedule",
                format!("Missed scheduled time to start a job: {}", at.strftime("%a, %d %b %Y %H:%M:%S +0000")),
            ),
            Self::TooManyMissed => (
                Warning,
                "TooManyMissedTimes",
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew".into(),
            ),
            Self::AlreadyActive => (
                Normal,
                "JobAlreadyActive",
                "Not starting job because prior execution is running and concurrency policy is Forbid".into(),
            ),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
