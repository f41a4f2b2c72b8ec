//! `/ephemeralcontainers`: containers are added to a pod that runs, and stay as they were added.

use std::collections::HashMap;

use serde_json::Value;

use crate::kinds::frame::{Object, View};
use crate::kinds::pod_spec::{self, Holder};
use crate::violation::{FieldPath, Violation, Violations};

/// The mark of pods that a node runs by itself and only shows to the server.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Puts back everything but the list.
pub(super) fn prepare(new: &mut Object, old: &Value) {
    let Some(old) = old.as_object() else { return };
    let wanted = new.get("spec").and_then(|spec| spec.get("ephemeralContainers")).cloned();
    new.clone_from(old);
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    match wanted {
        Some(list) => {
            spec.insert("ephemeralContainers".to_owned(), list);
        }
        None => {
            spec.remove("ephemeralContainers");
        }
    }
}

/// Rules of a change, after `ValidatePodEphemeralContainersUpdate`.
pub(super) fn validate(new: &View, old: &View, out: &mut Violations) {
    let spec = new.get("spec");
    pod_spec::validate(out, &spec, Holder::Pod);
    if is_mirror(old) {
        out.push(Violation::forbidden(&FieldPath::root(), "static pods do not support ephemeral containers"));
    }
    let list = spec.get("ephemeralContainers");
    let now: HashMap<&str, View> = list.items().map(|now| (now.get("name").text(), now)).collect();
    for held in old.get("spec").get("ephemeralContainers").items() {
        let name = held.get("name").text();
        match now.get(name) {
            None => {
                let detail = format!("existing ephemeral containers {name:?} may not be removed\n");
                out.push(Violation::forbidden(list.path(), detail));
            }
            Some(now) if now.value() != held.value() => {
                let detail = format!("existing ephemeral containers {name:?} may not be changed\n");
                out.push(Violation::forbidden(list.path(), detail));
            }
            Some(_) => {}
        }
    }
}

/// Whether a node runs the pod by itself.
pub(super) fn is_mirror(pod: &View) -> bool {
    pod.get("metadata").get("annotations").get(MIRROR).is_set()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::kind::{Kind, ObjectPart};

    const PART: ObjectPart = ObjectPart::EphemeralContainers;

    fn debugger(name: &str) -> Value {
        json!({"name": name, "image": "i", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"})
    }

    fn pod(ephemeral: &Value) -> Value {
        let mut pod = json!({"metadata": {"name": "p", "namespace": "n", "generation": 1, "resourceVersion": "1"}, "spec": {
            "containers": [{"name": "c", "image": "i"}], "ephemeralContainers": ephemeral}});
        Kind::default(&super::super::kind(), &mut pod);
        pod
    }

    fn said(new: &Value, old: &Value) -> Vec<String> {
        let violations = super::super::kind().validate_part_update(PART, new, old);
        violations.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_the_list_changes_and_counts_as_a_generation() {
        let (old, kind) = (pod(&json!([])), super::super::kind());
        let mut new = pod(&json!([debugger("d")]));
        new["spec"]["containers"][0]["image"] = json!("other");
        new["metadata"]["labels"] = json!({"a": "b"});
        kind.prepare_part_update(PART, &mut new, &old);
        assert_eq!(new["spec"]["containers"], old["spec"]["containers"]);
        assert!(new["metadata"].get("labels").is_none());
        assert_eq!(new["metadata"]["generation"], 2);
        assert_eq!(new["spec"]["ephemeralContainers"][0]["name"], "d");
        assert_eq!(said(&new, &old), [""; 0]);
    }

    #[test]
    fn what_was_added_stays_as_it_is() {
        let old = pod(&json!([debugger("d")]));
        assert!(
            said(&pod(&json!([])), &old)[0]
                .contains(r#"existing ephemeral containers "d" may not be removed"#)
        );
        let mut other = debugger("d");
        other["image"] = json!("other");
        assert!(
            said(&pod(&json!([other])), &old)[0]
                .contains(r#"existing ephemeral containers "d" may not be changed"#)
        );
        assert_eq!(said(&pod(&json!([debugger("d"), debugger("e")])), &old), [""; 0]);
    }

    #[test]
    fn a_debugger_has_a_name_of_its_own_and_nothing_that_outlives_it() {
        let old = pod(&json!([]));
        let with = |field: &str, value: Value| {
            let mut container = debugger("d");
            container[field] = value;
            said(&pod(&json!([container])), &old).join("; ")
        };
        assert!(
            with("name", json!("c")).contains(r#"spec.ephemeralContainers[0].name: Duplicate value: "c""#)
        );
        let absent = with("targetContainerName", json!("x"));
        assert!(
            absent.contains(r#"spec.ephemeralContainers[0].targetContainerName: Not found: "x""#),
            "{absent}"
        );
        assert_eq!(with("targetContainerName", json!("c")), "");
        let resources = with("resources", json!({"limits": {"cpu": "1"}}));
        assert!(
            resources.contains("resources: Forbidden: cannot be set for an Ephemeral Container"),
            "{resources}"
        );
    }
}
