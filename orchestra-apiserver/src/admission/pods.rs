//! What every pod gets before it is stored, and keeps when it is written anew: a priority, tolerations of node trouble.

use std::sync::Arc;

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use serde_json::{Map, Value, json};

use super::followed::Followed;
use super::{Admission, AdmissionRequest, Operation, Phases};
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::status::StatusError;
use crate::storage::meta;

const SCHEDULING: GroupVersion = GroupVersion::new("scheduling.k8s.io", "v1");
/// How long a pod stays on a node that is unreachable or not ready, unless it says otherwise.
const TOLERATION_SECONDS: i64 = 300;

fn is_pod(request: &AdmissionRequest<'_>) -> bool {
    matches!(request.operation, Operation::Create | Operation::Update) && request.is("", "pods")
}

fn pod_spec(object: &mut Value) -> Option<&mut Map<String, Value>> {
    object.get_mut("spec")?.as_object_mut()
}

/// What a pod gets from its priority class.
#[derive(Clone, Debug)]
struct Rank {
    name: String,
    value: i64,
    policy: Option<String>,
    is_default: bool,
}

impl Rank {
    fn read(class: &Value) -> Self {
        Self {
            name: meta::name(class).to_owned(),
            value: class.get("value").and_then(Value::as_i64).unwrap_or(0),
            policy: class.get("preemptionPolicy").and_then(Value::as_str).map(str::to_owned),
            is_default: class.get("globalDefault").and_then(Value::as_bool).unwrap_or(false),
        }
    }
}

/// `Priority`: the number and preemption policy of the pod's priority class.
#[derive(Debug)]
pub(super) struct Priority {
    classes: Followed<Vec<Rank>>,
}

impl Priority {
    /// `None` when priority classes are not served.
    pub(super) fn new(feed: &Arc<Feed>, catalog: &Catalog) -> Option<Self> {
        Some(Self { classes: Followed::new(feed, catalog, &SCHEDULING, "priorityclasses")? })
    }
}

#[async_trait]
impl Admission for Priority {
    fn name(&self) -> &str {
        "Priority"
    }

    fn phases(&self) -> Phases {
        Phases::Mutation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        is_pod(request)
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let Some(spec) = pod_spec(object) else { return Ok(()) };
        if request.operation == Operation::Update {
            keep(spec, request.old);
            return Ok(());
        }
        let classes = self.classes.get(|classes| classes.iter().map(Rank::read).collect()).await?;
        let name = spec.get("priorityClassName").and_then(Value::as_str).unwrap_or_default();
        let class = if name.is_empty() {
            // Several defaults are a race of their makers; the lowest wins.
            classes.iter().filter(|class| class.is_default).min_by_key(|class| class.value)
        } else {
            let missing = || request.refuse(format!("no PriorityClass with name {name} was found"));
            Some(classes.iter().find(|class| class.name == name).ok_or_else(missing)?)
        };
        let priority = class.map_or(0, |class| class.value);
        let policy = class.and_then(|class| class.policy.as_deref()).unwrap_or("PreemptLowerPriority");
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
        if let Some(class) = class {
            spec.insert("priorityClassName".into(), class.name.as_str().into());
        }
        spec.insert("priority".into(), priority.into());
        spec.insert("preemptionPolicy".into(), policy.into());
        Ok(())
    }
}

/// What a pod was given when it was made, and who writes it now does not name. That it stays the same is checked later.
fn keep(spec: &mut Map<String, Value>, old: Option<&Value>) {
    for field in ["priority", "preemptionPolicy"] {
        let Some(held) = old.and_then(|old| old.get("spec")?.get(field)) else { continue };
        if spec.get(field).is_none_or(Value::is_null) {
            spec.insert(field.to_owned(), held.clone());
        }
    }
}

/// `DefaultTolerationSeconds`: five minutes on a node in trouble.
#[derive(Debug)]
pub(super) struct DefaultTolerationSeconds;

#[async_trait]
impl Admission for DefaultTolerationSeconds {
    fn name(&self) -> &str {
        "DefaultTolerationSeconds"
    }

    fn phases(&self) -> Phases {
        Phases::Mutation
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        is_pod(request)
    }

    async fn mutate(&self, _request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let Some(spec) = pod_spec(object) else { return Ok(()) };
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
}
