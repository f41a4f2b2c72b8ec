//! What kinds ask of object metadata: the one place where they meet the shared metadata rules.

use serde_json::Value;

use super::frame::View;
use crate::kind::Scope;
use crate::violation::{Violation, Violations};

/// Metadata of a new object.
pub(crate) fn validate(object: &Value, scope: Scope, name: fn(&str) -> Vec<String>) -> Violations {
    let metadata = View::root(object).get("metadata");
    let mut out = Violations::new();
    let own = metadata.get("name");
    if own.is_empty() {
        if metadata.get("generateName").is_empty() {
            out.push(Violation::required(own.path(), "name or generateName is required"));
        }
    } else {
        out.extend(
            name(own.text()).into_iter().map(|detail| Violation::invalid(own.path(), own.text(), detail)),
        );
    }
    let _ = scope;
    out
}

/// Metadata of a changed object.
pub(crate) fn validate_update(new: &Value, old: &Value, scope: Scope) -> Violations {
    let _ = (new, old, scope);
    Violations::new()
}

/// The names most kinds may have.
pub(crate) fn subdomain(name: &str) -> Vec<String> {
    let _ = name;
    Vec::new()
}
