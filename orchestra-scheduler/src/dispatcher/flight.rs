//! Pods between decision and binding: permitted, prepared, bound.

use std::sync::Arc;
use std::time::Duration;

use super::{Dispatcher, Job, Step, helps, unreserve};
use crate::effect::Effect;
use crate::event::ClusterEvent;
use crate::extender::is_interested;
use crate::guard::guarded;
use crate::outcome::{Diagnosis, Failure};
use crate::plugin::{Cycle, Notes};
use crate::queue::Moment;
use crate::verdict::{Announcement, Permission, Preparation, Rejection};
use crate::view::{NamespacedName, NodeName, PodUid, PodView, Promise, PromisedResources};

/// A pod that was given a node and is assumed to be there.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) pod: Arc<PodView>,
    pub(super) node: NodeName,
    profile: usize,
    notes: Notes,
    promises: Vec<Promise>,
    since: Moment,
    /// The state of the cluster it was last asked about.
    asked: u64,
    pub(super) stage: Stage,
    /// Tried only because it had waited for too long.
    pub(super) flushed: bool,
    /// Whether users heard what it waits for.
    announced: bool,
}

/// How far a flight has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Asking for permission.
    Permit { patience: Duration },
    /// Waiting for what has to be true before binding.
    Prepare { patience: Duration },
    /// Effects of preparation are under way.
    Performing,
    /// The binding is under way.
    Binding,
}

impl Flight {
    pub(super) fn new(
        pod: Arc<PodView>,
        node: NodeName,
        profile: usize,
        notes: Notes,
        promises: Vec<Promise>,
        now: Moment,
    ) -> Self {
        Self {
            pod,
            node,
            profile,
            notes,
            promises,
            since: now,
            asked: 0,
            stage: Stage::Permit { patience: Duration::MAX },
            flushed: false,
            announced: false,
        }
    }

    /// Since when it has been waiting for permission, if it is.
    fn waits_since(&self) -> Option<Moment> {
        let waits = matches!(self.stage, Stage::Permit { patience } if patience != Duration::MAX);
        waits.then_some(self.since)
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        match self.stage {
            Stage::Permit { patience } | Stage::Prepare { patience } => Some(self.since.after(patience)),
            Stage::Performing | Stage::Binding => None,
        }
    }
}

/// The pods of flights in an order that does not depend on how they are kept.
fn in_order<'a>(flights: impl Iterator<Item = &'a Flight>) -> Vec<PodUid> {
    let mut flights: Vec<_> = flights.collect();
    flights.sort_unstable_by(|left, right| (left.since, &left.pod.key).cmp(&(right.since, &right.pod.key)));
    flights.into_iter().map(|flight| flight.pod.uid.clone()).collect()
}

/// What a stage came to.
enum Progress {
    Next,
    Wait,
    Perform(Job, Stage),
    Reject(String, Rejection),
    Fail(Failure),
}

impl Dispatcher {
    /// Tells how the effects of a job went.
    pub fn performed(&mut self, uid: &PodUid, result: Result<(), String>, now: Moment) {
        let Some(flight) = self.flights.get(uid) else { return };
        let patience = self.patience(flight);
        let Some(flight) = self.flights.get_mut(uid) else { return };
        match (result, flight.stage) {
            (Ok(()), Stage::Binding) => self.bound(uid),
            (Ok(()), Stage::Performing) => {
                flight.stage = Stage::Prepare { patience };
                // What was written comes back as a change of the cluster; ask again only then.
                if self.epoch != flight.asked {
                    self.advance(uid, now);
                }
            }
            (Ok(()), Stage::Permit { .. } | Stage::Prepare { .. }) => {}
            (Err(message), _) => self.give_up(uid, Failure { plugin: None, message }, now),
        }
    }

    /// A claim was made for the extended resources of a pod in flight. Told before [`Dispatcher::performed`], so that the claim is
    /// waited for until it is seen, and not made twice.
    pub fn made(&mut self, uid: &PodUid, claim: &NamespacedName) {
        let Some(flight) = self.flights.get_mut(uid) else { return };
        for promise in &mut flight.promises {
            let Promise::Resources(promised) = promise else { continue };
            let kept = PromisedResources { made: Some(claim.clone()), ..promised.clone() };
            self.cluster.release(&Promise::Resources(std::mem::replace(promised, kept.clone())));
            self.cluster.promise(Promise::Resources(kept));
        }
    }

    /// Asks waiting pods again if the cluster changed, and ends waits that lasted too long.
    pub(super) fn ask_waiting(&mut self, now: Moment) {
        let over = |flight: &&Flight| flight.deadline().is_some_and(|deadline| deadline <= now);
        for uid in in_order(self.flights.values().filter(over)) {
            self.time_out(&uid, now);
        }
        while self.asked != self.epoch {
            self.asked = self.epoch;
            let asked = |flight: &&Flight| flight.deadline().is_some() && flight.asked != self.epoch;
            for uid in in_order(self.flights.values().filter(asked)) {
                self.advance(&uid, now);
            }
        }
    }

    /// Takes a flight as far as it goes now.
    pub(super) fn advance(&mut self, uid: &PodUid, now: Moment) {
        loop {
            let Some(flight) = self.flights.get(uid) else { return };
            let mut notice = None;
            let progress = match flight.stage {
                Stage::Permit { .. } => self.permit(flight),
                Stage::Prepare { .. } => self.prepare(flight, &mut notice),
                Stage::Performing | Stage::Binding => return,
            };
            let patience = self.patience(flight);
            let epoch = self.epoch;
            let Some(flight) = self.flights.get_mut(uid) else { return };
            flight.asked = epoch;
            if let Some(notice) = notice.filter(|_| !std::mem::replace(&mut flight.announced, true)) {
                self.steps.push_back(Step::Announce { pod: flight.pod.clone(), notice });
            }
            if let (Some(metrics), Some(since)) = (&self.metrics, flight.waits_since()) {
                let result = match progress {
                    Progress::Next => Some("Success"),
                    Progress::Reject(..) => Some("Unschedulable"),
                    Progress::Fail(_) => Some("Error"),
                    Progress::Wait | Progress::Perform(..) => None,
                };
                result.into_iter().for_each(|result| metrics.permitted(result, since, now));
            }
            match (progress, flight.stage) {
                (Progress::Next, _) => {
                    (flight.stage, flight.since) = (Stage::Prepare { patience: Duration::MAX }, now);
                }
                (Progress::Wait, Stage::Permit { .. }) => return flight.stage = Stage::Permit { patience },
                (Progress::Wait, _) => return flight.stage = Stage::Prepare { patience },
                (Progress::Perform(job, stage), _) => {
                    flight.stage = stage;
                    return self.steps.push_back(Step::Perform(job));
                }
                (Progress::Reject(plugin, rejection), _) => return self.refuse(uid, &plugin, rejection, now),
                (Progress::Fail(failure), _) => return self.give_up(uid, failure, now),
            }
        }
    }

    fn permit(&self, flight: &Flight) -> Progress {
        let Some(profile) = self.profiles.get(flight.profile) else { return Progress::Wait };
        let mut wait = false;
        for plugin in &profile.permit {
            let name = plugin.name();
            match guarded(name, "Permit", || plugin.permit(&self.cluster, &flight.pod, &flight.node)) {
                Ok(Permission::Allow) => {}
                Ok(Permission::Wait) => wait = true,
                Ok(Permission::Reject(rejection)) => return Progress::Reject(name.to_owned(), rejection),
                Err(failure) => return Progress::Fail(failure),
            }
        }
        if wait { Progress::Wait } else { Progress::Next }
    }

    /// Goes on with the preparation; what users are to hear of it is put into `notice`.
    fn prepare(&self, flight: &Flight, notice: &mut Option<Announcement>) -> Progress {
        let Some(profile) = self.profiles.get(flight.profile) else { return Progress::Wait };
        let (pod, node) = (&flight.pod, &flight.node);
        let job = |effects| Job { pod: pod.clone(), node: node.clone(), effects };
        let mut wait = false;
        for plugin in &profile.pre_bind {
            let name = plugin.name();
            let said = guarded(name, "PreBind", || plugin.pre_bind(&self.cluster, pod, node));
            match said.map(|said| said.heard(notice)) {
                // What an announcement is about says no more than what is missing.
                Ok(Preparation::Ready | Preparation::Announced { .. }) => {}
                Ok(Preparation::Wait) => wait = true,
                Ok(Preparation::Perform(effects)) => {
                    return Progress::Perform(job(effects), Stage::Performing);
                }
                Ok(Preparation::Fail(error)) => {
                    return Progress::Fail(Failure {
                        plugin: Some(name.to_owned()),
                        message: format!("running PreBind plugin {name:?}: {error}"),
                    });
                }
                Err(failure) => return Progress::Fail(failure),
            }
        }
        if wait {
            return Progress::Wait;
        }
        let binder = profile
            .extenders
            .iter()
            .find(|extender| extender.options().binds && is_interested(extender.as_ref(), pod));
        if let Some(extender) = binder {
            let effect = Effect::BindThrough {
                extender: extender.name().into(),
                pod: pod.key.clone(),
                uid: pod.uid.clone(),
                node: node.clone(),
            };
            return Progress::Perform(job(vec![effect]), Stage::Binding);
        }
        for plugin in &profile.bind {
            match guarded(plugin.name(), "Bind", || plugin.bind(pod, node)) {
                Ok(Some(effect)) => return Progress::Perform(job(vec![effect]), Stage::Binding),
                Ok(None) => {}
                Err(failure) => return Progress::Fail(failure),
            }
        }
        Progress::Fail(Failure { plugin: None, message: "no plugin binds this pod".to_owned() })
    }

    /// How long the flight may wait at its stage: as long as the most patient plugin there.
    fn patience(&self, flight: &Flight) -> Duration {
        let Some(profile) = self.profiles.get(flight.profile) else { return Duration::MAX };
        let longest = match flight.stage {
            Stage::Permit { .. } => profile.permit.iter().map(|plugin| plugin.patience()).max(),
            _ => profile.pre_bind.iter().map(|plugin| plugin.patience()).max(),
        };
        longest.unwrap_or(Duration::MAX)
    }

    fn time_out(&mut self, uid: &PodUid, now: Moment) {
        let Some(flight) = self.flights.get(uid) else { return };
        let Some(profile) = self.profiles.get(flight.profile) else { return };
        if matches!(flight.stage, Stage::Permit { .. }) {
            let plugin = profile.permit.first().map(|plugin| plugin.name().to_owned()).unwrap_or_default();
            let rejection = Rejection::unschedulable("timed out while waiting on permit");
            if let Some(metrics) = &self.metrics {
                metrics.permitted("Unschedulable", flight.since, now);
            }
            return self.refuse(uid, &plugin, rejection, now);
        }
        let message = "timed out while waiting for the pod's volumes to be bound".to_owned();
        self.give_up(uid, Failure { plugin: None, message }, now);
    }

    fn bound(&mut self, uid: &PodUid) {
        let Some(flight) = self.flights.remove(uid) else { return };
        flight.promises.iter().for_each(|promise| self.cluster.release(promise));
        self.queue.remove(uid);
        if let Some(profile) = self.profiles.get(flight.profile) {
            for plugin in &profile.post_bind {
                if let Err(failure) =
                    guarded(plugin.name(), "PostBind", || plugin.post_bind(&flight.pod, &flight.node))
                {
                    tracing::warn!(pod = %flight.pod.key, error = %failure, "after binding");
                }
            }
        }
        if let Some(metrics) = self.metrics.as_ref().filter(|_| flight.flushed) {
            metrics.bound_after_flush();
        }
        self.steps.push_back(Step::Bound { pod: flight.pod, node: flight.node });
    }

    /// Ends a flight because a plugin refuses the node after all.
    fn refuse(&mut self, uid: &PodUid, plugin: &str, rejection: Rejection, now: Moment) {
        let Some(flight) = self.land(uid, now) else { return };
        let diagnosis = Diagnosis::after_choice(flight.node.clone(), plugin, rejection);
        self.rejected(flight.pod, diagnosis, None, now);
    }

    /// Ends a flight because of an error.
    pub(super) fn give_up(&mut self, uid: &PodUid, failure: Failure, now: Moment) {
        let Some(flight) = self.land(uid, now) else { return };
        if self.queue.pod(uid).is_none() {
            // Bound after all, or gone; either way nothing is left to tell.
            return;
        }
        self.failed(flight.pod, failure, now);
    }

    /// Ends a flight: its reservations are undone and, unless the pod really got there, its room is given back.
    pub(super) fn land(&mut self, uid: &PodUid, now: Moment) -> Option<Flight> {
        let mut flight = self.flights.remove(uid)?;
        let mut undone = Vec::new();
        if let Some(profile) = self.profiles.get(flight.profile) {
            let mut cycle = Cycle::resume(&self.cluster, std::mem::take(&mut flight.notes));
            undone = unreserve(profile, &mut cycle, &flight.pod, &flight.node);
        }
        flight.promises.iter().for_each(|promise| self.cluster.release(promise));
        // Who has a node needs what was made for it. A binding without an answer may have been made: then it is the next
        // attempt that finds what is left, and there is none if the pod is bound after all.
        let may_be_bound = flight.stage == Stage::Binding || self.queue.pod(uid).is_none();
        if !undone.is_empty() && !may_be_bound {
            self.steps.push_back(Step::Repair { pod: flight.pod.clone(), effects: undone });
        }
        if self.queue.pod(uid).is_some() && self.cluster.take(uid).is_some() {
            self.epoch += 1;
            let event = ClusterEvent::AssignedPodDeleted(flight.pod.clone());
            self.queue.happened(&event, now, &helps(&self.cluster, &self.profiles, &self.preempting));
        }
        Some(flight)
    }
}
