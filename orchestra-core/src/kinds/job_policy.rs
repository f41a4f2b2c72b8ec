//! The rules of a Job's indexes, of its failure policy and of its success policy.

use serde_json::Value;

use super::frame::View;
use super::frame::check::{not_negative, refuse};
use crate::meta::name;
use crate::violation::{Violation, Violations};

const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_PATTERNS: usize = 20;
const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];
/// The most pods of an indexed job at a time, and the most failed indexes.
const MOST: i64 = 100_000;
/// The same for jobs of more completions than `MOST`, whose indexes have limits of their own.
const FEWER: i64 = 10_000;
const LONGEST_MANAGER: usize = 63;
const LONGEST_INDEXES: usize = 64 * 1024;

/// What belongs to indexed jobs, and how much of it.
pub(super) fn indexes(out: &mut Violations, spec: &View) {
    let is_indexed = spec.get("completionMode").text() == "Indexed";
    let (completions, parallelism) = (spec.get("completions"), spec.get("parallelism"));
    let (each, most) = (spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes"));
    if most.is_set() && !each.is_set() {
        out.push(Violation::required(each.path(), "when maxFailedIndexes is specified"));
    }
    if !is_indexed {
        for field in [each, most] {
            if field.is_set() {
                refuse(out, &field, "requires indexed completion mode");
            }
        }
        return;
    }
    if !completions.is_set() {
        out.push(Violation::required(completions.path(), "when completion mode is Indexed"));
    }
    let above = |view: &View, limit: i64| view.int().is_some_and(|number| number > limit);
    if above(&parallelism, MOST) {
        let detail = format!("must be less than or equal to {MOST} when completion mode is Indexed");
        refuse(out, &parallelism, detail);
    }
    if completions.int().is_some_and(|completions| above(&most, completions)) {
        refuse(out, &most, "must be less than or equal to completions");
    }
    if above(&most, MOST) {
        refuse(out, &most, format!("must be less than or equal to {MOST}"));
    }
    if above(&completions, MOST) && each.is_set() {
        if !most.is_set() {
            let detail = format!("must be specified when completions is above {MOST}");
            out.push(Violation::required(most.path(), detail));
        }
        for field in [&parallelism, &most] {
            if above(field, FEWER) {
                let detail = format!(
                    "must be less than or equal to {FEWER} when completions are above {MOST} and used with backoff limit per index"
                );
                refuse(out, field, detail);
            }
        }
    }
}

/// The pods of an indexed job have names of their own in the network, the last one the longest.
pub(super) fn hostnames(out: &mut Violations, job: &View) {
    let spec = job.get("spec");
    let last = spec.get("completions").int().filter(|completions| *completions > 0);
    let Some(last) = last.filter(|_| spec.get("completionMode").text() == "Indexed") else { return };
    let own = job.get("metadata").get("name");
    let host = format!("{}-{}", own.text(), last - 1);
    if !name::is_dns1123_label(&host).is_empty() {
        refuse(out, &own, format!("will not able to create pod with invalid DNS label: {host}"));
    }
}

/// Who takes care of a job: a domain and a path.
pub(super) fn managed_by(out: &mut Violations, manager: &View) {
    if !manager.is_set() {
        return;
    }
    let text = manager.text();
    match text.split_once('/') {
        _ if text.is_empty() => out.push(Violation::required(manager.path(), "")),
        Some((domain, path)) if !domain.is_empty() && !path.is_empty() => {
            for message in name::is_dns1123_subdomain(domain) {
                out.push(Violation::invalid(manager.path(), domain, message));
            }
        }
        _ => refuse(out, manager, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
    if text.len() > LONGEST_MANAGER {
        out.push(Violation::too_long(manager.path(), LONGEST_MANAGER));
    }
}

/// After `validatePodFailurePolicy`.
pub(super) fn failure(out: &mut Violations, spec: &View) {
    let policy = spec.get("podFailurePolicy");
    if !policy.is_set() {
        return;
    }
    let rules = policy.get("rules");
    too_many(out, &rules, MAX_RULES);
    let pod = spec.get("template").get("spec");
    let containers: Vec<&str> = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| pod.get(list).items())
        .map(|container| container.get("name").text())
        .collect();
    for rule in rules.items() {
        failure_rule(out, spec, &rule, &containers);
    }
    let restart = pod.get("restartPolicy");
    if restart.text() == "OnFailure" {
        refuse(out, &restart, "only \"Never\" is supported when podFailurePolicy is specified");
    }
}

fn failure_rule(out: &mut Violations, spec: &View, rule: &View, containers: &[&str]) {
    let action = rule.get("action");
    one_of_these(out, &action, &ACTIONS);
    if action.text() == "FailIndex" && !spec.get("backoffLimitPerIndex").is_set() {
        refuse(out, &action, "requires the backoffLimitPerIndex to be set");
    }
    let (codes, conditions) = (rule.get("onExitCodes"), rule.get("onPodConditions"));
    if codes.is_set() {
        exit_codes(out, &codes, containers);
    }
    too_many(out, &conditions, MAX_PATTERNS);
    for pattern in conditions.items() {
        let type_ = pattern.get("type");
        for message in name::is_qualified_name(type_.text()) {
            refuse(out, &type_, message);
        }
        one_of_these(out, &pattern.get("status"), &STATUSES);
    }
    let either = match (codes.is_set(), !conditions.is_empty()) {
        (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
        (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
        _ => return,
    };
    out.push(Violation { value: None, ..Violation::invalid(rule.path(), Value::Null, either) });
}

fn exit_codes(out: &mut Violations, codes: &View, containers: &[&str]) {
    let (operator, values) = (codes.get("operator"), codes.get("values"));
    one_of_these(out, &operator, &OPERATORS);
    let container = codes.get("containerName");
    if container.is_set() && !containers.contains(&container.text()) {
        refuse(out, &container, "must be one of the container or initContainer names in the pod template");
    }
    if values.is_empty() {
        refuse(out, &values, "at least one value is required");
    }
    too_many(out, &values, MAX_EXIT_CODES);
    let mut seen: Vec<i64> = Vec::new();
    for value in values.items().take(MAX_EXIT_CODES) {
        let Some(code) = value.int() else { continue };
        if code == 0 && operator.text() == "In" {
            refuse(out, &value, "must not be 0 for the In operator");
        }
        if seen.contains(&code) {
            out.push(Violation::duplicate(value.path(), code));
        }
        seen.push(code);
    }
    if !seen.is_sorted() {
        refuse(out, &values, "must be ordered");
    }
}

/// After `validateSuccessPolicy`.
pub(super) fn success(out: &mut Violations, spec: &View) {
    let policy = spec.get("successPolicy");
    if !policy.is_set() {
        return;
    }
    if spec.get("completionMode").text() != "Indexed" {
        refuse(out, &policy, "requires indexed completion mode");
        return;
    }
    let rules = policy.get("rules");
    if rules.is_empty() {
        let detail = "at least one rules must be specified when the successPolicy is specified";
        out.push(Violation::required(rules.path(), detail));
    }
    too_many(out, &rules, MAX_RULES);
    let completions = spec.get("completions").int().unwrap_or(0);
    for rule in rules.items() {
        success_rule(out, &rule, completions);
    }
}

fn success_rule(out: &mut Violations, rule: &View, completions: i64) {
    let (count, indexes) = (rule.get("succeededCount"), rule.get("succeededIndexes"));
    if !count.is_set() && !indexes.is_set() {
        let detail = "at least one of succeededCount or succeededIndexes must be specified";
        out.push(Violation::required(rule.path(), detail));
    }
    let mut total = None;
    if indexes.is_set() {
        if indexes.text().len() > LONGEST_INDEXES {
            out.push(Violation::too_long(indexes.path(), LONGEST_INDEXES));
        } else {
            match listed(indexes.text(), completions) {
                Ok(number) => total = Some(number),
                Err(why) => refuse(out, &indexes, format!("error parsing succeededIndexes: {why}")),
            }
        }
    }
    not_negative(out, &count);
    let above = |limit: i64| count.int().is_some_and(|count| count > limit);
    if above(completions) {
        let detail =
            format!("must be less than or equal to {completions} (the number of specified completions)");
        refuse(out, &count, detail);
    }
    if let Some(total) = total.filter(|total| above(*total)) {
        let detail = format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        );
        refuse(out, &count, detail);
    }
}

/// How many indexes a text such as `1,3-5` lists.
fn listed(text: &str, completions: i64) -> Result<i64, String> {
    let (mut total, mut last) = (0_i64, -1_i64);
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let ends: Vec<&str> = part.split('-').collect();
        if ends.len() > 2 {
            return Err(format!(
                "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
            ));
        }
        let mut numbers = Vec::new();
        for end in ends {
            let number: i64 =
                end.parse().map_err(|_| format!("cannot convert string to integer for index: {end:?}"))?;
            if number >= completions {
                return Err(format!("too large index: {end:?}"));
            }
            numbers.push(number);
        }
        let (Some(&first), Some(&end)) = (numbers.first(), numbers.last()) else { continue };
        if first <= last {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        if numbers.len() == 2 && first >= end {
            return Err(format!("non-increasing order, previous: {first}, current: {end}"));
        }
        total += end - first + 1;
        last = end;
    }
    Ok(total)
}

fn too_many(out: &mut Violations, list: &View, most: usize) {
    if list.len() > most {
        out.push(Violation::too_many(list.path(), list.len(), most));
    }
}

/// A word that must be there and be one of these; that it is missing is said with all of them.
fn one_of_these(out: &mut Violations, word: &View, allowed: &[&str]) {
    if word.text().is_empty() {
        let quoted: Vec<String> = allowed.iter().map(|word| format!("{word:?}")).collect();
        out.push(Violation::required(word.path(), format!("valid values: [{}]", quoted.join(" "))));
    } else if !allowed.contains(&word.text()) {
        out.push(Violation::not_supported(word.path(), word.text(), allowed));
    }
}

/// After `validatePodReplacementPolicy`.
pub(super) fn replacement(out: &mut Violations, spec: &View) {
    let policy = spec.get("podReplacementPolicy");
    let allowed: &[&str] =
        if spec.get("podFailurePolicy").is_set() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if policy.is_set() && !allowed.contains(&policy.text()) {
        out.push(Violation::not_supported(policy.path(), policy.text(), allowed));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::frame::testing::said;
    use super::super::job::kind;
    use super::*;

    fn refusals(spec: Value) -> Vec<String> {
        let labels = json!({"a": "b"});
        let mut whole = json!({"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "i"}]}}});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        said(kind(), json!({"metadata": {"name": "j", "namespace": "n", "uid": "u"}, "spec": whole}))
    }

    #[test]
    fn indexes_need_a_number_of_completions() {
        assert_eq!(
            refusals(json!({"completionMode": "Indexed", "parallelism": 1})),
            ["spec.completions: Required value: when completion mode is Indexed"]
        );
        assert_eq!(
            refusals(json!({"backoffLimitPerIndex": 1})),
            ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"]
        );
        let indexed = json!({"completionMode": "Indexed", "completions": 3, "backoffLimitPerIndex": 1, "maxFailedIndexes": 4});
        assert_eq!(
            refusals(indexed),
            ["spec.maxFailedIndexes: Invalid value: 4: must be less than or equal to completions"]
        );
    }

    #[test]
    fn failure_rules_are_checked() {
        let rules = json!([
            {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [3, 0, 3]}},
            {"action": "Ignore"},
            {"onPodConditions": [{"type": "DisruptionTarget", "status": "Maybe"}]},
            {"action": "Count", "onExitCodes": {"containerName": "x", "operator": "NotIn", "values": []}},
        ]);
        let found = refusals(json!({"podFailurePolicy": {"rules": rules}}));
        let at = |number: usize| format!("spec.podFailurePolicy.rules[{number}]");
        assert_eq!(
            found,
            [
                format!(
                    "{}.action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set",
                    at(0)
                ),
                format!(
                    "{}.onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
                    at(0)
                ),
                format!("{}.onExitCodes.values[2]: Duplicate value: 3", at(0)),
                format!("{}.onExitCodes.values: Invalid value: [3,0,3]: must be ordered", at(0)),
                format!(
                    "{}: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
                    at(1)
                ),
                format!(
                    "{}.action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]",
                    at(2)
                ),
                format!(
                    "{}.onPodConditions[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", \"Unknown\"",
                    at(2)
                ),
                format!(
                    "{}.onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template",
                    at(3)
                ),
                format!("{}.onExitCodes.values: Invalid value: null: at least one value is required", at(3)),
            ]
        );
    }

    #[test]
    fn success_rules_name_indexes_that_exist() {
        let policy = |rule: Value| {
            refusals(
                json!({"completionMode": "Indexed", "completions": 5, "successPolicy": {"rules": [rule]}}),
            )
        };
        assert_eq!(policy(json!({"succeededIndexes": "0,2-4", "succeededCount": 4})), [""; 0]);
        let at = "spec.successPolicy.rules[0]";
        assert_eq!(
            policy(json!({})),
            [format!(
                "{at}: Required value: at least one of succeededCount or succeededIndexes must be specified"
            )]
        );
        assert_eq!(
            policy(json!({"succeededIndexes": "0,5"})),
            [format!(
                "{at}.succeededIndexes: Invalid value: \"0,5\": error parsing succeededIndexes: too large index: \"5\""
            )]
        );
        assert_eq!(
            policy(json!({"succeededCount": 6})),
            [format!(
                "{at}.succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)"
            )]
        );
    }
}
