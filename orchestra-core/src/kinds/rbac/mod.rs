//! The kinds of `rbac.authorization.k8s.io`: roles and their bindings, in a namespace and in the whole cluster.

mod binding;
mod role;

pub(super) use binding::{cluster_kind as cluster_role_binding, kind as role_binding};
pub(super) use role::{cluster_kind as cluster_role, kind as role};

/// The group of these kinds.
const GROUP: &str = "rbac.authorization.k8s.io";
