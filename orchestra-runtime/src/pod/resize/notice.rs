//! What events say of pods that are to have more or less while they run, as upstream's kubelet words it: the containers and their
//! resources as JSON behind a few words.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, ResourceClaim, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Serialize;

use super::{INFEASIBLE, Pending};
use crate::event::Severity;
use crate::pod::spec::{Role, members};

/// An event about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) severity: Severity,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Notice {
    /// There is room, and the containers get what they are `given`.
    pub(super) fn started(pod: &Pod, given: &Given, generation: i64) -> Self {
        let message = message("Pod resize started", pod, given, generation, "");
        Self { severity: Severity::Normal, reason: "ResizeStarted", message }
    }

    /// The containers run with what they were `given` since the pod was of this generation.
    pub(super) fn completed(pod: &Pod, given: &Given, generation: i64) -> Self {
        let message = message("Pod resize completed", pod, given, generation, "");
        Self { severity: Severity::Normal, reason: "ResizeCompleted", message }
    }

    /// There is no room for what the pod asks for.
    pub(super) fn pending(pod: &Pod, pending: &Pending) -> Self {
        let reason = if pending.reason == INFEASIBLE { "ResizeInfeasible" } else { "ResizeDeferred" };
        let begin = format!("Pod resize {}", pending.reason);
        let message = message(&begin, pod, &Given::new(), pending.generation, &pending.message);
        Self { severity: Severity::Warning, reason, message }
    }
}

/// What containers were given, by name.
type Given = BTreeMap<String, ResourceRequirements>;

/// Fields in upstream's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Entry<'a>>,
    generation: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    resources: Resources<'a>,
}

#[derive(Default, Serialize)]
struct Resources<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<&'a BTreeMap<String, Quantity>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<&'a BTreeMap<String, Quantity>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    claims: Option<&'a Vec<ResourceClaim>>,
}

impl<'a> Resources<'a> {
    fn of(resources: &'a ResourceRequirements) -> Self {
        Self {
            limits: resources.limits.as_ref().filter(|limits| !limits.is_empty()),
            requests: resources.requests.as_ref().filter(|requests| !requests.is_empty()),
            claims: resources.claims.as_ref().filter(|claims| !claims.is_empty()),
        }
    }
}

/// What the containers were given, or ask for where nothing is said of that.
fn message(begin: &str, pod: &Pod, given: &Given, generation: i64, error: &str) -> String {
    let members = members(pod);
    let mut summary = Summary { init_containers: Vec::new(), containers: Vec::new(), generation, error };
    for member in &members {
        let name = member.container.name.as_str();
        let resources = given.get(name).or(member.container.resources.as_ref());
        let entry = Entry { name, resources: resources.map(Resources::of).unwrap_or_default() };
        match member.role {
            Role::Init | Role::Sidecar => summary.init_containers.push(entry),
            Role::Main => summary.containers.push(entry),
            Role::Ephemeral => {}
        }
    }
    let json = serde_json::to_string(&summary);
    json.map_or_else(|_| begin.to_owned(), |json| format!("{begin}: {json}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({"spec": {
            "initContainers": [
                {"name": "once"},
                {"name": "beside", "restartPolicy": "Always", "resources": {"requests": {"memory": "1Gi"}, "limits": {}}},
            ],
            "containers": [{"name": "web", "resources": {
                "claims": [{"name": "gpu"}], "limits": {"memory": "2Gi", "cpu": "500m"}, "requests": {"cpu": "250m"},
            }}],
            "ephemeralContainers": [{"name": "look"}],
        }}))
        .unwrap()
    }

    #[test]
    fn what_is_asked_for_is_told_with_why_there_is_no_room() {
        let pending = Pending { reason: "Deferred", message: "no room".to_owned(), generation: 3 };
        let told = Notice::pending(&pod(), &pending);
        assert_eq!((told.severity, told.reason), (Severity::Warning, "ResizeDeferred"));
        assert_eq!(
            told.message,
            "Pod resize Deferred: {\"initContainers\":[{\"name\":\"once\",\"resources\":{}},\
             {\"name\":\"beside\",\"resources\":{\"requests\":{\"memory\":\"1Gi\"}}}],\
             \"containers\":[{\"name\":\"web\",\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"2Gi\"},\
             \"requests\":{\"cpu\":\"250m\"},\"claims\":[{\"name\":\"gpu\"}]}}],\"generation\":3,\"error\":\"no room\"}"
        );
        let told = Notice::pending(&pod(), &Pending { reason: "Infeasible", ..pending });
        assert_eq!((told.severity, told.reason), (Severity::Warning, "ResizeInfeasible"));
        assert!(told.message.starts_with("Pod resize Infeasible: {"), "{}", told.message);
    }

    #[test]
    fn what_was_given_is_told_and_not_what_is_asked_for_since() {
        let given: ResourceRequirements =
            serde_json::from_value(json!({"requests": {"cpu": "100m"}})).unwrap();
        let given = BTreeMap::from([("web".to_owned(), given)]);
        let told = Notice::completed(&pod(), &given, 2);
        assert_eq!((told.severity, told.reason), (Severity::Normal, "ResizeCompleted"));
        let end = "\"containers\":[{\"name\":\"web\",\"resources\":{\"requests\":{\"cpu\":\"100m\"}}}],\"generation\":2}";
        assert!(told.message.ends_with(end), "{}", told.message);
    }
}
