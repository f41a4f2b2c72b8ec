//! `/binding`: a scheduler says which node a pod goes to.

use async_trait::async_trait;
use http::Response;
use orchestra_core::gvk::GroupVersion;
use serde_json::{Value, json};

use super::{complete, done};
use crate::admission::Operation;
use crate::body::Body;
use crate::negotiate::decode;
use crate::state::{Call, State};
use crate::status::{GroupResource, StatusError};
use crate::storage::meta;
use crate::storage::narrow::{Fields, Look};
use crate::storage::writer::{Edit, Step};
use crate::verbs::update;

const CORE: GroupVersion = GroupVersion::new("", "v1");

/// POST of a `Binding` that names its pod itself.
pub(crate) async fn bind_named(state: &State, mut call: Call) -> Result<Response<Body>, StatusError> {
    let binding = decode::other(&call, &CORE, "Binding")?.value;
    let pods = state.catalog.find(&CORE, "pods").ok_or_else(StatusError::no_such_resource)?;
    let request = &mut call.request;
    request.name = Some(meta::name(&binding).to_owned()).filter(|name| !name.is_empty());
    if request.name.is_none() {
        return Err(StatusError::bad_request("name is required"));
    }
    if let Some(problem) = request.bad_name() {
        return Err(StatusError::bad_request(problem));
    }
    (request.resource, request.subresource) = ("pods".to_owned(), Some("binding".to_owned()));
    call.resource = pods;
    bind(state, &call).await
}

/// POST of a `Binding` below a pod.
pub(crate) async fn bind(state: &State, call: &Call) -> Result<Response<Body>, StatusError> {
    let mut binding = decode::other(call, &CORE, "Binding")?.value;
    complete(call, &mut binding);
    call.admit_as(state, Operation::Create, (&CORE, "Binding"), &mut binding, None).await?;
    call.check_as(state, Operation::Create, (&CORE, "Binding"), &binding, None).await?;
    let target = |field: &str| {
        binding.pointer(&format!("/target/{field}")).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    if !matches!(target("kind").as_str(), "" | "Node") {
        return Err(StatusError::internal(format!("unsupported binding target kind {:?}", target("kind"))));
    }
    let node = target("name");
    if node.is_empty() {
        return Err(StatusError::internal("a binding must name its target"));
    }
    let edit = BindEdit { state, call, binding: &binding, node };
    update::write(state, call, &edit).await?;
    Ok(done())
}

struct BindEdit<'a> {
    state: &'a State,
    call: &'a Call,
    binding: &'a Value,
    node: String,
}

#[async_trait]
impl Edit for BindEdit<'_> {
    async fn edit(&self, pod: &Value) -> Result<Step, StatusError> {
        let conflict = |why: String| {
            StatusError::conflict(&GroupResource::new("", "pods/binding"), self.call.name(), why)
        };
        let uid = meta::text(self.binding, "uid");
        if !uid.is_empty() && uid != meta::text(pod, "uid") {
            return Err(conflict(format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                meta::text(pod, "uid")
            )));
        }
        if meta::is_terminating(pod) {
            return Err(conflict(format!(
                "pod {} is being deleted, cannot be assigned to a host",
                self.call.name()
            )));
        }
        let bound = pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default();
        if !bound.is_empty() {
            return Err(conflict(format!("pod {} is already assigned to node {bound:?}", self.call.name())));
        }
        let gates = pod.pointer("/spec/schedulingGates").and_then(Value::as_array);
        if gates.is_some_and(|gates| !gates.is_empty()) {
            return Err(conflict(format!("pod {} has non-empty .spec.schedulingGates", self.call.name())));
        }
        let mut new = pod.clone();
        new["spec"]["nodeName"] = self.node.as_str().into();
        for field in ["labels", "annotations"] {
            let brought = meta::metadata(self.binding).and_then(|m| m.get(field)).and_then(Value::as_object);
            let Some(metadata) = meta::metadata_mut(&mut new) else { continue };
            for (key, value) in brought.into_iter().flatten() {
                let slot = metadata.entry(field).or_insert_with(|| json!({}));
                if let Some(map) = slot.as_object_mut() {
                    map.insert(key.clone(), value.clone());
                }
            }
        }
        set_scheduled(&mut new, &self.state.stamp());
        Ok(Step::Put(new))
    }

    fn looks_at(&self) -> Option<&'static Fields> {
        Some(&[
            (
                "metadata",
                Look::Only(&[
                    "annotations",
                    "deletionGracePeriodSeconds",
                    "deletionTimestamp",
                    "finalizers",
                    "labels",
                    "uid",
                ]),
            ),
            ("spec", Look::Only(&["nodeName", "schedulingGates"])),
            ("status", Look::Only(&["conditions"])),
        ])
    }

    async fn create(&self) -> Result<Option<Value>, StatusError> {
        Ok(None)
    }
}

/// Sets the condition that the pod has a node.
fn set_scheduled(pod: &mut Value, now: &str) {
    let status = &mut pod["status"];
    if !status.is_object() {
        *status = json!({});
    }
    let conditions = &mut status["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(conditions) = conditions.as_array_mut() else { return };
    let scheduled = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
    });
    match conditions.iter_mut().find(|c| c.get("type").and_then(Value::as_str) == Some("PodScheduled")) {
        Some(condition) => *condition = scheduled,
        None => conditions.push(scheduled),
    }
}
