//! `RoleBinding` and `ClusterRoleBinding`.

use serde_json::Value;

use super::GROUP;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::kinds::frame::cells::{self, Show, column, list, text};
use crate::kinds::frame::check::{one_of, optional_name, refuse, refuse_all, required};
use crate::kinds::frame::{Builtin, Fill, Object, View};
use crate::kinds::meta;
use crate::meta::name;
use crate::violation::{Violation, Violations};

pub(crate) fn kind() -> Builtin {
    let gv = GroupVersion::new(GROUP, "v1");
    binding(Builtin::new(gv, "RoleBinding", "rolebindings", Scope::Namespaced))
        .validate(|binding, out| validate(out, binding, &["ClusterRole", "Role"]))
}

pub(crate) fn cluster_kind() -> Builtin {
    let gv = GroupVersion::new(GROUP, "v1");
    binding(Builtin::new(gv, "ClusterRoleBinding", "clusterrolebindings", Scope::Cluster))
        .validate(|binding, out| validate(out, binding, &["ClusterRole"]))
}

fn binding(kind: Builtin) -> Builtin {
    kind.create_on_update()
        .name(meta::path_segment)
        .default(default)
        .validate_change(|new, old, out| {
            if new.get("roleRef") != old.get("roleRef") {
                refuse(out, &new.get("roleRef"), "cannot change roleRef");
            }
        })
        .columns(columns())
}

fn default(binding: &mut Object) {
    binding.object("roleRef").fill_text("apiGroup", GROUP);
    for subject in binding.objects("subjects") {
        if matches!(subject.text("kind"), "User" | "Group") {
            subject.fill_text("apiGroup", GROUP);
        }
    }
}

fn columns() -> Vec<Show> {
    vec![
        cells::name(),
        column("Role", "string", "The role that is given.", |binding, _| {
            format!("{}/{}", text(binding, "/roleRef/kind"), text(binding, "/roleRef/name")).into()
        }),
        cells::age(),
        column("Users", "string", "Users it is given to.", |binding, _| subjects(binding, "User").into())
            .wide(),
        column("Groups", "string", "Groups it is given to.", |binding, _| subjects(binding, "Group").into())
            .wide(),
        column("ServiceAccounts", "string", "Service accounts it is given to.", |binding, _| {
            subjects(binding, "ServiceAccount").into()
        })
        .wide(),
    ]
}

fn subjects(binding: &Value, kind: &str) -> String {
    let of_kind = list(binding, "/subjects").iter().filter(|subject| text(subject, "/kind") == kind);
    let names = of_kind.map(|subject| match (kind, text(subject, "/namespace")) {
        ("ServiceAccount", namespace) => format!("{namespace}/{}", text(subject, "/name")),
        _ => text(subject, "/name").to_owned(),
    });
    names.collect::<Vec<_>>().join(", ")
}

/// After `ValidateRoleBinding`.
fn validate(out: &mut Violations, binding: &View, roles: &[&str]) {
    let role = binding.get("roleRef");
    one_of(out, &role.get("apiGroup"), &[GROUP]);
    let kind = role.get("kind");
    if !roles.contains(&kind.text()) {
        out.push(Violation::not_supported(kind.path(), kind.text(), roles));
    }
    if required(out, &role.get("name")) {
        refuse_all(out, &role.get("name"), name::is_path_segment(role.get("name").text()));
    }
    for subject in binding.get("subjects").items() {
        one_subject(out, &subject);
    }
}

fn one_subject(out: &mut Violations, subject: &View) {
    let (kind, own) = (subject.get("kind"), subject.get("name"));
    required(out, &own);
    match kind.text() {
        "ServiceAccount" => {
            optional_name(out, &own, name::is_dns1123_subdomain);
            let group = subject.get("apiGroup");
            if !group.is_empty() {
                out.push(Violation::not_supported(group.path(), group.text(), &[""]));
            }
            required(out, &subject.get("namespace"));
        }
        "User" | "Group" => one_of(out, &subject.get("apiGroup"), &[GROUP]),
        _ => {
            out.push(Violation::not_supported(kind.path(), kind.text(), &["ServiceAccount", "User", "Group"]))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{defaulted, said_of_change, served};

    #[test]
    fn the_role_stays_and_groups_are_filled_in() {
        let object = json!({
            "metadata": {"name": "b", "namespace": "n", "resourceVersion": "1"},
            "roleRef": {"kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}],
        });
        let old = defaulted(kind(), object);
        assert_eq!(
            (&old["roleRef"]["apiGroup"], &old["subjects"][0]["apiGroup"]),
            (&json!(GROUP), &json!(GROUP))
        );
        assert_eq!(
            served(kind()).row(&old, 0)[1..],
            ["Role/r", "<unknown>", "u", "", "n/s"].map(Value::from)
        );
        let mut new = old.clone();
        new["roleRef"]["name"] = "other".into();
        let said = said_of_change(kind(), &new, &old);
        assert!(said[0].ends_with("cannot change roleRef"), "{said:?}");
    }
}
