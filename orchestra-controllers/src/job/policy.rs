//! What a Job's failure policy says of a failed pod, and its success policy of the indexes that are done.

use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicyOnExitCodesRequirement, SuccessPolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::indexes::Indexes;

/// What a failed pod means for its Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// One failure more.
    Count,
    /// Nothing.
    Ignore,
    /// No further pod of the same index.
    FailIndex,
    /// The end of the Job; the message says why.
    FailJob(String),
}

impl Verdict {
    /// Whether the failure adds to the Job's count.
    pub(super) fn counts(&self) -> bool {
        *self != Self::Ignore
    }
}

/// The verdict of the first rule that matches.
pub(super) fn judge(spec: &JobSpec, pod: &Pod) -> Verdict {
    let rules = spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules);
    for (number, rule) in rules.enumerate() {
        let meta = &pod.metadata;
        let who = || {
            let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
            format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default())
        };
        let matched = if let Some(codes) = &rule.on_exit_codes {
            ended_with(pod, codes).map(|(container, code)| {
                format!(
                    "Container {container} for pod {} failed with exit code {code} matching {} rule at index {number}",
                    who(),
                    rule.action
                )
            })
        } else {
            let patterns = rule.on_pod_conditions.iter().flatten();
            let held = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
            let held = || held.into_iter().flatten();
            let mut matching = patterns.flat_map(|pattern| {
                let status = pattern.status.as_deref().unwrap_or("True");
                held().find(|held| held.type_ == pattern.type_ && held.status == status)
            });
            matching.next().map(|condition| {
                let type_ = &condition.type_;
                format!("Pod {} has condition {type_} matching {} rule at index {number}", who(), rule.action)
            })
        };
        let Some(message) = matched else { continue };
        match rule.action.as_str() {
            "Ignore" => return Verdict::Ignore,
            "FailIndex" => return Verdict::FailIndex,
            "FailJob" => return Verdict::FailJob(message),
            "Count" => return Verdict::Count,
            // A word of a later version: as if the rule did not stand there.
            _ => {}
        }
    }
    Verdict::Count
}

/// The first container that ended with one of the wanted codes, and the code. Zero never matches.
fn ended_with<'a>(pod: &'a Pod, wanted: &PodFailurePolicyOnExitCodesRequirement) -> Option<(&'a str, i32)> {
    let status = pod.status.as_ref()?;
    let main = status.container_statuses.iter().flatten();
    let all = main.chain(status.init_container_statuses.iter().flatten());
    let code = |container: &'a ContainerStatus| {
        let code = container.state.as_ref()?.terminated.as_ref()?.exit_code;
        Some((container.name.as_str(), code))
    };
    all.filter_map(code).find(|(name, code)| {
        let is_meant = wanted.container_name.as_deref().is_none_or(|wanted| wanted == *name);
        let is_listed = wanted.values.contains(code);
        is_meant
            && *code != 0
            && match wanted.operator.as_str() {
                "In" => is_listed,
                "NotIn" => !is_listed,
                _ => false,
            }
    })
}

/// Why the Job has succeeded already, if a rule of its success policy says so.
pub(super) fn success(spec: &JobSpec, completions: u32, succeeded: &Indexes) -> Option<String> {
    let rules = spec.success_policy.iter().flat_map(|policy| &policy.rules);
    let matching = rules.enumerate().find(|(_, rule)| is_met(rule, completions, succeeded));
    matching.map(|(number, _)| format!("Matched rules at index {number}"))
}

fn is_met(rule: &SuccessPolicyRule, completions: u32, succeeded: &Indexes) -> bool {
    let needed = rule.succeeded_count.map(|count| u32::try_from(count).unwrap_or(0));
    match &rule.succeeded_indexes {
        Some(indexes) => {
            let wanted = Indexes::parse(indexes, completions);
            let done = wanted.shared(succeeded);
            done == wanted.len() || needed.is_some_and(|needed| done >= needed)
        }
        None => needed.is_some_and(|needed| succeeded.len() >= needed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::pod_named;

    fn spec(rules: serde_json::Value) -> JobSpec {
        serde_json::from_value(serde_json::json!({"podFailurePolicy": {"rules": rules}, "template": {}}))
            .unwrap()
    }

    fn failed(code: i32) -> Pod {
        let mut pod = pod_named("p").phase("Failed").build();
        let status = serde_json::json!({"phase": "Failed",
            "containerStatuses": [{"name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": code}}}],
            "conditions": [{"type": "DisruptionTarget", "status": "True"}]});
        pod.status = Some(serde_json::from_value(status).unwrap());
        pod
    }

    #[test]
    fn the_first_matching_rule_decides() {
        let on = |action: &str, operator: &str, values: &[i32]| serde_json::json!({"action": action, "onExitCodes": {"operator": operator, "values": values}});
        let rules = serde_json::json!([
            on("Ignore", "In", &[3]),
            on("FailIndex", "In", &[4]),
            on("FailJob", "NotIn", &[1, 2]),
            on("Count", "In", &[1])
        ]);
        let verdict = |code| judge(&spec(rules.clone()), &failed(code));
        assert_eq!(
            [verdict(1), verdict(2), verdict(3), verdict(4)],
            [Verdict::Count, Verdict::Count, Verdict::Ignore, Verdict::FailIndex]
        );
        let why =
            "Container main for pod default/p failed with exit code 42 matching FailJob rule at index 2";
        assert_eq!(verdict(42), Verdict::FailJob(why.into()));
        assert_eq!(verdict(0), Verdict::Count, "who ends well matches nothing");
    }

    #[test]
    fn conditions_match_by_type_and_status() {
        let rule = |status: &str| serde_json::json!([{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": status}]}]);
        let why = "Pod default/p has condition DisruptionTarget matching FailJob rule at index 0";
        assert_eq!(judge(&spec(rule("True")), &failed(1)), Verdict::FailJob(why.into()));
        assert_eq!(judge(&spec(rule("False")), &failed(1)), Verdict::Count);
    }

    #[test]
    fn success_needs_the_named_indexes_or_enough_of_them() {
        let met = |rule: serde_json::Value, done: &str| {
            let spec = serde_json::json!({"successPolicy": {"rules": [rule]}, "template": {}});
            success(&serde_json::from_value(spec).unwrap(), 10, &Indexes::parse(done, 10)).is_some()
        };
        let all = serde_json::json!({"succeededIndexes": "0,2-4"});
        assert_eq!((met(all.clone(), "0,2,3,5"), met(all, "0-5")), (false, true));
        let some = serde_json::json!({"succeededIndexes": "0,2-4", "succeededCount": 2});
        assert_eq!((met(some.clone(), "0,1,5-9"), met(some, "0,4")), (false, true));
        let any = serde_json::json!({"succeededCount": 3});
        assert_eq!((met(any.clone(), "7,8"), met(any, "1,7,8")), (false, true));
    }
}
