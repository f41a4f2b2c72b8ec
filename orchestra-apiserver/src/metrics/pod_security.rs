//! How often pods were held against the Pod Security Standards, and what came of it.

use std::fmt;

use orchestra_metrics::{Family, write};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::counter::Counter;

use crate::admission::Operation;

/// Series of evaluations: a few levels and modes, and as many versions as namespaces name.
const MOST_EVALUATIONS: usize = 500;
/// Series of the others: operations, resources and subresources.
const MOST: usize = 50;

/// What a request is about, in the words of the labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Subject {
    operation: &'static str,
    resource: &'static str,
    subresource: &'static str,
}

impl Subject {
    /// Of a request for this resource of the core group or another.
    pub(crate) fn new(operation: Operation, (group, plural): (&str, &str), below: Option<&str>) -> Self {
        Self {
            operation: match operation {
                Operation::Create => "create",
                Operation::Update => "update",
                Operation::Delete => "delete",
                Operation::Connect => "connect",
            },
            resource: match (group, plural) {
                ("", "pods") => "pod",
                ("", "namespaces") => "namespace",
                _ => "controller",
            },
            subresource: match below {
                None => "",
                Some("ephemeralcontainers") => "ephemeralcontainers",
                Some("resize") => "resize",
                Some(_) => "other",
            },
        }
    }

    fn labels(self) -> [(&'static str, &'static str); 3] {
        [
            ("request_operation", self.operation),
            ("resource", self.resource),
            ("subresource", self.subresource),
        ]
    }
}

/// One look at a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Evaluation {
    decision: &'static str,
    mode: &'static str,
    level: &'static str,
    version: String,
    subject: Option<Subject>,
}

/// Counts of the `PodSecurity` plugin. Clones count the same.
#[derive(Clone, Debug)]
pub(crate) struct PodSecurityMetrics {
    evaluations: Family<Evaluation, Counter>,
    exemptions: Family<Option<Subject>, Counter>,
    errors: Family<Option<Subject>, Counter>,
}

impl Default for PodSecurityMetrics {
    fn default() -> Self {
        let rest = Evaluation {
            decision: "deny",
            mode: "other",
            level: "other",
            version: "other".to_owned(),
            subject: None,
        };
        Self {
            evaluations: Family::new(MOST_EVALUATIONS, rest, Counter::default),
            exemptions: Family::new(MOST, None, Counter::default),
            errors: Family::new(MOST, None, Counter::default),
        }
    }
}

impl PodSecurityMetrics {
    /// A pod was held against a level in a version, in one of the three modes.
    pub(crate) fn evaluated(
        &self,
        subject: Subject,
        mode: &'static str,
        (level, version): (&'static str, String),
        is_allowed: bool,
    ) {
        let decision = if is_allowed { "allow" } else { "deny" };
        self.evaluations.of(&Evaluation { decision, mode, level, version, subject: Some(subject) }).inc();
    }

    /// A request was exempt.
    pub(crate) fn exempted(&self, subject: Subject) {
        self.exemptions.of(&Some(subject)).inc();
    }

    /// The labels of a namespace make no sense.
    pub(crate) fn failed(&self, subject: Subject) {
        self.errors.of(&Some(subject)).inc();
    }
}

fn labels(subject: Option<Subject>) -> [(&'static str, &'static str); 3] {
    let other = Subject { operation: "other", resource: "other", subresource: "other" };
    subject.unwrap_or(other).labels()
}

impl Collector for PodSecurityMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let help = "[ALPHA] Number of errors preventing normal evaluation.";
        let errors = self.errors.all();
        let samples = errors.iter().map(|(subject, counter)| {
            let [operation, resource, subresource] = labels(*subject);
            ([("fatal", "false"), operation, resource, subresource], counter.get())
        });
        write::counter(out, "pod_security_errors_total", help, samples)?;
        let help =
            "[ALPHA] Number of policy evaluations that occurred, not counting ignored or exempt requests.";
        let evaluations = self.evaluations.all();
        let samples = evaluations.iter().map(|(of, counter)| {
            let [operation, resource, subresource] = labels(of.subject);
            let labels = [
                ("decision", of.decision),
                ("mode", of.mode),
                ("policy_level", of.level),
                ("policy_version", of.version.as_str()),
                operation,
                resource,
                subresource,
            ];
            (labels, counter.get())
        });
        write::counter(out, "pod_security_evaluations_total", help, samples)?;
        let help = "[ALPHA] Number of exempt requests, not counting ignored or out of scope requests.";
        let exemptions = self.exemptions.all();
        let samples = exemptions.iter().map(|(subject, counter)| (labels(*subject), counter.get()));
        write::counter(out, "pod_security_exemptions_total", help, samples)
    }
}
