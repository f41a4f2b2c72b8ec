//! Pods that are to have more or less while they run: what their containers were given, and whether the node has room for
//! what they ask for now. Words as upstream's kubelet uses them.

mod notice;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use orchestra_core::quantity::Quantity;

use super::spec::{Role, members};
use super::state::PodState;
pub(crate) use notice::Notice;

/// The conditions that tell of it; they are there only while there is something to tell.
pub(crate) const PENDING: &str = "PodResizePending";
pub(crate) const IN_PROGRESS: &str = "PodResizeInProgress";

/// The node can never have room.
const INFEASIBLE: &str = "Infeasible";
/// Others have the room now.
const DEFERRED: &str = "Deferred";

/// Why a pod does not have yet what it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// Of which generation the pod was that asked.
    generation: i64,
}

impl Pending {
    /// Whether it is worth looking again although nothing of the pod has changed.
    pub(crate) fn may_pass(&self) -> bool {
        self.reason == DEFERRED
    }
}

/// Thousandths of processors, and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    cpu: i64,
    memory: i64,
}

impl Amounts {
    fn of<V: AsRef<str>>(list: &BTreeMap<String, V>) -> Self {
        let quantity = |name: &str| list.get(name).and_then(|text| Quantity::parse(text.as_ref()).ok());
        Self {
            cpu: quantity("cpu").map_or(0, |q| q.milli_value()),
            memory: quantity("memory").map_or(0, |q| q.value()),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self { cpu: self.cpu.saturating_add(other.cpu), memory: self.memory.saturating_add(other.memory) }
    }

    fn at_least(self, other: Self) -> Self {
        Self { cpu: self.cpu.max(other.cpu), memory: self.memory.max(other.memory) }
    }
}

/// What each pod of a node was given.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<HashMap<String, Amounts>>);

impl Ledger {
    /// Notes what a pod was given; nothing, once it is over.
    pub(crate) fn note(&self, uid: &str, given: Option<Amounts>) {
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match given {
            Some(given) => {
                pods.insert(uid.to_owned(), given);
            }
            None => {
                pods.remove(uid);
            }
        }
    }

    /// What all others were given.
    pub(crate) fn others(&self, uid: &str) -> Amounts {
        let pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pods.iter()
            .filter(|(other, _)| *other != uid)
            .fold(Amounts::default(), |sum, (_, given)| sum.plus(*given))
    }
}

/// Gives a pod what it asks for, where there is room, and tells what is new about that. A new container has what the scheduler found
/// room for.
pub(crate) fn settle(
    pod: &Pod,
    state: &mut PodState,
    allocatable: &BTreeMap<String, String>,
    others: Amounts,
) -> Option<Notice> {
    let mut wanted = BTreeMap::new();
    for member in members(pod).iter().filter(|member| member.role != Role::Ephemeral) {
        let resources = member.container.resources.clone().unwrap_or_default();
        state.given.entry(member.container.name.clone()).or_insert_with(|| resources.clone());
        wanted.insert(member.container.name.clone(), resources);
    }
    if wanted == state.given {
        state.pending = None;
        return None;
    }
    let generation = pod.metadata.generation.unwrap_or_default();
    if let Some((reason, message)) = refused(total(pod, &wanted), Amounts::of(allocatable), others) {
        let pending = Pending { reason, message, generation };
        let is_new = state.pending.as_ref() != Some(&pending);
        let notice = is_new.then(|| Notice::pending(pod, &pending));
        state.pending = Some(pending);
        return notice;
    }
    state.pending = None;
    for member in members(pod) {
        let name = &member.container.name;
        let (Some(before), Some(after)) = (state.given.get(name), wanted.get(name)) else { continue };
        if needs_restart(&member.container, before, after)
            && let Some(container) = state.containers.get_mut(name).filter(|container| container.is_running())
        {
            container.resized = true;
        }
    }
    state.given = wanted;
    state.resizing = Some(generation);
    Some(Notice::started(pod, &state.given, generation))
}

/// Tells, once, that all containers run with what they were given.
pub(crate) fn complete(pod: &Pod, state: &mut PodState) -> Option<Notice> {
    let is_over = state.released || state.stop.is_some();
    if is_over || state.containers.values().any(|container| container.resized) {
        return None;
    }
    let generation = state.resizing.take()?;
    Some(Notice::completed(pod, &state.given, generation))
}

/// What a pod was given in all.
pub(crate) fn given(pod: &Pod, state: &PodState) -> Amounts {
    total(pod, &state.given)
}

fn total(pod: &Pod, resources: &BTreeMap<String, ResourceRequirements>) -> Amounts {
    let (mut together, mut alone) = (Amounts::default(), Amounts::default());
    for member in members(pod) {
        let requests = resources.get(&member.container.name).and_then(|r| r.requests.as_ref());
        let texts =
            requests.into_iter().flatten().map(|(name, quantity)| (name.clone(), quantity.0.as_str()));
        let requests = Amounts::of(&texts.collect::<BTreeMap<String, &str>>());
        match member.role {
            Role::Main | Role::Sidecar => together = together.plus(requests),
            Role::Init => alone = alone.at_least(requests),
            Role::Ephemeral => {}
        }
    }
    together.at_least(alone)
}

/// Why there is no room, in a word and in a sentence.
fn refused(wanted: Amounts, capacity: Amounts, others: Amounts) -> Option<(&'static str, String)> {
    let resources = [
        ("memory", wanted.memory, others.memory, capacity.memory),
        ("cpu", wanted.cpu, others.cpu, capacity.cpu),
    ];
    for (resource, wanted, _, capacity) in resources {
        if wanted > capacity {
            let message = format!(
                "Node didn't have enough capacity: {resource}, requested: {wanted}, capacity: {capacity}"
            );
            return Some((INFEASIBLE, message));
        }
    }
    for (resource, wanted, used, capacity) in resources.into_iter().rev() {
        if wanted.saturating_add(used) > capacity {
            let message = format!(
                "Node didn't have enough resource: {resource}, requested: {wanted}, used: {used}, capacity: {capacity}"
            );
            return Some((DEFERRED, message));
        }
    }
    None
}

/// Whether a container wants to begin anew with what it is given.
fn needs_restart(container: &Container, before: &ResourceRequirements, after: &ResourceRequirements) -> bool {
    container.resize_policy.iter().flatten().any(|policy| {
        let amount =
            |list: &Option<BTreeMap<String, ApiQuantity>>| list.as_ref()?.get(&policy.resource_name).cloned();
        let differs = amount(&before.requests) != amount(&after.requests)
            || amount(&before.limits) != amount(&after.limits);
        policy.restart_policy == "RestartContainer" && differs
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::state::{Container as State, Life};
    use super::*;
    use crate::runtime::ContainerId;

    fn pod(cpu: &str, memory: &str) -> Pod {
        serde_json::from_value(json!({"metadata": {"uid": "u"}, "spec": {"containers": [{
            "name": "c",
            "resources": {"requests": {"cpu": cpu, "memory": memory}},
            "resizePolicy": [
                {"resourceName": "cpu", "restartPolicy": "NotRequired"},
                {"resourceName": "memory", "restartPolicy": "RestartContainer"},
            ],
        }]}}))
        .unwrap()
    }

    fn node() -> BTreeMap<String, String> {
        BTreeMap::from([("cpu".to_owned(), "2".to_owned()), ("memory".to_owned(), "1Gi".to_owned())])
    }

    fn running() -> PodState {
        let mut state = PodState::default();
        settle(&pod("1", "512Mi"), &mut state, &node(), Amounts::default());
        let started_at = jiff::Timestamp::UNIX_EPOCH;
        let life = Life::Running { id: ContainerId("x".to_owned()), started_at, hooked: true };
        state.containers.insert("c".to_owned(), State { life, ..State::new() });
        state
    }

    fn reason(notice: Option<Notice>) -> &'static str {
        notice.map_or("", |notice| notice.reason)
    }

    #[test]
    fn what_there_is_room_for_is_given_and_what_must_is_restarted() {
        let mut state = running();
        assert_eq!(complete(&pod("1", "512Mi"), &mut state), None);
        let more = pod("1500m", "512Mi");
        assert_eq!(reason(settle(&more, &mut state, &node(), Amounts::default())), "ResizeStarted");
        assert_eq!(given(&more, &state), Amounts { cpu: 1500, memory: 512 << 20 });
        assert!(state.pending.is_none() && !state.containers["c"].resized);
        assert_eq!(reason(complete(&more, &mut state)), "ResizeCompleted");
        assert_eq!(
            (settle(&more, &mut state, &node(), Amounts::default()), complete(&more, &mut state)),
            (None, None)
        );
        let more = pod("1500m", "600Mi");
        assert_eq!(reason(settle(&more, &mut state, &node(), Amounts::default())), "ResizeStarted");
        assert!(state.containers["c"].resized);
        assert_eq!(complete(&more, &mut state), None);
        state.containers.get_mut("c").unwrap().resized = false;
        assert_eq!(reason(complete(&more, &mut state)), "ResizeCompleted");
    }

    #[test]
    fn what_never_fits_is_infeasible_and_what_others_have_is_deferred() {
        let mut state = running();
        let much = pod("3", "512Mi");
        assert_eq!(reason(settle(&much, &mut state, &node(), Amounts::default())), "ResizeInfeasible");
        let pending = state.pending.clone().unwrap();
        assert_eq!(pending.reason, "Infeasible");
        assert_eq!(pending.message, "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000");
        assert!(!pending.may_pass());
        assert_eq!(settle(&much, &mut state, &node(), Amounts::default()), None);
        let (wanted, ledger) = (pod("1500m", "512Mi"), Ledger::default());
        ledger.note("other", Some(Amounts { cpu: 600, memory: 0 }));
        ledger.note("u", Some(Amounts { cpu: 1000, memory: 512 << 20 }));
        assert_eq!(reason(settle(&wanted, &mut state, &node(), ledger.others("u"))), "ResizeDeferred");
        let pending = state.pending.clone().unwrap();
        assert_eq!(pending.reason, "Deferred");
        assert_eq!(
            pending.message,
            "Node didn't have enough resource: cpu, requested: 1500, used: 600, capacity: 2000"
        );
        assert_eq!(given(&wanted, &state).cpu, 1000);
        assert_eq!(settle(&wanted, &mut state, &node(), ledger.others("u")), None);
        // Another wish that fits no better is told of again.
        let mut anew = wanted.clone();
        anew.metadata.generation = Some(7);
        assert_eq!(reason(settle(&anew, &mut state, &node(), ledger.others("u"))), "ResizeDeferred");
        ledger.note("other", None);
        assert_eq!(reason(settle(&anew, &mut state, &node(), ledger.others("u"))), "ResizeStarted");
        assert!(state.pending.is_none() && given(&wanted, &state).cpu == 1500);
        assert_eq!(state.resizing, Some(7));
    }

    #[test]
    fn who_takes_a_wish_back_is_told_nothing_and_so_is_a_pod_that_ends() {
        let mut state = running();
        settle(&pod("3", "512Mi"), &mut state, &node(), Amounts::default());
        assert_eq!(settle(&pod("1", "512Mi"), &mut state, &node(), Amounts::default()), None);
        assert!(state.pending.is_none());
        let less = pod("500m", "512Mi");
        settle(&less, &mut state, &node(), Amounts::default());
        state.released = true;
        assert_eq!(complete(&less, &mut state), None);
    }
}
