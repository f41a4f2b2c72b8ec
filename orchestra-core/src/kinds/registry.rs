//! The set of kinds a server knows: a value the caller holds, not a global.

use std::collections::HashMap;
use std::sync::Arc;

use super::builtin_kinds;
use crate::gvk::GroupVersion;
use crate::kind::Kind;

/// Kinds, found by their name or by their resource's.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    kinds: Vec<Arc<dyn Kind>>,
    by_kind: HashMap<(GroupVersion, String), usize>,
    by_resource: HashMap<(GroupVersion, String), usize>,
}

impl Registry {
    /// A registry without kinds.
    pub fn new() -> Self {
        Self::default()
    }

    /// The kinds of Kubernetes that are compiled in.
    pub fn builtin() -> Self {
        let mut registry = Self::new();
        for kind in builtin_kinds() {
            registry.insert(Arc::new(kind));
        }
        registry
    }

    /// Adds a kind; one of the same group, version and plural is replaced and returned.
    pub fn insert(&mut self, kind: Arc<dyn Kind>) -> Option<Arc<dyn Kind>> {
        let description = kind.description();
        let by_kind = (description.gv.clone(), description.kind.clone().into_owned());
        let by_resource = (description.gv.clone(), description.plural.clone().into_owned());
        if let Some(&index) = self.by_resource.get(&by_resource) {
            self.by_kind.retain(|_, held| *held != index);
            self.by_kind.insert(by_kind, index);
            return self.kinds.get_mut(index).map(|slot| std::mem::replace(slot, kind));
        }
        let index = self.kinds.len();
        self.by_kind.insert(by_kind, index);
        self.by_resource.insert(by_resource, index);
        self.kinds.push(kind);
        None
    }

    /// The kind of this name, such as `Deployment` in `apps/v1`.
    pub fn get(&self, gv: &GroupVersion, kind: &str) -> Option<&Arc<dyn Kind>> {
        self.by_kind.get(&(gv.clone(), kind.to_owned())).and_then(|&index| self.kinds.get(index))
    }

    /// The kind of this resource, such as `deployments` in `apps/v1`.
    pub fn by_resource(&self, gv: &GroupVersion, plural: &str) -> Option<&Arc<dyn Kind>> {
        self.by_resource.get(&(gv.clone(), plural.to_owned())).and_then(|&index| self.kinds.get(index))
    }

    /// All kinds in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Kind>> {
        self.kinds.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name_and_by_its_resource() {
        let registry = Registry::builtin();
        assert_eq!(registry.iter().count(), builtin_kinds().len());
        for kind in registry.iter() {
            let description = kind.description();
            let by_kind = registry.get(&description.gv, &description.kind).unwrap();
            let by_resource = registry.by_resource(&description.gv, &description.plural).unwrap();
            assert!(Arc::ptr_eq(by_kind, by_resource), "{description:?}");
        }
    }

    #[test]
    fn every_row_has_a_cell_for_each_column() {
        for kind in Registry::builtin().iter() {
            let row = kind.row(&serde_json::json!({}), 0);
            assert_eq!(row.len(), kind.columns().len(), "{kind:?}");
        }
    }
}
