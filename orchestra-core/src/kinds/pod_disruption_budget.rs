//! `PodDisruptionBudget`.

use serde_json::{Value, json};

use super::frame::cells::{self, column, number};
use super::frame::check::{at_most_whole, count_or_percent, one_of, refuse};
use super::frame::{Builtin, Fill, Generation};
use super::labels;
use crate::gvk::GroupVersion;
use crate::kind::Scope;

/// The numbers that a status always has.
const COUNTS: [&str; 4] = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("policy", "v1"),
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        Scope::Namespaced,
    )
    .short_names(&["pdb"])
    .generation(Generation::Spec)
    .conditional_update()
    .status(|| COUNTS.iter().map(|&field| (field, json!(0))).collect::<Value>())
    .default(|budget| {
        budget.object("spec");
        let status = budget.object("status");
        for field in COUNTS {
            status.fill(field, 0);
        }
    })
    .validate(|budget, out| {
        let spec = budget.get("spec");
        let (least, most) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
        if least.is_set() && most.is_set() {
            refuse(out, &spec, "minAvailable and maxUnavailable cannot be both set");
        }
        for amount in [least, most] {
            count_or_percent(out, &amount);
            at_most_whole(out, &amount);
        }
        labels::selector(out, &spec.get("selector"));
        one_of(out, &spec.get("unhealthyPodEvictionPolicy"), &["AlwaysAllow", "IfHealthyBudget"]);
    })
    .columns(vec![
        cells::name(),
        column("Min Available", "string", "How many pods must stay.", |budget, _| {
            amount(budget, "minAvailable")
        }),
        column("Max Unavailable", "string", "How many pods may go.", |budget, _| {
            amount(budget, "maxUnavailable")
        }),
        column("Allowed Disruptions", "integer", "How many may go now.", |budget, _| {
            number(budget, "/status/disruptionsAllowed").into()
        }),
        cells::age(),
    ])
}

fn amount(budget: &Value, field: &str) -> Value {
    match budget.get("spec").and_then(|spec| spec.get(field)) {
        Some(Value::String(share)) => share.as_str().into(),
        Some(Value::Number(count)) => count.to_string().into(),
        _ => "N/A".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::frame::testing::{defaulted, said, served};

    #[test]
    fn a_budget_says_one_thing() {
        let budget = |spec: Value| json!({"metadata": {"name": "b", "namespace": "n"}, "spec": spec});
        let fine = defaulted(kind(), budget(json!({"minAvailable": "50%"})));
        assert_eq!(said(kind(), fine.clone()), [""; 0]);
        assert_eq!(served(kind()).row(&fine, 0)[1..4], [json!("50%"), json!("N/A"), json!(0)]);
        assert_eq!(
            said(kind(), budget(json!({"minAvailable": 1, "maxUnavailable": 1}))),
            [
                r#"spec: Invalid value: {"maxUnavailable":1,"minAvailable":1}: minAvailable and maxUnavailable cannot be both set"#
            ]
        );
        assert_eq!(
            said(kind(), budget(json!({"maxUnavailable": "101%"}))),
            [r#"spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%"#]
        );
    }
}
