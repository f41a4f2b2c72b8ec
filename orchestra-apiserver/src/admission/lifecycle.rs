//! `NamespaceLifecycle`: nothing is made in a namespace that is absent or going, and some namespaces never go.

use std::sync::Arc;

use async_trait::async_trait;
use orchestra_core::gvk::GroupVersion;
use serde_json::Value;

use super::known::Known;
use super::{Admission, AdmissionRequest, Operation};
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::status::{Cause, GroupResource, StatusError};
use crate::storage::meta;

const CORE: GroupVersion = GroupVersion::new("", "v1");
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

#[derive(Debug)]
pub(super) struct NamespaceLifecycle {
    /// Whether they are going.
    namespaces: Known<bool>,
}

impl NamespaceLifecycle {
    pub(super) fn new(feed: &Arc<Feed>, catalog: &Catalog) -> Option<Self> {
        let namespaces = Known::new(feed, catalog, (&CORE, "namespaces"), meta::is_terminating)?;
        Some(Self { namespaces })
    }
}

#[async_trait]
impl Admission for NamespaceLifecycle {
    fn name(&self) -> &str {
        "NamespaceLifecycle"
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        match request.operation {
            Operation::Create => !request.namespace.is_empty() && !request.is("", "namespaces"),
            Operation::Delete => request.is("", "namespaces"),
            Operation::Update | Operation::Connect => false,
        }
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, _object: &mut Value) -> Result<(), StatusError> {
        // Checked first, so that nobody is told more about an object that cannot be.
        if request.operation != Operation::Create {
            return Ok(());
        }
        let namespaces = GroupResource::new("", "namespaces");
        let name = ("", request.namespace);
        let Some(is_going) = self.namespaces.get(request.reader, name, |is_going| !is_going).await? else {
            return Err(StatusError::not_found(&namespaces, request.namespace));
        };
        if *is_going {
            let why = format!(
                "unable to create new content in namespace {} because it is being terminated",
                request.namespace
            );
            return Err(request.refuse(why).with_cause(Cause {
                reason: "NamespaceTerminating".into(),
                message: format!("namespace {} is being terminated", request.namespace),
                field: "metadata.namespace".into(),
            }));
        }
        Ok(())
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, _object: &Value) -> Result<(), StatusError> {
        let immortal = request.operation == Operation::Delete && IMMORTAL.contains(&request.name);
        if immortal { Err(request.refuse("this namespace may not be deleted")) } else { Ok(()) }
    }
}
