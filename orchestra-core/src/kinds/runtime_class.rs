//! `RuntimeClass`.

use std::collections::HashSet;

use super::frame::cells::{self, column, text};
use super::frame::check::{refuse_all, unchanged};
use super::frame::{Builtin, View};
use super::pod_spec::{overhead, toleration};
use super::{labels, meta};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("node.k8s.io", "v1"), "RuntimeClass", "runtimeclasses", Scope::Cluster)
        .validate(validate)
        .validate_change(|new, old, out| {
            unchanged(out, &new.get("handler"), &old.get("handler"));
        })
        .columns(vec![
            cells::name(),
            column("Handler", "string", "What the container runtime calls it.", |class, _| {
                text(class, "/handler").into()
            }),
            cells::age(),
        ])
}

fn validate(class: &View, out: &mut Violations) {
    let handler = class.get("handler");
    refuse_all(out, &handler, meta::label(handler.text()));
    overhead(out, &class.get("overhead").get("podFixed"));
    let scheduling = class.get("scheduling");
    labels::validate(out, &scheduling.get("nodeSelector"));
    let mut seen = HashSet::new();
    for one in scheduling.get("tolerations").items() {
        toleration(out, &one);
        if !seen.insert(one.json().to_string()) {
            out.push(Violation::duplicate(one.path(), one.json()));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{said, said_of_change, served};

    #[test]
    fn a_handler_is_a_label_and_stays() {
        let class =
            |handler: &str| json!({"metadata": {"name": "c", "resourceVersion": "1"}, "handler": handler});
        assert_eq!(said(kind(), class("runc")), [""; 0]);
        assert_eq!(served(kind()).row(&class("runc"), 0)[1], "runc");
        assert!(
            said(kind(), class("run c"))[0]
                .starts_with(r#"handler: Invalid value: "run c": a lowercase RFC 1123 label"#)
        );
        assert_eq!(
            said_of_change(kind(), &class("gvisor"), &class("runc")),
            [r#"handler: Invalid value: "gvisor": field is immutable"#]
        );
    }

    #[test]
    fn a_toleration_stands_once() {
        let same = json!({"key": "a", "operator": "Exists"});
        let class =
            json!({"metadata": {"name": "c"}, "handler": "h", "scheduling": {"tolerations": [same, same]}});
        let said = said(kind(), class);
        assert!(said[0].starts_with("scheduling.tolerations[1]: Duplicate value: "), "{said:?}");
    }
}
