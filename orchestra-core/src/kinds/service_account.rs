//! `ServiceAccount`.

use super::frame::Builtin;
use super::frame::cells::{self, column, list};
use crate::gvk::GroupVersion;
use crate::kind::Scope;

pub(super) fn kind() -> Builtin {
    Builtin::new(GroupVersion::new("", "v1"), "ServiceAccount", "serviceaccounts", Scope::Namespaced)
        .short_names(&["sa"])
        .columns(vec![
            cells::name(),
            column("Secrets", "string", "How many secrets it names.", |account, _| {
                list(account, "/secrets").len().into()
            }),
            cells::age(),
        ])
}
