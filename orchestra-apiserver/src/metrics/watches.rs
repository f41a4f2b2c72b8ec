//! What is sent to watchers, and what the caches have of the store.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use orchestra_core::kind::Description;
use orchestra_metrics::{Family, Histogram, Tally, exponential, write};
use orchestra_store::Revision;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use crate::status::GroupResource;

const EVENT_BYTES: &[f64] = &exponential::<8>(1024.0, 2.0);
const WAIT_SECONDS: &[f64] = &[0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0];

/// More resources than a cluster has; whoever makes definitions of their own without end must not fill the memory.
const MOST_RESOURCES: usize = 2000;

/// Group, version and plural.
type Served = [Cow<'static, str>; 3];

/// Events that were sent to watchers. Clones count the same.
#[derive(Clone, Debug)]
pub(crate) struct WatchMetrics(Family<Served, Histogram>);

impl Default for WatchMetrics {
    fn default() -> Self {
        Self(Family::new(MOST_RESOURCES, Served::default(), || Histogram::new(EVENT_BYTES)))
    }
}

impl WatchMetrics {
    /// Where one watcher of a resource counts its events, by their sizes.
    pub(crate) fn tally(&self, description: &Description) -> Tally {
        let Description { gv, plural, .. } = description;
        self.0.of(&[gv.group.clone(), gv.version.clone(), plural.clone()]).tally()
    }
}

impl Collector for WatchMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let all = self.0.all();
        let sent = || {
            all.iter().filter(|(_, sizes)| sizes.count() > 0).map(|([group, version, resource], sizes)| {
                let (group, resource) = (("group", &**group), ("resource", &**resource));
                ([group, resource, ("version", &**version)], &**sizes)
            })
        };
        let help = "[ALPHA] Number of events sent in watch clients";
        let events = sent().map(|(labels, sizes)| (labels, sizes.count()));
        write::counter(out, "apiserver_watch_events_total", help, events)?;
        let help = "[ALPHA] Watch event size distribution in bytes";
        write::histogram(out, "apiserver_watch_events_sizes", help, sent())
    }
}

/// What the caches of all resources have of the store. Clones count the same.
#[derive(Clone, Debug)]
pub(crate) struct CacheMetrics(Family<GroupResource, CacheCounts>);

impl Default for CacheMetrics {
    fn default() -> Self {
        Self(Family::new(MOST_RESOURCES, GroupResource::default(), CacheCounts::new))
    }
}

impl CacheMetrics {
    /// Where the cache of a resource counts.
    pub(crate) fn of(&self, resource: &GroupResource) -> Arc<CacheCounts> {
        self.0.of(resource)
    }
}

/// Of one resource.
#[derive(Debug)]
pub(crate) struct CacheCounts {
    loads: AtomicU64,
    loaded: AtomicU64,
    received: AtomicU64,
    dispatched: AtomicU64,
    revision: AtomicU64,
    waited: Histogram,
}

impl CacheCounts {
    fn new() -> Self {
        Self {
            loads: AtomicU64::new(0),
            loaded: AtomicU64::new(0),
            received: AtomicU64::new(0),
            dispatched: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            waited: Histogram::new(WAIT_SECONDS),
        }
    }

    /// So many objects were read from the store, at this revision.
    pub(crate) fn loaded(&self, objects: usize, revision: Revision) {
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.loaded.fetch_add(objects as u64, Ordering::Relaxed);
        self.revision.store(revision.0, Ordering::Relaxed);
    }

    /// So many changes came from the store.
    pub(crate) fn received(&self, events: usize) {
        self.received.fetch_add(events as u64, Ordering::Relaxed);
    }

    /// Watchers can have so many changes more, up to this revision.
    pub(crate) fn dispatched(&self, events: usize, revision: Revision) {
        self.dispatched.fetch_add(events as u64, Ordering::Relaxed);
        self.revision.store(revision.0, Ordering::Relaxed);
    }

    /// How long reads wait for the cache to know what the store has acknowledged.
    pub(crate) fn waited(&self) -> &Histogram {
        &self.waited
    }
}

impl Collector for CacheMetrics {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut out;
        let all = self.0.all();
        let caches = || {
            let used = all.iter().filter(|(_, counts)| counts.loads.load(Ordering::Relaxed) > 0);
            used.map(|(gr, counts)| ([("group", &*gr.group), ("resource", &*gr.resource)], &**counts))
        };
        let read = |figure: fn(&CacheCounts) -> &AtomicU64| {
            caches().map(move |(labels, counts)| (labels, figure(counts).load(Ordering::Relaxed)))
        };
        let help = "[ALPHA] Counter of init events processed in watch cache broken by resource type.";
        write::counter(out, "apiserver_init_events_total", help, read(|counts| &counts.loaded))?;
        let help = "[ALPHA] Counter of events received in watch cache broken by resource type.";
        let name = "apiserver_watch_cache_events_received_total";
        write::counter(out, name, help, read(|counts| &counts.received))?;
        let help = "[ALPHA] Counter of events dispatched in watch cache broken by resource type.";
        let name = "apiserver_watch_cache_events_dispatched_total";
        write::counter(out, name, help, read(|counts| &counts.dispatched))?;
        let help = "[ALPHA] Counter of watch cache initializations broken by resource type.";
        let name = "apiserver_watch_cache_initializations_total";
        write::counter(out, name, help, read(|counts| &counts.loads))?;
        let help = "[ALPHA] Current resource version of watch cache broken by resource type. This is truncated to the 15 least significant digits.";
        let revisions = read(|counts| &counts.revision).map(|(labels, revision)| {
            (labels, i64::try_from(revision % 1_000_000_000_000_000).unwrap_or_default())
        });
        write::gauge(out, "apiserver_watch_cache_resource_version", help, revisions)?;
        let help = "[ALPHA] Histogram of time spent waiting for a watch cache to become fresh.";
        let waited = caches().map(|(labels, counts)| (labels, &counts.waited));
        let waited = waited.filter(|(_, waited)| waited.count() > 0);
        write::histogram(out, "apiserver_watch_cache_read_wait_seconds", help, waited)
    }
}
