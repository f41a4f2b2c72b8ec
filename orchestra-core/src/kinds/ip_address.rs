//! `IPAddress`: an address of a Service that is taken, and by whom.

use std::net::IpAddr;

use super::frame::cells::{self, column, text};
use super::frame::check::{optional_name, refuse_all, required, unchanged};
use super::frame::{Builtin, View};
use super::meta;
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::meta::name;
use crate::violation::{Violation, Violations};

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("networking.k8s.io", "v1"), "IPAddress", "ipaddresses", Scope::Cluster)
        .short_names(&["ip"])
        .name(address)
        .validate(|address, out| parent(out, &address.get("spec").get("parentRef")))
        .validate_change(|new, old, out| {
            unchanged(out, &new.get("spec").get("parentRef"), &old.get("spec").get("parentRef"));
        })
        .columns(vec![
            cells::name(),
            column("ParentRef", "string", "Who has it.", |address, _| {
                let part = |field: &str| text(address, &format!("/spec/parentRef/{field}")).to_owned();
                let resource = match part("group").as_str() {
                    "" => part("resource"),
                    group => format!("{}.{group}", part("resource")),
                };
                let parts = [resource, part("namespace"), part("name")];
                parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/").into()
            }),
        ])
}

/// A name is an address as it is usually written.
fn address(text: &str) -> Vec<String> {
    match text.parse::<IpAddr>() {
        Ok(address) if address.to_string() != text => {
            vec![format!("must be in canonical form ({:?})", address.to_string())]
        }
        Ok(_) => Vec::new(),
        Err(_) => name::is_ip(text),
    }
}

fn parent(out: &mut Violations, parent: &View) {
    if !parent.is_set() {
        return out.push(Violation::required(parent.path(), ""));
    }
    optional_name(out, &parent.get("group"), meta::subdomain);
    for field in ["resource", "name"] {
        let view = parent.get(field);
        if required(out, &view) {
            refuse_all(out, &view, meta::path_segment(view.text()));
        }
    }
    optional_name(out, &parent.get("namespace"), meta::path_segment);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{said, said_of_change, served};

    #[test]
    fn an_address_has_a_parent_for_good() {
        let address = |ip: &str, service: &str| {
            json!({"metadata": {"name": ip, "resourceVersion": "1"},
                "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": service}}})
        };
        let whole = address("10.96.0.1", "kubernetes");
        assert_eq!(said(kind(), whole.clone()), [""; 0]);
        assert_eq!(served(kind()).row(&whole, 0), ["10.96.0.1", "services/default/kubernetes"]);
        assert!(said(kind(), address("ten", "x"))[0].contains("must be a valid IP address"));
        assert!(
            said(kind(), address("2001:DB8::1", "x"))[0]
                .contains(r#"must be in canonical form ("2001:db8::1")"#)
        );
        assert_eq!(
            said(kind(), json!({"metadata": {"name": "10.96.0.1"}, "spec": {}})),
            ["spec.parentRef: Required value"]
        );
        assert!(
            said_of_change(kind(), &address("10.96.0.1", "x"), &whole)[0].ends_with("field is immutable")
        );
    }
}
