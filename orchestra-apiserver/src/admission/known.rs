//! What single objects come to, kept as long as they do not change.
//!
//! Most writes of a namespace ask for the same few objects: the namespace itself, the account of its pods. They are looked up in the
//! watch cache, as upstream has it; a write of one of them is answered when the cache has seen it (see [`followed`](super::followed)).
//! What the cache does not have, or not as it would have to be, the store is asked for, so that a server that is an instant behind the
//! others refuses nobody for that.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestra_core::gvk::GroupVersion;
use orchestra_store::Revision;
use serde_json::Value;

use super::Reader;
use crate::cache::feed::Feed;
use crate::catalog::Catalog;
use crate::status::StatusError;
use crate::storage::resource::Resource;

/// So many objects are remembered; then all are forgotten, so that names that come and go fill no memory.
const MOST: usize = 1024;

/// Objects of one built-in resource, each as a `T`.
pub(super) struct Known<T> {
    feed: Arc<Feed>,
    resource: Arc<Resource>,
    make: fn(&Value) -> T,
    made: Mutex<Made<T>>,
}

/// What was made of which revision, by what stands behind the prefix of the resource in a key.
type Made<T> = HashMap<Box<str>, (Revision, Arc<T>)>;

impl<T> fmt::Debug for Known<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Known({})", self.resource.gr)
    }
}

impl<T> Known<T> {
    /// `None` when a registry of one's own does not serve the resource.
    pub(super) fn new(
        feed: &Arc<Feed>,
        catalog: &Catalog,
        (gv, plural): (&GroupVersion, &str),
        make: fn(&Value) -> T,
    ) -> Option<Self> {
        let resource = catalog.find(gv, plural)?;
        Some(Self { feed: feed.clone(), resource, make, made: Mutex::default() })
    }

    /// What the object comes to: as the watch cache has it if that is `enough`, otherwise as it is stored at this moment. `None` when it
    /// is not there. Objects of the whole cluster have an empty namespace.
    pub(super) async fn get(
        &self,
        reader: &Reader,
        (namespace, name): (&str, &str),
        enough: impl Fn(&T) -> bool,
    ) -> Result<Option<Arc<T>>, StatusError> {
        let suffix = match namespace {
            "" => name.into(),
            _ => format!("{namespace}/{name}").into_boxed_str(),
        };
        let collection = self.feed.collection(&self.resource).await?;
        if let Some(object) = collection.get(&suffix).filter(|_| !collection.is_dead()) {
            let encoded = &object.encoded;
            let read = || serde_json::from_slice(&encoded.json()).map_err(StatusError::internal);
            let thing = self.thing(&suffix, encoded.revision(), read)?;
            if enough(&thing) {
                return Ok(Some(thing));
            }
        }
        let Some(entry) = reader.stored(&self.resource, namespace, name).await? else { return Ok(None) };
        self.thing(&suffix, entry.mod_revision, || self.resource.tree(&entry)).map(Some)
    }

    fn thing(
        &self,
        suffix: &str,
        revision: Revision,
        read: impl FnOnce() -> Result<Value, StatusError>,
    ) -> Result<Arc<T>, StatusError> {
        if let Some((at, thing)) = self.made().get(suffix)
            && *at == revision
        {
            return Ok(Arc::clone(thing));
        }
        let thing = Arc::new((self.make)(&read()?));
        self.remember(suffix, revision, &thing);
        Ok(thing)
    }

    fn remember(&self, suffix: &str, revision: Revision, thing: &Arc<T>) {
        let mut made = self.made();
        if made.len() >= MOST && !made.contains_key(suffix) {
            made.clear();
        }
        made.insert(suffix.into(), (revision, Arc::clone(thing)));
    }

    fn made(&self) -> MutexGuard<'_, Made<T>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orchestra_core::kinds::Registry;
    use orchestra_store::{Key, MemoryStore, Store, Txn};

    use super::*;
    use crate::metrics::CacheMetrics;

    const CORE: GroupVersion = GroupVersion::new("", "v1");

    fn number(account: &Value) -> u64 {
        account["metadata"]["annotations"]["n"].as_str().and_then(|n| n.parse().ok()).unwrap_or_default()
    }

    struct Accounts {
        store: MemoryStore,
        reader: Reader,
        known: Known<u64>,
    }

    impl Accounts {
        async fn new() -> Self {
            let store = MemoryStore::new();
            let catalog = Arc::new(Catalog::new(&Registry::builtin()));
            let feed = Feed::start(Arc::new(store.clone()), CacheMetrics::default(), Duration::ZERO);
            let known =
                Known::new(&feed.await.unwrap(), &catalog, (&CORE, "serviceaccounts"), number).unwrap();
            Self { reader: Reader::new(Arc::new(store.clone()), catalog), store, known }
        }

        fn key(&self) -> Key {
            self.known.resource.key(Some("ns"), "a")
        }

        async fn put(&self, n: u64) {
            let head = r#""kind":"ServiceAccount","apiVersion":"v1""#;
            let text = format!(r#"{{{head},"metadata":{{"name":"a","annotations":{{"n":"{n}"}}}}}}"#);
            self.store.commit(Txn::new().put(self.key(), text)).await.unwrap();
        }

        async fn seen(&self) {
            self.known.feed.fresh(&self.known.resource).await.unwrap();
        }

        async fn get(&self, enough: impl Fn(&u64) -> bool) -> Option<Arc<u64>> {
            self.known.get(&self.reader, ("ns", "a"), enough).await.unwrap()
        }
    }

    #[tokio::test]
    async fn what_an_object_comes_to_is_that_of_its_last_write_and_nothing_when_it_is_gone() {
        let accounts = Accounts::new().await;
        assert_eq!(accounts.get(|_| true).await, None);
        for n in [1, 2] {
            accounts.put(n).await;
            accounts.seen().await;
            let (one, other) = (accounts.get(|_| true).await.unwrap(), accounts.get(|_| true).await.unwrap());
            assert_eq!(*one, n);
            assert!(Arc::ptr_eq(&one, &other), "it is taken apart once");
        }
        accounts.store.commit(Txn::new().delete(accounts.key())).await.unwrap();
        accounts.seen().await;
        assert_eq!(accounts.get(|_| true).await, None);
    }

    #[tokio::test]
    async fn what_the_cache_has_not_seen_or_not_as_it_has_to_be_the_store_is_asked_for() {
        let accounts = Accounts::new().await;
        accounts.seen().await;
        // On one thread: nothing is told the cache before somebody waits.
        accounts.put(1).await;
        assert_eq!(accounts.get(|_| true).await.as_deref(), Some(&1));
        accounts.seen().await;
        accounts.put(2).await;
        assert_eq!(accounts.get(|n| *n == 1).await.as_deref(), Some(&1), "it is enough");
        assert_eq!(accounts.get(|n| *n == 2).await.as_deref(), Some(&2));
    }

    #[tokio::test]
    async fn names_that_come_and_go_are_forgotten() {
        let known = Accounts::new().await.known;
        for n in 0..3 * MOST {
            known.remember(&n.to_string(), Revision(1), &Arc::new(1));
        }
        assert!(known.made().len() <= MOST);
    }
}
