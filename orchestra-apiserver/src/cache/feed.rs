//! One watch of the store feeds every collection.
//!
//! Each write takes one revision, and the feed sees all of them, so it knows that it has seen everything up to the
//! revision it is at. A consistent list therefore needs no read of the store: it waits until the feed has reached the
//! store's revision and answers from memory, whoever wrote last.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use futures::StreamExt;
use orchestra_store::{Event, KeyRange, RangeOptions, ReadAt, Revision, Store, WatchMessage, WatchStream};
use tokio::sync::OnceCell;
use tokio::task::AbortHandle;
use tokio::time::{Duration, Instant};

use super::collection::{Collection, suffix_of};
use super::converted::Queue;
use super::object::Object;
use crate::metrics::CacheMetrics;
use crate::status::StatusError;
use crate::storage::resource::Resource;
use crate::watched;

/// How long a read waits for the feed to reach the store's revision.
const FRESHNESS_TIMEOUT: Duration = Duration::from_secs(3);

/// Messages of the store that are taken together, when that many are there.
const BATCH: usize = 256;

/// All collections, and the task that keeps them current.
#[derive(Debug)]
pub(crate) struct Feed {
    store: Arc<dyn Store>,
    /// By prefix; a prefix has more than one when its objects are served under several names.
    slots: Mutex<Slots>,
    /// Those of them that get what happened only after it has been converted.
    queues: Mutex<Vec<Weak<Queue>>>,
    metrics: CacheMetrics,
    /// How long watchers rest between two wakes.
    pace: Duration,
    /// Every change up to this revision has been applied.
    applied: watched::Sender<Revision>,
    /// Ends the task with the feed.
    task: OnceLock<AbortHandle>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

type Slots = HashMap<Box<str>, Vec<Arc<Slot>>>;

#[derive(Debug)]
struct Slot {
    collection: Arc<Collection>,
    loaded: OnceCell<()>,
    /// Through which changes come, where they have to be converted first.
    queue: Option<Arc<Queue>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.close();
        }
    }
}

impl Feed {
    /// Starts to follow the store. The task ends when the feed is dropped.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        metrics: CacheMetrics,
        pace: Duration,
    ) -> orchestra_store::Result<Arc<Self>> {
        let revision = newest(&*store).await?;
        let stream = store.watch(KeyRange::all(), revision.next()).await?;
        let feed = Arc::new(Self {
            store,
            slots: Mutex::default(),
            queues: Mutex::default(),
            metrics,
            pace,
            applied: watched::Sender::new(revision),
            task: OnceLock::new(),
        });
        let task = tokio::spawn(follow(Arc::downgrade(&feed), stream));
        feed.task.get_or_init(|| task.abort_handle());
        Ok(feed)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        // The map is never left half-changed.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The collection of a resource, loaded from the store when this is its first reader.
    pub(crate) async fn collection(&self, resource: &Arc<Resource>) -> Result<Arc<Collection>, StatusError> {
        Ok(self.loaded(resource).await?.collection.clone())
    }

    /// The collection of a resource, if it has had a reader.
    pub(crate) fn known(&self, resource: &Arc<Resource>) -> Option<Arc<Collection>> {
        let slots = self.slots();
        let mut beside = slots.get(resource.prefix())?.iter().filter(|slot| slot.loaded.initialized());
        let slot = beside.find(|slot| Arc::ptr_eq(&slot.collection.resource, resource))?;
        Some(slot.collection.clone())
    }

    async fn loaded(&self, resource: &Arc<Resource>) -> Result<Arc<Slot>, StatusError> {
        let slot = self.slot(resource);
        slot.loaded.get_or_try_init(|| self.load(&slot)).await?;
        Ok(slot)
    }

    /// The store's own history of a resource from `from` on, for watchers that no collection can serve.
    pub(crate) async fn history(
        &self,
        range: KeyRange,
        from: Revision,
    ) -> orchestra_store::Result<WatchStream> {
        self.store.watch(range, from).await
    }

    /// Forgets the collection of a resource that is served no more, or otherwise.
    pub(crate) fn withdraw(&self, resource: &Arc<Resource>) {
        resource.withdrawn.cancel();
        let mut slots = self.slots();
        let Some(beside) = slots.get_mut(resource.prefix()) else { return };
        let (gone, kept) = std::mem::take(beside)
            .into_iter()
            .partition(|slot| Arc::ptr_eq(&slot.collection.resource, resource));
        *beside = kept;
        if beside.is_empty() {
            slots.remove(resource.prefix());
        }
        drop(slots);
        let gone: Vec<Arc<Slot>> = gone;
        gone.iter().for_each(|slot| slot.collection.kill());
    }

    fn slot(&self, resource: &Arc<Resource>) -> Arc<Slot> {
        let mut slots = self.slots();
        // One whose conversion failed is made anew: its reader learns whether it still fails.
        let is_sound = |slot: &Arc<Slot>| slot.queue.as_ref().is_none_or(|queue| !queue.has_failed());
        let is_its = |slot: &&Arc<Slot>| Arc::ptr_eq(&slot.collection.resource, resource) && is_sound(slot);
        if let Some(slot) = slots.get(resource.prefix()).into_iter().flatten().find(is_its) {
            return slot.clone();
        }
        let beside = slots.entry(resource.prefix().into()).or_default();
        beside.retain(is_sound);
        let collection =
            Arc::new(Collection::new(resource.clone(), self.metrics.of(&resource.gr), self.pace));
        let queue = resource.is_converted().then(|| Queue::start(&collection));
        if let Some(queue) = &queue {
            let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            queues.retain(|queue| queue.strong_count() > 0);
            queues.push(Arc::downgrade(queue));
        }
        let slot = Arc::new(Slot { collection, loaded: OnceCell::new(), queue });
        beside.push(slot.clone());
        slot
    }

    /// The collection, waited for until it shows everything the store has acknowledged.
    pub(crate) async fn fresh(
        &self,
        resource: &Arc<Resource>,
    ) -> Result<(Arc<Collection>, Revision), StatusError> {
        let slot = self.loaded(resource).await?;
        let current = newest(&*self.store).await?;
        let begun = Instant::now();
        let applied = self.wait_for_slot(&slot, current).await?;
        slot.collection.counts.waited().observe_duration(begun.elapsed());
        Ok((slot.collection.clone(), applied))
    }

    /// The collection, waited for until it shows everything up to `revision`.
    pub(crate) async fn at_least(
        &self,
        resource: &Arc<Resource>,
        revision: Revision,
    ) -> Result<(Arc<Collection>, Revision), StatusError> {
        let slot = self.loaded(resource).await?;
        let applied = self.wait_for_slot(&slot, revision).await?;
        Ok((slot.collection.clone(), applied))
    }

    async fn wait_for_slot(&self, slot: &Slot, revision: Revision) -> Result<Revision, StatusError> {
        let applied = self.wait_for(revision).await?;
        match &slot.queue {
            Some(queue) => queue.wait_for(revision).await,
            None => Ok(applied),
        }
    }

    /// The revision up to which everything has been applied to a collection.
    pub(crate) fn applied_to(&self, collection: &Arc<Collection>) -> Revision {
        if !collection.resource.is_converted() {
            return self.applied();
        }
        let slots = self.slots();
        let mut beside = slots.get(collection.resource.prefix()).into_iter().flatten();
        let slot = beside.find(|slot| Arc::ptr_eq(&slot.collection, collection));
        // One that was given up has seen nothing that its watchers could be told of.
        slot.and_then(|slot| slot.queue.as_ref()).map_or(Revision::NONE, |queue| queue.applied())
    }

    /// The revision up to which everything has been applied.
    pub(crate) fn applied(&self) -> Revision {
        self.applied.value()
    }

    /// Waits until the feed has reached `revision`.
    pub(crate) async fn wait_for(&self, revision: Revision) -> Result<Revision, StatusError> {
        let mut applied = self.applied.subscribe();
        let reached = tokio::time::timeout(FRESHNESS_TIMEOUT, applied.wait_for(|at| *at >= revision)).await;
        match reached {
            Ok(Ok(at)) => Ok(at),
            Ok(Err(_)) => Err(StatusError::unavailable("the watch cache has ended")),
            Err(_) => Err(StatusError::too_large_resource_version(revision.0, self.applied().0)),
        }
    }

    async fn load(&self, slot: &Slot) -> Result<(), StatusError> {
        let collection = &slot.collection;
        let resource = &collection.resource;
        let page = self.store.range(resource.range(None), RangeOptions::new()).await?;
        let mut objects = BTreeMap::new();
        for entry in &resource.convert(page.value.entries).await? {
            let Some(suffix) = suffix_of(resource, entry.key.as_bytes()) else { continue };
            match Object::whole(resource, entry) {
                Ok(object) => {
                    objects.insert(suffix.into(), Arc::new(object));
                }
                Err(error) => {
                    tracing::error!(key = ?entry.key, %error, "an object in the store cannot be read");
                }
            }
        }
        collection.loaded(objects, page.revision);
        if let Some(queue) = &slot.queue {
            queue.reached(page.revision);
        }
        Ok(())
    }

    /// Hands what happened to the collections it is about.
    fn route(&self, happened: &[(Revision, Arc<[Event]>)]) {
        let Some((last, _)) = happened.last() else { return };
        let mut shares: Vec<Share> = Vec::new();
        {
            let slots = self.slots();
            let events = happened.iter().flat_map(|(revision, events)| events.iter().map(|e| (*revision, e)));
            for (revision, event) in events {
                let key = match event {
                    Event::Put { entry, .. } => entry.key.as_bytes(),
                    Event::Delete { key, .. } => key.as_bytes(),
                };
                let Some(beside) = prefix_of(key).and_then(|prefix| slots.get(prefix)) else { continue };
                for slot in beside {
                    let at = shares.iter().position(|share| Arc::ptr_eq(&share.slot, slot));
                    let at = at.unwrap_or_else(|| {
                        shares.push(Share { slot: slot.clone(), changes: Vec::new() });
                        shares.len() - 1
                    });
                    if let Some(share) = shares.get_mut(at) {
                        share.add(revision, event.clone());
                    }
                }
            }
        }
        for share in shares {
            match &share.slot.queue {
                Some(queue) => queue.push(share.changes),
                None => share.slot.collection.apply(share.changes),
            }
        }
        self.reached(*last);
    }

    fn reached(&self, revision: Revision) {
        // First those that are behind: who waits for the feed finds them knowing of the revision.
        for queue in
            self.queues.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade)
        {
            queue.expect(revision);
        }
        self.applied.send_if_modified(|at| {
            let newer = revision > *at;
            *at = revision.max(*at);
            newer
        });
    }

    /// Wakes the watchers of every collection, so that they see that they are to end.
    pub(crate) fn wake(&self) {
        let mut slots: Vec<_> =
            self.slots().iter().map(|(prefix, slots)| (prefix.clone(), slots.clone())).collect();
        slots.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        slots.iter().flat_map(|(_, slots)| slots).for_each(|slot| slot.collection.wake_all());
    }

    /// Forgets every collection: their watchers are told to list again.
    fn reset(&self) {
        for (_, slots) in self.slots().drain() {
            for slot in slots {
                slot.collection.kill();
            }
        }
    }
}

/// What happened to one collection.
struct Share {
    slot: Arc<Slot>,
    changes: Vec<(Revision, Vec<Event>)>,
}

impl Share {
    fn add(&mut self, revision: Revision, event: Event) {
        match self.changes.last_mut() {
            Some((last, events)) if *last == revision => events.push(event),
            _ => self.changes.push((revision, vec![event])),
        }
    }
}

/// The store's revision, by the cheapest read that sees every acknowledged write. (A status counts all keys.)
async fn newest(store: &dyn Store) -> orchestra_store::Result<Revision> {
    Ok(store.get(&"/".into(), ReadAt::Latest).await?.revision)
}

/// `/registry/{group}/{plural}/` of a key.
fn prefix_of(key: &[u8]) -> Option<&str> {
    let mut slashes = key.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let end = slashes.nth(3)?;
    std::str::from_utf8(key.get(..=end)?).ok()
}

async fn follow(feed: Weak<Feed>, mut stream: WatchStream) {
    loop {
        let ended = pass_on(&feed, stream).await;
        let Some(strong) = feed.upgrade() else { return };
        if let Some(error) = ended {
            tracing::warn!(%error, "the store's watch ended; every collection is read anew");
        }
        strong.reset();
        let store = strong.store.clone();
        drop(strong);
        let Some((restarted, revision)) = reconnect(&feed, &store).await else { return };
        stream = restarted;
        if let Some(feed) = feed.upgrade() {
            // Collections made while there was no watch may lack changes.
            feed.reset();
            feed.reached(revision);
        }
    }
}

/// Applies what the store says, as much at once as is there, until it ends or nobody listens any more.
async fn pass_on(feed: &Weak<Feed>, stream: WatchStream) -> Option<orchestra_store::Error> {
    let mut batches = stream.ready_chunks(BATCH);
    while let Some(batch) = batches.next().await {
        let feed = feed.upgrade()?;
        let mut happened = Vec::with_capacity(batch.len());
        let (mut progress, mut ended) = (None, None);
        for message in batch {
            match message {
                Ok(WatchMessage::Events { revision, events }) => happened.push((revision, events)),
                Ok(WatchMessage::Progress(revision)) => progress = Some(revision),
                Err(error) => {
                    ended = Some(error);
                    break;
                }
            }
        }
        feed.route(&happened);
        if let Some(revision) = progress {
            feed.reached(revision);
        }
        if ended.is_some() {
            return ended;
        }
    }
    None
}

/// Opens the watch again, with growing pauses; `None` when nobody needs it any more.
async fn reconnect(feed: &Weak<Feed>, store: &Arc<dyn Store>) -> Option<(WatchStream, Revision)> {
    let mut pause = Duration::from_millis(10);
    loop {
        if feed.strong_count() == 0 {
            return None;
        }
        let opened = async {
            let revision = newest(&**store).await?;
            Ok::<_, orchestra_store::Error>((store.watch(KeyRange::all(), revision.next()).await?, revision))
        };
        match opened.await {
            Ok(opened) => return Some(opened),
            Err(error) => tracing::warn!(%error, "the store cannot be watched"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_to_its_resource() {
        assert_eq!(prefix_of(b"/registry/apps/deployments/ns/x"), Some("/registry/apps/deployments/"));
        assert_eq!(prefix_of(b"/registry/core/nodes/n"), Some("/registry/core/nodes/"));
        assert_eq!(prefix_of(b"/registry/core"), None);
    }
}
