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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::frame::testing::{said, served};

    #[test]
    fn a_row_counts_secrets() {
        let account = json!({"metadata": {"name": "robot", "namespace": "n"}, "secrets": [{"name": "a"}, {"name": "b"}]});
        assert_eq!(served(kind()).row(&account, 0), [json!("robot"), json!(2), json!("<unknown>")]);
        assert_eq!(said(kind(), account), [""; 0]);
        let dashed = json!({"metadata": {"name": "-", "namespace": "n"}});
        assert!(
            said(kind(), dashed)[0]
                .starts_with(r#"metadata.name: Invalid value: "-": a lowercase RFC 1123 subdomain"#)
        );
    }
}
