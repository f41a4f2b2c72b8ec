//! Turns watches into facts, keeping of each object only what scheduling needs.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll};
use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{
    Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, Service,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim, ResourceSlice};
use k8s_openapi::api::scheduling::v1alpha2::PodGroup;
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment};
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Client, Resource};
use orchestra_core::light::Light;
use serde::de::DeserializeOwned;

use super::act::Hands;
use crate::dispatcher::Dispatcher;
use crate::extender::Originals;
use crate::queue::Moment;
use crate::view::{
    Alike, AttachmentKey, AttachmentView, BudgetView, CapacityView, ClaimKey, ClaimView, ClassView,
    CsiDriverView, CsiNodeView, DeviceClaimView, DeviceClassView, DeviceSliceView, Kept, NamespaceView,
    NamespacedName, NodeFacts, NodeName, OwnerKey, OwnerKind, OwnerView, PodGroupView, PodKey, PodView,
    ServiceView, ViewError, VolumeView,
};

/// Pods that have ended occupy nothing; they need not even be sent.
const UNFINISHED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// How many objects are listed at a time. They are held whole until each has been read, and what is kept of them lies between what
/// is given back: with upstream's 500 a scheduler of many pods keeps room for hundreds of whole ones.
const PAGE: u32 = 100;

/// How long to wait before a watch that broke is begun again, at first; it doubles, as client-go's reflector does it. Without
/// chance, for there is one scheduler and its decisions replay.
const FIRST_PAUSE: Duration = Duration::from_millis(800);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The pauses of one watch.
struct Pauses(Duration);

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }
}

/// What one watch says.
#[derive(Debug)]
pub(super) enum Change<K, V> {
    Applied(K, V),
    Deleted(K),
    /// There is something that makes no sense; it counts as gone.
    Refused(K, Refused),
    /// A new list begins; what is not in it is gone.
    Listing,
    Listed,
    /// The kind is not served here.
    Absent,
}

/// An object that cannot be scheduled with, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) kind: String,
    pub(super) version: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) problem: String,
}

/// Tells the dispatcher one thing.
type Tell = Box<dyn FnOnce(&mut Dispatcher, Moment) + Send>;

/// What one watch said at once.
pub(super) struct Fact {
    feed: usize,
    listed: bool,
    news: Vec<Tell>,
    refused: Option<Refused>,
}

/// All watches.
pub(super) struct Feeds {
    pub(super) facts: SelectAll<BoxStream<'static, Fact>>,
    /// The watches whose first list is not complete yet.
    unlisted: BTreeSet<usize>,
}

impl Feeds {
    /// Opens the watches; `gangs` says whether pod groups, which few servers serve, matter here.
    pub(super) fn open(hands: &Hands, gangs: bool) -> Self {
        let client = &hands.client;
        let kept_whole: Vec<Originals> =
            hands.extenders.iter().filter_map(|extender| extender.originals().cloned()).collect();
        let (pods_whole, pods_gone) = (kept_whole.clone(), kept_whole.clone());
        let (nodes_whole, nodes_gone) = (kept_whole.clone(), kept_whole);
        let pods = watcher::Config::default().fields(UNFINISHED);
        let mut alike = Alike::default();
        let mut facts = vec![
            feed(
                watch(
                    client,
                    pods,
                    move |Light(pod): &Light<Pod>| {
                        pods_whole.iter().for_each(|originals| originals.keep_pod(pod));
                        let mut view = Box::new(PodView::from_api(pod)?);
                        alike.share(&mut view);
                        Ok((view.key.clone(), view))
                    },
                    pod_key,
                ),
                |pod| Box::new(move |dispatcher, now| dispatcher.pod_applied(*pod, now)),
                move |key| {
                    pods_gone.iter().for_each(|originals| originals.forget_pod(&key.namespace, &key.name));
                    Box::new(move |dispatcher, now| dispatcher.pod_deleted(&key, now))
                },
            ),
            feed(
                watch(
                    client,
                    watcher::Config::default(),
                    move |Light(node): &Light<Node>| {
                        nodes_whole.iter().for_each(|originals| originals.keep_node(node));
                        let facts = NodeFacts::from_api(node)?;
                        Ok((facts.name.clone(), Box::new(facts)))
                    },
                    |node| NodeName::from(name(node)),
                ),
                |node| Box::new(move |dispatcher, now| dispatcher.node_applied(*node, now)),
                move |name: NodeName| {
                    nodes_gone.iter().for_each(|originals| originals.forget_node(&name));
                    Box::new(move |dispatcher, now| dispatcher.node_deleted(&name, now))
                },
            ),
            kept(client, |claim: &PersistentVolumeClaim| ClaimView::from_api(claim), claim_key),
            kept(client, |volume: &PersistentVolume| VolumeView::from_api(volume), plain_name),
            kept(client, |node: &CSINode| Ok(CsiNodeView::from_api(node)), |node| NodeName::from(name(node))),
            kept(client, |driver: &CSIDriver| Ok(CsiDriverView::from_api(driver)), plain_name),
            kept(client, |capacity: &CSIStorageCapacity| CapacityView::from_api(capacity), full_name),
            kept(client, |one: &VolumeAttachment| Ok(AttachmentView::from_api(one)), attachment_key),
            kept(client, |class: &StorageClass| Ok(ClassView::from_api(class)), plain_name),
            kept(client, |namespace: &Namespace| Ok(NamespaceView::from_api(namespace)), plain_name),
            kept(client, |budget: &PodDisruptionBudget| Ok(BudgetView::from_api(budget)), full_name),
            kept(client, |claim: &ResourceClaim| Ok(DeviceClaimView::from_api(claim)), full_name),
            kept(client, |slice: &ResourceSlice| Ok(DeviceSliceView::from_api(slice)), plain_name),
            kept(client, |class: &DeviceClass| Ok(DeviceClassView::from_api(class)), plain_name),
            kept(client, |service: &Service| Ok(ServiceView::from_api(service)), full_name),
            kept(
                client,
                |owner: &ReplicationController| Ok(OwnerView::from_replication_controller(owner)),
                |owner| owner_key(OwnerKind::ReplicationController, owner),
            ),
            kept(
                client,
                |owner: &ReplicaSet| Ok(OwnerView::from_replica_set(owner)),
                |owner| owner_key(OwnerKind::ReplicaSet, owner),
            ),
            kept(
                client,
                |owner: &StatefulSet| Ok(OwnerView::from_stateful_set(owner)),
                |owner| owner_key(OwnerKind::StatefulSet, owner),
            ),
        ];
        if gangs {
            facts.push(kept(client, |group: &PodGroup| Ok(PodGroupView::from_api(group)), full_name));
        }
        let numbered = facts.into_iter().enumerate();
        let facts: SelectAll<_> =
            numbered.map(|(feed, facts)| facts.map(move |fact| Fact { feed, ..fact }).boxed()).collect();
        Self { unlisted: (0..facts.len()).collect(), facts }
    }

    /// Whether everything that existed at the start is known.
    pub(super) fn listed(&self) -> bool {
        self.unlisted.is_empty()
    }
}

impl Fact {
    /// Tells the dispatcher; what is left is for users to hear.
    pub(super) fn tell(self, dispatcher: &mut Dispatcher, feeds: &mut Feeds, now: Moment) -> Option<Refused> {
        if self.listed {
            feeds.unlisted.remove(&self.feed);
        }
        self.news.into_iter().for_each(|tell| tell(dispatcher, now));
        self.refused
    }
}

/// Turns what a watch says into what the dispatcher is told.
fn feed<K, V>(
    changes: impl Stream<Item = Change<K, V>> + Send + 'static,
    applied: impl Fn(V) -> Tell + Send + 'static,
    deleted: impl Fn(K) -> Tell + Send + 'static,
) -> BoxStream<'static, Fact>
where
    K: Clone + Eq + Hash + Ord + Send + 'static,
{
    let mut seen = Seen::default();
    let mut told: HashMap<K, Refused> = HashMap::new();
    let facts = changes.map(move |change| {
        let mut news = Vec::new();
        // Nodes say the same again every few seconds; users hear of it once.
        let refused = match &change {
            Change::Refused(key, refused) => {
                let before = told.insert(key.clone(), refused.clone());
                (before.as_ref() != Some(refused)).then(|| refused.clone())
            }
            Change::Applied(key, _) | Change::Deleted(key) => {
                told.remove(key);
                None
            }
            Change::Listing | Change::Listed | Change::Absent => None,
        };
        seen.tell(change, |one| news.push(one.map_or_else(&deleted, &applied)));
        Fact { feed: 0, listed: seen.complete, news, refused }
    });
    facts.boxed()
}

/// The feed of a kind that the dispatcher keeps by key.
fn kept<T, V>(
    client: &Client,
    read: impl Fn(&T) -> Result<V, ViewError> + Send + 'static,
    key: impl Fn(&T) -> V::Key + Clone + Send + 'static,
) -> BoxStream<'static, Fact>
where
    T: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
    V: Kept,
{
    let at = key.clone();
    let changes =
        watch(client, watcher::Config::default(), move |object: &T| Ok((at(object), read(object)?)), key);
    feed(
        changes,
        |view: V| Box::new(move |dispatcher, now| dispatcher.applied(view, now)),
        |key| Box::new(move |dispatcher, now| dispatcher.deleted::<V>(&key, now)),
    )
}

/// The keys seen through one watch, so that a new list tells what is gone.
#[derive(Debug)]
struct Seen<K> {
    keys: HashSet<K>,
    /// Those of the list that is under way, if one is.
    listing: Option<HashSet<K>>,
    complete: bool,
}

impl<K> Default for Seen<K> {
    fn default() -> Self {
        Self { keys: HashSet::new(), listing: None, complete: false }
    }
}

impl<K: Clone + Eq + Hash + Ord> Seen<K> {
    /// Passes on what a change means: `Ok` what is there, `Err` the key of what is gone.
    fn tell<V>(&mut self, change: Change<K, V>, mut news: impl FnMut(Result<V, K>)) {
        match change {
            Change::Applied(key, view) => {
                // Until the new list is complete both sets are current.
                if let Some(listing) = &mut self.listing {
                    listing.insert(key.clone());
                }
                self.keys.insert(key);
                news(Ok(view));
            }
            Change::Deleted(key) | Change::Refused(key, _) => {
                self.keys.remove(&key);
                if let Some(listing) = &mut self.listing {
                    listing.remove(&key);
                }
                news(Err(key));
            }
            Change::Listing => self.listing = Some(HashSet::new()),
            Change::Listed => {
                self.complete = true;
                let listed = self.listing.take().unwrap_or_default();
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
    mut read: impl FnMut(&T) -> Result<(K, V), ViewError> + Send + 'static,
    key: impl Fn(&T) -> K + Send + 'static,
) -> impl futures::Stream<Item = Change<K, V>> + Send + 'static
where
    T: Resource<DynamicType = ()> + DeserializeOwned + Clone + Debug + Send + Sync + 'static,
    K: Send + 'static,
    V: Send + 'static,
{
    let config = config.page_size(PAGE);
    let events = watcher(Api::<T>::all(client.clone()), config).backoff(Pauses(FIRST_PAUSE));
    events.filter_map(move |event| {
        let change = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => match read(&object) {
                Ok((key, view)) => Some(Change::Applied(key, view)),
                Err(error) => {
                    tracing::warn!(kind = %T::kind(&()), %error, "an object cannot be scheduled with");
                    let refused = Refused { problem: error.to_string(), ..about(&object) };
                    Some(Change::Refused(key(&object), refused))
                }
            },
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

/// What an object is, for whoever speaks of it.
fn about<T: Resource<DynamicType = ()>>(object: &T) -> Refused {
    Refused {
        kind: T::kind(&()).into_owned(),
        version: T::api_version(&()).into_owned(),
        namespace: namespace(object).to_owned(),
        name: name(object).to_owned(),
        uid: object.meta().uid.clone().unwrap_or_default(),
        problem: String::new(),
    }
}

fn name<T: Resource>(object: &T) -> &str {
    object.meta().name.as_deref().unwrap_or_default()
}

fn namespace<T: Resource>(object: &T) -> &str {
    object.meta().namespace.as_deref().unwrap_or_default()
}

fn plain_name<T: Resource>(object: &T) -> Arc<str> {
    name(object).into()
}

fn attachment_key(attachment: &VolumeAttachment) -> AttachmentKey {
    let node = NodeName::from(attachment.spec.node_name.as_str());
    AttachmentKey { node, name: plain_name(attachment) }
}

fn full_name<T: Resource>(object: &T) -> NamespacedName {
    NamespacedName::of(object.meta())
}

fn owner_key<T: Resource>(kind: OwnerKind, object: &T) -> OwnerKey {
    OwnerKey { kind, name: full_name(object) }
}

fn pod_key(pod: &Light<Pod>) -> PodKey {
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
        assert_eq!(seen.listing, None, "keys are held once while no list is under way");
        let again = vec![Change::Listing, Change::Applied(3, "c"), Change::Listed];
        assert_eq!(told(&mut seen, again), [Ok("c"), Err(1)]);
    }

    #[test]
    fn a_kind_that_is_not_served_is_complete_without_anything() {
        let mut seen = Seen::default();
        assert!(told(&mut seen, vec![Change::Absent]).is_empty() && seen.complete);
    }
}
