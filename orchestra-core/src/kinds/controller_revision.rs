//! `ControllerRevision`: what a workload was, kept so that it can be again.

use super::frame::cells::{self, column, list, number, or_none, text};
use super::frame::check::{not_negative, refuse, unchanged};
use super::frame::{Builtin, Fill};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::Violation;

pub(super) fn kind() -> Builtin {
    Builtin::new(
        GroupVersion::new("apps", "v1"),
        "ControllerRevision",
        "controllerrevisions",
        Scope::Namespaced,
    )
    .default(|revision| revision.fill("revision", 0))
    .validate(|revision, out| {
        if !revision.get("data").is_set() {
            out.push(Violation::required(revision.get("data").path(), "data is mandatory"));
        }
        not_negative(out, &revision.get("revision"));
    })
    .validate_change(|new, old, out| {
        unchanged(out, &new.get("data"), &old.get("data"));
        let (revision, before) = (new.get("revision"), old.get("revision"));
        if revision.int().unwrap_or_default() < before.int().unwrap_or_default() {
            refuse(out, &revision, "must be greater than or equal to the previous revision");
        }
    })
    .columns(vec![
        cells::name(),
        column("Controller", "string", "Whose revision it is.", |revision, _| {
            let owners = list(revision, "/metadata/ownerReferences");
            let owner = owners.iter().find(|owner| owner.get("controller") == Some(&true.into()));
            let shown = owner.map(|owner| {
                let group = text(owner, "/apiVersion").split_once('/').map(|(group, _)| format!(".{group}"));
                let kind = text(owner, "/kind").to_lowercase();
                format!("{kind}{}/{}", group.unwrap_or_default(), text(owner, "/name"))
            });
            or_none(&shown.unwrap_or_default()).into()
        }),
        column("Revision", "string", "Its number.", |revision, _| number(revision, "/revision").into()),
        cells::age(),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{said, said_of_change, served};

    #[test]
    fn a_revision_holds_data_that_stays() {
        let owner = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "u", "controller": true});
        let old = json!({
            "metadata": {"name": "r", "namespace": "n", "resourceVersion": "1", "ownerReferences": [owner]},
            "data": {"a": 1}, "revision": 2,
        });
        assert_eq!(served(kind()).row(&old, 0)[1..3], [json!("daemonset.apps/d"), json!(2)]);
        let mut new = old.clone();
        new["data"]["a"] = 2.into();
        assert_eq!(
            said_of_change(kind(), &new, &old),
            [r#"data: Invalid value: {"a":2}: field is immutable"#]
        );
        let empty = json!({"metadata": {"name": "r", "namespace": "n"}});
        assert_eq!(said(kind(), empty), ["data: Required value: data is mandatory"]);
    }
}
