//! One watched, indexed copy of all objects of a kind, shared by every controller that needs the kind.
//!
//! Handlers are called at once, on the task that received the event, with the object before and after. They only put
//! keys into queues; nothing slow may happen in them.
//!
//! A controller may hand the server's answer to its own write to [`Informer::observe`]: the copy is then never older
//! than the controller's own last update, which spares conflicts. An object the copy does not hold is not inserted
//! that way, for it may have been deleted meanwhile; creations are tracked by expectations instead.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::Metadata;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use orchestra_core::light::Light;
use serde::de::DeserializeOwned;
use tokio::sync::SetOnce;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::key::Key;
use crate::ownership::controller_of;

/// An object before and after an event; `None` where it did not, or does not, exist.
pub(crate) struct Change<'a, K> {
    pub(crate) old: Option<&'a Arc<K>>,
    pub(crate) new: Option<&'a Arc<K>>,
}

impl<'a, K> Change<'a, K> {
    /// The object as last known.
    pub(crate) fn object(&self) -> Option<&'a Arc<K>> {
        self.new.or(self.old)
    }
}

/// By what objects can be found besides their names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Index {
    /// The uid of the controlling owner.
    Owner(String),
    /// In this namespace, without a controlling owner.
    Orphan(String),
    /// Bound to this node.
    Node(String),
}

/// How a kind is cut down and indexed when it enters the copy.
pub(crate) struct Habits<K> {
    /// Drops what no controller reads, to stay small.
    pub(crate) trim: fn(&mut K),
    /// Further indexes; the owner's is always kept.
    pub(crate) index: fn(&K) -> Option<Index>,
}

impl<K> Default for Habits<K> {
    fn default() -> Self {
        Self { trim: |_| {}, index: |_| None }
    }
}

type Handler<K> = Box<dyn Fn(&Change<'_, K>) + Send + Sync>;

/// One watched, indexed copy of all objects of a kind.
pub(crate) struct Informer<K> {
    objects: RwLock<Objects<K>>,
    handlers: RwLock<Vec<Handler<K>>>,
    habits: Habits<K>,
    config: OnceLock<watcher::Config>,
    wanted: AtomicBool,
    synced: SetOnce<()>,
}

/// Whether an object may come into the copy that was not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Entry {
    Always,
    IfHeld,
}

struct Objects<K> {
    by_name: BTreeMap<Key, Arc<K>>,
    /// The same objects again, so that an owner's many members are at hand without a search for each.
    by_index: HashMap<Index, BTreeMap<Key, Arc<K>>>,
}

impl<K> Informer<K>
where
    K: Metadata<Ty = Meta> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    pub(crate) fn new(habits: Habits<K>) -> Self {
        Self {
            objects: RwLock::new(Objects { by_name: BTreeMap::new(), by_index: HashMap::new() }),
            handlers: RwLock::new(Vec::new()),
            habits,
            config: OnceLock::new(),
            wanted: AtomicBool::new(false),
            synced: SetOnce::new(),
        }
    }

    /// Asks for the copy to be kept. Before the world starts.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// Narrows what is watched. Only for kinds that a single controller reads.
    pub(crate) fn narrow(&self, config: watcher::Config) {
        // A second narrowing would be a mistake in this crate; the first stays.
        let _ = self.config.set(config);
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Calls `handler` at every change, and asks for the copy to be kept.
    pub(crate) fn on_change(&self, handler: impl Fn(&Change<'_, K>) + Send + Sync + 'static) {
        self.want();
        self.handlers.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(handler));
    }

    /// Resolves once the copy holds everything that existed when it started.
    pub(crate) async fn synced(&self) {
        if self.is_wanted() {
            self.synced.wait().await;
        }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.read(|objects| objects.by_name.get(key).cloned())
    }

    pub(crate) fn count(&self) -> usize {
        self.read(|objects| objects.by_name.len())
    }

    pub(crate) fn all(&self) -> Vec<Arc<K>> {
        self.read(|objects| objects.by_name.values().cloned().collect())
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.read(|objects| {
            let from = Key::new(namespace, "");
            objects
                .by_name
                .range(from..)
                .take_while(|(key, _)| key.namespace == namespace)
                .map(|(_, object)| object.clone())
                .collect()
        })
    }

    /// The objects under an index, in the order of their names.
    pub(crate) fn indexed(&self, index: &Index) -> Vec<Arc<K>> {
        self.read(|objects| {
            objects.by_index.get(index).map(|found| found.values().cloned().collect()).unwrap_or_default()
        })
    }

    /// The objects controlled by the owner of this uid, and those of the namespace that nobody controls.
    pub(crate) fn owned_or_orphaned(&self, uid: &str, namespace: &str) -> Vec<Arc<K>> {
        let mut found = self.indexed(&Index::Owner(uid.to_owned()));
        found.extend(self.indexed(&Index::Orphan(namespace.to_owned())));
        found
    }

    fn read<T>(&self, look: impl FnOnce(&Objects<K>) -> T) -> T {
        look(&self.objects.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the server's answer to an own update into the copy, if it holds an older state of the same object.
    pub(crate) fn observe(&self, object: K) {
        self.put(object, Entry::IfHeld);
    }

    fn apply(&self, object: K) {
        self.put(object, Entry::Always);
    }

    fn put(&self, mut object: K, entry: Entry) {
        object.meta_mut().managed_fields = None;
        (self.habits.trim)(&mut object);
        let key = Key::of(object.meta());
        let object = Arc::new(object);
        let old = {
            let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
            let old = objects.by_name.get(&key).cloned();
            if old.as_ref().is_some_and(|old| is_stale(object.meta(), old.meta())) {
                return;
            }
            // Looked at under the same lock that a removal takes, so that nothing comes back that is gone.
            let is_held = old.as_ref().is_some_and(|old| old.meta().uid == object.meta().uid);
            if entry == Entry::IfHeld && !is_held {
                return;
            }
            let indexes = self.indexes(&object);
            if let Some(old) = &old {
                let mut gone = self.indexes(old);
                gone.retain(|index| !indexes.contains(index));
                objects.unindex(&key, &gone);
            }
            for index in indexes {
                let members = objects.by_index.entry(index).or_default();
                match members.get_mut(&key) {
                    Some(member) => *member = object.clone(),
                    None => drop(members.insert(key.clone(), object.clone())),
                }
            }
            objects.by_name.insert(key, object.clone());
            old
        };
        self.tell(&Change { old: old.as_ref(), new: Some(&object) });
    }

    fn remove(&self, key: &Key) {
        let old = {
            let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
            let Some(old) = objects.by_name.remove(key) else { return };
            objects.unindex(key, &self.indexes(&old));
            old
        };
        self.tell(&Change { old: Some(&old), new: None });
    }

    fn indexes(&self, object: &K) -> Vec<Index> {
        let meta = object.meta();
        let owner = match controller_of(meta) {
            Some(owner) => Index::Owner(owner.uid.clone()),
            None => Index::Orphan(meta.namespace.clone().unwrap_or_default()),
        };
        std::iter::once(owner).chain((self.habits.index)(object)).collect()
    }

    fn tell(&self, change: &Change<'_, K>) {
        for handler in self.handlers.read().unwrap_or_else(PoisonError::into_inner).iter() {
            handler(change);
        }
    }

    /// Keeps the copy until cancelled.
    pub(crate) async fn run(&self, client: Client, shutdown: CancellationToken) {
        let config = self.config.get().cloned().unwrap_or_default();
        let mut events = std::pin::pin!(watcher::watcher(Api::<Light<K>>::all(client), config));
        let mut listed: HashSet<Key> = HashSet::new();
        let mut failures = 0_u32;
        loop {
            let event = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                event = events.next() => event,
            };
            match event {
                None => return,
                Some(Ok(event)) => {
                    failures = 0;
                    self.take(event, &mut listed);
                }
                Some(Err(error)) => {
                    failures = failures.saturating_add(1);
                    let delay = pause(failures);
                    if failures > 3 {
                        warn!(kind = %K::kind(&()), %error, "watching fails; trying again");
                    } else {
                        debug!(kind = %K::kind(&()), %error, "watch ended");
                    }
                    tokio::select! {
                        biased;
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(delay) => {}
                    }
                }
            }
        }
    }

    fn take(&self, event: Event<Light<K>>, listed: &mut HashSet<Key>) {
        match event {
            Event::Init => listed.clear(),
            Event::InitApply(Light(object)) => {
                listed.insert(Key::of(object.meta()));
                self.apply(object);
            }
            Event::InitDone => {
                let gone: Vec<Key> = self.read(|objects| {
                    objects.by_name.keys().filter(|key| !listed.contains(key)).cloned().collect()
                });
                gone.iter().for_each(|key| self.remove(key));
                *listed = HashSet::new();
                // Again after each new list; the first time counts.
                let _ = self.synced.set(());
            }
            Event::Apply(Light(object)) => self.apply(object),
            Event::Delete(Light(object)) => self.remove(&Key::of(object.meta())),
        }
    }
}

impl<K> Objects<K> {
    fn unindex(&mut self, key: &Key, indexes: &[Index]) {
        for index in indexes {
            if let Some(keys) = self.by_index.get_mut(index) {
                keys.remove(key);
                if keys.is_empty() {
                    self.by_index.remove(index);
                }
            }
        }
    }
}

type Meta = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

fn version(meta: &Meta) -> Option<u64> {
    meta.resource_version.as_deref()?.parse().ok()
}

/// Whether `new` tells nothing that `held` does not know. Resource versions of one object grow, since 1.35 by promise.
fn is_stale(new: &Meta, held: &Meta) -> bool {
    if new.uid != held.uid {
        return false;
    }
    match (version(new), version(held)) {
        (Some(new), Some(held)) => new <= held,
        _ => new.resource_version == held.resource_version,
    }
}

/// How long to pause after so many failures in a row: from 5 ms, doubling, to 10 s.
pub(crate) fn pause(failures: u32) -> Duration {
    Duration::from_millis(5_u64.saturating_mul(1 << failures.saturating_sub(1).min(11)))
        .min(Duration::from_secs(10))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn map(uid: &str, version: &str) -> ConfigMap {
        let metadata = json!({"name": "m", "namespace": "n", "uid": uid, "resourceVersion": version});
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    #[test]
    fn an_answer_to_an_own_write_brings_nothing_back_that_is_gone() {
        let informer = Informer::<ConfigMap>::new(Habits::default());
        let held = || informer.get(&Key::new("n", "m")).and_then(|map| map.metadata.resource_version.clone());
        informer.apply(map("a", "1"));
        informer.observe(map("a", "3"));
        informer.observe(map("a", "2"));
        assert_eq!(held().as_deref(), Some("3"));
        informer.remove(&Key::new("n", "m"));
        informer.observe(map("a", "4"));
        assert_eq!(held(), None);
        informer.apply(map("b", "5"));
        informer.observe(map("a", "6"));
        assert_eq!(held().as_deref(), Some("5"));
    }
}
