//! What admission policies say, as `apiserver_validating_admission_policy_*` and `apiserver_mutating_admission_policy_*`.

use std::fmt;

use orchestra_metrics::{Family, Histogram, write};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Duration;

const SECONDS: &[f64] = &[0.000_000_5, 0.001, 0.01, 0.1, 1.0];
/// How many series of one metric there are: whoever configures policies names them.
const MOST: usize = 512;

/// What followed from a validation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Enforcement {
    /// It failed, and the request goes on all the same.
    #[default]
    Allow,
    /// The request is refused.
    Deny,
    /// The audit log is told.
    Audit,
    /// The client is told.
    Warn,
}

impl Enforcement {
    fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Audit => "audit",
            Self::Warn => "warn",
        }
    }
}

/// A policy, by what it was asked, and how that ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Checked {
    policy: String,
    binding: String,
    error: &'static str,
}

impl Checked {
    fn new(policy: &str, binding: &str, problem: Option<&str>) -> Self {
        Self { policy: policy.to_owned(), binding: binding.to_owned(), error: sort(problem) }
    }

    fn rest() -> Self {
        Self { policy: "other".to_owned(), ..Self::default() }
    }
}

/// Upstream goes by how the message begins, so that a refusal in a policy's own words is an `invalid_error`, too.
fn sort(problem: Option<&str>) -> &'static str {
    match problem {
        None => "no_error",
        Some(why) if why.starts_with("compilation") => "compile_error",
        Some(why) if why.starts_with("validation failed due to running out of cost budget") => {
            "out_of_budget"
        }
        Some(_) => "invalid_error",
    }
}

/// Counts of all policies. Clones count the same.
#[derive(Clone, Debug)]
pub(crate) struct PolicyMetrics {
    validations: Family<(Checked, Enforcement), Counter>,
    validations_took: Family<(Checked, Enforcement), Histogram>,
    mutations: Family<Checked, Counter>,
    mutations_took: Family<Checked, Histogram>,
}

impl Default for PolicyMetrics {
    fn default() -> Self {
        let rest = || (Checked::rest(), Enforcement::default());
        Self {
            validations: Family::new(MOST, rest(), Counter::default),
            validations_took: Family::new(MOST, rest(), || Histogram::new(SECONDS)),
            mutations: Family::new(MOST, Checked::rest(), Counter::default),
            mutations_took: Family::new(MOST, Checked::rest(), || Histogram::new(SECONDS)),
        }
    }
}

impl PolicyMetrics {
    /// A validation of a policy had this to say, and by its binding that followed.
    pub(crate) fn validated(
        &self,
        (policy, binding): (&str, &str),
        enforcement: Enforcement,
        message: &str,
        took: Duration,
    ) {
        let labels = (Checked::new(policy, binding, Some(message)), enforcement);
        self.validations.of(&labels).inc();
        self.validations_took.of(&labels).observe_duration(took);
    }

    /// A mutation of a policy was made, or could not be.
    pub(crate) fn mutated(&self, (policy, binding): (&str, &str), problem: Option<&str>, took: Duration) {
        let labels = Checked::new(policy, binding, problem);
        self.mutations.of(&labels).inc();
        self.mutations_took.of(&labels).observe_duration(took);
    }
}

fn bound(checked: &Checked) -> [(&'static str, &str); 3] {
    [("error_type", checked.error), ("policy", &checked.policy), ("policy_binding", &checked.binding)]
}

fn enforced((checked, enforcement): &(Checked, Enforcement)) -> [(&'static str, &str); 4] {
    let [error, policy, binding] = bound(checked);
    [("enforcement_action", enforcement.label()), error, policy, binding]
}

impl Collector for PolicyMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let help = "[BETA] Validation admission policy check total, labeled by policy and further identified by binding and enforcement action taken.";
        let all = self.validations.all();
        let series = all.iter().map(|(labels, n)| (enforced(labels), n.get()));
        write::counter(out, "apiserver_validating_admission_policy_check_total", help, series)?;
        let help = "[BETA] Validation admission latency for individual validation expressions in seconds, labeled by policy and further including binding and enforcement action taken.";
        let all = self.validations_took.all();
        let series = all.iter().map(|(labels, took)| (enforced(labels), &**took));
        write::histogram(out, "apiserver_validating_admission_policy_check_duration_seconds", help, series)?;
        let help = "[ALPHA] Mutation admission policy check total, labeled by policy and further identified by binding.";
        let all = self.mutations.all();
        let series = all.iter().map(|(labels, n)| (bound(labels), n.get()));
        write::counter(out, "apiserver_mutating_admission_policy_check_total", help, series)?;
        let help = "[ALPHA] Mutation admission latency for individual mutation expressions in seconds, labeled by policy and binding.";
        let all = self.mutations_took.all();
        let series = all.iter().map(|(labels, took)| (bound(labels), &**took));
        write::histogram(out, "apiserver_mutating_admission_policy_check_duration_seconds", help, series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_sorted_as_upstream_sorts_them() {
        assert_eq!(sort(None), "no_error");
        assert_eq!(sort(Some("compilation failed: ERROR")), "compile_error");
        let budget =
            "validation failed due to running out of cost budget, no further validation rules will be run";
        assert_eq!(sort(Some(budget)), "out_of_budget");
        assert_eq!(sort(Some("too many keys")), "invalid_error");
    }
}
