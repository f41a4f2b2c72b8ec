//! What the cluster has to say about a write before it is stored.
//!
//! An [`Admission`] may change an object, then all of them see the result and may refuse it. The built-in ones are
//! upstream's plugins of the same names; [`TypedAdmission`] makes one of a closure.

mod certificates;
mod lifecycle;
mod pods;
mod reader;
mod storage;
mod token_secret;
mod typed;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

pub(crate) use reader::Identity;
pub use reader::Reader;
pub(crate) use token_secret::TokenSecrets;
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
///
/// # Contract
/// 1. Every rule's `mutate` runs, in order, before the object is defaulted again and checked by its kind; then every
///    rule's `validate` sees what will be stored. For a removal only `validate` runs.
/// 2. Both are called again, on the newer state, when a write meets a conflict: `mutate` is idempotent and neither has
///    effects elsewhere.
/// 3. A rule sees every resource and subresource and passes over what is not its business.
/// 4. With `dry_run` nothing is stored; a rule decides as if it were.
///
/// # Errors
/// An error refuses the write and is the client's answer; [`AdmissionRequest::refuse`] makes the usual one. Nothing has
/// been stored.
///
/// # Cancellation
/// A client that goes away drops the future at any await.
#[diagnostic::on_unimplemented(
    note = "a closure over a typed object becomes a rule through `TypedAdmission::new`"
)]
#[async_trait]
pub trait Admission: Debug + Send + Sync + 'static {
    /// Changes an object that is about to be created or updated. Must be idempotent: a write that meets a conflict
    /// is admitted again.
    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError>;

    /// Refuses by an error. For a removal, `object` is what will be removed.
    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError>;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: Admission + ?Sized> Admission for Arc<T> {
    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        self.as_ref().mutate(request, object).await
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        self.as_ref().validate(request, object).await
    }
}

/// The built-in rules, in upstream's order.
pub(crate) fn builtin() -> Vec<Arc<dyn Admission>> {
    vec![
        Arc::new(lifecycle::NamespaceLifecycle),
        Arc::new(certificates::CertificateRequester),
        Arc::new(pods::ServiceAccount),
        Arc::new(pods::Priority),
        Arc::new(pods::DefaultTolerationSeconds),
        Arc::new(storage::StorageObjectInUseProtection),
        Arc::new(storage::DefaultStorageClass),
    ]
}
