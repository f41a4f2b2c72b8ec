//! `DeviceClass`.

use super::{GROUP, bounded, request};
use crate::kind::Scope;
use crate::kinds::frame::check::refuse_all;
use crate::kinds::frame::{Builtin, Fill, Generation};
use crate::meta::name;

/// The most configurations of a class.
const MOST: usize = 32;

pub(crate) fn kind() -> Builtin {
    Builtin::new(GROUP, "DeviceClass", "deviceclasses", Scope::Cluster)
        .generation(Generation::Spec)
        .default(|class| {
            class.object("spec");
        })
        .validate(|class, out| {
            let spec = class.get("spec");
            request::selectors(out, &spec.get("selectors"));
            let configurations = spec.get("config");
            bounded(out, &configurations, MOST, |_| "");
            for configuration in configurations.items() {
                request::opaque(out, &configuration);
            }
            let resource = spec.get("extendedResourceName");
            if resource.is_set() {
                refuse_all(out, &resource, name::is_qualified_name(resource.text()));
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::said;

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
}
