//! Role-based access control: who may do what is itself written down in objects of the API.
//!
//! Roles list what may be done, bindings give roles to people. All that counts is in memory as one [`Policy`], which is made
//! anew when one of those objects has changed; a question then costs a few look-ups.
//! After <https://kubernetes.io/docs/reference/access-authn-authz/rbac/> and upstream's
//! `plugin/pkg/auth/authorizer/rbac`.

pub(crate) mod bootstrap;
mod escalation;
mod policy;
mod rule;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use orchestra_store::Revision;

pub(crate) use escalation::Escalation;
pub(crate) use policy::Policy;
use policy::{BindingDocument, RoleDocument};
pub(crate) use rule::Rule;

use super::authorize::{AccessRequest, Authorizer, Decision, RuleSet};
use super::{MASTERS, User};
use crate::cache::collection::Collection;
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::metrics::DecisionMetrics;
use crate::status::StatusError;
use crate::storage::resource::Resource;

/// The group of roles and bindings.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";
/// Roles, cluster roles, and the bindings of each.
const PLURALS: [&str; 4] = ["roles", "clusterroles", "rolebindings", "clusterrolebindings"];

/// Decides by the roles and bindings that the server holds.
pub(crate) struct Rbac {
    feed: Arc<Feed>,
    /// In the order of [`PLURALS`].
    resources: [Arc<Resource>; 4],
    /// The policy, and what state of the four collections it was made of.
    made: Mutex<Option<([Revision; 4], Arc<Policy>)>>,
    decisions: DecisionMetrics,
}

impl fmt::Debug for Rbac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rbac")
    }
}

impl Rbac {
    /// `None` when a registry of one's own serves no roles.
    pub(crate) fn new(feed: Arc<Feed>, catalog: &Catalog, decisions: DecisionMetrics) -> Option<Self> {
        let gv = GroupVersion::new(GROUP, "v1");
        let [a, b, c, d] = PLURALS.map(|plural| catalog.find(&gv, plural));
        Some(Self { feed, resources: [a?, b?, c?, d?], made: Mutex::default(), decisions })
    }

    /// The policy as the watch cache has it: what was written a moment ago is in force a moment later.
    pub(crate) async fn policy(&self) -> Result<Arc<Policy>, StatusError> {
        let [roles, cluster_roles, bindings, cluster_bindings] = &self.resources;
        let collections = [
            self.feed.collection(roles).await?,
            self.feed.collection(cluster_roles).await?,
            self.feed.collection(bindings).await?,
            self.feed.collection(cluster_bindings).await?,
        ];
        let stamp = collections.each_ref().map(|collection| collection.last());
        if let Some((at, policy)) = &*self.made.lock().unwrap_or_else(PoisonError::into_inner)
            && *at == stamp
        {
            return Ok(policy.clone());
        }
        // A change between the stamp and the reading makes the policy newer than its stamp, never older.
        let [roles, cluster_roles, bindings, cluster_bindings] = &collections;
        let policy = Arc::new(Policy::new(
            documents::<RoleDocument>(roles).chain(documents(cluster_roles)),
            documents::<BindingDocument>(bindings).chain(documents(cluster_bindings)),
        ));
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = Some((stamp, policy.clone()));
        Ok(policy)
    }
}

/// The objects of a collection, parsed.
fn documents<T: serde::de::DeserializeOwned>(collection: &Collection) -> impl Iterator<Item = T> {
    let objects = collection.snapshot("", "", usize::MAX, None).objects;
    objects.into_iter().filter_map(|object| match serde_json::from_slice(&object.encoded.json()) {
        Ok(document) => Some(document),
        Err(error) => {
            tracing::error!(key = %object.key(), %error, "a role or binding cannot be read and gives nothing");
            None
        }
    })
}

#[async_trait]
impl Authorizer for Rbac {
    async fn authorize(&self, request: AccessRequest<'_>) -> Result<Decision, StatusError> {
        let decision = self.policy().await?.decide(&request);
        if matches!(decision, Decision::Allow(_)) {
            self.decisions.rbac.inc();
        }
        Ok(decision)
    }

    async fn rules(&self, user: &User, namespace: &str) -> Result<RuleSet, StatusError> {
        Ok(self.policy().await?.rules(user, namespace))
    }
}

/// Whether nobody need be asked about this user.
fn is_master(user: &User) -> bool {
    user.is_in(MASTERS)
}
