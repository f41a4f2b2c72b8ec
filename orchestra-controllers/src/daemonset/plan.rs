//! What a DaemonSet needs done: the pure part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::placement::{Fit, fit, new_pod, revision, target};
use crate::history::{self, Step, hash_of};
use crate::ownership::controller_reference;
use crate::pod::{self, count, unless_zero};
use crate::share::{Rounding, resolve};

/// No more pods than this are created or deleted at a time, as upstream.
const BURST: usize = 250;

/// What is known when a DaemonSet is planned.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The DaemonSet.
    pub set: &'a DaemonSet,
    /// The pods it controls.
    pub pods: &'a [Arc<Pod>],
    /// The revisions it controls.
    pub revisions: &'a [Arc<ControllerRevision>],
    /// All nodes.
    pub nodes: &'a [Arc<Node>],
    /// Whether everything ordered earlier has arrived.
    pub settled: bool,
    /// The present moment.
    pub now: Timestamp,
}

/// One thing to do for a DaemonSet.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create this revision of the template.
    CreateRevision(Box<ControllerRevision>),
    /// Make this revision the latest again, with this number.
    RaiseRevision(Arc<ControllerRevision>, i64),
    /// Delete this revision, which nobody uses any more.
    DeleteRevision(Arc<ControllerRevision>),
    /// Create these pods.
    Create(Vec<Pod>),
    /// Delete these pods.
    Delete(Vec<Arc<Pod>>),
    /// Write this status.
    SetStatus(Box<DaemonSetStatus>),
    /// Look again after this long, when a ready pod becomes available. Comes first: time goes by even if what follows fails.
    LookAgain(Duration),
}

/// What to do for a DaemonSet now. Converged, it is nothing.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    let set = observed.set;
    let Some(spec) = &set.spec else { return Vec::new() };
    if !observed.settled {
        return Vec::new();
    }
    let deleting = set.metadata.deletion_timestamp.is_some();
    let collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let reference = controller_reference(set);
    let current =
        match history::current(&set.metadata, reference, &spec.template, collisions, observed.revisions) {
            Ok(current) => current,
            Err(_) if deleting => return Vec::new(),
            Err(Step::Create(mut revision)) => {
                // Upstream's daemon sets name it as their pods do.
                let hash = hash_of(&revision).unwrap_or_default().to_owned();
                revision
                    .metadata
                    .labels
                    .get_or_insert_default()
                    .insert(super::placement::REVISION.to_owned(), hash);
                return vec![Action::CreateRevision(revision)];
            }
            Err(Step::Raise(revision, number)) => return vec![Action::RaiseRevision(revision, number)],
        };
    let view = View::new(observed, hash_of(&current).unwrap_or_default());
    let mut actions = Vec::new();
    if !deleting {
        let (mut create, mut delete) = view.place();
        if create.is_empty() && delete.is_empty() {
            (create, delete) = view.roll();
        }
        let pods = create.into_iter().take(BURST).filter_map(|node| new_pod(set, &node, view.hash));
        let pods: Vec<_> = pods.collect();
        delete.truncate(BURST);
        if !delete.is_empty() {
            actions.push(Action::Delete(delete));
        }
        if !pods.is_empty() {
            actions.push(Action::Create(pods));
        }
    }
    let status = view.status();
    // What was just ordered will be seen; the status waits for it.
    if actions.is_empty() && Some(&status) != set.status.as_ref() {
        actions.push(Action::SetStatus(Box::new(status)));
    }
    let mut used: BTreeSet<&str> = observed.pods.iter().map(|pod| revision(pod)).collect();
    used.insert(view.hash);
    let surplus = history::surplus(observed.revisions, &used, spec.revision_history_limit.unwrap_or(10));
    actions.extend(surplus.into_iter().map(Action::DeleteRevision));
    let again = view.next_available().map(Action::LookAgain);
    again.into_iter().chain(actions).collect()
}

/// The nodes and pods of a DaemonSet, put together.
struct View<'a> {
    observed: &'a Observed<'a>,
    hash: &'a str,
    min_ready: i32,
    nodes: BTreeMap<&'a str, (Fit, Vec<&'a Arc<Pod>>)>,
    /// Pods for nodes that do not exist, or for none.
    lost: Vec<&'a Arc<Pod>>,
}

impl<'a> View<'a> {
    fn new(observed: &'a Observed<'a>, hash: &'a str) -> Self {
        let fits = observed
            .nodes
            .iter()
            .filter_map(|node| Some((node.metadata.name.as_deref()?, (fit(observed.set, node), Vec::new()))));
        let mut nodes: BTreeMap<&str, (Fit, Vec<&Arc<Pod>>)> = fits.collect();
        let mut lost = Vec::new();
        for pod in observed.pods {
            match target(pod).and_then(|node| nodes.get_mut(node)) {
                Some((_, pods)) => pods.push(pod),
                None => lost.push(pod),
            }
        }
        // The oldest first: it is the one that stays.
        for (_, pods) in nodes.values_mut() {
            pods.sort_by_key(|pod| {
                let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
                (pod::node_name(pod).is_none(), created, pod.metadata.name.clone())
            });
        }
        let min_ready = observed.set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
        Self { observed, hash, min_ready, nodes, lost }
    }

    fn is_available(&self, pod: &Pod) -> bool {
        pod::is_available(pod, self.min_ready, self.observed.now)
    }

    fn is_new(&self, pod: &Pod) -> bool {
        revision(pod) == self.hash
    }

    fn desired(&self) -> i32 {
        count(self.nodes.values().filter(|(fit, _)| *fit == Fit::Runs).count())
    }

    /// (surge, unavailable) of a rolling update; `None` if pods are replaced only when somebody deletes them.
    fn bounds(&self) -> Option<(i32, i32)> {
        let strategy = self.observed.set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("OnDelete") {
            return None;
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let bound = |share: Option<&IntOrString>, otherwise: i32| {
            share.map_or(otherwise, |share| resolve(share, self.desired(), Rounding::Up))
        };
        let surge = bound(rolling.and_then(|rolling| rolling.max_surge.as_ref()), 0);
        let unavailable = bound(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), 1);
        Some(if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) })
    }

    /// Pods that are missing and pods that should not be.
    fn place(&self) -> (Vec<String>, Vec<Arc<Pod>>) {
        let (mut create, mut delete) = (Vec::new(), Vec::new());
        let surges = self.bounds().is_some_and(|(surge, _)| surge > 0);
        for (node, (fit, pods)) in &self.nodes {
            let staying = || pods.iter().filter(|pod| !pod::is_terminating(pod));
            if *fit == Fit::Refuses {
                delete.extend(staying().map(|pod| Arc::clone(pod)));
                continue;
            }
            // A finished daemon is replaced once it is gone.
            delete.extend(staying().filter(|pod| pod::is_finished(pod)).map(|pod| Arc::clone(pod)));
            let running: Vec<&Arc<Pod>> = staying().copied().filter(|pod| !pod::is_finished(pod)).collect();
            if pods.is_empty() && *fit == Fit::Runs {
                create.push((*node).to_owned());
            }
            let (new, old): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) =
                running.into_iter().partition(|pod| surges && self.is_new(pod));
            delete.extend(old.iter().skip(1).map(|pod| Arc::clone(pod)));
            delete.extend(new.iter().skip(1).map(|pod| Arc::clone(pod)));
        }
        delete.extend(self.lost.iter().filter(|pod| !pod::is_terminating(pod)).map(|pod| Arc::clone(pod)));
        (create, delete)
    }

    /// The next step of a rolling update.
    fn roll(&self) -> (Vec<String>, Vec<Arc<Pod>>) {
        match self.bounds() {
            None => (Vec::new(), Vec::new()),
            Some((0, unavailable)) => (Vec::new(), self.roll_down(unavailable)),
            Some((surge, _)) => self.roll_over(surge),
        }
    }

    /// Old pods go, no more at a time than may be unavailable; those that are unavailable anyway go at once.
    fn roll_down(&self, max_unavailable: i32) -> Vec<Arc<Pod>> {
        let (mut free, mut candidates, mut unavailable) = (Vec::new(), Vec::new(), 0);
        for (_, pods) in self.nodes.values().filter(|(fit, _)| *fit == Fit::Runs) {
            let old = pods.iter().find(|pod| !self.is_new(pod) && !pod::is_terminating(pod));
            let new = pods.iter().find(|pod| self.is_new(pod) && !pod::is_terminating(pod));
            match (new, old) {
                (Some(new), _) => unavailable += i32::from(!self.is_available(new)),
                (None, None) => unavailable += 1,
                (None, Some(old)) if self.is_available(old) => candidates.push(Arc::clone(old)),
                (None, Some(old)) => {
                    unavailable += 1;
                    free.push(Arc::clone(old));
                }
            }
        }
        let room = usize::try_from(max_unavailable.saturating_sub(unavailable)).unwrap_or(0);
        free.extend(candidates.into_iter().take(room));
        free
    }

    /// New pods come beside old ones, no more at a time than the surge; an old one goes when its successor is
    /// available.
    fn roll_over(&self, max_surge: i32) -> (Vec<String>, Vec<Arc<Pod>>) {
        let (mut create, mut delete, mut candidates, mut surging) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (node, (_, pods)) in self.nodes.iter().filter(|(_, (fit, _))| *fit == Fit::Runs) {
            let old = pods.iter().find(|pod| !self.is_new(pod) && !pod::is_terminating(pod));
            let new = pods.iter().find(|pod| self.is_new(pod) && !pod::is_terminating(pod));
            match (new, old) {
                (Some(new), Some(old)) if self.is_available(new) => delete.push(Arc::clone(old)),
                (Some(_), Some(_)) => surging += 1,
                (None, Some(old)) if self.is_available(old) => candidates.push((*node).to_owned()),
                (None, Some(_)) => create.push((*node).to_owned()),
                _ => {}
            }
        }
        let room = usize::try_from(max_surge.saturating_sub(surging)).unwrap_or(0);
        create.extend(candidates.into_iter().take(room));
        (create, delete)
    }

    fn status(&self) -> DaemonSetStatus {
        let set = self.observed.set;
        let running = || self.nodes.values().filter(|(fit, _)| *fit == Fit::Runs);
        let of = |test: &dyn Fn(&Pod) -> bool| {
            // The oldest pod of a node speaks for it, unless a newer one has taken over.
            let speaks = |pods: &&Vec<&'a Arc<Pod>>| pods.iter().any(|pod| test(pod));
            count(running().map(|(_, pods)| pods).filter(speaks).count())
        };
        let desired = self.desired();
        let available = of(&|pod| !pod::is_terminating(pod) && self.is_available(pod));
        let misscheduled = self.nodes.values().filter(|(fit, pods)| *fit != Fit::Runs && !pods.is_empty());
        DaemonSetStatus {
            desired_number_scheduled: desired,
            current_number_scheduled: of(&|_| true),
            number_misscheduled: count(misscheduled.count()),
            number_ready: of(&|pod| !pod::is_terminating(pod) && pod::is_ready(pod)),
            number_available: unless_zero(available),
            number_unavailable: unless_zero(desired - available),
            updated_number_scheduled: unless_zero(of(&|pod| !pod::is_terminating(pod) && self.is_new(pod))),
            observed_generation: set.metadata.generation,
            collision_count: set.status.as_ref().and_then(|status| status.collision_count),
            conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
        }
    }

    fn next_available(&self) -> Option<Duration> {
        let left = self.observed.pods.iter();
        let left = left.filter_map(|pod| pod::available_in(pod, self.min_ready, self.observed.now));
        left.filter(|left| !left.is_zero()).min()
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
