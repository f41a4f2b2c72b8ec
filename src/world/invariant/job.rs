//! Jobs count every pod once.

use std::collections::{BTreeMap, BTreeSet};

use super::super::log::{Change, Object, WriteLog};
use super::super::{Happening, Invariant};
use super::{ByUid, LATE, has_ended, is_active, named, pods_of};

/// A Job's counts never go back, an index completes once, a succeeded pod is counted once, and a Job that completes has
/// exactly as many successes as it was to have.
#[derive(Debug, Default)]
pub struct Completions {
    /// The pods that were seen to succeed, by the uid of their Job.
    succeeded: ByUid<BTreeSet<String>>,
    /// When the answer to the making of a pod was lost.
    lost: Vec<std::time::Duration>,
}

impl Invariant for Completions {
    fn name(&self) -> &'static str {
        "each completion of a Job once"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        match happening {
            Happening::Done(deed) => {
                if deed.status.is_none() && deed.path.ends_with("/pods") {
                    self.lost.push(deed.at);
                }
                Ok(())
            }
            Happening::Changed(change) if change.resource() == "pods" => self.pod(change, log),
            Happening::Changed(change) if change.resource() == "jobs.batch" => self.job(change),
            Happening::Changed(_) => Ok(()),
            Happening::AtRest => at_rest(log),
        }
    }
}

fn count(job: &Object, field: &str) -> i64 {
    job.number(&format!("/status/{field}")).unwrap_or(0)
}

/// `0,2-4` as numbers.
fn indexes(text: &str) -> BTreeSet<u32> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse().ok()?..=last.parse().ok()?)
    };
    parts.filter_map(range).flatten().collect()
}

fn index(pod: &Object) -> Option<&str> {
    pod.at("/metadata/annotations").get("batch.kubernetes.io/job-completion-index")?.as_str()
}

impl Completions {
    fn pod(&mut self, change: &Change, log: &WriteLog) -> Result<(), String> {
        let Some(pod) = &change.new else { return Ok(()) };
        let Some(owner) = pod.owners().find(|owner| owner["kind"] == "Job") else { return Ok(()) };
        let uid = owner["uid"].as_str().unwrap_or_default();
        if pod.text("/status/phase") == "Succeeded" {
            self.succeeded.entry(uid.into()).or_default().insert(pod.uid().into());
        }
        let (None, Some(wanted)) = (&change.old, index(pod)) else { return Ok(()) };
        self.lost.retain(|at| *at + LATE >= change.at);
        let alike =
            pods_of(log, uid).filter(|other| index(other) == Some(wanted) && is_active(other)).count();
        if alike > 1 + self.lost.len() {
            return Err(format!("{} is the {alike}th active pod of index {wanted}", named(pod)));
        }
        Ok(())
    }

    fn job(&self, change: &Change) -> Result<(), String> {
        let Some(new) = &change.new else { return Ok(()) };
        let done = count(new, "succeeded");
        if let Some(old) = &change.old {
            for field in ["succeeded", "failed"] {
                if count(new, field) < count(old, field) {
                    return Err(format!("{} counts fewer {field} pods than before", named(new)));
                }
            }
            let (before, after) = (
                indexes(old.text("/status/completedIndexes")),
                indexes(new.text("/status/completedIndexes")),
            );
            if !before.is_subset(&after) {
                return Err(format!("{} forgets completed indexes: {before:?}, then {after:?}", named(new)));
            }
        }
        let seen = self.succeeded.get(new.uid()).map_or(0, BTreeSet::len);
        if usize::try_from(done).is_ok_and(|done| done > seen) {
            return Err(format!("{} counts {done} successes of {seen}", named(new)));
        }
        let listed = indexes(new.text("/status/completedIndexes")).len();
        if new.text("/spec/completionMode") == "Indexed" && usize::try_from(done) != Ok(listed) {
            return Err(format!("{} counts {done} successes and lists {listed}", named(new)));
        }
        if is_said(new, "Complete") && new.number("/spec/completions").is_some_and(|wanted| wanted != done) {
            return Err(format!("{} is complete with {done} successes", named(new)));
        }
        Ok(())
    }
}

pub(super) fn is_said(job: &Object, condition: &str) -> bool {
    let conditions = job.at("/status/conditions").as_array();
    conditions.into_iter().flatten().any(|held| held["type"] == condition && held["status"] == "True")
}

/// Every Job has ended or is suspended, and holds no pod back.
fn at_rest(log: &WriteLog) -> Result<(), String> {
    let mut kept: BTreeMap<&str, &Object> = BTreeMap::new();
    for job in log.of("jobs.batch") {
        kept.insert(job.uid(), job);
        let suspended = job.at("/spec/suspend") == true;
        if !suspended && !is_said(job, "Complete") && !is_said(job, "Failed") {
            return Err(format!("{} never ends", named(job)));
        }
        if count(job, "active") > 0 {
            return Err(format!("{} says that pods are active", named(job)));
        }
    }
    for pod in log.of("pods").filter(|pod| has_ended(pod)) {
        let finalizers = pod.at("/metadata/finalizers").as_array().is_some_and(|held| !held.is_empty());
        if finalizers {
            return Err(format!("{} has ended and is held by its finalizers", named(pod)));
        }
    }
    Ok(())
}
