//! `Lease`.

use super::frame::cells::{self, column, text};
use super::frame::check::{not_negative, refuse};
use super::frame::{Builtin, Fill};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("coordination.k8s.io", "v1"), "Lease", "leases", Scope::Namespaced)
        .create_on_update()
        .conditional_update()
        .default(|lease| {
            lease.object("spec");
        })
        .validate(|lease, out| {
            let spec = lease.get("spec");
            let seconds = spec.get("leaseDurationSeconds");
            if seconds.int().is_some_and(|seconds| seconds <= 0) {
                refuse(out, &seconds, "must be greater than 0");
            }
            not_negative(out, &spec.get("leaseTransitions"));
        })
        .columns(vec![
            cells::name(),
            column("Holder", "string", "Who holds the lease.", |lease, _| {
                text(lease, "/spec/holderIdentity").into()
            }),
            cells::age(),
        ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{said, served};

    #[test]
    fn a_lease_lasts_longer_than_no_time() {
        let lease = json!({
            "metadata": {"name": "l", "namespace": "n"},
            "spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1, "holderIdentity": "me"},
        });
        assert_eq!(served(kind()).row(&lease, 0)[1], "me");
        assert_eq!(
            said(kind(), lease),
            [
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            ]
        );
    }
}
