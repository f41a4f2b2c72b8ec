//! Nodes: who they are, and what they may, which is what their pods need and no more.
//!
//! After <https://kubernetes.io/docs/reference/access-authn-authz/node/> and upstream's `plugin/pkg/auth/authorizer/node`. What nodes
//! may write is looked at by the admission rule `NodeRestriction`.

mod authorizer;
mod graph;
mod references;

pub(crate) use authorizer::NodeAuthorizer;
pub(crate) use references::PodReferences;

use super::User;

/// The group of nodes.
const GROUP: &str = "system:nodes";
const PREFIX: &str = "system:node:";

impl User {
    /// The agent of a node, as the Node authorizer and NodeRestriction know it.
    pub fn node(name: &str) -> Self {
        Self::new(format!("{PREFIX}{name}"), [GROUP.to_owned()])
    }
}

/// The node that a user is, if it is one.
pub(crate) fn node_name(user: &User) -> Option<&str> {
    let name = user.name.strip_prefix(PREFIX)?;
    (!name.is_empty() && user.is_in(GROUP)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_the_name_and_is_in_the_group() {
        assert_eq!(node_name(&User::node("n1")), Some("n1"));
        assert_eq!(node_name(&User::new("system:node:n1", [])), None);
        assert_eq!(node_name(&User::new("n1", [GROUP.to_owned()])), None);
        assert_eq!(node_name(&User::node("")), None);
    }
}
