//! Turns watches into facts, keeping of each object only what scheduling needs.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{BoxStream, SelectAll};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use crate::dispatcher::Dispatcher;
use crate::queue::Moment;
use crate::view::{
    ClaimKey, ClaimView, ClassView, NodeFacts, NodeName, PodKey, PodView, ViewError, VolumeView,
};

/// Pods that have ended occupy nothing; they need not even be sent.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// What one watch says.
#[derive(Debug)]
pub(super) enum Change<K, V> {
    Applied(K, V),
    Deleted(K),
    /// A new list begins; what is not in it is gone.
    Listing,
    Listed,
    /// The kind is not served here.
    Absent,
}

/// What the watches say.
#[derive(Debug)]
pub(super) enum Fact {
    Pod(Change<PodKey, Box<PodView>>),
    Node(Change<NodeName, Box<NodeFacts>>),
    Claim(Change<ClaimKey, ClaimView>),
    Volume(Change<Arc<str>, VolumeView>),
    Class(Change<Arc<str>, ClassView>),
}

/// All watches, and what has been seen through each.
pub(super) struct Feeds {
    pub(super) facts: SelectAll<BoxStream<'static, Fact>>,
    pods: Seen<PodKey>,
    nodes: Seen<NodeName>,
    claims: Seen<ClaimKey>,
    volumes: Seen<Arc<str>>,
    classes: Seen<Arc<str>>,
}

impl Feeds {
    pub(super) fn open(client: &Client) -> Self {
        let pods = watcher::Config::default().fields(UNFINISHED);
        let all = watcher::Config::default;
        let facts = [
            watch(
                client,
                pods,
                |pod: Pod| PodView::from_api(&pod).map(|view| (view.key.clone(), Box::new(view))),
                pod_key,
            )
            .map(Fact::Pod)
            .boxed(),
            watch(
                client,
                all(),
                |node: Node| NodeFacts::from_api(&node).map(|facts| (facts.name.clone(), Box::new(facts))),
                |node| NodeName::from(name(node)),
            )
            .map(Fact::Node)
            .boxed(),
            watch(
                client,
                all(),
                |claim: PersistentVolumeClaim| {
                    ClaimView::from_api(&claim).map(|view| (view.key.clone(), view))
                },
                claim_key,
            )
            .map(Fact::Claim)
            .boxed(),
            watch(
                client,
                all(),
                |volume: PersistentVolume| {
                    let view = VolumeView::from_api(&volume);
                    Ok((view.name.clone(), view))
                },
                |volume| name(volume).into(),
            )
            .map(Fact::Volume)
            .boxed(),
            watch(
                client,
                all(),
                |class: StorageClass| {
                    let view = ClassView::from_api(&class);
                    Ok((view.name.clone(), view))
                },
                |class| name(class).into(),
            )
            .map(Fact::Class)
            .boxed(),
        ];
        Self {
            facts: facts.into_iter().collect(),
            pods: Seen::default(),
            nodes: Seen::default(),
            claims: Seen::default(),
            volumes: Seen::default(),
            classes: Seen::default(),
        }
    }

    /// Whether everything that existed at the start is known.
    pub(super) fn listed(&self) -> bool {
        self.pods.complete
            && self.nodes.complete
            && self.claims.complete
            && self.volumes.complete
            && self.classes.complete
    }
}

impl Fact {
    /// Tells the dispatcher.
    pub(super) fn tell(self, dispatcher: &mut Dispatcher, feeds: &mut Feeds, now: Moment) {
        match self {
            Self::Pod(change) => feeds.pods.tell(change, |news| match news {
                Ok(pod) => dispatcher.pod_applied(*pod, now),
                Err(key) => dispatcher.pod_deleted(&key, now),
            }),
            Self::Node(change) => feeds.nodes.tell(change, |news| match news {
                Ok(node) => dispatcher.node_applied(*node, now),
                Err(name) => dispatcher.node_deleted(&name),
            }),
            Self::Claim(change) => feeds.claims.tell(change, |news| match news {
                Ok(claim) => dispatcher.claim_applied(claim, now),
                Err(key) => dispatcher.claim_deleted(&key),
            }),
            Self::Volume(change) => feeds.volumes.tell(change, |news| match news {
                Ok(volume) => dispatcher.volume_applied(volume, now),
                Err(name) => dispatcher.volume_deleted(&name),
            }),
            Self::Class(change) => feeds.classes.tell(change, |news| match news {
                Ok(class) => dispatcher.class_applied(class, now),
                Err(name) => dispatcher.class_deleted(&name),
            }),
        }
    }
}

/// The keys seen through one watch, so that a new list tells what is gone.
#[derive(Debug)]
struct Seen<K> {
    keys: HashSet<K>,
    listing: HashSet<K>,
    complete: bool,
}

impl<K> Default for Seen<K> {
    fn default() -> Self {
        Self { keys: HashSet::new(), listing: HashSet::new(), complete: false }
    }
}

impl<K: Clone + Eq + Hash + Ord> Seen<K> {
    /// Passes on what a change means: `Ok` what is there, `Err` the key of what is gone.
    fn tell<V>(&mut self, change: Change<K, V>, mut news: impl FnMut(Result<V, K>)) {
        match change {
            Change::Applied(key, view) => {
                // Until the new list is complete both sets are current.
                self.listing.insert(key.clone());
                self.keys.insert(key);
                news(Ok(view));
            }
            Change::Deleted(key) => {
                self.keys.remove(&key);
                news(Err(key));
            }
            Change::Listing => self.listing.clear(),
            Change::Listed => {
                self.complete = true;
                let listed = std::mem::take(&mut self.listing);
                let mut gone: Vec<K> = self.keys.difference(&listed).cloned().collect();
                gone.sort_unstable();
                self.keys = listed;
                gone.into_iter().for_each(|key| news(Err(key)));
            }
            Change::Absent => self.complete = true,
        }
    }
}

fn watch<T, K, V>(
    client: &Client,
    config: watcher::Config,
    read: impl Fn(T) -> Result<(K, V), ViewError> + Send + 'static,
    key: impl Fn(&T) -> K + Send + 'static,
) -> impl futures::Stream<Item = Change<K, V>> + Send + 'static
where
    T: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
    K: Send + 'static,
    V: Send + 'static,
{
    let events = watcher(Api::<T>::all(client.clone()), config).default_backoff();
    events.filter_map(move |event| {
        let change = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                let at = key(&object);
                match read(object) {
                    Ok((key, view)) => Some(Change::Applied(key, view)),
                    Err(error) => {
                        tracing::warn!(kind = %T::kind(&()), %error, "an object cannot be scheduled with");
                        Some(Change::Deleted(at))
                    }
                }
            }
            Ok(Event::Delete(object)) => Some(Change::Deleted(key(&object))),
            Ok(Event::Init) => Some(Change::Listing),
            Ok(Event::InitDone) => Some(Change::Listed),
            Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code == 404 => {
                tracing::debug!(kind = %T::kind(&()), "not served here");
                Some(Change::Absent)
            }
            Err(error) => {
                tracing::warn!(kind = %T::kind(&()), %error, "watching again");
                None
            }
        };
        futures::future::ready(change)
    })
}

fn name<T: Resource>(object: &T) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

fn namespace<T: Resource>(object: &T) -> &str {
    object.meta().namespace.as_deref().unwrap_or_default()
}

fn pod_key(pod: &Pod) -> PodKey {
    PodKey::new(namespace(pod), name(pod))
}

fn claim_key(claim: &PersistentVolumeClaim) -> ClaimKey {
    ClaimKey { namespace: namespace(claim).into(), name: name(claim).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(seen: &mut Seen<u8>, changes: Vec<Change<u8, &'static str>>) -> Vec<Result<&'static str, u8>> {
        let mut told = Vec::new();
        changes.into_iter().for_each(|change| seen.tell(change, |news| told.push(news)));
        told
    }

    #[test]
    fn a_new_list_tells_what_is_gone() {
        let mut seen = Seen::default();
        let first = vec![Change::Listing, Change::Applied(1, "a"), Change::Applied(2, "b"), Change::Listed];
        assert_eq!(told(&mut seen, first), [Ok("a"), Ok("b")]);
        assert!(seen.complete);
        assert_eq!(told(&mut seen, vec![Change::Applied(3, "c"), Change::Deleted(2)]), [Ok("c"), Err(2)]);
        let again = vec![Change::Listing, Change::Applied(3, "c"), Change::Listed];
        assert_eq!(told(&mut seen, again), [Ok("c"), Err(1)]);
    }

    #[test]
    fn a_kind_that_is_not_served_is_complete_without_anything() {
        let mut seen = Seen::default();
        assert!(told(&mut seen, vec![Change::Absent]).is_empty() && seen.complete);
    }
}
