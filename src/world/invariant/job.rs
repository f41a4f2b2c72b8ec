//! Jobs count every pod once.

use std::collections::BTreeSet;

use super::super::log::{Change, Object, WriteLog};
use super::super::{Happening, Invariant};
use super::{ByUid, Unanswered, has_ended, is_active, limited, named, pods_of, says};

/// A Job's counts never go back, an index completes once, a succeeded pod is counted once, and a Job that completes has
/// exactly as many successes as it was to have.
#[derive(Debug, Default)]
pub struct Completions {
    /// The pods that were seen to succeed, by the uid of their Job.
    succeeded: ByUid<BTreeSet<String>>,
    unanswered: Unanswered,
}

impl Invariant for Completions {
    fn name(&self) -> &'static str {
        "each completion of a Job once"
    }

    fn look(&mut self, happening: &Happening, log: &WriteLog) -> Result<(), String> {
        match happening {
            Happening::Done(deed) => {
                self.unanswered.note(deed);
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
        let alike =
            pods_of(log, uid).filter(|other| index(other) == Some(wanted) && is_active(other)).count();
        if alike > 1 + self.unanswered.count(change.at) {
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
        if says(new, "Complete") && new.number("/spec/completions").is_some_and(|wanted| wanted != done) {
            return Err(format!("{} is complete with {done} successes", named(new)));
        }
        Ok(())
    }
}

/// Every Job has ended, is suspended, or waits for a quota to let it have pods; and none holds a pod back.
fn at_rest(log: &WriteLog) -> Result<(), String> {
    let limited = limited(log);
    for job in log.of("jobs.batch") {
        let waits = job.at("/spec/suspend") == true || limited.contains(&*job.namespace);
        if !waits && !says(job, "Complete") && !says(job, "Failed") {
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
