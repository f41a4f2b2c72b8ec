//! Which resources a server serves.

use std::sync::Arc;

use kube::Client;
use kube::discovery::{Discovery, Scope, verbs};

use super::graph::Kind;
use crate::error::Result;

/// A resource, and what can be done with it.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) kind: Arc<Kind>,
    operations: Vec<String>,
}

impl Found {
    /// Whether all of these can be done with it.
    fn allows(&self, wanted: &[&str]) -> bool {
        wanted.iter().all(|verb| self.operations.iter().any(|operation| operation == verb))
    }

    /// Whether it can be followed and removed, which garbage collection needs. Events are left out: they are many, own
    /// nothing and expire by themselves.
    pub(crate) fn is_collectable(&self) -> bool {
        let is_event =
            self.kind.api.plural == "events" && matches!(&*self.kind.api.group, "" | "events.k8s.io");
        !is_event && self.allows(&[verbs::LIST, verbs::WATCH, verbs::DELETE])
    }

    /// Whether a namespace can be emptied of it.
    pub(crate) fn is_content(&self) -> bool {
        self.kind.namespaced && self.allows(&[verbs::LIST, verbs::DELETE])
    }

    pub(crate) fn has_delete_collection(&self) -> bool {
        self.allows(&[verbs::DELETE_COLLECTION])
    }
}

/// Every resource, in the version its group prefers.
pub(crate) async fn discover(client: &Client) -> Result<Vec<Found>> {
    let discovery = match Discovery::new(client.clone()).run_aggregated().await {
        Ok(discovery) => discovery,
        // Servers before 1.27 know only the old form.
        Err(_) => Discovery::new(client.clone()).run().await?,
    };
    let mut found = Vec::new();
    for group in discovery.groups_alphabetical() {
        for (api, capabilities) in group.recommended_resources() {
            let namespaced = capabilities.scope == Scope::Namespaced;
            let kind = Arc::new(Kind { api, namespaced });
            found.push(Found { kind, operations: capabilities.operations });
        }
    }
    Ok(found)
}
