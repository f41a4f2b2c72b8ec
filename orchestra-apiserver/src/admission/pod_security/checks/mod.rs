//! The controls of the Pod Security Standards, each in its versions.
//!
//! After <https://kubernetes.io/docs/concepts/security/pod-security-standards/> and `k8s.io/pod-security-admission/policy`,
//! whose words these are.

mod baseline;
mod profiles;
mod restricted;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::policy::{Level, Standard};

/// A pod, as the controls look at it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pod<'a> {
    pub(super) annotations: Option<&'a Map<String, Value>>,
    pub(super) spec: &'a Value,
}

impl<'a> Pod<'a> {
    /// All containers: those of the beginning, the others, those that were added.
    fn containers(self) -> impl Iterator<Item = Container<'a>> {
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .filter_map(move |field| self.spec.get(field)?.as_array())
            .flatten()
            .map(Container)
    }

    fn context(self, at: &str) -> Option<&'a Value> {
        self.spec.get("securityContext")?.pointer(at).filter(|value| !value.is_null())
    }

    fn is_windows(self) -> bool {
        self.spec.pointer("/os/name").and_then(Value::as_str) == Some("windows")
    }

    /// Whether its users are others than the machine's.
    fn has_own_users(self) -> bool {
        self.spec.get("hostUsers") == Some(&Value::Bool(false))
    }
}

#[derive(Clone, Copy, Debug)]
struct Container<'a>(&'a Value);

impl<'a> Container<'a> {
    fn name(self) -> &'a str {
        self.0.get("name").and_then(Value::as_str).unwrap_or_default()
    }

    fn context(self, at: &str) -> Option<&'a Value> {
        self.0.get("securityContext")?.pointer(at).filter(|value| !value.is_null())
    }
}

/// Why a pod breaks a control.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// In short.
    reason: &'static str,
    /// Which container, and what.
    detail: String,
}

impl Finding {
    fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

type Verdict = Option<Finding>;

/// A control from a minor version on.
struct Versioned {
    since: u32,
    check: fn(Pod<'_>) -> Verdict,
    /// The baseline control that this one includes.
    instead_of: Option<&'static str>,
}

struct Control {
    id: &'static str,
    versions: &'static [Versioned],
}

impl Control {
    fn at(&self, minor: u32) -> Option<&Versioned> {
        self.versions.iter().rev().find(|version| version.since <= minor)
    }
}

const fn since(since: u32, check: fn(Pod<'_>) -> Verdict) -> Versioned {
    Versioned { since, check, instead_of: None }
}

/// What of a standard a pod breaks, in upstream's order.
pub(super) fn findings(standard: Standard, pod: Pod<'_>) -> Vec<Finding> {
    let minor = standard.minor();
    let (baseline, restricted): (&[Control], &[Control]) = match standard.level {
        Level::Privileged => (&[], &[]),
        Level::Baseline => (baseline::CONTROLS, &[]),
        Level::Restricted => (baseline::CONTROLS, restricted::CONTROLS),
    };
    let restricted: Vec<&Versioned> = restricted.iter().filter_map(|control| control.at(minor)).collect();
    let included: BTreeSet<&str> = restricted.iter().filter_map(|version| version.instead_of).collect();
    let baseline = baseline.iter().filter(|control| !included.contains(control.id));
    let all = baseline.filter_map(|control| control.at(minor)).chain(restricted);
    all.filter_map(|version| (version.check)(pod)).collect()
}

/// `host namespaces (hostNetwork=true), privileged (...)`.
pub(super) fn in_detail(findings: &[Finding]) -> String {
    let one = |finding: &Finding| match finding.detail.as_str() {
        "" => finding.reason.to_owned(),
        detail => format!("{} ({detail})", finding.reason),
    };
    findings.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `host namespaces, privileged`.
pub(super) fn in_short(findings: &[Finding]) -> String {
    findings.iter().map(|finding| finding.reason).collect::<Vec<_>>().join(", ")
}

fn quoted<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<&str> = items.into_iter().collect();
    if items.is_empty() { String::new() } else { format!("\"{}\"", items.join("\", \"")) }
}

fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `container "a"`, `containers "a", "b"`.
fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names.iter().copied()))
}

/// `pod and containers "a", "b"`; `None` when nobody is at fault.
fn setters(is_pod: bool, names: &[&str]) -> Option<String> {
    match (is_pod, names) {
        (false, []) => None,
        (true, []) => Some("pod".to_owned()),
        (false, names) => Some(containers(names)),
        (true, names) => Some(format!("pod and {}", containers(names))),
    }
}

#[cfg(test)]
mod tests;
