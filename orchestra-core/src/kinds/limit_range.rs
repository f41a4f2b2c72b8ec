//! `LimitRange`.

use std::collections::HashSet;

use super::frame::cells::{self, column, text};
use super::frame::check::refuse_all;
use super::frame::{Builtin, Fill, Object, View};
use super::pod_spec::resources;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::name;
use crate::violation::{Violation, Violations};

const LISTS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "LimitRange", "limitranges", Scope::Namespaced)
        .short_names(&["limits"])
        .create_on_update()
        .default(|range| {
            for item in range.object("spec").objects("limits") {
                default(item);
            }
        })
        .validate(|range, out| {
            let mut seen = HashSet::new();
            for item in range.get("spec").get("limits").items() {
                let kind = item.get("type");
                if !seen.insert(kind.text()) {
                    out.push(Violation::duplicate(kind.path(), kind.text()));
                }
                validate(out, &item);
            }
        })
        .columns(vec![
            cells::name(),
            column("Created At", "date", "When it was created.", |range, _| {
                text(range, "/metadata/creationTimestamp").into()
            }),
        ])
}

/// After `SetDefaults_LimitRangeItem`: a container's default is its most, and it asks for its default or its least.
fn default(item: &mut Object) {
    for list in LISTS {
        if let Some(list) = item.object_if(list) {
            resources::canonical(list);
        }
    }
    if item.text("type") != "Container" {
        return;
    }
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        let Some(amounts) = item.object_if(from).cloned() else { continue };
        let target = item.object(to);
        for (resource, amount) in amounts {
            target.fill(&resource, amount);
        }
    }
}

fn validate(out: &mut Violations, item: &View) {
    let kind = item.get("type");
    refuse_all(out, &kind, name::is_qualified_name(kind.text()));
    if !kind.text().contains('/') && !["Container", "PersistentVolumeClaim", "Pod"].contains(&kind.text()) {
        out.push(Violation::invalid(
            kind.path(),
            kind.text(),
            "must be a standard limit type or fully qualified",
        ));
    }
    for list in LISTS {
        for (resource, amount) in item.get(list).entries() {
            resources::amount(out, &amount, resource);
        }
    }
    let amount = |list: &'static str, resource: &str| {
        item.get(list).value().and_then(|list| list.get(resource)).and_then(resources::parse)
    };
    for (resource, least) in item.get("min").entries() {
        if let Some((min, max)) =
            amount("min", resource).zip(amount("max", resource)).filter(|(min, max)| min > max)
        {
            let detail = format!("min value {min} is greater than max value {max}");
            let shown = least.json();
            out.push(Violation::invalid(&item.get("min").path().key(resource), shown, detail));
        }
    }
    for (resource, given) in item.get("default").entries() {
        if let Some((value, max)) =
            amount("default", resource).zip(amount("max", resource)).filter(|(value, max)| value > max)
        {
            let detail = format!("default value {value} is greater than max value {max}");
            out.push(Violation::invalid(&item.get("default").path().key(resource), given.json(), detail));
        }
    }
    if item.get("type").text() == "Pod" {
        for field in ["default", "defaultRequest"] {
            if !item.get(field).is_empty() {
                let detail = "may not be specified when `type` is 'Pod'";
                out.push(Violation::forbidden(item.get(field).path(), detail));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said};

    fn range(item: serde_json::Value) -> serde_json::Value {
        json!({"metadata": {"name": "r", "namespace": "n"}, "spec": {"limits": [item]}})
    }

    #[test]
    fn a_containers_most_is_its_default() {
        let object = defaulted(
            kind(),
            range(json!({"type": "Container", "max": {"cpu": "1000m"}, "min": {"memory": "1Mi"}})),
        );
        let item = &object["spec"]["limits"][0];
        assert_eq!(item["default"], json!({"cpu": "1"}));
        assert_eq!(item["defaultRequest"], json!({"cpu": "1", "memory": "1Mi"}));
        assert_eq!(said(kind(), object), [""; 0]);
    }

    #[test]
    fn the_least_is_not_above_the_most() {
        assert_eq!(
            said(kind(), range(json!({"type": "Pod", "max": {"cpu": "1"}, "min": {"cpu": "2"}}))),
            [r#"spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1"#]
        );
    }
}
