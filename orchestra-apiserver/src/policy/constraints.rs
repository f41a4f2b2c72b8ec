//! `matchConstraints` of a policy and `matchResources` of a binding: which requests are meant.

use orchestra_core::gvk::GroupVersion;
use serde_json::Value;

use crate::admission::AdmissionRequest;
use crate::admission::matching::{Rule, Selectors, Target};
use crate::status::StatusError;

/// Groups and versions that hold the same objects: with the match policy `Equivalent`, rules for one are for the other.
const SAME: [(&str, &str, &str, &str, &str); 1] = [("", "v1", "events.k8s.io", "v1", "events")];

#[derive(Debug)]
struct Named {
    rule: Rule,
    names: Vec<String>,
}

/// Which requests are meant.
#[derive(Debug)]
pub(super) struct Constraints {
    rules: Vec<Named>,
    excluded: Vec<Named>,
    selectors: Selectors,
    is_exact: bool,
}

fn named(holder: &Value, field: &str) -> Vec<Named> {
    let rules = holder.get(field).and_then(Value::as_array).into_iter().flatten();
    let read = |rule: &Value| {
        let names = rule.get("resourceNames").and_then(Value::as_array).into_iter().flatten();
        Named {
            // A rule that has passed validation can be read.
            rule: serde_json::from_value(rule.clone()).unwrap_or_default(),
            names: names.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    };
    rules.map(read).collect()
}

impl Constraints {
    pub(super) fn read(holder: &Value) -> Self {
        Self {
            rules: named(holder, "resourceRules"),
            excluded: named(holder, "excludeResourceRules"),
            selectors: Selectors::read(holder),
            is_exact: holder.get("matchPolicy").and_then(Value::as_str) == Some("Exact"),
        }
    }

    /// Whether a request is meant; no rules mean all.
    pub(super) async fn matches(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
    ) -> Result<bool, StatusError> {
        if self.any(&self.excluded, request) || !(self.rules.is_empty() || self.any(&self.rules, request)) {
            return Ok(false);
        }
        self.selectors.matches(request, object).await
    }

    fn any(&self, rules: &[Named], request: &AdmissionRequest<'_>) -> bool {
        let own = Target { gv: request.request.gv.clone(), resource: request.request.resource.clone() };
        let mut targets = vec![own];
        if !self.is_exact {
            targets.extend(same(&request.request.gv, &request.request.resource));
        }
        rules.iter().any(|named| {
            targets.iter().any(|target| named.rule.matches(request, target))
                && (named.names.is_empty() || named.names.iter().any(|name| name == request.name))
        })
    }
}

fn same(gv: &GroupVersion, resource: &str) -> Option<Target> {
    SAME.iter().find_map(|(group, version, other, other_version, plural)| {
        let to = |group: &'static str, version: &'static str| Target {
            gv: GroupVersion::new(group, version),
            resource: resource.to_owned(),
        };
        let is =
            |group: &str, version: &str| gv.group == group && gv.version == version && resource == *plural;
        if is(group, version) {
            Some(to(other, other_version))
        } else {
            is(other, other_version).then(|| to(group, version))
        }
    })
}
