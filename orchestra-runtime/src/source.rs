//! ConfigMaps and Secrets that pods of this node refer to, each watched once however many pods share it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::watch;

use crate::pauses::Pauses;

/// What a reference points at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    ConfigMap,
    Secret,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }
}

/// A ConfigMap or Secret of a pod's namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Reference {
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

impl Reference {
    pub(crate) fn new(kind: Kind, name: &str) -> Self {
        Self { kind, name: name.to_owned() }
    }

    /// As upstream says that it is not there.
    pub(crate) fn not_found(&self) -> String {
        format!("{} {:?} not found", self.kind.name().to_lowercase(), self.name)
    }
}

/// The keys of a ConfigMap or Secret.
pub(crate) type Content = Arc<BTreeMap<String, Vec<u8>>>;
/// What is there, by reference.
pub(crate) type Objects = HashMap<Reference, Content>;

/// `None` until it was looked up.
type Slot = Option<Option<Content>>;

/// By namespace and reference.
type WatchTable = HashMap<(String, Reference), Weak<Watched>>;

/// Watches objects for the pods of a node.
#[derive(Clone)]
pub(crate) struct Sources {
    client: Client,
    watched: Arc<Mutex<WatchTable>>,
}

impl Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").finish_non_exhaustive()
    }
}

/// One object, watched as long as somebody holds this.
#[derive(Debug)]
pub(crate) struct Watched {
    reference: Reference,
    value: watch::Receiver<Slot>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sources {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, watched: Arc::default() }
    }

    /// Holds what `references` name in `namespace`.
    pub(crate) fn hold(&self, namespace: &str, references: &BTreeSet<Reference>) -> Held {
        let mut table = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|_, watched| watched.strong_count() > 0);
        let held = references.iter().map(|reference| {
            let key = (namespace.to_owned(), reference.clone());
            if let Some(watched) = table.get(&key).and_then(Weak::upgrade) {
                return watched;
            }
            let watched = Arc::new(self.watch(namespace, reference));
            table.insert(key, Arc::downgrade(&watched));
            watched
        });
        Held { objects: held.collect() }
    }

    fn watch(&self, namespace: &str, reference: &Reference) -> Watched {
        let (sender, value) = watch::channel(None);
        let client = self.client.clone();
        let fields = format!("metadata.name={}", reference.name);
        let task = match reference.kind {
            Kind::ConfigMap => {
                tokio::spawn(follow::<ConfigMap>(Api::namespaced(client, namespace), fields, sender, |map| {
                    let text = map.data.into_iter().flatten().map(|(k, v)| (k, v.into_bytes()));
                    text.chain(map.binary_data.into_iter().flatten().map(|(k, v)| (k, v.0))).collect()
                }))
            }
            Kind::Secret => {
                tokio::spawn(follow::<Secret>(Api::namespaced(client, namespace), fields, sender, |secret| {
                    secret.data.into_iter().flatten().map(|(k, v)| (k, v.0)).collect()
                }))
            }
        };
        Watched { reference: reference.clone(), value, task }
    }
}

async fn follow<K>(
    api: Api<K>,
    fields: String,
    sender: watch::Sender<Slot>,
    content: fn(K) -> BTreeMap<String, Vec<u8>>,
) where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + Send + serde::de::DeserializeOwned + 'static,
{
    let mut events =
        watcher(api, watcher::Config::default().fields(&fields)).backoff(Pauses::of(&fields)).boxed();
    let mut listed = None;
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed = None,
            Ok(Event::InitApply(object)) => listed = Some(Arc::new(content(object))),
            Ok(Event::InitDone) => put(&sender, listed.take()),
            Ok(Event::Apply(object)) => put(&sender, Some(Arc::new(content(object)))),
            Ok(Event::Delete(_)) => put(&sender, None),
            // The watcher tries again, with backoff.
            Err(error) => tracing::debug!(%fields, %error, "watching failed"),
        }
    }
}

fn put(sender: &watch::Sender<Slot>, value: Option<Content>) {
    sender.send_if_modified(|slot| {
        let changed = slot.as_ref() != Some(&value);
        *slot = Some(value);
        changed
    });
}

/// The objects a pod refers to.
#[derive(Debug, Default)]
pub(crate) struct Held {
    objects: Vec<Arc<Watched>>,
}

impl Held {
    /// Those that exist, as they are now.
    pub(crate) async fn objects(&self) -> Objects {
        let mut found = Objects::new();
        for watched in &self.objects {
            let mut value = watched.value.clone();
            if let Ok(slot) = value.wait_for(Option::is_some).await
                && let Some(Some(content)) = &*slot
            {
                found.insert(watched.reference.clone(), content.clone());
            }
        }
        found
    }

    /// Streams that yield whenever one of them changes.
    pub(crate) fn changes(&self) -> futures::stream::BoxStream<'static, ()> {
        let streams = self.objects.iter().map(|watched| {
            let mut value = watched.value.clone();
            value.mark_unchanged();
            futures::stream::unfold(value, |mut value| async move {
                value.changed().await.ok().map(|()| ((), value))
            })
            .boxed()
        });
        futures::stream::select_all(streams).boxed()
    }
}
