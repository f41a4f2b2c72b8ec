//! What the cluster has to say about a write before it is stored.
//!
//! An [`Admission`] may change an object, then all of them see the result and may refuse it. The built-in ones are
//! upstream's plugins of the same names; [`IntoAdmission`] makes one of a closure. [`chain`] has them in their order.

mod certificates;
pub(crate) mod chain;
#[allow(dead_code, reason = "for what fills the slots of the chain")]
pub(crate) mod conditions;
pub(crate) mod followed;
mod ingress;
mod lifecycle;
pub(crate) mod matching;
mod node_restriction;
#[allow(dead_code, reason = "for what fills the slots of the chain")]
pub(crate) mod notes;
mod pods;
mod reader;
mod request;
mod resize;
mod service_account;
mod storage;
mod token_secret;
mod typed;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

pub(crate) use reader::Identity;
pub use reader::Reader;
pub(crate) use request::Asked;
pub use request::{AdmissionRequest, Operation};
pub(crate) use service_account::Tokens;
pub(crate) use token_secret::TokenSecrets;
pub use typed::{IntoAdmission, TypedAdmission, form};

use crate::clock::Chance;
use crate::status::StatusError;

/// A rule about writes.
///
/// # Contract
/// 1. Every rule's `mutate` runs, in order, before the object is defaulted again and checked by its kind; then every
///    rule's `validate` sees what will be stored. For a removal only `validate` runs.
/// 2. Both are called again, on the newer state, when a write meets a conflict: `mutate` is idempotent and neither has
///    effects elsewhere.
/// 3. A rule sees every resource and subresource and passes over what is not its business. Of a connection
///    ([`Operation::Connect`]) the object is its options, such as `PodExecOptions`.
/// 4. With `dry_run` nothing is stored; a rule decides as if it were.
/// 5. A rule that panics fails the request it was asked about, with 500, and is asked about the next one.
/// 6. `name` is always the same; it stands in metrics and in what is said of a panic.
///
/// # Errors
/// An error refuses the write and is the client's answer; [`AdmissionRequest::refuse`] makes the usual one. Nothing has
/// been stored.
///
/// # Cancellation
/// A client that goes away drops the future at any await.
///
/// # Implementing
/// ```
/// use async_trait::async_trait;
/// use orchestra_apiserver::{Admission, AdmissionRequest, ApiServer, Operation, StatusError, User};
/// use orchestra_store::MemoryStore;
/// use serde_json::Value;
/// use std::sync::Arc;
///
/// /// Objects say who made them, and only their makers remove them.
/// #[derive(Debug)]
/// struct Makers;
///
/// const MAKER: &str = "/metadata/annotations/maker";
///
/// #[async_trait]
/// impl Admission for Makers {
///     fn name(&self) -> &str {
///         "Makers"
///     }
///
///     async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
///         if request.operation == Operation::Create && request.is("", "configmaps") {
///             object["metadata"]["annotations"]["maker"] = request.user.name.as_str().into();
///         }
///         Ok(())
///     }
///
///     async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
///         let maker = object.pointer(MAKER).and_then(Value::as_str);
///         let others = maker.is_some_and(|maker| maker != request.user.name);
///         if request.operation == Operation::Delete && others {
///             return Err(request.refuse("it is somebody else's"));
///         }
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use k8s_openapi::api::core::v1::ConfigMap;
/// use kube::Api;
///
/// let server = ApiServer::builder(Arc::new(MemoryStore::new())).admission(Makers).build().await?;
/// let as_user = |name: &str| {
///     let user = User::new(name, ["system:masters".to_owned()]);
///     Api::<ConfigMap>::default_namespaced(server.client_as(user, "default"))
/// };
/// let mut map = ConfigMap::default();
/// map.metadata.name = Some("hers".into());
/// as_user("ann").create(&Default::default(), &map).await?;
/// assert!(as_user("bob").delete("hers", &Default::default()).await.is_err());
/// as_user("ann").delete("hers", &Default::default()).await?;
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    note = "a closure over a typed object becomes a rule through `TypedAdmission`"
)]
#[async_trait]
pub trait Admission: Debug + Send + Sync + 'static {
    /// What it is called.
    fn name(&self) -> &str;

    /// Changes an object that is about to be created or updated. Must be idempotent: a write that meets a conflict
    /// is admitted again.
    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError>;

    /// Refuses by an error. For a removal, `object` is what will be removed.
    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError>;
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: Admission + ?Sized> Admission for Arc<T> {
    fn name(&self) -> &str {
        self.as_ref().name()
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        self.as_ref().mutate(request, object).await
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        self.as_ref().validate(request, object).await
    }
}

/// The built-in rules, in upstream's order.
pub(crate) fn builtin(tokens: Tokens, chance: &Arc<Chance>) -> Vec<Arc<dyn Admission>> {
    vec![
        Arc::new(lifecycle::NamespaceLifecycle),
        Arc::new(certificates::CertificateRequester),
        Arc::new(service_account::ServiceAccount::new(tokens, chance.clone())),
        Arc::new(node_restriction::NodeRestriction),
        Arc::new(pods::Priority),
        Arc::new(pods::DefaultTolerationSeconds),
        Arc::new(storage::DefaultStorageClass),
        Arc::new(storage::StorageObjectInUseProtection),
        Arc::new(resize::PersistentVolumeClaimResize),
        Arc::new(ingress::DefaultIngressClass),
    ]
}
