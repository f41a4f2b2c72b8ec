//! A closure over a typed object as an admission rule.

use std::fmt;
use std::marker::PhantomData;

use async_trait::async_trait;
use k8s_openapi::Resource;
use orchestra_core::patch::merge;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Admission, AdmissionRequest};
use crate::status::StatusError;

/// Calls a closure on every object of one kind that is created or updated.
///
/// What the closure changed is carried over to the object as a merge patch, so fields that the type does not know
/// survive. An error is the reason of a 403.
pub struct TypedAdmission<K, F> {
    change: F,
    kind: PhantomData<fn(K)>,
}

impl<K, F> TypedAdmission<K, F>
where
    K: Resource,
    F: Fn(&mut K) -> Result<(), String>,
{
    /// A rule about objects of kind `K`.
    pub fn new(change: F) -> Self {
        Self { change, kind: PhantomData }
    }
}

impl<K: Resource, F> fmt::Debug for TypedAdmission<K, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypedAdmission<{}>", K::KIND)
    }
}

#[async_trait]
impl<K, F> Admission for TypedAdmission<K, F>
where
    K: Resource + Serialize + DeserializeOwned + 'static,
    F: Fn(&mut K) -> Result<(), String> + Send + Sync + 'static,
{
    async fn mutate(&self, request: &AdmissionRequest<'_>, object: &mut Value) -> Result<(), StatusError> {
        let about_k = request.kind == K::KIND
            && request.request.gv.to_string() == K::API_VERSION
            && request.request.subresource.is_none();
        if !about_k {
            return Ok(());
        }
        let mut typed: K = serde_json::from_value(object.clone())
            .map_err(|error| StatusError::bad_request(error.to_string()))?;
        let before = serde_json::to_value(&typed).map_err(StatusError::internal)?;
        (self.change)(&mut typed).map_err(|why| request.refuse(why))?;
        let after = serde_json::to_value(&typed).map_err(StatusError::internal)?;
        if before != after {
            *object = merge::apply(object, &merge::diff(&before, &after)).map_err(StatusError::internal)?;
        }
        Ok(())
    }

    async fn validate(&self, _request: &AdmissionRequest<'_>, _object: &Value) -> Result<(), StatusError> {
        Ok(())
    }
}
