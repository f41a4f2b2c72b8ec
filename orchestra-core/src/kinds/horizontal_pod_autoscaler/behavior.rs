//! How fast a scaler may go up and down: what is filled in, and what is refused.

use serde_json::{Value, json};

use crate::kinds::frame::check::{refuse, required_because};
use crate::kinds::frame::{Fill, Object, View};
use crate::violation::{Violation, Violations};

/// The longest window, and the longest period of a policy, in seconds.
const LONGEST_WINDOW: i64 = 3600;
const LONGEST_PERIOD: i64 = 1800;

/// After `SetDefaults_HorizontalPodAutoscalerBehavior`: whoever says something of one direction gets the rest of both.
pub(super) fn default(behavior: &mut Object) {
    let up = behavior.object("scaleUp");
    up.fill("stabilizationWindowSeconds", 0);
    rules(
        up,
        json!([
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ]),
    );
    rules(behavior.object("scaleDown"), json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
}

fn rules(rules: &mut Object, policies: Value) {
    rules.fill("selectPolicy", "Max");
    rules.fill("policies", policies);
}

/// After `validateBehavior`.
pub(super) fn validate(out: &mut Violations, behavior: &View) {
    for field in ["scaleUp", "scaleDown"] {
        let rules = behavior.get(field);
        if rules.is_set() {
            direction(out, &rules);
        }
    }
}

fn direction(out: &mut Violations, rules: &View) {
    let window = rules.get("stabilizationWindowSeconds");
    if window.int().is_some_and(|seconds| seconds < 0) {
        refuse(out, &window, "must be greater than or equal to zero");
    }
    if window.int().is_some_and(|seconds| seconds > LONGEST_WINDOW) {
        refuse(out, &window, format!("must be less than or equal to {LONGEST_WINDOW}"));
    }
    let select = rules.get("selectPolicy");
    let known = ["Disabled", "Max", "Min"];
    if select.is_set() && !known.contains(&select.text()) {
        out.push(Violation::not_supported(select.path(), select.text(), &known));
    }
    let policies = rules.get("policies");
    required_because(out, &policies, "must specify at least one Policy");
    for policy in policies.items() {
        let kind = policy.get("type");
        let known = ["Percent", "Pods"];
        if !known.contains(&kind.text()) {
            out.push(Violation::not_supported(kind.path(), kind.text(), &known));
        }
        for (field, most) in [("value", i64::MAX), ("periodSeconds", LONGEST_PERIOD)] {
            let number = policy.get(field);
            let value = number.int().unwrap_or_default();
            if value <= 0 {
                out.push(Violation::invalid(number.path(), value, "must be greater than zero"));
            }
            if value > most {
                refuse(out, &number, format!("must be less than or equal to {most}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::kind;
    use crate::kinds::frame::testing::{defaulted, said};

    #[test]
    fn one_word_about_a_direction_fills_in_both() {
        let target = json!({"kind": "Deployment", "name": "d"});
        let spec = json!({"maxReplicas": 3, "scaleTargetRef": target,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}});
        let object = defaulted(kind(), json!({"metadata": {"name": "s", "namespace": "n"}, "spec": spec}));
        let behavior = &object["spec"]["behavior"];
        assert_eq!(
            behavior["scaleUp"]["policies"][0],
            json!({"type": "Pods", "value": 4, "periodSeconds": 15})
        );
        assert_eq!(behavior["scaleDown"]["stabilizationWindowSeconds"], 60);
        assert_eq!(behavior["scaleDown"]["selectPolicy"], "Max");
        let mut bad = object.clone();
        assert_eq!(said(kind(), object), [""; 0]);
        bad["spec"]["behavior"]["scaleUp"] = json!({"selectPolicy": "Any", "policies": [{"type": "Nodes", "value": 0, "periodSeconds": 1801}]});
        let at = "spec.behavior.scaleUp";
        assert_eq!(
            said(kind(), bad),
            [
                format!(
                    r#"{at}.selectPolicy: Unsupported value: "Any": supported values: "Disabled", "Max", "Min""#
                ),
                format!(
                    r#"{at}.policies[0].type: Unsupported value: "Nodes": supported values: "Percent", "Pods""#
                ),
                format!("{at}.policies[0].value: Invalid value: 0: must be greater than zero"),
                format!(
                    "{at}.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800"
                ),
            ]
        );
    }
}
