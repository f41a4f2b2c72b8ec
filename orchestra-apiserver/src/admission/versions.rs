//! The versions a resource is served in: rules about one are, for who wants that, about all of them.

use std::borrow::Cow;
use std::sync::Arc;

use orchestra_core::gvk::GroupVersion;
use serde_json::Value;

use super::AdmissionRequest;
use super::matching::Target;
use crate::catalog::Catalog;
use crate::status::StatusError;

/// Knows the versions of every resource, and takes objects from one to another.
#[derive(Clone, Debug)]
pub(crate) struct Versions(Arc<Catalog>);

impl Versions {
    pub(crate) fn new(catalog: &Arc<Catalog>) -> Self {
        Self(catalog.clone())
    }

    pub(crate) fn catalog(&self) -> &Arc<Catalog> {
        &self.0
    }

    /// The other versions of the resource that a request is about.
    pub(crate) fn others(&self, request: &AdmissionRequest<'_>) -> Vec<Target> {
        let gv = &request.request.gv;
        let Some(here) = self.0.find(gv, &request.request.resource) else { return Vec::new() };
        self.0
            .iter()
            .filter(|other| other.prefix() == here.prefix() && other.description().gv != *gv)
            .map(|other| Target {
                gv: other.description().gv.clone(),
                resource: other.description().plural.to_string(),
            })
            .collect()
    }

    /// An object of the request in the version `target`.
    pub(crate) async fn converted<'a>(
        &self,
        request: &AdmissionRequest<'_>,
        target: &Target,
        object: &'a Value,
    ) -> Result<Cow<'a, Value>, StatusError> {
        if target.gv == request.request.gv || request.kind_version != &request.request.gv {
            return Ok(Cow::Borrowed(object));
        }
        self.translated(&target.gv, &target.resource, object.clone()).await.map(Cow::Owned)
    }

    /// The same of an object that may not be there.
    pub(crate) async fn seen<'a>(
        &self,
        request: &AdmissionRequest<'_>,
        target: &Target,
        object: Option<&'a Value>,
    ) -> Result<Option<Cow<'a, Value>>, StatusError> {
        match object {
            Some(object) => self.converted(request, target, object).await.map(Some),
            None => Ok(None),
        }
    }

    /// What somebody made of the object in the version `target`, in the version of the request.
    pub(crate) async fn back(
        &self,
        request: &AdmissionRequest<'_>,
        target: &Target,
        object: Value,
    ) -> Result<Value, StatusError> {
        let own = request.request;
        if target.gv == own.gv || request.kind_version != &own.gv {
            return Ok(object);
        }
        self.translated(&own.gv, &own.resource, object).await
    }

    async fn translated(
        &self,
        gv: &GroupVersion,
        plural: &str,
        mut object: Value,
    ) -> Result<Value, StatusError> {
        match self.0.find(gv, plural) {
            Some(resource) => resource.translate(object).await.map_err(StatusError::internal),
            None => {
                object["apiVersion"] = gv.to_string().into();
                Ok(object)
            }
        }
    }
}
