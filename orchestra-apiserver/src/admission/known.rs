//! What single objects come to, looked up in the store each time and taken apart when they have changed.
//!
//! Most writes of a namespace ask for the same few objects: the namespace itself, the account of its pods. The store is
//! asked anew for each write, so nothing is decided by what was; but as long as an object has the same revision, what was made of
//! it stays.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestra_core::gvk::GroupVersion;
use orchestra_store::{Key, Revision};
use serde_json::Value;

use super::Reader;
use crate::status::StatusError;

/// So many objects are remembered; then all are forgotten, so that names that come and go fill no memory.
const MOST: usize = 1024;

/// Objects of one resource, each as a `T`.
pub(super) struct Known<T> {
    gv: GroupVersion,
    plural: &'static str,
    make: fn(&Value) -> T,
    made: Mutex<HashMap<Key, (Revision, Arc<T>)>>,
}

impl<T> fmt::Debug for Known<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Known({} {})", self.gv, self.plural)
    }
}

impl<T> Known<T> {
    pub(super) fn new(gv: GroupVersion, plural: &'static str, make: fn(&Value) -> T) -> Self {
        Self { gv, plural, make, made: Mutex::default() }
    }

    /// What the object comes to as it is stored at this moment; `None` when it is not there.
    pub(super) async fn get(
        &self,
        reader: &Reader,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<T>>, StatusError> {
        let Some((resource, entry)) = reader.entry(&self.gv, self.plural, namespace, name).await? else {
            return Ok(None);
        };
        if let Some((at, thing)) = self.made().get(&entry.key)
            && *at == entry.mod_revision
        {
            return Ok(Some(Arc::clone(thing)));
        }
        let (key, revision) = (entry.key.clone(), entry.mod_revision);
        let object = resource.tree(&resource.convert_one(entry).await?)?;
        let thing = Arc::new((self.make)(&object));
        self.remember(key, revision, &thing);
        Ok(Some(thing))
    }

    fn remember(&self, key: Key, revision: Revision, thing: &Arc<T>) {
        let mut made = self.made();
        if made.len() >= MOST && !made.contains_key(&key) {
            made.clear();
        }
        made.insert(key, (revision, Arc::clone(thing)));
    }

    fn made(&self) -> MutexGuard<'_, HashMap<Key, (Revision, Arc<T>)>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use orchestra_core::kinds::Registry;
    use orchestra_store::{MemoryStore, Store, Txn};

    use super::*;
    use crate::catalog::Catalog;

    const CORE: GroupVersion = GroupVersion::new("", "v1");

    fn number(account: &Value) -> u64 {
        account["metadata"]["annotations"]["n"].as_str().and_then(|n| n.parse().ok()).unwrap_or_default()
    }

    #[tokio::test]
    async fn what_an_object_comes_to_is_that_of_its_last_write_and_nothing_when_it_is_gone() {
        let store = MemoryStore::new();
        let catalog = Arc::new(Catalog::new(&Registry::builtin()));
        let reader = Reader::new(Arc::new(store.clone()), catalog.clone());
        let known = Known::new(CORE, "serviceaccounts", number);
        let key = catalog.find(&CORE, "serviceaccounts").unwrap().key(Some("ns"), "a");
        assert_eq!(known.get(&reader, "ns", "a").await.unwrap(), None);
        for n in [1, 2] {
            let text = format!(r#"{{"metadata":{{"name":"a","annotations":{{"n":"{n}"}}}}}}"#);
            store.commit(Txn::new().put(key.clone(), text)).await.unwrap();
            let (one, other) = (known.get(&reader, "ns", "a").await, known.get(&reader, "ns", "a").await);
            let (one, other) = (one.unwrap().unwrap(), other.unwrap().unwrap());
            assert_eq!(*one, n);
            assert!(Arc::ptr_eq(&one, &other), "it is taken apart once");
        }
        store.commit(Txn::new().delete(key)).await.unwrap();
        assert_eq!(known.get(&reader, "ns", "a").await.unwrap(), None);
    }

    #[test]
    fn names_that_come_and_go_are_forgotten() {
        let known = Known::new(CORE, "serviceaccounts", number);
        for n in 0..3 * MOST {
            known.remember(Key::from(n.to_string()), Revision(1), &Arc::new(1));
        }
        assert!(known.made().len() <= MOST);
    }
}
