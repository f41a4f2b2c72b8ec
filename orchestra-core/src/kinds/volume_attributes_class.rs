//! `VolumeAttributesClass`.

use super::frame::cells::{self, column, text};
use super::frame::{Builtin, View};
use super::storage_class::{parameters, provisioner};
use crate::gvk::GroupVersion;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

pub(super) fn kind() -> Builtin {
    let gv = GroupVersion::new("storage.k8s.io", "v1");
    Builtin::new(gv, "VolumeAttributesClass", "volumeattributesclasses", Scope::Cluster)
        .short_names(&["vac"])
        .validate(|class, out| {
            provisioner(out, &class.get("driverName"));
            let given = class.get("parameters");
            parameters(out, &given);
            if given.is_empty() {
                out.push(Violation::required(given.path(), "must contain at least one key/value pair"));
            }
        })
        .validate_change(change)
        .columns(vec![
            cells::name(),
            column("DriverName", "string", "Whose volumes can have it.", |class, _| {
                text(class, "/driverName").into()
            }),
            cells::age(),
        ])
}

fn change(new: &View, old: &View, out: &mut Violations) {
    for field in ["driverName", "parameters"] {
        if new.get(field) != old.get(field) {
            let detail = format!("updates to {field} are forbidden.");
            out.push(Violation::forbidden(new.get(field).path(), detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{said, said_of_change};

    #[test]
    fn a_class_says_something_and_stays() {
        let class = |driver: &str, parameters| json!({"metadata": {"name": "c", "resourceVersion": "1"}, "driverName": driver, "parameters": parameters});
        let whole = class("csi.example.com", json!({"iops": "100"}));
        assert_eq!(said(kind(), whole.clone()), [""; 0]);
        assert_eq!(
            said(kind(), class("", json!({}))),
            [
                "driverName: Required value",
                "parameters: Required value: must contain at least one key/value pair",
            ]
        );
        let faster = class("csi.example.com", json!({"iops": "200"}));
        assert_eq!(
            said_of_change(kind(), &faster, &whole),
            ["parameters: Forbidden: updates to parameters are forbidden."]
        );
    }
}
