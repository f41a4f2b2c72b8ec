//! What the cluster has to say about a write before it is stored.
//!
//! An [`Admission`] may change an object, then all of them see the result and may refuse it. The built-in ones are
//! upstream's plugins of the same names; [`IntoAdmission`] makes one of a closure. [`chain`] has them in their order.

mod certificates;
pub(crate) mod chain;
pub(crate) mod conditions;
pub(crate) mod followed;
mod ingress;
mod known;
mod lifecycle;
mod limit_ranger;
pub(crate) mod matching;
mod node_restriction;
mod nodes;
pub(crate) mod notes;
mod pod_security;
mod pods;
mod quota;
mod reader;
mod request;
mod resize;
mod runtime_class;
mod service_account;
mod signers;
mod storage;
mod token_secret;
mod typed;
pub(crate) mod versions;
mod webhook;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

pub use pod_security::{Level as PodSecurityLevel, PodSecurityOptions};
pub(crate) use quota::ResourceQuota;
pub(crate) use reader::Identity;
pub use reader::Reader;
pub(crate) use request::Asked;
pub use request::{AdmissionRequest, Operation};
pub(crate) use service_account::Tokens;
pub(crate) use token_secret::TokenSecrets;
pub use typed::{IntoAdmission, TypedAdmission, form};
pub(crate) use webhook::{MutatingWebhooks, ValidatingWebhooks, Webhooks};

use crate::auth::Authorizer;
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::clock::Chance;
use crate::metrics::PodSecurityMetrics;
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
/// 6. `concerns` says whether it is asked at all. It is the same for all of a request, whatever becomes of the object.
/// 7. `name` and `phases` are always the same; the name stands in metrics and in what is said of a panic.
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

    /// In which phases it has something to do: it is asked in no other, and counted in no other.
    fn phases(&self) -> Phases {
        Phases::Both
    }

    /// Whether it may have anything to say about such a request. Who is not concerned costs nothing: neither method is
    /// called, and nothing is counted.
    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        let _of_all = request;
        true
    }

    /// Changes an object that is about to be created or updated. Must be idempotent: a write that meets a conflict
    /// is admitted again.
    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let _unchanged = (request, object);
        Ok(())
    }

    /// Refuses by an error. For a removal, `object` is what will be removed.
    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        let _allowed = (request, object);
        Ok(())
    }
}

/// In which of the two phases an [`Admission`] has something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phases {
    /// It changes objects and refuses them when they are whole.
    Both,
    /// It changes objects, and may refuse while it does.
    Mutation,
    /// It only refuses.
    Validation,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<T: Admission + ?Sized> Admission for Arc<T> {
    fn name(&self) -> &str {
        self.as_ref().name()
    }

    fn phases(&self) -> Phases {
        self.as_ref().phases()
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        self.as_ref().concerns(request)
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        self.as_ref().mutate(request, object).await
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        self.as_ref().validate(request, object).await
    }
}

/// What the built-in rules work with.
pub(crate) struct Parts<'a> {
    pub(crate) tokens: Tokens,
    pub(crate) new_nodes_are_tainted: bool,
    pub(crate) pod_security: (PodSecurityOptions, PodSecurityMetrics),
    pub(crate) chance: &'a Arc<Chance>,
    pub(crate) feed: &'a Arc<Feed>,
    pub(crate) catalog: &'a Catalog,
    pub(crate) authorizer: &'a Arc<dyn Authorizer>,
}

/// The built-in rules, in upstream's order. What is about a kind that is not served is left out.
pub(crate) fn builtin(parts: Parts<'_>) -> Vec<Arc<dyn Admission>> {
    fn erased<T: Admission>(rule: T) -> Option<Arc<dyn Admission>> {
        Some(Arc::new(rule))
    }
    let Parts { tokens, new_nodes_are_tainted, pod_security, chance, feed, catalog, authorizer } = parts;
    let rules = [
        lifecycle::NamespaceLifecycle::new(feed, catalog).and_then(erased),
        limit_ranger::LimitRanger::new(feed, catalog).and_then(erased),
        erased(certificates::CertificateRequester),
        service_account::ServiceAccount::new(tokens, chance.clone(), feed, catalog).and_then(erased),
        erased(node_restriction::NodeRestriction::new(authorizer.clone())),
        new_nodes_are_tainted.then_some(nodes::TaintNodesByCondition).and_then(erased),
        pod_security::PodSecurity::new(pod_security, feed, catalog).and_then(erased),
        pods::Priority::new(feed, catalog).and_then(erased),
        erased(pods::DefaultTolerationSeconds),
        erased(storage::DefaultStorageClass),
        erased(storage::StorageObjectInUseProtection),
        erased(resize::PersistentVolumeClaimResize),
        erased(runtime_class::RuntimeClass),
        erased(signers::SignerRights::approval(authorizer.clone())),
        erased(signers::SignerRights::signing(authorizer.clone())),
        erased(signers::CertificateSubjectRestriction),
        erased(ingress::DefaultIngressClass),
        nodes::PodTopologyLabels::new(feed, catalog).and_then(erased),
    ];
    rules.into_iter().flatten().collect()
}
