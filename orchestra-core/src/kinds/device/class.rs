//! `DeviceClass`.

use super::{GROUP, each, request};
use crate::kind::Scope;
use crate::kinds::frame::check::refuse;
use crate::kinds::frame::{Builtin, Fill, Generation, View};
use crate::meta::name;
use crate::violation::Violations;

/// The most configurations of a class.
const MOST: usize = 32;

pub(crate) fn kind() -> Builtin {
    Builtin::new(GROUP, "DeviceClass", "deviceclasses", Scope::Cluster)
        .generation(Generation::Spec)
        .default(|class| {
            class.object("spec");
        })
        .validate_create(|class, out| validate(class, None, out))
        .validate_change(|class, old, out| validate(class, Some(old), out))
}

fn validate(class: &View, old: Option<&View>, out: &mut Violations) {
    let spec = class.get("spec");
    request::selectors(out, &spec.get("selectors"));
    let configurations = spec.get("config");
    let is_stored = old.is_some_and(|old| old.get("spec").get("config") == configurations);
    each(out, &configurations, MOST, |out, configuration| request::opaque(out, configuration, is_stored));
    let resource = spec.get("extendedResourceName");
    if resource.is_set() && !name::is_extended_resource(resource.text()) {
        refuse(out, &resource, "must be a valid extended resource name");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{said, said_of_change};

    #[test]
    fn selectors_and_configurations_are_whole() {
        let class = |spec| json!({"metadata": {"name": "c"}, "spec": spec});
        let spec = json!({"selectors": [{"cel": {"expression": "device.driver == 'd'"}}],
            "config": [{"opaque": {"driver": "d.example.com", "parameters": {"a": 1}}}]});
        assert_eq!(said(kind(), class(spec)), [""; 0]);
        assert_eq!(
            said(kind(), class(json!({"selectors": [{}], "config": [{}]}))),
            ["spec.selectors[0].cel: Required value", "spec.config[0].opaque: Required value"]
        );
    }

    #[test]
    fn a_class_stands_for_a_resource_that_is_not_kubernetes_own() {
        let class = |name: &str| json!({"metadata": {"name": "c"}, "spec": {"extendedResourceName": name}});
        assert_eq!(said(kind(), class("example.com/gpu")), [""; 0]);
        for name in [
            "gpu",
            "deviceclass.resource.kubernetes.io/gpu",
            "kubernetes.io/gpu",
            "requests.example.com/gpu",
            "example.com/a/b",
            "example.com/",
            // With `requests.` before it, as in quotas, it is too long.
            &format!("{}/gpu", ["a".repeat(61), "b".repeat(61), "c".repeat(61), "d".repeat(61)].join(".")),
        ] {
            assert_eq!(
                said(kind(), class(name)),
                [format!(
                    "spec.extendedResourceName: Invalid value: {name:?}: must be a valid extended resource name"
                )]
            );
        }
    }

    #[test]
    fn what_is_stored_may_be_longer_than_what_is_new() {
        let parameters = json!({"a": "x".repeat(10 * 1024)});
        let class = |driver: &str| {
            json!({"metadata": {"name": "c", "resourceVersion": "1"},
                "spec": {"config": [{"opaque": {"driver": driver, "parameters": parameters}}]}})
        };
        let long = ["spec.config[0].opaque.parameters: Too long: may not be more than 10240 bytes"];
        assert_eq!(said(kind(), class("d.io")), long);
        let mut labelled = class("d.io");
        labelled["metadata"]["labels"] = json!({"a": "b"});
        assert_eq!(said_of_change(kind(), &labelled, &class("d.io")), [""; 0]);
        assert_eq!(said_of_change(kind(), &class("e.io"), &class("d.io")), long);
    }
}
