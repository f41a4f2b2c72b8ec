//! What the cluster has to say about a write before it is stored.
//!
//! An [`Admission`] may change an object, then all of them see the result and may refuse it. The built-in ones are
//! upstream's plugins of the same names; [`TypedAdmission`] makes one of a closure.

mod lifecycle;
mod pods;
mod reader;
mod storage;
mod typed;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

pub use reader::Reader;
pub use typed::TypedAdmission;

use crate::auth::User;
use crate::request::ResourceRequest;
use crate::status::{GroupResource, StatusError};

/// What is about to happen to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed, also through a subresource.
    Update,
    /// It is removed.
    Delete,
}

/// A write, as admission sees it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AdmissionRequest<'a> {
    /// What happens.
    pub operation: Operation,
    /// The request: group, version, resource, namespace, name, subresource.
    pub request: &'a ResourceRequest,
    /// The kind of the object, such as `Pod`.
    pub kind: &'a str,
    /// The namespace, empty for objects of the whole cluster.
    pub namespace: &'a str,
    /// The object's name; empty while a name is still to be generated.
    pub name: &'a str,
    /// Who asks.
    pub user: &'a User,
    /// The object as it is stored; `None` when it is made.
    pub old: Option<&'a Value>,
    /// Whether nothing will be stored in the end.
    pub dry_run: bool,
    /// The rest of the cluster.
    pub reader: &'a Reader,
}

impl AdmissionRequest<'_> {
    /// Whether this writes the main resource `plural` of `group`.
    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.request.subresource.is_none()
            && self.request.gv.group == group
            && self.request.resource == plural
    }

    /// The resource, for refusals.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.request.gv.group.as_ref(), self.request.resource.as_str())
    }

    /// A refusal: 403 with a reason.
    pub fn refuse(&self, why: impl std::fmt::Display) -> StatusError {
        StatusError::forbidden(&self.group_resource(), self.name, why)
    }
}

/// A rule about writes.
#[async_trait]
pub trait Admission: Debug + Send + Sync + 'static {
    /// Changes an object that is about to be created or updated. Must be idempotent: a write that meets a conflict
    /// is admitted again.
    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError>;

    /// Refuses by an error. For a removal, `object` is what will be removed.
    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError>;
}

/// The built-in rules, in upstream's order.
pub(crate) fn builtin() -> Vec<Arc<dyn Admission>> {
    vec![
        Arc::new(lifecycle::NamespaceLifecycle),
        Arc::new(pods::ServiceAccount),
        Arc::new(pods::Priority),
        Arc::new(pods::DefaultTolerationSeconds),
        Arc::new(storage::StorageObjectInUseProtection),
        Arc::new(storage::DefaultStorageClass),
    ]
}
