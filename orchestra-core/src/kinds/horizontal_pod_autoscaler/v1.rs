//! The form under `autoscaling/v1`, which knows the processor alone.

use serde_json::{Value, json};

use super::translate::{CONDITIONS, CURRENT_METRICS, METRICS, to_v2};
use super::{columns, targets, validate};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::kinds::frame::{Builtin, Fill, Object, View};

pub(crate) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("autoscaling", "v1"),
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        Scope::Namespaced,
    )
    .short_names(&["hpa"])
    .in_category_all()
    .status(|| json!({"currentReplicas": 0, "desiredReplicas": 0}))
    .default(|scaler| {
        let has_others = annotation(scaler, METRICS).is_some();
        let spec = scaler.object("spec");
        spec.fill("minReplicas", 1);
        if !has_others {
            spec.fill("targetCPUUtilizationPercentage", 80);
        }
    })
    // What is told of the state in annotations is as little the client's as the status.
    .prepare_create(|scaler| keep_told(scaler, &Value::Null))
    .prepare_update(keep_told)
    // The rules are those of the whole form, and so are the fields they name.
    .validate(|scaler, out| validate(&View::root(&to_v2(scaler.json())), out))
    .columns(columns(|scaler, _| targets(&to_v2(scaler.clone())).into()))
}

fn annotation<'a>(scaler: &'a Object, name: &str) -> Option<&'a Value> {
    scaler.get("metadata")?.get("annotations")?.get(name)
}

fn keep_told(new: &mut Object, old: &Value) {
    let none = Object::new();
    let old = old.as_object().unwrap_or(&none);
    for name in [CURRENT_METRICS, CONDITIONS] {
        match annotation(old, name).cloned() {
            Some(told) => {
                new.object("metadata").object("annotations").insert(name.to_owned(), told);
            }
            None if annotation(new, name).is_some() => {
                new.object("metadata").object("annotations").remove(name);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    #[test]
    fn a_bare_scaler_watches_the_processor() {
        let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}});
        let object = defaulted(kind(), json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec}));
        assert_eq!(object["spec"]["minReplicas"], 1);
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 80);
        assert_eq!(served(kind()).row(&object, 0)[2], json!("cpu: <unknown>/80%"));
        assert_eq!(said(kind(), object), [""; 0]);
        let none = json!({"metadata": {"name": "s", "namespace": "n"}});
        assert_eq!(said(kind(), none)[0], "spec.maxReplicas: Invalid value: 0: must be greater than 0");
    }

    #[test]
    fn who_writes_the_old_form_does_not_write_what_is_told_in_annotations() {
        let told = json!({CONDITIONS: "[]", "mine": "1"});
        let mut new = json!({"metadata": {"annotations": {"mine": "2"}}, "spec": {}});
        crate::kind::Kind::prepare_update(
            &kind(),
            &mut new,
            &json!({"metadata": {"annotations": told.clone()}}),
        );
        assert_eq!(new["metadata"]["annotations"], json!({CONDITIONS: "[]", "mine": "2"}));
        let mut new = json!({"metadata": {"annotations": told}});
        crate::kind::Kind::prepare_create(&kind(), &mut new);
        assert_eq!(new["metadata"]["annotations"], json!({"mine": "1"}));
    }
}
