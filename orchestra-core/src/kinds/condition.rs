//! Conditions as `metav1` has them, for kinds that have no rules of their own about them.
//!
//! After upstream's `ValidateConditions` (`k8s.io/apimachinery/pkg/apis/meta/v1/validation`).

use std::collections::HashSet;

use super::frame::View;
use super::frame::check::{refuse, refuse_all, required_because};
use crate::meta::name;
use crate::violation::{Violation, Violations};

/// The most bytes of a reason.
const MOST_REASON: usize = 1024;
/// The most bytes of a message.
const MOST_MESSAGE: usize = 32 * 1024;
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

/// A list of conditions, one of each type.
pub(super) fn validate(out: &mut Violations, conditions: &View) {
    let mut seen = HashSet::new();
    for condition in conditions.items() {
        let type_ = condition.get("type");
        if !seen.insert(type_.text()) {
            out.push(Violation::duplicate(type_.path(), type_.text()));
        }
        one(out, &condition);
    }
}

fn one(out: &mut Violations, condition: &View) {
    let (type_, status) = (condition.get("type"), condition.get("status"));
    for message in name::is_qualified_name(type_.text()) {
        out.push(Violation::invalid(type_.path(), type_.text(), message));
    }
    if !STATUSES.contains(&status.text()) {
        out.push(Violation::not_supported(status.path(), status.text(), &STATUSES));
    }
    let generation = condition.get("observedGeneration");
    if generation.int().is_some_and(|number| number < 0) {
        refuse(out, &generation, "must be greater than or equal to zero");
    }
    required_because(out, &condition.get("lastTransitionTime"), "must be set");
    let reason = condition.get("reason");
    if required_because(out, &reason, "must be set") {
        refuse_all(out, &reason, name::is_condition_reason(reason.text()));
        if reason.text().len() > MOST_REASON {
            out.push(Violation::too_long(reason.path(), MOST_REASON));
        }
    }
    let message = condition.get("message");
    if message.text().len() > MOST_MESSAGE {
        out.push(Violation::too_long(message.path(), MOST_MESSAGE));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::violation::FieldPath;

    fn said(conditions: &Value) -> Vec<String> {
        let mut out = Violations::new();
        validate(&mut out, &View::at(Some(conditions), FieldPath::new("c")));
        out.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_part_of_a_condition_is_looked_at() {
        let good = json!({"type": "example.com/Ready", "status": "Unknown", "reason": "A_b:C1", "message": "",
            "observedGeneration": 0, "lastTransitionTime": "2026-01-01T00:00:00Z"});
        assert_eq!(said(&json!([good])), [""; 0]);
        let bad = json!({"type": "Ready", "status": "Maybe", "reason": "1", "message": "x".repeat(32 * 1024 + 1),
            "observedGeneration": -1});
        assert_eq!(
            said(&json!([bad, {"type": "Ready", "status": "True", "reason": "", "lastTransitionTime": "x"}])),
            [
                r#"c[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown""#,
                "c[0].observedGeneration: Invalid value: -1: must be greater than or equal to zero",
                "c[0].lastTransitionTime: Required value: must be set",
                "c[0].reason: Invalid value: \"1\": a condition reason must start with alphabetic character, optionally \
                 followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' \
                 (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for \
                 validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')",
                "c[0].message: Too long: may not be more than 32768 bytes",
                "c[1].type: Duplicate value: \"Ready\"",
                "c[1].reason: Required value: must be set",
            ]
        );
        let long =
            json!([{"type": "T", "status": "True", "reason": "R".repeat(1025), "lastTransitionTime": "x"}]);
        assert_eq!(said(&long), ["c[0].reason: Too long: may not be more than 1024 bytes"]);
    }
}
