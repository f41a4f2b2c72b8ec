//! `CSIStorageCapacity`: how much room a class has somewhere.

use super::frame::Builtin;
use super::frame::cells::{self, column, text};
use super::frame::check::{refuse, refuse_all, unchanged};
use super::pod_spec::resources::is_negative;
use super::{labels, meta};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    let gv = GroupVersion::new("storage.k8s.io", "v1");
    Builtin::new(gv, "CSIStorageCapacity", "csistoragecapacities", Scope::Namespaced)
        .validate(|capacity, out| {
            labels::selector(out, &capacity.get("nodeTopology"));
            let class = capacity.get("storageClassName");
            refuse_all(out, &class, meta::subdomain(class.text()));
            let amount = capacity.get("capacity");
            if is_negative(&amount) {
                refuse(out, &amount, "must be greater than or equal to 0");
            }
        })
        .validate_change(|new, old, out| {
            for field in ["nodeTopology", "storageClassName"] {
                unchanged(out, &new.get(field), &old.get(field));
            }
        })
        .columns(vec![
            cells::name(),
            column("StorageClassName", "string", "Whose room it is.", |capacity, _| {
                text(capacity, "/storageClassName").into()
            }),
            column("Capacity", "string", "How much there is.", |capacity, _| {
                match text(capacity, "/capacity") {
                    "" => "<unset>".into(),
                    amount => amount.into(),
                }
            }),
        ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{said, said_of_change, served};

    #[test]
    fn room_is_not_below_zero_and_stays_where_it_is() {
        let room = |class: &str, amount: &str| json!({"metadata": {"name": "r", "namespace": "n", "resourceVersion": "1"}, "storageClassName": class, "capacity": amount});
        assert_eq!(said(kind(), room("fast", "1Gi")), [""; 0]);
        assert_eq!(served(kind()).row(&room("fast", "1Gi"), 0), ["r", "fast", "1Gi"]);
        assert_eq!(
            said(kind(), room("fast", "-1")),
            [r#"capacity: Invalid value: "-1": must be greater than or equal to 0"#]
        );
        assert_eq!(
            said_of_change(kind(), &room("slow", "1Gi"), &room("fast", "1Gi")),
            [r#"storageClassName: Invalid value: "slow": field is immutable"#]
        );
    }
}
