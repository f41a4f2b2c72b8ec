//! Closures over typed objects as admission rules.
//!
//! `.admission(|pod: &mut Pod| ...)` is all it takes: [`IntoAdmission`] makes a rule of a closure by its parameters.
//! [`TypedAdmission`] is the same with a name and a choice of operations.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use kube::Resource;
use orchestra_core::patch::merge;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::BoxError;

use super::{Admission, AdmissionRequest, Operation, Phases};
use crate::status::StatusError;

type Change<K> = dyn Fn(&mut K, &AdmissionRequest<'_>) -> Result<(), BoxError> + Send + Sync;
type Check<K> = dyn Fn(&K, &AdmissionRequest<'_>) -> Result<(), BoxError> + Send + Sync;

enum Closure<K> {
    Change(Box<Change<K>>),
    Check(Box<Check<K>>),
}

/// Calls a closure on every object of one kind that is created or updated.
///
/// What a closure changed is carried over to the object as a merge patch, so fields that the type does not know
/// survive. An error is the reason of a 403 that names the rule; a [`StatusError`] is the answer as it is.
///
/// ```
/// use k8s_openapi::api::core::v1::ConfigMap;
/// use orchestra_apiserver::{ApiServer, AdmissionRequest, Operation, TypedAdmission};
/// use orchestra_store::MemoryStore;
/// use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keep = |map: &ConfigMap, request: &AdmissionRequest<'_>| {
///     let is_kept = map.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key("keep"));
///     if is_kept { Err(format!("{} may not remove it", request.user.name).into()) } else { Ok(()) }
/// };
/// let keep = TypedAdmission::validating("keep", keep).on([Operation::Delete]);
/// let server = ApiServer::builder(Arc::new(MemoryStore::new())).admission(keep).build().await?;
///
/// let maps = kube::Api::<ConfigMap>::default_namespaced(server.client("default"));
/// let mut map = ConfigMap::default();
/// map.metadata.name = Some("a".into());
/// map.metadata.labels = Some([("keep".into(), "yes".into())].into());
/// maps.create(&Default::default(), &map).await?;
/// let kube::Error::Api(refused) = maps.delete("a", &Default::default()).await.unwrap_err() else { panic!() };
/// assert_eq!(
///     refused.message,
///     "configmaps \"a\" is forbidden: admission plugin \"keep\" denied the request: system:admin may not remove it"
/// );
/// # Ok(())
/// # }
/// ```
pub struct TypedAdmission<K> {
    name: String,
    operations: Vec<Operation>,
    closure: Closure<K>,
}

impl<K> TypedAdmission<K> {
    /// A rule that may change objects, and refuse them.
    pub fn mutating<F>(name: impl Into<String>, change: F) -> Self
    where
        F: Fn(&mut K, &AdmissionRequest<'_>) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        Self::new(name.into(), Closure::Change(Box::new(change)))
    }

    /// A rule that only refuses; it sees objects as they will be stored, and those that are removed if it asks for
    /// [`Operation::Delete`].
    pub fn validating<F>(name: impl Into<String>, check: F) -> Self
    where
        F: Fn(&K, &AdmissionRequest<'_>) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        Self::new(name.into(), Closure::Check(Box::new(check)))
    }

    fn new(name: String, closure: Closure<K>) -> Self {
        Self { name, operations: vec![Operation::Create, Operation::Update], closure }
    }

    /// Asks on these operations and no others; default: create and update. Nothing can be changed of an object that is
    /// removed.
    #[must_use]
    pub fn on(mut self, operations: impl IntoIterator<Item = Operation>) -> Self {
        self.operations = operations.into_iter().collect();
        self
    }

    fn refusal(&self, request: &AdmissionRequest<'_>, why: BoxError) -> StatusError {
        match why.downcast::<StatusError>() {
            Ok(status) => *status,
            Err(why) => request.refuse(format!("admission plugin {:?} denied the request: {why}", self.name)),
        }
    }
}

impl<K> fmt::Debug for TypedAdmission<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedAdmission")
            .field("name", &self.name)
            .field("operations", &self.operations)
            .finish_non_exhaustive()
    }
}

fn read<K: DeserializeOwned>(object: &Value) -> Result<K, StatusError> {
    K::deserialize(object).map_err(|error| StatusError::bad_request(error.to_string()))
}

#[async_trait]
impl<K> Admission for TypedAdmission<K>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn phases(&self) -> Phases {
        match self.closure {
            Closure::Change(_) => Phases::Mutation,
            Closure::Check(_) => Phases::Validation,
        }
    }

    fn concerns(&self, request: &AdmissionRequest<'_>) -> bool {
        self.operations.contains(&request.operation)
            && request.is(&K::group(&()), &K::plural(&()))
            && request.request.gv.version == K::version(&())
    }

    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let Closure::Change(change) = &self.closure else { return Ok(()) };
        let mut typed: K = read(object)?;
        let before = serde_json::to_value(&typed).map_err(StatusError::internal)?;
        change(&mut typed, request).map_err(|why| self.refusal(request, why))?;
        let after = serde_json::to_value(&typed).map_err(StatusError::internal)?;
        if before != after {
            *object = merge::apply(object, &merge::diff(&before, &after)).map_err(StatusError::internal)?;
        }
        Ok(())
    }

    async fn validate(&self, request: &AdmissionRequest<'_>, object: &Value) -> Result<(), StatusError> {
        let Closure::Check(check) = &self.closure else { return Ok(()) };
        check(&read(object)?, request).map_err(|why| self.refusal(request, why))
    }
}

/// What can be given as an admission rule: an [`Admission`], or a closure over a typed object.
///
/// The type parameter tells the forms apart and is always inferred. A closure's object is any type of `k8s-openapi` or of
/// `kube-derive`; the second parameter, where there is one, says what is asked and by whom.
///
/// ```
/// use k8s_openapi::api::core::v1::{ConfigMap, Secret};
/// use orchestra_apiserver::{AdmissionRequest, ApiServer};
/// use orchestra_store::MemoryStore;
/// use std::sync::Arc;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = ApiServer::builder(Arc::new(MemoryStore::new()))
///     .admission(|map: &mut ConfigMap| {
///         map.metadata.labels.get_or_insert_default().insert("team".into(), "blue".into());
///         Ok(())
///     })
///     .admission(|secret: &Secret| match secret.immutable {
///         Some(true) => Ok(()),
///         _ => Err("secrets are immutable here".into()),
///     })
///     .admission(|map: &mut ConfigMap, request: &AdmissionRequest<'_>| {
///         map.metadata.labels.get_or_insert_default().insert("by".into(), request.user.name.replace(':', "-"));
///         Ok(())
///     })
///     .build()
///     .await?;
/// let maps = kube::Api::<ConfigMap>::default_namespaced(server.client("default"));
/// let mut map = ConfigMap::default();
/// map.metadata.name = Some("a".into());
/// let made = maps.create(&Default::default(), &map).await?;
/// let labels = made.metadata.labels.unwrap_or_default();
/// assert_eq!(labels.get("team").map(String::as_str), Some("blue"));
/// assert_eq!(labels.get("by").map(String::as_str), Some("system-admin"));
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no admission rule",
    note = "rules implement `Admission`, or are closures `Fn(&mut K)`, `Fn(&K)`, `Fn(&mut K, &AdmissionRequest)` or \
            `Fn(&K, &AdmissionRequest)` that return `Result<(), BoxError>`, with the type of `K` written out"
)]
pub trait IntoAdmission<Form> {
    /// The rule.
    fn into_admission(self) -> Arc<dyn Admission>;
}

/// Forms of rules, for [`IntoAdmission`]; nobody needs to name them.
pub mod form {
    use super::PhantomData;

    /// It implements [`Admission`](crate::Admission).
    #[derive(Debug)]
    pub struct Plugin;
    /// It changes objects.
    #[derive(Debug)]
    pub struct Changes<K>(PhantomData<fn(K)>);
    /// It refuses objects.
    #[derive(Debug)]
    pub struct Checks<K>(PhantomData<fn(K)>);
    /// It changes objects and looks at the request.
    #[derive(Debug)]
    pub struct ChangesKnowing<K>(PhantomData<fn(K)>);
    /// It refuses objects and looks at the request.
    #[derive(Debug)]
    pub struct ChecksKnowing<K>(PhantomData<fn(K)>);
}

fn closure_name<K: Resource<DynamicType = ()>>() -> String {
    format!("closure over {}", K::kind(&()))
}

impl<A: Admission> IntoAdmission<form::Plugin> for A {
    fn into_admission(self) -> Arc<dyn Admission> {
        Arc::new(self)
    }
}

impl<K, F> IntoAdmission<form::Changes<K>> for F
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + 'static,
    F: Fn(&mut K) -> Result<(), BoxError> + Send + Sync + 'static,
{
    fn into_admission(self) -> Arc<dyn Admission> {
        Arc::new(TypedAdmission::mutating(closure_name::<K>(), move |object: &mut K, _: &_| self(object)))
    }
}

impl<K, F> IntoAdmission<form::Checks<K>> for F
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + 'static,
    F: Fn(&K) -> Result<(), BoxError> + Send + Sync + 'static,
{
    fn into_admission(self) -> Arc<dyn Admission> {
        Arc::new(TypedAdmission::validating(closure_name::<K>(), move |object: &K, _: &_| self(object)))
    }
}

impl<K, F> IntoAdmission<form::ChangesKnowing<K>> for F
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + 'static,
    F: Fn(&mut K, &AdmissionRequest<'_>) -> Result<(), BoxError> + Send + Sync + 'static,
{
    fn into_admission(self) -> Arc<dyn Admission> {
        Arc::new(TypedAdmission::mutating(closure_name::<K>(), self))
    }
}

impl<K, F> IntoAdmission<form::ChecksKnowing<K>> for F
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + 'static,
    F: Fn(&K, &AdmissionRequest<'_>) -> Result<(), BoxError> + Send + Sync + 'static,
{
    fn into_admission(self) -> Arc<dyn Admission> {
        Arc::new(TypedAdmission::validating(closure_name::<K>(), self))
    }
}
