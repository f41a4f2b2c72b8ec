//! The roles of the controllers, each bound to the service account that its controller acts as where controllers act as
//! accounts of their own (upstream's `--use-service-account-credentials`).
//!
//! After upstream's `controller_policy.go` in `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`.

use serde_json::Value;

use super::{Subject, binding, roles};

/// Roles as a table; the format is described at the head of `roles.txt`.
const ROLES: &str = include_str!("controllers.txt");
/// What comes before a controller's name in the name of its role.
const PREFIX: &str = "system:controller:";
/// Where the accounts of the controllers are.
const NAMESPACE: &str = "kube-system";

/// All roles, then all bindings.
pub(super) fn objects() -> Vec<Value> {
    let mut objects = roles(ROLES);
    let bindings: Vec<Value> = objects.iter().filter_map(bound_to_its_account).collect();
    objects.extend(bindings);
    objects
}

/// The binding of a role to the account of the same name.
fn bound_to_its_account(role: &Value) -> Option<Value> {
    let name = role["metadata"]["name"].as_str()?;
    let account = name.strip_prefix(PREFIX)?;
    Some(binding(name, &[Subject::ServiceAccount(NAMESPACE, account)]))
}
