//! Which resources this server serves, found by path.

use std::collections::HashMap;
use std::sync::Arc;

use orchestra_core::gvk::GroupVersion;
use orchestra_core::kinds::Registry;

use crate::storage::resource::Resource;

/// The served resources.
#[derive(Debug)]
pub(crate) struct Catalog {
    by_path: HashMap<(GroupVersion, String), Arc<Resource>>,
    ordered: Vec<Arc<Resource>>,
}

impl Catalog {
    pub(crate) fn new(registry: &Registry) -> Self {
        let ordered: Vec<_> = registry.iter().map(|kind| Arc::new(Resource::new(kind.clone()))).collect();
        let by_path = ordered
            .iter()
            .map(|r| ((r.description().gv.clone(), r.description().plural.to_string()), r.clone()))
            .collect();
        Self { by_path, ordered }
    }

    pub(crate) fn find(&self, gv: &GroupVersion, plural: &str) -> Option<&Arc<Resource>> {
        self.by_path.get(&(gv.clone(), plural.to_owned()))
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Arc<Resource>> {
        self.ordered.iter()
    }
}
