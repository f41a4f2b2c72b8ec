//! Pods that a [`Strategy`](crate::Strategy) places: asked in batches, and held to its contract.
//!
//! Such pods have no pauses of their own. The strategy is asked about all that wait when something changed, but not more often than
//! its pause says. What it answers is checked against what nodes offer, then by the filters of the profile, and pods of one group are
//! taken together or not at all. An answer that cannot be carried out fails the pods it speaks of and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::flight::Flight;
use super::{Dispatcher, NotReserved, reserve, unreserve};
use crate::engine::check;
use crate::guard::guarded;
use crate::outcome::{Diagnosis, Failure};
use crate::plugin::{Cycle, Notes};
use crate::profile::{Batches, Profile};
use crate::queue::Moment;
use crate::strategy::Placement;
use crate::verdict::Rejection;
use crate::view::{ClusterView, NodeName, PodUid, PodView, Promise};

/// When a strategy was last asked, and about what.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    epoch: Option<u64>,
    next: Moment,
}

/// Pods that are taken together, each with its node.
type Bundle = Vec<(Arc<PodView>, NodeName)>;

/// A pod that has its node in the cluster's view, and what was noted on the way.
struct Made {
    pod: Arc<PodView>,
    node: NodeName,
    notes: Notes,
    promises: Vec<Promise>,
}

/// An answer, sorted into what can be carried out and what cannot.
#[derive(Default)]
struct Sorted {
    bundles: Vec<Bundle>,
    broken: BTreeMap<PodUid, String>,
}

impl Dispatcher {
    /// Whether some profile places its pods in batches.
    pub(crate) fn has_strategy(&self) -> bool {
        self.profiles.iter().any(|profile| profile.batches.is_some())
    }

    /// Whether a strategy places this pod.
    pub(super) fn is_batched(&self, pod: &PodView) -> bool {
        let profile = self.profile_of(pod).and_then(|index| self.profiles.get(index));
        profile.is_some_and(|profile| profile.batches.is_some())
    }

    /// When a strategy is to be asked next.
    pub(super) fn next_batch(&self) -> Option<Moment> {
        let news = self.profiles.iter().zip(&self.batches).filter(|(profile, asked)| {
            profile.batches.is_some() && self.queue.batched() > 0 && asked.epoch != Some(self.epoch)
        });
        news.map(|(_, asked)| asked.next).min()
    }

    /// Asks the strategies whose time has come; false if it was none's.
    pub(super) fn ask_strategies(&mut self, now: Moment) -> bool {
        if self.next_batch().is_none_or(|due| due > now) {
            return false;
        }
        for index in 0..self.profiles.len() {
            let Some((profile, asked)) = self.profiles.get(index).zip(self.batches.get_mut(index)) else {
                continue;
            };
            let Some(batches) = profile.batches.clone() else { continue };
            if asked.epoch == Some(self.epoch) || asked.next > now {
                continue;
            }
            asked.next = now.after(batches.pause);
            self.ask_strategy(index, &batches, now);
            if let Some(asked) = self.batches.get_mut(index) {
                asked.epoch = Some(self.epoch);
            }
        }
        true
    }

    fn ask_strategy(&mut self, index: usize, batches: &Batches, now: Moment) {
        let Some(scheduler) = self.profiles.get(index).map(|profile| profile.name().clone()) else { return };
        let mut queue = self.queue.batch(|pod| *pod.scheduler == *scheduler);
        queue.retain(|pod| self.still_wants(pod));
        if queue.is_empty() {
            return;
        }
        let answer = guarded(&batches.name, "Strategy", || batches.strategy.place(&self.cluster, &queue));
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => {
                let message = failure.message.replacen("plugin", "strategy", 1);
                let failure = Failure { message, ..failure };
                return queue.into_iter().for_each(|pod| self.failed(pod, failure.clone(), now));
            }
        };
        let sorted = sort(&self.cluster, &batches.name, &queue, answer);
        let mut told: BTreeSet<PodUid> = sorted.broken.keys().cloned().collect();
        told.extend(sorted.bundles.iter().flatten().map(|(pod, _)| pod.uid.clone()));
        for bundle in sorted.bundles {
            self.carry_out(index, &batches.name, bundle, now);
        }
        for pod in queue {
            if let Some(problem) = sorted.broken.get(&pod.uid) {
                let message = format!("strategy {:?} broke its contract: {problem}", &*batches.name);
                self.failed(pod, Failure { plugin: Some(batches.name.to_string()), message }, now);
            } else if !told.contains(&pod.uid) {
                let left_out = format!("strategy {:?} did not place the pod", &*batches.name);
                self.turn_down(pod, &batches.name, left_out, now);
            }
        }
    }

    /// Whether a pod of the queue is still to be placed; forgets it if not, as an attempt would.
    fn still_wants(&mut self, pod: &Arc<PodView>) -> bool {
        let placed = self.cluster.node_of(&pod.uid).is_some();
        if placed || pod.terminating {
            self.queue.remove(&pod.uid);
            if !placed {
                self.report_deleting(pod.clone());
            }
            return false;
        }
        true
    }

    /// Gives all pods of a bundle their nodes, or none.
    fn carry_out(&mut self, index: usize, strategy: &str, bundle: Bundle, now: Moment) {
        let mut made = Vec::with_capacity(bundle.len());
        for (pod, node) in &bundle {
            let Some(profile) = self.profiles.get(index) else { return };
            match try_on(profile, &self.cluster, pod, node) {
                Ok((notes, promises)) => {
                    promises.iter().cloned().for_each(|promise| self.cluster.promise(promise));
                    self.cluster.withdraw(pod);
                    self.cluster.place(pod.clone(), node);
                    made.push(Made { pod: pod.clone(), node: node.clone(), notes, promises });
                }
                Err(problem) => {
                    let culprit = (pod.clone(), node.clone());
                    self.unmake(index, made);
                    return self.refuse_bundle(strategy, bundle, culprit, problem, now);
                }
            }
        }
        for Made { pod, node, notes, promises } in made {
            self.queue.take(&pod.uid);
            self.assume(Flight::new(pod, node, index, notes, promises, now), now);
        }
    }

    /// Takes back what was done for a part of a bundle, the last first.
    fn unmake(&mut self, index: usize, made: Vec<Made>) {
        for Made { pod, node, notes, promises } in made.into_iter().rev() {
            self.cluster.take(&pod.uid);
            promises.iter().for_each(|promise| self.cluster.release(promise));
            if let Some(profile) = self.profiles.get(index) {
                unreserve(profile, &mut Cycle::resume(&self.cluster, notes), &pod, &node);
            }
        }
    }

    fn refuse_bundle(
        &mut self,
        strategy: &str,
        bundle: Bundle,
        (culprit, node): (Arc<PodView>, NodeName),
        problem: NotReserved,
        now: Moment,
    ) {
        for (pod, _) in bundle.into_iter().filter(|(pod, _)| pod.uid != culprit.uid) {
            let remark = format!("{} of the same pod group could not have its node", culprit.key.name);
            self.turn_down(pod, strategy, remark, now);
        }
        match problem {
            NotReserved::Failed(failure) => self.failed(culprit, failure, now),
            NotReserved::Rejected(mut diagnosis) => {
                let remark = format!("strategy {strategy:?} chose node {:?}", &*node);
                diagnosis.post_filter = vec![remark.into()];
                self.rejected(culprit, *diagnosis, None, now);
            }
        }
    }

    fn turn_down(&mut self, pod: Arc<PodView>, strategy: &str, reason: String, now: Moment) {
        let diagnosis = Diagnosis {
            node_count: self.cluster.node_count(),
            pre_filter: Some(Rejection::unschedulable(reason)),
            plugins: BTreeSet::from([strategy.to_owned()]),
            ..Diagnosis::default()
        };
        self.rejected(pod, diagnosis, None, now);
    }
}

/// Runs the plugins for a pod on the node that was chosen for it, up to `Reserve`.
fn try_on(
    profile: &Profile,
    cluster: &ClusterView,
    pod: &PodView,
    node: &NodeName,
) -> Result<(Notes, Vec<Promise>), NotReserved> {
    let mut cycle = Cycle::new(cluster);
    match check(profile, &mut cycle, pod, node) {
        Ok(None) => {}
        Ok(Some(diagnosis)) => return Err(NotReserved::Rejected(Box::new(diagnosis))),
        Err(failure) => return Err(NotReserved::Failed(failure)),
    }
    let promises = reserve(profile, &mut cycle, pod, node)?;
    Ok((cycle.into_notes(), promises))
}

/// Holds an answer to the contract of [`Strategy`](crate::Strategy): every pod once, on a node that is there and has room beside all others.
fn sort(cluster: &ClusterView, strategy: &str, queue: &[Arc<PodView>], answer: Vec<Placement>) -> Sorted {
    let waiting: HashMap<&PodUid, &Arc<PodView>> = queue.iter().map(|pod| (&pod.uid, pod)).collect();
    let (mut sorted, mut fork) = (Sorted::default(), cluster.clone());
    let mut legal: Bundle = Vec::new();
    for Placement { pod: uid, node } in answer {
        let Some(pod) = waiting.get(&uid).copied() else {
            tracing::error!(strategy, pod = &*uid, "a pod was placed that is not in the queue");
            continue;
        };
        let problem = if fork.node_of(&uid).is_some() || sorted.broken.contains_key(&uid) {
            Some(format!("{} was placed twice", pod.key))
        } else {
            let lacking = match fork.node(&node) {
                None => Some("it is not there".to_owned()),
                Some(view) => view.lacks(pod),
            };
            lacking.map(|lacking| format!("{} was placed on node {:?}: {lacking}", pod.key, &*node))
        };
        match problem {
            Some(problem) => drop(sorted.broken.insert(uid, problem)),
            None => {
                fork.place(pod.clone(), &node);
                legal.push((pod.clone(), node));
            }
        }
    }
    let group = |pod: &PodView| pod.group.clone().map(|group| (pod.key.namespace.clone(), group));
    let torn: BTreeSet<_> = queue
        .iter()
        .filter(|pod| sorted.broken.contains_key(&pod.uid))
        .filter_map(|pod| group(pod))
        .collect();
    let mut bundles: HashMap<_, usize> = HashMap::new();
    for (pod, node) in legal {
        match group(&pod) {
            _ if sorted.broken.contains_key(&pod.uid) => {}
            None => sorted.bundles.push(vec![(pod, node)]),
            Some(group) if torn.contains(&group) => {
                let problem = format!(
                    "{} belongs to pod group {:?}, of which another pod was misplaced",
                    pod.key, &*group.1
                );
                sorted.broken.insert(pod.uid.clone(), problem);
            }
            Some(group) => {
                let place = *bundles.entry(group).or_insert(sorted.bundles.len());
                match sorted.bundles.get_mut(place) {
                    Some(bundle) => bundle.push((pod, node)),
                    None => sorted.bundles.push(vec![(pod, node)]),
                }
            }
        }
    }
    sorted
}

#[cfg(test)]
mod tests;
