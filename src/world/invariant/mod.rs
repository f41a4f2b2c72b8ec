//! What must hold in every world with the controllers of Kubernetes, written against nothing but what is stored.
//!
//! Controllers act on what they have seen, and see everything a little late. So "never more than" is judged against the
//! most that a controller may have seen last: a bound that was in force a moment ago is still kept to by a right
//! controller. How long a moment is, [`LATE`] says.

mod autoscaler;
mod budget;
mod claim;
mod convergence;
mod cron;
mod daemon;
mod deployment;
mod job;
mod order;
mod orphan;
mod quota;
mod replica;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::Value;

use super::log::{Object, WriteLog};
use super::{Deed, Invariant, WorldBuilder};

pub use autoscaler::Autoscalers;
pub use budget::Budgets;
pub use claim::Claims;
pub use convergence::Convergence;
pub use cron::Alone;
pub use daemon::OnePodPerNode;
pub use deployment::Rollouts;
pub use job::Completions;
pub use order::Ordinals;
pub use orphan::NoOrphans;
pub use quota::Quotas;
pub use replica::NoSurplus;

/// How late a controller may learn of something: what is under way in the roughest weather, a restart and a new list.
pub const LATE: Duration = Duration::from_secs(4);

/// All invariants of the workloads of Kubernetes.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![
        Box::new(Rollouts::default()),
        Box::new(NoSurplus::default()),
        Box::new(Ordinals::default()),
        Box::new(OnePodPerNode),
        Box::new(Completions::default()),
        Box::new(Alone),
        Box::new(Budgets::default()),
        Box::new(Quotas::default()),
        Box::new(Autoscalers::default()),
        Box::new(Claims::default()),
        Box::new(NoOrphans),
        Box::new(Convergence),
    ]
}

impl WorldBuilder {
    /// Watches over the world with [all invariants](all) of Kubernetes' workloads.
    #[must_use]
    pub fn invariants(mut self) -> Self {
        self.invariants.extend(all());
        self
    }
}

/// A value and what it was a moment ago.
#[derive(Debug)]
pub(super) struct Recent<T>(VecDeque<(Duration, T)>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T: Clone + PartialEq> Recent<T> {
    /// It is `value` from now on.
    pub(super) fn set(&mut self, at: Duration, value: T) {
        if self.0.back().is_none_or(|(_, last)| *last != value) {
            self.0.push_back((at, value));
        }
        self.forget(at);
    }

    /// Forgets what was replaced longer ago than anybody may not have noticed.
    fn forget(&mut self, at: Duration) {
        while self.0.get(1).is_some_and(|(replaced, _)| *replaced + LATE < at) {
            self.0.pop_front();
        }
    }

    /// What it is.
    pub(super) fn last(&self) -> Option<&T> {
        self.0.back().map(|(_, value)| value)
    }

    /// What somebody may take it for now.
    pub(super) fn seen(&mut self, at: Duration) -> impl Iterator<Item = &T> {
        self.forget(at);
        self.0.iter().map(|(_, value)| value)
    }
}

/// Pods that were made, or not: the answer was lost a moment ago, and whoever asked could not know.
#[derive(Debug, Default)]
pub(super) struct Unanswered(Vec<Duration>);

impl Unanswered {
    pub(super) fn note(&mut self, deed: &Deed) {
        if deed.status.is_none() && deed.path.ends_with("/pods") {
            self.0.push(deed.at);
        }
    }

    /// How many there may be now.
    pub(super) fn count(&mut self, at: Duration) -> usize {
        self.0.retain(|lost| *lost + LATE >= at);
        self.0.len()
    }
}

/// The namespaces in which a quota stands: who is refused pods there need not come to have them.
pub(super) fn limited(log: &WriteLog) -> BTreeSet<&str> {
    log.of("resourcequotas").map(|quota| &*quota.namespace).collect()
}

/// A number, or so many percent of `whole`.
pub(super) fn amount(value: &Value, whole: i64, rounding: Rounding) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            let scaled = percent * whole;
            Some(if rounding == Rounding::Up { (scaled + 99) / 100 } else { scaled / 100 })
        }
        _ => None,
    }
}

/// How percentages become whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    Up,
    Down,
}

/// Whether a pod counts: it has not ended and was not told to.
pub(super) fn is_active(pod: &Object) -> bool {
    !pod.is_going() && !has_ended(pod)
}

/// Whether nothing of a pod runs any more.
pub(super) fn has_ended(pod: &Object) -> bool {
    matches!(pod.text("/status/phase"), "Succeeded" | "Failed")
}

/// Whether an object says that a condition holds.
pub(super) fn says(object: &Object, condition: &str) -> bool {
    let conditions = object.at("/status/conditions").as_array();
    conditions.into_iter().flatten().any(|held| held["type"] == condition && held["status"] == "True")
}

/// Whether a pod says that it is ready.
pub(super) fn is_ready(pod: &Object) -> bool {
    says(pod, "Ready")
}

/// The pods that the object of this uid controls.
pub(super) fn pods_of<'a>(log: &'a WriteLog, uid: &'a str) -> impl Iterator<Item = &'a Object> {
    log.of("pods").filter(move |pod| pod.controller() == Some(uid))
}

/// Whether labels are as a selector's `matchLabels` want them; no workload here has other selectors.
pub(super) fn selects(selector: &Value, object: &Object) -> bool {
    let labels = object.at("/metadata/labels");
    let wanted = selector["matchLabels"].as_object();
    wanted.is_some_and(|wanted| !wanted.is_empty() && wanted.iter().all(|(key, value)| labels[key] == *value))
}

/// What an object is called in reports.
pub(super) fn named(object: &Object) -> String {
    format!("{} {}/{}", object.resource, object.namespace, object.name)
}

/// What was seen of many, by uid.
pub(super) type ByUid<T> = BTreeMap<String, T>;
