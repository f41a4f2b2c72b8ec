//! What a disruption budget needs done: the pure part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::events::Mood;
use crate::family::Known;
use crate::ownership::controller_of;
use crate::pod;
use crate::share::{Rounding, resolve};

/// An eviction that has not come about after this time is not waited for any longer.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_secs(120);
const CONDITION: &str = "DisruptionAllowed";

/// How many pods something is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// What it is that has them: several ReplicaSets may stand for one Deployment.
    pub uid: String,
    /// How many.
    pub replicas: i32,
}

/// What is known when a budget is planned.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The budget.
    pub budget: &'a PodDisruptionBudget,
    /// The pods it selects.
    pub pods: &'a [Arc<Pod>],
    /// The scale behind each controller of these pods, by the controller's uid.
    pub scales: &'a BTreeMap<String, Scale>,
    /// The present moment.
    pub now: Timestamp,
}

/// One thing to do for a budget.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Write this status.
    SetStatus(Box<PodDisruptionBudgetStatus>),
    /// Record an event.
    Tell(News),
    /// Look again after this long, when an eviction should have come about. Comes first: time goes by even if what follows fails.
    LookAgain(Duration),
}

/// What people are told of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It selects nothing.
    NoPods,
    /// It counts the pods of controllers and selects some that have none.
    Unmanaged,
    /// The number of pods that there should be is not known, and why.
    Uncounted(String),
    /// This pod should have been evicted and was not.
    NotDeleted(String),
}

/// How many pods there should be, and how many must be healthy.
struct Demand {
    expected: i32,
    healthy: i32,
    unmanaged: bool,
}

/// What to do for a budget now. When its status is right, it is nothing.
pub fn plan(observed: &Observed<'_>) -> Vec<Action> {
    let &Observed { budget, pods, now, .. } = observed;
    let held = budget.status.clone().unwrap_or_default();
    let demand = match demand(observed) {
        Ok(demand) => demand,
        Err(why) => return fail_safe(held, why, now),
    };
    let (disrupted, lost, wait) = disruptions(&held, pods, now);
    let is_healthy = |pod: &&Arc<Pod>| {
        !pod::is_terminating(pod) && pod::is_ready(pod) && !disrupted.contains_key(pod.name())
    };
    let healthy = pod::count(pods.iter().filter(is_healthy).count());
    let allowed = if demand.expected > 0 { healthy.saturating_sub(demand.healthy).max(0) } else { 0 };
    let (status, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let generation = budget.metadata.generation;
    let new = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(demand.healthy),
        expected_pods: Some(demand.expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: generation,
        conditions: Some(condition(&held, status, reason, String::new(), generation, now)),
    };
    let mut actions = Vec::new();
    if new != held {
        actions.push(Action::SetStatus(Box::new(new)));
        actions.extend(pods.is_empty().then_some(Action::Tell(News::NoPods)));
        actions.extend(demand.unmanaged.then_some(Action::Tell(News::Unmanaged)));
        actions.extend(lost.into_iter().map(|name| Action::Tell(News::NotDeleted(name))));
    }
    let again = wait.map(Action::LookAgain);
    again.into_iter().chain(actions).collect()
}

fn demand(observed: &Observed<'_>) -> Result<Demand, String> {
    let Some(spec) = &observed.budget.spec else {
        return Ok(Demand { expected: 0, healthy: 0, unmanaged: false });
    };
    if let Some(most) = &spec.max_unavailable {
        let (expected, unmanaged) = expected(observed)?;
        let healthy = expected.saturating_sub(resolve(most, expected, Rounding::Up)).max(0);
        return Ok(Demand { expected, healthy, unmanaged });
    }
    match &spec.min_available {
        Some(least @ IntOrString::String(_)) => {
            let (expected, unmanaged) = expected(observed)?;
            Ok(Demand { expected, healthy: resolve(least, expected, Rounding::Up), unmanaged })
        }
        Some(IntOrString::Int(least)) => {
            Ok(Demand { expected: pod::count(observed.pods.len()), healthy: *least, unmanaged: false })
        }
        None => Ok(Demand { expected: 0, healthy: 0, unmanaged: false }),
    }
}

/// The sum of the scales of all controllers, and whether some pod has none.
fn expected(observed: &Observed<'_>) -> Result<(i32, bool), String> {
    let (mut counted, mut unmanaged) = (BTreeMap::new(), false);
    for pod in observed.pods {
        let Some(owner) = controller_of(&pod.metadata) else {
            unmanaged = true;
            continue;
        };
        let scale = observed
            .scales
            .get(&owner.uid)
            .ok_or_else(|| format!("found no controllers for pod {:?}", pod.name()))?;
        counted.insert(scale.uid.as_str(), scale.replicas);
    }
    Ok((counted.into_values().fold(0, i32::saturating_add), unmanaged))
}

/// The evictions still on their way, the pods whose eviction did not come about, and when to look again.
fn disruptions(
    held: &PodDisruptionBudgetStatus,
    pods: &[Arc<Pod>],
    now: Timestamp,
) -> (BTreeMap<String, Time>, Vec<String>, Option<Duration>) {
    let (mut open, mut lost, mut wait) = (BTreeMap::new(), Vec::new(), None::<Duration>);
    let noted = held.disrupted_pods.as_ref();
    for pod in pods.iter().filter(|pod| !pod::is_terminating(pod)) {
        let Some(since) = noted.and_then(|noted| noted.get(pod.name())) else { continue };
        let left = DELETION_TIMEOUT.saturating_sub(now.duration_since(since.0));
        match Duration::try_from(left) {
            Ok(left) if !left.is_zero() => {
                open.insert(pod.name().to_owned(), since.clone());
                wait = Some(wait.map_or(left, |wait| wait.min(left)));
            }
            _ => lost.push(pod.name().to_owned()),
        }
    }
    (open, lost, wait)
}

/// Nothing may be evicted while the pods cannot be counted.
fn fail_safe(held: PodDisruptionBudgetStatus, why: String, now: Timestamp) -> Vec<Action> {
    let news = News::Uncounted(why.clone());
    let generation = held.observed_generation;
    let conditions = condition(&held, "False", "SyncFailed", why, generation, now);
    let new = PodDisruptionBudgetStatus {
        disruptions_allowed: Some(0),
        conditions: Some(conditions),
        ..held.clone()
    };
    if new == held { Vec::new() } else { vec![Action::SetStatus(Box::new(new)), Action::Tell(news)] }
}

fn condition(
    held: &PodDisruptionBudgetStatus,
    status: &str,
    reason: &str,
    message: String,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions = held.conditions.clone().unwrap_or_default();
    let mut said = Condition {
        type_: CONDITION.into(),
        status: status.into(),
        reason: reason.into(),
        message,
        observed_generation: generation,
        last_transition_time: Time(now),
    };
    match conditions.iter_mut().find(|held| held.type_ == CONDITION) {
        Some(held) => {
            if held.status == said.status {
                said.last_transition_time = held.last_transition_time.clone();
            }
            *held = said;
        }
        None => conditions.push(said),
    }
    conditions
}

impl News {
    /// How an event says it: mood, reason and message.
    pub(super) fn words(self, budget: &PodDisruptionBudget) -> (Mood, &'static str, String) {
        match self {
            Self::NoPods => (Mood::Normal, "NoPods", "No matching pods found".into()),
            Self::Unmanaged => {
                let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                let selector = serde_json::to_string(&selector).unwrap_or_default();
                let message = format!(
                    "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a \
                     result, the status of the PDB cannot be calculated correctly, which may result in undefined \
                     behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an \
                     integer value."
                );
                (Mood::Warning, "UnmanagedPods", message)
            }
            Self::Uncounted(why) => (
                Mood::Warning,
                "CalculateExpectedPodCountFailed",
                format!("Failed to calculate the number of expected pods: {why}"),
            ),
            Self::NotDeleted(pod) => {
                let key = budget.key();
                let message = format!("Pod {pod} was expected by PDB {key} to be deleted but it wasn't");
                (Mood::Warning, "NotDeleted", message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::pod_named;

    const NOW: &str = "2026-01-01T01:00:00Z";

    fn budget(spec: Value) -> PodDisruptionBudget {
        serde_json::from_value(
            json!({"metadata": {"name": "b", "namespace": "default", "generation": 1}, "spec": spec}),
        )
        .unwrap()
    }

    fn ready(name: &str, owner: &str) -> Arc<Pod> {
        let mut pod = pod_named(name).ready_at("2026-01-01T00:00:00Z").build();
        let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": true}]);
        pod.metadata.owner_references = serde_json::from_value(owner).unwrap();
        Arc::new(pod)
    }

    fn look(budget: &PodDisruptionBudget, pods: &[Arc<Pod>]) -> Vec<Action> {
        let scale = |uid: &str, replicas| Scale { uid: uid.to_owned(), replicas };
        let scales = [("rs1", scale("d", 4)), ("rs2", scale("d", 4)), ("rs3", scale("e", 1))];
        let scales = scales.map(|(uid, scale)| (uid.to_owned(), scale)).into();
        plan(&Observed { budget, pods, scales: &scales, now: NOW.parse().unwrap() })
    }

    fn status(actions: &[Action]) -> PodDisruptionBudgetStatus {
        let status = actions.iter().find_map(|action| match action {
            Action::SetStatus(status) => Some(PodDisruptionBudgetStatus::clone(status)),
            _ => None,
        });
        status.unwrap_or_else(|| panic!("{actions:?}"))
    }

    fn numbers(status: &PodDisruptionBudgetStatus) -> [i32; 4] {
        [status.expected_pods, status.current_healthy, status.desired_healthy, status.disruptions_allowed]
            .map(Option::unwrap)
    }

    #[test]
    fn shares_are_of_the_scale_and_numbers_of_the_pods() {
        let pods = [ready("a", "rs1"), ready("b", "rs2"), ready("c", "rs1"), ready("d", "rs3")];
        let counts = |spec| numbers(&status(&look(&budget(spec), &pods)));
        assert_eq!(counts(json!({"minAvailable": 3})), [4, 4, 3, 1]);
        assert_eq!(counts(json!({"minAvailable": "50%"})), [5, 4, 3, 1]);
        assert_eq!(counts(json!({"maxUnavailable": 1})), [5, 4, 4, 0]);
        assert_eq!(counts(json!({"maxUnavailable": "30%"})), [5, 4, 3, 1]);
        assert_eq!(counts(json!({"minAvailable": 9})), [4, 4, 9, 0]);
    }

    #[test]
    fn a_right_status_is_left_alone() {
        let mut budget = budget(json!({"minAvailable": 1}));
        let pods = [ready("a", "rs1"), ready("b", "rs1")];
        let first = status(&look(&budget, &pods));
        let held = first.conditions.clone().unwrap();
        assert_eq!((held[0].status.as_str(), held[0].reason.as_str()), ("True", "SufficientPods"));
        budget.status = Some(first);
        assert_eq!(look(&budget, &pods), []);
    }

    #[test]
    fn an_evicted_pod_counts_as_lost_until_it_is_gone_or_two_minutes_have_passed() {
        let mut budget = budget(json!({"minAvailable": 1}));
        let pods = [ready("a", "rs1"), ready("b", "rs1")];
        let evicted = |time: &str| {
            Some(serde_json::from_value(json!({"disruptedPods": {"a": time, "gone": time}})).unwrap())
        };
        budget.status = evicted("2026-01-01T00:59:00Z");
        let actions = look(&budget, &pods);
        let new = status(&actions);
        assert_eq!(numbers(&new), [2, 1, 1, 0]);
        assert_eq!(new.disrupted_pods.unwrap().into_keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(actions[0], Action::LookAgain(Duration::from_secs(60)));
        budget.status = evicted("2026-01-01T00:58:00Z");
        let actions = look(&budget, &pods);
        assert_eq!(numbers(&status(&actions)), [2, 2, 1, 1]);
        assert_eq!(actions[1], Action::Tell(News::NotDeleted("a".into())));
    }

    #[test]
    fn pods_that_cannot_be_counted_may_not_be_evicted() {
        let budget = budget(json!({"maxUnavailable": 1}));
        let actions = look(&budget, &[ready("a", "stranger")]);
        let new = status(&actions);
        assert_eq!(new.disruptions_allowed, Some(0));
        let condition = &new.conditions.unwrap()[0];
        assert_eq!(
            (condition.reason.as_str(), condition.message.as_str()),
            ("SyncFailed", "found no controllers for pod \"a\"")
        );
    }
}
