//! What every pod gets before it is stored: a priority, tolerations of node trouble.

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use serde_json::{Map, Value, json};

use super::{Admission, AdmissionRequest, Operation};
use crate::status::StatusError;

const SCHEDULING: GroupVersion = GroupVersion::new("scheduling.k8s.io", "v1");
/// How long a pod stays on a node that is unreachable or not ready, unless it says otherwise.
const TOLERATION_SECONDS: i64 = 300;

fn pod_spec<'a>(request: &AdmissionRequest<'_>, object: &'a mut Value) -> Option<&'a mut Map<String, Value>> {
    if request.operation != Operation::Create || !request.is("", "pods") {
        return None;
    }
    object.get_mut("spec")?.as_object_mut()
}

/// `Priority`: the number and preemption policy of the pod's priority class.
#[derive(Debug)]
pub(super) struct Priority;

#[async_trait]
impl Admission for Priority {
    fn name(&self) -> &str {
        "Priority"
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let Some(spec) = pod_spec(request, object) else { return Ok(()) };
        let name = spec.get("priorityClassName").and_then(Value::as_str).unwrap_or_default();
        let class = if name.is_empty() {
            let classes = request.reader.list(&SCHEDULING, "priorityclasses", None).await?;
            let default =
                |class: &Value| class.get("globalDefault").and_then(Value::as_bool).unwrap_or(false);
            // Several defaults are a race of their makers; the lowest wins.
            classes.into_iter().filter(default).min_by_key(value_of)
        } else {
            let found = request.reader.get(&SCHEDULING, "priorityclasses", "", name).await?;
            let missing = || request.refuse(format!("no PriorityClass with name {name} was found"));
            Some(found.ok_or_else(missing)?)
        };
        let priority = class.as_ref().map_or(0, value_of);
        let policy = class
            .as_ref()
            .and_then(|c| c.get("preemptionPolicy"))
            .and_then(Value::as_str)
            .unwrap_or("PreemptLowerPriority");
        if spec.get("priority").and_then(Value::as_i64).is_some_and(|given| given != priority) {
            return Err(request.refuse(format!(
                "the integer value of priority ({}) must not be provided in pod spec; priority admission controller \
                 computed {priority} from the given PriorityClass name",
                spec.get("priority").unwrap_or(&Value::Null)
            )));
        }
        if spec.get("preemptionPolicy").and_then(Value::as_str).is_some_and(|given| given != policy) {
            return Err(request.refuse(format!(
                "the string value of PreemptionPolicy ({}) must not be provided in pod spec; priority admission \
                 controller computed {policy} from the given PriorityClass name",
                spec.get("preemptionPolicy").and_then(Value::as_str).unwrap_or_default()
            )));
        }
        if let Some(name) = class.as_ref().and_then(|c| c.pointer("/metadata/name")) {
            spec.insert("priorityClassName".into(), name.clone());
        }
        spec.insert("priority".into(), priority.into());
        spec.insert("preemptionPolicy".into(), policy.into());
        Ok(())
    }

    async fn validate(&self, _request: &AdmissionRequest<'_>, _object: &Value) -> Result<(), StatusError> {
        Ok(())
    }
}

fn value_of(class: &Value) -> i64 {
    class.get("value").and_then(Value::as_i64).unwrap_or(0)
}

/// `DefaultTolerationSeconds`: five minutes on a node in trouble.
#[derive(Debug)]
pub(super) struct DefaultTolerationSeconds;

#[async_trait]
impl Admission for DefaultTolerationSeconds {
    fn name(&self) -> &str {
        "DefaultTolerationSeconds"
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let Some(spec) = pod_spec(request, object) else { return Ok(()) };
        let slot = spec.entry("tolerations").or_insert_with(|| json!([]));
        if slot.is_null() {
            *slot = json!([]);
        }
        let Some(tolerations) = slot.as_array_mut() else { return Ok(()) };
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            let covered = tolerations.iter().any(|t| {
                let text = |field| t.get(field).and_then(Value::as_str).unwrap_or_default();
                matches!(text("effect"), "" | "NoExecute") && (text("key") == key || text("key").is_empty())
            });
            if !covered {
                tolerations.push(json!({
                    "key": key, "operator": "Exists", "effect": "NoExecute",
                    "tolerationSeconds": TOLERATION_SECONDS,
                }));
            }
        }
        Ok(())
    }

    async fn validate(&self, _request: &AdmissionRequest<'_>, _object: &Value) -> Result<(), StatusError> {
        Ok(())
    }
}
