//! How admission looks at the rest of the cluster.

use std::sync::Arc;

use jiff::Timestamp;
use orchestra_core::custom::CustomKind;
use orchestra_core::gvk::GroupVersion;
use orchestra_store::{Entry, RangeOptions, ReadAt, Store};
use serde::Deserialize;
use serde_json::Value;

use crate::catalog::Catalog;
use crate::status::StatusError;
use crate::storage::resource::Resource;

/// Which of all objects that had a name this is, and whether it is going.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Identity {
    pub(crate) uid: String,
    #[serde(rename = "deletionTimestamp")]
    pub(crate) deleted: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Identified {
    metadata: Identity,
}

/// Reads objects, as they are stored at this moment.
#[derive(Clone, Debug)]
pub struct Reader {
    store: Arc<dyn Store>,
    catalog: Arc<Catalog>,
}

impl Reader {
    pub(crate) fn new(store: Arc<dyn Store>, catalog: Arc<Catalog>) -> Self {
        Self { store, catalog }
    }

    fn resource(&self, gv: &GroupVersion, plural: &str) -> Result<Arc<Resource>, StatusError> {
        self.catalog
            .find(gv, plural)
            .ok_or_else(|| StatusError::internal(format!("{gv} {plural} is not served")))
    }

    /// The kind of a custom resource, if it is one.
    pub(super) fn custom(&self, gv: &GroupVersion, plural: &str) -> Option<Arc<CustomKind>> {
        self.catalog.find(gv, plural)?.custom().cloned()
    }

    /// One object, or `None`; the namespace is ignored for kinds of the whole cluster.
    pub async fn get(
        &self,
        gv: &GroupVersion,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, StatusError> {
        match self.entry(gv, plural, namespace, name).await? {
            Some((resource, entry)) => resource.tree(&resource.convert_one(entry).await?).map(Some),
            None => Ok(None),
        }
    }

    /// One object as it lies in the store, and its resource.
    pub(super) async fn entry(
        &self,
        gv: &GroupVersion,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<(Arc<Resource>, Entry)>, StatusError> {
        let resource = self.resource(gv, plural)?;
        let entry = self.stored(&resource, namespace, name).await?;
        Ok(entry.map(|entry| (resource, entry)))
    }

    pub(super) async fn stored(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Entry>, StatusError> {
        Ok(self.store.get(&resource.key(Some(namespace), name), ReadAt::Latest).await?.value)
    }

    /// What tells one object from others, read without the rest of it.
    pub(crate) async fn identity(
        &self,
        gv: &GroupVersion,
        plural: &str,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Identity>, StatusError> {
        let entry = self.entry(gv, plural, namespace, name).await?;
        let read = |(_, entry): (Arc<Resource>, Entry)| serde_json::from_slice::<Identified>(&entry.value);
        let identified = entry.map(read).transpose().map_err(StatusError::internal)?;
        Ok(identified.map(|object| object.metadata))
    }

    /// All objects of a namespace, or of the whole cluster.
    pub async fn list(
        &self,
        gv: &GroupVersion,
        plural: &str,
        namespace: Option<&str>,
    ) -> Result<Vec<Value>, StatusError> {
        let resource = self.resource(gv, plural)?;
        let page = self.store.range(resource.range(namespace), RangeOptions::new()).await?.value;
        resource.convert(page.entries).await?.iter().map(|entry| resource.tree(entry)).collect()
    }
}
