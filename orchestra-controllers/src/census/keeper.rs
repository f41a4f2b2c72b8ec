//! Who keeps the census: one monitor for each resource, one graph behind a lock, and those who are told of changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Client;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::graph::{Graph, Kind, Node, Uid};
use super::{discover, monitor};
use crate::informer::pause;

type Touch = Box<dyn Fn(Uid) + Send + Sync>;
type Emptied = Box<dyn Fn(&str) + Send + Sync>;
type Counted = Box<dyn Fn(&str, &str) + Send + Sync>;

/// The census and its keepers.
#[derive(Default)]
pub(crate) struct Census {
    graph: RwLock<Graph>,
    kinds: RwLock<Vec<Arc<Kind>>>,
    on_touch: RwLock<Vec<Touch>>,
    on_emptied: RwLock<Vec<Emptied>>,
    on_count: RwLock<Vec<Counted>>,
    wanted: AtomicBool,
    complete: AtomicBool,
    again: Notify,
}

impl Census {
    /// Calls `handler` with every object to look at again, from when the graph is complete. Before the world starts.
    pub(crate) fn on_touch(&self, handler: impl Fn(Uid) + Send + Sync + 'static) {
        self.wanted.store(true, Ordering::Relaxed);
        self.on_touch.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(handler));
    }

    /// Calls `handler` with every namespace that has just lost its last object of some kind. Before the world starts.
    pub(crate) fn on_emptied(&self, handler: impl Fn(&str) + Send + Sync + 'static) {
        self.wanted.store(true, Ordering::Relaxed);
        self.on_emptied.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(handler));
    }

    /// Calls `handler` with a resource and the namespace that has one object of it more or less. Before the world starts.
    pub(crate) fn on_count(&self, handler: impl Fn(&str, &str) + Send + Sync + 'static) {
        self.wanted.store(true, Ordering::Relaxed);
        self.on_count.write().unwrap_or_else(PoisonError::into_inner).push(Box::new(handler));
    }

    /// How many objects of a resource (`plural.group`) a namespace holds, if the resource is followed.
    pub(crate) fn count(&self, resource: &str, namespace: &str) -> Option<usize> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds
            .iter()
            .any(|kind| kind.resource() == resource)
            .then(|| self.read(|graph| graph.count(resource, namespace)))
    }

    /// Whether everything has been seen that was there at the start.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Looks at the graph. The look is short: others wait meanwhile.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Graph) -> T) -> T {
        look(&self.graph.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The kind of this name, in whatever version it is followed.
    pub(crate) fn kind(&self, group: &str, kind: &str) -> Option<Arc<Kind>> {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        kinds.iter().find(|held| held.api.group == group && held.api.kind == kind).cloned()
    }

    /// Asks the server again for what it serves, soon.
    pub(crate) fn discover_again(&self) {
        self.again.notify_one();
    }

    pub(super) fn observe(&self, kind: &Arc<Kind>, meta: &ObjectMeta) {
        let Some(uid) = meta.uid.as_deref() else { return };
        let node = Node::of(kind, meta);
        let namespace = node.namespace.clone();
        let (is_new, touched) = {
            let mut graph = self.graph.write().unwrap_or_else(PoisonError::into_inner);
            (graph.node(uid).is_none(), graph.observe(uid.into(), node))
        };
        self.tell(touched);
        if is_new {
            self.tell_count(kind, &namespace);
        }
        if kind.api.kind == "CustomResourceDefinition" {
            self.discover_again();
        }
    }

    pub(super) fn remove(&self, uid: &str) {
        let (place, removal) = {
            let mut graph = self.graph.write().unwrap_or_else(PoisonError::into_inner);
            (graph.node(uid).map(|node| (node.kind.clone(), node.namespace.clone())), graph.remove(uid))
        };
        self.tell(removal.touched);
        if let Some((kind, namespace)) = place {
            self.tell_count(&kind, &namespace);
        }
        if let Some((_, namespace)) = removal.emptied {
            for handler in self.on_emptied.read().unwrap_or_else(PoisonError::into_inner).iter() {
                handler(&namespace);
            }
        }
    }

    fn tell_count(&self, kind: &Kind, namespace: &str) {
        let handlers = self.on_count.read().unwrap_or_else(PoisonError::into_inner);
        if !handlers.is_empty() {
            let resource = kind.resource();
            handlers.iter().for_each(|handler| handler(&resource, namespace));
        }
    }

    fn tell(&self, touched: Vec<Uid>) {
        // An owner that has not been seen yet would be looked for in vain until the graph is complete.
        if !self.complete.load(Ordering::Acquire) {
            return;
        }
        let handlers = self.on_touch.read().unwrap_or_else(PoisonError::into_inner);
        for uid in touched {
            handlers.iter().for_each(|handler| handler(uid.clone()));
        }
    }

    /// Keeps the census until cancelled.
    pub(crate) async fn run(self: Arc<Self>, client: Client, shutdown: CancellationToken) {
        let mut monitors = JoinSet::new();
        let mut failures = 0_u32;
        loop {
            let found = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                found = discover(&client) => found,
            };
            match found {
                Ok(found) => {
                    failures = 0;
                    let mut started = Vec::new();
                    for found in found.into_iter().filter(super::Found::is_collectable) {
                        if !self.enlist(&found.kind) {
                            continue;
                        }
                        let (census, client) = (self.clone(), client.clone());
                        let (ready, is_ready) = tokio::sync::oneshot::channel();
                        monitors.spawn(monitor::run(census, found.kind, client, ready, shutdown.clone()));
                        started.push(is_ready);
                    }
                    tokio::select! {
                        biased;
                        () = shutdown.cancelled() => break,
                        _ = futures::future::join_all(started) => self.complete(),
                    }
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures > 3 {
                        warn!(%error, "cannot find out what the server serves; trying again");
                    } else {
                        debug!(%error, "cannot find out what the server serves; trying again");
                    }
                    tokio::select! {
                        biased;
                        () = shutdown.cancelled() => break,
                        () = tokio::time::sleep(pause(failures)) => continue,
                    }
                }
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = self.again.notified() => {}
            }
        }
        while monitors.join_next().await.is_some() {}
    }

    /// Whether the kind was not followed so far.
    fn enlist(&self, kind: &Arc<Kind>) -> bool {
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        let known =
            kinds.iter().any(|held| held.api.group == kind.api.group && held.api.plural == kind.api.plural);
        if !known {
            kinds.push(kind.clone());
        }
        !known
    }

    pub(super) fn dismiss(&self, kind: &Arc<Kind>) {
        self.kinds.write().unwrap_or_else(PoisonError::into_inner).retain(|held| held != kind);
    }

    fn complete(&self) {
        if !self.complete.swap(true, Ordering::AcqRel) {
            let involved = self.read(|graph| graph.involved().cloned().collect());
            self.tell(involved);
        }
    }
}
