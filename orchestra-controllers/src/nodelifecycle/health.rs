//! What the conditions of a node say, and what they say once it is silent.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

pub(super) const READY: &str = "Ready";

/// How long a node may be silent.
pub(super) const GRACE: Duration = Duration::from_secs(50);
/// How long a node may take for its first status.
const GRACE_AT_START: Duration = Duration::from_secs(60);

/// What the agent of a node reports, and nobody reports for it.
const REPORTED: [&str; 4] = [READY, "MemoryPressure", "DiskPressure", "PIDPressure"];

pub(super) fn condition<'a>(node: &'a Node, type_: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == type_)
}

/// Whether a node says that it is ready.
pub(super) fn is_ready(node: &Node) -> bool {
    condition(node, READY).is_some_and(|ready| ready.status == "True")
}

/// How long until a node last heard of at `heard` counts as silent; zero if it does.
pub(super) fn silent_in(node: &Node, heard: Timestamp, now: Timestamp) -> Duration {
    let created = node.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let (since, grace) = match condition(node, READY) {
        Some(_) => (heard, GRACE),
        None => (created.unwrap_or(heard), GRACE_AT_START),
    };
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO);
    grace.saturating_sub(passed)
}

/// The conditions of a silent node, if they do not say so yet.
pub(super) fn silent(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let held = node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let mut conditions = held.clone();
    for type_ in REPORTED {
        match conditions.iter_mut().find(|condition| condition.type_ == type_) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                condition.status = "Unknown".into();
                condition.reason = Some("NodeStatusUnknown".into());
                condition.message = Some("Kubelet stopped posting node status.".into());
                condition.last_transition_time = Some(Time(now));
            }
            None => conditions.push(NodeCondition {
                type_: type_.into(),
                status: "Unknown".into(),
                reason: Some("NodeStatusNeverUpdated".into()),
                message: Some("Kubelet never posted node status.".into()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
    (conditions != held).then_some(conditions)
}
