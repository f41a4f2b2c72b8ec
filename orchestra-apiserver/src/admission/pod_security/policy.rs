//! Which level is asked for, in which version, in which mode: by a namespace's labels.

use orchestra_core::violation::{FieldPath, Violation, Violations};
use serde_json::{Map, Value};

const PREFIX: &str = "pod-security.kubernetes.io/";
/// The version of the Pod Security Standards that `latest` is.
const LATEST: u32 = 36;

/// How much pods are kept from, by the Pod Security Standards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing.
    #[default]
    Privileged,
    /// What is known to lead out of a container.
    Baseline,
    /// All that a hardened pod does without.
    Restricted,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Privileged, Self::Baseline, Self::Restricted].into_iter().find(|level| level.as_str() == text)
    }
}

/// A level as a version of Kubernetes had it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Standard {
    pub(super) level: Level,
    /// The minor version; `None` is the latest.
    pub(super) version: Option<u32>,
}

impl Standard {
    /// The minor version whose checks are meant; there are none of later versions than this server's.
    pub(super) fn minor(self) -> u32 {
        self.version.map_or(LATEST, |minor| minor.min(LATEST))
    }
}

impl Standard {
    /// Level and version as metrics show them: there is one label for all versions that are to come.
    pub(super) fn label(self) -> (&'static str, String) {
        let version = match self.version {
            None => "latest".to_owned(),
            Some(minor) if minor > LATEST => "future".to_owned(),
            Some(minor) => format!("v1.{minor}"),
        };
        (self.level.as_str(), version)
    }
}

impl std::fmt::Display for Standard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.version {
            Some(minor) => write!(f, "{}:v1.{minor}", self.level.as_str()),
            None => write!(f, "{}:latest", self.level.as_str()),
        }
    }
}

/// What is asked of the pods of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Policy {
    /// What breaks this is refused.
    pub(super) enforce: Standard,
    /// What breaks this is noted in the audit log.
    pub(super) audit: Standard,
    /// Whoever breaks this is told.
    pub(super) warn: Standard,
}

fn version(text: &str) -> Option<Option<u32>> {
    if text == "latest" {
        return Some(None);
    }
    let digits = text.strip_prefix("v1.")?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = is_number && (digits == "0" || !digits.starts_with('0'));
    // A number that is too large for anybody is later than this server.
    is_plain.then(|| Some(digits.parse().unwrap_or(u32::MAX)))
}

impl Policy {
    /// By the labels, or else as `defaults` have it. A label that is wrong counts as `restricted` where pods are refused,
    /// and as nothing where that is only said.
    pub(super) fn read(labels: Option<&Map<String, Value>>, defaults: Self) -> (Self, Violations) {
        // Most namespaces say nothing, and are asked for each pod.
        let labels = labels.filter(|labels| labels.keys().any(|key| key.starts_with(PREFIX)));
        if labels.is_none() {
            return (defaults, Violations::new());
        }
        let label = |name: &str| labels.and_then(|labels| labels.get(&format!("{PREFIX}{name}"))?.as_str());
        let mut wrong = Violations::new();
        let mut refuse = |name: &str, value: &str, why: &str| {
            let path = FieldPath::new("metadata").child("labels").key(&format!("{PREFIX}{name}"));
            wrong.push(Violation::invalid(&path, value, why));
        };
        let mut policy = defaults;
        let mut has_enforce = false;
        for (name, standard, otherwise) in [
            ("enforce", &mut policy.enforce, Level::Restricted),
            ("audit", &mut policy.audit, Level::Privileged),
            ("warn", &mut policy.warn, Level::Privileged),
        ] {
            if let Some(text) = label(name) {
                let level = Level::parse(text);
                if level.is_none() {
                    refuse(name, text, "must be one of privileged, baseline, restricted");
                }
                has_enforce |= name == "enforce" && level.is_some();
                standard.level = level.unwrap_or(otherwise);
            }
            let name = format!("{name}-version");
            if let Some(text) = label(&name) {
                let version = version(text);
                if version.is_none() {
                    refuse(&name, text, "must be \"latest\" or \"v1.x\"");
                }
                standard.version = version.flatten();
            }
        }
        // What is refused is also told of where it is only said, as of a Deployment.
        if label("warn").is_none() && has_enforce && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if label("warn-version").is_none() {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, wrong)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(labels: Value) -> (Policy, Vec<String>) {
        let labels = labels.as_object().unwrap();
        let labels = labels.iter().map(|(key, value)| (format!("{PREFIX}{key}"), value.clone())).collect();
        let (policy, wrong) = Policy::read(Some(&labels), Policy::default());
        (policy, wrong.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn who_enforces_also_warns() {
        let (policy, wrong) = read(json!({"enforce": "restricted", "enforce-version": "v1.25"}));
        assert!(wrong.is_empty());
        assert_eq!(policy.warn, policy.enforce);
        assert_eq!(policy.enforce.to_string(), "restricted:v1.25");
        assert_eq!(read(json!({"enforce": "baseline", "warn": "privileged"})).0.warn, Standard::default());
    }

    #[test]
    fn a_wrong_label_is_named_and_closes_what_is_enforced() {
        let (policy, wrong) = read(json!({"enforce": "none", "warn-version": "v2.0"}));
        assert_eq!(policy.enforce.level, Level::Restricted);
        assert_eq!(
            wrong,
            [
                "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"none\": must be one of privileged, baseline, restricted",
                "metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"v2.0\": must be \"latest\" or \"v1.x\"",
            ]
        );
        for bad in ["v1.01", "v1.", "v1.x", "1.2", "v1.-1", ""] {
            assert_eq!(version(bad), None, "{bad}");
        }
        assert_eq!(version("v1.99999999999"), Some(Some(u32::MAX)));
    }
}
