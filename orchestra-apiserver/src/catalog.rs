//! Which resources this server serves, found by path.
//!
//! Built-in resources stay as they are; those of custom kinds are replaced as a whole whenever a definition changes, and
//! what is derived from the catalog (discovery, OpenAPI) is made anew for each generation.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use orchestra_core::gvk::GroupVersion;
use orchestra_core::kinds::Registry;

use crate::storage::resource::Resource;

type ByPath = HashMap<(GroupVersion, String), Arc<Resource>>;

/// The served resources.
#[derive(Debug)]
pub(crate) struct Catalog {
    builtin: Served,
    custom: RwLock<Arc<Custom>>,
}

#[derive(Debug, Default)]
struct Served {
    by_path: ByPath,
    ordered: Vec<Arc<Resource>>,
}

#[derive(Debug, Default)]
struct Custom {
    served: Served,
    generation: u64,
}

impl Served {
    fn new(ordered: Vec<Arc<Resource>>) -> Self {
        let path = |r: &Arc<Resource>| (r.description().gv.clone(), r.description().plural.to_string());
        Self { by_path: ordered.iter().map(|r| (path(r), r.clone())).collect(), ordered }
    }
}

impl Catalog {
    pub(crate) fn new(registry: &Registry) -> Self {
        let builtin = registry.iter().map(|kind| Arc::new(Resource::new(kind.clone()))).collect();
        Self { builtin: Served::new(builtin), custom: RwLock::default() }
    }

    fn current(&self) -> Arc<Custom> {
        self.custom.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The custom resources served now.
    pub(crate) fn custom(&self) -> Vec<Arc<Resource>> {
        self.current().served.ordered.clone()
    }

    pub(crate) fn find(&self, gv: &GroupVersion, plural: &str) -> Option<Arc<Resource>> {
        let path = (gv.clone(), plural.to_owned());
        let builtin = self.builtin.by_path.get(&path);
        builtin.cloned().or_else(|| self.current().served.by_path.get(&path).cloned())
    }

    /// All resources, the built-in ones first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = Arc<Resource>> + use<> {
        let mut all = self.builtin.ordered.clone();
        all.extend(self.custom());
        all.into_iter()
    }

    /// The built-in resources of a group.
    pub(crate) fn builtin_of(&self, group: &str) -> impl Iterator<Item = &Arc<Resource>> {
        self.builtin.ordered.iter().filter(move |resource| resource.gr.group == group)
    }

    /// Serves these custom resources, and no others, from now on.
    pub(crate) fn serve(&self, custom: Vec<Arc<Resource>>) {
        let mut slot = self.custom.write().unwrap_or_else(PoisonError::into_inner);
        *slot = Arc::new(Custom { served: Served::new(custom), generation: slot.generation + 1 });
    }

    /// What is made of the catalog is to be made anew: other servers have changed what they serve.
    pub(crate) fn touch(&self) {
        let mut slot = self.custom.write().unwrap_or_else(PoisonError::into_inner);
        let served = Served::new(slot.served.ordered.clone());
        *slot = Arc::new(Custom { served, generation: slot.generation + 1 });
    }

    fn generation(&self) -> u64 {
        self.current().generation
    }
}

/// Something made of a catalog, kept until the catalog changes.
#[derive(Debug)]
pub(crate) struct Derived<T> {
    made: Mutex<Option<(u64, Arc<T>)>>,
}

impl<T> Default for Derived<T> {
    fn default() -> Self {
        Self { made: Mutex::new(None) }
    }
}

impl<T> Derived<T> {
    pub(crate) fn get(&self, catalog: &Catalog, make: impl FnOnce(&Catalog) -> T) -> Arc<T> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        // Read before the thing is made: what changes meanwhile is seen the next time.
        let generation = catalog.generation();
        if let Some((at, thing)) = &*made
            && *at == generation
        {
            return thing.clone();
        }
        let thing = Arc::new(make(catalog));
        *made = Some((generation, thing.clone()));
        thing
    }
}
