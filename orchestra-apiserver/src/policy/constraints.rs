//! `matchConstraints` of a policy and `matchResources` of a binding: which requests are meant.

use serde_json::Value;

use crate::admission::AdmissionRequest;
use crate::admission::matching::{Rule, Selectors, Target};
use crate::admission::versions::Versions;
use crate::status::StatusError;

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

    /// As what a request is meant, or `None`; no rules mean all.
    pub(super) async fn matches(
        &self,
        request: &AdmissionRequest<'_>,
        object: Option<&Value>,
        versions: &Versions,
    ) -> Result<Option<Target>, StatusError> {
        if !self.selectors.matches(request, object).await?
            || self.meant(&self.excluded, request, versions).is_some()
        {
            return Ok(None);
        }
        if self.rules.is_empty() {
            return Ok(Some(Target::own(request)));
        }
        Ok(self.meant(&self.rules, request, versions))
    }

    /// The resource of the first rule that matches: that of the request or, where those are meant, another version of it.
    fn meant(&self, rules: &[Named], request: &AdmissionRequest<'_>, versions: &Versions) -> Option<Target> {
        let is_meant = |named: &Named, target: &Target| {
            named.rule.matches(request, target)
                && (named.names.is_empty() || named.names.iter().any(|name| name == request.name))
        };
        let own = Target::own(request);
        if rules.iter().any(|named| is_meant(named, &own)) {
            return Some(own);
        }
        if self.is_exact || rules.is_empty() {
            return None;
        }
        let others = versions.others(request);
        rules.iter().find_map(|named| others.iter().find(|other| is_meant(named, other))).cloned()
    }
}
