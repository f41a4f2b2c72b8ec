//! `RuntimeClass`: what a pod costs beside its containers, and where its runtime is to be found.

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use orchestra_core::quantity::Quantity;
use serde_json::{Map, Value, json};

use super::{Admission, AdmissionRequest, Operation};
use crate::status::StatusError;
use crate::storage::meta;

const NODE: GroupVersion = GroupVersion::new("node.k8s.io", "v1");

#[derive(Debug)]
pub(super) struct RuntimeClass;

impl RuntimeClass {
    /// The class of a new pod, if it names one.
    async fn class(&self, request: &AdmissionRequest<'_>, pod: &Value) -> Result<Option<Value>, StatusError> {
        let Some(name) = meta::below(pod, "spec", "runtimeClassName").and_then(Value::as_str) else {
            return Ok(None);
        };
        let found = request.reader.get(&NODE, "runtimeclasses", "", name).await?;
        let missing = || request.refuse(format!("pod rejected: RuntimeClass {name:?} not found"));
        found.map(Some).ok_or_else(missing)
    }
}

#[async_trait]
impl Admission for RuntimeClass {
    fn name(&self) -> &str {
        "RuntimeClass"
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create && request.is("", "pods")
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let Some(class) = self.class(request, object).await? else { return Ok(()) };
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return Ok(()) };
        if class.get("overhead").is_some_and(Value::is_object) {
            let fixed = class.pointer("/overhead/podFixed").cloned().unwrap_or(Value::Null);
            if spec.get("overhead").is_some_and(|own| !own.is_null() && !same(Some(own), Some(&fixed))) {
                return Err(request
                    .refuse("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"));
            }
            spec.insert("overhead".into(), fixed);
        }
        if let Some(scheduling) = class.get("scheduling").filter(|scheduling| scheduling.is_object()) {
            select(spec, scheduling).map_err(|why| request.refuse(why))?;
            tolerate(spec, scheduling);
        }
        Ok(())
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        let class = self.class(request, object).await?;
        let own = meta::below(object, "spec", "overhead").filter(|own| !own.is_null());
        let defined = class.as_ref().and_then(|class| class.get("overhead")).filter(|o| o.is_object());
        match (defined, own) {
            (Some(defined), own) if !same(defined.get("podFixed"), own) => {
                Err(request
                    .refuse("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"))
            }
            (None, Some(_)) => Err(request.refuse(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            )),
            _ => Ok(()),
        }
    }
}

/// Whether two lists are of the same amounts, however they are written.
fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    let amounts = |list: Option<&Value>| {
        let list = list.and_then(Value::as_object).into_iter().flatten();
        let list =
            list.map(|(name, amount)| (name.clone(), Quantity::from_json(amount).and_then(Result::ok)));
        list.collect::<std::collections::BTreeMap<_, _>>()
    };
    amounts(a) == amounts(b)
}

/// Adds the node selector of the class.
fn select(spec: &mut Map<String, Value>, scheduling: &Value) -> Result<(), String> {
    let wanted = scheduling.get("nodeSelector").and_then(Value::as_object);
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else { return Ok(()) };
    let slot = spec.entry("nodeSelector").or_insert_with(|| json!({}));
    if !slot.is_object() {
        *slot = json!({});
    }
    let Some(selector) = slot.as_object_mut() else { return Ok(()) };
    for (key, value) in wanted {
        if let Some(own) = selector.get(key).filter(|own| *own != value) {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(value),
                text(own)
            ));
        }
        selector.insert(key.clone(), value.clone());
    }
    Ok(())
}

/// Adds the tolerations of the class, and leaves out those that others include.
fn tolerate(spec: &mut Map<String, Value>, scheduling: &Value) {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let more = list(scheduling.get("tolerations"));
    if more.is_empty() {
        return;
    }
    let mut all = list(spec.get("tolerations"));
    all.extend(more);
    let mut kept: Vec<Value> = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let is_included = kept.iter().any(|other| includes(other, one))
            || all.iter().skip(at + 1).any(|other| other != one && includes(other, one));
        if !is_included {
            kept.push(one.clone());
        }
    }
    spec.insert("tolerations".into(), kept.into());
}

/// Whether `large` tolerates all that `small` does.
fn includes(large: &Value, small: &Value) -> bool {
    fn text<'a>(of: &'a Value, field: &str) -> &'a str {
        of.get(field).and_then(Value::as_str).unwrap_or_default()
    }
    if large == small {
        return true;
    }
    let takes_all = text(large, "key").is_empty() && text(large, "operator") == "Exists";
    if text(small, "key") != text(large, "key") && !takes_all {
        return false;
    }
    if !text(large, "effect").is_empty() && text(small, "effect") != text(large, "effect") {
        return false;
    }
    let seconds = |of: &Value| of.get("tolerationSeconds").and_then(Value::as_i64);
    if text(large, "effect") == "NoExecute"
        && let Some(most) = seconds(large)
        && seconds(small).is_none_or(|own| own > most)
    {
        return false;
    }
    match text(large, "operator") {
        "" | "Equal" => {
            matches!(text(small, "operator"), "" | "Equal") && text(small, "value") == text(large, "value")
        }
        "Exists" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toleration_that_another_includes_is_left_out() {
        let wide = json!({"operator": "Exists"});
        let narrow = json!({"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"});
        let short = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5});
        let long = json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9});
        assert!(includes(&wide, &narrow) && !includes(&narrow, &wide));
        assert!(includes(&long, &short) && !includes(&short, &long));
        let Value::Object(mut spec) = json!({"tolerations": [narrow, long]}) else { panic!() };
        tolerate(&mut spec, &json!({"tolerations": [short, {"key": "c"}]}));
        assert_eq!(spec["tolerations"], json!([narrow, long, {"key": "c"}]));
    }
}
